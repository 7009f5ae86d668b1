"""The landing table: every version of every QBO record that was seen, raw, one row a version.

What a version is made of (hash, window, facts) comes from `reading.sightings`; which version is current is
decided here alone.
"""

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from ml_connector.store import exact_json
from ml_connector.store.sets import one_of
from ml_connector.store.tables import landing

CHUNK = 1000
AnyRow = Row[*tuple[Any, ...]]


@dataclass(frozen=True)
class Sighting:
    """One record as an answer showed it.

    `day` is the window of its last change; facts are None where the record is odd.
    """

    qbo_id: str
    sync_token: int
    tombstone: bool
    content_hash: bytes
    day: date
    txn_date: date | None
    vendor_id: str | None
    document: str | None
    total: Decimal | None
    raw: Mapping[str, Any]


@dataclass
class Landed:
    """What landing did: sightings kept as new versions, how many cost nothing, days touched."""

    kept: list[Sighting] = field(default_factory=list)
    superseded: dict[str, int] = field(
        default_factory=dict
    )  # by id, the number of the version that was current
    unchanged: int = 0
    days: set[date] = field(default_factory=set)

    @property
    def new(self) -> list[str]:
        """Ids of new versions."""
        return [sighting.qbo_id for sighting in self.kept if not sighting.tombstone]

    @property
    def deleted(self) -> list[str]:
        """Ids of tombstones."""
        return [sighting.qbo_id for sighting in self.kept if sighting.tombstone]


@dataclass(frozen=True)
class Version:
    """A stored version of a record; numbers in `raw` are Decimal or int."""

    number: int
    entity: str
    qbo_id: str
    sync_token: int
    tombstone: bool
    day: date
    raw: Mapping[str, Any]


def land(
    db: Connection,
    connection: str,
    entity: str,
    sightings: Sequence[Sighting],
    *,
    server_time: datetime,
    run_id: str,
) -> Landed:
    """Store what an answer of `server_time` brought of one entity, in the caller's transaction.

    Current is the highest (SyncToken, server time of the answer); a tombstone outranks what was read before
    it and is outranked by a later sighting. Content equal to the current version makes no new one.
    """
    landed = Landed()
    for first in range(0, len(sightings), CHUNK):
        chunk = sightings[first : first + CHUNK]
        _land_chunk(db, connection, entity, chunk, landed, server_time=server_time, run_id=run_id)
    return landed


def _land_chunk(
    db: Connection,
    connection: str,
    entity: str,
    sightings: Sequence[Sighting],
    landed: Landed,
    *,
    server_time: datetime,
    run_id: str,
) -> None:
    current = _current_rows(db, connection, entity, {sighting.qbo_id for sighting in sightings})
    fresh: dict[str, Sighting] = {}
    for sighting in sightings:
        known, rival = current.get(sighting.qbo_id), fresh.get(sighting.qbo_id)
        if (known is None or _supersedes(sighting, known, server_time, known.server_time)) and (
            rival is None or _supersedes(sighting, rival, server_time, server_time)
        ):
            fresh[sighting.qbo_id] = sighting
    # A tombstone of a record never seen: created and deleted between two looks, nothing of it was ever here.
    kept = [sighting for sighting in fresh.values() if sighting.qbo_id in current or not sighting.tombstone]
    superseded = {
        sighting.qbo_id: current[sighting.qbo_id].number for sighting in kept if sighting.qbo_id in current
    }
    if superseded:
        numbers = list(superseded.values())
        db.execute(update(landing).where(one_of(landing.c.number, numbers)).values(is_current=False))
    landed.superseded |= superseded
    if kept:
        rows = [
            _row(connection, entity, sighting, current.get(sighting.qbo_id), server_time, run_id)
            for sighting in kept
        ]
        db.execute(insert(landing), rows)
    _raise_tokens(db, sightings, current, server_time)
    landed.kept += kept
    landed.unchanged += len(sightings) - len(kept)
    landed.days |= {sighting.day for sighting in kept}
    landed.days |= {current[sighting.qbo_id].day for sighting in kept if sighting.qbo_id in current}


