"""Subcontractor invoices ("requisitions"), v1.1 with lines and v1.0 without; see also `requisition_items`."""

from datetime import date
from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore import requisition_sums as sums
from ml_connector.sandbox.procore.billing import open_period
from ml_connector.sandbox.procore.call import Call, Route, done, one
from ml_connector.sandbox.procore.commitments import APPROVED, contract_of
from ml_connector.sandbox.procore.contract_totals import change_orders
from ml_connector.sandbox.procore.directory import vendor_name
from ml_connector.sandbox.procore.errors import SYNCED_NOT_EDITABLE, Refusal, invalid, not_found
from ml_connector.sandbox.procore.forms import cents, money, picked, read_fields
from ml_connector.sandbox.procore.locks import refuse_locked, refuse_locked_parts
from ml_connector.sandbox.procore.paging import RECORD_FILTERS, Filters, candidates, equal, listing, unpaged
from ml_connector.sandbox.procore.requisition_items import (
    changed_item,
    check_new_rows,
    contract_items,
    item_body,
    item_of,
    make_items,
    store_item,
)
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.procore.sync import Row
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

STATUSES = (
    "draft",
    "under_review",
    "revise_and_resubmit",
    "approved",
    "approved_as_noted",
    "pending_owner_approval",
)
_FIELDS: forms.Fields = {
    "period_id": forms.whole,
    "requisition_start": forms.day,
    "requisition_end": forms.day,
    "billing_date": forms.day,
    "submitted_at": forms.day,
    "payment_date": forms.day,
    "invoice_number": forms.text,
    "status": forms.one_of(*STATUSES),
    "final": forms.flag,
    "origin_id": forms.text,
    "origin_data": forms.text,
}
_V10_FIELDS: forms.Fields = {**_FIELDS, "comment": forms.text}
_FILTERS: Filters = RECORD_FILTERS | {
    "commitment_id": equal("commitment_id"),
    "period_id": equal("period_id"),
    "status": equal("status"),
}
_OWN_PAGE_SIZE = 30
_ITEM_VIEWS = ("items", "extended")


def list_v11(call: Call) -> Response:
    rows = _rows(call)
    last = call.request.first("filters[is_last]")
    if last is not None:
        rows = [doc for doc in rows if sums.is_newest(call.state, doc) == (last == "true")]
    return listing(call, rows, lambda doc: _v11_body(call, doc), filters=_FILTERS, size=_OWN_PAGE_SIZE)


def list_v10(call: Call) -> Response:
    return listing(call, _rows(call), lambda doc: _v10_body(call.state, doc), filters=_FILTERS)


def get_v11(call: Call) -> Response:
    return one(_v11_body(call, _requisition(call, call.id())))


def get_v10(call: Call) -> Response:
    return one(_v10_body(call.state, _requisition(call, call.id())))


def create_v11(call: Call) -> Response:
    """Header and lines in one; a refused line refuses the whole."""
    given = _given(call)
    return one(_v11_body(call, _create(call, given, rows=_rows_of(given), fields=_FIELDS)), status=201)


def create_v10(call: Call) -> Response:
    given = _given(call)
    return one(_v10_body(call.state, _create(call, given, rows=[], fields=_V10_FIELDS)), status=201)


def update_v11(call: Call) -> Response:
    given = _given(call)
    return one(_v11_body(call, _update(call, given, rows=_rows_of(given), fields=_FIELDS)))


def update_v10(call: Call) -> Response:
    given = _given(call)
    return one(_v10_body(call.state, _update(call, given, rows=[], fields=_V10_FIELDS)))


def delete_requisition(call: Call) -> Response:
    """For good, and only the newest of its commitment. A linked one must be unlinked first."""
    call.project(tool="commitments", write=True)
    doc, state = _requisition(call, call.id()), call.state
    if not sums.is_newest(state, doc):
        raise Refusal(422, "Only the most recent invoice of a commitment can be deleted")
    if doc.get("origin_id") and call.switches["linked_requisition_deletion"] == "refuse":
        raise Refusal(422, SYNCED_NOT_EDITABLE)
    if state.find("contract_payments", requisition_id=doc["id"]):
        raise Refusal(422, "An invoice with payments cannot be deleted")
    for item in sums.items_of(state, doc["id"]):
        state.drop("requisition_items", item["id"])
    state.drop("requisitions", doc["id"])
    return done()


