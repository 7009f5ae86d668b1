"""Which vendor does not answer, known to all processes: one row for each connection and vendor in trouble.

When enough calls in a row found nobody, nothing is sent any more; one call finds out whether the vendor is back, at
pauses that double with the age of the outage. The clock is the database's, as the limiter's is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from ml_connector.store.grants import PRODUCTS
from ml_connector.store.tables import breaker
from ml_connector.store.vault import System

ATTEMPTS = 5  # in a row without an answer …
CALLS = 3  # … of so many calls: one record that the vendor stumbles over is no outage
PROBE_EVERY = timedelta(seconds=60)  # at first, then as long again as the outage has lasted …
LONGEST_PAUSE = timedelta(minutes=15)  # … up to this
PROBE_LASTS = timedelta(seconds=120)  # longer than any call: a second one only when the first has died


@dataclass(frozen=True)
class Outage:
    """A vendor that does not answer: since when, what was seen last, and when it is asked again (UTC)."""

    system: System
    since: datetime
    asked_again_at: datetime
    reason: str

    def sentence(self, zone: tzinfo) -> str:
        """What is away since when, for people whose clocks are in `zone`."""
        since, again = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (self.since, self.asked_again_at))
        return (
            f"{PRODUCTS[self.system]} does not answer since {since} ({self.reason}): nothing is sent to it and work waits; "
            f"it is asked again at {again}, and everything goes on by itself once it answers"
        )


class PostgresBreaker:
    """The `Breaker` of the transport for one connection and vendor; for one thread."""

    def __init__(self, engine: Engine, connection: str, system: str) -> None:
        self._engine = engine
        self._connection = connection
        self._system = system
        self._mine = and_(breaker.c.connection == connection, breaker.c.system == system)
        self._troubled = False  # whether there is a row that an answer has to remove

    def wait(self) -> float:
        """0.0: a call may go now; else the seconds until one may find out whether the vendor is back."""
        now = func.clock_timestamp()
        left = func.extract("epoch", breaker.c.open_until - now)
        with self._engine.begin() as db:
            row = db.execute(select(left.label("left")).where(self._mine)).one_or_none()
            self._troubled = row is not None
            if row is None or row.left is None:
                return 0.0
            probe = (
                update(breaker)
                .where(self._mine, breaker.c.open_until <= now)
                .values(open_until=now + PROBE_LASTS)
                .returning(breaker.c.system)
            )
            if row.left <= 0 and db.execute(probe).first() is not None:
                return 0.0
            return max(float(row.left), 1.0)

    def answered(self) -> None:
        """The vendor answered, whatever it said: the way is open again."""
        if self._troubled:
            with self._engine.begin() as db:
                db.execute(delete(breaker).where(self._mine))
            self._troubled = False

    def silent(self, reason: str, *, first: bool) -> bool:
        """Nobody answered; `first` when it is the first such attempt of its call. True when nothing is sent any more."""
        now = func.clock_timestamp()
        row = insert(breaker).values(
            connection=self._connection,
            system=self._system,
            attempts=1,
            calls=1,
            since=now,
            reason=reason,
        )
        attempts, calls = breaker.c.attempts + 1, breaker.c.calls + int(first)
        enough = and_(attempts >= ATTEMPTS, calls >= CALLS)
        noted = row.on_conflict_do_update(
            index_elements=["connection", "system"],
            set_={
                "attempts": attempts,
                "calls": calls,
                "reason": reason,
                "open_until": case((enough, now + _pause())),
            },
        ).returning(breaker.c.open_until)
        with self._engine.begin() as db:
            self._troubled = True
            return db.execute(noted).scalar_one() is not None


def outages(db: Connection, connection: str) -> Sequence[Outage]:
    """The vendors of a connection to which nothing is sent for now."""
    rows = db.execute(
        select(breaker)
        .where(breaker.c.connection == connection, breaker.c.open_until.is_not(None))
        .order_by(breaker.c.system)
    )
    return [Outage(row.system, row.since, row.open_until, row.reason) for row in rows]


def give_up(db: Connection, connection: str, system: str, *, reason: str) -> None:
    """A whole run ended because nobody answered: that is an outage, whatever the number of its calls.

    `reason` is what the run saw; "" when it may have been something else than silence, and only silence that the
    calls themselves have noted makes an outage.
    """
    now = func.clock_timestamp()
    mine = and_(breaker.c.connection == connection, breaker.c.system == system)
    over = or_(breaker.c.open_until.is_(None), breaker.c.open_until <= now)
    if reason:
        row = insert(breaker).values(
            connection=connection, system=system, attempts=1, calls=1, since=now, reason=reason
        )
        db.execute(row.on_conflict_do_nothing())
    db.execute(update(breaker).where(mine, over).values(open_until=now + _pause()))


def end(db: Connection, connection: str, system: str) -> None:
    """The vendor answers again."""
    db.execute(delete(breaker).where(breaker.c.connection == connection, breaker.c.system == system))


def _pause() -> ColumnElement[timedelta]:
    """How long the vendor of a row is left alone: as long again as it has been silent, within bounds."""
    age = func.clock_timestamp() - breaker.c.since
    return func.greatest(PROBE_EVERY, func.least(LONGEST_PAUSE, age))
