"""What ml-connector reads of QBO's records: frozen facts parsed from raw JSON, money as Decimal.

Only fields that something here uses. Unknown fields are ignored, as QBO adds some without a new version
(qbo-api 3); one that is there but cannot be what it must be raises BadRecord, so that the one record is held.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NewType

from ml_connector.errors import BadRecord
from ml_connector.money import ZERO, parse_amount, parse_number

QboId = NewType("QboId", str)
Raw = Mapping[str, Any]


class Entity(StrEnum):
    """The entity types that are read, as QBO spells them."""

    VENDOR = "Vendor"
    BILL = "Bill"
    BILL_PAYMENT = "BillPayment"
    VENDOR_CREDIT = "VendorCredit"
    PURCHASE_ORDER = "PurchaseOrder"
    PURCHASE = "Purchase"
    JOURNAL_ENTRY = "JournalEntry"
    ACCOUNT = "Account"
    ITEM = "Item"
    CUSTOMER = "Customer"


TRANSACTIONS = (
    Entity.BILL,
    Entity.BILL_PAYMENT,
    Entity.VENDOR_CREDIT,
    Entity.PURCHASE,
    Entity.JOURNAL_ENTRY,
)
JOB_COSTS = (Entity.BILL, Entity.VENDOR_CREDIT, Entity.PURCHASE)  # what is mapped line by line
REFERENCE = (Entity.ACCOUNT, Entity.ITEM, Entity.CUSTOMER)
TAX_LINE = "TaxLineDetail"
NOT_TAXED = "NON"
RECURRING_TEMPLATE = "RECURRING_TEMPLATE"
IN_APPROVAL = "IN_APPROVAL"
# Of an approval status; the list of them is not public.
WAITING_WORDS = ("pending", "await", "draft", "reject", "denied")
SOFT_DELETED = (Entity.VENDOR, *REFERENCE)  # inactive instead of deleted; in queries only when asked for


@dataclass(frozen=True)
class Ref:
    """A reference: id and the name at the time of reading ("" when QBO left it out), without " (deleted)"."""

    id: str
    name: str


NO_PAYEE = Ref("", "")
PAYEES = ("Vendor", "Customer", "Employee")


@dataclass(frozen=True)
class Line:
    """One line of a bill, vendor credit or purchase.

    `number` counts from 1 in record order, `amount` is None on text lines, `kind` is the DetailType.
    """

    number: int
    id: str
    kind: str
    description: str
    amount: Decimal | None
    account: Ref | None
    item: Ref | None
    customer: Ref | None
    class_ref: Ref | None
    quantity: Decimal | None
    unit_price: Decimal | None
    purchase_orders: tuple[str, ...]  # QBO ids of the orders that it was made from
    is_taxed: bool = True  # False: its tax code says NON


@dataclass(frozen=True)
class Tax:
    """The tax of one rate on a bill; `rate` is the QBO id of the tax rate, "" where QBO left it out."""

    rate: str
    amount: Decimal


@dataclass(frozen=True)
class Bill:
    """A bill, a vendor credit or a purchase (`entity` says which); amounts of credits and refunds are positive as in QBO.

    A purchase is paid when it is made; its `vendor` has no id where it names no vendor but an employee, a customer, or
    nobody. Amounts are in `currency`, `exchange_rate` is home units for one of it; `tax` stands beside the lines,
    `taxes` says of which rates. `not_yet` is why it is no transaction of the books yet, "" when it is one.
    """

    entity: Entity
    id: QboId
    sync_token: int
    vendor: Ref
    number: str  # DocNumber, "" when blank
    txn_date: date
    due_date: date | None
    total: Decimal
    balance: Decimal | None
    currency: str
    exchange_rate: Decimal | None
    tax: Decimal
    location: Ref | None
    memo: str
    lines: tuple[Line, ...]
    created: datetime | None
    purchase_orders: tuple[str, ...] = ()  # linked to the bill as a whole
    taxes: tuple[Tax, ...] = ()
    is_tax_inclusive: bool = False  # the lines may have their tax in them
    home_total: Decimal | None = None
    not_yet: str = ""
    is_refund: bool = False  # a purchase that was given back

    @property
    def sign(self) -> int:
        """What job cost makes of its amounts: -1 for a credit or a refund."""
        return -1 if self.is_refund or self.entity is Entity.VENDOR_CREDIT else 1


@dataclass(frozen=True)
class AppliedLine:
    """What one line of a payment settles."""

    amount: Decimal
    kind: str  # LinkedTxn.TxnType: free text in QBO's schema
    txn_id: str


@dataclass(frozen=True)
class BillPayment:
    """Money out to a vendor: `total` is bills paid less credits used (qbo-api 8)."""

    id: QboId
    sync_token: int
    vendor: Ref
    number: str
    txn_date: date
    total: Decimal
    currency: str
    pay_type: str
    printed: bool  # a check on paper, printed or waiting for it
    memo: str
    applied: tuple[AppliedLine, ...]


@dataclass(frozen=True)
class Vendor:
    """A vendor; `name` is the DisplayName without the " (deleted)" that QBO adds to inactive ones."""

    id: QboId
    sync_token: int
    name: str
    company_name: str
    active: bool
    email: str
    phone: str
    street: str
    city: str
    state: str
    postal_code: str


@dataclass(frozen=True)
class Account:
    """An account of the chart. `number` is text (leading zeros, not unique); `full_name` is `A:B:C`."""

    id: str
    name: str
    full_name: str
    number: str
    kind: str  # AccountType
    classification: str  # Asset, Equity, Expense, Liability, Revenue
    active: bool


@dataclass(frozen=True)
class Item:
    """A product or service; a bill line on it posts to its expense account (inventory: its asset account)."""

    id: str
    name: str
    full_name: str
    kind: str
    account: Ref | None
    active: bool


@dataclass(frozen=True)
class Customer:
    """A customer, sub-customer (job) or project; `full_name` is `Parent:Child`."""

    id: str
    name: str
    full_name: str
    parent: str
    is_project: bool
    active: bool


def is_deleted(raw: Raw) -> bool:
    """Whether the row is the tombstone of a deleted record (qbo-api 5)."""
    return str(raw.get("status", "")).lower() == "deleted"


def record_id(raw: Raw) -> QboId:
    """The Id. Raises BadRecord without one."""
    value = raw.get("Id")
    if not isinstance(value, str) or not value:
        raise BadRecord("the record has no Id")
    return QboId(value)


def sync_token(raw: Raw) -> int:
    """SyncToken as a number, 0 when it is missing. Raises BadRecord when it is no number."""
    value = raw.get("SyncToken", "0")
    try:
        return int(value)
    except (TypeError, ValueError):
        raise BadRecord(f"SyncToken is not a number: {value!r:.40}") from None


def updated_at(raw: Raw) -> datetime | None:
    """MetaData.LastUpdatedTime, else CreateTime, in UTC; None when QBO left both out."""
    meta = _object(raw, "MetaData")
    value = meta.get("LastUpdatedTime") or meta.get("CreateTime")
    return None if value is None else parse_instant(value, field="MetaData.LastUpdatedTime")


def parse_instant(value: object, *, field: str) -> datetime:
    """A UTC instant. Raises BadRecord for text without an offset: its zone would be a guess (qbo-api 4)."""
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        raise BadRecord(f"{field} is not a time: {value!r:.40}") from None
    if instant.tzinfo is None:
        raise BadRecord(f"{field} has no offset: {value!r:.40}")
    try:
        return instant.astimezone(UTC)
    except OverflowError:  # the zero date of .NET with an offset
        raise BadRecord(f"{field} is not a time: {value!r:.40}") from None


def parse_date(value: object, *, field: str) -> date:
    """A date without a zone. Raises BadRecord."""
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise BadRecord(f"{field} is not a date: {value!r:.40}") from None


def _ref(holder: Raw, field: str) -> Ref | None:
    value = holder.get(field)
    if not isinstance(value, Mapping) or not value.get("value"):
        return None
    return Ref(str(value["value"]), _live_name(value.get("name")))


def _live_name(value: object) -> str:
    # QBO appends this mark to the names of inactive records (qbo-api 8).
    name = str(value or "").strip()
    return name[: -len("(deleted)")].rstrip() if name.lower().endswith("(deleted)") else name


def _name(raw: Raw, field: str) -> str:
    return _live_name(raw.get(field)) if raw.get("Active") is False else str(raw.get(field) or "").strip()


def _object(holder: Raw, field: str) -> Raw:
    value = holder.get(field) or {}
    if not isinstance(value, Mapping):
        raise BadRecord(f"{field} is not an object")
    return value


def _optional_number(holder: Raw, field: str) -> Decimal | None:
    return None if holder.get(field) is None else parse_number(holder[field], field=field)


def _list(holder: Raw, field: str) -> Sequence[Raw]:
    value = holder.get(field) or []
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        raise BadRecord(f"{field} is not a list of objects")
    return value


def parse_lines(raw: Raw) -> tuple[Line, ...]:
    """The lines of a bill, credit, purchase or journal entry, in their order. Raises BadRecord naming line and field."""
    return tuple(_line(number, line) for number, line in enumerate(_list(raw, "Line"), start=1))


def _line(number: int, raw: Raw) -> Line:
    kind = str(raw.get("DetailType") or "")
    detail = _object(raw, kind) if kind.endswith("Detail") else {}
    amount, tax_code = raw.get("Amount"), _ref(detail, "TaxCodeRef")
    return Line(
        number=number,
        id=str(raw.get("Id") or ""),
        kind=kind,
        description=str(raw.get("Description") or ""),
        amount=None if amount is None else parse_amount(amount, field=f"Line {number} Amount"),
        account=_ref(detail, "AccountRef"),
        item=_ref(detail, "ItemRef"),
        customer=_ref(detail, "CustomerRef") or _journal_customer(detail),
        class_ref=_ref(detail, "ClassRef"),
        quantity=_optional_number(detail, "Qty"),
        unit_price=_optional_number(detail, "UnitPrice"),
        purchase_orders=_purchase_orders(raw),
        is_taxed=tax_code is None or tax_code.id != NOT_TAXED,
    )


def _journal_customer(detail: Raw) -> Ref | None:
    entity = _object(detail, "Entity")
    return _ref(entity, "EntityRef") if entity.get("Type") == "Customer" else None


def _tax(number: int, raw: Raw) -> Tax:
    rate = _ref(_object(raw, TAX_LINE), "TaxRateRef")
    amount = parse_amount(raw.get("Amount"), field=f"tax line {number} Amount")
    return Tax("" if rate is None else rate.id, amount)


def _not_yet(raw: Raw) -> str:
    """Schemas know templates and bills in approval; whether and how QBO shows them is not documented (qbo-api 8)."""
    if raw.get("RecurringInfo"):
        return RECURRING_TEMPLATE
    status = str(_object(raw, "TxnApprovalInfo").get("ApprovalStatus") or "").lower()
    return IN_APPROVAL if any(word in status for word in WAITING_WORDS) else ""


def _purchase_orders(raw: Raw) -> tuple[str, ...]:
    links = _list(raw, "LinkedTxn")
    return tuple(str(link.get("TxnId", "")) for link in links if link.get("TxnType") == Entity.PURCHASE_ORDER)


def _vendor_ref(raw: Raw) -> Ref:
    vendor = _ref(raw, "VendorRef")
    if vendor is None:
        raise BadRecord("VendorRef is missing")
    return vendor


def vendor_field(entity: str) -> str:
    """The field that names the vendor."""
    return "EntityRef" if entity == Entity.PURCHASE else "VendorRef"


def vendor_id_of(entity: str, raw: Raw) -> str | None:
    """The id of the vendor that a record names; None for none, or one that cannot be read."""
    named = raw.get(vendor_field(entity))
    is_vendor = isinstance(named, Mapping) and (
        entity != Entity.PURCHASE or named.get("type") == Entity.VENDOR
    )
    return str(named["value"]) if isinstance(named, Mapping) and is_vendor and named.get("value") else None


def _payee(raw: Raw) -> Ref:
    """Whom a purchase was paid to, without an id where that is no vendor (qbo-api 8)."""
    payee = _ref(raw, "EntityRef")
    if payee is None:
        return NO_PAYEE
    kind = _object(raw, "EntityRef").get("type")
    if kind not in PAYEES:
        raise BadRecord(f"EntityRef has the type {kind!r:.40}")
    return payee if kind == Entity.VENDOR else Ref("", payee.name)


def is_refund(entity: str, raw: Raw) -> bool:
    """Whether a purchase was given back (qbo-api 8)."""
    return entity == Entity.PURCHASE and raw.get("Credit") is True


def sign_of(entity: str, raw: Raw) -> int:
    """What job cost makes of the amounts of a record: -1 for a vendor credit or a refund."""
    return -1 if is_refund(entity, raw) or entity == Entity.VENDOR_CREDIT else 1


def parse_bill(raw: Raw, entity: Entity = Entity.BILL) -> Bill:
    """A Bill, VendorCredit or Purchase. Raises BadRecord naming the field."""
    created = _object(raw, "MetaData").get("CreateTime")
    currency = _ref(raw, "CurrencyRef")
    tax_detail, home_total = _object(raw, "TxnTaxDetail"), raw.get("HomeTotalAmt")
    tax = tax_detail.get("TotalTax")
    tax_lines = _list(tax_detail, "TaxLine") or [
        line for line in _list(raw, "Line") if line.get("DetailType") == TAX_LINE
    ]
    return Bill(
        entity=entity,
        id=record_id(raw),
        sync_token=sync_token(raw),
        vendor=_payee(raw) if entity is Entity.PURCHASE else _vendor_ref(raw),
        number=str(raw.get("DocNumber") or "").strip(),
        txn_date=parse_date(raw.get("TxnDate"), field="TxnDate"),
        due_date=None if not raw.get("DueDate") else parse_date(raw["DueDate"], field="DueDate"),
        total=parse_amount(raw.get("TotalAmt"), field="TotalAmt"),
        balance=ZERO if entity is Entity.PURCHASE else _balance(raw),
        currency="" if currency is None else currency.id,
        exchange_rate=_optional_number(raw, "ExchangeRate"),
        tax=ZERO if tax is None else parse_amount(tax, field="TxnTaxDetail.TotalTax"),
        location=_ref(raw, "DepartmentRef"),
        memo=str(raw.get("PrivateNote") or ""),
        lines=parse_lines(raw),
        created=None if created is None else parse_instant(created, field="MetaData.CreateTime"),
        purchase_orders=_purchase_orders(raw),
        taxes=tuple(
            _tax(number, line)
            for number, line in enumerate(tax_lines, start=1)
            if line.get("Amount") is not None
        ),
        is_tax_inclusive=raw.get("GlobalTaxCalculation") == "TaxInclusive",
        home_total=None if home_total is None else parse_amount(home_total, field="HomeTotalAmt"),
        not_yet=_not_yet(raw),
        is_refund=is_refund(entity, raw),
    )


def _balance(raw: Raw) -> Decimal | None:
    return None if raw.get("Balance") is None else parse_amount(raw["Balance"], field="Balance")


def _applied(number: int, line: Raw) -> Sequence[AppliedLine]:
    links = _list(line, "LinkedTxn")
    if len(links) > 1:
        raise BadRecord(f"Line {number} settles {len(links)} transactions with one amount")
    amount = parse_amount(line.get("Amount"), field=f"Line {number} Amount")
    return [AppliedLine(amount, str(link.get("TxnType", "")), str(link.get("TxnId", ""))) for link in links]


def parse_bill_payment(raw: Raw) -> BillPayment:
    """A BillPayment. Raises BadRecord naming the field."""
    applied = tuple(
        entry for number, line in enumerate(_list(raw, "Line"), start=1) for entry in _applied(number, line)
    )
    currency = _ref(raw, "CurrencyRef")
    print_status = _object(raw, "CheckPayment").get("PrintStatus")
    return BillPayment(
        id=record_id(raw),
        sync_token=sync_token(raw),
        vendor=_vendor_ref(raw),
        number=str(raw.get("DocNumber") or ""),
        txn_date=parse_date(raw.get("TxnDate"), field="TxnDate"),
        total=parse_amount(raw.get("TotalAmt"), field="TotalAmt"),
        currency="" if currency is None else currency.id,
        pay_type=str(raw.get("PayType") or ""),
        printed=print_status in ("NeedToPrint", "PrintComplete"),
        memo=str(raw.get("PrivateNote") or ""),
        applied=applied,
    )


def parse_vendor(raw: Raw) -> Vendor:
    """A Vendor. Raises BadRecord without Id or name."""
    name = _live_name(raw.get("DisplayName"))
    if not name:
        raise BadRecord("DisplayName is empty")
    address = _object(raw, "BillAddr")
    return Vendor(
        id=record_id(raw),
        sync_token=sync_token(raw),
        name=name,
        company_name=str(raw.get("CompanyName") or ""),
        active=raw.get("Active") is not False,
        email=str(_object(raw, "PrimaryEmailAddr").get("Address") or "").split(",")[0].strip(),
        phone=str(_object(raw, "PrimaryPhone").get("FreeFormNumber") or ""),
        street=str(address.get("Line1") or ""),
        city=str(address.get("City") or ""),
        state=str(address.get("CountrySubDivisionCode") or ""),
        postal_code=str(address.get("PostalCode") or ""),
    )


def parse_account(raw: Raw) -> Account:
    """An Account."""
    name = _name(raw, "Name")
    return Account(
        id=record_id(raw),
        name=name,
        full_name=_name(raw, "FullyQualifiedName") or name,
        number=str(raw.get("AcctNum") or ""),
        kind=str(raw.get("AccountType") or ""),
        classification=str(raw.get("Classification") or ""),
        active=raw.get("Active") is not False,
    )


def parse_item(raw: Raw) -> Item:
    """An Item; an inventory item's account is the asset account (qbo-api 8)."""
    name = _name(raw, "Name")
    kind = str(raw.get("Type") or "")
    return Item(
        id=record_id(raw),
        name=name,
        full_name=_name(raw, "FullyQualifiedName") or name,
        kind=kind,
        account=_ref(raw, "AssetAccountRef" if kind == "Inventory" else "ExpenseAccountRef"),
        active=raw.get("Active") is not False,
    )


def parse_customer(raw: Raw) -> Customer:
    """A Customer, job or project."""
    name = _name(raw, "DisplayName")
    parent = _ref(raw, "ParentRef")
    return Customer(
        id=record_id(raw),
        name=name,
        full_name=_name(raw, "FullyQualifiedName") or name,
        parent="" if parent is None else parent.id,
        is_project=raw.get("IsProject") is True,
        active=raw.get("Active") is not False,
    )


def document_key(number: str) -> str:
    """The form in which document numbers are compared: without case and outer blanks, storable as text."""
    return number.replace("\0", "").encode("utf-8", "replace").decode().strip().lower()
