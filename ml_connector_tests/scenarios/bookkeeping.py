"""A bookkeeper's acts and what they may bring about: a world whose people, runs, kills and lost answers a test plays.

An act that does not fit the moment (paying a bill that is paid) is nothing. What an act gives cause to hold is written down
with it, and an act that would give cause for too much of the money is left out: most of it must reach Procore.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from ml_connector_tests.rig import MAPPING, Rig, line, today
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, SC_007, SC_009, period, subcontract

Row = TypeVar("Row")
GRANITE = "21"
RULES = MAPPING.replace(
    "5020,,,,,,,,,commitment,26-0500,S,,,,,",
    "5020,,,,,,second floor,,,commitment,26-0500,S,,SC-009,,,\n5020,,,,,,,,,commitment,26-0500,S,,SC-007,,,",
)
# Why the generator's own slips are held; what is not here is posted or, for `office`, excluded in part.
SLIPS = {"no project": "NO_PROJECT", "closed project": "PROJECT_CLOSED", "no rule": "UNMAPPED"}
ON_CONTRACTS = ("progress", "two contracts", "mixed")
KINDS = ["direct", "two projects", "office", *ON_CONTRACTS]
# An edit of what Procore has built on, or has paid, waits for a person; so do the payments of such a bill.
AFTER_EDIT = frozenset({"LATER_INVOICE_EXISTS", "LOCKED_IN_PROCORE", "DRIFT"})
OF_EDITED = frozenset({"WAITING_FOR_BILL", "UNBALANCED", "LOCKED_IN_PROCORE"})
ROUTES = [
    "PATCH */vendors/sync",
    "POST */vendors*",
    "PATCH */direct_costs/sync",
    "PATCH */direct_costs/line_items/sync",
    "DELETE */direct_costs/*",
    "POST */requisitions",
    "PATCH */requisitions/*",
    "POST */contract_payments",
    "PATCH */contract_payments/*",
    "DELETE */contract_payments/*",
]
FAULTS: dict[str, dict[str, Any]] = {
    "accepted, then cut": {"fault": "accept_then_drop"},
    "cut before it was taken": {"fault": "drop"},
    "answered with half a body": {"fault": "truncate", "args": {"bytes": 40}},
    "503": {"fault": "status", "args": {"status": 503}},
    "500 although it was done": {"fault": "status", "args": {"status": 500, "processed": True}},
}


@dataclass(frozen=True)
class House:
    """How this firm's Procore locks what is linked, and the firm's own policies."""

    direct_costs: str
    requisitions: str
    payments: str
    reference: str
    gone: str

    def settle_in(self, rig: Rig) -> None:
        """Set switches and policies."""
        rig.procore.switch(
            direct_cost_lock=self.direct_costs,
            requisition_lock=self.requisitions,
            contract_payment_lock=self.payments,
            linked_requisition_deletion="refuse",
        )
        rig.configure(
            policies={
                "retainage": "separate_line",
                "gone_requisition": self.gone,
                "payment_reference": self.reference,
            }
        )


@dataclass
class Entered:
    """A bill that the bookkeeper entered, and why it, or a payment of it, may wait."""

    record: dict[str, Any]
    kind: str
    vendor: str
    total: Decimal
    reasons: set[str] = field(default_factory=set)
    edited: bool = False


@dataclass
class Paid:
    """A payment with every bill that it ever paid."""

    record: dict[str, Any]
    bills: list[Entered]
    total: Decimal


@dataclass
class World:
    """A rig with its bookkeeper's memory."""

    rig: Rig
    house: House
    bills: list[Entered] = field(default_factory=list)
    gone_bills: list[Entered] = field(default_factory=list)
    payments: list[Paid] = field(default_factory=list)
    gone_payments: list[Paid] = field(default_factory=list)
    credits: list[dict[str, Any]] = field(default_factory=list)
    nights: int = 2  # days until today
    entered: int = 0  # bills so far

    def __post_init__(self) -> None:
        """Two contracts of Bright Electric with room for everything, and books of the day before yesterday."""
        rig, room = self.rig, {"retainage_percent": Decimal(10)}
        lines = [{"flat_code": "26-0500.S", "amount": Decimal(10_000_000)}]
        contracts = [
            subcontract(number, id_, line_items=[{"id": id_ * 10 + 1, **lines[0]}], **room)
            for number, id_ in (("SC-007", SC_007), ("SC-009", SC_009))
        ]
        rig.procore.load(
            vendors=[{"id": 900, "name": "Bright Electric"}],
            commitments=contracts,
            billing_periods=[period()],
        )
        self.house.settle_in(rig)
        rig.publish(mapping=RULES)
        self._turn_clock()

    # -- bills and credits ------------------------------------------------------------------------------------------

    def enter(self, kind: str, first: Decimal, second: Decimal) -> None:
        """A new bill."""
        self.entered += 1
        vendor = BRIGHT if kind in ON_CONTRACTS else GRANITE
        self._enter(f"N-{self.entered}", kind, vendor, lines_of(kind, first, second))

    def enter_twice(self, which: int) -> None:
        """A vendor's number once more, for little money; either may wait for a person."""
        entered = _one(self.bills, which)
        if entered is None or not self._bears(entered):
            return
        lines = [line("10.00", item="101")]
        twin = self._enter(entered.record["DocNumber"], "direct", entered.vendor, lines)
        for one in (entered, twin):
            one.reasons.add("POSSIBLE_DUPLICATE")

    def edit(self, which: int, kind: str, first: Decimal, second: Decimal) -> None:
        """Other lines on a bill, of the same kind or of another one of its vendor: amounts, codes, projects, contracts."""
        entered = _one(self.bills, which)
        if entered is None:
            return
        kind = kind if entered.vendor == BRIGHT or kind not in ON_CONTRACTS else "two projects"
        on_contracts = kind in ON_CONTRACTS or entered.kind in ON_CONTRACTS
        lines = lines_of(kind, first, second)
        if (on_contracts or kind in SLIPS) and not self._bears(entered, more=_sum(lines)):
            return
        made = self.rig.bookkeeper.edit("Bill", entered.record, Line=lines)
        entered.reasons |= (AFTER_EDIT if on_contracts else set()) | (
            {SLIPS[kind]} if kind in SLIPS else set()
        )
        entered.kind, entered.total, entered.edited = kind, Decimal(str(made["TotalAmt"])), True

    def delete(self, which: int) -> None:
        """A bill goes; QBO refuses it for one that is paid."""
        entered = _one(self.bills, which)
        if entered is not None:
            self.rig.bookkeeper.delete("Bill", entered.record)
            self.bills.remove(entered)
            # An invoice that is not the newest of its commitment stays, whatever became of its bill.
            entered.reasons = set(AFTER_EDIT) if entered.kind in ON_CONTRACTS or entered.edited else set()
            self.gone_bills.append(entered)

    def give_credit(self, vendor: str, amount: Decimal) -> None:
        """A vendor credit on a direct cost."""
        body = {
            "VendorRef": {"value": vendor},
            "DocNumber": f"VC-{len(self.credits) + 1}",
            "TxnDate": today().isoformat(),
            "Line": [line(str(amount), account="1")],
        }
        self.credits.append(self.rig.bookkeeper.post("vendorcredit", body)["VendorCredit"])

    def _enter(self, number: str, kind: str, vendor: str, lines: list[dict[str, Any]]) -> Entered:
        made = self.rig.bookkeeper.bill(number, lines, vendor=vendor)
        reasons = {SLIPS[kind]} if kind in SLIPS else set()
        entered = Entered(made, kind, vendor, Decimal(str(made["TotalAmt"])), reasons)
        self.bills.append(entered)
        return entered

    # -- payments ---------------------------------------------------------------------------------------------------

    def pay(self, which: int, percent: int, *, all_bills: bool, with_credits: bool) -> None:
        """A check over a bill, or over all open bills of its vendor: `percent` of each balance, credits used if wanted."""
        chosen = _one(self.bills, which)
        if chosen is None:
            return
        every = [one for one in self.bills if one.vendor == chosen.vendor] if all_bills else [chosen]
        parts = [(one, _percent(self._balance("Bill", one.record["Id"]), percent)) for one in every]
        parts = [(one, amount) for one, amount in parts if amount > 0]
        total = sum((amount for _, amount in parts), Decimal(0))
        may_wait = any(one.reasons or one.edited for one, _ in parts)
        if not parts or (may_wait and not self._bears(more=total)):
            return
        cash = total
        lines = [_applied(one.record["Id"], amount, "Bill") for one, amount in parts]
        for credit in self.credits if with_credits else ():
            left = self._balance("VendorCredit", credit["Id"])
            if credit["VendorRef"]["value"] == chosen.vendor and 0 < left < cash:
                lines.append(_applied(credit["Id"], left, "VendorCredit"))
                cash -= left
        made = self.rig.bookkeeper.post("billpayment", _check(chosen.vendor, cash, lines))["BillPayment"]
        self.payments.append(Paid(made, [one for one, _ in parts], total))

    def repay(self, which: int, percent: int) -> None:
        """Another amount on the first bill of a payment, its other lines gone."""
        payment = _one(self.payments, which)
        if payment is None:
            return
        first = self.rig.bookkeeper.read("BillPayment", payment.record["Id"])["Line"][0]
        amount = _percent(Decimal(str(first["Amount"])), percent)
        if amount > 0:
            lines = [{**first, "Amount": amount}]
            self.rig.bookkeeper.edit("BillPayment", payment.record, TotalAmt=amount, Line=lines)
            payment.total = amount

    def take_back(self, which: int, *, delete: bool) -> None:
        """A payment is void, or deleted."""
        payment = _one(self.payments, which)
        if payment is None:
            return
        if delete:
            self.rig.bookkeeper.delete("BillPayment", payment.record)
        else:
            current = self.rig.bookkeeper.read("BillPayment", payment.record["Id"])
            body = {"Id": current["Id"], "SyncToken": current["SyncToken"], "sparse": True}
            self.rig.bookkeeper.post("billpayment?operation=update&include=void", body)
        self.payments.remove(payment)
        self.gone_payments.append(payment)

    def _balance(self, entity: str, qbo_id: str) -> Decimal:
        return Decimal(str(self.rig.bookkeeper.read(entity, qbo_id)["Balance"]))

    # -- the clock, and what may wait -------------------------------------------------------------------------------

    def night(self) -> None:
        """The next day in QBO, at most today."""
        if self.nights:
            self.nights -= 1
            self._turn_clock()

    def _turn_clock(self) -> None:
        """QBO's clock `nights` days before today; the person logs in again."""
        self.rig.qbo.clock(offset_seconds=-int(timedelta(days=self.nights).total_seconds()))
        self.rig.bookkeeper._token = ""

    def allowed(self, entity: str, qbo_id: str) -> set[str]:
        """Reasons to hold a record for which an act gave cause."""
        if entity == "Bill":
            bills = [*self.bills, *self.gone_bills]
            return next((one.reasons for one in bills if one.record["Id"] == qbo_id), set())
        payments = [*self.payments, *self.gone_payments]
        mine = [one for paid in payments if paid.record["Id"] == qbo_id for one in paid.bills]
        if entity != "BillPayment":
            return set()
        return {
            *(OF_EDITED if any(one.edited for one in mine) else ()),
            *({"WAITING_FOR_BILL"} if any(one.reasons for one in mine) else ()),
        }

    def _bears(self, *more_bills: Entered, more: Decimal = Decimal(0)) -> bool:
        """Whether two thirds of the money keep no cause to wait if these bills, and `more`, had one."""
        waits = more
        for one in self.bills:
            waits += one.total if one.reasons or one in more_bills else 0
        for paid in self.payments:
            waits += (
                paid.total if any(one.reasons or one.edited or one in more_bills for one in paid.bills) else 0
            )
        saved = sum((one.total for one in self.bills), more) + sum(one.total for one in self.payments)
        return waits <= saved / 3


