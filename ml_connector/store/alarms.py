"""Alarms: one for each trouble while it lasts, told once when it begins and once when it is over.

A message counts as told only after it has left, so that a mail server that is away delays it and loses none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from ml_connector.store.sets import one_of, table_of
from ml_connector.store.tables import alarm


@dataclass(frozen=True)
class Alarm:
    """A trouble: what to do about it, since when, when people were told, and when it was over (UTC)."""

    cause: str
    sentence: str
    since: datetime
    told_at: datetime | None
    over_at: datetime | None


def observe(db: Connection, connection: str, standing: Mapping[str, str], *, now: datetime) -> None:
    """Note which troubles stand, by cause with their sentences; those that do not any more are over.

    One that comes back before its end was told is the old one.
    """
    seen = table_of(cause=(alarm.c.cause, standing.keys()), sentence=(alarm.c.sentence, standing.values()))
    new = upsert(alarm).from_select(
        ["connection", "cause", "sentence", "since"],
        select(literal(connection), seen.c.cause, seen.c.sentence, literal(now, alarm.c.since.type)),
    )
    db.execute(
        new.on_conflict_do_update(
            index_elements=["connection", "cause"],
            set_={"sentence": new.excluded.sentence, "over_at": None},
        )
    )
    gone = (alarm.c.connection == connection, ~one_of(alarm.c.cause, standing))
    db.execute(delete(alarm).where(*gone, alarm.c.told_at.is_(None)))  # nobody heard of it
    db.execute(update(alarm).where(*gone, alarm.c.over_at.is_(None)).values(over_at=now))


def all_of(db: Connection, connection: str) -> list[Alarm]:
    """Every alarm that stands or whose end is still to be told, oldest first."""
    rows = db.execute(
        select(alarm).where(alarm.c.connection == connection).order_by(alarm.c.since, alarm.c.cause)
    )
    return [Alarm(row.cause, row.sentence, row.since, row.told_at, row.over_at) for row in rows]


def told(db: Connection, connection: str, alarms: list[Alarm], *, now: datetime) -> None:
    """These have left: those that stand are not told again, those that are over are forgotten."""
    ours = alarm.c.connection == connection
    over = [one.cause for one in alarms if one.over_at is not None]
    db.execute(delete(alarm).where(ours, one_of(alarm.c.cause, over)))
    standing = [one.cause for one in alarms if one.over_at is None]
    db.execute(update(alarm).where(ours, one_of(alarm.c.cause, standing)).values(told_at=now))
