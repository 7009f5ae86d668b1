"""The dry run: what posting would do with every record of some days, and why. Reads Procore, writes nothing anywhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import Engine

from ml_connector.mapping.publishing import procore_projects
from ml_connector.mapping.windows import Mapper
from ml_connector.money import total
from ml_connector.posting.bill_work import Work
from ml_connector.posting.payment_plans import PaymentPlanner, PaymentWork
from ml_connector.posting.payment_windows import COUNTED
from ml_connector.posting.payment_windows import plan as plan_payments
from ml_connector.posting.planning import PlannedBill, Planner, planned_bill, sums
from ml_connector.posting.requisition_plans import RequisitionPlanner
from ml_connector.posting.vendors import VendorDesk
from ml_connector.procore.catalog import fetch_catalog
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.commitments import CommitmentBook
from ml_connector.qbo.models import Entity, parse_vendor
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
        bills = [decision for decision in planned if decision.entity in (Entity.BILL, Entity.VENDOR_CREDIT)]
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
            known = ledger.targets_of(
                db,
                self.connection.name,
                Entity.VENDOR,
                [decision.qbo_id for decision in decisions],
                kind=Kind.VENDOR,
            )
        alive = {
            decision.qbo_id
            for decision in decisions
            if not versions[decision.landing_number].tombstone
            and parse_vendor(versions[decision.landing_number].raw).active
        }
        links = desk.foresee(alive)
        for decision in decisions:
            qbo_id = decision.qbo_id
            if qbo_id in links.holds:
                yield _foreseen(decision, Action.HOLD, links.holds[qbo_id].sentence)
            elif qbo_id in links.waiting:
                yield _foreseen(decision, Action.HOLD, f"an answer is awaited until {links.waiting[qbo_id]}")
            elif qbo_id not in alive:
                yield _foreseen(decision, Action.EXCLUDE, "the vendor is not active in QBO")
            elif links.ids[qbo_id] == 0:
                yield _foreseen(decision, Action.CREATE, "Procore's directory has no such vendor")
            elif known[qbo_id]:
                yield _foreseen(decision, Action.NOTHING, "it is linked")
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
        planner = Planner(self.connection, lambda: self.now, resend=False)
        book = CommitmentBook(self.client)
        on_commitments = RequisitionPlanner(
            self.connection, self.engine, book, planner, lambda: self.now, keeps_lists=False
        )
        for first in range(0, len(decisions), CHUNK):
            chunk = decisions[first : first + CHUNK]
            ids = [decision.qbo_id for decision in chunk]
            with self.engine.connect() as db:
                numbers = [decision.landing_number for decision in chunk]
                versions = landing.by_number(db, self.connection.name, numbers)
                targets, invoices = (
                    {
                        entity: ledger.targets_of(db, self.connection.name, entity, ids, kind=kind)
                        for entity in {decision.entity for decision in chunk}
                    }
                    for kind in (Kind.DIRECT_COST, Kind.REQUISITION)
                )
            bills = [
                planned_bill(
                    decision,
                    versions[decision.landing_number],
                    decision.lines,
                    targets[decision.entity][decision.qbo_id],
                    invoices[decision.entity][decision.qbo_id],
                )
                for decision in chunk
            ]
            links = desk.foresee({bill.vendor_id for bill in bills if bill.vendor_id is not None})
            for decision, bill in zip(chunk, bills, strict=True):
                work = planner.work(Entity(decision.entity), bill, links)
                until = planner.unsettled(bill)
                if until is not None:
                    work.wait(until)
                on_commitments.plan(bill, work, links.ids.get(bill.vendor_id or ""))
                planner.keep_closed(bill, work)
                yield _foreseen_bill(decision, work, bill)


def _foreseen_bill(decision: Decision, work: Work, bill: PlannedBill) -> Foreseen:
    live = total(row.amount for row in bill.targets) + total(row.amount for row in bill.requisitions)
    wanted = total(cost.amount for cost in work.wanted) + total(entry.amount for entry in work.invoices)
    if work.wait_until is not None:
        return _foreseen(decision, Action.HOLD, f"an answer is awaited until {work.wait_until}", live)
    if work.holds:
        return _foreseen(decision, Action.HOLD, work.holds[0].sentence, live)
    if not work.differs:
        return _foreseen(decision, Action.NOTHING, "Procore holds it as it is", live)
    if not work.wanted and not work.has_invoices:
        return _foreseen(decision, Action.REMOVE, "nothing of it goes to a project any more")
    held = "".join(f"; held: {hold.sentence}" for hold in decision.holds)
    action = Action.UPDATE if bill.was_posted else Action.CREATE
    parts = [f"by project {sums(work.wanted)}"] if work.wanted else []
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
