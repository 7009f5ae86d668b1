"""What a session is handed in: a limiter, tokens, a clock, and the dialect of its vendor."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ml_connector.transport.retry import Fault


class Limiter(Protocol):
    """Counts the calls of an account over all processes."""

    def acquire(self, account: str, route: str = "") -> float:
        """0.0: the call may go now and is counted; else the seconds until asking again makes sense.

        `route` is "METHOD /path", for limits of some calls only.
        """

    def pause(self, account: str, seconds: float) -> None:
        """No call of the account for so long, in no process; never shortens an earlier pause."""


class Breaker(Protocol):
    """Remembers over all processes whether the vendor answers."""

    def wait(self) -> float:
        """0.0: a call may go now; else the seconds until one may find out whether the vendor is back."""

    def answered(self) -> None:
        """The vendor answered, whatever it said."""

    def silent(self, reason: str, *, first: bool) -> bool:
        """Nobody answered; `first` when it is the first such attempt of its call. True when nothing is sent any more."""


class TokenSource(Protocol):
    """Access tokens. `current` and `renewed` raise ReconnectNeeded or TransientError."""

    def current(self) -> str:
        """A token that is good for some minutes."""

    def renewed(self, stale: str) -> str:
        """Another token than `stale`, which the vendor refused."""

    def lost(self, token: str) -> None:
        """The vendor says that the grant behind `token` is gone."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """Time, so that tests need not wait."""

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


SYSTEM_CLOCK = Clock()


@dataclass(frozen=True)
class Dialect:
    """What a session must know of a vendor.

    `throttle_pause` is in seconds, for a 429 that does not say when to come back. `read_fault` finds the
    vendor's fault in a body that came under a status: parsed JSON, or text when it is none.
    """

    name: str
    request_id_header: str
    throttle_pause: float
    read_fault: Callable[[int, Any], Fault | None]
