"""Lines of subcontractor invoices: made from the schedule of values, rules for retainage."""

from decimal import Decimal
from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore import requisition_sums as sums
from ml_connector.sandbox.procore.call import Call
from ml_connector.sandbox.procore.errors import ENTITY_NOT_FOUND, invalid
from ml_connector.sandbox.procore.forms import cents, money, picked, read_fields
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import Row
from ml_connector.sandbox.procore.wbs import code_ref
from ml_connector.sandbox.records import Document

ITEM_TYPES = ("contract_item", "contract_detail_item", "change_order_item")

_AMOUNTS = (
    "work_completed_this_period",
    "materials_presently_stored",
    "work_completed_retainage_retained_this_period",
    "work_completed_retainage_percent_this_period",
    "work_completed_retainage_released_this_period",
    "materials_stored_retainage_currently_retained",
    "materials_stored_retainage_percent_this_period",
    "materials_stored_retainage_released_this_period",
    "subcontractor_claimed_amount",
)
_FIELDS: forms.Fields = {
    "item_type": forms.one_of(*ITEM_TYPES),
    **dict.fromkeys(_AMOUNTS, forms.amount),
    "new_materials": forms.amount,
    "stored_materials": forms.amount,
    "work_completed_this_period_quantity": forms.number,
    "status": forms.one_of("approved", "rejected", "no_action"),
    "comment": forms.text,
}


def make_items(state: State, requisition: Document, contract: Document) -> list[Document]:
    """One item for every schedule-of-values line and every approved change order, all at zero."""
    rate = cents(money(contract.get("retainage_percent")))
    sources = [
        ("contract_item", line["id"]) for line in state.find("commitment_lines", contract_id=contract["id"])
    ]
    sources += [
        ("change_order_item", order["id"])
        for order in contract.get("change_orders", ())
        if order["status"] == "approved"
    ]
    made = []
    for position, (item_type, source) in enumerate(sources, start=1):
        fields: Document = {
            **dict.fromkeys(_AMOUNTS, "0.00"),
            "subcontractor_claimed_amount": None,
            "work_completed_retainage_percent_this_period": rate,
            "materials_stored_retainage_percent_this_period": rate,
            "retainage_by": "percent",
            "status": "no_action",
            "company_id": requisition["company_id"],
            "requisition_id": requisition["id"],
            "commitment_id": contract["id"],
            "item_type": item_type,
            "line_item_id": source,
            "position": position,
        }
        made.append(state.put("requisition_items", state.created("requisition_items", fields)))
    return made


def check_new_rows(contract: Document, lines: list[Document], rows: list[Row]) -> None:
    """Every row names a line of this commitment, and none twice. Raises Refusal 400 or 422."""
    known = {("contract_item", line["id"]) for line in lines}
    known |= {
        ("change_order_item", order["id"])
        for order in contract.get("change_orders", ())
        if order["status"] == "approved"
    }
    seen = set()
    for row in rows:
        if row.get("item_type") not in ITEM_TYPES:
            raise invalid("items.item_type", f"must be one of {', '.join(ITEM_TYPES)}")
        key = (row["item_type"], row.get("line_item_id"))
        if key not in known:
            raise invalid("items.line_item_id", "is not a line of the commitment", status=422)
        if key in seen:
            raise invalid("items.line_item_id", "comes twice", status=422)
        seen.add(key)


def changed_item(
    call: Call, requisition: Document, contract: Document, *, item: Document, given: Row
) -> Document:
    """The item with the given fields, retainage worked out; not stored. Raises Refusal 400 or 422."""
    fields = read_fields(given, _FIELDS, call.switches)
    if fields.pop("item_type", item["item_type"]) != item["item_type"]:
        raise invalid("items.item_type", "is not that of the item")
    newer = [fields.pop(name) for name in ("stored_materials", "new_materials") if name in fields]
    if newer:
        fields["materials_presently_stored"] = cents(sum(map(money, newer), forms.ZERO))
    quantity = fields.get("work_completed_this_period_quantity")
    if contract.get("accounting_method") == "unit" and quantity is not None:
        line = call.state.get("commitment_lines", item["line_item_id"]) or {}
        fields["work_completed_this_period"] = cents(money(quantity) * money(line.get("unit_cost")))
    blank = {name: "0.00" for name in _AMOUNTS[:-1] if name in fields and fields[name] is None}
    changed = item | fields | blank
    changed |= _work_retainage(fields, changed) | _materials_retainage(fields, changed)
    _refuse_out_of_bounds(call, requisition, contract, changed)
    return changed


def store_item(state: State, old: Document, new: Document, *, by: str | None) -> Document:
    """Keep the item and, when somebody changed it, a line of history for every figure."""
    for name in _AMOUNTS:
        if by is not None and money(old.get(name)) != money(new.get(name)):
            entry = {
                "company_id": old["company_id"],
                "requisition_id": old["requisition_id"],
                "column": name,
                "old_value": old.get(name),
                "new_value": new.get(name),
                "action_by": by,
                "ref_id": old["id"],
                "ref_type": old["item_type"],
            }
            state.put("change_histories", state.created("change_histories", entry))
    return state.put("requisition_items", state.changed(old, new))


def item_of(state: State, requisition: Document, id: Any) -> Document:
    """An item of this invoice. Raises Refusal 400 without an id, 404-like 422 for a foreign one."""
    if not isinstance(id, int):
        raise invalid("items.id", "is missing")
    item = state.get("requisition_items", id)
    if item is None or item["requisition_id"] != requisition["id"]:
        raise invalid("items.id", ENTITY_NOT_FOUND, status=422)
    return item


