"""What money is coded to: cost codes, cost types, sub jobs, tax codes, units, standard lists.

The budget codes (WBS codes) made of them are in `wbs`.
"""

from decimal import Decimal
from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Route, one
from ml_connector.sandbox.procore.errors import TAKEN, invalid
from ml_connector.sandbox.procore.forms import picked, read_fields
from ml_connector.sandbox.procore.paging import Filters, candidates, equal, listing
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import Row, sync
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

_COST_CODE_FIELDS: forms.Fields = {
    "code": forms.text,
    "name": forms.text,
    "position": forms.whole,
    "parent_id": forms.whole,
    "standard_cost_code_id": forms.whole,
    "origin_id": forms.text,
    "origin_data": forms.text,
}
_BY_ORIGIN: Filters = {"id": equal("id"), "origin_id": equal("origin_id")}
_TAX_CODE_SHOWN = ("code", "description", "origin_data", "origin_id", "archived", "default_tax_code")


def list_cost_codes(call: Call) -> Response:
    rows = candidates(call, "cost_codes", project_id=call.project()["id"])
    sub_job = call.number("sub_job_id")
    if sub_job is not None:
        rows = [doc for doc in rows if doc.get("sub_job_id") == sub_job]
    return listing(call, rows, lambda doc: cost_code_body(call.state, doc), filters=_BY_ORIGIN)


def get_cost_code(call: Call) -> Response:
    return one(cost_code_body(call.state, call.owned("cost_codes", project_id=call.project()["id"])))


def create_cost_code(call: Call) -> Response:
    doc = _write_cost_code(call, call.project(write=True), call.fields("cost_code"), None)
    return one(cost_code_body(call.state, doc), status=201)


def update_cost_code(call: Call) -> Response:
    project = call.project(write=True)
    doc = _write_cost_code(
        call, project, call.fields("cost_code"), call.owned("cost_codes", project_id=project["id"])
    )
    return one(cost_code_body(call.state, doc))


def sync_cost_codes(call: Call) -> Response:
    project, state = call.project(write=True), call.state

    def by_id(id: int) -> Document | None:
        doc = state.get("cost_codes", id)
        return doc if doc and doc["project_id"] == project["id"] else None

    def by_origin(origin_id: str) -> Document | None:
        return next(iter(state.live("cost_codes", project_id=project["id"], origin_id=origin_id)), None)

    return sync(
        call,
        by_id=by_id,
        by_origin=by_origin,
        write=lambda row, existing: _write_cost_code(call, project, row, existing),
        render=lambda doc: cost_code_body(state, doc),
    )


def list_line_item_types(call: Call) -> Response:
    if call.request.first("project_id"):
        call.project()
    rows = candidates(call, "line_item_types", company_id=call.company_id)
    return listing(call, rows, line_item_type_body, filters=_BY_ORIGIN)


def list_sub_jobs(call: Call) -> Response:
    rows = call.state.find("sub_jobs", project_id=call.project()["id"])
    shown = ("id", "name", "code", "origin_id", "origin_data", "created_at", "updated_at")
    return listing(call, rows, lambda doc: picked(doc, shown))


def list_tax_codes(call: Call) -> Response:
    call.company_named()
    rows = call.state.find("tax_codes", company_id=call.company_id)
    return listing(
        call,
        rows,
        lambda doc: {
            "id": doc["id"],
            **picked(doc, _TAX_CODE_SHOWN),
            "rate1": forms.money(doc.get("rate1")),
        },
        maximum=100,
    )


def list_uoms(call: Call) -> Response:
    call.company_named()
    rows = call.state.find("uoms", company_id=call.company_id)
    return listing(
        call, rows, lambda doc: picked(doc, ("id", "name", "description", "is_standard", "uom_category"))
    )


def list_standard_lists(call: Call) -> Response:
    call.company_named()
    rows = call.state.find("standard_cost_code_lists", company_id=call.company_id)
    shown = ("id", "name", "is_erp_list", "available_to_use_on_new_projects")
    return listing(call, rows, lambda doc: picked(doc, shown))


