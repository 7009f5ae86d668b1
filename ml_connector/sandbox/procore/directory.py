"""Companies, projects and the directory of vendors, of the company and of a project."""

from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Route, done, one
from ml_connector.sandbox.procore.errors import TAKEN, invalid, not_found
from ml_connector.sandbox.procore.forms import picked, read_fields
from ml_connector.sandbox.procore.paging import (
    RECORD_FILTERS,
    Filters,
    between,
    candidates,
    containing,
    equal,
    listing,
)
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import Row, sync
from ml_connector.sandbox.procore.tokens import companies_of
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

PROJECT_FIELDS: forms.Fields = {
    "name": forms.text,
    "active": forms.flag,
    "project_number": forms.text,
    "address": forms.text,
    "city": forms.text,
    "state_code": forms.text,
    "country_code": forms.text,
    "zip": forms.text,
    "phone": forms.text,
    "time_zone": forms.text,
    "start_date": forms.day,
    "completion_date": forms.day,
    "origin_id": forms.text,
    "origin_data": forms.text,
}
_PROJECT_SHOWN = (*PROJECT_FIELDS, "display_name", "origin_code", "created_at", "updated_at")
_PROJECT_FILTERS: Filters = RECORD_FILTERS | {
    "name": containing("name"),
    "project_number": equal("project_number"),
}

VENDOR_FIELDS: forms.Fields = {
    **dict.fromkeys(
        (
            "name",
            "abbreviated_name",
            "trade_name",
            "address",
            "city",
            "state_code",
            "zip",
            "country_code",
            "business_phone",
            "mobile_phone",
            "fax_number",
            "email_address",
            "website",
            "notes",
            "license_number",
            "labor_union",
            "origin_id",
            "origin_data",
            "origin_code",
        ),
        forms.text,
    ),
    **dict.fromkeys(
        ("is_active", "union_member", "non_union_prevailing_wage", "prequalified", "authorized_bidder"),
        forms.flag,
    ),
    "vendor_group_id": forms.whole,
    "parent_id": forms.whole,
    "primary_contact_id": forms.whole,
    "business_register_attributes": forms.anything,
}
_VENDOR_SHOWN = tuple(
    name
    for name in VENDOR_FIELDS
    if name not in ("vendor_group_id", "parent_id", "primary_contact_id", "business_register_attributes")
)
_PROJECT_VENDOR_SHOWN = tuple(
    name
    for name in _VENDOR_SHOWN
    if name
    not in ("labor_union", "union_member", "non_union_prevailing_wage", "prequalified", "authorized_bidder")
)
_VENDOR_FILTERS: Filters = {
    "id": equal("id"),
    "parent_id": equal("parent_id"),
    "origin_id": equal("origin_id"),
    "search": containing("name", "trade_name", "abbreviated_name", "origin_code", "business_id"),
    "created_at": between("created_at"),
    "updated_at": between("updated_at"),
}


def me(call: Call) -> Response:
    return one({"id": 1, "login": f"{call.client_id}@service-account.invalid", "name": call.client_id})


def list_companies(call: Call) -> Response:
    installed = companies_of(call.state, call.client_id)
    rows = [doc for doc in call.state.all("companies") if doc["id"] in installed]
    return listing(
        call, rows, lambda doc: {**picked(doc, ("id", "name")), "is_active": doc.get("is_active", True)}
    )


def list_projects(call: Call) -> Response:
    call.company_named()
    rows = [doc for doc in candidates(call, "projects", company_id=call.company_id) if call.may_see(doc)]
    status = call.request.first("filters[by_status]") or "All"
    if status != "All":
        rows = [doc for doc in rows if doc.get("active", True) == (status == "Active")]
    v11 = "/v1.1/" in call.request.path
    view = call.request.first("view") or call.request.first("serializer_view") or ""
    narrow = {"ids": ("id",), "compact": ("id", "name", "display_name", "project_number")}.get(view)
    maximum = (200_000 if view == "ids" else 300) if v11 else 2000
    return listing(
        call,
        rows,
        lambda doc: (
            picked(project_body(call.state, doc), narrow) if narrow else project_body(call.state, doc)
        ),
        filters=_PROJECT_FILTERS,
        sorts=("name", "display_name"),
        maximum=maximum,
    )


def get_project(call: Call) -> Response:
    call.company_named()
    return one(project_body(call.state, call.permitted(call.id())))