def lines_of(kind: str, first: Decimal, second: Decimal) -> list[dict[str, Any]]:
    """The lines of a bill. Slips are over a thousandth of `first`, overhead is a hundredth."""
    cents = Decimal("0.01")
    little = (first / 1000).quantize(cents)
    match kind:
        case "direct":
            return [line(str(first), item="101")]
        case "two projects":
            return [line(str(first), item="101"), line(str(second), item="102", customer="62")]
        case "office":
            return [line(str(first), item="102"), line(str(little), account="5", customer=None)]
        case "progress":
            return [line(str(first), account="2"), line(str(-(first / 10).quantize(cents)), account="6")]
        case "two contracts":
            return [line(str(first), account="2"), line(str(second), account="2", description="second floor")]
        case "mixed":
            return [line(str(first), account="2"), line(str(second), item="102")]
        case "no project":
            return [line(str(little), item="101", customer=None)]
        case "closed project":
            return [line(str(little), item="101", customer="63")]
        case _:
            return [line(str(little), account="7")]


def _one(rows: Sequence[Row], which: int) -> Row | None:
    return rows[which % len(rows)] if rows else None


def _sum(lines: Iterable[Mapping[str, Any]]) -> Decimal:
    return sum((each["Amount"] for each in lines), Decimal(0))


def _percent(amount: Decimal, percent: int) -> Decimal:
    return (amount * percent / 100).quantize(Decimal("0.01"))


def _applied(qbo_id: str, amount: Decimal, kind: str) -> dict[str, Any]:
    return {"Amount": amount, "LinkedTxn": [{"TxnId": qbo_id, "TxnType": kind}]}


def _check(vendor: str, cash: Decimal, lines: list[dict[str, Any]]) -> Mapping[str, Any]:
    return {
        "VendorRef": {"value": vendor},
        "PayType": "Check",
        "CheckPayment": {"BankAccountRef": {"value": "35"}},
        "TotalAmt": cash,
        "DocNumber": "2231",
        "TxnDate": today().isoformat(),
        "Line": lines,
    }