def list_contract_items(call: Call) -> Response:
    doc = _requisition(call, call.id("requisition_id"))
    return listing(call, contract_items(call.state, doc, _contract(call.state, doc)), lambda body: body)


def list_contract_detail_items(call: Call) -> Response:
    """Always empty: no commitment here has a subcontractor schedule of values."""
    _requisition(call, call.id("requisition_id"))
    return listing(call, [], lambda body: body)


def bulk_item_update(call: Call) -> Response:
    call.project(tool="commitments", write=True)
    doc = _requisition(call, call.id("requisition_id"))
    rows = call.body.get("requisition_items")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refusal(400, "param is missing or the value is empty: requisition_items")
    _refuse_to_non_admins(call, doc)
    refuse_locked_parts(call.state, doc, switch="requisition_lock")
    _write_items(call, doc, rows, by=call.client_id)
    call.state.put("requisitions", call.state.changed(doc, {"updated_at": call.state.stamp()}))
    return done()


def list_change_histories(call: Call) -> Response:
    doc = _requisition(call, call.id("requisition_id"))
    shown = ("id", "column", "old_value", "new_value", "action_by", "created_at", "ref_id", "ref_type")
    return unpaged(
        [picked(row, shown) for row in call.state.find("change_histories", requisition_id=doc["id"])]
    )


def update_payment_details(call: Call) -> Response:
    call.company_named()
    doc = _requisition(call, call.id())
    due = call.body.get("due_date")
    day = None if due is None else forms.day(due, "due_date", call.switches)
    call.state.put("requisitions", call.state.changed(doc, {"due_date": day}))
    return one({"data": {"due_date": day}})


def live_body(state: State, doc: Document) -> Document:
    """The record with its items and what is due and paid, for whoever checks the sandbox from outside."""
    return {
        **doc,
        "items": sums.items_of(state, doc["id"]),
        "current_payment_due": cents(sums.current_payment_due(state, doc)),
        "paid_amount": cents(sums.paid_on(state, doc["id"])),
        "payment_status": sums.payment_state(state, doc),
    }


def store_requisition(state: State, fields: Document, contract: Document) -> Document:
    """A new invoice with the next number of its commitment and an item for every line."""
    earlier = sums.of_commitment(state, contract["id"])
    number = earlier[-1]["number"] + 1 if earlier else 1
    doc = state.put("requisitions", state.created("requisitions", {**fields, "number": number}))
    make_items(state, doc, contract)
    return doc


def _create(call: Call, given: Row, *, rows: list[Row], fields: forms.Fields) -> Document:
    project, state = call.project(tool="commitments", write=True), call.state
    contract = _named_contract(call, project)
    scope = {"company_id": call.company_id, "project_id": project["id"], "commitment_id": contract["id"]}
    header = {"status": "draft", "final": False, **read_fields(given, fields, call.switches), **scope}
    _refuse_conditions(call, contract, header, existing=None)
    state.refuse_taken_origin("requisitions", {"id": None, **header})
    check_new_rows(contract, state.find("commitment_lines", contract_id=contract["id"]), rows)
    doc = store_requisition(state, header, contract)
    items = {sums.key_of(item): item for item in sums.items_of(state, doc["id"])}
    try:
        rows = [{**row, "id": items[row["item_type"], row["line_item_id"]]["id"]} for row in rows]
        _write_items(call, doc, rows, by=None)
    except Refusal:
        for item in items.values():
            state.drop("requisition_items", item["id"])
        state.drop("requisitions", doc["id"])
        raise
    return doc