def sync_projects(call: Call) -> Response:
    call.company_named()
    state = call.state

    def by_id(id: int) -> Document | None:
        doc = state.get("projects", id)
        return doc if doc and doc["company_id"] == call.company_id and call.may_see(doc) else None

    def by_origin(origin_id: str) -> Document | None:
        return next(iter(state.live("projects", company_id=call.company_id, origin_id=origin_id)), None)

    def write(row: Row, existing: Document | None) -> Document:
        given = read_fields(row, PROJECT_FIELDS, call.switches)
        if existing is None:
            if not given.get("name"):
                raise invalid("name", "can't be blank")
            doc = state.created("projects", {"active": True, **given, "company_id": call.company_id})
        else:
            doc = state.changed(existing, given)
        state.refuse_taken_origin("projects", doc)
        return state.put("projects", doc)

    return sync(
        call, by_id=by_id, by_origin=by_origin, write=write, render=lambda doc: project_body(state, doc)
    )


def list_vendors(call: Call) -> Response:
    call.company_named()
    return _vendor_list(call, active=True)


def list_inactive_vendors(call: Call) -> Response:
    call.company_named()
    return _vendor_list(call, active=False)


def get_vendor(call: Call) -> Response:
    call.company_named()
    return one(vendor_body(call.state, call.owned("vendors")))


def create_vendor(call: Call) -> Response:
    call.company_named()
    doc = write_vendor(call, call.fields("vendor"), None)
    return one(vendor_body(call.state, doc), status=201)


def update_vendor(call: Call) -> Response:
    call.company_named()
    given = call.fields("vendor")
    if "name" not in given:
        raise invalid("name", "is missing")
    return one(vendor_body(call.state, write_vendor(call, given, call.owned("vendors"))))


def reactivate_vendor(call: Call) -> Response:
    call.company_named()
    doc = call.owned("vendors", is_active=False)
    return one(
        vendor_body(call.state, call.state.put("vendors", call.state.changed(doc, {"is_active": True})))
    )


def sync_vendors(call: Call) -> Response:
    call.company_named()
    state = call.state

    def by_id(id: int) -> Document | None:
        doc = state.get("vendors", id)
        return doc if doc and doc["company_id"] == call.company_id else None

    def by_origin(origin_id: str) -> Document | None:
        return next(iter(state.live("vendors", company_id=call.company_id, origin_id=origin_id)), None)

    return sync(
        call,
        by_id=by_id,
        by_origin=by_origin,
        write=lambda row, existing: write_vendor(call, row, existing),
        render=lambda doc: vendor_body(state, doc),
    )


def write_vendor(call: Call, given: Row, existing: Document | None) -> Document:
    """Create or change one vendor of the call's company. Raises Refusal."""
    state = call.state
    fields = read_fields(given, VENDOR_FIELDS, call.switches)
    register = fields.pop("business_register_attributes", None)
    if isinstance(register, dict):
        fields["business_id"] = register.get("identifier")
    if "name" in fields or existing is None:
        fields["name"] = str(fields.get("name") or "").strip()
        if not fields["name"]:
            raise invalid("name", "can't be blank")
    if existing is None:
        doc = state.created("vendors", {"is_active": True, **fields, "company_id": call.company_id})
    else:
        doc = state.changed(existing, fields)
    state.refuse_taken_origin("vendors", doc)
    if call.switches["duplicate_vendor_names"] == "refuse":
        same = state.find("vendors", company_id=call.company_id, name=doc["name"])
        if any(other["id"] != doc["id"] for other in same):
            raise invalid("name", TAKEN, status=422)
    return state.put("vendors", doc)


def list_project_vendors(call: Call) -> Response:
    project = call.project()
    links = call.state.find("project_vendors", project_id=project["id"])
    rows = [doc for link in links if (doc := call.state.get("vendors", link["vendor_id"])) is not None]
    view = call.request.first("view")
    narrow = {"ids_only": ("id",), "name": ("id", "name"), "minimal": ("id", "name")}.get(view or "")
    return listing(
        call,
        rows,
        lambda doc: picked(doc, narrow) if narrow else project_vendor_body(doc),
        filters=_VENDOR_FILTERS,
        sorts=("name",),
    )


def get_project_vendor(call: Call) -> Response:
    project, vendor = call.project(), call.owned("vendors")
    if not is_on_project(call.state, vendor["id"], project["id"]):
        raise not_found()
    return one(project_vendor_body(vendor))


def add_project_vendor(call: Call) -> Response:
    """Adding again changes nothing and is answered alike."""
    project, vendor = call.project(), call.owned("vendors")
    put_on_project(call.state, vendor["id"], project["id"])
    return one(project_vendor_body(vendor), status=201)


def remove_project_vendor(call: Call) -> Response:
    project, vendor = call.project(), call.owned("vendors")
    call.state.records.drop("project_vendors", _link(vendor["id"], project["id"]))
    return done(204)


