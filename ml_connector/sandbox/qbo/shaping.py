"""Turns a request body into the record QuickBooks would keep: checks, defaults, names of references, totals.

Raises Refusal with the vendor's code; stores nothing.
"""

from collections.abc import Iterator, Mapping, Set
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from hashlib import sha256
from typing import Any

from ml_connector.sandbox.qbo.company import Company, money, reference, short
from ml_connector.sandbox.qbo.refusals import (
    Refusal,
    bad_reference,
    business_rule,
    duplicate_name,
    duplicate_number,
    missing,
    not_found,
    unknown_property,
)
from ml_connector.sandbox.qbo.schema import PEOPLE, REFERENCES, Entity
from ml_connector.sandbox.qbo.times import today
from ml_connector.sandbox.records import Document

_CENT = Decimal("0.01")
_DOLLAR = {"value": "USD", "name": "United States Dollar"}
_KEPT = frozenset({"Id", "SyncToken", "MetaData", "domain", "LinkedTxn"})
_PAYMENT_TYPES = ("Cash", "Check", "CreditCard")
_EXPENSE_DETAILS = ("AccountBasedExpenseLineDetail", "ItemBasedExpenseLineDetail")
_ADDRESSES = ("BillAddr", "ShipAddr", "RemitToAddr", "VendorAddr")
_ABSENT = (None, "")
_DELETED = " (deleted)"
_CLASSIFICATIONS = {
    "Bank": "Asset", "Accounts Receivable": "Asset", "Other Current Asset": "Asset", "Fixed Asset": "Asset",
    "Other Asset": "Asset", "Accounts Payable": "Liability", "Credit Card": "Liability",
    "Other Current Liability": "Liability", "Long Term Liability": "Liability", "Equity": "Equity",
    "Income": "Revenue", "Other Income": "Revenue", "Expense": "Expense", "Other Expense": "Expense",
    "Cost of Goods Sold": "Expense",
}  # fmt: skip