def _update(call: Call, given: Row, *, rows: list[Row], fields: forms.Fields) -> Document:
    project, state = call.project(tool="commitments", write=True), call.state
    contract = _named_contract(call, project)
    doc = _requisition(call, call.id())
    if doc["commitment_id"] != contract["id"]:
        raise not_found()
    header = read_fields(given, fields, call.switches)
    _refuse_to_non_admins(call, doc)
    refuse_locked(state, doc, header, switch="requisition_lock")
    if rows:
        refuse_locked_parts(state, doc, switch="requisition_lock")
    if "period_id" in header or "billing_date" in header:
        header |= picked({**doc, **header}, ("period_id", "billing_date"))
        _refuse_conditions(call, contract, header, existing=doc)
    changed = state.changed(doc, header)
    state.refuse_taken_origin("requisitions", changed)
    _write_items(call, doc, rows, by=call.client_id)
    return state.put("requisitions", changed)


def _write_items(call: Call, doc: Document, rows: list[Row], *, by: str | None) -> None:
    """All rows or none. Raises Refusal."""
    contract = _contract(call.state, doc)
    pairs = []
    for row in rows:
        if row.get("item_type") is None:
            raise invalid("items.item_type", "can't be blank")
        item = item_of(call.state, doc, row.get("id"))
        pairs.append((item, changed_item(call, doc, contract, item=item, given=row)))
    for old, new in pairs:
        store_item(call.state, old, new, by=by)


def _rows_of(given: Row) -> list[Row]:
    rows = given.get("items") or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise invalid("items", "is not a list of objects")
    return rows


def _refuse_conditions(
    call: Call, contract: Document, header: Document, *, existing: Document | None
) -> None:
    """What Procore asks for before an invoice may be made; fills in the open period. Raises Refusal 422."""
    state, period_id = call.state, header.get("period_id")
    if period_id is None:
        period = open_period(state, contract["project_id"])
    else:
        period = state.get("billing_periods", period_id)
        if period is None or period["project_id"] != contract["project_id"]:
            raise invalid("period_id", "is not a billing period of the project", status=422)
    if call.switches["requisition_conditions"] == "refuse":
        _refuse_unready(contract, period, existing=existing)
    if period is None:
        return
    header["period_id"] = period["id"]
    billed = header.get("billing_date")
    outside = (
        billed and not period["start_date"] <= date.fromisoformat(billed).isoformat() <= period["end_date"]
    )
    if outside and call.switches["billing_date_outside_period"] == "refuse":
        raise invalid("billing_date", "is outside the billing period", status=422)
    if call.switches["requisitions_per_period"] == "one":
        same = state.find("requisitions", commitment_id=contract["id"], period_id=period["id"])
        if any(other["id"] != (existing or {}).get("id") for other in same):
            raise invalid("period_id", "has an invoice of this commitment already", status=422)


def _refuse_unready(contract: Document, period: Document | None, *, existing: Document | None) -> None:
    if contract["status"] not in APPROVED:
        raise invalid("commitment_id", "is not approved", status=422)
    if contract.get("vendor_id") is None:
        raise invalid("commitment_id", "has no vendor", status=422)
    if not contract.get("allow_payment_applications", True):
        raise invalid("commitment_id", "does not take invoices", status=422)
    if period is None:
        raise invalid("period_id", "there is no open billing period", status=422)
    moved = existing is None or existing.get("period_id") != period["id"]
    if period["status"] == "closed" and moved:
        raise invalid("period_id", "is a closed billing period", status=422)


def _refuse_to_non_admins(call: Call, doc: Document) -> None:
    editable = doc["status"] in ("draft", "revise_and_resubmit") and sums.is_newest(call.state, doc)
    if not call.switches["commitments_admin"] and not editable:
        raise Refusal(422, "Only the most recent invoice in draft or revise and resubmit can be edited")


def _rows(call: Call) -> list[Document]:
    return candidates(call, "requisitions", project_id=call.project(tool="commitments")["id"])


def _requisition(call: Call, id: int) -> Document:
    project = call.project(tool="commitments")
    return call.owned("requisitions", id, project_id=project["id"])


def _named_contract(call: Call, project: Document) -> Document:
    if call.body.get("commitment_id") is None:
        raise invalid("commitment_id", "is missing")
    return contract_of(call, project, forms.whole(call.body["commitment_id"], "commitment_id", call.switches))


