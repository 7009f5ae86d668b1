"""Posting the payments of windows: what each settles is stored first, then Procore is brought to it.

A payment waits for its bills and is taken up again by itself when they are posted or become something else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO, total
from ml_connector.posting.payments.dates import PaymentDateDesk
from ml_connector.posting.payments.desk import PaymentDesk
from ml_connector.posting.payments.paid_bills import PaidBill, Standing, load_bills, misfits, place_of
from ml_connector.posting.payments.plans import PaymentPlanner, PaymentWork, PlannedPayment, Target
from ml_connector.posting.windows import SLICE, Posted
from ml_connector.procore.client import ProcoreClient
from ml_connector.qbo.models import Entity, parse_bill_payment
from ml_connector.settings import Connection
from ml_connector.store import audit, landing, ledger, payments, records, windows
from ml_connector.store.ledger import Kind
from ml_connector.store.payments import Share, ShareKind
from ml_connector.store.records import Decision, Move, Only, State

PAYMENT = Entity.BILL_PAYMENT


@dataclass
class PaymentPoster:
    """Posts payments of one connection. `resend` repeats what Procore refused before: a replay by a person."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    resend: bool = False
    only: Only = None  # the records that the run is limited to
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self._planner = PaymentPlanner(self.connection, self.now, self.resend)
        self._desk = PaymentDesk(
            self.connection, self.engine, self.client, self.run_id, self.resend, self._settled_at
        )
        self._dates = PaymentDateDesk(
            self.connection, self.engine, self.client, self.run_id, self.resend, self._settled_at, self.now
        )
        self._moves: list[Move] = []  # of the transaction that is open
        self._told: list[audit.Entry] = []  # likewise

    def _settled_at(self) -> datetime:
        return self.now() + timedelta(seconds=self.connection.timing.settle)

    def post(self, days: Sequence[date]) -> Posted:
        """Bring contract payments and payment dates of the payments of `days` to what was planned."""
        with self.engine.connect() as db:
            marked = set(days) if self.resend else set(windows.seen_marks(db, self.connection.name, days))
        again = marked | self._take_up_again(days)
        done = Posted()
        for rows in self._slices(days, sorted(again)):
            self._post_slice(rows, done)
        return done

    def _slices(self, days: Sequence[date], again: Sequence[date]) -> Iterator[list[Row[Any]]]:
        after, name = "", self.connection.name
        while True:
            with self.engine.connect() as db:
                rows = records.planned(
                    db, name, PAYMENT, days, again_held=again, after=after, limit=SLICE, only=self.only
                )
            if not rows:
                return
            yield rows
            after = rows[-1].qbo_id

    # -- payments of which a bill has moved -------------------------------------------------------------------------

    def _take_up_again(self, days: Sequence[date]) -> set[date]:
        """Plan again what a bill holds up that moved by now, and what no longer fits the bills of `days`.

        Returns those of `days` whose held payments are to be looked at again; other days are marked.
        """
        name = self.connection.name
        with self.engine.connect() as db:
            waiting = records.causes_of(db, name, PAYMENT, Reason.WAITING_FOR_BILL)
            unbalanced = records.causes_of(db, name, PAYMENT, Reason.UNBALANCED)
            paid = payments.paid_bills(db, name, Entity.BILL, days)
            shares = payments.of_bills(db, name, paid)
            bills = load_bills(db, name, {*paid, *(_bill_of(cause) for cause, _ in waiting)})
            under_way = records.open_ids(db, name, PAYMENT, {share.payment_id for share in shares})
        free = {
            payment_id
            for cause, payment_id in waiting
            if bills[_bill_of(cause)].standing is not Standing.WAITING
        }
        free |= {payment_id for cause, payment_id in unbalanced if _bill_of(cause) in paid}
        free |= self._misfits(shares, bills)
        told = {share.bill_id for share in shares if share.payment_id in under_way | free}
        dated = self._dates.differing({bill_id: bills[bill_id] for bill_id in paid if bill_id not in told})
        free |= {share.payment_id for share in shares if share.bill_id in dated}
        if not free:
            return set()
        with self.engine.begin() as db:
            moved = records.reopen(db, name, PAYMENT, free)
            windows.mark(db, name, moved - set(days), reason="a bill that it pays has moved")
        return moved & set(days)

    def _misfits(self, shares: Sequence[Share], bills: Mapping[str, PaidBill]) -> set[str]:
        settled: dict[Target, Decimal] = {}
        for share in shares:
            settled[share.target] = settled.get(share.target, ZERO) + share.settles
        odd = misfits(settled, bills)
        return {share.payment_id for share in shares if share.bill_id in odd}

    # -- one slice --------------------------------------------------------------------------------------------------

    def _post_slice(self, rows: Sequence[Row[Any]], done: Posted) -> None:
        with self.engine.connect() as db:
            planned, bills, works = plan(db, self.connection, self._planner, rows)
        self._keep_shares(planned, works)
        self._desk.write([work for work in works.values() if work.wait_until is None])
        touched = {
            share.bill_id
            for one in planned
            for share in (*one.shares, *works[one.row.qbo_id].shares)
            if share.kind is ShareKind.DIRECT_COST
        }
        troubles = self._dates.settle({bill_id: bills[bill_id] for bill_id in sorted(touched)})
        with self.engine.begin() as db:
            for row, one in zip(rows, planned, strict=True):
                work = works[row.qbo_id]
                self._add(work, one, troubles)
                self._finish(db, row, work, bills, done)
            records.move(db, self.connection.name, self._moves, run_id=self.run_id)
            audit.append(db, self.connection.name, self._told, run_id=self.run_id, actor="ml-connector")
        self._moves.clear()
        self._told.clear()

    def _keep_shares(self, planned: Sequence[PlannedPayment], works: Mapping[str, PaymentWork]) -> None:
        """Stored before the first call: a payment that is taken up after a crash is shared as it was."""
        changed = {
            one.row.qbo_id: works[one.row.qbo_id].shares
            for one in planned
            if sorted(one.shares, key=_by_target) != sorted(works[one.row.qbo_id].shares, key=_by_target)
        }
        if not changed:
            return
        told = [
            audit.Entry("planned", PAYMENT, payment_id, {"shares": [_told(share) for share in shares]})
            for payment_id, shares in changed.items()
        ]
        freed = [
            f"{Reason.UNBALANCED} bill {share.bill_id}"
            for one in planned
            if one.row.qbo_id in changed
            for share in one.shares
        ]
        with self.engine.begin() as db:
            payments.replace(db, self.connection.name, changed)
            windows.wake_causes(
                db, self.connection.name, freed, why="another payment of the bill has changed"
            )
            audit.append(db, self.connection.name, told, run_id=self.run_id, actor="ml-connector")
        for payment_id in changed:
            works[payment_id].wrote = True

    def _add(
        self, work: PaymentWork, one: PlannedPayment, troubles: Mapping[str, Sequence[Hold | datetime]]
    ) -> None:
        mine = {share.bill_id for share in (*one.shares, *work.shares)}
        for bill_id in sorted(mine & troubles.keys()):
            for trouble in troubles[bill_id]:
                if isinstance(trouble, Hold):
                    work.holds.append(trouble)
                else:
                    work.wait(trouble)

    def _finish(
        self,
        db: Database,
        row: Row[Any],
        work: PaymentWork,
        bills: Mapping[str, PaidBill],
        done: Posted,
    ) -> None:
        cash = total(
            target.amount
            for target in ledger.targets_of(
                db, self.connection.name, PAYMENT, [row.qbo_id], kind=Kind.CONTRACT_PAYMENT
            )[row.qbo_id]
        )
        excluded = total(share.settles for share in work.shares if share.kind is ShareKind.EXCLUDED)
        live = cash + total(_settled_without_a_record(share) for share in work.shares)
        state = self._state(row, work, live, excluded)
        if work.wrote and state in (State.POSTED, State.UPDATED):
            done.posted += live - row.posted
        if state is State.RETRYING and work.wait_until is not None:
            done.wait(row.day, work.wait_until)
        done.count(PAYMENT, state)
        self._move(db, row, work, state, live=live, excluded=excluded)

    def _state(self, row: Row[Any], work: PaymentWork, live: Decimal, excluded: Decimal) -> State:
        was_posted = row.posted != ZERO
        if work.wait_until is not None:
            return State.RETRYING
        if work.holds:
            return State.HELD
        if live == ZERO and not any(share.kind in COUNTED and share.settles for share in work.shares):
            if was_posted:
                return State.REVERSED
            return State.EXCLUDED if excluded else State.NO_OP
        if was_posted:
            return State.UPDATED if work.wrote else State.NO_OP
        return State.POSTED

    def _move(
        self,
        db: Database,
        row: Row[Any],
        work: PaymentWork,
        state: State,
        *,
        live: Decimal,
        excluded: Decimal,
    ) -> None:
        name, was_held = self.connection.name, row.state == State.HELD
        before = records.reasons_of(db, name, PAYMENT, [row.qbo_id]).get(row.qbo_id, []) if was_held else []
        holds = work.holds if state is State.HELD else []
        held = row.total - excluded - live
        if holds and before == [hold.reason for hold in holds] and (row.posted, row.held) == (live, held):
            return  # the same hold as before: nothing to tell
        settled = state not in (State.HELD, State.RETRYING)
        self._moves.append(Move(PAYMENT, row.qbo_id, state, live, held, holds, settled, excluded))
        if holds:
            why = [{"reason": hold.reason, "sentence": hold.sentence} for hold in holds]
            detail: dict[str, Any] = {"holds": why, "posted": live, "held": held}
            self._told.append(audit.Entry("held", PAYMENT, row.qbo_id, detail))
        elif was_held and state is not State.RETRYING:
            detail = {"from": before, "waited_since": row.since}
            self._told.append(audit.Entry("released", PAYMENT, row.qbo_id, detail))


