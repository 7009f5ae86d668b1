"""Direct costs: headers in both versions, their sync, bodies with lines; see also `direct_cost_lines`."""

from typing import Any

from ml_connector.sandbox.procore import direct_cost_rules as rules
from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Route, one
from ml_connector.sandbox.procore.direct_cost_lines import (
    checked_line,
    lines_of,
    nested_body,
    nested_line,
    refuse_taken_line_origin,
    write_line,
)
from ml_connector.sandbox.procore.directory import usable_vendor, vendor_name
from ml_connector.sandbox.procore.errors import ENTITY_NOT_FOUND, TAKEN, invalid, not_found
from ml_connector.sandbox.procore.forms import picked, plain, read_fields
from ml_connector.sandbox.procore.locks import refuse_locked, refuse_locked_parts
from ml_connector.sandbox.procore.paging import (
    RECORD_FILTERS,
    Filters,
    between,
    candidates,
    equal,
    listing,
)
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import Row, sent_rows, sync
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

TYPES = ("invoice", "expense", "payroll")
STATUSES = ("draft", "pending", "revise_and_resubmit", "approved")
MOST_NESTED_LINES = 100

_FIELDS: forms.Fields = {
    "direct_cost_type": forms.one_of(*TYPES),
    "status": forms.one_of(*STATUSES),
    "vendor_id": forms.whole,
    "employee_id": forms.whole,
    "invoice_number": forms.text,
    "direct_cost_date": forms.day,
    "received_date": forms.day,
    "payment_date": forms.day,
    "terms": forms.text,
    "description": forms.text,
    "origin_id": forms.text,
    "origin_data": forms.text,
}
_PATCH_V10: forms.Fields = {name: read for name, read in _FIELDS.items() if name != "direct_cost_type"}
_PATCH_V11: forms.Fields = {name: read for name, read in _PATCH_V10.items() if name != "invoice_number"}
_SYNC: forms.Fields = {**_FIELDS, "currency_iso_code": forms.text, "currency_exchange_rate": forms.number}
_SHOWN = tuple(name for name in _FIELDS if name != "employee_id")
_FILTERS: Filters = RECORD_FILTERS | {
    "invoice_number": equal("invoice_number"),
    "payment_date": between("payment_date"),
    "received_date": between("received_date"),
}


def list_costs(call: Call) -> Response:
    project = call.project(tool="direct_costs")
    rows = candidates(call, "direct_costs", project_id=project["id"])
    return listing(call, rows, lambda doc: _list_body(call.state, doc), filters=_FILTERS)


def get_cost_v10(call: Call) -> Response:
    return one(_header_body(call.state, _shown_cost(call)))


def get_cost_v11(call: Call) -> Response:
    return one(_v11_body(call.state, _shown_cost(call)))


def create_cost_v10(call: Call) -> Response:
    """Header only; lines in the body are ignored."""
    project = call.project(tool="direct_costs", write=True)
    cost = _write_header(call, project, read_fields(call.fields("item"), _FIELDS, call.switches), None)
    return one(_header_body(call.state, cost), status=201)


def create_cost_v11(call: Call) -> Response:
    """All or nothing: a refused line refuses the whole."""
    project = call.project(tool="direct_costs", write=True)
    given = call.fields("direct_cost")
    header = read_fields(given, _FIELDS, call.switches) | _currency(call, given)
    draft = _checked_header(call, project, header, None)
    lines = _nested(given)
    fields = [nested_line(call, line) for line in lines]
    _check_new_lines(call, draft, fields)
    cost = _store_header(call, draft, None)
    made = [write_line(call, cost, line, None) for line in fields]
    cost = call.state.put("direct_costs", {**cost, **rules.totals(call.state, cost["id"])})
    return one(_v11_body(call.state, cost, refs=_refs(lines, made)), status=201)


def update_cost_v10(call: Call) -> Response:
    project, cost = _cost_to_change(call)
    fields = read_fields(call.fields("item"), _PATCH_V10, call.switches)
    refuse_locked(call.state, cost, fields, switch="direct_cost_lock")
    return one(_header_body(call.state, _write_header(call, project, fields, cost)))


