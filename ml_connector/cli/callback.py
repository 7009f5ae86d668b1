"""The local page that Intuit sends the browser back to: one answer, for one consent, on the loopback interface."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from ml_connector.connecting.consent import Query
from ml_connector.errors import SetupError

REQUEST_SECONDS = 10.0
FAREWELL_SECONDS = 3.0
LONGEST_TARGET = 8_192
_THANKS = "Thank you: this page can be closed. The terminal says how it went on."
_NOT_OURS = (
    "This is not the answer that is waited for: it belongs to another request, came twice, or too late."
)


class Callback:
    """What came in."""

    def __init__(self, path: str, take: Callable[[Query], bool]) -> None:
        self.path = path
        self.take = take
        self.query: Query | None = None
        self._came = threading.Event()
        self._thanked = threading.Event()

    def wait(self, seconds: float) -> Query:
        """The query of the one answer. Raises SetupError when none comes in time."""
        if not self._came.wait(seconds) or self.query is None:
            raise SetupError("no consent came back in time: nothing was changed; ask again")
        return self.query

    def offer(self, query: Query) -> bool:
        """Take the answer if it is the one."""
        if not self.take(query):
            return False
        self.query = query
        self._came.set()
        return True

    def thanked(self) -> None:
        """The browser has been shown the last page."""
        self._thanked.set()

    def farewell(self) -> None:
        """Give a browser that brought the answer a moment to fetch the last page."""
        if self.query is not None:
            self._thanked.wait(FAREWELL_SECONDS)


@contextmanager
def listening(port: int, path: str, take: Callable[[Query], bool]) -> Iterator[Callback]:
    """A callback page at `path` on 127.0.0.1, for the time of the block.

    `take` says whether a query is the answer. Raises SetupError when the port is taken.
    """
    callback = Callback(path, take)
    try:
        server = _Server(("127.0.0.1", port), _Page)
    except OSError:
        raise SetupError(
            f"port {port} is taken by another program: end it, or use --code and paste the address"
        ) from None
    server.callback = callback
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield callback
        callback.farewell()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    callback: Callback


class _Page(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS
    server_version = "ml-connector"
    sys_version = ""

    def do_GET(self) -> None:
        callback, parts = self.server.callback, urlsplit(self.path)
        if len(self.path) > LONGEST_TARGET:
            self._say(414, "Too long.")
        elif parts.path == f"{callback.path}/done":
            self._say(200, _THANKS)
            callback.thanked()
        elif parts.path != callback.path:
            self._say(404, "There is nothing here.")
        elif callback.offer(parse_qs(parts.query, keep_blank_values=True)):
            # Intuit: an address with a code is answered by a redirect, so that it stays in no history (qbo-api 14).
            self._say(302, "", location=f"{callback.path}/done")
        else:
            self._say(400, _NOT_OURS)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Any other method, or a request that is none: a plain page that repeats nothing of it."""
        self.close_connection = True
        self._say(405 if code == 501 else code, "Not here.")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the address has the code in it."""

    def _say(self, status: int, words: str, *, location: str = "") -> None:
        body = words.encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-cache, no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
            *((("Location", location),) if location else ()),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
