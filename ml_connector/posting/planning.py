"""Planning: what mapping decided of a bill against what the ledger says of Procore. No call is made, nothing is stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from sqlalchemy import Row

from ml_connector.holds import Choice, Hold, Reason
from ml_connector.mapping.decided import is_no_duplicate, last_of
from ml_connector.mapping.models import Route
from ml_connector.mapping.wording import KIND_WORDS
from ml_connector.money import ZERO, total
from ml_connector.posting.bill_work import Work
from ml_connector.posting.direct_costs.taking_back import is_refused
from ml_connector.posting.direct_costs.unlocking import GONE
from ml_connector.posting.targets import DirectCost, direct_costs
from ml_connector.posting.vendors.desk import Links
from ml_connector.qbo.models import Bill, Entity, parse_bill
from ml_connector.settings import Connection
from ml_connector.store import landing
from ml_connector.store.decisions import Made
from ml_connector.store.ledger import Fate
from ml_connector.store.records import MappedLine


class Decided(Protocol):
    """What planning reads of a decision, or of the stored record."""

    @property
    def qbo_id(self) -> str: ...
    @property
    def day(self) -> date: ...
    @property
    def document(self) -> str: ...
    @property
    def vendor_name(self) -> str: ...
    @property
    def total(self) -> Decimal: ...
    @property
    def closed_to(self) -> date | None: ...


@dataclass(frozen=True)
class PlannedBill:
    """A bill with all that planning needs."""

    row: Decided
    version: landing.Version
    bill: Bill | None  # None for a deleted one
    lines: Sequence[MappedLine]
    targets: Sequence[Row[Any]]  # of `ledger`: its direct costs
    requisitions: Sequence[Row[Any]] = ()  # of `ledger`: its invoices on commitments
    made: Sequence[Made] = ()  # what people decided about it, and still holds

    @property
    def sends(self) -> bool:
        """Whether something of it belongs in Procore."""
        return self.bill is not None and any(line.outcome == "posted" for line in self.lines)

    @property
    def vendor_id(self) -> str | None:
        """The QBO vendor whose Procore id is needed; None when nothing is to be sent, or a purchase names none."""
        return self.bill.vendor.id or None if self.bill is not None and self.sends else None

    @property
    def was_posted(self) -> bool:
        """Whether Procore counts an earlier version."""
        return any(target.confirmed_hash is not None for target in (*self.targets, *self.requisitions))


def planned_bill(
    row: Decided,
    version: landing.Version,
    lines: Sequence[MappedLine],
    targets: Sequence[Row[Any]],
    requisitions: Sequence[Row[Any]] = (),
    made: Sequence[Made] = (),
) -> PlannedBill:
    """A bill for planning from its landed version, dated as a person decided where one did."""
    bill = None if version.tombstone else parse_bill(version.raw, Entity(version.entity))
    moved = [day for one in made if (day := one.next_open_day) is not None]
    if bill is not None and moved:
        bill = replace(bill, txn_date=moved[-1])
    return PlannedBill(row, version, bill, lines, targets, requisitions, made)


@dataclass(frozen=True)
class Planner:
    """Plans bills of one connection. `resend` repeats bodies that Procore refused before: a replay by a person."""

    connection: Connection
    now: Callable[[], datetime]
    resend: bool

    def unsettled(self, bill: PlannedBill) -> datetime | None:
        """Until when a write of an earlier run may still be under way; None when nothing is."""
        waits = [
            target.not_before or target.sent_at + timedelta(seconds=self.connection.timing.settle)
            for target in (*bill.targets, *bill.requisitions)
            if target.state in (Fate.SENDING, Fate.UNKNOWN)
        ]
        until = max(waits, default=None)
        return until if until is not None and until > self.now() else None

    def work(self, entity: Entity, bill: PlannedBill, links: Links) -> Work:
        """The bill's direct costs as they should be, and what keeps it from being sent, if anything does."""
        work = Work(
            entity=entity,
            qbo_id=bill.row.qbo_id,
            words=_words(entity, bill.row),
            landing_number=bill.version.number,
            sync_token=bill.version.sync_token,
            wanted=[],
            surplus=[],
            known={target.origin_id: target for target in bill.targets},
            repeats_number=is_no_duplicate(bill.made),
            links_new=self.connection.policies.links == "origin_id",
        )
        vendor_id = bill.vendor_id
        if vendor_id in links.waiting:
            work.wait(links.waiting[vendor_id])
        elif vendor_id in links.holds:
            work.holds.append(links.holds[vendor_id])
        else:
            if bill.bill is not None and bill.sends:
                there = None if vendor_id is None else links.ids[vendor_id]
                work.wanted = self._wanted(bill.bill, bill, bill.lines, there)
            work.surplus = _surplus(bill, work.wanted)
            self._remember_refusal(bill, work)
        return work

    def send_as_direct_costs(
        self, bill: PlannedBill, work: Work, vendor_id: int, lines: Sequence[MappedLine]
    ) -> None:
        """Let `lines`, which no commitment takes, be direct costs of the bill beside the others."""
        if bill.bill is not None:
            direct = [
                replace(line, route=Route.DIRECT_COST) if line in lines else line for line in bill.lines
            ]
            work.wanted = self._wanted(bill.bill, bill, direct, vendor_id)
            work.surplus = _surplus(bill, work.wanted)
            self._remember_refusal(bill, work)

    def _wanted(
        self, source: Bill, bill: PlannedBill, lines: Sequence[MappedLine], vendor_id: int | None
    ) -> list[DirectCost]:
        return direct_costs(
            source,
            lines,
            realm=self.connection.qbo.realm_id,
            vendor_id=vendor_id,
            status=self.connection.policies.direct_cost_status,
            suffixes={target.origin_id: target.suffix for target in bill.targets},
            nets=self.connection.policies.negative_line == "net",
            dates_payment=self.connection.policies.direct_cost_payment_date != "never",
        )

    def keep_closed(self, bill: PlannedBill, work: Work) -> None:
        """Changes of a closed period wait for a person, unless they came before the books were closed."""
        policy, then = self.connection.policies.books_closed_to, bill.row.closed_to
        if policy is None or then is None or not work.differs:
            return
        closed_to = min(policy, then)
        known = (*bill.targets, *bill.requisitions)
        dates = [_date_of(target) for target in known if target.state != Fate.REMOVED]
        if bill.bill is not None:
            dates.append(bill.bill.txn_date)
        dated = min(dates, default=date.max)
        if dated > closed_to or _may_pass(bill.made, closed_to):
            return
        sentence = (
            f"{work.words}: it is dated {dated}, and the books are closed to {closed_to}. Decide to post it with its own "
            "date (post_anyway) or on the first open day (next_open_day), or give it another date in QBO."
        )
        cause, about = f"{Reason.PERIOD_CLOSED} {closed_to}", closed_to.isoformat()
        work.holds.append(Hold(Reason.PERIOD_CLOSED, sentence, cause, ZERO, about=about))

    def _remember_refusal(self, bill: PlannedBill, work: Work) -> None:
        """An automatic run never sends a refused body again: the same sentence, no call (design 7).

        Where a person decided to leave a locked record as it is, nothing of the bill is sent any more.
        """
        refused = [(row, GONE) for row in work.surplus if is_refused(row)]
        for cost in work.wanted:
            row = work.known.get(cost.origin_id)
            if row is not None and row.state == Fate.REFUSED and bytes(row.refused_hash) == cost.body_hash:
                refused.append((row, cost.about))
        for _, about in refused:
            said = last_of(bill.made, Reason.LOCKED_IN_PROCORE, about)
            if said is not None:
                work.told.append(("kept", {"decided": str(said)}))
                work.keep()
                return
        if refused and not self.resend:
            work.holds.append(earlier_refusal(*refused[0]))


