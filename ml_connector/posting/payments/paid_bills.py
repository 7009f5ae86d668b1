"""Bills as their payments see them: what each became in Procore, and whether that is settled enough to be paid there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Row

from ml_connector.errors import BadRecord
from ml_connector.money import ZERO, total
from ml_connector.posting.bill_work import is_unlinked
from ml_connector.posting.payments.shares import Place
from ml_connector.qbo.models import Entity, parse_bill
from ml_connector.store import landing, ledger, records
from ml_connector.store.ledger import Fate, Kind
from ml_connector.store.payments import ShareKind
from ml_connector.store.records import MappedLine, State

BEFORE_START = "BEFORE_START"
NOWHERE = Place()


class Standing(Enum):
    """How far a bill is."""

    READY = "its money is in Procore or excluded, to the cent"
    WAITING = "a part of it is still to come to Procore"
    DELETED = "QBO has it no more"
    UNSEEN = "it was never read: older than the start"


@dataclass(frozen=True)
class BillTarget:
    """What a part of a bill became; `amount` is its share of the bill."""

    kind: ShareKind
    id: str  # commitment, project, or reason of the exclusion
    amount: Decimal
    place: Place
    project_id: str = ""
    commitment_id: int | None = None
    procore_id: int | None = None
    origin_id: str = ""
    is_unlinked: bool = False  # a person's record, or one whose link is in our ledger alone


@dataclass(frozen=True)
class PaidBill:
    """A bill that payments are applied to. `is_paid`: QBO shows no balance of it any more."""

    id: str
    standing: Standing
    number: str = ""
    total: Decimal = ZERO
    targets: tuple[BillTarget, ...] = ()
    place: Place = NOWHERE
    is_paid: bool = False

    @property
    def words(self) -> str:
        """How sentences name it."""
        return f"bill {self.number or 'without number'} (QBO id {self.id})"

    def target(self, kind: ShareKind, target_id: str) -> BillTarget | None:
        """The target of a share, when the bill has it."""
        return next((one for one in self.targets if (one.kind, one.id) == (kind, target_id)), None)


def load_bills(db: Database, connection: str, ids: Collection[str]) -> dict[str, PaidBill]:
    """The bills of `ids` as they stand, by id; every id is there."""
    wanted = sorted(ids)
    rows = records.known(db, connection, Entity.BILL, wanted)
    versions = landing.newest(db, connection, Entity.BILL, wanted)
    lines = records.lines_of(db, connection, Entity.BILL, wanted)
    targets = {
        kind: ledger.targets_of(db, connection, Entity.BILL, wanted, kind=kind)
        for kind in (Kind.REQUISITION, Kind.DIRECT_COST)
    }
    return {
        bill_id: _bill(
            bill_id,
            rows.get(bill_id),
            versions.get(bill_id),
            lines[bill_id],
            [*targets[Kind.REQUISITION][bill_id], *targets[Kind.DIRECT_COST][bill_id]],
        )
        for bill_id in wanted
    }


def place_of(lines: Sequence[MappedLine]) -> Place:
    """Commitments and projects that mapped lines name."""
    return Place(
        commitments={
            (line.project_id, line.commitment) for line in lines if line.route in ("commitment", "retainage")
        },
        projects={line.project_id for line in lines if line.project_id},
    )


def _bill(
    bill_id: str,
    row: Row[Any] | None,
    version: landing.Version | None,
    lines: Sequence[MappedLine],
    targets: Sequence[Row[Any]],
) -> PaidBill:
    if version is None:
        return PaidBill(bill_id, Standing.UNSEEN)
    if version.tombstone or row is None:
        number = "" if row is None else row.document
        return PaidBill(bill_id, Standing.DELETED if version.tombstone else Standing.WAITING, number)
    there = tuple(_target(target, lines) for target in targets if target.state != Fate.REMOVED)
    left_out = _left_out(row, lines)
    # Of a record that is not held, what counts as held is retainage of a gross bill that is not released yet.
    whole = total(target.amount for target in (*there, *left_out)) + row.held == row.total
    sure = all(target.state in (Fate.CONFIRMED, Fate.REMOVED) for target in targets)
    done = row.settled and row.state != State.HELD
    ready = done and row.landing_number == version.number and whole and sure
    return PaidBill(
        bill_id,
        Standing.READY if ready else Standing.WAITING,
        row.document,
        row.total,
        (*there, *left_out),
        place_of(lines),
        _is_paid(version),
    )


def _target(target: Row[Any], lines: Sequence[MappedLine]) -> BillTarget:
    on_contract = target.kind == Kind.REQUISITION
    mine = [line for line in lines if line.project_id == target.project_id]
    commitments = place_of(mine).commitments if on_contract else ()
    return BillTarget(
        kind=ShareKind.REQUISITION if on_contract else ShareKind.DIRECT_COST,
        id=target.origin_id.split(":", 4)[4],  # commitment or project; a release of retainage says so
        amount=target.amount,
        place=Place(commitments, {target.project_id}),
        project_id=target.project_id,
        commitment_id=target.commitment_id,
        procore_id=target.procore_id,
        origin_id=target.origin_id,
        is_unlinked=is_unlinked(target) or bool((target.wanted or {}).get("linked")),
    )


def _left_out(row: Row[Any], lines: Sequence[MappedLine]) -> tuple[BillTarget, ...]:
    by_reason: dict[str, Decimal] = {}
    for line in lines:
        if line.outcome == "excluded":
            by_reason[line.reason] = by_reason.get(line.reason, ZERO) + line.amount
    if total(by_reason.values()) != row.excluded:  # an exclusion that is not of lines: of the whole
        by_reason = {"EXCLUDED": row.excluded}
    return tuple(
        BillTarget(ShareKind.EXCLUDED, reason, amount, Place())
        for reason, amount in sorted(by_reason.items())
        if amount
    )


def _is_paid(version: landing.Version) -> bool:
    try:
        bill = parse_bill(version.raw)
    except BadRecord:
        return False
    return bill.total > ZERO and bill.balance == ZERO


def misfits(shares: Mapping[tuple[str, ShareKind, str], Decimal], bills: Mapping[str, PaidBill]) -> set[str]:
    """Ids of ready bills whose shares settle what they have no more, or more of it than there is."""
    odd = set()
    for (bill_id, kind, target_id), settled in shares.items():
        bill = bills.get(bill_id)
        if bill is None or bill.standing is not Standing.READY or kind is ShareKind.WAITING or not settled:
            continue
        target = bill.target(kind, target_id)
        if target is None or not min(target.amount, ZERO) <= settled <= max(target.amount, ZERO):
            odd.add(bill_id)
    return odd
