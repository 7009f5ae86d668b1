"""How many calls an account may make, counted over all processes: one GCRA row for each limit of an account.

A row holds only the time at which the account would be idle again, so a killed process leaves nothing
behind. The clock is the database's, so that hosts with different clocks agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, Interval, bindparam, case, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from ml_connector.store.tables import limiter

_NOW = func.clock_timestamp()
_STEP, _SLACK = bindparam("step", type_=Interval), bindparam("slack", type_=Interval)
_TAKE = (
    insert(limiter)
    .values(account=bindparam("of"), name=bindparam("limit"), next_free=_NOW + _STEP)
    .on_conflict_do_update(
        index_elements=[limiter.c.account, limiter.c.name],
        set_={"next_free": func.greatest(limiter.c.next_free, _NOW) + _STEP},
        where=(limiter.c.next_free - _SLACK <= _NOW)
        & or_(limiter.c.paused_until.is_(None), limiter.c.paused_until <= _NOW),
    )
    .returning(limiter.c.name)
)


@dataclass(frozen=True)
class Limit:
    """At most `count` calls in any window of `period` seconds, of which `burst` at once.

    A window holds at most the burst and what the steady rate adds to it; the rate is what `burst` leaves
    of `count`.
    """

    name: str
    count: int
    period: float
    burst: int
    route: str = ""  # how the route of a call ends that it counts; empty: every call

    def __post_init__(self) -> None:
        if not 0 < self.burst < self.count and not self.burst == self.count == 1:
            raise ValueError(f"limit {self.name}: the burst must be at least 1 and below the count")

    @property
    def step(self) -> timedelta:
        """The time that one call costs."""
        return timedelta(seconds=self.period / max(self.count - self.burst, 1))

    @property
    def slack(self) -> timedelta:
        """How far ahead of the steady rate a burst may run."""
        return self.step * (self.burst - 1)


class PostgresLimiter:
    """The `Limiter` of the transport for the accounts that it is given."""

    def __init__(self, engine: Engine, limits: Mapping[str, Sequence[Limit]]) -> None:
        self._engine = engine
        self._limits = {
            account: sorted(several, key=lambda limit: limit.name) for account, several in limits.items()
        }

    def acquire(self, account: str, route: str = "") -> float:
        """0.0: the call may go now and is counted; else the seconds until asking again makes sense.

        All limits of the account for such a route take the call or none does. Raises KeyError for an account
        without limits.
        """
        counting = [limit for limit in self._limits[account] if route.endswith(limit.route)]
        with self._engine.connect() as connection:
            for limit in counting:
                if not _take(connection, account, limit):
                    wait = _wait(connection, account, limit)
                    connection.rollback()
                    return wait
            connection.commit()
        return 0.0

    def pause(self, account: str, seconds: float) -> None:
        """No call of the account for so long, in no process; an earlier, longer pause stays."""
        until = func.clock_timestamp() + timedelta(seconds=seconds)
        with self._engine.begin() as connection:
            for limit in self._limits[account]:
                row = insert(limiter).values(
                    account=account, name=limit.name, next_free=func.clock_timestamp(), paused_until=until
                )
                connection.execute(
                    row.on_conflict_do_update(
                        index_elements=[limiter.c.account, limiter.c.name],
                        set_={"paused_until": func.greatest(limiter.c.paused_until, until)},
                    )
                )


def _take(connection: Connection, account: str, limit: Limit) -> bool:
    asked = {"of": account, "limit": limit.name, "step": limit.step, "slack": limit.slack}
    return connection.execute(_TAKE, asked).first() is not None


def _wait(connection: Connection, account: str, limit: Limit) -> float:
    free = func.greatest(limiter.c.next_free - limit.slack, limiter.c.paused_until)
    seconds = connection.execute(
        select(func.extract("epoch", free - func.clock_timestamp())).where(
            limiter.c.account == account, limiter.c.name == limit.name
        )
    ).scalar_one()
    return max(float(seconds), 0.001)  # the slot may have come free since; asking again costs a millisecond


@dataclass(frozen=True)
class Use:
    """How far an account is into one of its limits: how much of the burst is used up, and until when it is paused."""

    ahead: timedelta  # of the steady rate; as much as the slack of the limit when nothing is left
    paused_until: datetime | None


def use_of(db: Connection, account: str) -> dict[str, Use]:
    """The use of every limit of the account that was called under, by name."""
    ahead = func.greatest(limiter.c.next_free - _NOW, timedelta(0))
    paused = case((limiter.c.paused_until > _NOW, limiter.c.paused_until))
    rows = db.execute(
        select(limiter.c.name, ahead.label("ahead"), paused.label("paused")).where(
            limiter.c.account == account
        )
    )
    return {row.name: Use(row.ahead, row.paused) for row in rows}
