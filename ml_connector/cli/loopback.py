"""Calls of the command line to what it started itself: health checks, the sandbox. Loopback only."""

import json
import urllib.request
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.error import URLError

LOOPBACK = "http://127.0.0.1:"


def answers(url: str) -> bool:
    """Whether an address answers at all."""
    try:
        _open(urllib.request.Request(_own(url)), seconds=2)
    except (URLError, OSError):
        return False
    return True


def call(method: str, url: str, body: object = None) -> Any:
    """The JSON answer to a JSON request; amounts as Decimal. Raises OSError for trouble, HTTP errors included."""
    data = None if body is None else json.dumps(body, default=_written).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    content = _open(urllib.request.Request(_own(url), data, headers, method=method), seconds=120)
    return json.loads(content, parse_float=Decimal) if content else None


def post_form(url: str, form: str, headers: Mapping[str, str]) -> Any:
    """The JSON answer to a posted form. Raises OSError for trouble."""
    sent = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", **headers}
    return json.loads(_open(urllib.request.Request(_own(url), form.encode(), sent), seconds=30))


def _own(url: str) -> str:
    if not url.startswith(LOOPBACK):
        raise ValueError("only services of this machine are called from here")
    return url


def _open(request: urllib.request.Request, *, seconds: float) -> bytes:
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        content: bytes = answer.read()
    return content


def _written(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)  # amounts of the demo have two decimals: the shortest float text is the amount
    raise TypeError(type(value).__name__)
