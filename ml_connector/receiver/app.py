"""The webhook endpoint: POST /webhooks/qbo and GET /health, nothing else.

It checks the signature over the raw bytes before it parses anything, answers 200 only when every part is
safely on disk, and knows no secret but the verifier token. No payload reaches its log.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ml_connector.crashpoints import crashpoint
from ml_connector.qbo.webhooks import WebhookFormatError, parse_notification, signature_matches
from ml_connector.receiver.config import WatchedFile, read_realms, read_verifier_token
from ml_connector.receiver.inbox import UNKNOWN, Inbox, part_of, unreadable_part

LARGEST_BODY = 1024 * 1024  # bytes
BODY_SECONDS = 5.0
SMALL_BODY = 16 * 1024  # bytes; some fifty events
LARGE_AT_ONCE = 16  # bodies beyond that, so that memory stays bounded whatever strangers send
REFUSALS_LOGGED_A_MINUTE = 20

_log = structlog.get_logger(__name__)


class _BodyTooLarge(Exception):
    pass


class RefusalLog:
    """Says who was refused and why, but at most a fixed number of times a minute; the rest is counted."""

    def __init__(self, *, a_minute: int = REFUSALS_LOGGED_A_MINUTE) -> None:
        self._a_minute = a_minute
        self._minute = -1
        self._count = 0

    def refused(self, request: Request, *, status: int, reason: str) -> Response:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            if self._count > self._a_minute:
                _log.warning("refusals_not_logged", count=self._count - self._a_minute)
            self._minute, self._count = minute, 0
        self._count += 1
        if self._count <= self._a_minute:
            source = request.client.host if request.client else "unknown"
            _log.warning("webhook_refused", status=status, reason=reason, source=source)
        return _answer(status, {"error": reason})


def create_app(home: Path) -> Starlette:
    """The application of `home`. Raises ReceiverConfigError, or OSError when the inbox cannot be made."""
    inbox = Inbox(home)
    inbox.prepare()
    token = WatchedFile(home / "receiver" / "verifier_token", read_verifier_token)
    realms = WatchedFile(home / "receiver" / "realms.json", read_realms)
    refusals = RefusalLog()
    large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def webhook(request: Request) -> Response:
        try:
            raw = await _body(request, large)
        except _BodyTooLarge:
            return refusals.refused(request, status=413, reason="body too large")
        except TimeoutError:
            return refusals.refused(request, status=408, reason="body too slow")
        except ClientDisconnect:
            return refusals.refused(request, status=400, reason="sender went away")
        if not signature_matches(raw, request.headers.get("intuit-signature", ""), token.value()):
            return refusals.refused(request, status=401, reason="signature does not match")
        try:
            return await run_in_threadpool(_store, inbox, raw, dict(realms.value()))
        except OSError as error:
            _log.error("inbox_refused", reason=error.strerror)
            return _answer(503, {"error": "cannot store"})

    async def health(_: Request) -> Response:
        usable = await run_in_threadpool(inbox.is_writable)
        return _answer(200, {"status": "ok"}) if usable else _answer(503, {"status": "inbox not writable"})

    routes = [
        Route("/webhooks/qbo", webhook, methods=["POST"]),
        Route("/health", health, methods=["GET"]),
    ]
    return Starlette(routes=routes)


async def _body(request: Request, large: asyncio.Semaphore) -> bytes:
    """The raw body within the cap and the deadline; what is not small waits for its turn."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > LARGEST_BODY:
        raise _BodyTooLarge
    body = bytearray()
    async with asyncio.timeout(BODY_SECONDS), AsyncExitStack() as turn:
        async for chunk in request.stream():
            if len(body) <= SMALL_BODY < len(body) + len(chunk):
                await turn.enter_async_context(large)
            body += chunk
            if len(body) > LARGEST_BODY:
                raise _BodyTooLarge
    return bytes(body)


def _store(inbox: Inbox, raw: bytes, realms: dict[str, str]) -> Response:
    now = datetime.now(UTC)
    crashpoint("K1")
    try:
        parts = [part_of(realms.get(realm.realm_id, UNKNOWN), realm) for realm in parse_notification(raw)]
    except WebhookFormatError as error:
        _log.error("webhook_form_unknown", reason=str(error), size=len(raw))
        parts = [unreadable_part(raw, str(error))]
    for part in parts:
        written = inbox.add(part, at=now)
        _log.info(
            "webhook_stored" if written else "webhook_repeated", connection=part.connection, part=part.digest
        )
    crashpoint("K2")
    return _answer(200, {"parts": len(parts)})


def _answer(status: int, body: dict[str, object]) -> Response:
    return JSONResponse(body, status_code=status, headers={"cache-control": "no-cache, no-store"})