def _given(call: Call) -> Row:
    given = call.body.get("requisition") or {}
    if not isinstance(given, dict):
        raise invalid("requisition", "is not an object")
    return given


def _contract(state: State, doc: Document) -> Document:
    contract = state.get("commitments", doc["commitment_id"])
    if contract is None:
        raise not_found()
    return contract


def _common_body(state: State, doc: Document) -> dict[str, Any]:
    contract = _contract(state, doc)
    earlier = sums.before(state, doc)
    items = sums.items_of(state, doc["id"])
    work = sum((money(item["work_completed_this_period"]) for item in items), forms.ZERO)
    claimed = sum(
        (money(item["subcontractor_claimed_amount"] or item["work_completed_this_period"]) for item in items),
        forms.ZERO,
    )
    released = any(money(item["work_completed_retainage_released_this_period"]) for item in items)
    lines = state.find("commitment_lines", contract_id=contract["id"])
    original = sum((money(line["amount"]) for line in lines), forms.ZERO)
    changes = change_orders(contract, "approved")
    done_so_far = sums.certificate(state, [*earlier, doc]).completed
    kind = ("progress_and_retainage_release" if work else "retainage_release") if released else "progress"
    return {
        **picked(doc, ("id", "project_id", "commitment_id", *_FIELDS, "number", "created_at", "updated_at")),
        "previous_requisition_id": earlier[-1]["id"] if earlier else None,
        "commitment_type": contract["type"],
        "contract_name": contract.get("title"),
        "deletable": sums.is_newest(state, doc),
        "vendor_id": contract.get("vendor_id"),
        "vendor_name": vendor_name(state, contract.get("vendor_id")),
        "invoice_type": kind,
        "percent_complete": sums.percent(done_so_far, original + changes),
        "erp_status": "synced" if doc.get("origin_id") else None,
        "total_claimed_amount": cents(claimed),
        "summary": sums.summary(state, doc, original=original, changes=changes),
    }


def _v11_body(call: Call, doc: Document) -> dict[str, Any]:
    view = call.request.first("view") or "default"
    body = _common_body(call.state, doc)
    if view == "header_only":
        body.pop("summary")
    if view in _ITEM_VIEWS:
        body["items"] = item_body(call.state, doc, _contract(call.state, doc))
    return body | {"contract_invoicing_method": "progressive"}


def _v10_body(state: State, doc: Document) -> dict[str, Any]:
    body = _common_body(state, doc)
    return body | {"comment": doc.get("comment"), "g702": body["summary"]}


_V2 = "/rest/v2.0/companies/{company_id}/projects/{project_id}/requisitions"
ROUTES: list[Route] = [
    ("GET", "/rest/v1.1/requisitions", list_v11),
    ("POST", "/rest/v1.1/requisitions", create_v11),
    ("GET", "/rest/v1.1/requisitions/{id}", get_v11),
    ("PATCH", "/rest/v1.1/requisitions/{id}", update_v11),
    ("DELETE", "/rest/v1.1/requisitions/{id}", delete_requisition),
    ("GET", "/rest/v1.0/requisitions", list_v10),
    ("POST", "/rest/v1.0/requisitions", create_v10),
    ("GET", "/rest/v1.0/requisitions/{id}", get_v10),
    ("PATCH", "/rest/v1.0/requisitions/{id}", update_v10),
    ("DELETE", "/rest/v1.0/requisitions/{id}", delete_requisition),
    ("GET", "/rest/v1.0/requisitions/{requisition_id}/contract_items", list_contract_items),
    ("GET", "/rest/v1.0/requisitions/{requisition_id}/contract_detail_items", list_contract_detail_items),
    ("PATCH", "/rest/v1.0/requisitions/{requisition_id}/bulk_item_update", bulk_item_update),
    ("GET", "/rest/v1.0/requisitions/{requisition_id}/change_histories", list_change_histories),
    ("PATCH", f"{_V2}/{{id}}/payment_details", update_payment_details),
]
