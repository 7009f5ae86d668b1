"""One call and its answer, and the two exceptions that carry more than `errors.py` knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from requests.utils import parse_header_links

from ml_connector.errors import PermanentError
from ml_connector.transport.retry import Fault, Kind

_NUMBER_SEGMENT = re.compile(r"(?<=/)\d+(?=/|$)")


@dataclass(frozen=True)
class Call:
    """One call. `path` begins with "/"; a full address is taken only of the session's own host."""

    method: str
    path: str
    kind: Kind
    params: tuple[tuple[str, str], ...] = ()
    content: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    bodyless: bool = False  # a success without a body is an answer, too

    @property
    def route(self) -> str:
        """Method and path with numbers made general: what calls are counted by."""
        return f"{self.method} {_NUMBER_SEGMENT.sub('{id}', urlsplit(self.path).path)}"


@dataclass(frozen=True)
class Answer:
    """A success: parsed body (money as Decimal; None when empty), headers in any letter case."""

    status: int
    body: Any
    headers: Mapping[str, str]
    request_id: str

    @property
    def next_page(self) -> str | None:
        """Where the `Link` header (RFC 8288) says that a list goes on, None at its end."""
        links = parse_header_links(self.headers.get("Link", ""))
        return next((link["url"] for link in links if link.get("rel") == "next"), None)


class CallRefused(PermanentError):
    """The vendor said no. `fault` has its code and words, which may hold records: for holds, not for logs."""

    def __init__(
        self, what: str, *, vendor: str, fault: Fault, status: int | None, request_id: str, body: str
    ) -> None:
        super().__init__(what, vendor=vendor, status=status, request_id=request_id, body=body)
        self.fault = fault


class Again(Exception):
    """Raised by a step of `VendorSession.patiently`: run it again, in `wait` seconds at the soonest."""

    def __init__(
        self, what: str, *, wait: float = 0.0, status: int | None = None, request_id: str = "", body: str = ""
    ) -> None:
        super().__init__(what)
        self.wait = wait
        self.status = status
        self.request_id = request_id
        self.body = body
