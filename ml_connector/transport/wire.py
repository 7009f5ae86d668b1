"""One HTTP exchange: connect, send, read, all under one total deadline, with a capped answer.

It reports what happened and decides nothing: `retry.py` says what an outcome means. The deadline is kept on
the socket itself, because a server that drips one byte a second never trips a read timeout.
"""

import io
import socket
import time
from collections.abc import Mapping
from contextlib import closing
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPResponse  # noqa: TID251 urllib3 builds on it
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

_CHUNK = 65_536
_SEND_CHUNK = 16_384
_ERROR_BODY = 65_536  # enough of an error page to classify it


class Trouble(StrEnum):
    """Why an exchange gave no usable answer."""

    NOT_SENT = "not sent"  # provably: not one byte of the request left
    NO_ANSWER = "no answer"  # time-out, reset, truncated: the vendor may have done the work
    TOO_LARGE = "answer too large"
    BROKEN = "broken answer"  # a success whose body is not what was promised


class WireError(Exception):
    """An exchange that failed; `trouble` says how far it came."""

    def __init__(self, trouble: Trouble, detail: str) -> None:
        self.trouble = trouble
        super().__init__(f"{trouble} ({detail})")


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, between two bytes, and for the whole exchange."""

    connect: float = 5.0
    read: float = 60.0
    total: float = 90.0


@dataclass(frozen=True)
class Reply:
    """Status, headers (any letter case) and the decoded body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Leash:
    """The deadline of the exchange that runs now, and whether a byte of it was sent."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._ends = time.monotonic() + timeouts.total
        self._read = timeouts.read
        self.sent = False

    def left(self) -> float:
        """Seconds that the next socket operation may take. Raises TimeoutError past the deadline."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("total deadline")
        return min(self._read, left)


_leash: ContextVar[_Leash] = ContextVar("_leash")


class _LeashedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_leash.get().left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _LeashedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        leashed = io.BufferedReader(_LeashedReader(sock))
        self.fp.close()
        self.fp = leashed  # type: ignore[assignment]


class _Leashed(HTTPConnection):
    response_class = _LeashedResponse

    def send(self, data: Any) -> None:
        leash = _leash.get()
        if self.sock is None:
            self.connect()
        leash.sent = True
        for start in range(0, len(data), _SEND_CHUNK):
            self.sock.settimeout(leash.left())
            super().send(data[start : start + _SEND_CHUNK])


class _LeashedTls(_Leashed, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Leashed


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _LeashedTls


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class Wire:
    """A kept-alive connection to one vendor, for one thread."""

    def __init__(self, timeouts: Timeouts, *, max_body: int) -> None:
        self._timeouts = timeouts
        self._max_body = max_body
        self._session = requests.Session()
        self._session.trust_env = False  # a .netrc would replace the token, a proxy would see it
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("https://", _Adapter())
        self._session.mount("http://", _Adapter())

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: list[tuple[str, str]],
        content: bytes,
    ) -> Reply:
        """The answer, redirects not followed. Raises WireError.

        Of an error (status 400 and above) the body may be cut: the status counts even when no body comes.
        """
        request = requests.Request(method, url, headers=dict(headers), params=params, data=content)
        prepared = self._session.prepare_request(request)
        leash = _Leash(self._timeouts)
        token = _leash.set(leash)
        try:
            response = self._session.send(
                prepared,
                stream=True,
                allow_redirects=False,
                timeout=(min(self._timeouts.connect, self._timeouts.total), self._timeouts.read),
            )
            with closing(response):
                return Reply(response.status_code, response.headers, self._body(response))
        except (OSError, HTTPError) as error:
            trouble = Trouble.NO_ANSWER if leash.sent else Trouble.NOT_SENT
            raise WireError(trouble, type(error).__name__) from error
        finally:
            _leash.reset(token)

    def close(self) -> None:
        """Give the sockets back."""
        self._session.close()

    def _body(self, response: requests.Response) -> bytes:
        body = bytearray()
        failed = response.status_code >= 400
        limit = _ERROR_BODY if failed else self._max_body
        try:
            for chunk in response.iter_content(_CHUNK):
                body += chunk
                if len(body) > limit:
                    break
        except (OSError, HTTPError):
            if not failed:
                raise
        if len(body) > limit and not failed:
            raise WireError(Trouble.TOO_LARGE, f"more than {limit} bytes")
        return bytes(body[:limit])
