"""Webhook subscriptions (v2): kept and listed. Nothing is delivered, so the deliveries are empty."""

import re
from typing import Any

from ml_connector.sandbox.procore.call import Call, Route, done, one
from ml_connector.sandbox.procore.errors import invalid
from ml_connector.sandbox.procore.forms import picked
from ml_connector.sandbox.procore.paging import listing
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import Response

_NAMESPACE = re.compile(r"[a-z0-9-]+")
_VERSIONS = ("v4.0", "v3.0", "v2.0")
_EVENTS = ("create", "update", "delete")
_RESOURCES = ("Direct Costs", "Contract Payments", "Requisitions", "Vendors", "Work Order Contracts")


def list_hooks(call: Call) -> Response:
    call.company_named()
    return listing(call, call.state.find("hooks", company_id=call.company_id), lambda doc: _body(call, doc))


def create_hook(call: Call) -> Response:
    call.company_named()
    names = ("payload_version", "namespace", "destination_url", "destination_headers")
    fields = {name: call.body.get(name) for name in names}
    for name in names[:3]:
        if not isinstance(fields[name], str) or not fields[name]:
            raise invalid(name, "can't be blank")
    headers = fields["destination_headers"] or {}
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise invalid("destination_headers", "is not an object of texts")
    if not _NAMESPACE.fullmatch(str(fields["namespace"])):
        raise invalid("namespace", "takes a-z, 0-9 and -")
    doc = call.state.created("hooks", {**fields, "company_id": call.company_id, "status": "active"})
    return one({"data": _body(call, call.state.put("hooks", doc))}, status=201)


def delete_hook(call: Call) -> Response:
    call.company_named()
    doc = call.owned("hooks")
    for trigger in call.state.find("triggers", hook_id=doc["id"]):
        call.state.drop("triggers", trigger["id"])
    call.state.drop("hooks", doc["id"])
    return done(204)


def create_trigger(call: Call) -> Response:
    call.company_named()
    hook = call.owned("hooks", call.id("hook_id"))
    name, event = call.body.get("resource_name"), call.body.get("event_type")
    if not isinstance(name, str) or not name:
        raise invalid("resource_name", "can't be blank")
    if event not in _EVENTS:
        raise invalid("event_type", f"must be one of {', '.join(_EVENTS)}")
    scope = {"company_id": call.company_id, "hook_id": hook["id"]}
    doc = call.state.put(
        "triggers", call.state.created("triggers", {"resource_name": name, "event_type": event} | scope)
    )
    body = {
        "id": str(doc["id"]),
        "webhook_hook_id": str(hook["id"]),
        **picked(doc, ("resource_name", "event_type")),
        "company_id": str(call.company_id),
    }
    return one({"data": body}, status=201)


def list_deliveries(call: Call) -> Response:
    call.company_named()
    call.owned("hooks", call.id("hook_id"))
    return listing(call, [], lambda doc: doc)


def list_resources(call: Call) -> Response:
    call.company_named()
    version = call.request.first("payload_version") or _VERSIONS[0]
    if version not in _VERSIONS:
        raise invalid("payload_version", f"must be one of {', '.join(_VERSIONS)}")
    rows = [
        {"name": name, "category": "Financials", "tool": name, "payload_version": version}
        for name in _RESOURCES
    ]
    return listing(call, rows, lambda doc: doc | {"actions": [{"event_type": event} for event in _EVENTS]})


def _body(call: Call, doc: Document) -> dict[str, Any]:
    shown = ("status", "payload_version", "namespace", "destination_headers", "destination_url")
    return {
        "id": str(doc["id"]),
        **picked(doc, (*shown, "created_at", "updated_at")),
        "trigger_count": len(call.state.find("triggers", hook_id=doc["id"])),
        "company_id": str(doc["company_id"]),
    }


_HOOKS = "/rest/v2.0/companies/{company_id}/webhooks/hooks"
ROUTES: list[Route] = [
    ("GET", _HOOKS, list_hooks),
    ("POST", _HOOKS, create_hook),
    ("DELETE", f"{_HOOKS}/{{id}}", delete_hook),
    ("POST", f"{_HOOKS}/{{hook_id}}/triggers", create_trigger),
    ("GET", f"{_HOOKS}/{{hook_id}}/deliveries", list_deliveries),
    ("GET", "/rest/v2.0/companies/{company_id}/webhooks/resources", list_resources),
]
