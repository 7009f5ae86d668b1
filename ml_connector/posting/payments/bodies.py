"""What Procore should hold of a payment: contract payments as bodies of its API (procore-api 10.1). Pure.

A contract payment is found again by its origin id, in its own field or, by policy, between brackets in the notes.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from ml_connector.errors import BadRecord
from ml_connector.money import parse_amount
from ml_connector.posting.payments.paid_bills import BillTarget, PaidBill
from ml_connector.posting.targets import cut, origin_of, sendable
from ml_connector.qbo.models import BillPayment, Entity
from ml_connector.store import exact_json

OURS = re.compile(r"\[(qbo:\d+:billpayment:[^\]\s]+)\]")
_CHECK_NUMBER = re.compile(r"[A-Za-z]{0,2}-?\d{1,8}")
_DATE = re.compile(r"\b(?:19|20)\d\d-\d\d-\d\d\b")
_LONG_NUMBER = re.compile(r"\d(?:[ .-]?\d){7,}")
_ACCOUNT = re.compile(
    r"(?i)\b(acct|account|a/c|iban|routing|aba|rtn)\b(\W*(?:(?:no|number|nr)\b\W*)?)[\w*-]*\d[\w-]*"
)
LEFT_OUT = "[number left out]"
COMPARED = ("date", "check_number", "requisition_id", "payment_method")


@dataclass(frozen=True)
class ContractPayment:
    """A wanted contract payment; `most` is what its requisition is worth, in payments of all kinds."""

    origin_id: str
    bill_id: str
    project_id: str
    commitment_id: int
    amount: Decimal
    fields: Mapping[str, Any]
    most: Decimal
    notes: str  # without the payee

    @property
    def body(self) -> dict[str, Any]:
        """The whole as stored in the ledger, money as text."""
        return {"bill": self.bill_id, "contract_payment": dict(self.fields)}

    @property
    def body_hash(self) -> bytes:
        """SHA-256 of the body but for the payee: QBO calls it otherwise after its vendor was renamed or merged."""
        compared = {**self.body, "contract_payment": {**self.fields, "notes": self.notes}}
        return hashlib.sha256(exact_json.dumps(compared, sort_keys=True)).digest()

    @property
    def number(self) -> str:
        """The check number, "" for other methods."""
        return str(self.fields.get("check_number") or "")

    @property
    def day(self) -> date:
        """When it was paid."""
        return date.fromisoformat(self.fields["date"])

    def is_held_by(self, there: Mapping[str, Any]) -> bool:
        """Whether a record of Procore says what this one says, in money, date, number, method and invoice."""
        return amount_of(there) == self.amount and all(
            str(there.get(name) or "") == str(self.fields.get(name) or "") for name in COMPARED
        )


def contract_payment(
    payment: BillPayment, bill: PaidBill, target: BillTarget, *, cash: Decimal, realm: str, is_linked: bool
) -> ContractPayment:
    """The contract payment for what a payment pays of one requisition, marked by an origin id, or in its notes.

    Raises ValueError for a target that is no requisition.
    """
    if target.commitment_id is None:
        raise ValueError(f"{target.origin_id} is no requisition")
    origin = payment_origin(realm, payment.id, bill.id, target.id)
    method = method_of(payment)
    notes = notes_of(payment, method, payee=payment.vendor.name)
    fields: dict[str, Any] = {
        "date": payment.txn_date.isoformat(),
        "amount": f"{cash:.2f}",
        "payment_method": method,
        "invoice_number": sendable(bill.number),
        "requisition_id": target.procore_id,
    }
    if method == "check" and payment.number.strip():
        fields["check_number"] = sendable(payment.number).strip()
    if is_linked:
        fields |= {"notes": notes, "origin_id": origin}
    else:
        fields["notes"] = f"{notes}\n[{origin}]"
    return ContractPayment(
        origin,
        bill.id,
        target.project_id,
        target.commitment_id,
        cash,
        fields,
        target.amount,
        notes_of(payment, method),
    )


def payment_origin(realm: str, payment_id: str, bill_id: str, target_id: str) -> str:
    """The origin id of a contract payment; `target_id` tells the invoices of a bill apart."""
    return f"{origin_of(realm, Entity.BILL_PAYMENT, payment_id, bill_id)}:{target_id}"


def origin_in(there: Mapping[str, Any]) -> str:
    """The origin id that a record of Procore carries, in its field or in its notes; "" without one."""
    marks = OURS.findall(str(there.get("notes") or ""))
    return str(there.get("origin_id") or "") or (marks[-1] if marks else "")


def amount_of(there: Mapping[str, Any]) -> Decimal | None:
    """The amount of a record of Procore; None when it cannot be read."""
    try:
        return parse_amount(there.get("amount"), field="amount")
    except BadRecord:
        return None


def method_of(payment: BillPayment) -> str:
    """Procore's payment method. QBO calls transfers checks too: one without a check's number is electronic."""
    if payment.pay_type == "CreditCard":
        return "credit_card"
    on_paper = payment.printed or _CHECK_NUMBER.fullmatch(payment.number.strip())
    return "check" if payment.pay_type == "Check" and on_paper else "electronic"


def notes_of(payment: BillPayment, method: str, *, payee: str = "") -> str:
    """Payee, reference and memo for the notes, without anything that may be a bank account number."""
    reference = payment.number.strip() if method != "check" else ""
    parts = [
        f"Paid to {payee}" if payee else "",
        f"Reference {reference}" if reference else "",
        payment.memo.strip(),
    ]
    return cut(without_accounts("\n".join(part for part in parts if part)))


def without_accounts(text: str) -> str:
    """`text` without numbers of eight and more digits, and without any number that is called an account.

    Dates stay. Long references go with the accounts: the two cannot be told apart, and secrecy comes first.
    """
    named = _ACCOUNT.sub(lambda found: f"{found[1]}{found[2]}{LEFT_OUT}", text)
    dates = _DATE.findall(named)
    pieces = [_LONG_NUMBER.sub(LEFT_OUT, piece) for piece in _DATE.split(named)]
    return "".join(piece + day for piece, day in zip(pieces, [*dates, ""], strict=True))
