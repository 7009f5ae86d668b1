"""Payment dates of direct costs: the only trace that a payment leaves on one (procore-api 7).

Set when QBO shows no balance of the bill any more, cleared when it shows one again; by the sync action, which is repeatable.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO
from ml_connector.posting.direct_costs.sync_rows import SYNC_ROWS, headers_path, is_lock
from ml_connector.posting.payments.paid_bills import BillTarget, PaidBill, Standing
from ml_connector.posting.targets import payment_date_of
from ml_connector.procore.client import Accepted, Missing, Outcome, ProcoreClient, Refused
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection
from ml_connector.store import audit, ledger, payments, records
from ml_connector.store.ledger import Confirmed, Fate, Intent, Kind
from ml_connector.store.payments import ShareKind

Trouble = Hold | datetime


@dataclass(frozen=True)
class PaymentDate:
    """A payment date that a direct cost should have, or None for none."""

    bill: PaidBill
    cost: BillTarget
    day: date | None

    @property
    def origin_id(self) -> str:
        """The key of its ledger row; Procore has no record of its own for it."""
        return payment_date_of(self.cost.origin_id)

    @property
    def value(self) -> str | None:
        """As Procore writes it."""
        return None if self.day is None else self.day.isoformat()

    @property
    def key(self) -> str:
        """Procore's id of the direct cost as text."""
        return str(self.cost.procore_id)

    @property
    def row(self) -> dict[str, Any]:
        """The row of the sync action; it sets our link again, where an earlier run took it off and was killed."""
        link = {} if self.cost.is_unlinked else {"origin_id": self.cost.origin_id}
        return {"id": self.cost.procore_id, **link, "payment_date": self.value}

    @property
    def body_hash(self) -> bytes:
        """SHA-256 of direct cost and date."""
        return sha256(f"{self.cost.procore_id} {self.value}".encode()).digest()

    @property
    def words(self) -> str:
        """How sentences name it."""
        return f"the payment date of the direct cost of {self.bill.words} on project {self.cost.project_id}"

    def differs_from(self, row: Row[Any] | None) -> bool:
        """Whether it is another date than the ledger knows; a direct cost that never had one needs none."""
        if row is None:
            return self.day is not None
        return row.state != Fate.CONFIRMED or bytes(row.confirmed_hash) != self.body_hash


