"""What schedules and sensors ask of Postgres: short questions, no vendor call. Imported only inside a tick."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache

from sqlalchemy import Engine, select

from ml_connector.settings import DATABASE_VARIABLE, Connection
from ml_connector.store import breaker, overview, sheets, windows
from ml_connector.store.awaited import awaited
from ml_connector.store.database import open_engine
from ml_connector.store.grants import standings
from ml_connector.store.sets import one_of
from ml_connector.store.tables import audit, worker
from ml_connector.store.vault import State, System

DAYS_A_RUN = 31
FIRST_PAUSE = timedelta(seconds=60)
LONGEST_PAUSE = timedelta(hours=1)


@cache
def _engine(url: str) -> Engine:
    return open_engine(url)


def engine() -> Engine:
    """The engine of this process's ticks."""
    return _engine(os.environ[DATABASE_VARIABLE])


def out_of_reach(connection: Connection) -> dict[System, str]:
    """Each system that cannot be called, with the sentence why: a person must connect it, or it does not answer.

    The run that found it so has failed and said so. Until that changes another run would only say the same.
    """
    with engine().connect() as db:
        found = standings(db, connection.name)
    now = datetime.now(UTC)
    away = {outage.system: outage.sentence(connection.zone) for outage in outages(connection)}
    lost = {grant.system: grant.sentence(now) for grant in found if grant.state is not State.CONNECTED}
    return away | lost


def outages(connection: Connection) -> Sequence[breaker.Outage]:
    """The vendors of a connection that do not answer."""
    with engine().connect() as db:
        return breaker.outages(db, connection.name)


def waits_for_procore(connection: str) -> bool:
    """Whether a held record could be freed by a change in Procore that a look would find."""
    with engine().connect() as db:
        return bool(awaited(db, connection))


def published_hash(connection: str) -> Callable[[str], str | None]:
    """What gives the hash of the newest version of a sheet, None before the first."""

    def newest(sheet: str) -> str | None:
        with engine().connect() as db:
            found = sheets.newest(db, connection, sheet)
        return None if found is None else sheets.hash_of(found.content)

    return newest


def runs_in_the_trail(run_ids: Collection[str]) -> set[str]:
    """Those of the runs that the audit trail of any connection speaks of."""
    with engine().connect() as db:
        return set(db.scalars(select(audit.c.run_id).distinct().where(one_of(audit.c.run_id, run_ids))))


def pause(attempts: int) -> timedelta:
    """How long a window is left alone after it was asked for, in case the run dies: doubling up to an hour."""
    doubled: timedelta = FIRST_PAUSE * 2 ** min(attempts, 10)
    return min(doubled, LONGEST_PAUSE)


def take_ready(connection: str, *, busy: frozenset[date], today: date) -> list[tuple[date, date]]:
    """Ranges of days to ask runs for, oldest first; each day taken is held back in case its run dies.

    Days in `busy` are worked on by a run already; marks that come while it works stay and are taken later.
    """
    now = datetime.now(UTC)
    with engine().begin() as db:
        ready = [
            window
            for window in windows.dirty(db, connection)
            if window.day not in busy
            and window.day <= today
            and (window.not_before is None or window.not_before <= now)
        ]
        for window in ready:
            windows.begin(db, connection, {window.day: window.mark}, not_before=now + pause(window.attempts))
        red = {entry.day for entry in overview.holds_of(db, connection, failing=True)}
    return list(ranges([window.day for window in ready], apart=red))


def ranges(days: Iterable[date], *, apart: Collection[date] = ()) -> Iterator[tuple[date, date]]:
    """Days grouped into spans of at most a month.

    Days in between that are clean cost nothing; one of `apart` would fail the run of the others, so it parts them.
    """
    first: date | None = None
    last: date | None = None
    for day in sorted(days):
        if first is None or last is None:
            first = day
        elif (day - first).days >= DAYS_A_RUN or any(last < other < day for other in apart):
            yield first, last
            first = day
        last = day
    if first is not None and last is not None:
        yield first, last


def days_in(span: str) -> list[date]:
    """The days of a run's tag."""
    first, _, last = span.partition("...")
    start, end = date.fromisoformat(first), date.fromisoformat(last or first)
    return [start + timedelta(days=offset) for offset in range((end - start).days + 1)]


def busy_days(connection: str, in_flight: Mapping[str, str]) -> frozenset[date]:
    """Days of a connection that runs are asked for or work on; `in_flight` is their run ids with their tags of days.

    A run that a person started has no such tag: its days are known once its worker has signed in.
    """
    with engine().connect() as db:
        signed = db.scalars(
            select(worker.c.days).where(worker.c.connection == connection, worker.c.run_id.in_(in_flight))
        ).all()
    tagged = {day for span in in_flight.values() if span for day in days_in(span)}
    return frozenset(tagged | {date.fromisoformat(day) for days in signed for day in days})
