"""What a commitment adds up to: its schedule of values, change orders, invoices and payments."""

from decimal import Decimal
from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.forms import plain
from ml_connector.sandbox.procore.requisition_sums import current_payment_due
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.records import Document


def contract_totals(state: State, contract: Document) -> dict[str, Any]:
    """The computed money fields of a contract answer, as text.

    Outstanding = revised contract - payments; the percentage is a bare number, not a fraction.
    """
    lines = state.find("commitment_lines", contract_id=contract["id"])
    total = sum((forms.money(line["total_amount"]) for line in lines), forms.ZERO)
    approved, pending, draft = (
        change_orders(contract, status) for status in ("approved", "pending", "draft")
    )
    revised, payments = total + approved, paid(state, contract["id"])
    share = Decimal(0) if revised == 0 else (payments / revised * 100).quantize(Decimal("0.01")).normalize()
    return {
        "grand_total": plain(total),
        "approved_change_orders": plain(approved),
        "pending_change_orders": plain(pending),
        "draft_change_orders_amount": plain(draft),
        "revised_contract": plain(revised),
        "pending_revised_contract": plain(revised + pending),
        "total_requisitions_amount": plain(invoiced(state, contract["id"])),
        "total_payments": plain(payments),
        "total_draw_requests_amount": "0.0",
        "percentage_paid": format(share, "f"),
        "remaining_balance_outstanding": plain(revised - payments),
    }


def change_orders(contract: Document, status: str) -> Decimal:
    return sum(
        (
            forms.money(order["amount"])
            for order in contract.get("change_orders", ())
            if order["status"] == status
        ),
        forms.ZERO,
    )


def invoiced(state: State, contract_id: int) -> Decimal:
    """The payment due of every requisition that is not a draft."""
    return sum(
        (
            current_payment_due(state, doc)
            for doc in state.find("requisitions", commitment_id=contract_id)
            if doc["status"] != "draft"
        ),
        forms.ZERO,
    )


def paid(state: State, contract_id: int) -> Decimal:
    payments = state.find("contract_payments", contract_id=contract_id)
    return sum((forms.money(payment["amount"]) for payment in payments), forms.ZERO)
