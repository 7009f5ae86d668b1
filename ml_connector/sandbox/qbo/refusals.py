"""QuickBooks' ways to say no: fault bodies by code, and the gateway's own lower-case form.

Texts are those of recorded answers where one is known.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ml_connector.sandbox.qbo.times import answer_time
from ml_connector.sandbox.wire import Response

_MESSAGES = {
    "500": "Unsupported Operation",
    "610": "Object Not Found",
    "1040": "Batch request exceeds the limit",
    "2010": "Request has invalid or unsupported property",
    "2020": "Required param missing, need to supply the required value for the API",
    "2030": "Invalid ID",
    "2080": "Invalid Number",
    "2500": "Invalid Reference Id",
    "3001": "message=ThrottleExceeded; errorCode=003001; statusCode=429",
    "4000": "Error parsing query",
    "4001": "Invalid query",
    "5010": "Stale Object Error",
    "6000": "A business validation error has occurred while processing your request",
    "6140": "Duplicate Document Number Error",
    "6190": "Invalid Company Status",
    "6210": "Account Period Closed Error",
    "6240": "Duplicate Name Exists Error",
    "10000": "An application error has occurred while processing your request",
}
_TYPES = {"3001": "SERVICE", "10000": "SystemFault", "100": "AuthenticationFault"}
_NOT_FOUND = (
    "Object Not Found : Something you're trying to use has been made inactive. "
    "Check the fields with accounts, customers, items, vendors or employees."
)


@dataclass
class Refusal(Exception):
    """The service refuses: one fault, as HTTP answer or as one item of a batch."""

    code: str
    detail: str
    element: str | None = ""
    status: int = 400
    headers: dict[str, str] = field(default_factory=dict)

    def fault(self) -> dict[str, Any]:
        """`{"Error": [...], "type": ...}`"""
        error = {"Message": _MESSAGES.get(self.code, "Error"), "Detail": self.detail, "code": self.code}
        if self.element is not None:
            error["element"] = self.element
        return {"Error": [error], "type": _TYPES.get(self.code, "ValidationFault")}

    def response(self, began: datetime) -> Response:
        """The fault as an answer of its own."""
        body = {"Fault": self.fault(), "time": answer_time(began)}
        return Response(self.status, body, dict(self.headers), 0, f"fault {self.code}")


def not_found() -> Refusal:
    """610: no such record, or one that was made inactive."""
    return Refusal("610", _NOT_FOUND)


def stale() -> Refusal:
    """5010: another save came first."""
    detail = (
        "Stale Object Error : You and A User were working on this at the same time. "
        "A User finished before you did, so your work was not saved."
    )
    return Refusal("5010", detail)


def missing(name: str) -> Refusal:
    """2020: a required property is not there."""
    return Refusal("2020", f"Required parameter {name} is missing in the request", name)


def unknown_property(name: str) -> Refusal:
    """2010: the request names a property that the service does not know."""
    return Refusal("2010", f"Property Name:{name} specified is unsupported or invalid", name)


def bad_reference(table: str, id: str) -> Refusal:
    """2500: a reference to a record that is not there; `table` is QuickBooks' word for the list."""
    return Refusal("2500", f"Invalid Reference Id : {table} element id {id} not found")


def duplicate_name() -> Refusal:
    """6240: the name is taken."""
    detail = (
        "The name supplied already exists. : Another customer, vendor or employee is already using this "
        "name. Please use a different name."
    )
    return Refusal("6240", detail)


def duplicate_number(number: str, *, entity: str, id: str) -> Refusal:
    """6140: the document number is taken."""
    detail = (
        "Duplicate Document Number Error : You must specify a different number. This number has already "
        f"been used. DocNumber={number} is assigned to TxnType={entity} with TxnId={id}"
    )
    return Refusal("6140", detail)


def business_rule(sentence: str) -> Refusal:
    """6000: a rule of bookkeeping."""
    return Refusal("6000", f"Business Validation Error: {sentence}")


def unsupported(operation: str) -> Refusal:
    """500 as a code: the service has no such operation."""
    return Refusal("500", f"Operation {operation} is not supported.", None)


def unparsable_query(detail: str) -> Refusal:
    """4000: the statement is not of the dialect."""
    return Refusal("4000", f"QueryParserError: {detail}", None)


def invalid_query(detail: str) -> Refusal:
    """4001: the statement parses and cannot be answered."""
    return Refusal("4001", f"QueryValidationError: {detail}", None)


def throttled() -> Refusal:
    """429 without a Retry-After, as QuickBooks sends it."""
    return Refusal("3001", "The request limit was reached.  Try again later", None, 429)


def gateway(status: int, *, name: str, code: str, kind: str, detail: str, now: datetime) -> Response:
    """The gateway's fault: lower-case keys, time in epoch milliseconds, many nulls."""
    error = {
        "message": f"message={name}; errorCode={code.zfill(6)}; statusCode={status}",
        "detail": detail,
        "code": code,
        "element": None,
    }
    body: dict[str, Any] = {
        "warnings": None,
        "intuitObject": None,
        "fault": {"error": [error], "type": kind},
        "report": None,
        "queryResponse": None,
        "batchItemResponse": [],
        "attachableResponse": [],
        "syncErrorResponse": None,
        "requestId": None,
        "time": int(now.timestamp() * 1000),
        "status": None,
        "cdcresponse": [],
    }
    return Response(status, body, outcome=f"gateway fault {code}")


def unauthenticated(detail: str, now: datetime) -> Response:
    """401: the access token is expired, revoked or unknown."""
    answer = gateway(
        401, name="AuthenticationFailed", code="3200", kind="AUTHENTICATION", detail=detail, now=now
    )
    answer.headers["WWW-Authenticate"] = 'Bearer realm="Intuit", error="invalid_token"'
    return answer


def unauthorized(now: datetime, *, upper_case: bool) -> Response:
    """403: the realm does not belong to the token. The case of the keys is in doubt, hence a switch."""
    if upper_case:
        error = {
            "Message": "message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403",
            "Detail": "",
            "code": "3100",
        }
        fault = {"Error": [error], "type": "AUTHORIZATION"}
        return Response(403, {"Fault": fault, "time": answer_time(now)}, outcome="fault 3100")
    return gateway(
        403, name="ApplicationAuthorizationFailed", code="3100", kind="AUTHORIZATION", detail="", now=now
    )
