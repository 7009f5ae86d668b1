"""What counts in the budget, by budget code: direct costs but drafts, approved commitments and invoices.

Source: support page on the standard budget view. `approved_as_noted` does not count.
"""

from dataclasses import dataclass
from decimal import Decimal

from ml_connector.sandbox.procore.commitments import APPROVED
from ml_connector.sandbox.procore.forms import ZERO, money
from ml_connector.sandbox.procore.requisition_sums import items_of
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.records import Document


@dataclass(frozen=True)
class Figures:
    """Costs of one budget code."""

    committed: Decimal = ZERO
    direct: Decimal = ZERO
    invoiced: Decimal = ZERO

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(
            self.committed + other.committed, self.direct + other.direct, self.invoiced + other.invoiced
        )


def none_of() -> Figures:
    return Figures()


def figures_of(state: State, project_id: int) -> dict[int, Figures]:
    """By id of the budget code; codes without any cost are not in it."""
    found: dict[int, Figures] = {}

    def add(wbs_code_id: int, figures: Figures) -> None:
        found[wbs_code_id] = found.get(wbs_code_id, Figures()) + figures

    for line in state.find("direct_cost_lines", project_id=project_id):
        cost = state.get("direct_costs", line["direct_cost_id"])
        if cost and not cost.get("deleted_at") and cost["status"] != "draft" and _shows(state, line):
            add(line["wbs_code_id"], Figures(direct=money(line["total_amount"])))
    for contract in state.live("commitments", project_id=project_id):
        lines = {line["id"]: line for line in state.find("commitment_lines", contract_id=contract["id"])}
        if contract["status"] in APPROVED:
            for line in lines.values():
                add(line["wbs_code_id"], Figures(committed=money(line["total_amount"])))
        for requisition in state.find("requisitions", commitment_id=contract["id"]):
            if requisition["status"] == "approved" and _shows(state, requisition):
                for item in items_of(state, requisition["id"]):
                    if item["item_type"] == "contract_item" and item["line_item_id"] in lines:
                        code = lines[item["line_item_id"]]["wbs_code_id"]
                        add(code, Figures(invoiced=money(item["work_completed_this_period"])))
    return found


def _shows(state: State, doc: Document) -> bool:
    lag = state.switches["budget_lag_seconds"]
    return not lag or str(doc["created_at"]) <= state.stamp_ago(lag)
