"""One call to an OAuth 2.0 token endpoint (RFC 6749), never repeated here: a grant may be single-use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from ml_connector.errors import TransientError
from ml_connector.transport.call import Call
from ml_connector.transport.hosts import checked_origin
from ml_connector.transport.ports import SYSTEM_CLOCK, Clock, Dialect
from ml_connector.transport.retry import Fault, Kind
from ml_connector.transport.session import Bounds, VendorSession
from ml_connector.transport.wire import Timeouts

_BOUNDS = Bounds(Timeouts(connect=5.0, read=20.0, total=20.0), patience=0.0, body=1024 * 1024)


@dataclass(frozen=True)
class Grant:
    """A fresh access token, how long it lives, and everything else of the answer."""

    access_token: str
    life: timedelta
    answer: Mapping[str, Any]


class TokenEndpoint:
    """The token endpoint of a vendor; `calls` counts its calls apart from all others."""

    def __init__(self, vendor: str, url: str, *, request_id_header: str, clock: Clock = SYSTEM_CLOCK) -> None:
        dialect = Dialect(vendor, request_id_header, throttle_pause=60.0, read_fault=read_oauth_fault)
        self._session = VendorSession(dialect, checked_origin(url), account="", bounds=_BOUNDS, clock=clock)
        self._path = urlsplit(url).path
        self.calls = self._session.calls

    def ask(self, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None) -> Grant:
        """One grant for one call.

        Raises CallRefused with the OAuth error word as the fault's code, or TransientError when nothing
        is known: the endpoint was away, busy, or its answer had no token.
        """
        call = Call(
            "POST",
            self._path,
            Kind.READ,  # an unclear answer is TransientError: the next renewal starts with what is stored
            content=urlencode(form).encode("ascii"),
            content_type="application/x-www-form-urlencoded",
            headers=headers or {},
        )
        reply = self._session.send(call)
        answer = reply.body if isinstance(reply.body, dict) else {}
        token, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(seconds, int) or seconds <= 0:
            raise TransientError(
                "a token answer without a token", vendor=self._session.vendor, status=reply.status
            )
        return Grant(token, timedelta(seconds=seconds), answer)

    def revoke(self, content: bytes, *, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """End the grant that `content` names (RFC 7009), at a revocation endpoint. Raises like `ask`."""
        call = Call(
            "POST",
            self._path,
            Kind.READ,  # may be said twice: what is ended stays ended
            content=content,
            content_type=content_type,
            headers=headers or {},
            bodyless=True,
        )
        self._session.send(call)

    def close(self) -> None:
        """Give the sockets back."""
        self._session.close()


def read_oauth_fault(status: int, body: Any) -> Fault | None:
    """The error word of a token endpoint (RFC 6749 5.2), None without one."""
    if status < 400 or not isinstance(body, dict) or not isinstance(body.get("error"), str):
        return None
    return Fault(body["error"], str(body.get("error_description") or ""))
