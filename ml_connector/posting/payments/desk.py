"""Writing contract payments: Procore can neither upsert nor search them, and a double may be there for good.

So there is one writer a contract, an intent before each POST, and after an unclear answer the contract's list is compared
before anything is sent again. What must go goes first: money that moves between contracts is never on both.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import OutcomeUnknown, PermanentError, ReconnectNeeded, TransientError
from ml_connector.holds import Reason
from ml_connector.money import ZERO, total
from ml_connector.posting.payments.bodies import ContractPayment, amount_of, origin_in
from ml_connector.posting.payments.plans import PaymentWork
from ml_connector.posting.payments.refusals import NO_ACCESS, Refusals, tell, words_of
from ml_connector.procore.client import ProcoreClient, Raw
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection
from ml_connector.store import ledger
from ml_connector.store.claims import claim
from ml_connector.store.ledger import Confirmed, Fate, Intent, Kind

PATH = "/rest/v1.0/contract_payments"
NEAR = timedelta(days=5)  # a payment typed by a person this close, of the same amount, may be the same (S122)


@dataclass(frozen=True)
class _Contract:
    """A contract of Procore, with what the ledger knows of its payments."""

    project_id: str
    commitment_id: int
    rows: Sequence[Row[Any]]

    @property
    def scope(self) -> dict[str, int]:
        """What every call about its payments names."""
        return {"project_id": int(self.project_id), "contract_id": self.commitment_id}


@dataclass
class PaymentDesk:
    """Writes contract payments of one connection during one run; a contract's list is read once, when it is needed."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    resend: bool  # a replay by a person: what somebody deleted in Procore is entered again
    settled_at: Callable[[], datetime]  # when a write that is unclear now may be looked at again
    _lists: dict[int, list[Raw]] = field(default_factory=dict)

    def write(self, works: Sequence[PaymentWork]) -> None:
        """Bring Procore to what `works` want; each part ends confirmed in the ledger, held, or waiting.

        A refusal or an outage ends only the payment concerned; ReconnectNeeded is raised, since no other could go on.
        """
        asked = [(work, row.project_id, row.commitment_id, row) for work in works for row in work.unclear]
        for (project, commitment), group in _by_contract(asked):
            with self._claimed(project, commitment) as contract:
                for work, row in group:
                    self._look_up(work, contract, row)
        shrinks = [(work, one) for work in works for one in work.todo if _shrinks(work, one)]
        leaving = [
            *((work, row.project_id, row.commitment_id, row) for work in works for row in work.surplus),
            *((work, one.project_id, one.commitment_id, one) for work, one in shrinks),
        ]
        for (project, commitment), group in _by_contract(leaving):
            with self._claimed(project, commitment) as contract:
                for work, target in group:
                    if isinstance(target, ContractPayment):
                        self._put(work, contract, target)
                    else:
                        self._remove(work, contract, target)
                    work.stopped = work.stopped or work.wait_until is not None
        done = {id(one) for _, one in shrinks}
        coming = [
            (work, one.project_id, one.commitment_id, one)
            for work in works
            for one in work.todo
            if not work.stopped and id(one) not in done
        ]
        for (project, commitment), group in _by_contract(coming):
            with self._claimed(project, commitment) as contract:
                for work, target in group:
                    self._put(work, contract, target)

    @contextmanager
    def _claimed(self, project: str, commitment: int) -> Iterator[_Contract]:
        """One writer a contract, over all connections to the company."""
        with claim(self.engine, f"payments:{self.connection.procore.company_id}:{commitment}"):
            yield self._contract(project, commitment)

    def _contract(self, project: str, commitment: int) -> _Contract:
        with self.engine.connect() as db:
            rows = ledger.of_commitment(db, self.connection.name, commitment, kind=Kind.CONTRACT_PAYMENT)
        return _Contract(project, commitment, rows)

    def _look_up(self, work: PaymentWork, contract: _Contract, row: Row[Any]) -> None:
        """What came to be of a payment whose bill waits counts; it stays unclear until the bill is posted."""
        found = _ours(self._listed(work, contract) or [], row.origin_id, row.procore_id)
        amount = amount_of(found[0]) if found else None
        if amount is not None and row.amount != amount:
            procore_id = int(found[0]["id"])
            with self.engine.begin() as db:
                ledger.counts(db, self.connection.name, row.origin_id, procore_id=procore_id, amount=amount)
                detail = {"origin_id": row.origin_id, "procore_id": procore_id, "amount": amount}
                self._tell(db, work, "found", detail)

    # -- one payment on one contract --------------------------------------------------------------------------------

    def _put(self, work: PaymentWork, contract: _Contract, one: ContractPayment) -> None:
        """Create it, change it, or take over what is there."""
        row = work.known.get(one.origin_id)
        if row is not None and row.amount < one.amount and not self._has_room(work, one):
            return
        if row is not None and row.state == Fate.CONFIRMED and row.procore_id is not None:
            self._change(work, contract, one, int(row.procore_id), linked=True)
            return
        listed = self._listed(work, contract)
        if listed is None:
            return
        found = _ours(listed, one.origin_id, None if row is None else row.procore_id)
        if len(found) > 1:
            ids = ", ".join(str(there["id"]) for there in found)
            text = f"Procore holds its payment of {one.amount} on one contract more than once (ids {ids}). Delete one there."
            work.hold(Reason.POSSIBLE_DUPLICATE, text, f"twice {one.origin_id}", one.amount)
        elif found:
            self._take_over(work, contract, one, found[0])
        elif row is not None and row.amount != ZERO and not self.resend:
            text = (
                f"its payment of {row.amount} is no more in Procore, deleted there by somebody. "
                "Replay it to enter it again, or leave it."
            )
            work.hold(Reason.DRIFT, text, f"payment {one.origin_id}", one.amount)
        elif self._has_room(work, one) and not self._link_typed(work, contract, one, listed):
            self._create(work, contract, one)

    def _take_over(self, work: PaymentWork, contract: _Contract, one: ContractPayment, there: Raw) -> None:
        """It is there by an earlier attempt: adopted as it is, or brought to what is wanted."""
        if one.is_held_by(there) and origin_in(there) == one.origin_id:
            self._intend(work, one)
            self._confirm(work, one, int(there["id"]), event="found")
        else:
            self._change(work, contract, one, int(there["id"]), linked=bool(there.get("origin_id")))

    def _link_typed(
        self, work: PaymentWork, contract: _Contract, one: ContractPayment, listed: Sequence[Raw]
    ) -> bool:
        """Whether a person typed this payment in Procore, or may have: linked in our ledger only, or held (S122)."""
        linked = {row.procore_id for row in self._contract(contract.project_id, contract.commitment_id).rows}
        typed = [there for there in listed if not origin_in(there) and int(there["id"]) not in linked]
        for there in typed:
            same_number = bool(one.number) and str(there.get("check_number") or "") == one.number
            same_amount = amount_of(there) == one.amount
            if same_number and same_amount:
                self._intend(work, one)
                self._confirm(work, one, int(there["id"]), event="linked")
                return True
            if same_number or (same_amount and _near(there, one.day)):
                text = (
                    f"{one.amount} on {one.day} looks like a payment that was typed in Procore: "
                    f"{amount_of(there)} on {there.get('date')}, check {there.get('check_number') or 'without number'} "
                    f"(id {there['id']}). If it is the same, give it the check number {one.number or 'of QBO'} and this "
                    "amount there, or delete it; if not, correct its date or number."
                )
                work.hold(Reason.POSSIBLE_DUPLICATE, text, f"payment {there['id']}", one.amount)
                return True
        return False

    def _has_room(self, work: PaymentWork, one: ContractPayment) -> bool:
        """Whether the invoice takes the payment beside what Procore counts, or may count, of the others."""
        contract = self._contract(one.project_id, one.commitment_id)
        others = [
            row
            for row in contract.rows
            if row.wanted["contract_payment"]["requisition_id"] == one.fields["requisition_id"]
            and row.origin_id != one.origin_id
            and row.state not in (Fate.REMOVED, Fate.SILENCED)
        ]
        pending = [row for row in others if row.state in (Fate.SENDING, Fate.UNKNOWN)]
        paid = total(row.amount for row in others) + total(
            Decimal(row.wanted["contract_payment"]["amount"]) for row in pending if row.amount == ZERO
        )
        if paid + one.amount <= one.most:
            return True
        if pending:
            work.wait(self.settled_at())
            return False
        text = (
            f"{one.amount} is more than is open on the invoice in Procore: {paid} of {one.most} is paid there by "
            "payments that QBO has no more and Procore did not let go."
        )
        work.hold(Reason.UNBALANCED, text, f"bill {one.bill_id}", one.amount)
        return False

    # -- calls ------------------------------------------------------------------------------------------------------

    def _create(self, work: PaymentWork, contract: _Contract, one: ContractPayment) -> None:
        self._intend(work, one)
        crashpoint("K5")
        body = {**contract.scope, "contract_payment": dict(one.fields)}

        def post() -> Raw:
            answer = self.client.post(PATH, body)
            crashpoint("K7")
            if not isinstance(answer, Mapping) or "id" not in answer or not one.is_held_by(answer):
                raise OutcomeUnknown("a payment was answered as another one", vendor="procore")
            return answer

        said = self._attempt(work, one.origin_id, post)
        if said.answer is not None:
            self._lists.setdefault(contract.commitment_id, []).append(said.answer)
            self._confirm(work, one, int(said.answer["id"]), event="posted")
        elif said.error is not None:
            self._refusals.of_new(work, one, said.error)

    def _change(
        self, work: PaymentWork, contract: _Contract, one: ContractPayment, procore_id: int, *, linked: bool
    ) -> None:
        """Change it in place; where its link locks it: unlink, change and link again (procore-api 10.1)."""
        self._intend(work, one)
        with self.engine.begin() as db:
            ledger.found(db, self.connection.name, {one.origin_id: procore_id})
        crashpoint("K5")
        path = f"{PATH}/{procore_id}"
        full = {**contract.scope, "contract_payment": {"check_number": None, **one.fields}}

        def change() -> bool:
            answer = self.client.patch(path, full)
            crashpoint("K7")
            return isinstance(answer, Mapping) and one.is_held_by(answer)

        def unlink_and_change() -> bool:
            self.client.patch(path, self._unlinked(contract))
            crashpoint("K14")
            return change()

        said = self._attempt(work, one.origin_id, change)
        if linked and said.is_locked:
            said = self._attempt(work, one.origin_id, unlink_and_change)
        if said.answer:
            self._confirm(work, one, procore_id, event="changed")
        elif not said.unclear:
            self._refusals.of_change(work, one, procore_id, said.error)

    def _remove(self, work: PaymentWork, contract: _Contract, row: Row[Any]) -> None:
        """Delete it; where its link locks it, unlink it first."""
        procore_id = row.procore_id
        if procore_id is None:
            listed = self._listed(work, contract)
            if listed is None:
                return
            found = _ours(listed, row.origin_id, None)
            if not found:  # it never came to be
                self._gone(work, row)
                return
            procore_id = int(found[0]["id"])
        with self.engine.begin() as db:
            ledger.found(db, self.connection.name, {row.origin_id: procore_id})
            self._tell(db, work, "sent", {"origin_id": row.origin_id, "change": "delete", "id": procore_id})
        crashpoint("K5")
        path = f"{PATH}/{procore_id}"

        def delete() -> bool:
            self.client.delete(path, contract.scope)
            crashpoint("K7")
            return True

        def unlink_and_delete() -> bool:
            self.client.patch(path, self._unlinked(contract))
            crashpoint("K14")
            return delete()

        said = self._attempt(work, row.origin_id, delete)
        if said.is_locked:
            said = self._attempt(work, row.origin_id, unlink_and_delete)
        if said.unclear:
            return
        missing = said.error is not None and said.error.status == 404
        if said.answer or (missing and self._is_absent(work, contract, procore_id)):
            self._gone(work, row)
        else:
            self._refusals.of_removal(work, row, procore_id, said.error)

    def _is_absent(self, work: PaymentWork, contract: _Contract, procore_id: int) -> bool:
        self._lists.pop(contract.commitment_id, None)
        listed = self._listed(work, contract)
        return listed is not None and all(int(there["id"]) != procore_id for there in listed)

    def _unlinked(self, contract: _Contract) -> dict[str, Any]:
        return {**contract.scope, "contract_payment": {"origin_id": None}}

    def _listed(self, work: PaymentWork, contract: _Contract) -> list[Raw] | None:
        """The payments of a contract; None when Procore did not tell, and then the work says why."""
        if contract.commitment_id not in self._lists:
            said = self._attempt(work, None, lambda: self.client.rows(PATH, contract.scope))
            if said.answer is None:
                if said.error is not None:
                    self._refusals.forbidden(work, said.error, contract.project_id, contract.commitment_id)
                return None
            self._lists[contract.commitment_id] = list(said.answer)
        return self._lists[contract.commitment_id]

    def _attempt(self, work: PaymentWork, origin: str | None, action: Callable[[], Any]) -> "_Said":
        """Run calls: an unclear outcome makes the work wait, a refusal is handed to the caller."""
        try:
            return _Said(answer=action())
        except ReconnectNeeded:
            raise
        except (OutcomeUnknown, TransientError) as error:
            later = error.not_before if isinstance(error, TransientError) else None
            until = self.settled_at() if later is None else max(self.settled_at(), later)
            work.wait(until)
            with self.engine.begin() as db:
                if origin is not None:
                    ledger.doubt(db, self.connection.name, [origin], not_before=until)
                self._tell(db, work, "unknown", {"origin_id": origin, "look again": until})
            return _Said(unclear=True)
        except PermanentError as error:
            return _Said(error=error)

    # -- what became of it ------------------------------------------------------------------------------------------

    def _intend(self, work: PaymentWork, one: ContractPayment) -> None:
        intent = Intent(
            origin_id=one.origin_id,
            kind=Kind.CONTRACT_PAYMENT,
            entity=Entity.BILL_PAYMENT,
            qbo_id=work.qbo_id,
            project_id=one.project_id,
            commitment_id=one.commitment_id,
            landing_number=work.landing_number,
            sync_token=work.sync_token,
            wanted=one.body,
            wanted_hash=one.body_hash,
            number=one.number,
        )
        detail = {"origin_id": one.origin_id, "body": one.body_hash.hex()[:16], "amount": one.amount}
        with self.engine.begin() as db:
            ledger.intend(db, self.connection.name, [intent], run_id=self.run_id)
            self._tell(db, work, "sent", {**detail, "version": work.landing_number})

    def _confirm(self, work: PaymentWork, one: ContractPayment, procore_id: int, *, event: str) -> None:
        before = work.known.get(one.origin_id)
        replaced = self._replaced(one)
        detail: dict[str, Any] = {
            "origin_id": one.origin_id,
            "procore_id": procore_id,
            "amount": one.amount,
            "before": ZERO if before is None else before.amount,
            "commitment": one.commitment_id,
            "pays": f"bill:{one.bill_id}",
        }
        if replaced:
            detail["replaces"] = replaced
        with self.engine.begin() as db:
            confirmed = Confirmed(one.origin_id, procore_id, one.body_hash, one.amount)
            ledger.confirm(db, self.connection.name, [confirmed])
            self._tell(db, work, event, detail)
        work.wrote = True
        crashpoint("K8")

    def _replaced(self, one: ContractPayment) -> list[str]:
        """Payments of the same bill and amount that were taken back: a re-issued check replaces them (S64)."""
        return [
            f"payment:{row.qbo_id}"
            for row in self._contract(one.project_id, one.commitment_id).rows
            if row.state == Fate.REMOVED
            and row.wanted["bill"] == one.bill_id
            and Decimal(row.wanted["contract_payment"]["amount"]) == one.amount
        ]

    def _gone(self, work: PaymentWork, row: Row[Any]) -> None:
        detail = {
            "origin_id": row.origin_id,
            "amount": row.amount,
            "commitment": row.commitment_id,
            "paid": f"bill:{row.wanted['bill']}",
        }
        with self.engine.begin() as db:
            ledger.remove(db, self.connection.name, row.origin_id)
            self._tell(db, work, "reversed", detail)
        self._lists.pop(row.commitment_id, None)
        work.wrote = True
        crashpoint("K8")

    @property
    def _refusals(self) -> Refusals:
        return Refusals(self.connection, self.engine, self.run_id, self.settled_at)

    def _tell(self, db: Database, work: PaymentWork, event: str, detail: Mapping[str, Any]) -> None:
        tell(db, self.connection, work, event, detail, run_id=self.run_id)


