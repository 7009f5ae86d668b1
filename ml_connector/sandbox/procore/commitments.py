"""Subcontracts (work orders) and purchase orders: headers, sync, both kinds in one list, and the v2 form.

Their schedules of values are in `schedule_of_values`, their sums in `contract_totals`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Handler, Route, done, one
from ml_connector.sandbox.procore.contract_totals import contract_totals, invoiced, paid
from ml_connector.sandbox.procore.directory import usable_vendor, vendor_name
from ml_connector.sandbox.procore.errors import TAKEN, Refusal, invalid
from ml_connector.sandbox.procore.forms import picked, plain, read_fields
from ml_connector.sandbox.procore.paging import RECORD_FILTERS, Filters, between, candidates, equal, listing
from ml_connector.sandbox.procore.schedule_of_values import line_body, line_body_v2, lines_of
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import Row, sync
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

WORK_ORDER_STATUSES = (
    "Draft",
    "Out For Bid",
    "Out For Signature",
    "Approved",
    "Complete",
    "Terminated",
    "Void",
)
PURCHASE_ORDER_STATUSES = (
    "Draft",
    "Processing",
    "Submitted",
    "Partially Received",
    "Received",
    "Approved",
    "Closed",
)
APPROVED = ("Approved", "Complete", "Closed")

_SHARED_FIELDS: forms.Fields = {
    **dict.fromkeys(
        ("title", "number", "description", "origin_id", "origin_data", "origin_code", "approval_letter_date"),
        forms.text,
    ),
    **dict.fromkeys(
        (
            "contract_date",
            "execution_date",
            "issued_on_date",
            "letter_of_intent_date",
            "returned_date",
            "signed_contract_received_date",
        ),
        forms.day,
    ),
    **dict.fromkeys(("executed", "private", "show_line_items_to_non_admins"), forms.flag),
    # Not named by the reference; it leaves the body open, and a person sets them in the web application.
    **dict.fromkeys(("allow_payments", "allow_payment_applications"), forms.flag),
    "accounting_method": forms.one_of("amount", "unit"),
    "retainage_percent": forms.number,
    "vendor_id": forms.whole,
    "currency_iso_code": forms.text,
    "currency_exchange_rate": forms.number,
}
_HIDDEN_FIELDS = (
    "vendor_id",
    "retainage_percent",
    "allow_payments",
    "allow_payment_applications",
    "currency_iso_code",
    "currency_exchange_rate",
)


@dataclass(frozen=True)
class Kind:
    """What differs between the two kinds of commitment."""

    type: str
    key: str
    fields: forms.Fields


WORK_ORDER = Kind(
    "WorkOrderContract",
    "work_order_contract",
    {
        **_SHARED_FIELDS,
        "status": forms.one_of(*WORK_ORDER_STATUSES),
        "actual_completion_date": forms.day,
        "contract_start_date": forms.day,
        "contract_estimated_completion_date": forms.day,
        "inclusions": forms.text,
        "exclusions": forms.text,
    },
)
PURCHASE_ORDER = Kind(
    "PurchaseOrderContract",
    "purchase_order_contract",
    {
        **_SHARED_FIELDS,
        "status": forms.one_of(*PURCHASE_ORDER_STATUSES),
        "bill_to_address": forms.text,
        "ship_to_address": forms.text,
        "ship_via": forms.text,
        "payment_terms": forms.text,
        "delivery_date": forms.day,
    },
)
KINDS = {kind.type: kind for kind in (WORK_ORDER, PURCHASE_ORDER)}

_FILTERS: Filters = RECORD_FILTERS | {"status": equal("status")}
_V2_FILTERS: Filters = {
    **RECORD_FILTERS,
    "status": equal("status"),
    "type": equal("type"),
    "vendor_id": equal("vendor_id"),
    "accounting_method": equal("accounting_method"),
    "executed": equal("executed"),
    "deleted_at": between("deleted_at"),
}


def list_contracts(kind: Kind, call: Call) -> Response:
    """No vendor filter in v1: a client filters by itself."""
    project = call.project(tool="commitments")
    rows = _with_deleted(call, project, type=kind.type)
    return listing(call, rows, lambda doc: _contract_body(call.state, kind, doc), filters=_FILTERS)


def get_contract(kind: Kind, call: Call) -> Response:
    project = call.project(tool="commitments")
    doc = call.owned("commitments", project_id=project["id"], type=kind.type)
    lines = [line_body(call.state, line) for line in lines_of(call.state, doc["id"])]
    return one(
        _contract_body(call.state, kind, doc) | {"line_items": lines, "payments_issued": _issued(call, doc)}
    )


def create_contract(kind: Kind, call: Call) -> Response:
    project = call.project(tool="commitments", write=True)
    doc = _write_contract(kind, call, project, given=call.fields(kind.key), existing=None)
    return one(_contract_body(call.state, kind, doc), status=201)


def update_contract(kind: Kind, call: Call) -> Response:
    project = call.project(tool="commitments", write=True)
    doc = call.owned("commitments", project_id=project["id"], type=kind.type)
    doc = _write_contract(kind, call, project, given=call.fields(kind.key), existing=doc)
    return one(_contract_body(call.state, kind, doc))


def delete_contract(kind: Kind, call: Call) -> Response:
    project = call.project(tool="commitments", write=True)
    doc = call.owned("commitments", project_id=project["id"], type=kind.type)
    if doc["status"] in APPROVED and call.switches["lock_approved_commitments"]:
        raise Refusal(422, "An approved or complete contract cannot be deleted")
    call.state.put("commitments", call.state.changed(doc, {"deleted_at": call.state.stamp()}))
    return done()


def sync_contracts(kind: Kind, call: Call) -> Response:
    project, state = call.project(tool="commitments", write=True), call.state

    def by_id(id: int) -> Document | None:
        doc = state.get("commitments", id)
        fits = doc and doc["project_id"] == project["id"] and doc["type"] == kind.type
        return doc if fits and doc and not doc.get("deleted_at") else None

    def by_origin(origin_id: str) -> Document | None:
        found = state.live("commitments", company_id=call.company_id, type=kind.type, origin_id=origin_id)
        if found and found[0]["project_id"] != project["id"]:
            raise invalid("origin_id", TAKEN, status=422)
        return next(iter(found), None)

    return sync(
        call,
        by_id=by_id,
        by_origin=by_origin,
        write=lambda row, existing: _write_contract(kind, call, project, given=row, existing=existing),
        render=lambda doc: _contract_body(state, kind, doc),
    )


def list_commitments(call: Call) -> Response:
    """Both kinds, short, without filters."""
    project = call.project(tool="commitments")
    return listing(
        call,
        call.state.live("commitments", project_id=project["id"]),
        lambda doc: _short_body(call.state, doc),
    )


def get_commitment(call: Call) -> Response:
    """The one v1 call that tells totals, schedule of values and payments together."""
    project = call.project(tool="commitments")
    doc = call.owned("commitments", project_id=project["id"])
    totals = contract_totals(call.state, doc)
    totals.pop("draft_change_orders_amount")
    return one(
        {
            **_short_body(call.state, doc),
            "vendor": _vendor(call.state, doc),
            "type": doc["type"],
            **picked(doc, ("accounting_method", "deleted_at", "updated_at")),
            "allow_payments": doc.get("allow_payments", True),
            "allow_payment_applications": doc.get("allow_payment_applications", True),
            "retainage_percent": plain(doc.get("retainage_percent")),
            **totals,
            "line_items": [line_body(call.state, line) for line in lines_of(call.state, doc["id"])],
            "payments_issued": _issued(call, doc),
        }
    )


def list_commitments_v2(call: Call) -> Response:
    """Both kinds; the one list with a vendor filter."""
    call.company_named()
    project = call.project(tool="commitments")
    rows = _with_deleted(call, project)
    return listing(call, rows, _body_v2, filters=_V2_FILTERS)


def get_commitment_v2(call: Call) -> Response:
    return one({"data": _body_v2(_v2_contract(call, "commitment_contract_id"))})


def list_lines_v2(call: Call) -> Response:
    contract = _v2_contract(call, "commitment_contract_id")
    return listing(call, lines_of(call.state, contract["id"]), lambda doc: line_body_v2(call.state, doc))


def get_summary_v2(call: Call) -> Response:
    contract = _v2_contract(call, "contract_id")
    totals = contract_totals(call.state, contract)
    return one(
        {
            "data": {
                "approved_change_total": totals["approved_change_orders"],
                "pending_revised_change_total": totals["pending_change_orders"],
                "draft_change_total": totals["draft_change_orders_amount"],
                "total_invoices_amount": plain(invoiced(call.state, contract["id"])),
                "total_payments_amount": plain(paid(call.state, contract["id"])),
            }
        }
    )


def contract_of(call: Call, project: Document, id: int) -> Document:
    """A commitment of the project, of either kind. Raises Refusal 404."""
    return call.owned("commitments", id, project_id=project["id"])


def _write_contract(
    kind: Kind, call: Call, project: Document, *, given: Row, existing: Document | None
) -> Document:
    state = call.state
    fields = read_fields(given, kind.fields, call.switches)
    vendor_changes = "vendor_id" in fields and fields["vendor_id"] != (existing or {}).get("vendor_id")
    if existing is None:
        scope = {"company_id": call.company_id, "project_id": project["id"], "type": kind.type}
        start = {"status": "Draft", "accounting_method": "amount", "allow_payments": True, "deleted_at": None}
        doc = state.created("commitments", {**start, "allow_payment_applications": True, **fields, **scope})
        doc["number"] = doc.get("number") or f"{kind.type[0]}C-{doc['id']}"
    else:
        if vendor_changes and existing["status"] in APPROVED and call.switches["lock_approved_commitments"]:
            raise invalid("vendor_id", "cannot be changed on an approved contract", status=422)
        doc = state.changed(existing, fields)
    if vendor_changes and doc["vendor_id"] is not None:
        usable_vendor(call, doc["vendor_id"], project["id"])
    state.refuse_taken_origin("commitments", doc, type=kind.type)
    return state.put("commitments", doc)


def _with_deleted(call: Call, project: Document, **scope: Any) -> list[Document]:
    deleted = call.request.first("filters[include_deleted]")
    if deleted is None:
        return candidates(call, "commitments", project_id=project["id"], **scope)
    rows = call.state.find("commitments", project_id=project["id"], **scope)
    return rows if deleted == "with" else [doc for doc in rows if doc.get("deleted_at")]


def _v2_contract(call: Call, name: str) -> Document:
    call.company_named()
    return contract_of(call, call.project(tool="commitments"), call.id(name))


def _issued(call: Call, doc: Document) -> list[dict[str, Any]]:
    shown = ("id", "check_number", "created_at", "date", "draw_request_number", "invoice_number", "notes")
    return [
        picked(payment, (*shown, "payment_number", "origin_id", "origin_data"))
        | {"amount": plain(payment["amount"])}
        for payment in call.state.find("contract_payments", contract_id=doc["id"])
    ]


def _vendor(state: State, doc: Document) -> dict[str, Any] | None:
    name = vendor_name(state, doc.get("vendor_id"))
    return None if name is None else {"id": doc["vendor_id"], "name": name, "company": name}


def _short_body(state: State, doc: Document) -> dict[str, Any]:
    vendor = _vendor(state, doc)
    shown = (
        "id",
        "title",
        "number",
        "status",
        "description",
        "executed",
        "delivery_date",
        "created_at",
        "private",
    )
    return {**picked(doc, shown), "vendor": None if vendor is None else picked(vendor, ("id", "name"))}


def _contract_body(state: State, kind: Kind, doc: Document) -> dict[str, Any]:
    project = state.get("projects", doc["project_id"])
    currency = doc.get("currency_iso_code")
    return {
        "id": doc["id"],
        **picked(doc, tuple(name for name in kind.fields if name not in _HIDDEN_FIELDS)),
        **picked(doc, ("deleted_at", "created_at", "updated_at")),
        "vendor": _vendor(state, doc),
        "project": None if project is None else picked(project, ("id", "name")),
        "retainage_percent": plain(doc.get("retainage_percent")),
        "requisitions_are_enabled": doc.get("allow_payment_applications", True),
        "currency_configuration": {"currency_iso_code": currency} if currency else None,
        **contract_totals(state, doc),
    }


def _body_v2(doc: Document) -> dict[str, Any]:
    shown = ("type", "number", "status", "title", "description", "executed", "accounting_method", "private")
    return {
        "id": str(doc["id"]),
        **picked(doc, shown),
        "vendor_id": None if doc.get("vendor_id") is None else str(doc["vendor_id"]),
        "retainage_percent": plain(doc.get("retainage_percent")),
        "allow_payments": doc.get("allow_payments", True),
        "allow_payment_applications": doc.get("allow_payment_applications", True),
        **picked(doc, ("contract_date", "currency_iso_code", "created_at", "updated_at", "deleted_at")),
    }


def _of_kind(kind: Kind, handler: Any) -> Handler:
    return partial(handler, kind)


def _routes(kind: Kind) -> list[Route]:
    path = f"/rest/v1.0/{kind.key}s"
    return [
        ("GET", path, _of_kind(kind, list_contracts)),
        ("POST", path, _of_kind(kind, create_contract)),
        ("PATCH", f"{path}/sync", _of_kind(kind, sync_contracts)),
        ("GET", f"{path}/{{id}}", _of_kind(kind, get_contract)),
        ("PATCH", f"{path}/{{id}}", _of_kind(kind, update_contract)),
        ("DELETE", f"{path}/{{id}}", _of_kind(kind, delete_contract)),
    ]


_V2 = "/rest/v2.0/companies/{company_id}/projects/{project_id}/commitment_contracts"
ROUTES: list[Route] = [
    ("GET", "/rest/v1.0/commitments", list_commitments),
    ("GET", "/rest/v1.0/commitments/{id}", get_commitment),
    *_routes(WORK_ORDER),
    *_routes(PURCHASE_ORDER),
    ("GET", _V2, list_commitments_v2),
    ("GET", f"{_V2}/{{commitment_contract_id}}", get_commitment_v2),
    ("GET", f"{_V2}/{{commitment_contract_id}}/line_items", list_lines_v2),
    ("GET", f"{_V2}/{{contract_id}}/summary", get_summary_v2),
]
