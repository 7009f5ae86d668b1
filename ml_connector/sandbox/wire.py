"""What passes between the HTTP frame and an imitated vendor: requests, answers, JSON that keeps money exact.

Nothing here opens a socket; `server` does that. Nothing here knows a vendor.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from xml.etree import ElementTree

_NUMBER_MARK = "\x00"
_MARKED_NUMBER = re.compile(r'"\\u0000([^"\\]+)\\u0000"')


class BadBody(ValueError):
    """The request body is not what its reader needs, JSON for instance."""


@dataclass(frozen=True)
class Request:
    """One request as it came in. `headers` has lower-case keys, `path` and `query` are percent-decoded.

    `instructions` carries what a fault rule asks of the vendor itself: name of the fault -> its `args`.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    instructions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        """The first value of a query parameter, or None."""
        return next((value for key, value in self.query if key == name), None)

    def all(self, name: str) -> list[str]:
        """Every value of a query parameter, in order."""
        return [value for key, value in self.query if key == name]

    def json(self) -> Any:
        """The body as JSON, fractions as Decimal. Raises BadBody."""
        return parse_json(self.body)


@dataclass
class Response:
    """One answer. `body` is None, a JSON-able value (Decimal allowed), or str or bytes that go out as is.

    `records` and `outcome` (a few words) are for the journal.
    """

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    records: int = 0
    outcome: str = ""


class Vendor(Protocol):
    """What the frame drives. The frame holds one lock per vendor around every call."""

    @property
    def name(self) -> str:
        """`qbo` or `procore`."""

    def handle(self, request: Request) -> Response:
        """Answer one request of the vendor's own API."""

    def load(self, payload: Mapping[str, Any]) -> int:
        """Take `{"<kind>": [records as given, odd ones too]}`; return how many. Raises ValueError."""

    def live(self, kind: str) -> list[dict[str, Any]]:
        """The live records of a kind, raw."""

    def switch(self, name: str, value: Any) -> None:
        """Choose a behaviour where the vendor's own is in doubt. Raises ValueError for what it is not."""

    def switches(self) -> dict[str, Any]:
        """Every switch with the value in force."""

    def refusal(self, status: int) -> Response:
        """What the vendor itself answers with this error status, for fault rules that bring no body."""

    def reset(self, seed: str) -> None:
        """Forget everything. `seed` is `empty` or `demo`; the demo data itself is loaded by the frame."""


def parse_json(raw: bytes | str) -> Any:
    """JSON with fractions as Decimal, in the digits that were written. Raises BadBody."""
    try:
        return json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise BadBody(str(error)) from error


def write_json(value: Any) -> str:
    """Compact JSON; a Decimal is written as a number with the digits it has."""
    text = json.dumps(value, default=_mark_number, separators=(",", ":"))
    return _MARKED_NUMBER.sub(r"\1", text)


def _mark_number(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{_NUMBER_MARK}{value}{_NUMBER_MARK}"
    raise TypeError(f"{type(value).__name__} is not JSON")


def write_xml(value: Any, *, root: str) -> str:
    """A plain XML rendering of a JSON-able value: keys become elements, lists repeat them."""
    element = ElementTree.Element(root)
    _grow(element, value)
    return '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>' + ElementTree.tostring(
        element, "unicode"
    )


def _grow(element: ElementTree.Element, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, held in value.items():
            for item in held if isinstance(held, list) else [held]:
                _grow(ElementTree.SubElement(element, str(key)), item)
    elif isinstance(value, list):
        for item in value:
            _grow(ElementTree.SubElement(element, "item"), item)
    elif isinstance(value, bool):
        element.text = "true" if value else "false"
    elif value is not None:
        element.text = str(value)
