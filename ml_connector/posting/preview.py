"""The dry run: what posting would do with every record of some days, and why. Reads Procore, writes nothing anywhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import Engine

from ml_connector.mapping.decided import standing
from ml_connector.mapping.publishing import procore_projects
from ml_connector.mapping.vendor_merges import as_entered, is_active
from ml_connector.mapping.windows import Mapper
from ml_connector.money import total
from ml_connector.posting.bill_work import Work
from ml_connector.posting.direct_costs.drift_guard import DriftGuard
from ml_connector.posting.direct_costs.typed_costs import TypedCosts
from ml_connector.posting.payments.plans import PaymentPlanner, PaymentWork
from ml_connector.posting.payments.windows import COUNTED
from ml_connector.posting.payments.windows import plan as plan_payments
from ml_connector.posting.planning import PlannedBill, Planner, planned_bill, sums
from ml_connector.posting.requisitions.openings import Openings
from ml_connector.posting.requisitions.plans import RequisitionPlanner
from ml_connector.posting.vendors.changes import VendorChanges
from ml_connector.posting.vendors.desk import VendorDesk
from ml_connector.posting.vendors.of_bills import BillVendors
from ml_connector.procore.catalog import fetch_catalog
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.commitments import CommitmentBook
from ml_connector.qbo.models import JOB_COSTS, Entity
from ml_connector.settings import Connection
from ml_connector.store import landing, ledger, records
from ml_connector.store.ledger import Kind
from ml_connector.store.records import Decision, State

CHUNK = 500


class Action(StrEnum):
    """What posting would do with a record."""

    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"  # to draft, without effect
    NOTHING = "nothing"
    HOLD = "hold"
    EXCLUDE = "exclude"


@dataclass(frozen=True)
class Foreseen:
    """One record of a dry run. `amount` is what Procore would count of it afterwards."""

    entity: str
    qbo_id: str
    day: date
    document: str
    vendor_name: str
    total: Decimal
    amount: Decimal
    action: Action
    why: str


@dataclass(frozen=True)
class Preview:
    """Foresees windows of one connection with Procore's lists as they are now."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    now: datetime

    def foresee(self, days: Sequence[date]) -> list[Foreseen]:
        """Every vendor, bill and payment of `days`, those that nothing would happen to included. No write is made.

        Raises the client's errors.
        """
        with self.engine.connect() as db:
            projects = procore_projects(db, self.connection.name)
            stored = records.of_days(db, self.connection.name, days)
        catalog = fetch_catalog(self.client, self.connection.procore.company_id, projects)
        mapper = Mapper(self.connection, self.engine, lambda db: catalog, run_id="")
        decided = list(mapper.decisions(days))
        mentioned = {(decision.entity, decision.qbo_id) for decision in decided}
        settled = [
            Foreseen(
                entity=row.entity,
                qbo_id=row.qbo_id,
                day=row.day,
                document=row.document,
                vendor_name=row.vendor_name,
                total=row.total,
                amount=row.posted,
                action=Action.NOTHING,
                why=f"it is {row.state} and has not changed since",
            )
            for row in stored
            if (row.entity, row.qbo_id) not in mentioned
        ]
        vendors = VendorDesk(
            self.connection, self.engine, self.client, "", lambda: self.now, lambda: self.now
        )
        planned = [decision for decision in decided if decision.state is State.PLANNED]
        waiting = [_held(decision) for decision in decided if decision.state is not State.PLANNED]
        bills = [decision for decision in planned if decision.entity in JOB_COSTS]
        payments = [decision for decision in planned if decision.entity == Entity.BILL_PAYMENT]
        new_vendors = [decision for decision in planned if decision.entity == Entity.VENDOR]
        return [
            *settled,
            *waiting,
            *self._vendors(vendors, new_vendors),
            *self._bills(vendors, bills),
            *self._payments(payments),
        ]

    def _vendors(self, desk: VendorDesk, decisions: Sequence[Decision]) -> Iterator[Foreseen]:
        with self.engine.connect() as db:
            versions = landing.by_number(
                db, self.connection.name, [decision.landing_number for decision in decisions]
            )
        alive = {decision.qbo_id for decision in decisions if is_active(versions[decision.landing_number])}
        links = desk.foresee(alive)
        linked = VendorChanges(desk).foresee(list(versions.values()))
        for decision in decisions:
            qbo_id = decision.qbo_id
            if qbo_id in links.holds:
                yield _foreseen(decision, Action.HOLD, links.holds[qbo_id].sentence)
            elif qbo_id in links.waiting:
                yield _foreseen(decision, Action.HOLD, f"an answer is awaited until {links.waiting[qbo_id]}")
            elif qbo_id in linked:
                facts = linked[qbo_id] or {}
                what = ", ".join(f"{key} {value}" for key, value in facts.items()) or "it is linked"
                yield _foreseen(decision, Action.UPDATE if facts else Action.NOTHING, what)
            elif qbo_id not in alive:
                yield _foreseen(decision, Action.EXCLUDE, "the vendor is not active in QBO")
            elif links.ids[qbo_id] == 0:
                yield _foreseen(decision, Action.CREATE, "Procore's directory has no such vendor")
            else:
                yield _foreseen(
                    decision, Action.UPDATE, f"Procore's vendor {links.ids[qbo_id]} would be linked"
                )

    def _payments(self, decisions: Sequence[Decision]) -> Iterator[Foreseen]:
        planner = PaymentPlanner(self.connection, lambda: self.now, resend=False)
        for first in range(0, len(decisions), CHUNK):
            chunk = decisions[first : first + CHUNK]
            with self.engine.connect() as db:
                _, _, works = plan_payments(db, self.connection, planner, chunk)
            for decision in chunk:
                yield _foreseen_payment(decision, works[decision.qbo_id])

    def _bills(self, desk: VendorDesk, decisions: Sequence[Decision]) -> Iterator[Foreseen]:
        plans = BillPlans(self.connection, self.engine, self.client, desk, self.now)
        for decision, bill, work in plans.of(decisions):
            yield _foreseen_bill(decision, work, bill)


