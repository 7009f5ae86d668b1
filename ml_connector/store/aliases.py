"""Merges of vendors in QBO: which vendor went into which, and which records named it before."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from ml_connector.store.sets import one_of
from ml_connector.store.tables import landing, moved_record, vendor_alias


@dataclass(frozen=True)
class Moved:
    """A live record that names another vendor than before: from whom to whom, and the number of its newest version."""

    loser: str
    winner: str
    entity: str
    qbo_id: str
    number: int


@dataclass(frozen=True)
class Named:
    """The vendor that a record named before QBO merged it into another one."""

    vendor: str
    name: str


def moved_from(db: Connection, connection: str, vendors: Collection[str]) -> list[Moved]:
    """Live records whose version before the newest named one of `vendors`, and which name another one now."""
    named_once = (
        select(landing.c.entity, landing.c.qbo_id)
        .where(
            landing.c.connection == connection, one_of(landing.c.vendor_id, vendors), ~landing.c.is_current
        )
        .distinct()
    )
    before = (
        select(landing.c.entity, landing.c.qbo_id, landing.c.vendor_id)
        .where(
            landing.c.connection == connection,
            ~landing.c.is_current,
            tuple_(landing.c.entity, landing.c.qbo_id).in_(named_once),
        )
        .ext(distinct_on(landing.c.entity, landing.c.qbo_id))
        .order_by(landing.c.entity, landing.c.qbo_id, landing.c.number.desc())
        .subquery()
    )
    rows = db.execute(
        select(before.c.vendor_id, landing.c.vendor_id, landing.c.entity, landing.c.qbo_id, landing.c.number)
        .join(before, (before.c.entity == landing.c.entity) & (before.c.qbo_id == landing.c.qbo_id))
        .where(
            landing.c.connection == connection,
            landing.c.is_current,
            ~landing.c.tombstone,
            one_of(before.c.vendor_id, vendors),
            landing.c.vendor_id != before.c.vendor_id,
        )
    )
    return [Moved(*row) for row in rows]


def still_named(db: Connection, connection: str, vendors: Collection[str]) -> set[str]:
    """Those of `vendors` that a live record names."""
    return set(
        db.scalars(
            select(landing.c.vendor_id).where(
                landing.c.connection == connection,
                one_of(landing.c.vendor_id, vendors),
                landing.c.is_current,
                ~landing.c.tombstone,
            )
        )
    )


def keep(db: Connection, connection: str, *, loser: Named, winner: str, moved: Sequence[Moved]) -> None:
    """Note a merge; a record that was moved before by another one keeps the vendor that it had first."""
    statement = upsert(vendor_alias).values(connection=connection, loser=loser.vendor, winner=winner)
    db.execute(
        statement.on_conflict_do_update(index_elements=["connection", "loser"], set_={"winner": winner})
    )
    db.execute(
        upsert(moved_record).on_conflict_do_nothing(),
        [
            {
                "connection": connection,
                "entity": one.entity,
                "qbo_id": one.qbo_id,
                "vendor": loser.vendor,
                "name": loser.name,
            }
            for one in moved
        ],
    )


def named_before(db: Connection, connection: str, entity: str, ids: Collection[str]) -> dict[str, Named]:
    """The vendors that records named before a merge, by record id; those that no merge moved are absent."""
    rows = db.execute(
        select(moved_record.c.qbo_id, moved_record.c.vendor, moved_record.c.name).where(
            moved_record.c.connection == connection,
            moved_record.c.entity == entity,
            one_of(moved_record.c.qbo_id, ids),
        )
    )
    return {qbo_id: Named(vendor, name) for qbo_id, vendor, name in rows}


def winners(db: Connection, connection: str) -> dict[str, str]:
    """The vendor that each merged one ended in, by way of however many others."""
    rows = db.execute(
        select(vendor_alias.c.loser, vendor_alias.c.winner).where(vendor_alias.c.connection == connection)
    )
    into: dict[str, str] = {row.loser: row.winner for row in rows}
    return {loser: _last(into, loser) for loser in into}


def families(db: Connection, connection: str, vendors: Collection[str]) -> dict[str, set[str]]:
    """The other vendors that were merged with each of `vendors`; those of no merge are absent."""
    ends = winners(db, connection)
    members: dict[str, set[str]] = {}
    for loser, winner in ends.items():
        members.setdefault(winner, {winner}).add(loser)
    found = {vendor: members.get(ends.get(vendor, vendor), set()) - {vendor} for vendor in vendors}
    return {vendor: others for vendor, others in found.items() if others}


def _last(into: Mapping[str, str], vendor: str) -> str:
    seen = {vendor}
    while (following := into.get(vendor)) is not None and following not in seen:
        vendor = following
        seen.add(vendor)
    return vendor
