"""Billing periods of a project: one may be open at a time."""

from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Route, done, one
from ml_connector.sandbox.procore.errors import Refusal, invalid
from ml_connector.sandbox.procore.forms import picked, read_fields
from ml_connector.sandbox.procore.paging import RECORD_FILTERS, Filters, equal, listing
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

_FIELDS: forms.Fields = {
    "start_date": forms.day,
    "end_date": forms.day,
    "due_date": forms.day,
    "status": forms.one_of("open", "closed"),
}
_FILTERS: Filters = RECORD_FILTERS | {"status": equal("status")}


def list_periods(call: Call) -> Response:
    rows = call.state.find("billing_periods", project_id=call.project()["id"])
    return listing(call, rows, period_body, filters=_FILTERS)


def get_period(call: Call) -> Response:
    return one(period_body(call.owned("billing_periods", project_id=call.project()["id"])))


def create_period(call: Call) -> Response:
    project = call.project(write=True)
    fields = read_fields(call.fields("billing_period"), _FIELDS, call.switches)
    position = len(call.state.find("billing_periods", project_id=project["id"])) + 1
    scope = {"company_id": call.company_id, "project_id": project["id"], "position": position}
    doc = call.state.created("billing_periods", fields | scope)
    return one(period_body(_stored(call.state, doc)), status=201)


def update_period(call: Call) -> Response:
    doc = call.owned("billing_periods", project_id=call.project(write=True)["id"])
    fields = read_fields(call.fields("billing_period"), _FIELDS, call.switches)
    return one(period_body(_stored(call.state, call.state.changed(doc, fields))))


def delete_period(call: Call) -> Response:
    doc = call.owned("billing_periods", project_id=call.project(write=True)["id"])
    if call.state.find("requisitions", period_id=doc["id"]):
        raise Refusal(422, "A billing period with invoices cannot be deleted")
    call.state.drop("billing_periods", doc["id"])
    return done()


def open_period(state: State, project_id: int) -> Document | None:
    found = [doc for doc in state.find("billing_periods", project_id=project_id) if doc["status"] == "open"]
    return found[0] if found else None


def period_body(doc: Document) -> dict[str, Any]:
    shown = ("id", "project_id", "start_date", "end_date", "due_date", "status", "position")
    return picked(doc, (*shown, "created_at", "updated_at"))


def _stored(state: State, doc: Document) -> Document:
    for name in _FIELDS:
        if doc.get(name) is None:
            raise invalid(name, "can't be blank")
    if doc["end_date"] < doc["start_date"]:
        raise invalid("end_date", "must be on or after the start date", status=422)
    other = open_period(state, doc["project_id"])
    if doc["status"] == "open" and other and other["id"] != doc["id"] and state.switches["one_open_period"]:
        raise invalid("status", "another billing period is open", status=422)
    return state.put("billing_periods", doc)


_PATH = "/rest/v1.0/projects/{project_id}/billing_periods"
ROUTES: list[Route] = [
    ("GET", _PATH, list_periods),
    ("POST", _PATH, create_period),
    ("GET", f"{_PATH}/{{id}}", get_period),
    ("PATCH", f"{_PATH}/{{id}}", update_period),
    ("DELETE", f"{_PATH}/{{id}}", delete_period),
]