class Shaper:
    """Shapes records of one company."""

    def __init__(self, company: Company, *, inactive_suffix: bool, renew_line_ids: bool) -> None:
        """`inactive_suffix`: a name that turns inactive ends in " (deleted)"."""
        self._company = company
        self._inactive_suffix = inactive_suffix
        self._renew_line_ids = renew_line_ids

    def created(self, entity: Entity, sent: Mapping[str, Any], *, at: datetime, twice: bool) -> Document:
        """The new record, with its Id and without SyncToken. `twice` allows a DocNumber to be used again."""
        self._check(entity, sent, required=True)
        own = _without(sent, entity.read_only | _KEPT)
        doc: Document = {**_present(own), "domain": "QBO", "sparse": False}
        if "LinkedTxn" in sent and entity.name == "Bill":
            doc["LinkedTxn"] = sent["LinkedTxn"]
        shaped = self._shape(entity, doc, old=None, at=at, twice=twice)
        return {**shaped, "Id": self._company.new_id(entity.name)}

    def updated(
        self, entity: Entity, old: Document, sent: Mapping[str, Any], *, at: datetime, twice: bool
    ) -> Document:
        """The next version: `sparse` keeps what is not sent, a full update empties it."""
        sparse = sent.get("sparse") is True
        self._check(entity, sent, required=not sparse)
        kept = old if sparse else {name: old[name] for name in entity.read_only | _KEPT if name in old}
        given = _without(sent, entity.read_only | _KEPT)
        cleared = frozenset(name for name, value in given.items() if value in _ABSENT)
        doc = {**_without(kept, cleared), **_present(given)}
        return self._shape(entity, {**doc, "domain": "QBO", "sparse": False}, old=old, at=at, twice=twice)

    def _check(self, entity: Entity, sent: Mapping[str, Any], *, required: bool) -> None:
        for name in sent:
            if name not in entity.properties:
                raise unknown_property(name)
        lines = sent.get("Line") or []
        if not isinstance(lines, list) or not all(isinstance(line, Mapping) for line in lines):
            raise unknown_property("Line")
        for name in entity.required:
            if required and sent.get(name) in (None, "", []):
                raise missing(name)

    def _shape(
        self, entity: Entity, doc: Document, *, old: Document | None, at: datetime, twice: bool
    ) -> Document:
        doc = self._referred(doc, old)
        if entity.name_property is not None:
            return self._listed(entity, doc, old)
        doc.setdefault("TxnDate", today(at).isoformat())
        doc.setdefault("CurrencyRef", _DOLLAR)
        doc["Line"] = self._lines(entity, doc.get("Line") or [], old)
        number = doc.get("DocNumber")
        if entity.numbered and number and not twice and number != (old or {}).get("DocNumber"):
            for other in self._company.numbered(
                entity.name, vendor=reference(doc, "VendorRef"), number=str(number)
            ):
                if other["Id"] != (old or {}).get("Id"):
                    raise duplicate_number(str(number), entity=entity.name, id=other["Id"])
        return self._totalled(entity, doc, old)

    def _totalled(self, entity: Entity, doc: Document, old: Document | None) -> Document:
        if entity.name == "BillPayment":
            doc["TotalAmt"] = _amount(doc.get("TotalAmt"))
            if doc.get("PayType") not in ("Check", "CreditCard"):
                raise Refusal("2170", "Invalid Enumeration : PayType", "PayType")
            return doc
        if entity.name == "JournalEntry":
            self._balanced(doc)
            return {**doc, "TotalAmt": Decimal(0)}
        tax = money((doc.get("TxnTaxDetail") or {}).get("TotalTax"))
        total = sum((money(line.get("Amount")) for line in doc["Line"]), Decimal(0)) + tax
        if total < 0:
            raise business_rule("Transaction amount must be 0 or greater.")
        doc["TotalAmt"] = short(total)
        if entity.name in ("Bill", "VendorCredit"):
            payables = [a for a in self._company.all("Account") if a.get("AccountType") == "Accounts Payable"]
            if payables:
                name = payables[0].get("FullyQualifiedName") or payables[0].get("Name")
                doc.setdefault("APAccountRef", {"value": payables[0]["Id"], "name": name})
            settled = money(old["TotalAmt"]) - money(old.get("Balance")) if old else Decimal(0)
            doc["Balance"] = short(max(total - settled, Decimal(0)))
        if entity.name == "Bill":
            doc.setdefault("DueDate", doc["TxnDate"])
        if entity.name == "Purchase":
            if doc.get("PaymentType") not in _PAYMENT_TYPES:
                raise Refusal("2170", "Invalid Enumeration : PaymentType", "PaymentType")
            doc.setdefault("Credit", False)
        if entity.name == "PurchaseOrder":
            doc.setdefault("POStatus", "Open")
        return doc

    def _balanced(self, doc: Document) -> None:
        balance = Decimal(0)
        for line in doc["Line"]:
            detail = line.get("JournalEntryLineDetail") or {}
            sign = {"Debit": 1, "Credit": -1}.get(str(detail.get("PostingType")))
            if sign is None:
                raise Refusal("2170", "Invalid Enumeration : PostingType", "PostingType")
            balance += sign * line["Amount"]
        if balance:
            raise business_rule("Debits and credits are not equal.")

    def _lines(self, entity: Entity, lines: list[Any], old: Document | None) -> list[Document]:
        if entity.name == "BillPayment":
            return [{**line, "Amount": _amount(line.get("Amount"))} for line in lines]
        held = [str(line.get("Id")) for line in (old or {}).get("Line") or []]
        fresh = max((int(id) for id in held if id.isdigit()), default=0)
        shaped = []
        for place, sent in enumerate(lines, start=1):
            line = self._referred(sent, None)
            if line.get("DetailType") != "DescriptionOnly":
                line["Amount"] = _amount(line.get("Amount"))
            same = self._renew_line_ids and line in ((old or {}).get("Line") or [])
            if str(line.get("Id")) not in held or (self._renew_line_ids and not same):
                fresh += 1
                line["Id"] = str(fresh)
            line.setdefault("LineNum", place)
            if line.get("DetailType") in _EXPENSE_DETAILS:
                self._expense_line(line, entity)
            shaped.append(line)
        return shaped

    def _expense_line(self, line: Document, entity: Entity) -> None:
        name = line["DetailType"]
        detail = line.get(name)
        if not isinstance(detail, dict):
            raise missing(f"Line.{name}")
        needed = "AccountRef" if name == "AccountBasedExpenseLineDetail" else "ItemRef"
        if not reference(detail, needed):
            raise missing(f"Line.{name}.{needed}")
        line[name] = {"BillableStatus": "NotBillable", "TaxCodeRef": {"value": "NON"}, **detail}
        line.setdefault("CustomExtensions", [])
        if entity.name == "Bill":
            line.setdefault("LinkedTxn", [])

    def _referred(self, value: Mapping[str, Any], old: Document | None) -> Document:
        """A copy with the names behind references filled in. Raises Refusal 2500 and 610."""
        copy: Document = {}
        for key, held in value.items():
            if key == "EntityRef" and held is not None:
                copy[key] = self._payee(held)
            elif key in REFERENCES and held is not None:
                if not isinstance(held, Mapping):
                    raise unknown_property(key)
                copy[key] = self._named_reference(key, held, unchanged=_same(held, old, key))
            elif key.endswith(("Detail", "Payment")) and isinstance(held, Mapping):
                copy[key] = self._referred(held, None)
            elif key in _ADDRESSES and isinstance(held, Mapping):
                copy[key] = {"Id": str(held.get("Id") or self._company.new_id("Address")), **held}
            else:
                copy[key] = held
        if "CheckPayment" in copy:
            copy["CheckPayment"] = {"PrintStatus": "NotSet", **copy["CheckPayment"]}
        return copy

    def _named_reference(self, key: str, held: Mapping[str, Any], *, unchanged: bool) -> Document:
        entity, table = REFERENCES[key]
        id = str(held.get("value") or "")
        doc = self._company.find(entity, id)
        if doc is None:
            raise bad_reference(table, id)
        if doc.get("Active") is False and not unchanged and key in ("VendorRef", "AccountRef", "ItemRef"):
            raise not_found()
        name = doc.get("FullyQualifiedName") or doc.get("DisplayName") or doc.get("Name")
        return {**held, "value": id, "name": name}

    def _payee(self, held: Any) -> Document:
        """Whom a purchase was paid to: the one reference that says of what kind it is. Raises Refusal 2500."""
        if not isinstance(held, Mapping):
            raise unknown_property("EntityRef")
        id = str(held.get("value") or "")
        for kind in PEOPLE:
            doc = self._company.find(kind, id) if held.get("type") in (None, kind) else None
            if doc is not None:
                return {**held, "value": id, "name": doc.get("DisplayName"), "type": kind}
        raise bad_reference("Names", id)

    def _listed(self, entity: Entity, doc: Document, old: Document | None) -> Document:
        named = str(entity.name_property)
        name = str(doc.get(named) or "")
        if any(bad in name for bad in ":\t\n"):
            raise Refusal("2080", f"Invalid String : {named} has an unsupported character", named)
        doc.setdefault("Active", True)
        if self._inactive_suffix and old is not None:
            if doc["Active"] is False and not name.endswith(_DELETED):
                name += _DELETED
            elif doc["Active"] is True and old.get("Active") is False:
                name = name.removesuffix(_DELETED)
        doc[named] = name
        parent = self._parent(entity, doc)
        if entity.sub_flag is not None:
            doc[entity.sub_flag] = parent is not None
        if entity.name != "Vendor":
            above = "" if parent is None else f"{parent.get('FullyQualifiedName') or parent.get('Name')}:"
            doc["FullyQualifiedName"] = above + name
        unique = name if named == "DisplayName" else doc["FullyQualifiedName"]
        if any(other["Id"] != doc.get("Id") for other in self._company.named(entity, unique)):
            raise duplicate_name()
        for key, value in _list_defaults(entity, doc):
            doc.setdefault(key, value)
        return doc

    def _parent(self, entity: Entity, doc: Document) -> Document | None:
        id = reference(doc, "ParentRef")
        if not id:
            return None
        parent = self._company.find(entity.name, id)
        if parent is None:
            raise bad_reference("Parents", id)
        return parent


