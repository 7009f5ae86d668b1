"""Doubles for what a session is handed in: a clock that does not wait, tokens, a limiter that writes down."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ml_connector.transport.ports import Clock, Dialect
from ml_connector.transport.retry import Fault
from ml_connector.transport.session import Bounds, VendorSession
from ml_connector.transport.wire import Timeouts

START = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
SHORT = Timeouts(connect=2.0, read=2.0, total=2.0)


@dataclass
class FakeTime:
    """Time that passes only in `sleep`."""

    passed: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    @property
    def clock(self) -> Clock:
        return Clock(now=self.now, monotonic=lambda: self.passed, sleep=self.sleep)


@dataclass
class Tokens:
    """A token source that counts its renewals."""

    token: str = "token-0"
    renewals: int = 0
    gone: list[str] = field(default_factory=list)

    def current(self) -> str:
        return self.token

    def renewed(self, stale: str) -> str:
        assert stale == self.token
        self.renewals += 1
        self.token = f"token-{self.renewals}"
        return self.token

    def lost(self, token: str) -> None:
        self.gone.append(token)


@dataclass
class NotedLimiter:
    """A limiter that lets calls through after the given waits, and notes pauses."""

    waits: Sequence[float] = ()
    pauses: list[float] = field(default_factory=list)
    asked: int = 0

    def acquire(self, account: str, route: str = "") -> float:
        self.asked += 1
        return self.waits[self.asked - 1] if self.asked <= len(self.waits) else 0.0

    def pause(self, account: str, seconds: float) -> None:
        self.pauses.append(seconds)


def no_fault(status: int, body: Any) -> Fault | None:
    return None


PLAIN = Dialect("procore", "x-request-id", throttle_pause=10.0, read_fault=no_fault)


def session(
    origin: str,
    time: FakeTime,
    *,
    dialect: Dialect = PLAIN,
    limiter: NotedLimiter | None = None,
    tokens: Tokens | None = None,
    bounds: Bounds = Bounds(SHORT, patience=600.0, body=1_000_000),  # noqa: B008 frozen
) -> VendorSession:
    """A session with doubles."""
    return VendorSession(
        dialect,
        origin,
        account="procore:1",
        limiter=limiter,
        tokens=tokens,
        bounds=bounds,
        clock=time.clock,
    )
