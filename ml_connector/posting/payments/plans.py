"""Planning of payments: what each settles, and the contract payments that Procore should hold of it. No call is made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row

from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO, total
from ml_connector.posting.payments.bodies import ContractPayment, contract_payment
from ml_connector.posting.payments.paid_bills import BEFORE_START, PaidBill, Standing
from ml_connector.posting.payments.shares import Credit, Place, Settled, divide, spread_credits
from ml_connector.posting.planning import Decided
from ml_connector.qbo.models import BillPayment, Entity
from ml_connector.settings import Connection
from ml_connector.store import landing
from ml_connector.store.ledger import Fate
from ml_connector.store.payments import Share, ShareKind

UNAPPLIED = "UNAPPLIED"  # cash that no bill has taken yet: a deposit
NOT_LET = "Procore does not let ml-connector"
GONE = bytes(32)  # stands for the body of what must not be there
Target = tuple[str, ShareKind, str]


@dataclass(frozen=True)
class PlannedPayment:
    """A payment with all that planning needs."""

    row: Decided
    version: landing.Version
    payment: BillPayment | None  # None for a deleted one
    shares: Sequence[Share]  # as stored
    targets: Sequence[Row[Any]]  # of `ledger`

    @property
    def bills(self) -> dict[str, Decimal]:
        """What is applied to each bill."""
        applied: dict[str, Decimal] = {}
        for line in self.payment.applied if self.payment else ():
            if line.kind == Entity.BILL:
                applied[line.txn_id] = applied.get(line.txn_id, ZERO) + line.amount
        return applied

    @property
    def credits(self) -> list[tuple[str, Decimal]]:
        """The credits that are used: id and amount."""
        lines = self.payment.applied if self.payment else ()
        return [(line.txn_id, line.amount) for line in lines if line.kind != Entity.BILL]

    @property
    def standing_shares(self) -> list[Share]:
        """Stored shares of bills to which the payment still applies the same amount."""
        of_bill: dict[str, list[Share]] = {}
        for share in self.shares:
            of_bill.setdefault(share.bill_id, []).append(share)
        return [
            share
            for bill_id, amount in self.bills.items()
            if total(share.settles for share in of_bill.get(bill_id, [])) == amount
            for share in of_bill[bill_id]
            if share.kind is not ShareKind.WAITING and share.settles
        ]


@dataclass
class PaymentWork:
    """One payment on its way: how it is shared, what is wanted in Procore, what must go, and how it ended."""

    qbo_id: str
    words: str
    landing_number: int
    sync_token: int
    shares: list[Share] = field(default_factory=list)
    wanted: list[ContractPayment] = field(default_factory=list)
    surplus: list[Row[Any]] = field(default_factory=list)
    unclear: list[Row[Any]] = field(
        default_factory=list
    )  # sent, outcome unknown, and now waiting for their bill
    known: Mapping[str, Row[Any]] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    wait_until: datetime | None = None
    stopped: bool = False  # something could not be taken back: nothing may be added
    wrote: bool = False

    @property
    def todo(self) -> list[ContractPayment]:
        """What Procore does not hold as it is wanted."""
        return [one for one in self.wanted if not self._is_settled(one)]

    def _is_settled(self, one: ContractPayment) -> bool:
        row = self.known.get(one.origin_id)
        return row is not None and row.state == Fate.CONFIRMED and bytes(row.confirmed_hash) == one.body_hash

    def hold(self, reason: Reason, text: str, cause: str, amount: Decimal) -> None:
        """Hold `amount` of the payment."""
        self.holds.append(Hold(reason, f"{self.words}: {text}", f"{reason} {cause}"[:200], amount))

    def wait(self, until: datetime) -> None:
        """The outcome of a part is unknown: leave the payment alone until then."""
        self.wait_until = until if self.wait_until is None else max(self.wait_until, until)


@dataclass(frozen=True)
class PaymentPlanner:
    """Plans payments of one connection. `resend` repeats what Procore refused before: a replay by a person."""

    connection: Connection
    now: Callable[[], datetime]
    resend: bool

    def plan_all(
        self,
        payments: Sequence[PlannedPayment],
        bills: Mapping[str, PaidBill],
        credit_places: Mapping[str, Place],
        shares_of_bills: Sequence[Share],
    ) -> dict[str, PaymentWork]:
        """The work of each payment by id; older payments of a bill take what is open before younger ones.

        `shares_of_bills` are all stored shares of `bills`, of whatever payment.
        """
        mine = {planned.row.qbo_id for planned in payments}
        settled: dict[Target, Decimal] = {}
        stored = [share for share in shares_of_bills if share.payment_id not in mine]
        for share in [*stored, *(share for planned in payments for share in planned.standing_shares)]:
            settled[share.target] = settled.get(share.target, ZERO) + share.settles
        works = {}
        for planned in sorted(payments, key=_age):
            for share in planned.standing_shares:
                settled[share.target] -= share.settles
            work = self._plan(planned, bills, credit_places, settled)
            for share in work.shares:
                settled[share.target] = settled.get(share.target, ZERO) + share.settles
            works[planned.row.qbo_id] = work
        return works

    def _plan(
        self,
        planned: PlannedPayment,
        bills: Mapping[str, PaidBill],
        credit_places: Mapping[str, Place],
        settled: Mapping[Target, Decimal],
    ) -> PaymentWork:
        work = PaymentWork(
            qbo_id=planned.row.qbo_id,
            words=_words(planned.row),
            landing_number=planned.version.number,
            sync_token=planned.version.sync_token,
            known={target.origin_id: target for target in planned.targets},
        )
        if (until := self._unsettled(planned)) is not None:
            work.shares = list(planned.shares)
            work.wait(until)
            return work
        work.shares = self._share(work, planned, bills, credit_places, settled)
        work.shares += _traces(planned, work.shares)
        if planned.payment is not None:
            self._want(work, planned, planned.payment, bills)
        kept = {one.origin_id for one in work.wanted} | self._left_alone(work, planned, bills)
        work.surplus = [row for row in planned.targets if row.origin_id not in kept and _may_be_there(row)]
        self._remember_refusals(work)
        return work

    def _unsettled(self, planned: PlannedPayment) -> datetime | None:
        waits = [
            target.not_before or target.sent_at + timedelta(seconds=self.connection.timing.settle)
            for target in planned.targets
            if target.state in (Fate.SENDING, Fate.UNKNOWN)
        ]
        until = max(waits, default=None)
        return until if until is not None and until > self.now() else None

    # -- shares -----------------------------------------------------------------------------------------------------

    def _share(
        self,
        work: PaymentWork,
        planned: PlannedPayment,
        bills: Mapping[str, PaidBill],
        credit_places: Mapping[str, Place],
        settled: Mapping[Target, Decimal],
    ) -> list[Share]:
        credits = [Credit(amount, credit_places.get(txn_id, Place())) for txn_id, amount in planned.credits]
        kept = [
            share
            for bill_id in planned.bills
            for share in _still_right(planned.standing_shares, bills[bill_id], settled)
        ]
        kept_bills = {share.bill_id for share in kept}
        parts: list[tuple[str, ShareKind, str, Settled]] = []
        for bill_id, amount in planned.bills.items():
            if bill_id not in kept_bills:
                parts += self._parts(work, bills[bill_id], amount, settled)
        unused = _less(credits, total(share.credit for share in kept))
        if unused is None or total(credit.amount for credit in unused) > total(
            max(part.amount, ZERO) for *_, part in parts
        ):
            # The credits of the payment were changed: what was divided before is divided again.
            return self._afresh(work, planned, bills, credits, settled)
        return [*kept, *_shares(work.qbo_id, parts, unused), *self._unapplied(planned)]

    def _afresh(
        self,
        work: PaymentWork,
        planned: PlannedPayment,
        bills: Mapping[str, PaidBill],
        credits: Sequence[Credit],
        settled: Mapping[Target, Decimal],
    ) -> list[Share]:
        work.holds.clear()
        parts = [
            part
            for bill_id, amount in planned.bills.items()
            for part in self._parts(work, bills[bill_id], amount, settled)
        ]
        return [*_shares(work.qbo_id, parts, credits), *self._unapplied(planned)]

    def _unapplied(self, planned: PlannedPayment) -> list[Share]:
        if planned.payment is None:
            return []
        used = total(amount for _, amount in planned.credits)
        rest = planned.payment.total + used - total(planned.bills.values())
        return [Share(planned.row.qbo_id, "", ShareKind.EXCLUDED, UNAPPLIED, rest, ZERO)] if rest else []

    def _parts(
        self, work: PaymentWork, bill: PaidBill, amount: Decimal, settled: Mapping[Target, Decimal]
    ) -> list[tuple[str, ShareKind, str, Settled]]:
        if bill.standing is Standing.UNSEEN:
            return [(bill.id, ShareKind.EXCLUDED, BEFORE_START, Settled(amount, bill.place))]
        waits = [(bill.id, ShareKind.WAITING, "", Settled(amount, bill.place))]
        if bill.standing is Standing.WAITING:
            text = f"{amount} of it pays {bill.words}, which is not posted yet. It follows by itself."
            work.hold(Reason.WAITING_FOR_BILL, text, f"bill {bill.id}", amount)
            return waits
        if bill.standing is Standing.DELETED:
            text = f"{amount} of it pays {bill.words}, which is deleted in QBO. Apply it to another bill, or void it."
            work.hold(Reason.UNBALANCED, text, f"bill {bill.id}", amount)
            return waits
        opened = [
            target.amount - settled.get((bill.id, target.kind, target.id), ZERO) for target in bill.targets
        ]
        if amount > total(opened):
            text = (
                f"it pays {amount} of {bill.words} over {bill.total}, of which only {total(opened)} is unpaid. "
                "Correct the payment in QBO, or the other payments of the bill."
            )
            work.hold(Reason.UNBALANCED, text, f"bill {bill.id}", amount)
            return waits
        return [
            (bill.id, target.kind, target.id, Settled(part, target.place))
            for target, part in zip(bill.targets, divide(amount, opened), strict=True)
            if part
        ]

    # -- contract payments ------------------------------------------------------------------------------------------

    def _want(
        self,
        work: PaymentWork,
        planned: PlannedPayment,
        payment: BillPayment,
        bills: Mapping[str, PaidBill],
    ) -> None:
        for share in work.shares:
            bill = bills.get(share.bill_id)
            target = None if bill is None else bill.target(share.kind, share.target_id)
            if (
                bill is None
                or target is None
                or share.kind is not ShareKind.REQUISITION
                or share.cash == ZERO
                or bill.standing is not Standing.READY
            ):
                continue
            work.wanted.append(
                contract_payment(
                    payment,
                    bill,
                    target,
                    cash=share.cash,
                    realm=self.connection.qbo.realm_id,
                    is_linked=self.connection.policies.links_payments,
                )
            )

    def _left_alone(
        self, work: PaymentWork, planned: PlannedPayment, bills: Mapping[str, PaidBill]
    ) -> set[str]:
        """Origin ids of contract payments of bills that are themselves on their way: they stay until these are done."""
        alone = set()
        for bill_id, bill in ((one, bills[one]) for one in planned.bills):
            if bill.standing is Standing.READY:
                continue
            rows = [
                row for row in planned.targets if row.wanted["bill"] == bill_id and row.state != Fate.REMOVED
            ]
            alone |= {row.origin_id for row in rows}
            unclear = [row for row in rows if row.state in (Fate.SENDING, Fate.UNKNOWN)]
            work.unclear += unclear
            shared = total(
                share.cash
                for share in work.shares
                if share.bill_id == bill_id and share.kind is ShareKind.REQUISITION
            )
            missing = shared - total(row.amount for row in rows)
            is_changed = any(row.landing_number != planned.version.number for row in rows)
            cause = f"bill {bill_id}"
            is_told = any(entry.cause.endswith(f" {cause}") for entry in work.holds)
            if (unclear or missing or is_changed) and not is_told:
                text = f"its part of {bill.words} waits for it: it is not posted as it is now. It follows by itself."
                work.hold(Reason.WAITING_FOR_BILL, text, cause, missing)
        return alone

    def _remember_refusals(self, work: PaymentWork) -> None:
        """An automatic run never sends a refused body again: the same sentence, no call (design 7)."""
        if self.resend:
            return
        wanted = {one.origin_id: one.body_hash for one in work.wanted}
        for origin, row in work.known.items():
            if row.state != Fate.REFUSED or bytes(row.refused_hash) != wanted.get(origin, GONE):
                continue
            reason = _reason_of(row)
            work.holds.append(Hold(reason, row.refusal, f"{reason} {row.refusal}"[:200], ZERO))
            work.stopped = work.stopped or row.procore_id is not None
        refused = {entry.sentence for entry in work.holds}
        work.surplus = [row for row in work.surplus if row.refusal not in refused]
        work.wanted = [
            one
            for one in work.wanted
            if one.origin_id not in work.known or work.known[one.origin_id].refusal not in refused
        ]


def _may_be_there(row: Row[Any]) -> bool:
    never_was = row.state == Fate.REFUSED and row.procore_id is None
    return row.state != Fate.REMOVED and not never_was


def _reason_of(refused: Row[Any]) -> Reason:
    if NOT_LET in refused.refusal:
        return Reason.PERMISSION
    return Reason.REFUSED if refused.procore_id is None else Reason.LOCKED_IN_PROCORE


def _age(planned: PlannedPayment) -> tuple[bool, str, tuple[int, str]]:
    paid = "" if planned.payment is None else planned.payment.txn_date.isoformat()
    qbo_id = planned.row.qbo_id
    entered = (int(qbo_id), "") if qbo_id.isdigit() else (10**20, qbo_id)
    return not planned.shares, paid, entered


def _still_right(
    standing: Sequence[Share], bill: PaidBill, settled: Mapping[Target, Decimal]
) -> Sequence[Share]:
    """The stored shares of a bill, while all of them fit what the bill is; nothing otherwise."""
    mine = [share for share in standing if share.bill_id == bill.id]
    if bill.standing in (Standing.WAITING, Standing.DELETED):
        return mine
    for share in mine:
        target = bill.target(share.kind, share.target_id)
        if bill.standing is Standing.UNSEEN and share.kind is ShareKind.EXCLUDED:
            continue
        if target is None:
            return []
        after = settled.get(share.target, ZERO) + share.settles
        if not min(target.amount, ZERO) <= after <= max(target.amount, ZERO):
            return []
    return mine


def _traces(planned: PlannedPayment, shares: Sequence[Share]) -> list[Share]:
    """Shares of nothing on direct costs that the payment settled once, so that their payment dates are looked at."""
    settled = {share.target for share in shares}
    return [
        replace(share, cash=ZERO, credit=ZERO)
        for share in planned.shares
        if share.kind is ShareKind.DIRECT_COST and share.target not in settled
    ]


def _less(credits: Sequence[Credit], used: Decimal) -> list[Credit] | None:
    """What is left of credits after `used` of them, from the first on; None when that is more than there is."""
    left = []
    for credit in credits:
        taken = min(used, credit.amount)
        used -= taken
        if credit.amount > taken:
            left.append(Credit(credit.amount - taken, credit.place))
    return left if used == ZERO else None


def _shares(
    payment_id: str, parts: Sequence[tuple[str, ShareKind, str, Settled]], credits: Sequence[Credit]
) -> list[Share]:
    by_credit = spread_credits([part for *_, part in parts], credits)
    return [
        Share(payment_id, bill_id, kind, target_id, part.amount - credit, credit)
        for (bill_id, kind, target_id, part), credit in zip(parts, by_credit, strict=True)
    ]


def _words(row: Decided) -> str:
    number = row.document or f"without number (QBO id {row.qbo_id})"
    return f"Payment {number} to {row.vendor_name} ({row.total})"
