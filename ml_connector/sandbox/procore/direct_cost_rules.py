"""Rules that hold for a direct cost whichever call touches it: totals, collisions, numbers."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.errors import TAKEN, Refusal, invalid
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.records import Document


def touch(state: State, cost_ids: Iterable[int]) -> None:
    """After a write to lines: recompute the totals from the lines, count the write."""
    for id in cost_ids:
        cost = state.get("direct_costs", id)
        if cost is not None:
            stamped = {**state.changed(cost, totals(state, id)), "updated_at": state.stamp()}
            state.put("direct_costs", stamped | {"written_at": state.now().isoformat()})


def totals(state: State, cost_id: int) -> Document:
    """`amount` without tax, `grand_total` with it, from the lines as they stand."""
    lines = state.find("direct_cost_lines", direct_cost_id=cost_id)
    return {
        "amount": forms.cents(sum((forms.money(line["amount"]) for line in lines), forms.ZERO)),
        "grand_total": forms.cents(sum((forms.money(line["total_amount"]) for line in lines), forms.ZERO)),
        "line_items_count": len(lines),
    }


def refuse_busy(state: State, cost_ids: Iterable[Any]) -> None:
    """409 when another request has just written one of these direct costs. Raises Refusal."""
    seconds = state.switches["direct_cost_busy_seconds"]
    if not seconds:
        return
    for id in cost_ids:
        cost = state.get("direct_costs", id) if isinstance(id, int) else None
        written = cost and cost.get("written_at")
        if written and (state.now() - datetime.fromisoformat(written)).total_seconds() < seconds:
            raise Refusal(409, "The direct cost is being changed by another request")


def refuse_used_number(state: State, cost: Document) -> None:
    """A vendor's invoice number is unique in the direct costs tool. Raises Refusal."""
    scope = state.switches["invoice_number_scope"]
    if scope == "off" or not cost.get("invoice_number") or cost.get("vendor_id") is None:
        return
    same = state.live(
        "direct_costs",
        company_id=cost["company_id"],
        vendor_id=cost["vendor_id"],
        invoice_number=cost["invoice_number"],
    )
    for other in same:
        if other["id"] != cost["id"] and (scope == "company" or other["project_id"] == cost["project_id"]):
            raise invalid("invoice_number", TAKEN, status=state.switches["duplicate_invoice_status"])
