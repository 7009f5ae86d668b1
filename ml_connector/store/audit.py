"""The audit trail: append-only, numbered without gaps for each connection, chained by hashes.

Entries are appended last in the transaction whose work they tell, never over a call, so that the head row is
locked for milliseconds only.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from ml_connector.store.tables import audit, audit_head

FIRST_HASH = bytes(32)
AT_ONCE = 2000  # entries that a reader of the whole trail holds


@dataclass(frozen=True)
class Entry:
    """One thing that happened to one record. `detail` is JSON data; money in it is Decimal or text."""

    event: str  # seen, mapped, planned, sent, answered, posted, held, released, removed, published, …
    entity: str
    qbo_id: str
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class StoredEntry:
    """An entry as it was stored."""

    number: int
    at: datetime
    event: str
    entity: str
    qbo_id: str
    run_id: str
    actor: str
    detail: Mapping[str, Any]
    hash: bytes


def _plain(value: object) -> str:
    if isinstance(value, Decimal | datetime) or hasattr(value, "isoformat"):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not belong in an audit entry")


def canonical(detail: Mapping[str, Any]) -> bytes:
    """The bytes that are hashed and stored: sorted keys, no blanks, ASCII."""
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), default=_plain).encode()


@dataclass(frozen=True)
class Head:
    """The end of a trail: number and hash of its newest entry, as it is noted elsewhere."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"


def link(
    previous: bytes, connection: str, number: int, at: datetime, entry: Entry, *, run_id: str, actor: str
) -> bytes:
    """The hash of an entry, over everything it says and the hash of the one before (32 bytes).

    SHA-256 of the hash before, the JSON list of connection, number, time (UTC), event, entity, id, run and actor,
    a line feed, and the stored detail.
    """
    return _hash(previous, connection, number, at, entry, canonical(entry.detail), run_id=run_id, actor=actor)


def _hash(
    previous: bytes,
    connection: str,
    number: int,
    at: datetime,
    entry: "Entry | Row[Any]",
    detail: bytes,
    *,
    run_id: str,
    actor: str,
) -> bytes:
    instant = at.astimezone(UTC).isoformat()
    words = [connection, number, instant, entry.event, entry.entity, entry.qbo_id, run_id, actor]
    return hashlib.sha256(previous + json.dumps(words).encode() + b"\n" + detail).digest()


def hash_of(row: Row[Any]) -> bytes:
    """The hash that a stored row should have, from what it says now."""
    return _hash(
        bytes(row.previous_hash),
        row.connection,
        row.number,
        row.at,
        row,
        bytes(row.detail),
        run_id=row.run_id,
        actor=row.actor,
    )


def append(db: Connection, connection: str, entries: Sequence[Entry], *, run_id: str, actor: str) -> None:
    """Store `entries` at the end of the connection's trail, in order. Call it last in the transaction."""
    if not entries:
        return
    number, previous = _locked(db, connection)
    at = datetime.now(UTC)
    rows = []
    for entry in entries:
        number += 1
        detail = canonical(entry.detail)
        current = _hash(previous, connection, number, at, entry, detail, run_id=run_id, actor=actor)
        rows.append(
            {
                "connection": connection,
                "number": number,
                "at": at,
                "event": entry.event,
                "entity": entry.entity,
                "qbo_id": entry.qbo_id,
                "run_id": run_id,
                "actor": actor,
                "detail": detail,
                "previous_hash": previous,
                "hash": current,
            }
        )
        previous = current
    db.execute(insert(audit), rows)
    db.execute(
        update(audit_head).where(audit_head.c.connection == connection).values(number=number, hash=previous)
    )


def _locked(db: Connection, connection: str) -> tuple[int, bytes]:
    locked = _head_of(connection).with_for_update()
    row = db.execute(locked).one_or_none()
    if row is None:
        first = upsert(audit_head).values(connection=connection, number=0, hash=FIRST_HASH)
        db.execute(first.on_conflict_do_nothing(index_elements=["connection"]))
        row = db.execute(locked).one()
    return row.number, bytes(row.hash)


def _head_of(connection: str) -> Select[Any]:
    return select(audit_head.c.number, audit_head.c.hash).where(audit_head.c.connection == connection)


def head(db: Connection, connection: str) -> Head:
    """The end of the connection's trail as the head row has it; number 0 before the first entry."""
    row = db.execute(_head_of(connection)).one_or_none()
    return Head(0, FIRST_HASH) if row is None else Head(row.number, bytes(row.hash))


def rows(db: Connection, connection: str, *which: ColumnElement[bool]) -> Iterator[Row[Any]]:
    """The entries as they lie in the table, in order; only some thousand are held at once."""
    statement = select(audit).where(audit.c.connection == connection, *which).order_by(audit.c.number)
    yield from db.execute(statement, execution_options={"stream_results": True, "yield_per": AT_ONCE})


def story(db: Connection, connection: str, entity: str, qbo_id: str) -> list[StoredEntry]:
    """All entries of one record, oldest first."""
    return list(map(stored, rows(db, connection, audit.c.entity == entity, audit.c.qbo_id == qbo_id)))


def newest(db: Connection, connection: str, *, entity: str, event: str) -> StoredEntry | None:
    """The last entry of an event that is about no single record, such as a proof."""
    found = db.execute(
        select(audit)
        .where(
            audit.c.connection == connection,
            audit.c.entity == entity,
            audit.c.qbo_id == "",
            audit.c.event == event,
        )
        .order_by(audit.c.number.desc())
        .limit(1)
    ).one_or_none()
    return None if found is None else stored(found)


def stored(row: Row[Any]) -> StoredEntry:
    """An entry from its row."""
    return StoredEntry(
        row.number,
        row.at,
        row.event,
        row.entity,
        row.qbo_id,
        row.run_id,
        row.actor,
        json.loads(row.detail),
        bytes(row.hash),
    )
