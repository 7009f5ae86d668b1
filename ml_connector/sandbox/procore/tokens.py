"""OAuth by client credentials, and which client may enter which company. Source: OAuth endpoints guide."""

import secrets
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from ml_connector.sandbox.procore.errors import Refusal, forbidden, invalid, not_found
from ml_connector.sandbox.procore.state import State
from ml_connector.sandbox.records import Document
from ml_connector.sandbox.wire import BadBody, Request, Response

DEFAULT_APP: Document = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}


def answer(state: State, request: Request) -> Response:
    """Any path under /oauth."""
    match request.method, request.path:
        case "POST", "/oauth/token":
            return _token(state, _given(request))
        case "GET", "/oauth/token/info":
            return _info(state, request)
        case "POST", "/oauth/revoke":
            return _revoke(state, _given(request))
        case _:
            return Response(404, {"errors": "Not found"}, outcome="no such path")


def holder(state: State, request: Request) -> Document:
    """The live token of the request. Raises Refusal 401."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    doc = state.records.get("tokens", token.strip()) if scheme.lower() == "bearer" else None
    if doc is None or state.now() >= datetime.fromisoformat(doc["expires_at"]):
        raise Refusal(401, "Unauthorized")
    return doc


def company_of(state: State, request: Request, client_id: str) -> int:
    """The company of the header. Raises Refusal: 400 without it, 404 unknown, 403 where the app is not."""
    header = request.headers.get("procore-company-id", "").strip()
    if not header:
        status = state.switches["missing_company_header_status"]
        raise Refusal(status, "Missing Procore-Company-Id header!")
    if not header.isdecimal():
        raise invalid("Procore-Company-Id", "is not a whole number")
    if state.get("companies", int(header)) is None:
        raise not_found()
    if int(header) not in companies_of(state, client_id):
        raise forbidden("This application is not connected to the company")
    return int(header)


def companies_of(state: State, client_id: str) -> list[int]:
    """The companies where the client's app is installed."""
    app = _app(state, client_id)
    installed = None if app is None else app.get("companies")
    return [doc["id"] for doc in state.all("companies") if installed is None or doc["id"] in installed]


def _token(state: State, given: dict[str, Any]) -> Response:
    if given.get("grant_type") != "client_credentials":
        return _oauth_error(400, "unsupported_grant_type", "Only client_credentials is supported here.")
    if not _is_client(state, given):
        return _oauth_error(401, "invalid_client", "Client authentication failed.")
    now, seconds = state.now(), state.switches["access_token_seconds"]
    for old in state.all("tokens"):
        if datetime.fromisoformat(old["expires_at"]) < now:
            state.records.drop("tokens", old["id"])
    token = secrets.token_urlsafe(32)
    created = int(now.timestamp())
    expires = datetime.fromtimestamp(created + seconds, tz=now.tzinfo).isoformat()
    state.put(
        "tokens", {"id": token, "client_id": given["client_id"], "created": created, "expires_at": expires}
    )
    body = {"access_token": token, "token_type": "bearer", "expires_in": seconds, "created_at": created}
    return Response(200, body, outcome="token")


def _info(state: State, request: Request) -> Response:
    try:
        doc = holder(state, request)
    except Refusal:
        return _oauth_error(401, "invalid_token", "The access token is invalid, expired or revoked.")
    left = datetime.fromisoformat(doc["expires_at"]) - state.now()
    body = {
        "resource_owner_id": 1,
        "scopes": [],
        "expires_in_seconds": int(left.total_seconds()),
        "application": {"uid": doc["client_id"]},
        "created_at": doc["created"],
    }
    return Response(200, body, outcome="token info")


def _revoke(state: State, given: dict[str, Any]) -> Response:
    if not _is_client(state, given):
        return _oauth_error(401, "invalid_client", "Client authentication failed.")
    token = str(given.get("token", ""))
    doc = state.records.get("tokens", token)
    if doc is not None and doc["client_id"] == given["client_id"]:
        state.records.drop("tokens", token)
    return Response(200, None, outcome="revoked")


def _is_client(state: State, given: dict[str, Any]) -> bool:
    app = _app(state, str(given.get("client_id", "")))
    return app is not None and secrets.compare_digest(
        str(given.get("client_secret", "")).encode(), str(app["client_secret"]).encode()
    )


def _app(state: State, client_id: str) -> Document | None:
    loaded = state.records.get("apps", client_id)
    if loaded is not None or state.records.count("apps"):
        return loaded
    return DEFAULT_APP if client_id == DEFAULT_APP["client_id"] else None


def _given(request: Request) -> dict[str, Any]:
    if "json" in request.headers.get("content-type", ""):
        try:
            body = request.json()
        except BadBody:
            return {}
        return body if isinstance(body, dict) else {}
    form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
    return dict(request.query) | form


def _oauth_error(status: int, error: str, description: str) -> Response:
    return Response(status, {"error": error, "error_description": description}, outcome=error)