def _raise_tokens(
    db: Connection, sightings: Sequence[Sighting], current: Mapping[str, AnyRow], server_time: datetime
) -> None:
    """Note the higher SyncToken of content that came back: what lies between the two is older than it."""
    risen = [
        {"known": known.number, "token": sighting.sync_token, "seen": server_time}
        for sighting in sightings
        if (known := current.get(sighting.qbo_id)) is not None
        and not (sighting.tombstone or known.tombstone)
        and sighting.content_hash == bytes(known.content_hash)
        and sighting.sync_token > known.sync_token
    ]
    if risen:
        db.execute(
            update(landing)
            .where(landing.c.number == bindparam("known"))
            .values(sync_token=bindparam("token"), server_time=bindparam("seen")),
            risen,
        )


def _current_rows(db: Connection, connection: str, entity: str, ids: set[str]) -> dict[str, AnyRow]:
    rows = db.execute(
        select(
            landing.c.number,
            landing.c.qbo_id,
            landing.c.sync_token,
            landing.c.content_hash,
            landing.c.tombstone,
            landing.c.day,
            landing.c.server_time,
        ).where(
            landing.c.connection == connection,
            landing.c.entity == entity,
            landing.c.is_current,
            one_of(landing.c.qbo_id, ids),
        )
    )
    return {row.qbo_id: row for row in rows}


def _supersedes(sighting: Sighting, known: Sighting | AnyRow, at: datetime, known_at: datetime) -> bool:
    if sighting.tombstone:
        return not known.tombstone and at >= known_at
    if known.tombstone:
        return at > known_at
    if sighting.content_hash == bytes(known.content_hash):
        return False
    return (sighting.sync_token, at) >= (known.sync_token, known_at)


def _row(
    connection: str,
    entity: str,
    sighting: Sighting,
    known: AnyRow | None,
    server_time: datetime,
    run_id: str,
) -> dict[str, Any]:
    return {
        "connection": connection,
        "entity": entity,
        "qbo_id": sighting.qbo_id,
        # A tombstone carries no SyncToken of its own: it takes the place of the version that it ends.
        "sync_token": known.sync_token if sighting.tombstone and known is not None else sighting.sync_token,
        "content_hash": sighting.content_hash,
        "tombstone": sighting.tombstone,
        "is_current": True,
        "day": sighting.day,
        "server_time": server_time,
        "txn_date": sighting.txn_date,
        "vendor_id": sighting.vendor_id,
        "document": sighting.document,
        "total": sighting.total,
        "body": zlib.compress(exact_json.dumps(sighting.raw), 1),
        "run_id": run_id,
    }


def _version(row: AnyRow) -> Version:
    raw = exact_json.loads(zlib.decompress(row.body))
    return Version(row.number, row.entity, row.qbo_id, row.sync_token, row.tombstone, row.day, raw)


_VERSION_COLUMNS = (
    landing.c.number,
    landing.c.entity,
    landing.c.qbo_id,
    landing.c.sync_token,
    landing.c.tombstone,
    landing.c.day,
    landing.c.body,
)


def newest(db: Connection, connection: str, entity: str, ids: Iterable[str]) -> dict[str, Version]:
    """The newest version of each of `ids`, by id; ids never seen are absent."""
    rows = db.execute(
        select(*_VERSION_COLUMNS).where(
            landing.c.connection == connection,
            landing.c.entity == entity,
            landing.c.is_current,
            one_of(landing.c.qbo_id, ids),
        )
    )
    return {row.qbo_id: _version(row) for row in rows}


def by_number(db: Connection, connection: str, numbers: Sequence[int]) -> dict[int, Version]:
    """Versions by their landing number."""
    rows = db.execute(
        select(*_VERSION_COLUMNS).where(landing.c.connection == connection, one_of(landing.c.number, numbers))
    )
    return {row.number: _version(row) for row in rows}