@dataclass(frozen=True)
class _Said:
    """What calls came to: an answer, a refusal, or neither."""

    answer: Any = None
    error: PermanentError | None = None
    unclear: bool = False

    @property
    def is_locked(self) -> bool:
        """Whether the link of a synced record stands in the way: by its notice (procore-api 11), or without a word."""
        if self.error is None:
            return self.answer is False
        return self.error.status not in NO_ACCESS and "synced with" in words_of(self.error)


def _by_contract(
    targets: Sequence[tuple[PaymentWork, str, int, Any]],
) -> list[tuple[tuple[str, int], list[tuple[PaymentWork, Any]]]]:
    groups: dict[tuple[str, int], list[tuple[PaymentWork, Any]]] = {}
    for work, project, commitment, target in targets:
        groups.setdefault((project, commitment), []).append((work, target))
    return sorted(groups.items(), key=lambda entry: entry[0])


def _ours(listed: Sequence[Raw], origin: str, procore_id: int | None) -> list[Raw]:
    """The records of a list that carry our reference, or that we know by their id although it is gone."""
    return [there for there in listed if origin_in(there) == origin or int(there["id"]) == procore_id]


def _shrinks(work: PaymentWork, one: ContractPayment) -> bool:
    row = work.known.get(one.origin_id)
    return row is not None and row.amount > one.amount


def _near(there: Raw, day: date) -> bool:
    try:
        return abs(date.fromisoformat(str(there.get("date"))) - day) <= NEAR
    except ValueError:
        return True  # without a date it may be any