def update_cost_v11(call: Call) -> Response:
    """A line with `id` is changed, one without is added; `invoice_number` and the type are no fields here."""
    project, cost = _cost_to_change(call)
    given = call.fields("direct_cost")
    fields = read_fields(given, _PATCH_V11, call.switches) | _currency(call, given)
    lines = _nested(given)
    refuse_locked(call.state, cost, fields, switch="direct_cost_lock")
    if lines:
        refuse_locked_parts(call.state, cost, switch="direct_cost_lock")
    draft = _checked_header(call, project, fields, cost)
    old = {doc["id"]: doc for doc in lines_of(call.state, cost["id"])}
    changes = []
    for line in lines:
        before = old.get(line["id"]) if isinstance(line, dict) and line.get("id") is not None else None
        if isinstance(line, dict) and line.get("id") is not None and before is None:
            raise invalid("line_items.id", ENTITY_NOT_FOUND)
        changes.append((nested_line(call, line), before))
    for change, before in changes:
        if before is not None:
            checked_line(call, draft, change, before)
    _check_new_lines(call, draft, [change for change, before in changes if before is None])
    cost = _store_header(call, draft, cost)
    written = [write_line(call, cost, change, before) for change, before in changes]
    if lines and call.switches["patch_left_out_lines"] == "delete":
        for id in old.keys() - {line["id"] for line in written}:
            call.state.drop("direct_cost_lines", id)
    cost = call.state.put("direct_costs", {**cost, **rules.totals(call.state, cost["id"])})
    return one(_v11_body(call.state, cost, refs=_refs(lines, written)))


def delete_cost(call: Call) -> Response:
    """Soft: `deleted_at` is set and the record leaves the lists and the totals."""
    _, cost = _cost_to_change(call)
    refuse_locked_parts(call.state, cost, switch="direct_cost_lock")
    call.state.put("direct_costs", call.state.changed(cost, {"deleted_at": call.state.stamp()}))
    return one({"id": cost["id"]})


def sync_costs(call: Call) -> Response:
    project = call.project(tool="direct_costs", write=True)
    state = call.state

    def by_id(id: int) -> Document | None:
        doc = state.get("direct_costs", id)
        return doc if doc and doc["project_id"] == project["id"] and not doc.get("deleted_at") else None

    def by_origin(origin_id: str) -> Document | None:
        found = state.live("direct_costs", company_id=call.company_id, origin_id=origin_id)
        if found and found[0]["project_id"] != project["id"]:
            raise invalid("origin_id", TAKEN, status=422)
        return next(iter(found), None)

    def write(row: Row, existing: Document | None) -> Document:
        fields = read_fields(row, _SYNC, call.switches)
        if existing is not None:
            fields.pop("direct_cost_type", None)
            if call.switches["lock_applies_to_sync"]:
                refuse_locked(state, existing, fields, switch="direct_cost_lock")
        return _write_header(call, project, fields, existing)

    if call.switches["direct_cost_busy_seconds"]:
        rows = sent_rows(call, "updates")
        origins = {str(row["origin_id"]) for row in rows if row.get("origin_id")}
        found = [
            doc
            for origin in origins
            for doc in state.live("direct_costs", project_id=project["id"], origin_id=origin)
        ]
        rules.refuse_busy(state, [row.get("id") for row in rows] + [doc["id"] for doc in found])
    return sync(
        call, by_id=by_id, by_origin=by_origin, write=write, render=lambda doc: _header_body(state, doc)
    )


def _checked_header(call: Call, project: Document, fields: Document, existing: Document | None) -> Document:
    """The header as it would be stored, without an id when it is new. Raises Refusal."""
    state = call.state
    doc = {
        **(existing or {"status": "draft", "id": None, "deleted_at": None}),
        **fields,
        "company_id": call.company_id,
        "project_id": project["id"],
    }
    if not doc.get("direct_cost_type"):
        raise invalid("direct_cost_type", "can't be blank")
    if doc["direct_cost_type"] == "invoice":
        for name in ("vendor_id", "invoice_number"):
            if doc.get(name) in (None, ""):
                raise invalid(name, "can't be blank")
    elif call.switches["expense_needs_vendor"] and doc.get("vendor_id") is None:
        raise invalid("vendor_id", "can't be blank")
    if doc.get("status") is None:
        raise invalid("status", "can't be blank")
    if fields.get("vendor_id") is not None and fields["vendor_id"] != (existing or {}).get("vendor_id"):
        usable_vendor(call, doc["vendor_id"], project["id"])
    state.refuse_taken_origin("direct_costs", doc)
    rules.refuse_used_number(state, doc)
    return doc


def _store_header(call: Call, draft: Document, existing: Document | None) -> Document:
    state = call.state
    if existing is None:
        fields = {name: value for name, value in draft.items() if name != "id"}
        empty = {"amount": "0.00", "grand_total": "0.00", "line_items_count": 0}
        doc = state.created("direct_costs", {**empty, **fields})
    else:
        doc = state.changed(existing, draft)
    return state.put("direct_costs", {**doc, "written_at": state.now().isoformat()})


def _write_header(call: Call, project: Document, fields: Document, existing: Document | None) -> Document:
    return _store_header(call, _checked_header(call, project, fields, existing), existing)


