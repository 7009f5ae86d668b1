"""Refusals and their bodies: the several forms of v1 and the one form of v2."""

from http import HTTPStatus
from typing import Any

from ml_connector.sandbox.wire import Response

Errors = dict[str, list[str]]

ENTITY_NOT_FOUND = "Entity with this ID not found"
TAKEN = "has already been taken"
SYNCED_NOT_EDITABLE = "This record is not editable because it has been synced with ERP"
SYNCED_PAYMENT = "This payment cannot be edited or deleted because it is synced with an ERP system"


class Refusal(Exception):
    """A request, or one row of a sync, that is not done. `errors` is a text, or messages by field."""

    def __init__(self, status: int, errors: str | Errors) -> None:
        super().__init__(status, errors)
        self.status = status
        self.errors = errors

    def by_field(self) -> Errors:
        """The errors as a sync row carries them."""
        return {"base": [self.errors]} if isinstance(self.errors, str) else self.errors

    def response(self, *, version: str) -> Response:
        body: Any = _v2_body(self) if version == "v2.0" else {"errors": self.errors}
        return Response(self.status, body, outcome=_in_words(self))


def invalid(field: str, message: str, *, status: int = 400) -> Refusal:
    """A field that is missing or malformed; with 422, a business rule about it."""
    return Refusal(status, {field: [message]})


def not_found() -> Refusal:
    return Refusal(404, "Not found")


def forbidden(text: str) -> Refusal:
    return Refusal(403, text)


def _in_words(refusal: Refusal) -> str:
    if isinstance(refusal.errors, str):
        return refusal.errors
    return "; ".join(f"{field} {', '.join(messages)}" for field, messages in refusal.errors.items())


def _v2_body(refusal: Refusal) -> dict[str, Any]:
    code = HTTPStatus(refusal.status).name
    if isinstance(refusal.errors, str):
        details = [{"reason_code": code, "message": refusal.errors, "source": "request"}]
    else:
        details = [
            {"reason_code": code, "message": message, "source": field}
            for field, messages in refusal.errors.items()
            for message in messages
        ]
    return {"error": {"code": code, "message": _in_words(refusal), "details": details}}