def previous(db: Connection, connection: str, version: Version) -> Version | None:
    """The version of the same record that was landed before; None for the first."""
    row = db.execute(
        select(*_VERSION_COLUMNS)
        .where(
            landing.c.connection == connection,
            landing.c.entity == version.entity,
            landing.c.qbo_id == version.qbo_id,
            landing.c.number < version.number,
        )
        .order_by(landing.c.number.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _version(row)


def last_alive(db: Connection, connection: str, entity: str, qbo_id: str) -> Version | None:
    """The newest version that is no tombstone: what a deleted record was. None when it was never seen."""
    row = db.execute(
        select(*_VERSION_COLUMNS)
        .where(
            landing.c.connection == connection,
            landing.c.entity == entity,
            landing.c.qbo_id == qbo_id,
            ~landing.c.tombstone,
        )
        .order_by(landing.c.number.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _version(row)


def every(
    db: Connection, connection: str, entity: str, *, days: Sequence[date] | None = None
) -> Iterator[Version]:
    """All live newest versions of an entity, or those of windows."""
    within = () if days is None else (one_of(landing.c.day, days),)
    rows = db.execute(
        select(*_VERSION_COLUMNS).where(
            landing.c.connection == connection,
            landing.c.entity == entity,
            landing.c.is_current,
            ~landing.c.tombstone,
            *within,
        )
    )
    for row in rows:
        yield _version(row)


def of_vendors(db: Connection, connection: str, entity: str, vendors: Collection[str]) -> Iterator[Version]:
    """Live newest versions of one entity that name one of `vendors`."""
    rows = db.execute(
        select(*_VERSION_COLUMNS).where(
            landing.c.connection == connection,
            landing.c.entity == entity,
            landing.c.is_current,
            ~landing.c.tombstone,
            one_of(landing.c.vendor_id, vendors),
        )
    )
    for row in rows:
        yield _version(row)


def live_ids(db: Connection, connection: str, entity: str, *, from_date: date) -> set[str]:
    """Ids of the records of `entity` dated `from_date` or later that are not known to be deleted."""
    return set(
        db.scalars(
            select(landing.c.qbo_id).where(
                landing.c.connection == connection,
                landing.c.entity == entity,
                landing.c.is_current,
                ~landing.c.tombstone,
                landing.c.txn_date >= from_date,
            )
        )
    )


def live_among(db: Connection, connection: str, entity: str, ids: Iterable[str]) -> set[str]:
    """Those of `ids` that were seen and are not known to be deleted."""
    return set(
        db.scalars(
            select(landing.c.qbo_id).where(
                landing.c.connection == connection,
                landing.c.entity == entity,
                landing.c.is_current,
                ~landing.c.tombstone,
                one_of(landing.c.qbo_id, ids),
            )
        )
    )


@dataclass(frozen=True)
class Twin:
    """A live record with the same vendor and document number as another."""

    qbo_id: str
    txn_date: date | None
    total: Decimal | None


def same_documents(
    db: Connection, connection: str, entity: str, documents: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], list[Twin]]:
    """Live records by (vendor id, document number in lower case), for the pairs asked."""
    wanted = set(documents)
    rows = db.execute(
        select(
            landing.c.vendor_id, landing.c.document, landing.c.qbo_id, landing.c.txn_date, landing.c.total
        ).where(
            landing.c.connection == connection,
            landing.c.entity == entity,
            landing.c.is_current,
            ~landing.c.tombstone,
            landing.c.vendor_id.in_({vendor for vendor, _ in wanted}),
            landing.c.document.in_({document for _, document in wanted}),
        )
    )
    found: dict[tuple[str, str], list[Twin]] = {}
    for row in rows:
        if (row.vendor_id, row.document) in wanted:
            twins = found.setdefault((row.vendor_id, row.document), [])
            twins.append(Twin(row.qbo_id, row.txn_date, row.total))
    return found


def counts_of_days(
    db: Connection, connection: str, days: Sequence[date]
) -> dict[tuple[date, str], tuple[int, Decimal]]:
    """Newest live versions by (day, entity): how many, and the sum of their totals."""
    rows = db.execute(
        select(landing.c.day, landing.c.entity, func.count(), func.coalesce(func.sum(landing.c.total), 0))
        .where(
            landing.c.connection == connection,
            landing.c.is_current,
            ~landing.c.tombstone,
            one_of(landing.c.day, days),
        )
        .group_by(landing.c.day, landing.c.entity)
    )
    return {(day, entity): (count, Decimal(amount)) for day, entity, count, amount in rows}


def days_of_bill_dates(db: Connection, connection: str, *, first: date, last: date) -> list[date]:
    """The windows that hold the newest versions of transactions dated `first` to `last`."""
    return sorted(
        db.scalars(
            select(landing.c.day)
            .distinct()
            .where(
                landing.c.connection == connection,
                landing.c.is_current,
                landing.c.txn_date.between(first, last),
            )
        )
    )