def _check_new_lines(call: Call, draft: Document, lines: list[Document]) -> None:
    """Nothing is stored before every line has passed. Raises Refusal."""
    origins = [line["origin_id"] for line in lines if line.get("origin_id")]
    if len(origins) != len(set(origins)):
        raise invalid("line_items.origin_id", TAKEN, status=422)
    for line in lines:
        refuse_taken_line_origin(call.state, checked_line(call, draft, line, None))


def _nested(given: Row) -> list[Any]:
    lines = given.get("line_items") or []
    if not isinstance(lines, list):
        raise invalid("line_items", "is not a list")
    if len(lines) > MOST_NESTED_LINES:
        raise invalid("line_items", f"takes at most {MOST_NESTED_LINES} lines")
    return lines


def _refs(sent: list[Any], written: list[Document]) -> dict[int, Any]:
    return {line["id"]: given.get("ref") for given, line in zip(sent, written, strict=True)}


def _currency(call: Call, given: Row) -> Document:
    currency = given.get("currency_configuration")
    if not isinstance(currency, dict):
        return {}
    names = ("currency_iso_code", "currency_exchange_rate")
    return read_fields(currency, {name: _SYNC[name] for name in names}, call.switches)


def _cost_to_change(call: Call) -> tuple[Document, Document]:
    project = call.project(tool="direct_costs", write=True)
    cost = call.owned("direct_costs", project_id=project["id"])
    rules.refuse_busy(call.state, {cost["id"]})
    return project, cost


def _shown_cost(call: Call) -> Document:
    project = call.project(tool="direct_costs")
    doc = call.state.get("direct_costs", call.id())
    if doc is None or doc["project_id"] != project["id"]:
        raise not_found()
    if doc.get("deleted_at") and call.switches["deleted_direct_cost_status"] == 404:
        raise not_found()
    return doc


def _list_body(state: State, doc: Document) -> dict[str, Any]:
    name = vendor_name(state, doc.get("vendor_id"))
    return {
        **_common(doc),
        "amount": plain(doc["amount"]),
        "vendor": name,
        "vendor_name": name,
    }


def _header_body(state: State, doc: Document) -> dict[str, Any]:
    name = vendor_name(state, doc.get("vendor_id"))
    return {
        **_common(doc),
        "attachments": [],
        "attachments_count": 0,
        "line_items_count": doc["line_items_count"],
        "vendor": None if name is None else {"id": doc["vendor_id"], "name": name},
        "vendor_name": name,
    }


def _v11_body(state: State, doc: Document, *, refs: dict[int, Any] | None = None) -> dict[str, Any]:
    project = state.get("projects", doc["project_id"]) or {}
    lines = lines_of(state, doc["id"])
    bodies = [nested_body(state, line) for line in lines]
    for body in bodies:
        if refs and refs.get(body["id"]) is not None:
            body["ref"] = str(refs[body["id"]])
    tax = sum((forms.money(line["tax"]) for line in lines), forms.ZERO)
    return {
        **_header_body(state, doc),
        "project": picked(project, ("id", "name")),
        "synced": bool(doc.get("origin_id")) or any(line.get("origin_id") for line in lines),
        "has_workflows": False,
        "line_items": bodies,
        "tax_breakdown": {
            "subtotal": plain(doc["amount"]),
            "tax_total": plain(tax),
            "grand_total": plain(doc["grand_total"]),
            "tax_details": [],
        },
    }


def _common(doc: Document) -> dict[str, Any]:
    employee = doc.get("employee_id")
    names = ("currency_iso_code", "currency_exchange_rate")
    currency = {name: doc[name] for name in names if doc.get(name) is not None} or None
    return {
        **picked(doc, ("id", *_SHOWN, "deleted_at", "created_at", "updated_at")),
        "grand_total": plain(doc["grand_total"]),
        "employee": None if employee is None else {"id": employee, "name": f"Employee {employee}"},
        "currency_configuration": currency,
    }


_V10 = "/rest/v1.0/projects/{project_id}/direct_costs"
_V11 = "/rest/v1.1/projects/{project_id}/direct_costs"
ROUTES: list[Route] = [
    ("GET", _V10, list_costs),
    ("POST", _V10, create_cost_v10),
    ("PATCH", f"{_V10}/sync", sync_costs),
    ("GET", f"{_V10}/{{id}}", get_cost_v10),
    ("PATCH", f"{_V10}/{{id}}", update_cost_v10),
    ("DELETE", f"{_V10}/{{id}}", delete_cost),
    ("GET", _V11, list_costs),
    ("POST", _V11, create_cost_v11),
    ("GET", f"{_V11}/{{id}}", get_cost_v11),
    ("PATCH", f"{_V11}/{{id}}", update_cost_v11),
    ("DELETE", f"{_V11}/{{id}}", delete_cost),
]
