"""The local page that Intuit sends the browser back to: one answer, for one consent, on the loopback interface.

The browser that brought the answer, known by a cookie, is then shown whose company it is and asked to confirm it.
"""

import hmac
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from ml_connector.cli import callback_pages
from ml_connector.connecting.consent import LIFE, Query
from ml_connector.errors import MlConnectorError, SetupError

REQUEST_SECONDS = 10.0
FAREWELL_SECONDS = 3.0
RESULT_SECONDS = 60.0  # the exchange of the code, and the first call with it
LONGEST_TARGET = 8_192
LONGEST_FORM = 1_024
COOKIE = "ml_connector_consent"
_THANKS = "Thank you: this page can be closed. The terminal says how it went on."
_NOT_OURS = (
    "This is not the answer that is waited for: it belongs to another request, came twice, or too late."
)


@dataclass(frozen=True)
class Question:
    """What is asked: is this the right company for the connection?"""

    connection: str
    name: str
    realm: str


class Callback:
    """What came in, and what its browser is shown."""

    def __init__(self, path: str, take: Callable[[Query], bool]) -> None:
        self.path = path
        self.take = take
        self.query: Query | None = None
        self.browser, self.form = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.question: Question | None = None
        self.sentence = ""
        self._answer: bool | None = None
        self._came, self._known = threading.Event(), threading.Event()
        self._answered, self._told, self._thanked = threading.Event(), threading.Event(), threading.Event()

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

    def confirmed(self, question: Question, *, seconds: float = LIFE) -> bool:
        """What the person answers in the browser; False when nothing is answered in time."""
        self.question = question
        self._known.set()
        self._answered.wait(seconds)
        return self._answer is True

    def answer(self, *, yes: bool) -> None:
        """The person's word; the first one stands."""
        if self.question is not None and not self._answered.is_set():
            self._answer = yes
            self._answered.set()

    def tell(self, sentence: str) -> None:
        """How it ended, for the browser."""
        if not self._told.is_set():
            self.sentence = sentence
            self._told.set()
            self._known.set()

    def next_page(self) -> str:
        """The page to show once something is known: the question, or how it ended."""
        self._known.wait(RESULT_SECONDS)
        if self.question is not None and not self._answered.is_set() and not self._told.is_set():
            return callback_pages.question(
                connection=self.question.connection,
                name=self.question.name,
                realm=self.question.realm,
                action=f"{self.path}/confirm",
                token=self.form,
            )
        return self.last_page()

    def last_page(self) -> str:
        """How it ended."""
        self._told.wait(RESULT_SECONDS)
        return callback_pages.result(self.sentence or "The terminal says how it went on.")

    def thanked(self) -> None:
        """The browser has been shown the last page."""
        self._thanked.set()

    def farewell(self) -> None:
        """Give a browser that brought the answer a moment to fetch the last page."""
        if self.query is not None:
            self._thanked.wait(FAREWELL_SECONDS)


@contextmanager
def listening(port: int, path: str, take: Callable[[Query], bool]) -> Iterator[Callback]:
    """A callback page at `path` on 127.0.0.1, for the time of the block; an error of ours is shown there, too.

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
        callback.tell("")
        callback.farewell()
    except MlConnectorError as error:
        callback.tell(f"Not connected: {error}")
        callback.farewell()
        raise
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
            self._done()
        elif parts.path != callback.path:
            self._say(404, "There is nothing here.")
        elif callback.offer(parse_qs(parts.query, keep_blank_values=True)):
            # Intuit: an address with a code is answered by a redirect, so that it stays in no history (qbo-api 14).
            self._say(302, "", location=f"{callback.path}/done", cookie=callback.browser)
        else:
            self._say(400, _NOT_OURS)

    def do_POST(self) -> None:
        callback, length = self.server.callback, self.headers.get("Content-Length", "")
        if self.path != f"{callback.path}/confirm":
            self.send_error(405)
            return
        if not length.isdecimal() or int(length) > LONGEST_FORM:
            self._say(413, "Too long.")
            return
        form = parse_qs(self.rfile.read(int(length)).decode("ascii", "replace"))
        token, said = form.get("token", [""])[0], form.get("answer", [""])[0]
        if not self._is_the_browser() or not hmac.compare_digest(token.encode(), callback.form.encode()):
            self._say(400, _NOT_OURS)
            return
        callback.answer(yes=said == "yes")
        self._show(callback.last_page())
        callback.thanked()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Any other method, or a request that is none: a plain page that repeats nothing of it."""
        self.close_connection = True
        self._say(405 if code == 501 else code, "Not here.")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the address has the code in it."""

    def _done(self) -> None:
        callback = self.server.callback
        if not self._is_the_browser():
            self._say(200, _THANKS)
            callback.thanked()
            return
        self._show(callback.next_page())
        if callback.question is None or callback.sentence:
            callback.thanked()

    def _is_the_browser(self) -> bool:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(
            found.value.encode(), self.server.callback.browser.encode()
        )

    def _show(self, page: str) -> None:
        self._say(200, page, kind="text/html", policy=callback_pages.POLICY)

    def _say(
        self,
        status: int,
        words: str,
        *,
        location: str = "",
        cookie: str = "",
        kind: str = "text/plain",
        policy: str = "default-src 'none'; frame-ancestors 'none'",
    ) -> None:
        body = words.encode()
        self.send_response(status)
        # Lax: the browser comes from Intuit's page, and brings it to this page; another site's form is sent without.
        kept = f"{COOKIE}={cookie}; Path={self.server.callback.path}; Max-Age=600; HttpOnly; SameSite=Lax"
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-cache, no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", policy),
            *((("Location", location),) if location else ()),
            *((("Set-Cookie", kept),) if cookie else ()),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