def put_on_project(state: State, vendor_id: int, project_id: int) -> None:
    link = _link(vendor_id, project_id)
    state.records.put("project_vendors", link, {"id": link, "vendor_id": vendor_id, "project_id": project_id})


def is_on_project(state: State, vendor_id: int, project_id: int) -> bool:
    return state.records.get("project_vendors", _link(vendor_id, project_id)) is not None


def usable_vendor(call: Call, vendor_id: int, project_id: int) -> Document:
    """The vendor for a cost or a commitment of the project. Raises Refusal 422."""
    vendor = call.state.get("vendors", vendor_id)
    if vendor is None or vendor["company_id"] != call.company_id:
        raise invalid("vendor_id", "is not a vendor of the company", status=422)
    if call.switches["inactive_vendor"] == "refuse" and vendor.get("is_active") is False:
        raise invalid("vendor_id", "is inactive", status=422)
    if call.switches["vendor_must_be_on_project"] and not is_on_project(call.state, vendor_id, project_id):
        raise invalid("vendor_id", "is not on the project's directory", status=422)
    return vendor


def vendor_name(state: State, vendor_id: int | None) -> str | None:
    vendor = None if vendor_id is None else state.get("vendors", vendor_id)
    return None if vendor is None else vendor["name"]


def project_body(state: State, doc: Document) -> dict[str, Any]:
    company = state.get("companies", doc["company_id"])
    return {
        "id": doc["id"],
        **picked(doc, _PROJECT_SHOWN),
        "active": doc.get("active", True),
        "display_name": doc.get("display_name") or doc.get("name"),
        "company": None if company is None else picked(company, ("id", "name")),
    }


def vendor_body(state: State, doc: Document) -> dict[str, Any]:
    parent = state.get("vendors", doc["parent_id"]) if doc.get("parent_id") else None
    return {
        "id": doc["id"],
        **picked(doc, _VENDOR_SHOWN),
        "is_active": doc.get("is_active", True),
        "company": doc["name"],
        "legal_name": doc.get("legal_name"),
        "business_id": doc.get("business_id"),
        "parent": None if parent is None else picked(parent, ("id", "name")),
        "synced_to_erp": bool(doc.get("origin_id")),
        "project_ids": [link["project_id"] for link in state.find("project_vendors", vendor_id=doc["id"])],
        **picked(doc, ("created_at", "updated_at")),
    }


def project_vendor_body(doc: Document) -> dict[str, Any]:
    return {
        "id": doc["id"],
        **picked(doc, _PROJECT_VENDOR_SHOWN),
        "is_active": doc.get("is_active", True),
        "company": doc["name"],
        "synced_to_erp": bool(doc.get("origin_id")),
        **picked(doc, ("created_at", "updated_at")),
    }


def _vendor_list(call: Call, *, active: bool) -> Response:
    rows = [
        doc
        for doc in candidates(call, "vendors", company_id=call.company_id)
        if doc.get("is_active", True) == active
    ]
    compact = call.request.first("view") == "compact"
    return listing(
        call,
        rows,
        lambda doc: picked(doc, ("id", "name")) if compact else vendor_body(call.state, doc),
        filters=_VENDOR_FILTERS,
        sorts=("name",),
    )


def _link(vendor_id: int, project_id: int) -> str:
    return f"{project_id}:{vendor_id}"


ROUTES: list[Route] = [
    ("GET", "/rest/v1.0/me", me),
    ("GET", "/rest/v1.0/companies", list_companies),
    ("GET", "/rest/v1.0/projects", list_projects),
    ("GET", "/rest/v1.1/projects", list_projects),
    ("GET", "/rest/v1.0/projects/{id}", get_project),
    ("PATCH", "/rest/v1.0/projects/sync", sync_projects),
    ("GET", "/rest/v1.0/vendors", list_vendors),
    ("POST", "/rest/v1.0/vendors", create_vendor),
    ("GET", "/rest/v1.0/vendors/{id}", get_vendor),
    ("PATCH", "/rest/v1.0/vendors/{id}", update_vendor),
    ("PATCH", "/rest/v1.0/vendors/sync", sync_vendors),
    ("GET", "/rest/v1.0/companies/{company_id}/vendors/inactive", list_inactive_vendors),
    ("PATCH", "/rest/v1.0/companies/{company_id}/vendors/inactive/{id}", reactivate_vendor),
    ("GET", "/rest/v1.1/projects/{project_id}/vendors", list_project_vendors),
    ("GET", "/rest/v1.1/projects/{project_id}/vendors/{id}", get_project_vendor),
    ("POST", "/rest/v1.1/projects/{project_id}/vendors/{id}/actions/add", add_project_vendor),
    ("DELETE", "/rest/v1.1/projects/{project_id}/vendors/{id}/actions/remove", remove_project_vendor),
]