class BillPlans:
    """What posting would do with decided bills; lists of Procore are read once, however often it is asked."""

    def __init__(
        self, connection: Connection, engine: Engine, client: ProcoreClient, desk: VendorDesk, now: datetime
    ) -> None:
        self._connection = connection
        self._engine = engine
        self._desk = desk
        self._planner = Planner(connection, lambda: now, resend=False)
        book = CommitmentBook(client)
        self._on_commitments = RequisitionPlanner(
            connection,
            engine,
            book,
            self._planner,
            lambda: now,
            keeps_lists=False,
            openings=Openings(connection, engine, book, "", lambda: now),
        )
        self._drift = DriftGuard(connection, engine, client, lambda: now)
        self._typed = TypedCosts(connection, engine, client, lambda: now, lambda: now, keeps_lists=False)

    def of(self, decisions: Sequence[Decision]) -> Iterator[tuple[Decision, PlannedBill, Work]]:
        """Each planned decision with its bill and the work that it would be. Raises the client's errors."""
        for first in range(0, len(decisions), CHUNK):
            chunk = decisions[first : first + CHUNK]
            bills = self._load(chunk)
            links = self._desk.foresee({bill.vendor_id for bill in bills if bill.vendor_id is not None})
            works: list[tuple[PlannedBill, Work]] = []
            for decision, bill in zip(chunk, bills, strict=True):
                work = self._planner.work(Entity(decision.entity), bill, links)
                until = self._planner.unsettled(bill)
                if until is not None:
                    work.wait(until)
                there, merged = links.of(bill.vendor_id)
                self._on_commitments.plan(bill, work, there, merged)
                self._planner.keep_closed(bill, work)
                BillVendors(self._desk).check([bill], {decision.qbo_id: work}, links)
                works.append((bill, work))
            self._drift.check(works)
            self._typed.check(works)
            for decision, (bill, work) in zip(chunk, works, strict=True):
                yield decision, bill, work

    def _load(self, decisions: Sequence[Decision]) -> list[PlannedBill]:
        name, ids = self._connection.name, [decision.qbo_id for decision in decisions]
        entities = {decision.entity for decision in decisions}
        with self._engine.connect() as db:
            versions = landing.by_number(db, name, [decision.landing_number for decision in decisions])
            for entity in entities:
                mine = {number: one for number, one in versions.items() if one.entity == entity}
                versions |= as_entered(db, name, entity, mine)
            made = {
                entity: standing(
                    db,
                    name,
                    entity,
                    [version for version in versions.values() if version.entity == entity],
                )
                for entity in entities
            }
            targets, invoices = (
                {entity: ledger.targets_of(db, name, entity, ids, kind=kind) for entity in entities}
                for kind in (Kind.DIRECT_COST, Kind.REQUISITION)
            )
        return [
            planned_bill(
                decision,
                versions[decision.landing_number],
                decision.lines,
                targets[decision.entity][decision.qbo_id],
                invoices[decision.entity][decision.qbo_id],
                made[decision.entity].get(decision.qbo_id, ()),
            )
            for decision in decisions
        ]