def earlier_refusal(row: Row[Any], about: str = "") -> Hold:
    """The hold of an earlier run, word by word; `about` is what a decision on a lock holds for."""
    reason = Reason(row.refusal_reason or Reason.REFUSED)
    cause = f"{reason} {row.refusal}"[:200]
    return Hold(reason, row.refusal, cause, ZERO, about=about if reason is Reason.LOCKED_IN_PROCORE else "")


def _may_pass(made: Sequence[Made], closed_to: date) -> bool:
    """Whether a person let the bill pass that close of the books, or a later one, or excluded it altogether."""
    return any(
        one.choice is Choice.EXCLUDE
        or (one.reason is Reason.PERIOD_CLOSED and date.fromisoformat(one.about) >= closed_to)
        for one in made
    )


def _date_of(target: Row[Any]) -> date:
    wanted = target.wanted
    return date.fromisoformat(wanted.get("txn_date") or wanted["header"]["direct_cost_date"])


def _surplus(bill: PlannedBill, wanted: Sequence[DirectCost]) -> list[Row[Any]]:
    """Whatever was sent once and is wanted no more; of an unclear one it is looked up whether it is there."""
    origins = {cost.origin_id for cost in wanted}
    return [row for row in bill.targets if row.origin_id not in origins and row.state != Fate.REMOVED]


def _words(entity: Entity, row: Decided) -> str:
    number = row.document or f"without number (QBO id {row.qbo_id})"
    payee = row.vendor_name or ("no payee" if entity is Entity.PURCHASE else "")
    return f"{KIND_WORDS[entity].capitalize()} {number} ({payee}, {row.total})"


def sums(costs: Sequence[DirectCost]) -> str:
    """`101: 2200.00, 102: 800.00`: direct costs by Procore project."""
    return ", ".join(f"{cost.project_id}: {total([cost.amount])}" for cost in costs)
