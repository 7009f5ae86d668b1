"""One imitated vendor on a loopback port: read a request, plan its faults, work, journal, answer.

Faults act on the real socket. The vendor's lock is held while it works and never while a fault waits.
"""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ml_connector.sandbox.faults import Plan
from ml_connector.sandbox.imitation import Imitation
from ml_connector.sandbox.spoiling import spoil
from ml_connector.sandbox.wire import Request, Response, write_json

CONTROL = "/_control/"
_JSON = "application/json;charset=utf-8"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SLICES_PER_SECOND = 10


class VendorServer:
    """A vendor with its records, journal, faults and control routes behind one port on 127.0.0.1."""

    def __init__(self, imitation: Imitation, *, control: Callable[[Request], Response], port: int) -> None:
        """Bind the port (0 chooses one). Raises OSError when it is taken."""
        self.vendor = imitation.vendor
        self.clock = imitation.clock
        self.faults = imitation.faults
        self.control = control
        self._journal = imitation.journal
        self._records = imitation.records
        self._webhooks = imitation.webhooks
        self._lock = imitation.lock
        self._listener = _Listener(("127.0.0.1", port), _Exchange)
        self._listener.app = self
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`"""
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    def start(self) -> None:
        """Accept connections, in a thread of its own."""
        self._thread.start()
        if self._webhooks is not None:
            self._webhooks.start()

    def stop(self) -> None:
        """Stop accepting and close journal and records once the request in hand is done."""
        self._listener.shutdown()
        self._listener.server_close()
        if self._webhooks is not None:
            self._webhooks.stop()
        with self._lock:
            self._records.commit()
            self._records.close()
            self._journal.close()

    def work(self, request: Request, plan: Plan) -> Response:
        """Let the vendor answer, save what changed, journal it; returns the answer as it is to leave."""
        at = self.clock.now().isoformat()
        answers = plan.answer and plan.work_after is None
        with self._lock:
            response, done = Response(0, outcome="crashed"), False
            try:
                response = self._answer(request, plan)
                self._records.commit()
                done = True
            finally:
                unanswered = Response(0, records=response.records, outcome=response.outcome)
                self._journal.add(
                    request,
                    response if answers and done else unanswered,
                    at=at,
                    processed=plan.process and done,
                    fault="+".join(plan.names) or None,
                )
        return response

    def _answer(self, request: Request, plan: Plan) -> Response:
        if not plan.process:
            response = plan.instead or Response(0, outcome="dropped")
        else:
            response = self.vendor.handle(request)
            if plan.instead is not None:
                outcome = f"{response.status} {response.outcome}, answered otherwise"
                response = Response(plan.instead.status, plan.instead.body, plan.instead.headers, 0, outcome)
        if plan.body is not None:
            response = spoil(response, plan.body)
        response.headers.update(plan.headers)
        # The body is turned to bytes here, under the lock: it may hold documents of the store.
        response.headers.setdefault("Content-Type", _JSON)
        response.body = _bytes(response.body)
        return response


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    app: VendorServer


class _Exchange(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # every method is the vendor's to answer
            return self._exchange
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the journal is the log."""

    def _exchange(self) -> None:
        app, request = self.server.app, self._request()
        if request.path.startswith(CONTROL):
            answer = app.control(request)
            answer.body = _bytes(answer.body)
            answer.headers.setdefault("Content-Type", _JSON)
            self._send(answer, Plan())
            return
        plan = app.faults.plan(request)
        request = Request(
            request.method, request.path, request.query, request.headers, request.body, plan.instructions
        )
        time.sleep(plan.delay_before)
        if plan.work_after is not None:
            self._hang_up()
            time.sleep(plan.work_after)
            app.work(request, plan)
            return
        response = app.work(request, plan)
        time.sleep(plan.delay_after)
        if not plan.answer:
            self._hang_up()
        elif plan.reset in ("before", "after"):
            self._reset()
        else:
            self._send(response, plan)

    def _request(self) -> Request:
        target = urlsplit(self.path)
        return Request(
            method=self.command,
            path=unquote(target.path),
            query=tuple(parse_qsl(target.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _send(self, response: Response, plan: Plan) -> None:
        body: bytes = response.body
        head = self._head(response, len(body))
        if self.command == "HEAD" or response.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            body = b""
        try:
            if plan.reset == "middle":
                self.wfile.write(head + body[: len(body) // 2])
                self._reset()
            elif plan.truncate is not None:
                self.wfile.write(head + body[: plan.truncate])
                self._hang_up()
            elif plan.drip is not None:
                self._drip(head, body, plan.drip)
            else:
                self.wfile.write(head + body)
        except OSError:  # the client has gone; there is nobody to tell
            self.close_connection = True

    def _head(self, response: Response, length: int) -> bytes:
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:
            phrase = ""
        headers = {"Date": self._date(), "Content-Length": str(length), **response.headers}
        if self.close_connection:
            headers["Connection"] = "close"
        if response.status == HTTPStatus.NO_CONTENT:
            headers = {name: value for name, value in headers.items() if not name.startswith("Content-")}
        lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace")

    def _date(self) -> str:
        return format_datetime(self.server.app.clock.now().astimezone(UTC), usegmt=True)

    def _drip(self, head: bytes, body: bytes, rate: float) -> None:
        self.wfile.write(head)
        size = max(1, round(rate / _SLICES_PER_SECOND))
        for start in range(0, len(body), size):
            time.sleep(size / rate)
            self.wfile.write(body[start : start + size])

    def _hang_up(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the client was quicker
            return

    def _reset(self) -> None:
        """Close so that the client sees ECONNRESET and not an orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        os.close(self.connection.detach())


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else write_json(body).encode()
