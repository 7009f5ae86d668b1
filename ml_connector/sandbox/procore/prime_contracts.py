"""Prime contracts and owner payment applications, so far as to see that they stay untouched."""

from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Route, done, one
from ml_connector.sandbox.procore.errors import SYNCED_NOT_EDITABLE, Refusal
from ml_connector.sandbox.procore.forms import picked, plain, read_fields
from ml_connector.sandbox.procore.paging import Filters, between, equal, listing
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

_FIELDS: forms.Fields = {
    "period_start": forms.day,
    "period_end": forms.day,
    "billing_date": forms.day,
    "invoice_number": forms.text,
    "origin_id": forms.text,
    "origin_data": forms.text,
    "status": forms.one_of("draft", "under_review", "revise_and_resubmit", "approved"),
}
_LINE_FIELDS: forms.Fields = dict.fromkeys(
    (
        "work_completed_this_period",
        "materials_presently_stored",
        "work_completed_retainage_retained_this_period",
        "materials_stored_retainage_retained_this_period",
        "work_completed_retainage_released_this_period",
    ),
    forms.amount,
)
_FILTERS: Filters = {"id": equal("id"), "updated_at": between("updated_at")}


def list_prime_contracts(call: Call) -> Response:
    rows = call.state.live("prime_contracts", project_id=call.project()["id"])
    shown = (
        "id",
        "title",
        "number",
        "status",
        "description",
        "executed",
        "origin_id",
        "created_at",
        "updated_at",
    )
    return listing(
        call,
        rows,
        lambda doc: picked(doc, shown) | {"grand_total": plain(doc.get("grand_total"))},
        filters=_FILTERS,
    )


def list_applications(call: Call) -> Response:
    rows = call.state.find("payment_applications", project_id=call.project()["id"])
    return listing(call, rows, _body, filters=_FILTERS)


def list_of_contract(call: Call) -> Response:
    rows = call.state.find("payment_applications", contract_id=_contract(call)["id"])
    if call.request.first("filters[is_last]") == "true":
        rows = rows[-1:]
    return listing(call, rows, _body, filters=_FILTERS)


def get_application(call: Call) -> Response:
    return one(_body(call.owned("payment_applications", project_id=call.project()["id"])))


def create_application(call: Call) -> Response:
    contract, state = _contract(call), call.state
    fields = read_fields(call.fields("payment_application"), _FIELDS, call.switches)
    number = len(state.find("payment_applications", contract_id=contract["id"])) + 1
    scope = {
        "company_id": call.company_id,
        "project_id": contract["project_id"],
        "contract_id": contract["id"],
    }
    doc = state.created("payment_applications", {"status": "draft", **fields, **scope, "number": number})
    state.refuse_taken_origin("payment_applications", doc)
    return one(_body(state.put("payment_applications", doc)), status=201)


def update_application(call: Call) -> Response:
    doc = call.owned("payment_applications", contract_id=_contract(call)["id"])
    fields = read_fields(call.fields("payment_application"), _FIELDS, call.switches)
    return one(_body(call.state.put("payment_applications", call.state.changed(doc, fields))))


def delete_application(call: Call) -> Response:
    doc = call.owned("payment_applications", project_id=call.project(write=True)["id"])
    if doc.get("origin_id"):
        raise Refusal(422, SYNCED_NOT_EDITABLE)
    call.state.drop("payment_applications", doc["id"])
    return done()


def update_line(call: Call) -> Response:
    contract = _contract(call)
    doc = call.owned("payment_application_lines", contract_id=contract["id"])
    fields = read_fields(call.fields("payment_application_line_item"), _LINE_FIELDS, call.switches)
    doc = call.state.put("payment_application_lines", call.state.changed(doc, fields))
    return one(picked(doc, ("id", "scheduled_value", "description_of_work", *_LINE_FIELDS)))


def _contract(call: Call) -> Document:
    project = call.project(write=call.request.method != "GET")
    return call.owned("prime_contracts", call.id("prime_contract_id"), project_id=project["id"])


def _body(doc: Document) -> dict[str, Any]:
    return {
        **picked(doc, ("id", *_FIELDS, "number")),
        "contract": {"id": doc["contract_id"], "type": "PrimeContract"},
        "total_amount_paid": plain(doc.get("total_amount_paid", "0")),
        "percent_complete": plain(doc.get("percent_complete", "0")),
    }


_PRIME = "/rest/v1.0/prime_contracts/{prime_contract_id}"
ROUTES: list[Route] = [
    ("GET", "/rest/v1.0/prime_contracts", list_prime_contracts),
    ("GET", "/rest/v1.0/payment_applications", list_applications),
    ("GET", "/rest/v1.0/payment_applications/{id}", get_application),
    ("DELETE", "/rest/v1.0/payment_applications/{id}", delete_application),
    ("GET", f"{_PRIME}/payment_applications", list_of_contract),
    ("POST", f"{_PRIME}/payment_applications", create_application),
    ("PATCH", f"{_PRIME}/payment_applications/{{id}}", update_application),
    ("PATCH", f"{_PRIME}/payment_application_line_items/{{id}}", update_line),
]
