"""Dirty windows: days of a connection whose newest versions are not worked off yet.

Landing marks a day in the transaction that changes it; posting clears the mark that it saw. A mark that rose
meanwhile stays.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, Sequence, literal, select, tuple_, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects.postgresql import insert as upsert

from ml_connector.holds import Reason
from ml_connector.store.sets import one_of, table_of
from ml_connector.store.tables import SCHEMA, dirty_window, hold, record

marks = Sequence("dirty_mark", schema=SCHEMA)


@dataclass(frozen=True)
class DirtyWindow:
    """A day with work left. `not_before` holds it back, after an outage or while an unclear write settles."""

    day: date
    mark: int
    not_before: datetime | None
    attempts: int
    reason: str


def mark(db: Connection, connection: str, days: Collection[date], *, reason: str) -> None:
    """Mark days as having work to do now."""
    if not days:
        return
    each = table_of(day=(dirty_window.c.day, sorted(days)))
    statement = upsert(dirty_window).from_select(
        ["connection", "day", "mark", "reason"],
        select(literal(connection), each.c.day, marks.next_value(), literal(reason)),
    )
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["connection", "day"],
            set_={
                "mark": statement.excluded.mark,
                "reason": statement.excluded.reason,
                "not_before": None,
                "attempts": 0,
            },
        )
    )


def postpone(db: Connection, connection: str, day: date, *, not_before: datetime, reason: str) -> None:
    """Keep a day dirty, to be run again from `not_before` on; counts an attempt."""
    statement = upsert(dirty_window).values(
        connection=connection,
        day=day,
        mark=marks.next_value(),
        not_before=not_before,
        attempts=1,
        reason=reason,
    )
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["connection", "day"],
            set_={
                "mark": statement.excluded.mark,
                "not_before": not_before,
                "attempts": dirty_window.c.attempts + 1,
                "reason": reason,
            },
        )
    )


def dirty(db: Connection, connection: str) -> list[DirtyWindow]:
    """All dirty days, oldest first, those held back included."""
    rows = db.execute(
        select(dirty_window).where(dirty_window.c.connection == connection).order_by(dirty_window.c.day)
    )
    return [DirtyWindow(row.day, row.mark, row.not_before, row.attempts, row.reason) for row in rows]


def seen_marks(db: Connection, connection: str, days: Collection[date]) -> dict[date, int]:
    """The marks of `days` as they stand; days that are clean are absent."""
    rows = db.execute(
        select(dirty_window.c.day, dirty_window.c.mark).where(
            dirty_window.c.connection == connection, one_of(dirty_window.c.day, days)
        )
    )
    return {row.day: row.mark for row in rows}


def begin(db: Connection, connection: str, seen: Mapping[date, int], *, not_before: datetime) -> None:
    """Note that a run works on these marks, and hold them back until `not_before` in case it dies."""
    db.execute(
        update(dirty_window)
        .where(dirty_window.c.connection == connection, _as_seen(seen))
        .values(attempts=dirty_window.c.attempts + 1, not_before=not_before)
    )


def hurry(db: Connection, connection: str) -> None:
    """Let days that are held back be run now: what they waited for is there again."""
    db.execute(
        update(dirty_window)
        .where(dirty_window.c.connection == connection)
        .values(not_before=None, attempts=0)
    )


def clear(db: Connection, connection: str, seen: Mapping[date, int]) -> None:
    """Forget the marks in `seen`; a day marked again since then stays dirty."""
    db.execute(delete_from(dirty_window).where(dirty_window.c.connection == connection, _as_seen(seen)))


def _as_seen(seen: Mapping[date, int]) -> ColumnElement[bool]:
    """Whether a day is in `seen`, and was not marked again since."""
    known = table_of(day=(dirty_window.c.day, seen.keys()), mark=(dirty_window.c.mark, seen.values()))
    return tuple_(dirty_window.c.day, dirty_window.c.mark).in_(select(known.c.day, known.c.mark))


def wake(db: Connection, connection: str, reasons: Collection[Reason], *, why: str) -> list[date]:
    """Mark every day with a record held for one of `reasons`; returns those days."""
    return _wake(db, connection, hold.c.reason.in_([str(reason) for reason in reasons]), why)


def wake_causes(db: Connection, connection: str, causes: Collection[str], *, why: str) -> list[date]:
    """Mark every day with a record held for one of `causes`; returns those days."""
    return _wake(db, connection, one_of(hold.c.cause, causes), why)


def causes(db: Connection, connection: str, reasons: Collection[Reason]) -> set[str]:
    """What the records that are held for one of `reasons` wait for."""
    asked = hold.c.reason.in_([str(reason) for reason in reasons])
    return set(db.scalars(select(hold.c.cause).where(hold.c.connection == connection, asked)))


def _wake(db: Connection, connection: str, which: ColumnElement[bool], why: str) -> list[date]:
    days = list(
        db.scalars(
            select(record.c.day)
            .distinct()
            .join(
                hold,
                (hold.c.connection == record.c.connection)
                & (hold.c.entity == record.c.entity)
                & (hold.c.qbo_id == record.c.qbo_id),
            )
            .where(hold.c.connection == connection, which)
        )
    )
    mark(db, connection, days, reason=why)
    return sorted(days)
