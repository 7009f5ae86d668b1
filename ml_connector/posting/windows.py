"""Posting windows: what mapping planned for the days is compared with the ledger, and only the difference is written.

Records go in slices of a fixed size, so that neither memory nor a crash's reach grows with the window.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.holds import Hold
from ml_connector.mapping.decided import standing
from ml_connector.mapping.vendor_merges import as_entered, is_active
from ml_connector.money import ZERO, total
from ml_connector.posting.bill_work import Work
from ml_connector.posting.budget_lines import BudgetWarnings
from ml_connector.posting.direct_costs.desk import DirectCostDesk
from ml_connector.posting.direct_costs.differences import changed_fields
from ml_connector.posting.direct_costs.drift_guard import DriftGuard
from ml_connector.posting.direct_costs.lost import LostCosts
from ml_connector.posting.direct_costs.typed_costs import LATELY, TypedCosts
from ml_connector.posting.planning import PlannedBill, Planner, planned_bill
from ml_connector.posting.requisitions.commitments import is_subcontract
from ml_connector.posting.requisitions.desk import RequisitionDesk
from ml_connector.posting.requisitions.openings import Openings
from ml_connector.posting.requisitions.plans import RequisitionPlanner
from ml_connector.posting.unclear import Unclear
from ml_connector.posting.vendors.changes import Followed, VendorChanges
from ml_connector.posting.vendors.desk import Links, VendorDesk
from ml_connector.posting.vendors.of_bills import BillVendors
from ml_connector.posting.vendors.projects import ProjectVendorDesk
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.commitments import CommitmentBook
from ml_connector.qbo.client import QboClient
from ml_connector.qbo.models import JOB_COSTS, Entity
from ml_connector.settings import Connection
from ml_connector.store import audit, landing, ledger, records, windows
from ml_connector.store.ledger import Kind
from ml_connector.store.records import Move, Only, State

SLICE = 1000
RETAINAGE = "RETAINAGE_PAYABLE"  # why retainage of no commitment is excluded


@dataclass
class Posted:
    """What posting did: records by outcome, money posted now, days that failed or wait, and until when."""

    outcomes: dict[tuple[Entity, State], int] = field(default_factory=dict)
    posted: Decimal = ZERO
    waiting_days: dict[date, datetime] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)  # sentences about bills that were posted all the same

    def count(self, entity: Entity, state: State) -> None:
        """Add one record."""
        self.outcomes[entity, state] = self.outcomes.get((entity, state), 0) + 1

    def wait(self, day: date, until: datetime) -> None:
        """Keep a day open until `until`."""
        self.waiting_days[day] = max(until, self.waiting_days.get(day, until))


@dataclass(frozen=True)
class PostedBills:
    """What posting did with bills: those with direct costs, those on commitments; a bill with both counts in both."""

    direct_costs: Posted = field(default_factory=Posted)
    requisitions: Posted = field(default_factory=Posted)

    def of(self, bill: PlannedBill) -> list[Posted]:
        """Where a bill counts; one that becomes nothing counts among the direct costs."""
        on_commitment = bool(bill.requisitions) or any(is_subcontract(line) for line in bill.lines)
        other = bool(bill.targets) or any(
            line.outcome == "posted" and not is_subcontract(line) for line in bill.lines
        )
        direct = [self.direct_costs] if other or not on_commitment else []
        return [*direct, self.requisitions] if on_commitment else direct


@dataclass
class Poster:
    """Posts windows of one connection. `resend` repeats bodies that Procore refused before: a replay by a person."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    resend: bool = False
    only: Only = None  # the records that the run is limited to
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    qbo: Callable[[], QboClient] | None = None  # for what was on a commitment before the start

    def __post_init__(self) -> None:
        self._vendors = VendorDesk(
            self.connection, self.engine, self.client, self.run_id, self._settled_at, self.now, self.resend
        )
        self._changes = VendorChanges(self._vendors)
        self._bill_vendors = BillVendors(self._vendors)
        self._on_projects = ProjectVendorDesk(
            self.connection, self.engine, self.client, self.run_id, self._settled_at
        )
        self._direct_costs = DirectCostDesk(
            self.connection, self.engine, self.client, self.run_id, self._settled_at
        )
        self._planner = Planner(self.connection, self.now, self.resend)
        book = CommitmentBook(self.client)
        self._openings = Openings(self.connection, self.engine, book, self.run_id, self.now, self.qbo)
        self._invoices = RequisitionPlanner(
            self.connection,
            self.engine,
            book,
            self._planner,
            self._settled_at,
            openings=self._openings,
        )
        self._requisitions = RequisitionDesk(
            self.connection, self.engine, self.client, book, self.run_id, self._settled_at
        )
        fresh_enough = timedelta() if self.resend else LATELY
        self._typed = TypedCosts(
            self.connection, self.engine, self.client, self._settled_at, self.now, fresh_enough
        )
        self._lost = LostCosts(self.connection, self.engine, self.client, self.run_id, self._settled_at)
        self._budgets = BudgetWarnings(self.connection, self.engine, self.client, self.now)
        self._moves: list[Move] = []  # of the transaction that is open
        self._told: list[audit.Entry] = []  # likewise

    def _settled_at(self) -> datetime:
        return self.now() + timedelta(seconds=self.connection.timing.settle)

    def post_vendors(self, days: Sequence[date]) -> Posted:
        """Put the active vendors of `days` into Procore's directory, and let those that are there follow QBO."""
        done = Posted()
        for rows in self._slices(Entity.VENDOR, days):
            with self.engine.connect() as db:
                versions = landing.by_number(db, self.connection.name, [row.landing_number for row in rows])
            links = self._vendors.link(
                [row.qbo_id for row in rows if is_active(versions[row.landing_number])]
            )
            followed = self._changes.follow(list(versions.values()))
            done.warnings += [sentence for _, sentence in followed.warnings]
            with self.engine.begin() as db:
                for row in rows:
                    self._finish_vendor(db, row, links, followed, done)
                self._tell(db)
        return done

    def _finish_vendor(
        self, db: Database, row: Row[Any], links: Links, followed: Followed, done: Posted
    ) -> None:
        qbo_id, hold = row.qbo_id, links.holds.get(row.qbo_id)
        until = links.waiting.get(qbo_id) or followed.waiting.get(qbo_id)
        if until is not None:
            self._wait(db, Entity.VENDOR, row, ZERO, until, [done])
        elif hold is not None:
            self._move(db, Entity.VENDOR, row, State.HELD, [done], holds=[hold], settled=False)
        elif qbo_id in followed.changed:
            self._move(db, Entity.VENDOR, row, State.UPDATED, [done])
        elif qbo_id in followed.known:
            self._move(db, Entity.VENDOR, row, State.NO_OP, [done])
        else:
            state = State.POSTED if qbo_id in links.ids else State.EXCLUDED
            self._move(db, Entity.VENDOR, row, state, [done])

    def post_bills(self, days: Sequence[date]) -> PostedBills:
        """Bring the direct costs and requisitions of the bills of `days` to what was planned."""
        done = PostedBills()
        unclear = Unclear(self.connection, self.engine, self.client, self.run_id, self.now)
        for entity in JOB_COSTS:
            for rows in self._slices(entity, days):
                self._post_slice(entity, rows, done)
            for day, until in unclear.count(entity, days).items():
                done.direct_costs.wait(day, until)
        return done

    def _slices(self, entity: Entity, days: Sequence[date]) -> Iterator[list[Row[Any]]]:
        after, name = "", self.connection.name
        with self.engine.connect() as db:
            # What Procore made wait is tried again when a person asks, or when something marked its day.
            again = days if self.resend else sorted(windows.seen_marks(db, name, days))
        while True:
            with self.engine.connect() as db:
                rows = records.planned(
                    db, name, entity, days, again_held=again, after=after, limit=SLICE, only=self.only
                )
            if not rows:
                return
            yield rows
            after = rows[-1].qbo_id

    # -- one slice --------------------------------------------------------------------------------------------------

    def _post_slice(self, entity: Entity, rows: Sequence[Row[Any]], done: PostedBills) -> None:
        bills = self._load(entity, rows)
        unsettled = {
            bill.row.qbo_id: until for bill in bills if (until := self._planner.unsettled(bill)) is not None
        }
        ready = [bill for bill in bills if bill.row.qbo_id not in unsettled]
        ready.sort(key=_in_order_of_billing)
        vendors = {bill.vendor_id for bill in ready if bill.vendor_id is not None}
        self._changes.keep_activity(vendors)
        links = self._vendors.link(vendors)
        works = {bill.row.qbo_id: self._planner.work(entity, bill, links) for bill in ready}
        self._openings.expect(
            bill.vendor_id
            for bill in ready
            if bill.vendor_id is not None and not bill.requisitions and any(map(is_subcontract, bill.lines))
        )
        for bill in ready:
            there, merged = links.of(bill.vendor_id)
            self._invoices.plan(bill, works[bill.row.qbo_id], there, merged)
            self._planner.keep_closed(bill, works[bill.row.qbo_id])
        self._bill_vendors.check(ready, works, links)
        self._look_at_procore([(bill, works[bill.row.qbo_id]) for bill in ready])
        self._budgets.check([(bill, works[bill.row.qbo_id]) for bill in ready])
        self._bill_vendors.put_on_projects(ready, works, self._on_projects)
        changed = self._write([work for work in works.values() if work.open])
        wrote = {work.qbo_id for work in changed}
        with self.engine.begin() as db:
            amounts = ledger.live_amounts(db, self.connection.name, entity, [row.qbo_id for row in rows])
            for row, bill in zip(rows, bills, strict=True):
                work, live = works.get(row.qbo_id), amounts.get(row.qbo_id, ZERO)
                if work is None:
                    self._wait(db, entity, row, live, unsettled[row.qbo_id], done.of(bill))
                else:
                    self._finish(
                        db, entity, row, bill, work, live=live, wrote=row.qbo_id in wrote, done=done.of(bill)
                    )
            came = {work.qbo_id for work in changed if work.open}
            for part, kind in ((done.direct_costs, Kind.DIRECT_COST), (done.requisitions, Kind.REQUISITION)):
                live_now = ledger.live_amounts(db, self.connection.name, entity, came, kinds=[kind])
                part.posted += total(live_now.values())
            self._tell(db)
        self._changes.keep_activity(vendors)

    def _look_at_procore(self, cases: Sequence[tuple[PlannedBill, Work]]) -> None:
        """What people changed in Procore, or entered before us, holds the works or becomes a part of them."""
        self._lost.check(cases)
        guard = DriftGuard(self.connection, self.engine, self.client, self._settled_at)
        guard.check(cases)
        self._typed.check(cases)
        if guard.seen:
            with self.engine.begin() as db:
                ledger.saw(db, self.connection.name, guard.seen)

    def _write(self, works: Sequence[Work]) -> list[Work]:
        """Write what differs: what goes goes first, then direct costs, which a refused requisition takes back to draft."""
        changed = [work for work in works if work.differs]
        self._requisitions.take_back([work for work in changed if work.gone])
        with_costs = [work for work in changed if work.open and (work.surplus or work.todo or work.links)]
        if with_costs:
            self._direct_costs.write(with_costs)
        self._direct_costs.retreat(self._requisitions.write(changed))
        self._requisitions.renew([work for work in works if work.open])
        return changed

    def _load(self, entity: Entity, rows: Sequence[Row[Any]]) -> list[PlannedBill]:
        name, ids = self.connection.name, [row.qbo_id for row in rows]
        with self.engine.connect() as db:
            versions = landing.by_number(db, name, [row.landing_number for row in rows])
            versions = as_entered(db, name, entity, versions)
            lines = records.lines_of(db, name, entity, ids)
            made = standing(db, name, entity, versions.values())
            costs = ledger.targets_of(db, name, entity, ids, kind=Kind.DIRECT_COST)
            invoices = ledger.targets_of(db, name, entity, ids, kind=Kind.REQUISITION)
        return [
            planned_bill(
                row,
                versions[row.landing_number],
                lines[row.qbo_id],
                costs[row.qbo_id],
                invoices[row.qbo_id],
                made.get(row.qbo_id, ()),
            )
            for row in rows
        ]

    def _finish(
        self,
        db: Database,
        entity: Entity,
        row: Row[Any],
        bill: PlannedBill,
        work: Work,
        *,
        live: Decimal,
        wrote: bool,
        done: Sequence[Posted],
    ) -> None:
        if work.wait_until is not None:
            self._wait(db, entity, row, live, work.wait_until, done)
            return
        if work.holds:
            held = row.total - row.excluded - live
            why = [replace(entry, amount=held) for entry in work.holds]
            self._move(db, entity, row, State.HELD, done, posted=live, held=held, holds=why, settled=False)
            return
        self._told += [audit.Entry(event, entity, row.qbo_id, detail) for event, detail in work.told]
        if work.is_kept:
            # What lies between the bill and what a person left in Procore is excluded by that decision.
            self._move(db, entity, row, State.NO_OP, done, posted=live, excluded=row.total - live)
            return
        records.exclude(db, self.connection.name, entity, row.qbo_id, work.excluded, reason=RETAINAGE)
        if not work.wanted and not work.has_invoices:
            gone = State.REVERSED if bill.was_posted else State.NO_OP
            state = State.EXCLUDED if (row.excluded or work.excluded) and not bill.was_posted else gone
        elif not wrote:
            state = State.NO_OP
            self._told += self._nothing_to_send(db, entity, bill)
        else:
            state = State.UPDATED if bill.was_posted else State.POSTED
        if wrote:
            self._warn(entity, row, work, done)
        # Lines that mapping held keep their holds; the rest of the bill went through.
        held = total(line.amount for line in bill.lines if line.outcome == "held")
        if held:
            self._move(db, entity, row, State.HELD, done, posted=live, held=held, holds=None)
        else:
            # Retainage of a gross bill is held until it is released, though nobody has to act.
            self._move(db, entity, row, state, done, posted=live, held=work.kept_back)

    def _nothing_to_send(self, db: Database, entity: Entity, bill: PlannedBill) -> list[audit.Entry]:
        """What was edited in QBO since the version before, of a bill that is posted and stays as it is (S70)."""
        before = landing.previous(db, self.connection.name, bill.version) if bill.was_posted else None
        changed = [] if before is None else changed_fields(before.raw, bill.version.raw)
        detail = {"version": bill.version.number, "changed": changed}
        return [audit.Entry("no-op", entity, bill.row.qbo_id, detail)] if changed else []

    def _warn(self, entity: Entity, row: Row[Any], work: Work, done: Sequence[Posted]) -> None:
        for reason, sentence in work.warnings:
            for part in done:
                part.warnings.append(sentence)
            detail = {"reason": reason, "sentence": sentence}
            self._told.append(audit.Entry("warned", entity, row.qbo_id, detail))

    def _wait(
        self,
        db: Database,
        entity: Entity,
        row: Row[Any],
        live: Decimal,
        until: datetime,
        done: Sequence[Posted],
    ) -> None:
        held = row.total - row.excluded - live
        self._move(db, entity, row, State.RETRYING, done, posted=live, held=held, settled=False)
        for part in done:
            part.wait(row.day, until)

    def _move(
        self,
        db: Database,
        entity: Entity,
        row: Row[Any],
        state: State,
        done: Sequence[Posted],
        *,
        posted: Decimal = ZERO,
        held: Decimal = ZERO,
        holds: Sequence[Hold] | None = (),
        settled: bool = True,
        excluded: Decimal | None = None,
    ) -> None:
        for part in done:
            part.count(entity, state)
        name, was_held = self.connection.name, row.state == State.HELD
        before = records.questions_of(db, name, entity, row.qbo_id) if was_held else []
        if holds and before == [(hold.reason, hold.about) for hold in holds] and row.posted == posted:
            return  # the same hold as before: nothing to tell
        self._moves.append(Move(entity, row.qbo_id, state, posted, held, holds, settled, excluded))
        if holds:
            why = [{"reason": hold.reason, "sentence": hold.sentence} for hold in holds]
            detail = {"holds": why, "posted": posted, "held": held}
            self._told.append(audit.Entry("held", entity, row.qbo_id, detail))
        elif was_held and settled:
            detail = {"from": [reason for reason, _ in before], "waited_since": row.since}
            self._told.append(audit.Entry("released", entity, row.qbo_id, detail))

    def _tell(self, db: Database) -> None:
        records.move(db, self.connection.name, self._moves, run_id=self.run_id)
        audit.append(db, self.connection.name, self._told, run_id=self.run_id, actor="ml-connector")
        self._moves.clear()
        self._told.clear()


def _in_order_of_billing(bill: PlannedBill) -> tuple[date, int, str]:
    """Invoices of a commitment build on each other: older bills go first."""
    dated = date.max if bill.bill is None else bill.bill.txn_date
    return dated, len(bill.row.qbo_id), bill.row.qbo_id