def children(company: Company, entity: Entity, parent: Document) -> Iterator[Document]:
    """The next versions of all entries below a renamed parent: only FullyQualifiedName differs."""
    for child in company.all(entity.name):
        if reference(child, "ParentRef") == parent["Id"]:
            own = child.get(str(entity.name_property))
            moved = {**child, "FullyQualifiedName": f"{parent.get('FullyQualifiedName')}:{own}"}
            yield moved
            yield from children(company, entity, moved)


def _list_defaults(entity: Entity, doc: Document) -> Iterator[tuple[str, Any]]:
    if entity.name in ("Vendor", "Customer"):
        yield "Balance", 0
        yield "CurrencyRef", _DOLLAR
        yield "PrintOnCheckName", doc.get("CompanyName") or doc["DisplayName"]
        yield "V4IDPseudonym", "00209" + sha256(doc["DisplayName"].encode()).hexdigest()[:33]
    if entity.name == "Vendor":
        yield from (("BillRate", 0), ("CostRate", 0), ("Vendor1099", False))
    if entity.name == "Customer":
        yield from (
            ("BalanceWithJobs", 0),
            ("IsProject", False),
            ("BillWithParent", False),
            ("Taxable", False),
        )
    if entity.name == "Account":
        kind = str(doc.get("AccountType") or "Expense")
        yield from (("AccountType", kind), ("Classification", _CLASSIFICATIONS.get(kind, "Expense")))
        yield from (("CurrentBalance", 0), ("CurrentBalanceWithSubAccounts", 0), ("CurrencyRef", _DOLLAR))
    if entity.name == "Item":
        yield from (("Type", "Service"), ("Taxable", False), ("UnitPrice", 0), ("PurchaseCost", 0))
        yield "TrackQtyOnHand", False


def _same(held: Mapping[str, Any], old: Document | None, key: str) -> bool:
    return old is not None and str(held.get("value")) == reference(old, key)


def _without(sent: Mapping[str, Any], names: Set[str]) -> Document:
    return {name: value for name, value in sent.items() if name not in names}


def _present(value: Any) -> Any:
    """The value without the nulls and empty texts in it: absent values are left out of answers."""
    if isinstance(value, Mapping):
        return {name: _present(held) for name, held in value.items() if held not in _ABSENT}
    return [_present(held) for held in value] if isinstance(value, list) else value


def _amount(value: Any) -> Decimal:
    """An amount in cents. Raises Refusal 2020 or 2080."""
    if value is None:
        raise missing("Amount")
    try:
        return short(Decimal(str(value)).quantize(_CENT, ROUND_HALF_UP))
    except InvalidOperation as error:
        raise Refusal("2080", f"Invalid Number : {value}", "Amount") from error
