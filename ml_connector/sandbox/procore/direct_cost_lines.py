"""Lines of direct costs: what they may say, their amounts, and their own calls and sync."""

from typing import Any

from ml_connector.sandbox.procore import direct_cost_rules as rules
from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Route, done, one
from ml_connector.sandbox.procore.cost_structure import refuse_unknown_unit, tax_rate
from ml_connector.sandbox.procore.errors import TAKEN, Refusal, invalid
from ml_connector.sandbox.procore.forms import picked, plain, read_fields
from ml_connector.sandbox.procore.locks import refuse_locked_parts
from ml_connector.sandbox.procore.paging import Filters, between, candidates, equal, listing
from ml_connector.sandbox.procore.pricing import priced
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import Row, sent_rows, sync
from ml_connector.sandbox.procore.wbs import coding, usable_code
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

_FIELDS: forms.Fields = {
    "wbs_code_id": forms.whole,
    "cost_code_id": forms.whole,
    "line_item_type_id": forms.whole,
    "description": forms.text,
    "extended_type": forms.one_of("manual", "calculated"),
    "quantity": forms.number,
    "unit_cost": forms.number,
    "uom": forms.text,
    "tax_code_id": forms.whole,
    "origin_id": forms.text,
    "origin_data": forms.text,
    "funding_rule_id": forms.whole,
}
V10_FIELDS: forms.Fields = {**_FIELDS, "amount": forms.amount}
NESTED_FIELDS: forms.Fields = {
    **{name: read for name, read in _FIELDS.items() if name not in ("cost_code_id", "line_item_type_id")},
    "manual_amount": forms.amount,
}
_FILTERS: Filters = {
    "id": equal("id"),
    "direct_cost_id": equal("direct_cost_id"),
    "cost_code_id": equal("cost_code_id"),
    "line_item_type_id": equal("line_item_type_id"),
    "created_at": between("created_at"),
    "updated_at": between("updated_at"),
}


def list_all_lines(call: Call) -> Response:
    """Lines of the project, those of deleted direct costs left out."""
    project = call.project(tool="direct_costs")
    asked = call.request.first("filters[direct_cost_id]")
    if asked and asked.isdecimal():
        rows = call.state.find("direct_cost_lines", direct_cost_id=int(asked), project_id=project["id"])
    else:
        rows = candidates(call, "direct_cost_lines", project_id=project["id"])
    return listing(
        call, _of_live_costs(call.state, rows), lambda doc: line_body(call.state, doc), filters=_FILTERS
    )


def list_lines(call: Call) -> Response:
    cost = _cost(call, write=False)
    return listing(
        call, lines_of(call.state, cost["id"]), lambda doc: line_body(call.state, doc), filters=_FILTERS
    )


def get_line(call: Call) -> Response:
    cost = _cost(call, write=False)
    return one(line_body(call.state, call.owned("direct_cost_lines", direct_cost_id=cost["id"])))


def create_line(call: Call) -> Response:
    cost = _cost(call, write=True)
    line = write_line(call, cost, _v10(call, call.fields("line_item")), None)
    rules.touch(call.state, {cost["id"]})
    return one(line_body(call.state, line), status=201)


def update_line(call: Call) -> Response:
    cost = _cost(call, write=True)
    line = call.owned("direct_cost_lines", direct_cost_id=cost["id"])
    line = write_line(call, cost, _v10(call, call.fields("line_item")), line)
    rules.touch(call.state, {cost["id"]})
    return one(line_body(call.state, line))


def delete_line(call: Call) -> Response:
    cost = _cost(call, write=True)
    line = call.owned("direct_cost_lines", direct_cost_id=cost["id"])
    call.state.drop("direct_cost_lines", line["id"])
    rules.touch(call.state, {cost["id"]})
    return done()


def sync_lines(call: Call) -> Response:
    """Upsert of lines over many direct costs of one project; each refused line stays in `errors`."""
    project = call.project(tool="direct_costs", write=True)
    state = call.state
    touched: set[int] = set()
    rules.refuse_busy(state, [row.get("direct_cost_id") for row in sent_rows(call, "updates")])

    def by_id(id: int) -> Document | None:
        doc = state.get("direct_cost_lines", id)
        return doc if doc and doc["project_id"] == project["id"] else None

    def by_origin(origin_id: str) -> Document | None:
        found = state.live("direct_cost_lines", company_id=call.company_id, origin_id=origin_id)
        return next(iter(_of_live_costs(state, found)), None)

    def write(row: Row, existing: Document | None) -> Document:
        cost_id = row.get("direct_cost_id") if existing is None else existing["direct_cost_id"]
        if existing is not None and str(row.get("direct_cost_id", cost_id)) != str(cost_id):
            raise invalid("origin_id" if row.get("origin_id") else "id", TAKEN, status=422)
        if cost_id is None:
            raise invalid("direct_cost_id", "can't be blank")
        cost = state.get("direct_costs", forms.whole(cost_id, "direct_cost_id", call.switches))
        if cost is None or cost["project_id"] != project["id"] or cost.get("deleted_at"):
            raise invalid("direct_cost_id", "is not a direct cost of the project")
        if call.switches["lock_applies_to_sync"]:
            refuse_locked_parts(state, cost, switch="direct_cost_lock")
        line = write_line(call, cost, _v10(call, row), existing)
        touched.add(cost["id"])
        return line

    answer = sync(
        call, by_id=by_id, by_origin=by_origin, write=write, render=lambda doc: line_body(state, doc)
    )
    rules.touch(state, touched)
    return answer


