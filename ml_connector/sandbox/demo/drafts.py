"""A bill before it has a day and an Id: its lines, what is odd about it, and what the firm expects of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from ml_connector.sandbox.demo.chart import ACCOUNT_BY_ID, LOCATIONS, NET_30, PAYABLE, PAYABLE_CANADIAN
from ml_connector.sandbox.demo.expectations import (
    ZERO,
    CodedLine,
    Expected,
    ExpectedInvoice,
    ExpectedTarget,
    State,
)
from ml_connector.sandbox.demo.lines import Bills, Costs, DemoLine, Retains, StaysOut, Waits
from ml_connector.sandbox.demo.parties import CANADIAN, Vendor
from ml_connector.sandbox.demo.reference import currency
from ml_connector.sandbox.qbo.company import short
from ml_connector.sandbox.records import Document

BILL, CREDIT = "Bill", "VendorCredit"
_DUE = timedelta(days=30)


@dataclass(frozen=True)
class Draft:
    """One bill, or vendor credit. `hold` is a reason that holds the whole of it, whatever its lines say.

    `dated` fixes TxnDate to so many days before today. `twice` marks a number that its vendor has used
    already, `later` a bill that is entered live although its scene begins in the history. `then` are the lines that it
    has after the bookkeeper has corrected it, `deleted` one that is deleted in the end.
    """

    scenario: str
    vendor: Vendor
    number: str
    lines: tuple[DemoLine, ...]
    hold: str = ""
    note: str = ""
    location: str = ""
    tax: Decimal = ZERO
    rate: Decimal | None = None
    dated: int | None = None
    twice: bool = False
    later: bool = False
    then: tuple[DemoLine, ...] = ()
    deleted: bool = False

    @property
    def total(self) -> Decimal:
        """TotalAmt: the lines and the tax."""
        return _sum(line.amount for line in self.lines) + self.tax


def expected_of(draft: Draft, key: str, *, entity: str = BILL) -> Expected:
    """What becomes of it as it is entered: one bad line holds all but what stays out anyway."""
    sign = -1 if entity == CREDIT else 1
    outcomes = [line.outcome for line in draft.lines]
    reasons = [draft.hold, *(outcome.reason for outcome in outcomes if isinstance(outcome, Waits))]
    reason = next(filter(None, reasons), "")
    excluded = sign * _sum(line.amount for line in draft.lines if isinstance(line.outcome, StaysOut))
    posted, held, targets, invoices = ZERO, ZERO, _targets(draft, sign), _invoices(draft)
    state: State = "posted"
    if reason:
        state, held, targets, invoices = "held", sign * draft.total - excluded, (), ()
    elif targets or invoices:
        posted = _sum([target.amount for target in targets] + [invoice.net for invoice in invoices])
    else:
        state = "excluded"
        reason = next(outcome.reason for outcome in outcomes if isinstance(outcome, StaysOut))
    total = sign * draft.total
    return Expected(
        key, entity, draft.scenario, state, reason, total, posted, excluded, held, targets, invoices
    )


def request_of(draft: Draft, *, on: date, note: str = "") -> Document:
    """The body that creates the bill; `note` becomes its PrivateNote."""
    body: Document = {
        "VendorRef": {"value": draft.vendor.id, "name": draft.vendor.name},
        "TxnDate": on.isoformat(),
        "DueDate": (on + _DUE).isoformat(),
        "SalesTermRef": NET_30,
        "CurrencyRef": currency(draft.vendor.currency),
        "APAccountRef": _payable(draft.vendor),
        "Line": [line.body for line in draft.lines],
    }
    if draft.number:
        body["DocNumber"] = draft.number
    if note:
        body["PrivateNote"] = note
    if draft.location:
        body["DepartmentRef"] = {"value": LOCATIONS[draft.location], "name": draft.location}
    if draft.rate is not None:
        body["ExchangeRate"] = draft.rate
    if draft.tax:
        body |= {"GlobalTaxCalculation": "TaxExcluded", "TxnTaxDetail": _tax(draft)}
    return body


def bill_of(draft: Draft, id: str, *, on: date, created: str, updated: str) -> Document:
    """The bill as QuickBooks shows it, open and unpaid. `created` and `updated` are times of MetaData."""
    total = short(draft.total)
    meta = {
        "CreateTime": created,
        "LastModifiedByRef": {"value": "9341450000000001"},
        "LastUpdatedTime": updated,
    }
    bill = {
        "domain": "QBO",
        "sparse": False,
        "Id": id,
        "SyncToken": "0" if created == updated else "1",
        "MetaData": meta,
        **request_of(draft, on=on, note=draft.note),
        "Line": [_shown(line, place) for place, line in enumerate(draft.lines, start=1)],
        "TotalAmt": total,
        "Balance": total,
    }
    if draft.rate is not None:
        bill["HomeBalance"] = short((draft.total * draft.rate).quantize(Decimal("0.01")))
    return bill


def _shown(line: DemoLine, place: int) -> Document:
    kind = line.body["DetailType"]
    shown = {"Id": str(place), "LineNum": place, **line.body, "LinkedTxn": [], "CustomExtensions": []}
    if kind in line.body:
        shown[kind] = {**line.body[kind], "BillableStatus": "NotBillable", "TaxCodeRef": {"value": "NON"}}
    return shown


def _payable(vendor: Vendor) -> dict[str, str]:
    id = PAYABLE_CANADIAN if vendor.currency == CANADIAN else PAYABLE
    return {"value": id, "name": ACCOUNT_BY_ID[id].full_name}


def _tax(draft: Draft) -> Document:
    net = draft.total - draft.tax
    detail = {
        "TaxRateRef": {"value": "17"},
        "PercentBased": True,
        "TaxPercent": short((draft.tax / net * 100).quantize(Decimal("0.01"))),
        "NetAmountTaxable": short(net),
    }
    line = {"Amount": short(draft.tax), "DetailType": "TaxLineDetail", "TaxLineDetail": detail}
    return {"TotalTax": short(draft.tax), "TaxLine": [line]}


def _targets(draft: Draft, sign: int) -> tuple[ExpectedTarget, ...]:
    lines: dict[int, list[CodedLine]] = {}
    for line in draft.lines:
        if isinstance(line.outcome, Costs):
            parts = [(code, kind, sign * amount) for code, kind, amount in line.outcome.parts]
            lines.setdefault(line.outcome.project, []).extend(parts)
    return tuple(ExpectedTarget(project, draft.number, tuple(parts)) for project, parts in lines.items())


def _invoices(draft: Draft) -> tuple[ExpectedInvoice, ...]:
    billed = [line.outcome for line in draft.lines if isinstance(line.outcome, Bills)]
    retained = [line.outcome for line in draft.lines if isinstance(line.outcome, Retains)]
    return tuple(
        ExpectedInvoice(
            commitment=number,
            number=draft.number,
            work=tuple(entry.part for entry in billed if entry.commitment == number),
            held=-_sum(min(entry.amount, ZERO) for entry in retained if entry.commitment == number),
            released=_sum(max(entry.amount, ZERO) for entry in retained if entry.commitment == number),
        )
        for number in dict.fromkeys(
            [entry.commitment for entry in billed] + [entry.commitment for entry in retained]
        )
    )


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)
