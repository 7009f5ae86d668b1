"""A clock that jumps over every wait: an hour of waiting for limits takes as long as its work.

Sandboxes move their own clocks; what waits by the database's clock (limits, outages, days, unclear writes) moves back.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, update

from ml_connector.store.tables import breaker, dirty_window, ledger, limiter
from ml_connector.transport.ports import Clock


class FastClock:
    """Real time and what was jumped over, from a head start of `passed` seconds (negative: from the past).

    `move` tells the sandboxes their shift in seconds.
    """

    def __init__(self, engine: Engine, move: Callable[[float], None], *, passed: float = 0.0) -> None:
        self._engine = engine
        self._move = move
        self._jumps: list[tuple[datetime, float]] = []
        self.passed = passed
        self.clock = Clock(now=self.now, monotonic=lambda: time.monotonic() + self.passed, sleep=self.jump)

    def now(self) -> datetime:
        """The present of this clock, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.passed)

    def jump(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self.passed += seconds
        self._jumps.append((datetime.now(UTC), seconds))
        back = timedelta(seconds=seconds)
        with self._engine.begin() as db:
            earlier = {"next_free": limiter.c.next_free - back, "paused_until": limiter.c.paused_until - back}
            db.execute(update(limiter).values(**earlier))
            db.execute(
                update(breaker).values(open_until=breaker.c.open_until - back, since=breaker.c.since - back)
            )
            for waiting in (dirty_window, ledger):
                db.execute(update(waiting).values(not_before=waiting.c.not_before - back))
        self._move(self.passed)

    def of(self, real: datetime) -> datetime:
        """What this clock said at a real instant."""
        return real + timedelta(seconds=sum(seconds for at, seconds in self._jumps if at <= real))