def _foreseen_bill(decision: Decision, work: Work, bill: PlannedBill) -> Foreseen:
    live = total(row.amount for row in bill.targets) + total(row.amount for row in bill.requisitions)
    wanted = total(cost.amount for cost in work.wanted) + total(entry.amount for entry in work.invoices)
    if work.wait_until is not None:
        return _foreseen(decision, Action.HOLD, f"an answer is awaited until {work.wait_until}", live)
    if work.holds:
        return _foreseen(decision, Action.HOLD, work.holds[0].sentence, live)
    if work.is_kept:
        return _foreseen(decision, Action.NOTHING, "a person decided to keep what Procore has", live)
    if not work.differs:
        return _foreseen(decision, Action.NOTHING, "Procore holds it as it is", live)
    if not work.wanted and not work.has_invoices:
        return _foreseen(decision, Action.REMOVE, "nothing of it goes to a project any more")
    held = "".join(f"; held: {hold.sentence}" for hold in decision.holds)
    action = Action.UPDATE if bill.was_posted else Action.CREATE
    parts = [f"by project {sums(work.wanted)}"] if work.wanted else []
    parts += [f"linked to the direct cost {there.id} that was typed there" for there in work.links.values()]
    parts += [f"on commitment {entry.contract.number}: {entry.amount:.2f}" for entry in work.invoices]
    return _foreseen(decision, action, f"{', '.join(parts)}{held}", wanted)


def _foreseen_payment(decision: Decision, work: PaymentWork) -> Foreseen:
    if work.wait_until is not None:
        return _foreseen(
            decision, Action.HOLD, f"an answer is awaited until {work.wait_until}", decision.posted
        )
    if work.holds:
        return _foreseen(decision, Action.HOLD, work.holds[0].sentence, decision.posted)
    amount = total(share.settles for share in work.shares if share.kind in COUNTED)
    if not amount and not work.surplus:
        return _foreseen(decision, Action.EXCLUDE if work.shares else Action.NOTHING, "no cost is paid by it")
    if not amount:
        return _foreseen(decision, Action.REMOVE, "it is void or deleted in QBO")
    if not work.todo and not work.surplus and decision.posted == amount:
        return _foreseen(decision, Action.NOTHING, "Procore holds it as it is", amount)
    parts = [f"on commitment {one.commitment_id}: {one.amount:.2f}" for one in work.wanted]
    action = Action.UPDATE if decision.posted else Action.CREATE
    return _foreseen(decision, action, ", ".join(parts) or "by the payment dates of direct costs", amount)


def _held(decision: Decision) -> Foreseen:
    if decision.state is State.HELD:
        return _foreseen(decision, Action.HOLD, decision.holds[0].sentence, decision.posted)
    if decision.state is State.EXCLUDED:
        reasons = ", ".join(sorted({line.reason for line in decision.lines if line.outcome == "excluded"}))
        return _foreseen(decision, Action.EXCLUDE, reasons)
    return _foreseen(decision, Action.NOTHING, "it carries no money")


def _foreseen(decision: Decision, action: Action, why: str, amount: Decimal | None = None) -> Foreseen:
    return Foreseen(
        entity=decision.entity,
        qbo_id=decision.qbo_id,
        day=decision.day,
        document=decision.document,
        vendor_name=decision.vendor_name,
        total=decision.total,
        amount=total([] if amount is None else [amount]),
        action=action,
        why=why,
    )
