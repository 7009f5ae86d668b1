"""Lines of commitments, the schedule of values: list, create, sync, and their v2 form."""

from functools import partial
from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Route, one
from ml_connector.sandbox.procore.cost_structure import refuse_unknown_unit, tax_rate
from ml_connector.sandbox.procore.errors import TAKEN, Refusal, invalid
from ml_connector.sandbox.procore.forms import picked, plain, read_fields
from ml_connector.sandbox.procore.paging import Filters, between, equal, listing
from ml_connector.sandbox.procore.pricing import priced
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import Row, sync
from ml_connector.sandbox.procore.wbs import code_ref, coding, usable_code
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

_FIELDS: forms.Fields = {
    "wbs_code_id": forms.whole,
    "cost_code_id": forms.whole,
    "line_item_type_id": forms.whole,
    "amount": forms.amount,
    "extended_type": forms.one_of("manual", "calculated"),
    "quantity": forms.number,
    "unit_cost": forms.number,
    "uom": forms.text,
    "description": forms.text,
    "tax_code_id": forms.whole,
    "origin_id": forms.text,
    "origin_data": forms.text,
}
_FILTERS: Filters = {
    "id": equal("id"),
    "cost_code_id": equal("cost_code_id"),
    "line_item_type_id": equal("line_item_type_id"),
    "created_at": between("created_at"),
    "updated_at": between("updated_at"),
}
_LOCKED = ("Approved", "Complete", "Closed")


def list_lines(type_: str, call: Call) -> Response:
    _, contract = _contract(call, type_, write=False)
    return listing(
        call, lines_of(call.state, contract["id"]), lambda doc: line_body(call.state, doc), filters=_FILTERS
    )


def create_line(type_: str, call: Call) -> Response:
    project, contract = _contract(call, type_, write=True)
    line = write_line(call, project, contract, given=call.fields("line_item"), existing=None)
    return one(line_body(call.state, line), status=201)


def sync_lines(type_: str, call: Call) -> Response:
    project, contract = _contract(call, type_, write=True)
    state = call.state

    def by_id(id: int) -> Document | None:
        doc = state.get("commitment_lines", id)
        return doc if doc and doc["contract_id"] == contract["id"] else None

    def by_origin(origin_id: str) -> Document | None:
        found = state.live("commitment_lines", company_id=call.company_id, origin_id=origin_id)
        if found and found[0]["contract_id"] != contract["id"]:
            raise invalid("origin_id", TAKEN, status=422)
        return next(iter(found), None)

    return sync(
        call,
        by_id=by_id,
        by_origin=by_origin,
        write=lambda row, existing: write_line(call, project, contract, given=row, existing=existing),
        render=lambda doc: line_body(state, doc),
    )


def write_line(
    call: Call, project: Document, contract: Document, *, given: Row, existing: Document | None
) -> Document:
    """Store one line of the contract. Raises Refusal; 422 when the contract is approved and so locked."""
    state = call.state
    if contract["status"] in _LOCKED and call.switches["lock_approved_commitments"]:
        raise Refusal(422, "The line items of an approved contract are locked")
    fields = read_fields(given, _FIELDS, call.switches)
    merged = {**(existing or {}), **fields}
    if existing is None or any(
        name in fields for name in ("wbs_code_id", "cost_code_id", "line_item_type_id")
    ):
        code = usable_code(call, project, fields)
        merged |= picked(code, ("cost_code_id", "line_item_type_id")) | {"wbs_code_id": code["id"]}
    refuse_unknown_unit(state, call.company_id, merged.get("uom"))
    rate = tax_rate(state, call.company_id, merged.get("tax_code_id"))
    merged |= priced(merged, rate)
    if existing is None:
        scope = {"company_id": call.company_id, "project_id": project["id"], "contract_id": contract["id"]}
        position = len(lines_of(state, contract["id"])) + 1
        line = state.created("commitment_lines", {**merged, **scope, "position": position})
    else:
        line = state.changed(existing, merged)
    state.refuse_taken_origin("commitment_lines", line)
    return state.put("commitment_lines", line)


def lines_of(state: State, contract_id: int) -> list[Document]:
    return state.find("commitment_lines", contract_id=contract_id)


def line_body(state: State, doc: Document) -> dict[str, Any]:
    project, contract = state.get("projects", doc["project_id"]), state.get("commitments", doc["contract_id"])
    shown = (
        "id",
        "description",
        "extended_type",
        "origin_id",
        "origin_data",
        "position",
        "tax_code_id",
        "uom",
    )
    return {
        **picked(doc, (*shown, "created_at", "updated_at")),
        "amount": plain(doc["amount"]),
        "extended_amount": plain(doc["amount"]),
        "total_amount": plain(doc["total_amount"]),
        "quantity": plain(doc.get("quantity")),
        "unit_cost": plain(doc.get("unit_cost")),
        "holder": {"id": doc["contract_id"], "holder_type": (contract or {}).get("type")},
        "project": None if project is None else picked(project, ("id", "name")),
        **coding(state, doc["wbs_code_id"]),
    }


def line_body_v2(state: State, doc: Document) -> dict[str, Any]:
    code = state.get("wbs_codes", doc["wbs_code_id"])
    tax_code = doc.get("tax_code_id")
    return {
        "id": str(doc["id"]),
        **picked(doc, ("description", "uom", "extended_type", "position")),
        "quantity": None if doc.get("quantity") is None else forms.money(doc["quantity"]),
        "unit_cost": plain(doc.get("unit_cost")),
        "amount": plain(doc["amount"]),
        "wbs_code_id": str(doc["wbs_code_id"]),
        "tax_code_id": None if tax_code is None else str(tax_code),
        "wbs_code": None if code is None else code_ref(code) | {"id": str(code["id"])},
    }


def _contract(call: Call, type_: str, *, write: bool) -> tuple[Document, Document]:
    project = call.project(tool="commitments", write=write)
    contract = call.owned("commitments", call.id("contract_id"), project_id=project["id"], type=type_)
    return project, contract


def _routes(key: str, type_: str) -> list[Route]:
    path = f"/rest/v1.0/{key}s/{{contract_id}}/line_items"
    return [
        ("GET", path, partial(list_lines, type_)),
        ("POST", path, partial(create_line, type_)),
        ("PATCH", f"{path}/sync", partial(sync_lines, type_)),
    ]


ROUTES: list[Route] = [
    *_routes("work_order_contract", "WorkOrderContract"),
    *_routes("purchase_order_contract", "PurchaseOrderContract"),
]
