"""What passes over the wire of one sandbox server, and the requests held against the OpenAPI file."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import pytest
from openapi_schema_validator import OAS30WriteValidator, oas30_format_checker

from ml_connector.sandbox.faults import Plan
from ml_connector.sandbox.server import VendorServer
from ml_connector.sandbox.wire import Request, Response, parse_json
from ml_connector_tests.sandbox import openapi

_FORM = "application/x-www-form-urlencoded"


@dataclass
class Recording:
    """Every request that a server answered, with the answer as its bytes say."""

    exchanges: list[tuple[Request, Response]] = field(default_factory=list)

    def attach(self, server: VendorServer, patch: pytest.MonkeyPatch) -> None:
        """Note what the server answers from now on; `patch` takes it off again."""
        work = server.work

        def recorded(request: Request, plan: Plan) -> Response:
            answer = work(request, plan)
            body = _read(answer)
            self.exchanges.append((request, Response(answer.status, body, dict(answer.headers))))
            return answer

        patch.setattr(server, "work", recorded)

    def operations(self) -> set[tuple[str, str]]:
        """The distinct operations that were asked."""
        return {openapi.operation_of(request.method, request.path) for request, _ in self.exchanges}


def _read(answer: Response) -> Any:
    if not answer.body:
        return None
    is_json = answer.headers["Content-Type"].startswith("application/json")
    return parse_json(answer.body) if is_json else answer.body.decode()


def assert_request_valid(request: Request) -> None:
    """Fail when a query parameter, a header or the body is not what the file says for this operation."""
    operation = openapi._operation(request.method, request.path)
    where = f"{request.method} {request.path}"
    rules = [_followed(rule) for rule in operation.get("parameters", [])]
    known = {rule["name"] for rule in rules if rule["in"] == "query"}
    unknown = {name for name, _ in request.query} - known
    assert not unknown, f"{where} has no parameters {sorted(unknown)}"
    given = {"query": {name for name, _ in request.query}, "header": set(request.headers)}
    for rule in rules:
        if rule.get("required") and rule["in"] in given:
            name = rule["name"].lower() if rule["in"] == "header" else rule["name"]
            assert name in given[rule["in"]], f"{where} needs the {rule['in']} {rule['name']}"
    _assert_body_valid(request, operation.get("requestBody"))


def _assert_body_valid(request: Request, expected: dict[str, Any] | None) -> None:
    where = f"{request.method} {request.path}"
    if expected is None:
        assert not request.body, f"{where} takes no body"
        return
    kind = request.headers["content-type"].partition(";")[0]
    assert kind in expected["content"], f"{where} takes no {kind}"
    text = request.body.decode()
    given = dict(parse_qsl(text)) if kind == _FORM else json.loads(text)
    rule = {**expected["content"][kind]["schema"], "components": openapi._document()["components"]}
    validator = OAS30WriteValidator(rule, format_checker=oas30_format_checker)
    told = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(given)
    ]
    assert not told, f"{where}: {'; '.join(told[:5])}"


def _followed(rule: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in rule:
        return rule
    found: dict[str, Any] = openapi._document()["components"]["parameters"][rule["$ref"].rpartition("/")[2]]
    return found
