"""QBO's faults: they come in two spellings of their keys, and under HTTP 200, too (qbo-api 13)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ml_connector.transport.call import CallRefused
from ml_connector.transport.ports import Dialect
from ml_connector.transport.retry import Fault

_CODE_IN_TEXT = re.compile(r"errorCode=0*(\d+)")
THROTTLE_PAUSE = 60.0  # Intuit's page names a minute, its answers name nothing (qbo-api 11)


def read_fault(status: int, body: Any) -> Fault | None:
    """The fault at the top of an answer or in a block of CDC, not inside a batch item. None without one."""
    if isinstance(body, str):
        code = _CODE_IN_TEXT.search(body)
        return Fault(code[1], "") if code and status >= 400 else None
    return next((fault for part in _parts(body) if (fault := fault_in(part)) is not None), None)


def fault_in(part: Any) -> Fault | None:
    """The fault that stands directly in `part`: its first code, and the words of all its errors."""
    fault = _entry(part, "fault")
    if not isinstance(fault, Mapping):
        return None
    errors = [error for error in _list(_entry(fault, "error")) if isinstance(error, Mapping)]
    codes = [str(_entry(error, "code") or "") for error in errors]
    words = [str(_entry(error, "detail") or _entry(error, "message") or "") for error in errors]
    return Fault(
        code=next((code.lstrip("0") or "0" for code in codes if code), ""),
        text="; ".join(word for word in words if word),
        kind=str(_entry(fault, "type") or "").lower(),
    )


def is_cdc_too_old(refusal: CallRefused) -> bool:
    """Whether CDC was refused for its `changedSince`: code 500 in a 4xx, or the words of it (qbo-api 5)."""
    return "changedsince" in refusal.fault.text.lower()


def _parts(body: Any) -> Iterator[Any]:
    yield body
    for answer in _list(_entry(body, "cdcresponse")):
        yield answer
        yield from _list(_entry(answer, "queryresponse"))


def _entry(part: Any, name: str) -> Any:
    if not isinstance(part, Mapping):
        return None
    return next((value for key, value in part.items() if key.lower() == name), None)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


DIALECT = Dialect(
    name="qbo",
    request_id_header="intuit_tid",
    throttle_pause=THROTTLE_PAUSE,
    read_fault=read_fault,
)
