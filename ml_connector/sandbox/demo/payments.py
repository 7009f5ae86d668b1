"""What else is entered live: payments in full, in part, one check for several bills, and vendor credits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ml_connector.sandbox.demo.bills import Entry, PastBill
from ml_connector.sandbox.demo.chart import ACCOUNT_BY_ID, CARD, CHECKING
from ml_connector.sandbox.demo.drafts import CREDIT, Draft, expected_of, request_of
from ml_connector.sandbox.demo.expectations import ZERO, Expected, marked
from ml_connector.sandbox.demo.lines import cost, on_account, on_item
from ml_connector.sandbox.demo.parties import DOLLAR, ELM, FIREHOUSE, HARBOR, named
from ml_connector.sandbox.demo.reference import currency
from ml_connector.sandbox.qbo.company import short
from ml_connector.sandbox.records import Document

PAYMENT = "BillPayment"
_FIRST_CHECK = 2231
_IN_FULL, _BY_CARD, _IN_PART, _TOGETHER, _LIVE = 10, 3, 4, 2, 3
_AT_ONCE = 3
_NOT_ON_CREDITS = ("DueDate", "SalesTermRef")


@dataclass(frozen=True)
class Payment:
    """A payment to enter: `body` lacks its lines, which follow from `pays`: key of a bill -> amount."""

    key: str
    body: Document
    pays: tuple[tuple[str, Decimal], ...]
    expected: Expected

    def request(self, ids: dict[str, str]) -> Document:
        """The body of the create request. `ids`: QBO Ids by key. Raises KeyError for an unknown bill."""
        lines = [
            {"Amount": short(amount), "LinkedTxn": [{"TxnId": ids[key], "TxnType": "Bill"}]}
            for key, amount in self.pays
        ]
        return {**self.body, "Line": lines}


@dataclass(frozen=True)
class _Open:
    """A bill that can be paid."""

    key: str
    vendor: dict[str, str]
    total: Decimal


def payments(past: Sequence[PastBill], entries: Sequence[Entry], today: date) -> list[Payment]:
    """Payments of posted bills, the last of them of bills that are entered live themselves."""
    open_bills = [
        _Open(row.expected.key, row.bill["VendorRef"], row.expected.total)
        for row in past
        if row.expected.state == "posted" and row.expected.total > 0 and row.draft.vendor.active
    ]
    fresh = [
        _Open(entry.key, entry.body["VendorRef"], entry.expected.total)
        for entry in entries
        if entry.expected.state == "posted" and entry.expected.total > 0
    ]
    return [
        _payment(number, scenario, bills, today=today)
        for number, (scenario, bills) in enumerate(_chosen(open_bills, fresh), start=1)
    ]


def credits(today: date) -> list[Entry]:
    """Vendor credits for returned goods."""
    granite, norton, rental = (
        named(name) for name in ("Granite Supply, Inc.", "Norton Ridge Lumber", "City Rental")
    )
    pallets, boards, hire = Decimal("120.00"), Decimal("264.50"), Decimal("88.00")
    drafts = (
        Draft(
            "S54",
            granite,
            "CM-311",
            (
                on_item(
                    "Ready-mix", pallets, cost(HARBOR, "03-3000", "M", pallets), job=HARBOR, text="Short load"
                ),
            ),
            hold="UNSUPPORTED",
        ),
        Draft(
            "S54",
            norton,
            "CM-312",
            (on_item("Lumber", boards, cost(ELM, "06-1000", "M", boards), job=ELM, text="Returned boards"),),
            hold="UNSUPPORTED",
        ),
        Draft(
            "S54",
            rental,
            "CM-313",
            (
                on_account(
                    "5030", hire, cost(FIREHOUSE, "01-5000", "E", hire), job=FIREHOUSE, text="Early return"
                ),
            ),
            hold="UNSUPPORTED",
        ),
    )
    made = []
    for number, draft in enumerate(drafts, start=1):
        key = f"C-{number:03}"
        body = request_of(draft, on=today, note=marked(key))
        kept = {name: value for name, value in body.items() if name not in _NOT_ON_CREDITS}
        made.append(Entry(key, CREDIT, kept, expected_of(draft, key, entity=CREDIT)))
    return made


def _chosen(open_bills: Sequence[_Open], fresh: Sequence[_Open]) -> Iterator[tuple[str, Sequence[_Open]]]:
    """Scenario and bills of each payment; no bill is paid twice."""
    together = list(_by_vendor(open_bills))[:_TOGETHER]
    taken = {bill.key for bills in together for bill in bills}
    single = iter([bill for bill in open_bills if bill.key not in taken])
    for scenario, count in (("S50", _IN_FULL), ("S53", _BY_CARD), ("S51", _IN_PART)):
        for _ in range(count):
            yield scenario, [next(single)]
    yield from (("S52", bills) for bills in together)
    yield from (("S50", [bill]) for bill in fresh[:_LIVE])


def _by_vendor(open_bills: Sequence[_Open]) -> Iterator[Sequence[_Open]]:
    vendors: dict[str, list[_Open]] = {}
    for bill in open_bills:
        vendors.setdefault(bill.vendor["value"], []).append(bill)
    for bills in vendors.values():
        if len(bills) >= _AT_ONCE:
            yield bills[:_AT_ONCE]


def _payment(number: int, scenario: str, bills: Sequence[_Open], *, today: date) -> Payment:
    key, part, card = f"P-{number:03}", Decimal("0.5" if scenario == "S51" else "1"), scenario == "S53"
    pays = tuple((bill.key, (bill.total * part).quantize(Decimal("0.01"))) for bill in bills)
    total = sum((amount for _, amount in pays), ZERO)
    way: Document = {
        "PayType": "Check",
        "CheckPayment": {"BankAccountRef": _account(CHECKING), "PrintStatus": "NotSet"},
    }
    if card:
        way = {"PayType": "CreditCard", "CreditCardPayment": {"CCAccountRef": _account(CARD)}}
    body: Document = {
        "VendorRef": bills[0].vendor,
        **way,
        "TotalAmt": short(total),
        "DocNumber": "1" if card else str(_FIRST_CHECK + number),
        "TxnDate": today.isoformat(),
        "CurrencyRef": currency(DOLLAR),
        "PrivateNote": marked(key),
    }
    expected = Expected(key, PAYMENT, scenario, "held", "UNSUPPORTED", total, ZERO, ZERO, total)
    return Payment(key, body, pays, expected)


def _account(id: str) -> dict[str, str]:
    return {"value": id, "name": ACCOUNT_BY_ID[id].full_name}