@dataclass
class PaymentDateDesk:
    """Sets payment dates of one connection during one run, many in one call a project."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    resend: bool
    settled_at: Callable[[], datetime]
    now: Callable[[], datetime]

    def settle(self, bills: Mapping[str, PaidBill]) -> dict[str, list[Trouble]]:
        """Bring the payment dates of these bills to what they should be; what went wrong, by bill id."""
        troubles: dict[str, list[Trouble]] = {}
        ready = []
        for one in self._different(bills):
            trouble = self._earlier_trouble(one)
            if trouble is None:
                ready.append(one)
            else:
                troubles.setdefault(one.bill.id, []).append(trouble)
        for project, group in _by_project(ready):
            for one, trouble in self._send(project, group):
                troubles.setdefault(one.bill.id, []).append(trouble)
        return troubles

    def differing(self, bills: Mapping[str, PaidBill]) -> set[str]:
        """Ids of the bills whose direct costs have another payment date than they should."""
        return {one.bill.id for one in self._different(bills)}

    def _different(self, bills: Mapping[str, PaidBill]) -> list[PaymentDate]:
        if self.connection.policies.direct_cost_payment_date == "never":
            return []
        ready = [bill for bill in bills.values() if bill.standing is Standing.READY]
        with self.engine.connect() as db:
            paid_on = self._paid_on(db, [bill.id for bill in ready if bill.is_paid])
            wanted = [
                PaymentDate(bill, target, paid_on.get(bill.id))
                for bill in ready
                for target in bill.targets
                if target.kind is ShareKind.DIRECT_COST
            ]
            rows = ledger.rows(db, self.connection.name, [one.origin_id for one in wanted])
        return [one for one in wanted if one.differs_from(rows.get(one.origin_id))]

    def _paid_on(self, db: Database, bill_ids: Sequence[str]) -> dict[str, date]:
        """The date of the last payment of each bill."""
        name, last = self.connection.name, dict[str, date]()
        shares = payments.of_bills(db, name, bill_ids)
        paying = records.known(db, name, Entity.BILL_PAYMENT, sorted({share.payment_id for share in shares}))
        for share in (share for share in shares if share.settles):
            row = paying.get(share.payment_id)
            if row is not None and row.txn_date is not None:
                last[share.bill_id] = max(row.txn_date, last.get(share.bill_id, row.txn_date))
        return last

    def _earlier_trouble(self, one: PaymentDate) -> Trouble | None:
        """What an earlier run met: an unclear answer that must settle, or a refusal that is not repeated by itself."""
        with self.engine.connect() as db:
            row = ledger.rows(db, self.connection.name, [one.origin_id]).get(one.origin_id)
        if row is None:
            return None
        if row.state in (Fate.SENDING, Fate.UNKNOWN):
            until = row.not_before or row.sent_at + timedelta(seconds=self.connection.timing.settle)
            return until if until > self.now() else None
        if row.state == Fate.REFUSED and bytes(row.refused_hash) == one.body_hash and not self.resend:
            return Hold(Reason.REFUSED, row.refusal, f"REFUSED {one.origin_id}", ZERO)
        return None

    def _send(self, project: str, group: Sequence[PaymentDate]) -> list[tuple[PaymentDate, Trouble]]:
        self._intend(group)
        crashpoint("K5")
        outcomes = self._sync(project, [one.row for one in group])
        locked = [one for one in group if is_lock(outcomes.get(one.key)) and not one.cost.is_unlinked]
        if locked:
            self._sync(project, [{"id": one.cost.procore_id, "origin_id": None} for one in locked])
            crashpoint("K14")
            freed = {one.key for one in locked}
            again = self._sync(project, [one.row for one in locked])
            outcomes = {**{key: said for key, said in outcomes.items() if key not in freed}, **again}
        crashpoint("K7")
        with self.engine.begin() as db:
            closed = [self._close(db, one, outcomes.get(one.key, Missing())) for one in group]
            told = [entry for entry, _ in closed]
            audit.append(db, self.connection.name, told, run_id=self.run_id, actor="ml-connector")
        crashpoint("K8")
        pairs = zip(group, closed, strict=True)
        return [(one, trouble) for one, (_, trouble) in pairs if trouble is not None]

    def _sync(self, project: str, updates: Sequence[Mapping[str, Any]]) -> Mapping[str, Outcome]:
        """Outcomes by Procore id; {} when Procore did not tell."""
        try:
            return self.client.sync(headers_path(project), {}, updates).settle(updates, key="id")
        except ReconnectNeeded:
            raise
        except (OutcomeUnknown, TransientError):
            return {}
        except PermanentError as error:
            return {str(update["id"]): Refused(str(error), {}) for update in updates}

    def _intend(self, group: Sequence[PaymentDate]) -> None:
        intents = [
            Intent(
                origin_id=one.origin_id,
                kind=Kind.PAYMENT_DATE,
                entity=Entity.BILL,
                qbo_id=one.bill.id,
                project_id=one.cost.project_id,
                landing_number=0,
                sync_token=0,
                wanted={"payment_date": one.value},
                wanted_hash=one.body_hash,
            )
            for one in group
        ]
        told = [
            audit.Entry("sent", Entity.BILL, one.bill.id, {"origin_id": one.origin_id, "date": one.value})
            for one in group
        ]
        with self.engine.begin() as db:
            ledger.intend(db, self.connection.name, intents, run_id=self.run_id)
            audit.append(db, self.connection.name, told, run_id=self.run_id, actor="ml-connector")

    def _close(self, db: Database, one: PaymentDate, outcome: Outcome) -> tuple[audit.Entry, Trouble | None]:
        name = self.connection.name
        if isinstance(outcome, Missing):
            until = self.settled_at()
            ledger.doubt(db, name, [one.origin_id], not_before=until)
            detail = {"origin_id": one.origin_id, "look again": until}
            return audit.Entry("unknown", Entity.BILL, one.bill.id, detail), until
        if isinstance(outcome, Accepted) and (outcome.entity.get("payment_date") or None) == one.value:
            ledger.confirm(db, name, [Confirmed(one.origin_id, one.cost.procore_id, one.body_hash)])
            detail = {"origin_id": one.origin_id, "payment_date": one.value}
            return audit.Entry("paid" if one.day else "unpaid", Entity.BILL, one.bill.id, detail), None
        said = outcome.text if isinstance(outcome, Refused) else "it keeps another date"
        what = f"Set it to {one.value}" if one.day else "Clear it"
        sentence = f"Procore does not change {one.words}: {said}. {what} there by hand, or replay once Procore takes it."
        ledger.refuse(db, name, one.origin_id, refused_hash=one.body_hash, refusal=sentence)
        hold = Hold(Reason.REFUSED, sentence, f"REFUSED {one.origin_id}", ZERO)
        detail = {"origin_id": one.origin_id, "text": said}
        return audit.Entry("refused", Entity.BILL, one.bill.id, detail), hold


def _by_project(dates: Collection[PaymentDate]) -> Iterator[tuple[str, list[PaymentDate]]]:
    groups: dict[str, list[PaymentDate]] = {}
    for one in dates:
        groups.setdefault(one.cost.project_id, []).append(one)
    for project, group in groups.items():
        for first in range(0, len(group), SYNC_ROWS):
            yield project, group[first : first + SYNC_ROWS]