COUNTED = (ShareKind.REQUISITION, ShareKind.DIRECT_COST)


def plan(
    db: Database,
    connection: Connection,
    planner: PaymentPlanner,
    rows: Sequence[Row[Any]] | Sequence[Decision],
) -> tuple[list[PlannedPayment], dict[str, PaidBill], dict[str, PaymentWork]]:
    """The payments of `rows`, the bills that they touch, and the work of each by id. Nothing is stored."""
    name, ids = connection.name, [row.qbo_id for row in rows]
    versions = landing.by_number(db, name, [row.landing_number for row in rows])
    targets = ledger.targets_of(db, name, PAYMENT, ids, kind=Kind.CONTRACT_PAYMENT)
    shares: dict[str, list[Share]] = {qbo_id: [] for qbo_id in ids}
    for share in payments.of_payments(db, name, ids):
        shares[share.payment_id].append(share)
    planned = []
    for row in rows:
        version = versions[row.landing_number]
        payment = None if version.tombstone else parse_bill_payment(version.raw)
        planned.append(PlannedPayment(row, version, payment, shares[row.qbo_id], targets[row.qbo_id]))
    touched = {bill_id for one in planned for bill_id in one.bills}
    touched |= {share.bill_id for one in planned for share in one.shares if share.bill_id}
    bills = load_bills(db, name, touched)
    credits = sorted({credit_id for one in planned for credit_id, _ in one.credits})
    lines = records.lines_of(db, name, Entity.VENDOR_CREDIT, credits)
    places = {credit_id: place_of(mapped) for credit_id, mapped in lines.items()}
    return planned, bills, planner.plan_all(planned, bills, places, payments.of_bills(db, name, touched))


def _bill_of(cause: str) -> str:
    return cause.rpartition(" ")[2]


def _settled_without_a_record(share: Share) -> Decimal:
    """What a share settles that is no payment in Procore: direct costs, and credits on requisitions."""
    if share.kind is ShareKind.DIRECT_COST:
        return share.settles
    return share.credit if share.kind is ShareKind.REQUISITION else ZERO


def _by_target(share: Share) -> tuple[str, str, str]:
    return share.bill_id, str(share.kind), share.target_id


def _told(share: Share) -> dict[str, Any]:
    where = f"{share.kind} {share.target_id}".strip()
    return {"bill": share.bill_id, "to": where, "cash": share.cash, "credit": share.credit}
