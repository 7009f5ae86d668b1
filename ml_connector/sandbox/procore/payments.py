"""Contract payments: Payments Issued on a commitment, Payments Received on a prime contract.

No sync, no filters, no list over a project: a client finds its own again by listing one contract.
"""

from typing import Any

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.procore.call import Call, Route, done, one
from ml_connector.sandbox.procore.errors import SYNCED_PAYMENT, Refusal, invalid, not_found
from ml_connector.sandbox.procore.forms import picked, plain, read_fields
from ml_connector.sandbox.procore.locks import ORIGIN_FIELDS
from ml_connector.sandbox.procore.paging import listing
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

_FIELDS: forms.Fields = {
    "date": forms.day,
    "amount": forms.amount,
    "payment_method": forms.one_of("check", "credit_card", "electronic"),
    "check_number": forms.text,
    "payment_number": forms.whole,
    "invoice_number": forms.text,
    "invoice_date": forms.day,
    "draw_request_number": forms.whole,
    "notes": forms.text,
    "requisition_id": forms.whole,
    "origin_id": forms.text,
    "origin_data": forms.text,
}


def list_payments(call: Call) -> Response:
    rows = call.state.find("contract_payments", contract_id=_contract(call)["id"])
    return listing(call, rows, payment_body)


def get_payment(call: Call) -> Response:
    return one(payment_body(_payment(call)))


def create_payment(call: Call) -> Response:
    contract, state = _contract(call, write=True), call.state
    if not contract.get("allow_payments", True):
        raise Refusal(call.switches["payments_off_status"], "Payments are not enabled on this contract")
    given = call.fields("contract_payment")
    for name in ("date", "amount"):
        if given.get(name) in (None, ""):
            raise invalid(name, "can't be blank")
    fields = read_fields(given, _FIELDS, call.switches)
    _refuse_foreign_requisition(call, contract, fields)
    numbers = [
        doc.get("payment_number") or 0 for doc in state.find("contract_payments", contract_id=contract["id"])
    ]
    scope = {
        "company_id": call.company_id,
        "project_id": contract["project_id"],
        "contract_id": contract["id"],
    }
    start = {"payment_number": max(numbers, default=0) + 1, "status": call.switches["payment_status"]}
    doc = state.created("contract_payments", {**start, **fields, **scope})
    state.refuse_taken_origin("contract_payments", doc)
    return one(payment_body(state.put("contract_payments", doc)), status=201)


def update_payment(call: Call) -> Response:
    contract = _contract(call, write=True)
    doc, state = _payment(call), call.state
    fields = _unlocked(call, doc, read_fields(call.fields("contract_payment"), _FIELDS, call.switches))
    if "amount" in fields and fields["amount"] is None:
        raise invalid("amount", "can't be blank")
    _refuse_foreign_requisition(call, contract, fields)
    changed = state.changed(doc, fields)
    state.refuse_taken_origin("contract_payments", changed)
    return one(payment_body(state.put("contract_payments", changed)))


def delete_payment(call: Call) -> Response:
    """For good. With an origin_id it is locked, unless the switch allows it."""
    _contract(call, write=True)
    doc = _payment(call)
    if doc.get("origin_id") and call.switches["contract_payment_lock"] != "allow":
        raise Refusal(422, SYNCED_PAYMENT)
    call.state.drop("contract_payments", doc["id"])
    return done()


def payment_body(doc: Document) -> dict[str, Any]:
    shown = tuple(name for name in _FIELDS if name != "amount")
    return {
        **picked(doc, ("id", "project_id", "contract_id", *shown, "status", "created_at", "updated_at")),
        "amount": plain(doc["amount"]),
        "origin_code": doc.get("origin_code"),
        "date_payment_initiated": None,
        "date_payment_settled": None,
        "external_payment_id": None,
        "attachments": [],
    }


def _unlocked(call: Call, doc: Document, fields: Document) -> Document:
    """The fields that may be changed. Raises Refusal 422 when one of the others would change."""
    lock = call.switches["contract_payment_lock"]
    if not doc.get("origin_id") or lock == "allow":
        return fields
    open_fields = frozenset[str]() if lock == "always" else ORIGIN_FIELDS
    if lock == "ignore":
        return {name: value for name, value in fields.items() if name in open_fields}
    if any(doc.get(name) != value for name, value in fields.items() if name not in open_fields):
        raise Refusal(422, SYNCED_PAYMENT)
    return fields


def _refuse_foreign_requisition(call: Call, contract: Document, fields: Document) -> None:
    id = fields.get("requisition_id")
    requisition = None if id is None else call.state.get("requisitions", id)
    if id is not None and (requisition is None or requisition["commitment_id"] != contract["id"]):
        raise invalid("requisition_id", "is not an invoice of this contract", status=422)


def _contract(call: Call, *, write: bool = False) -> Document:
    """The contract of query or body, of the project. Raises Refusal 404, also when it is not named."""
    project = call.project(tool="commitments", write=write)
    named = call.request.first("contract_id") or call.body.get("contract_id")
    if not str(named).isdecimal():
        raise not_found()
    for kind in ("commitments", "prime_contracts"):
        doc = call.state.get(kind, int(str(named)))
        if doc and doc["project_id"] == project["id"] and not doc.get("deleted_at"):
            return doc
    raise not_found()


def _payment(call: Call) -> Document:
    return call.owned("contract_payments", contract_id=_contract(call)["id"])


_PATH = "/rest/v1.0/contract_payments"
ROUTES: list[Route] = [
    ("GET", _PATH, list_payments),
    ("POST", _PATH, create_payment),
    ("GET", f"{_PATH}/{{id}}", get_payment),
    ("PATCH", f"{_PATH}/{{id}}", update_payment),
    ("DELETE", f"{_PATH}/{{id}}", delete_payment),
]
