"""The audit trail: append-only, numbered without gaps for each connection, chained by hashes.

Entries are appended last in the transaction whose work they tell, never over a call, so that the head row is
locked for milliseconds only.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from ml_connector.store.tables import audit, audit_head

FIRST_HASH = bytes(32)


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


def _plain(value: object) -> str:
    if isinstance(value, Decimal | datetime) or hasattr(value, "isoformat"):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not belong in an audit entry")


def canonical(detail: Mapping[str, Any]) -> bytes:
    """The bytes that are hashed and stored: sorted keys, no blanks, ASCII."""
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), default=_plain).encode()


def link(previous: bytes, number: int, at: datetime, entry: Entry, *, run_id: str, actor: str) -> bytes:
    """The hash of an entry, over everything it says and the hash of the one before (32 bytes)."""
    head = json.dumps([number, at.isoformat(), entry.event, entry.entity, entry.qbo_id, run_id, actor])
    return hashlib.sha256(previous + head.encode() + b"\n" + canonical(entry.detail)).digest()


def append(db: Connection, connection: str, entries: Sequence[Entry], *, run_id: str, actor: str) -> None:
    """Store `entries` at the end of the connection's trail, in order. Call it last in the transaction."""
    if not entries:
        return
    db.execute(
        upsert(audit_head)
        .values(connection=connection, number=0, hash=FIRST_HASH)
        .on_conflict_do_nothing(index_elements=["connection"])
    )
    head = db.execute(
        select(audit_head.c.number, audit_head.c.hash)
        .where(audit_head.c.connection == connection)
        .with_for_update()
    ).one()
    number, previous = head.number, bytes(head.hash)
    at = datetime.now(UTC)
    rows = []
    for entry in entries:
        number += 1
        current = link(previous, number, at, entry, run_id=run_id, actor=actor)
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
                "detail": canonical(entry.detail),
                "previous_hash": previous,
                "hash": current,
            }
        )
        previous = current
    db.execute(insert(audit), rows)
    db.execute(
        update(audit_head).where(audit_head.c.connection == connection).values(number=number, hash=previous)
    )


def story(db: Connection, connection: str, entity: str, qbo_id: str) -> list[StoredEntry]:
    """All entries of one record, oldest first."""
    rows = db.execute(
        select(audit)
        .where(audit.c.connection == connection, audit.c.entity == entity, audit.c.qbo_id == qbo_id)
        .order_by(audit.c.number)
    )
    return [
        StoredEntry(
            row.number,
            row.at,
            row.event,
            row.entity,
            row.qbo_id,
            row.run_id,
            row.actor,
            json.loads(row.detail),
        )
        for row in rows
    ]
