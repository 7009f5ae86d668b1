"""What a bookkeeping entry moves besides itself: balances of bills, credits, vendors and accounts, and links.

A payment moves its bills (SyncToken, LastUpdatedTime, Balance, LinkedTxn); vendors and accounts only get a
new balance and time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ml_connector.sandbox.qbo.company import Company, money, reference, short
from ml_connector.sandbox.qbo.refusals import bad_reference, business_rule
from ml_connector.sandbox.qbo.switches import Switches
from ml_connector.sandbox.records import Document

_PAYMENT = "BillPaymentCheck"  # what the vendor writes, for card payments too
_SETTLED_BY_PAYMENT = ("Bill", "VendorCredit")
_LIABILITY_GROWS = {"Bill": 1, "VendorCredit": -1, "BillPayment": -1}
_COST_GROWS = {"Bill": 1, "Purchase": 1, "VendorCredit": -1}


@dataclass(frozen=True)
class Applied:
    """How much of a payment goes to one bill or credit."""

    entity: str
    id: str
    amount: Decimal


class Payables:
    """Moves balances in one company."""

    def __init__(self, company: Company, switches: Switches) -> None:
        """`switches` say which changes are announced."""
        self._company = company
        self._switches = switches

    def check_payment(self, payment: Document, *, replacing: Document | None) -> None:
        """Refuse a payment that its bills and credits cannot take. Raises Refusal."""
        room: dict[tuple[str, str], Decimal] = {}
        for applied in _applications(replacing or {}):
            key = applied.entity, applied.id
            room[key] = room.get(key, Decimal(0)) + applied.amount
        net, seen = Decimal(0), set()
        for applied in _applications(payment):
            key = applied.entity, applied.id
            target = self._company.find(*key)
            if target is None:
                raise bad_reference("Txn", applied.id)
            if reference(target, "VendorRef") != reference(payment, "VendorRef"):
                raise business_rule("The payment and what it pays belong to different vendors.")
            balance = Decimal(0) if key in seen else money(target.get("Balance"))
            seen.add(key)
            room[key] = room.get(key, Decimal(0)) + balance - applied.amount
            if room[key] < 0:
                raise business_rule("You cannot pay more than the open balance.")
            net += applied.amount if applied.entity == "Bill" else -applied.amount
        if money(payment.get("TotalAmt")) < net:
            raise business_rule("The amount is less than the bills paid less the credits used.")

    def apply(self, payment: Document, *, at: datetime, replacing: Document | None = None) -> None:
        """Move bills and credits from what `replacing` did to what `payment` does; `{}` does nothing."""
        payment_id = payment.get("Id") or (replacing or {})["Id"]
        moves: dict[tuple[str, str], Decimal] = {}
        for doc, sign in ((replacing or {}, -1), (payment, 1)):
            for applied in _applications(doc):
                key = applied.entity, applied.id
                moves[key] = moves.get(key, Decimal(0)) + sign * applied.amount
        linked = {(applied.entity, applied.id) for applied in _applications(payment)}
        for key, amount in moves.items():
            target = self._company.find(*key)
            if target is not None:
                self._settle(key[0], target, payment_id, amount=amount, linked=key in linked, at=at)

    def _settle(
        self, entity: str, doc: Document, payment_id: str, *, amount: Decimal, linked: bool, at: datetime
    ) -> None:
        links = [link for link in doc.get("LinkedTxn") or [] if link.get("TxnId") != payment_id]
        if linked:
            links.append({"TxnId": payment_id, "TxnType": _PAYMENT})
        balance = short(min(money(doc.get("Balance")) - amount, money(doc.get("TotalAmt"))))
        moved = {**doc, "Balance": balance, "LinkedTxn": links}
        if not links:
            del moved["LinkedTxn"]
        self._company.save(
            entity, moved, at=at, verb="updated" if self._switches["payment_fires_bill_event"] else None
        )

    def post(self, entity: str, doc: Document, *, at: datetime, replacing: Document | None = None) -> None:
        """Move vendor and account balances from `replacing` to `doc`; `{}` stands for nothing posted."""
        moves: dict[tuple[str, str], Decimal] = {}
        for posted, sign in ((replacing or {}, -1), (doc, 1)):
            for key, amount in _postings(self._company, entity, posted):
                moves[key] = moves.get(key, Decimal(0)) + sign * amount
        for (kind, id), amount in moves.items():
            target = self._company.find(kind, id)
            if target is None:
                continue
            names = ("Balance",) if kind == "Vendor" else ("CurrentBalance", "CurrentBalanceWithSubAccounts")
            balances = {name: short(money(target.get(name)) + amount) for name in names}
            self._company.touch(kind, {**target, **balances}, at=at)
            if self._switches["balance_fires_name_event"]:
                self._company.announce(kind, id, "updated", at=at)


def is_settled_by_payment(doc: Document) -> bool:
    """Whether a payment is linked to a bill or credit."""
    return any(str(link.get("TxnType", "")).startswith("BillPayment") for link in doc.get("LinkedTxn") or [])


def _applications(payment: Document) -> Iterator[Applied]:
    for line in payment.get("Line") or []:
        for link in line.get("LinkedTxn") or []:
            if link.get("TxnType") in _SETTLED_BY_PAYMENT:
                yield Applied(link["TxnType"], str(link["TxnId"]), money(line.get("Amount")))


def _postings(company: Company, entity: str, doc: Document) -> Iterator[tuple[tuple[str, str], Decimal]]:
    """What a transaction adds to the balance of each vendor and account."""
    total = money(doc.get("TotalAmt"))
    if entity in _LIABILITY_GROWS and doc:
        signed = _LIABILITY_GROWS[entity] * total
        yield ("Vendor", reference(doc, "VendorRef")), signed
        yield ("Account", reference(doc, "APAccountRef")), -signed  # the vendor shows A/P below zero
    if entity == "BillPayment":
        bank = reference(doc.get("CheckPayment") or {}, "BankAccountRef")
        card = reference(doc.get("CreditCardPayment") or {}, "CCAccountRef")
        yield ("Account", bank or card), -total if bank else total
    if entity == "Purchase" and doc:
        yield ("Account", reference(doc, "AccountRef")), total if doc.get("Credit") else -total
    for line in doc.get("Line") or []:
        sign = _COST_GROWS.get(entity, 0) * (-1 if doc.get("Credit") else 1)
        if entity == "JournalEntry":
            detail = line.get("JournalEntryLineDetail") or {}
            sign = 1 if detail.get("PostingType") == "Debit" else -1
        if sign:
            yield ("Account", _line_account(company, line)), sign * money(line.get("Amount"))


def _line_account(company: Company, line: dict[str, Any]) -> str:
    detail = line.get(str(line.get("DetailType")))
    if not isinstance(detail, dict):
        return ""
    item = company.find("Item", reference(detail, "ItemRef"))
    if item is not None:
        return reference(item, "AssetAccountRef" if item.get("Type") == "Inventory" else "ExpenseAccountRef")
    return reference(detail, "AccountRef")
