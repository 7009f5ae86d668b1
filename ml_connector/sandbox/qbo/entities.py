"""Create, update, delete, void and merge: the operations a bookkeeper or an application does on records."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ml_connector.sandbox.qbo.company import Company, reference
from ml_connector.sandbox.qbo.payables import Payables, is_settled_by_payment
from ml_connector.sandbox.qbo.refusals import Refusal, business_rule, missing, stale, unsupported
from ml_connector.sandbox.qbo.schema import Entity
from ml_connector.sandbox.qbo.shaping import Shaper, children
from ml_connector.sandbox.qbo.switches import Switches
from ml_connector.sandbox.records import Document

_POSTED = ("Bill", "BillPayment", "VendorCredit", "Purchase", "JournalEntry")
_OF_A_VENDOR = ("Bill", "BillPayment", "VendorCredit", "PurchaseOrder")
_VOIDED_BY_HAND = ("Bill", "Purchase")
_PURCHASE_ORDER = "PurchaseOrder"


@dataclass(frozen=True)
class Outcome:
    """The entity part of an answer, and words for the journal."""

    entity: str
    body: Document
    words: str


class Writer:
    """Writes in one company. Each call either happens as a whole or raises Refusal and leaves no trace."""

    def __init__(self, company: Company, switches: Switches) -> None:
        """`switches` decide the doubtful points."""
        self._company = company
        self._switches = switches
        self._payables = Payables(company, switches)

    def write(
        self, entity: Entity, sent: Mapping[str, Any], *, options: Mapping[str, str], at: datetime
    ) -> Outcome:
        """Do what `POST /{entity}` asks; `options` are its query parameters `operation` and `include`."""
        if not entity.writable:
            raise unsupported(f"create on {entity.name}")
        operation, include = options.get("operation", ""), options.get("include", "").lower()
        if operation == "delete":
            return self.delete(entity, sent, at=at)
        if operation == "void" or include == "void":
            return self.void(entity, sent, at=at)
        if operation not in ("", "create", "update"):
            raise unsupported(operation)
        twice = include == "allowduplicatedocnum"
        if "Id" in sent:
            return self.update(entity, sent, at=at, twice=twice)
        return self.create(entity, sent, at=at, twice=twice)

    def create(
        self, entity: Entity, sent: Mapping[str, Any], *, at: datetime, twice: bool = False
    ) -> Outcome:
        """A new record with what follows from it."""
        doc = self._shaper().created(entity, sent, at=at, twice=twice)
        if entity.name == "BillPayment":
            self._payables.check_payment(doc, replacing=None)
        doc = self._order_links(entity, doc)
        stored = self._company.save(entity.name, doc, at=at, verb="created")
        self._post(entity, stored, at=at, replacing=None)
        self._mark_orders(stored, at=at)
        if entity.name == "Account":  # a recorded oddity: this answer lacks LastUpdatedTime
            stored = {**stored, "MetaData": {"CreateTime": stored["MetaData"]["CreateTime"]}}
        return Outcome(entity.name, stored, f"created {entity.name} {doc['Id']}")

    def update(
        self, entity: Entity, sent: Mapping[str, Any], *, at: datetime, twice: bool = False
    ) -> Outcome:
        """A new version, or the old one when nothing differs."""
        old = self._current(entity, sent)
        doc = self._shaper().updated(entity, old, sent, at=at, twice=twice)
        if {**doc, "MetaData": None} == {**old, "MetaData": None}:
            return Outcome(entity.name, old, f"unchanged {entity.name} {old['Id']}")
        if entity.name == "BillPayment":
            self._payables.check_payment(doc, replacing=old)
        stored = self._company.save(entity.name, doc, at=at, verb="updated")
        self._post(entity, stored, at=at, replacing=old)
        if stored.get("FullyQualifiedName") != old.get("FullyQualifiedName"):
            for child in list(children(self._company, entity, stored)):
                self._company.touch(entity.name, child, at=at)
        return Outcome(entity.name, stored, f"updated {entity.name} {doc['Id']}")

    def delete(self, entity: Entity, sent: Mapping[str, Any], *, at: datetime) -> Outcome:
        """Remove a transaction for good; names are made inactive by an update instead."""
        if entity.name_property is not None:
            raise unsupported(f"delete on {entity.name}")
        old = self._current(entity, sent)
        if is_settled_by_payment(old):
            raise business_rule("Delete or unlink the payments of this transaction first.")
        self._company.bury(entity.name, old["Id"], at=at)
        self._post(entity, {}, at=at, replacing=old)
        body = {"domain": "QBO", "status": "Deleted", "Id": old["Id"]}
        return Outcome(entity.name, body, f"deleted {entity.name} {old['Id']}")

    def void(self, entity: Entity, sent: Mapping[str, Any], *, at: datetime) -> Outcome:
        """Void a payment; a bill or purchase only when the switch `bill_void` allows what the product's screen can do."""
        if entity.name == "BillPayment":
            old = self._current(entity, sent)
            marks: Document = {"TotalAmt": Decimal(0), "Line": []}
        elif entity.name in _VOIDED_BY_HAND and self._switches["bill_void"] == "allowed":
            old = self._current(entity, sent)
            if is_settled_by_payment(old):
                raise business_rule("Delete or unlink the payments of this transaction first.")
            lines = [{**line, "Amount": Decimal(0)} for line in old.get("Line") or []]
            marks = {"TotalAmt": Decimal(0), "Line": lines}
            if entity.name == "Bill":
                marks["Balance"] = Decimal(0)
        else:
            raise unsupported(f"void on {entity.name}")
        note = old.get("PrivateNote")
        doc = {**old, **marks, "PrivateNote": f"Voided - {note}" if note else "Voided"}
        stored = self._company.save(entity.name, doc, at=at, verb="void")
        self._post(entity, stored, at=at, replacing=old)
        return Outcome(entity.name, stored, f"voided {entity.name} {old['Id']}")

    def merge(self, entity: Entity, *, loser: str, winner: str, at: datetime) -> None:
        """Merge two vendors as the product's screen does: transactions move, the loser turns inactive.

        Raises Refusal when either is not there.
        """
        lost, won = self._company.get(entity.name, loser), self._company.get(entity.name, winner)
        for kind in _OF_A_VENDOR:
            for doc in list(self._company.all(kind)):
                if reference(doc, "VendorRef") == loser:
                    moved = {**doc, "VendorRef": {"value": winner, "name": won.get("DisplayName")}}
                    self._company.save(kind, moved, at=at, verb="updated")
        for doc in list(self._company.all("Purchase")):
            if reference(doc, "EntityRef") == loser and doc["EntityRef"].get("type") == entity.name:
                payee = {**doc["EntityRef"], "value": winner, "name": won.get("DisplayName")}
                self._company.save("Purchase", {**doc, "EntityRef": payee}, at=at, verb="updated")
        balance = Decimal(str(won.get("Balance") or 0)) + Decimal(str(lost.get("Balance") or 0))
        self._company.touch(entity.name, {**won, "Balance": balance}, at=at)
        name = f"{str(lost.get('DisplayName')).removesuffix(' (deleted)')} (deleted)"
        gone = {**lost, "Active": False, "Balance": Decimal(0), "DisplayName": name}
        self._company.save(entity.name, gone, at=at, verb=None)
        self._company.announce(entity.name, winner, "merged", at=at, deleted_id=loser)

    def _current(self, entity: Entity, sent: Mapping[str, Any]) -> Document:
        """The stored version that a change starts from. Raises Refusal 2020, 610 or 5010."""
        if not sent.get("Id"):
            raise missing("Id")
        old = self._company.get(entity.name, str(sent["Id"]))
        if sent.get("SyncToken") is None:
            raise missing("SyncToken")
        if str(sent["SyncToken"]) != str(old.get("SyncToken")):
            raise stale()
        return old

    def _post(self, entity: Entity, doc: Document, *, at: datetime, replacing: Document | None) -> None:
        if entity.name == "BillPayment" and self._moves_bills(doc, replacing):
            self._payables.apply(doc, at=at, replacing=replacing)
        if entity.name in _POSTED:
            self._payables.post(entity.name, doc, at=at, replacing=replacing)

    def _moves_bills(self, doc: Document, replacing: Document | None) -> bool:
        edited = replacing is not None and doc.get("Line") == replacing.get("Line")
        return not edited or bool(self._switches["payment_edit_moves_bills"])

    def _order_links(self, entity: Entity, doc: Document) -> Document:
        """A bill whose lines name purchase orders is linked to them on both sides."""
        orders = dict.fromkeys(
            str(link["TxnId"])
            for line in (doc.get("Line") or [] if entity.name == "Bill" else [])
            for link in line.get("LinkedTxn") or []
            if link.get("TxnType") == _PURCHASE_ORDER
        )
        if not orders:
            return doc
        for id in orders:
            if self._company.find(_PURCHASE_ORDER, id) is None:
                raise Refusal("620", f"Transaction cannot be linked : {_PURCHASE_ORDER} {id}")
        links = [link for link in doc.get("LinkedTxn") or [] if link.get("TxnType") != _PURCHASE_ORDER]
        return {**doc, "LinkedTxn": links + [{"TxnId": id, "TxnType": _PURCHASE_ORDER} for id in orders]}

    def _mark_orders(self, bill: Document, *, at: datetime) -> None:
        """Each purchase order that a new bill bills is linked back to it, and so changes."""
        for link in bill.get("LinkedTxn") or []:
            if link.get("TxnType") == _PURCHASE_ORDER:
                order = self._company.get(_PURCHASE_ORDER, link["TxnId"])
                links = [*(order.get("LinkedTxn") or []), {"TxnId": bill["Id"], "TxnType": "Bill"}]
                self._company.save(_PURCHASE_ORDER, {**order, "LinkedTxn": links}, at=at, verb="updated")

    def _shaper(self) -> Shaper:
        return Shaper(
            self._company,
            inactive_suffix=self._switches["inactive_suffix"],
            renew_line_ids=self._switches["line_ids"] == "renewed",
        )
