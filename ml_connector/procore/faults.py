"""Procore's error bodies, which are not uniform, as one sentence and its fields (procore-api 12.1)."""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_connector.transport.ports import Dialect
from ml_connector.transport.retry import Fault

_LONGEST = 500  # of a plain-text or HTML body


def read_fault(status: int, body: Any) -> Fault | None:
    """The fault of an error answer. A success has none: rows of a sync action are settled on their own."""
    if status < 400:
        return None
    return Fault(_code(body), sentence(body))


def sentence(body: Any) -> str:
    """What an error body says, "" when it says nothing."""
    return "; ".join(dict.fromkeys(words for words in _words(body) if words))


def field_errors(errors: Any) -> dict[str, list[str]]:
    """`{field: [message]}` of a validation error; a message without a field stands under ""."""
    if isinstance(errors, Mapping):
        return {str(name): [str(text) for text in _texts(value)] for name, value in errors.items()}
    messages = [str(text) for text in _texts(errors)]
    return {"": messages} if messages else {}


def _words(body: Any) -> Iterator[str]:
    if isinstance(body, str):
        yield " ".join(body.split())[:_LONGEST]
        return
    if not isinstance(body, Mapping):
        return
    for name, messages in field_errors(body.get("errors")).items():
        field = "" if name == "base" else name  # a message under `base` is about the record as a whole
        yield from (f"{field} {message}".strip() for message in messages)
    error = body.get("error")
    if isinstance(error, Mapping):
        yield str(error.get("message") or "")
        details = error.get("details")
        for detail in details if isinstance(details, list) else []:
            if isinstance(detail, Mapping):
                yield f"{detail.get('source') or ''} {detail.get('message') or ''}".strip()
    elif isinstance(error, str):
        yield error
    if isinstance(body.get("message"), str):
        yield body["message"]
    if isinstance(body.get("reason"), str):
        yield body["reason"]


def _code(body: Any) -> str:
    if not isinstance(body, Mapping):
        return ""
    error = body.get("error")
    code = error.get("code") if isinstance(error, Mapping) else body.get("code")
    return str(code) if code is not None else ""


def _texts(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]


DIALECT = Dialect(
    name="procore",
    request_id_header="x-request-id",
    throttle_pause=10.0,  # the spike window, for a 429 that names neither Retry-After nor a reset
    read_fault=read_fault,
)