def item_body(state: State, requisition: Document, contract: Document) -> list[dict[str, Any]]:
    """The items of a v1.1 answer."""
    bodies = []
    for item, body in _bodies(state, requisition, contract):
        work = money(item["work_completed_this_period"])
        gross = work + money(item["materials_presently_stored"])
        net = gross - sums.net_retainage(item) - money(item["materials_stored_retainage_currently_retained"])
        bodies.append(
            body
            | {
                "gross_amount": cents(gross),
                "net_amount": cents(net),
                "accounting_method": contract.get("accounting_method", "amount"),
                "taxes": [],
            }
        )
    return bodies


def contract_items(state: State, requisition: Document, contract: Document) -> list[dict[str, Any]]:
    """The items of the commitment itself in their v1.0 form."""
    return [
        body for item, body in _bodies(state, requisition, contract) if item["item_type"] == "contract_item"
    ]


def scheduled_value(state: State, contract: Document, item: Document) -> Decimal:
    if item["item_type"] == "change_order_item":
        return sum(
            (
                money(order["amount"])
                for order in contract.get("change_orders", ())
                if order["id"] == item["line_item_id"]
            ),
            forms.ZERO,
        )
    return money((state.get("commitment_lines", item["line_item_id"]) or {}).get("amount"))


def _bodies(state: State, requisition: Document, contract: Document) -> list[tuple[Document, dict[str, Any]]]:
    work_before, held_before = sums.previous(state, requisition)
    pairs = []
    for item in sums.items_of(state, requisition["id"]):
        key = sums.key_of(item)
        line = state.get("commitment_lines", item["line_item_id"]) if key[0] == "contract_item" else None
        code = state.get("wbs_codes", line["wbs_code_id"]) if line else None
        scheduled = scheduled_value(state, contract, item)
        to_date = work_before[key] + money(item["work_completed_this_period"])
        to_date += money(item["materials_presently_stored"])
        body = {
            **picked(item, ("id", "item_type", "line_item_id", *_AMOUNTS, "comment", "status", "position")),
            "work_completed_this_period_quantity": item.get("work_completed_this_period_quantity"),
            "description_of_work": line.get("description") if line else _order_title(contract, item),
            "cost_code_id": line["cost_code_id"] if line else None,
            "wbs_code": None if code is None else code_ref(code),
            "scheduled_value": cents(scheduled),
            "scheduled_quantity": line.get("quantity") if line else None,
            "scheduled_unit_price": line.get("unit_cost") if line else None,
            "work_completed_from_previous_application": cents(work_before[key]),
            "work_completed_retainage_from_previous_application": cents(held_before[key]),
            "total_completed_and_stored_to_date": cents(to_date),
            "total_completed_and_stored_to_date_percent": sums.percent(to_date, scheduled),
        }
        pairs.append((item, body))
    return pairs


def _order_title(contract: Document, item: Document) -> str | None:
    orders = [order for order in contract.get("change_orders", ()) if order["id"] == item["line_item_id"]]
    return orders[0].get("title") if orders else None


def _work_retainage(given: Document, item: Document) -> Document:
    """An amount counts only with work this period; a percentage only when the amount is zero or empty.

    What is not sent at all is filled from the contract's percentage.
    """
    work = money(item["work_completed_this_period"])
    amount = given.get("work_completed_retainage_retained_this_period")
    rate = given.get("work_completed_retainage_percent_this_period")
    if work == 0:
        return {"work_completed_retainage_retained_this_period": "0.00"}
    if money(amount) != 0 or (amount is not None and rate is None):
        return _by_amount(money(amount), work)
    if rate is None and item["retainage_by"] == "amount":
        return _by_amount(money(item["work_completed_retainage_retained_this_period"]), work)
    rate = rate or item["work_completed_retainage_percent_this_period"]
    return {
        "work_completed_retainage_retained_this_period": cents(work * money(rate) / 100),
        "work_completed_retainage_percent_this_period": rate,
        "retainage_by": "percent",
    }


def _by_amount(amount: Decimal, work: Decimal) -> Document:
    return {
        "work_completed_retainage_retained_this_period": cents(amount),
        "work_completed_retainage_percent_this_period": sums.percent(amount, work),
        "retainage_by": "amount",
    }


def _materials_retainage(given: Document, item: Document) -> Document:
    materials = money(item["materials_presently_stored"])
    if materials == 0:
        return {"materials_stored_retainage_currently_retained": "0.00"}
    if given.get("materials_stored_retainage_currently_retained") is not None:
        return {}
    rate = money(item["materials_stored_retainage_percent_this_period"])
    return {"materials_stored_retainage_currently_retained": cents(materials * rate / 100)}


def _refuse_out_of_bounds(call: Call, requisition: Document, contract: Document, item: Document) -> None:
    work = money(item["work_completed_this_period"])
    if work < 0 and call.switches["negative_requisitions"] == "refuse":
        raise invalid("work_completed_this_period", "must be greater than or equal to 0", status=422)
    work_before, held_before = sums.previous(call.state, requisition)
    key = sums.key_of(item)
    if call.switches["over_release"] == "refuse" and held_before[key] + sums.net_retainage(item) < 0:
        name = "work_completed_retainage_released_this_period"
        raise invalid(name, "is more than the retainage that is held", status=422)
    to_date = work_before[key] + work + money(item["materials_presently_stored"])
    if call.switches["overbilling"] == "refuse" and to_date > scheduled_value(call.state, contract, item):
        raise invalid("work_completed_this_period", "exceeds the scheduled value of the line", status=422)