def nested_line(call: Call, given: Any) -> Document:
    """The fields of a line inside a v1.1 body; its amount is `manual_amount`. Raises Refusal 400."""
    if not isinstance(given, dict):
        raise Refusal(400, "line_items must be a list of objects")
    fields = read_fields(given, NESTED_FIELDS, call.switches)
    if "manual_amount" in fields:
        fields["amount"] = fields.pop("manual_amount")
        fields["extended_type"] = "manual"
    return fields


def checked_line(call: Call, cost: Document, fields: Document, existing: Document | None) -> Document:
    """The line as it would be stored, with its amount. Raises Refusal 400 or 422."""
    state = call.state
    project = state.get("projects", cost["project_id"]) or {}
    merged = {**(existing or {}), **fields}
    if fields.get("wbs_code_id") is not None:
        asked = {"wbs_code_id": fields["wbs_code_id"]}
    elif existing is None or "cost_code_id" in fields or "line_item_type_id" in fields:
        asked = picked(merged, ("cost_code_id", "line_item_type_id"))
    else:
        asked = {}
    if asked:
        code = usable_code(call, project, asked)
        merged |= picked(code, ("cost_code_id", "line_item_type_id")) | {"wbs_code_id": code["id"]}
    refuse_unknown_unit(state, call.company_id, merged.get("uom"))
    merged |= priced(merged, tax_rate(state, call.company_id, merged.get("tax_code_id")))
    if call.switches["negative_lines"] == "refuse" and forms.money(merged["amount"]) < 0:
        raise invalid("amount", "must be greater than or equal to 0", status=422)
    merged |= {"company_id": call.company_id, "project_id": cost["project_id"]}
    return merged


def write_line(call: Call, cost: Document, fields: Document, existing: Document | None) -> Document:
    """Store one checked line; the caller renews the totals with `rules.touch`. Raises Refusal."""
    state = call.state
    line = checked_line(call, cost, fields, existing)
    if existing is None:
        before = lines_of(state, cost["id"])
        position = max((doc["position"] for doc in before), default=0) + 1
        scope = {"direct_cost_id": cost["id"], "position": position}
        line = state.created("direct_cost_lines", line | scope)
    else:
        line = state.changed(existing, line)
    refuse_taken_line_origin(state, line)
    return state.put("direct_cost_lines", line)


def refuse_taken_line_origin(state: State, line: Document) -> None:
    """As for every kind, but the lines of a deleted direct cost do not count. Raises Refusal."""
    if not line.get("origin_id"):
        return
    found = state.live("direct_cost_lines", company_id=line["company_id"], origin_id=line["origin_id"])
    if any(other["id"] != line.get("id") for other in _of_live_costs(state, found)):
        raise invalid("origin_id", TAKEN, status=state.switches["duplicate_origin_id_status"])


def lines_of(state: State, direct_cost_id: int) -> list[Document]:
    return state.find("direct_cost_lines", direct_cost_id=direct_cost_id)


def line_body(state: State, doc: Document) -> dict[str, Any]:
    project = state.get("projects", doc["project_id"])
    return {
        **nested_body(state, doc),
        "holder": {"id": doc["direct_cost_id"], "holder_type": "DirectCost::Item"},
        "project": None if project is None else picked(project, ("id", "name")),
    }


def nested_body(state: State, doc: Document) -> dict[str, Any]:
    shown = ("id", "description", "extended_type", "origin_id", "origin_data", "position", "tax_code_id")
    return {
        **picked(doc, (*shown, "uom", "funding_rule_id", "created_at", "updated_at")),
        "amount": plain(doc["amount"]),
        "extended_amount": plain(doc["amount"]),
        "total_amount": plain(doc["total_amount"]),
        "quantity": plain(doc.get("quantity")),
        "unit_cost": plain(doc.get("unit_cost")),
        **coding(state, doc["wbs_code_id"]),
    }


def _v10(call: Call, given: Row) -> Document:
    fields = read_fields(given, V10_FIELDS, call.switches)
    if "extended_type" not in fields and fields.get("amount") is not None:
        fields["extended_type"] = "manual"
    return fields


def _cost(call: Call, *, write: bool) -> Document:
    project = call.project(tool="direct_costs", write=write)
    cost = call.owned("direct_costs", call.id("direct_cost_id"), project_id=project["id"])
    if write:
        rules.refuse_busy(call.state, {cost["id"]})
        refuse_locked_parts(call.state, cost, switch="direct_cost_lock")
    return cost


def _of_live_costs(state: State, lines: list[Document]) -> list[Document]:
    return [
        line
        for line in lines
        if not (state.get("direct_costs", line["direct_cost_id"]) or {}).get("deleted_at")
    ]


_V10 = "/rest/v1.0/projects/{project_id}/direct_costs"
ROUTES: list[Route] = [
    ("GET", f"{_V10}/line_items", list_all_lines),
    ("PATCH", f"{_V10}/line_items/sync", sync_lines),
    ("GET", f"{_V10}/{{direct_cost_id}}/line_items", list_lines),
    ("POST", f"{_V10}/{{direct_cost_id}}/line_items", create_line),
    ("GET", f"{_V10}/{{direct_cost_id}}/line_items/{{id}}", get_line),
    ("PATCH", f"{_V10}/{{direct_cost_id}}/line_items/{{id}}", update_line),
    ("DELETE", f"{_V10}/{{direct_cost_id}}/line_items/{{id}}", delete_line),
]
