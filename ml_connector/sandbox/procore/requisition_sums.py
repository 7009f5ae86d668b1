"""The arithmetic of a subcontractor invoice: previous and this period, retainage, and what is due now.

current payment due = total earned less retainage - that of the invoice before. Source: requisitions guide.
"""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ml_connector.sandbox.procore.forms import ZERO, cents, money
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.records import Document

Key = tuple[str, int]


@dataclass(frozen=True)
class Certificate:
    """One commitment up to and with one invoice."""

    work: Decimal = ZERO
    materials: Decimal = ZERO
    work_retainage: Decimal = ZERO
    materials_retainage: Decimal = ZERO

    @property
    def completed(self) -> Decimal:
        return self.work + self.materials

    @property
    def retainage(self) -> Decimal:
        return self.work_retainage + self.materials_retainage

    @property
    def earned(self) -> Decimal:
        return self.completed - self.retainage


def key_of(item: Document) -> Key:
    return item["item_type"], item["line_item_id"]


def items_of(state: State, requisition_id: int) -> list[Document]:
    return state.find("requisition_items", requisition_id=requisition_id)


def of_commitment(state: State, commitment_id: int) -> list[Document]:
    """The requisitions of a commitment, oldest number first."""
    return sorted(state.find("requisitions", commitment_id=commitment_id), key=lambda doc: int(doc["number"]))


def before(state: State, requisition: Document) -> list[Document]:
    return [
        doc
        for doc in of_commitment(state, requisition["commitment_id"])
        if doc["number"] < requisition["number"]
    ]


def is_newest(state: State, requisition: Document) -> bool:
    return bool(of_commitment(state, requisition["commitment_id"])[-1]["id"] == requisition["id"])


def previous(state: State, requisition: Document) -> tuple[dict[Key, Decimal], dict[Key, Decimal]]:
    """By item: work of all earlier invoices, and work retainage still held by them."""
    work: dict[Key, Decimal] = defaultdict(Decimal)
    held: dict[Key, Decimal] = defaultdict(Decimal)
    for doc in before(state, requisition):
        for item in items_of(state, doc["id"]):
            work[key_of(item)] += money(item["work_completed_this_period"])
            held[key_of(item)] += net_retainage(item)
    return work, held


def net_retainage(item: Document) -> Decimal:
    """Work retainage held now less what is released now."""
    held = money(item["work_completed_retainage_retained_this_period"])
    return held - money(item["work_completed_retainage_released_this_period"])


def certificate(state: State, requisitions: list[Document]) -> Certificate:
    """These invoices of one commitment together, oldest first; stored materials are those of the last."""
    if not requisitions:
        return Certificate()
    every = [item for doc in requisitions for item in items_of(state, doc["id"])]
    last = items_of(state, requisitions[-1]["id"])
    stored = sum((money(item["materials_stored_retainage_currently_retained"]) for item in last), ZERO)
    released = sum((money(item["materials_stored_retainage_released_this_period"]) for item in last), ZERO)
    return Certificate(
        work=sum((money(item["work_completed_this_period"]) for item in every), ZERO),
        materials=sum((money(item["materials_presently_stored"]) for item in last), ZERO),
        work_retainage=sum((net_retainage(item) for item in every), ZERO),
        materials_retainage=stored - released,
    )


def current_payment_due(state: State, requisition: Document) -> Decimal:
    earlier = before(state, requisition)
    return certificate(state, [*earlier, requisition]).earned - certificate(state, earlier).earned


def paid_on(state: State, requisition_id: int) -> Decimal:
    """What the contract payments that name this invoice add up to."""
    payments = state.find("contract_payments", requisition_id=requisition_id)
    return sum((money(payment["amount"]) for payment in payments), ZERO)


def payment_state(state: State, requisition: Document) -> str:
    """As the web application shows it; no API field tells it."""
    paid = paid_on(state, requisition["id"])
    if paid == 0:
        return "unpaid"
    return "paid" if paid >= current_payment_due(state, requisition) else "partially_paid"


def summary(state: State, requisition: Document, *, original: Decimal, changes: Decimal) -> dict[str, Any]:
    """The G702 figures as text."""
    earlier = before(state, requisition)
    now, then = certificate(state, [*earlier, requisition]), certificate(state, earlier)
    return {
        "original_contract_sum": cents(original),
        "net_change_by_change_orders": cents(changes),
        "contract_sum_to_date": cents(original + changes),
        "total_completed_and_stored_to_date": cents(now.completed),
        "completed_work_retainage_amount": cents(now.work_retainage),
        "completed_work_retainage_percent": percent(now.work_retainage, now.work),
        "stored_materials_retainage_amount": cents(now.materials_retainage),
        "stored_materials_retainage_percent": percent(now.materials_retainage, now.materials),
        "total_retainage": cents(now.retainage),
        "total_earned_less_retainage": cents(now.earned),
        "less_previous_certificates_for_payment": cents(then.earned),
        "current_payment_due": cents(now.earned - then.earned),
        "balance_to_finish_including_retainage": cents(original + changes - now.earned),
        "tax_applicable_to_this_payment": "0.00",
    }


def percent(part: Decimal, whole: Decimal) -> str:
    return "0.00" if whole == 0 else cents(part / whole * 100)
