"""VendorSession: the one way out to a vendor.

It puts an exchange, the retry table, waiting and the exceptions of `errors.py` together. Paths and bodies
belong to the vendors' clients; limiter, tokens and clock are handed in.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypedDict, TypeVar, assert_never

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    wait_exception,
    wait_random_exponential,
)

from ml_connector.errors import (
    OutcomeUnknown,
    PermanentError,
    ReconnectNeeded,
    SetupError,
    TransientError,
    VendorAway,
)
from ml_connector.transport import strict_json
from ml_connector.transport.call import Again, Answer, Call, CallRefused
from ml_connector.transport.hosts import checked_origin, path_within
from ml_connector.transport.ports import SYSTEM_CLOCK, Breaker, Clock, Dialect, Limiter, TokenSource
from ml_connector.transport.retry import (
    Fault,
    Kind,
    Verdict,
    decide,
    limit_reset,
    retry_after,
    server_date,
)
from ml_connector.transport.wire import Reply, Timeouts, Trouble, Wire, WireError

T = TypeVar("T")

PROBE_PAUSE = 60.0  # after an outage outlived our patience: one probe a minute
LONGEST_JITTER = 300
_KEPT_TEXT = 65_536  # of a body that goes into the audit trail
_log = structlog.get_logger("ml_connector.transport")


@dataclass(frozen=True)
class Bounds:
    """What one call may cost.

    `patience` bounds the seconds that attempts and waits may take before TransientError says when to ask
    again; an attempt that has begun may last `timeouts.total` longer. `body` is in decoded bytes. With `insist`
    calls go even where none is sent for an outage: a person asks.
    """

    timeouts: Timeouts = Timeouts()  # noqa: RUF009 frozen
    patience: float = 120.0
    body: int = 64 * 1024 * 1024
    insist: bool = False


class _Marks(TypedDict):
    status: int | None
    request_id: str
    body: str


@dataclass(frozen=True)
class _Outcome:
    """What an exchange brought: a status, and the trouble when it gave no usable answer."""

    status: int | None = None
    trouble: Trouble | None = None
    detail: str = ""
    body: Any = None
    text: str = ""  # of everything but a success
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None


@dataclass
class _Sending:
    """One call on its way through all attempts."""

    call: Call
    give_up: float
    token_renewed: bool = False
    unanswered: bool = False


class VendorSession:
    """Calls to one vendor for one account, by one thread. `calls` counts every attempt by route."""

    def __init__(
        self,
        dialect: Dialect,
        origin: str,
        *,
        account: str,
        limiter: Limiter | None = None,
        breaker: Breaker | None = None,
        tokens: TokenSource | None = None,
        headers: Mapping[str, str] | None = None,
        bounds: Bounds = Bounds(),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.vendor = dialect.name
        self.calls: Counter[str] = Counter()
        self._dialect = dialect
        self._origin = checked_origin(origin)
        if path_within(self._origin, origin) != "/":
            raise SetupError(f"{origin!r} must end with its host")
        self._account = account
        self._limiter = limiter
        self._breaker = breaker
        self._insist = bounds.insist
        self._tokens = tokens
        self._headers = {"Accept": "application/json", "Accept-Encoding": "gzip", **(headers or {})}
        self._patience = bounds.patience
        self._clock = clock
        self._wire = Wire(bounds.timeouts, max_body=bounds.body)
        self.skew: timedelta | None = (
            None  # how far the vendor's `Date` is ahead of our clock, at the newest answer
        )

    def send(self, call: Call) -> Answer:
        """The answer of a success.

        Raises CallRefused, ReconnectNeeded, TransientError (nothing was changed), OutcomeUnknown (a
        write that may have happened) or VendorAway (an outage: nothing was sent).
        """
        sending = _Sending(call, give_up=self._clock.monotonic() + self._patience)
        return self.patiently(lambda: self._attempt(sending))

    def patiently(self, step: Callable[[], T]) -> T:
        """What `step` returns; while it raises Again it is run again, after full jitter and the asked wait.

        Raises TransientError when patience ends.
        """
        give_up = self._clock.monotonic() + self._patience
        retrying = Retrying(
            retry=retry_if_exception_type(Again),
            wait=wait_exception(_asked_wait) + wait_random_exponential(multiplier=1, max=LONGEST_JITTER),
            stop=lambda state: self._clock.monotonic() + state.upcoming_sleep >= give_up,
            sleep=self._clock.sleep,
            retry_error_callback=self._out_of_patience,
        )
        return retrying(step)

    def close(self) -> None:
        """Give the sockets back."""
        self._wire.close()

    def _attempt(self, sending: _Sending) -> Answer:
        token = None if self._tokens is None else self._tokens.current()
        outcome = self._exchange(sending, token)
        verdict = self._verdict(sending.call, outcome)
        if verdict is Verdict.REAUTH and token is not None and not sending.token_renewed:
            sending.token_renewed = True
            token = self._renewed(token)
            outcome = self._exchange(sending, token)
            verdict = self._verdict(sending.call, outcome)
        if verdict is Verdict.RECONNECT and self._tokens is not None and token is not None:
            self._tokens.lost(token)
        return self._follow(verdict, sending.call, outcome)

    def _renewed(self, stale: str) -> str | None:
        return None if self._tokens is None else self._tokens.renewed(stale)

    def _follow(self, verdict: Verdict, call: Call, outcome: _Outcome) -> Answer:
        marks = self._marks(outcome)
        fault = outcome.fault or Fault("", "")
        what = f"{call.route}: {outcome.detail or verdict}" + (f", code {fault.code}" if fault.code else "")
        match verdict:
            case Verdict.OK:
                return Answer(outcome.status or 0, outcome.body, outcome.headers, marks["request_id"])
            case Verdict.RETRY:
                raise Again(what, **marks)
            case Verdict.RATE:
                raise Again(what, wait=self._throttled(outcome), **marks)
            case Verdict.RECONNECT:
                raise ReconnectNeeded(what, vendor=self.vendor, **marks)
            case Verdict.REFUSED | Verdict.REAUTH:
                raise CallRefused(what, vendor=self.vendor, fault=fault, **marks)
            case Verdict.UNKNOWN:
                raise OutcomeUnknown(what, vendor=self.vendor, **marks)
            case _:
                assert_never(verdict)

    def _exchange(self, sending: _Sending, token: str | None) -> _Outcome:
        call = sending.call
        url = self._origin + self._own_path(call.path)
        headers = {**self._headers, **call.headers}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if call.content_type:
            headers["Content-Type"] = call.content_type
        self._take_slot(call, sending.give_up)
        self._must_not_be_away()
        self.calls[call.route] += 1
        try:
            reply = self._wire.exchange(
                call.method, url, headers=headers, params=list(call.params), content=call.content
            )
        except WireError as error:
            if error.trouble is not Trouble.TOO_LARGE:
                self._unanswered(sending, str(error))
            return _Outcome(trouble=error.trouble, detail=str(error))
        if reply.status >= 500:
            self._unanswered(sending, f"HTTP {reply.status}")
        elif self._breaker is not None:
            self._breaker.answered()
        self._heed_limit(reply.headers)
        date = server_date(reply.headers)
        self.skew = None if date is None else date - self._clock.now()
        return self._understood(call, reply)

    def _understood(self, call: Call, reply: Reply) -> _Outcome:
        success = 200 <= reply.status < 300
        body: Any = None
        broken = ""
        if reply.body.strip():
            try:
                body = strict_json.loads(reply.body)
            except ValueError as error:
                body = reply.body[:_KEPT_TEXT].decode("utf-8", "replace")
                broken = f"broken answer ({error!s:.80})" if success else ""
        elif success and not call.bodyless and (reply.status != 204 or call.kind is Kind.READ):
            broken = "broken answer (empty)"
        return _Outcome(
            status=reply.status,
            trouble=Trouble.BROKEN if broken else None,
            detail=broken,
            body=body,
            text="" if success and not broken else reply.body[:_KEPT_TEXT].decode("utf-8", "replace"),
            headers=reply.headers,
            fault=None if broken else self._dialect.read_fault(reply.status, body),
        )

    def _verdict(self, call: Call, outcome: _Outcome) -> Verdict:
        verdict = decide(
            self.vendor,
            call.kind,
            outcome.trouble or outcome.status or 0,
            fault=outcome.fault,
            hinted=retry_after(outcome.headers, now=self._clock.now()) is not None,
        )
        tell = _log.debug if verdict is Verdict.OK else _log.warning
        tell(
            "vendor call",
            vendor=self.vendor,
            route=call.route,
            status=outcome.status,
            trouble=outcome.trouble,
            code=None if outcome.fault is None else outcome.fault.code,
            verdict=str(verdict),
            request_id=self._marks(outcome)["request_id"],
        )
        return verdict

    def _marks(self, outcome: _Outcome) -> _Marks:
        return {
            "status": outcome.status,
            "request_id": outcome.headers.get(self._dialect.request_id_header, ""),
            "body": outcome.text,
        }

    def _must_not_be_away(self) -> None:
        wait = 0.0 if self._breaker is None else self._breaker.wait()
        if wait > 0 and not self._insist:
            raise VendorAway(
                "nobody answers; nothing is sent but one call once in a while",
                vendor=self.vendor,
                not_before=self._later(wait),
            )

    def _unanswered(self, sending: _Sending, reason: str) -> None:
        if self._breaker is not None:
            away = self._breaker.silent(reason, first=not sending.unanswered)
            _log.warning("vendor does not answer", vendor=self.vendor, reason=reason, away=away)
        sending.unanswered = True

    def _take_slot(self, call: Call, give_up: float) -> None:
        while self._limiter is not None and (wait := self._limiter.acquire(self._account, call.route)) > 0:
            if self._clock.monotonic() + wait >= give_up:
                raise TransientError(
                    "the limit of calls is used up", vendor=self.vendor, not_before=self._later(wait)
                )
            self._clock.sleep(wait)

    def _throttled(self, outcome: _Outcome) -> float:
        """The wait that a throttled answer asks for, told to all processes."""
        now = self._clock.now()
        wait = retry_after(outcome.headers, now=now) or 0.0
        if not wait and outcome.status == 429:
            wait = limit_reset(outcome.headers, now=now) or 0.0
        wait = wait or self._dialect.throttle_pause
        self._pause(wait)
        return wait

    def _heed_limit(self, headers: Mapping[str, str]) -> None:
        if headers.get("X-Rate-Limit-Remaining") == "0":
            self._pause(limit_reset(headers, now=self._clock.now()) or 0.0)

    def _pause(self, seconds: float) -> None:
        if self._limiter is not None and seconds > 0:
            self._limiter.pause(self._account, seconds)

    def _out_of_patience(self, state: RetryCallState) -> NoReturn:
        again = None if state.outcome is None else state.outcome.exception()
        if not isinstance(again, Again):
            raise TypeError("patience ended without a reason")
        raise TransientError(
            str(again),
            vendor=self.vendor,
            status=again.status,
            request_id=again.request_id,
            body=again.body,
            not_before=self._later(again.wait or max(state.upcoming_sleep, PROBE_PAUSE)),
        ) from again

    def _later(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    def _own_path(self, path: str) -> str:
        if path.startswith("/"):
            return path
        own = path_within(self._origin, path)
        if own is None:
            raise PermanentError("an address of another host was refused", vendor=self.vendor)
        return own


def _asked_wait(error: BaseException) -> float:
    return error.wait if isinstance(error, Again) else 0.0