def list_standard_codes(call: Call) -> Response:
    """Only ids, unless the extended view is asked for."""
    call.company_named()
    rows = call.state.find(
        "standard_cost_codes",
        company_id=call.company_id,
        standard_cost_code_list_id=call.number("standard_cost_code_list_id"),
    )
    shown: tuple[str, ...] = ("id",)
    if call.request.first("view") in ("compact", "extended"):
        shown = ("id", "standard_cost_code_list_id", "parent_id", "code", "full_code", "name", "origin_id")
    return listing(call, rows, lambda doc: picked(doc, shown), filters=_BY_ORIGIN)


def full_code(state: State, doc: Document) -> str:
    """The code with those of its parents before it: `03-3000`."""
    parent = state.get("cost_codes", doc["parent_id"]) if doc.get("parent_id") else None
    return doc["code"] if parent is None else f"{full_code(state, parent)}-{doc['code']}"


def cost_code_body(state: State, doc: Document) -> dict[str, Any]:
    code = full_code(state, doc)
    return {
        "id": doc["id"],
        **picked(doc, ("code", "name", "position", "origin_id", "origin_data", "standard_cost_code_id")),
        "full_code": code,
        "sortable_code": code,
        "biller_id": doc.get("sub_job_id") or doc["project_id"],
        "biller_type": "SubJob" if doc.get("sub_job_id") else "Project",
        "parent": {"id": doc["parent_id"]} if doc.get("parent_id") else None,
        "deleted_at": doc.get("deleted_at"),
        **picked(doc, ("created_at", "updated_at")),
    }


def line_item_type_body(doc: Document) -> dict[str, Any]:
    return picked(doc, ("id", "name", "code", "base_type", "origin_id", "origin_data"))


def refuse_unknown_unit(state: State, company_id: int, unit: str | None) -> None:
    """A unit must be one of the company's, where it has any. Raises Refusal 400."""
    units = state.find("uoms", company_id=company_id) if unit else []
    if units and all(doc["name"] != unit for doc in units):
        raise invalid("uom", "is not a unit of the company")


def tax_rate(state: State, company_id: int, tax_code_id: int | None) -> Decimal:
    """In percent. Raises Refusal 400 for a tax code that the company does not have."""
    if tax_code_id is None:
        return forms.ZERO
    doc = state.get("tax_codes", tax_code_id)
    if doc is None or doc["company_id"] != company_id:
        raise invalid("tax_code_id", "is not a tax code of the company")
    return forms.money(doc.get("rate1"))


def _write_cost_code(call: Call, project: Document, given: Row, existing: Document | None) -> Document:
    state = call.state
    fields = read_fields(given, _COST_CODE_FIELDS, call.switches)
    if existing is None:
        for name in ("code", "name"):
            if not fields.get(name):
                raise invalid(name, "can't be blank")
        scope = {"project_id": project["id"], "company_id": call.company_id}
        doc = state.created("cost_codes", {"sub_job_id": call.body.get("sub_job_id"), **fields, **scope})
    else:
        doc = state.changed(existing, fields)
    parent = state.get("cost_codes", doc["parent_id"]) if doc.get("parent_id") else None
    if doc.get("parent_id") and (parent is None or parent["project_id"] != project["id"]):
        raise invalid("parent_id", "is not a cost code of the project")
    state.refuse_taken_origin("cost_codes", doc, project_id=project["id"])
    siblings = state.live("cost_codes", project_id=project["id"], code=doc["code"])
    if any(other["id"] != doc["id"] and other.get("parent_id") == doc.get("parent_id") for other in siblings):
        raise invalid("code", TAKEN)
    return state.put("cost_codes", doc)


ROUTES: list[Route] = [
    ("GET", "/rest/v1.0/cost_codes", list_cost_codes),
    ("POST", "/rest/v1.0/cost_codes", create_cost_code),
    ("GET", "/rest/v1.0/cost_codes/{id}", get_cost_code),
    ("PATCH", "/rest/v1.0/cost_codes/{id}", update_cost_code),
    ("PATCH", "/rest/v1.0/cost_codes/sync", sync_cost_codes),
    ("GET", "/rest/v1.0/standard_cost_code_lists", list_standard_lists),
    ("GET", "/rest/v1.0/standard_cost_codes", list_standard_codes),
    ("GET", "/rest/v1.0/line_item_types", list_line_item_types),
    ("GET", "/rest/v1.0/sub_jobs", list_sub_jobs),
    ("GET", "/rest/v1.0/tax_codes", list_tax_codes),
    ("GET", "/rest/v1.0/companies/{company_id}/uoms", list_uoms),
]
