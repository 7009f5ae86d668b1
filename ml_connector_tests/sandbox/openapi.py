"""Holds every answer of the imitated Procore against the OpenAPI file, unknown fields included."""

import json
import os
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from openapi_schema_validator import OAS30ReadValidator, oas30_format_checker

from ml_connector.sandbox.wire import Request, Response, write_json

_FILE = "procore-openapi.json"
_ROOT = Path(__file__).resolve().parents[2]

# Answers that the facts page gives and the file does not list, and why.
_UNLISTED = {
    400: "missing company header, or a bad field on an endpoint for which only 401 and 403 are listed",
    403: "company or project that the client may not see",
    404: "a record or a parent that is not there",
    413: "more than 1000 rows in a sync (the file lists it for contract lines only)",
    422: "a business rule, a taken origin_id among them",
}


def reference_file() -> Path | None:
    """The OpenAPI file: in ML_CONNECTOR_REFERENCE, else beside the checkout; None when there is none."""
    named = os.environ.get("ML_CONNECTOR_REFERENCE")
    folder = Path(named) if named else _ROOT.parent / "shared" / "reference"
    path = folder / _FILE
    return path if path.is_file() else None


def assert_valid(request: Request, response: Response) -> None:
    """Fail when the answer's status or body is not what the file says for this method and path."""
    operation = _operation(request.method, request.path)
    schema = _schema_of(operation, request.path, response)
    if schema is None:
        assert response.body is None, f"{request.method} {request.path} has no body for {response.status}"
        return
    if isinstance(response.body, str):
        assert schema == {"type": "string"}, f"text where {request.path} wants {schema}"
        return
    body = json.loads(write_json(response.body))
    rule = {**schema, "components": _document()["components"]}
    errors = list(OAS30ReadValidator(rule, format_checker=oas30_format_checker).iter_errors(body))
    told = "; ".join(
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors[:5]
    )
    assert not errors, f"{request.method} {request.path} {response.status}: {told}"


def operations() -> set[tuple[str, str]]:
    """Every (METHOD, path) of the file."""
    return {(method.upper(), path) for path, methods in _document()["paths"].items() for method in methods}


def operation_of(method: str, path: str) -> tuple[str, str]:
    """The (METHOD, path template) that answers this path; literal parts win over parameters."""
    parts = path.split("/")
    fitting = [
        template
        for template, methods in _document()["paths"].items()
        if method.lower() in methods and _fits(template.split("/"), parts)
    ]
    assert fitting, f"{method} {path} is not in {_FILE}"
    return method, min(fitting, key=lambda template: [part.startswith("{") for part in template.split("/")])


def _operation(method: str, path: str) -> dict[str, Any]:
    method, template = operation_of(method, path)
    operation: dict[str, Any] = _document()["paths"][template][method.lower()]
    return operation


def _fits(template: list[str], parts: list[str]) -> bool:
    return len(template) == len(parts) and all(
        rule.startswith("{") or rule == part for rule, part in zip(template, parts, strict=True)
    )


def _schema_of(operation: dict[str, Any], path: str, response: Response) -> dict[str, Any] | None:
    listed = operation["responses"].get(str(response.status)) or operation["responses"].get("default")
    if listed is None:
        assert response.status in _UNLISTED, f"{path} answers {response.status}, which no source names"
        form = "ErrorV2" if "/v2.0/" in path else "ErrorV1"
        return {"$ref": f"#/components/schemas/{form}"}
    if "$ref" in listed:
        name = listed["$ref"].rpartition("/")[2]
        if name == "Unexpected" and "/v2.0/" in path:
            name = "BadRequestV2"  # the facts page: v2 has one error form
        listed = _document()["components"]["responses"][name]
    kind = "text/plain" if isinstance(response.body, str) else "application/json"
    content = listed.get("content", {}).get(kind)
    schema: dict[str, Any] | None = None if content is None else content["schema"]
    return schema


@cache
def _document() -> dict[str, Any]:
    path = reference_file()
    assert path is not None
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # Purchase orders carry their own status words, as Commitment.status has them; the short form lacks them.
    schemas = document["components"]["schemas"]
    schemas["CommitmentShort"]["properties"]["status"] = deepcopy(
        schemas["Commitment"]["properties"]["status"]
    )
    _close(document["paths"])
    _close(schemas)
    return document


def _close(node: Any) -> None:
    """An object may have only the fields that the file knows: a made-up field misleads a client."""
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict) and node.get("type", "object") == "object":
            node.setdefault("additionalProperties", False)
        for value in node.values():
            _close(value)
    elif isinstance(node, list):
        for value in node:
            _close(value)
