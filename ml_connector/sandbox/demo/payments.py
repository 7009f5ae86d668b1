"""The payments that are entered live, of every kind, and what each becomes: cash on commitments, settled direct costs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from ml_connector.sandbox.demo.bills import Entry, PastBill
from ml_connector.sandbox.demo.chart import ACCOUNT_BY_ID, CARD, CHECKING
from ml_connector.sandbox.demo.contracts import BRIGHT, HELM
from ml_connector.sandbox.demo.credits import EARLY_RETURN, RETURNED_BOARDS, RETURNED_WIRE
from ml_connector.sandbox.demo.drafts import Draft
from ml_connector.sandbox.demo.expectations import ZERO, Expected, ExpectedPayment, State, marked
from ml_connector.sandbox.demo.parties import DOLLAR, Vendor, named
from ml_connector.sandbox.demo.reference import currency
from ml_connector.sandbox.qbo.company import short
from ml_connector.sandbox.records import Document

PAYMENT = "BillPayment"
_FIRST_CHECK = 2231
_CENT = Decimal("0.01")
_IN_FULL, _BY_CARD, _IN_PART, _TOGETHER, _LIVE = 10, 3, 3, 2, 3
_AT_ONCE = 3
_DEPOSIT = Decimal("2000.00")

Way = Literal["check", "credit_card", "electronic"]


@dataclass(frozen=True)
class Payment:
    """A payment to enter: `body` lacks its lines, which follow from `pays` and `uses`: keys of bills and of credits."""

    key: str
    body: Document
    pays: tuple[tuple[str, Decimal], ...]
    uses: tuple[tuple[str, Decimal], ...]
    expected: Expected
    voided: bool = False

    @property
    def day(self) -> date:
        """Its date."""
        return date.fromisoformat(self.body["TxnDate"])

    def request(self, ids: dict[str, str]) -> Document:
        """The body of the create request. `ids`: QBO Ids by key. Raises KeyError for an unknown bill or credit."""
        applied = [("Bill", *pair) for pair in self.pays] + [("VendorCredit", *pair) for pair in self.uses]
        lines = [
            {"Amount": short(amount), "LinkedTxn": [{"TxnId": ids[key], "TxnType": kind}]}
            for kind, key, amount in applied
        ]
        return {**self.body, "Line": lines}


@dataclass(frozen=True)
class _Open:
    """A bill that can be paid."""

    key: str
    draft: Draft
    expected: Expected

    @property
    def total(self) -> Decimal:
        return self.expected.total

    @property
    def is_one_thing(self) -> bool:
        """Whether it became one record and nothing else, so that a part of it is a part of that."""
        return len(self.expected.targets) + len(self.expected.invoices) == 1 and not self.expected.excluded


@dataclass(frozen=True)
class _Plan:
    """A payment before it has a number: what it pays, what it uses, and how."""

    scenario: str
    vendor: Vendor
    pays: tuple[tuple[_Open, Decimal], ...] = ()
    uses: tuple[tuple[str, Decimal], ...] = ()
    way: Way = "check"
    unapplied: Decimal = ZERO
    days_ago: int = 0
    voided: bool = False


def payments(past: Sequence[PastBill], entries: Sequence[Entry], today: date) -> list[Payment]:
    """The payments in the order of entry, the last of them of bills that are entered live themselves."""
    history = _Pile([_Open(row.key, row.draft, row.expected) for row in past])
    live = _Pile([_Open(entry.key, entry.draft, entry.expected) for entry in entries])
    plans = [*_special(history), *_ordinary(history), *_fresh(live)]
    return [_payment(number, plan, today) for number, plan in enumerate(plans, start=1)]


@dataclass
class _Pile:
    """Bills that nobody has paid yet; one that is taken is taken once."""

    bills: Sequence[_Open]
    _taken: set[str] = field(default_factory=set)

    def take(self, fits: Callable[[_Open], bool]) -> _Open:
        """The first that fits. Raises StopIteration."""
        found = next(bill for bill in self.bills if bill.key not in self._taken and fits(bill))
        self._taken.add(found.key)
        return found

    def trios(self, fits: Callable[[_Open], bool]) -> Iterator[list[_Open]]:
        """Three bills of a vendor, for vendor after vendor."""
        free = [bill for bill in self.bills if bill.key not in self._taken and fits(bill)]
        for vendor in dict.fromkeys(bill.draft.vendor.id for bill in free):
            mine = [bill for bill in free if bill.draft.vendor.id == vendor][:_AT_ONCE]
            if len(mine) == _AT_ONCE:
                self._taken.update(bill.key for bill in mine)
                yield mine


def _ordinary(history: _Pile) -> Iterator[_Plan]:
    for _ in range(_IN_FULL):
        yield _in_full("S50", history.take(_is_plain))
    for _ in range(_BY_CARD):
        yield _in_full("S53", history.take(_is_plain), way="credit_card")
    for _ in range(_IN_PART):
        bill = history.take(lambda bill: _is_plain(bill) and bill.is_one_thing)
        yield _part("S51", bill, bill.total / 2)
    trios = history.trios(_is_plain)
    for _ in range(_TOGETHER):
        yield _in_full("S52", *next(trios))


def _fresh(live: _Pile) -> Iterator[_Plan]:
    for _ in range(_LIVE):
        yield _in_full("S50", live.take(_is_plain))


def _special(history: _Pile) -> Iterator[_Plan]:
    """Payments of subcontracts, with credits, without a bill, of bills that wait or are no cost."""
    material = [history.take(_of(BRIGHT, costs=1)) for _ in range(2)]
    yield _in_full(
        "S52", history.take(_of(BRIGHT, invoices=1)), material[0], history.take(_of(BRIGHT, invoices=2))
    )
    yield _in_full("S62", history.take(_of(BRIGHT, invoices=1)), material[1], voided=True)
    yield _in_full("S53", history.take(_is_progress), way="electronic")
    yield _in_full("S50", history.take(_is_progress))
    for bill in (
        history.take(_is_progress),
        history.take(lambda bill: _is_plain(bill) and bill.is_one_thing),
    ):
        first = (bill.total * Decimal("0.4")).quantize(_CENT)
        yield _part("S51", bill, first, days_ago=7)
        yield _part("S51", bill, bill.total - first)
    wired = history.take(_of(BRIGHT, invoices=1))
    yield _in_full("S55", wired, uses=((RETURNED_WIRE, Decimal("450.00")),))
    norton = named("Norton Ridge Lumber")
    boards = history.take(
        lambda bill: _is_plain(bill) and bill.draft.vendor == norton and bill.total > Decimal("264.50")
    )
    yield _in_full("S55", boards, uses=((RETURNED_BOARDS, Decimal("264.50")),))
    hire = history.take(lambda bill: bill.draft.scenario == "S56")
    yield _in_full("S56", hire, uses=((EARLY_RETURN, hire.total),), way="electronic")
    yield _Plan("S61", HELM, unapplied=_DEPOSIT, days_ago=3)
    yield _in_full("S59", history.take(lambda bill: bill.expected.reason == "COMMITMENT_NOT_APPROVED"))
    yield _in_full("S50", history.take(lambda bill: bill.expected.reason == "OVERHEAD"))


def _is_plain(bill: _Open) -> bool:
    """Whether it is cost of jobs alone, and stays as it is."""
    expected, draft = bill.expected, bill.draft
    stays = draft.vendor.active and not draft.then and not draft.deleted and draft.scenario != "S56"
    mine = draft.vendor.trade != "subcontract" and not expected.invoices
    return expected.state == "posted" and expected.total > 0 and stays and mine


def _is_progress(bill: _Open) -> bool:
    """Whether it is one requisition for work of a contract with one line."""
    return bill.draft.scenario == "S33" and bill.draft.vendor != BRIGHT and bill.expected.state == "posted"


def _of(vendor: Vendor, *, costs: int = 0, invoices: int = 0) -> Callable[[_Open], bool]:
    def fits(bill: _Open) -> bool:
        found = len(bill.expected.targets), len(bill.expected.invoices)
        return bill.draft.vendor == vendor and bill.expected.state == "posted" and found == (costs, invoices)

    return fits


def _in_full(
    scenario: str,
    *bills: _Open,
    uses: tuple[tuple[str, Decimal], ...] = (),
    way: Way = "check",
    voided: bool = False,
) -> _Plan:
    pays = tuple((bill, bill.total) for bill in bills)
    return _Plan(scenario, bills[0].draft.vendor, pays, uses, way, voided=voided)


def _part(scenario: str, bill: _Open, amount: Decimal, *, days_ago: int = 0) -> _Plan:
    return _Plan(scenario, bill.draft.vendor, ((bill, amount.quantize(_CENT)),), days_ago=days_ago)


def _payment(number: int, plan: _Plan, today: date) -> Payment:
    key, day = f"P-{number:03}", today - timedelta(days=plan.days_ago)
    used = sum((amount for _, amount in plan.uses), ZERO)
    total = sum((amount for _, amount in plan.pays), plan.unapplied) - used
    body: Document = {
        "VendorRef": {"value": plan.vendor.id, "name": plan.vendor.name},
        "PayType": "Check",
        "CheckPayment": {"BankAccountRef": _account(CHECKING), "PrintStatus": "NotSet"},
        "TotalAmt": short(total),
        "TxnDate": day.isoformat(),
        "CurrencyRef": currency(DOLLAR),
        "PrivateNote": marked(key),
    }
    check = str(_FIRST_CHECK + number) if plan.way == "check" else ""
    if plan.way == "credit_card":
        del body["CheckPayment"]
        body |= {"PayType": "CreditCard", "CreditCardPayment": {"CCAccountRef": _account(CARD)}}
        body["DocNumber"] = "1"
    elif check:
        body["DocNumber"] = check
    pays = tuple((bill.key, amount) for bill, amount in plan.pays)
    return Payment(key, body, pays, plan.uses, _expected(key, plan, day, used, check), plan.voided)


def _expected(key: str, plan: _Plan, day: date, used: Decimal, check: str) -> Expected:
    """What becomes of it as it is entered. Credits are used on one bill at most, so that its cash is what is left."""
    posted, excluded, held = ZERO, plan.unapplied, ZERO
    cash: list[ExpectedPayment] = []
    for bill, amount in plan.pays:
        expected = bill.expected
        if expected.state == "held":
            held += amount
        elif amount == bill.total:
            posted, excluded = posted + expected.posted, excluded + expected.excluded
        else:
            posted += amount
        for invoice in expected.invoices:
            due = (invoice.net if amount == bill.total else amount) - used
            cash.append(ExpectedPayment(invoice.commitment, invoice.number, due, plan.way, check, day))
    state: State = "held" if held else "posted" if posted else "excluded"
    reason = {"held": "WAITING_FOR_BILL", "excluded": "UNAPPLIED" if plan.unapplied else "OVERHEAD"}
    return Expected(
        key,
        PAYMENT,
        plan.scenario,
        state,
        reason.get(state, ""),
        posted + excluded + held,
        posted,
        excluded,
        held,
        payments=tuple(cash),
    )


def _account(id: str) -> dict[str, str]:
    return {"value": id, "name": ACCOUNT_BY_ID[id].full_name}
