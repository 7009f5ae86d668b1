"""Merges of vendors, told from what QBO shows: it answers no question about them, and webhooks may be lost.

In a merge the loser turns inactive and all its transactions name the winner from the same moment on (qbo-api 8). A bill that
was posted before goes on as one of the vendor that it was entered for, so that nothing of it is posted anew (S84).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection as Database

from ml_connector.errors import BadRecord
from ml_connector.qbo.models import Raw, parse_vendor, updated_at, vendor_field, vendor_id_of
from ml_connector.store import aliases, landing, ledger
from ml_connector.store.aliases import Moved, Named

AT_ONCE = timedelta(hours=1)  # hundreds of transactions do not move in a second
CHUNK = 1000


@dataclass(frozen=True)
class Merge:
    """A vendor that went into another one, with the records that it took along."""

    loser: Named
    winner: str
    moved: Sequence[Moved]


def find_merges(db: Database, connection: str, versions: Sequence[landing.Version]) -> Iterator[Merge]:
    """The merges of which one of the vendors, given by their newest versions, is the loser.

    A vendor whose bills were corrected one by one to others, or that has any left, is no loser of a merge.
    """
    gone = {version.qbo_id: version for version in versions if not is_active(version)}
    if not gone:
        return
    left = aliases.still_named(db, connection, gone)
    by_loser: dict[str, list[Moved]] = {}
    for one in aliases.moved_from(db, connection, gone):
        if one.loser not in left:
            by_loser.setdefault(one.loser, []).append(one)
    for loser, moved in by_loser.items():
        then, changed = _changed(gone[loser].raw), _times(db, connection, moved)
        at_once = [one for one in moved if _is_near(changed[one.number], then)]
        winners = {one.winner for one in at_once}
        if then is None or len(winners) != 1:
            continue
        (winner,) = winners
        # What was edited after the merge and before we looked was moved by it all the same.
        mine = [
            one
            for one in moved
            if one.winner == winner and (at := changed[one.number]) is not None and at >= then - AT_ONCE
        ]
        yield Merge(_named(db, connection, gone[loser]), winner, mine)


def as_entered(
    db: Database, connection: str, entity: str, versions: Mapping[int, landing.Version]
) -> dict[int, landing.Version]:
    """`versions` with the vendor that was named before a merge, where Procore has something of the record."""
    ids = [version.qbo_id for version in versions.values() if not version.tombstone]
    before = aliases.named_before(db, connection, entity, ids)
    if not before:
        return dict(versions)
    live = ledger.live_amounts(db, connection, entity, before)
    ends = aliases.winners(db, connection)
    given = dict(versions)
    for number, version in versions.items():
        named = before.get(version.qbo_id)
        if named is None or version.tombstone or version.qbo_id not in live:
            continue
        field, now = vendor_field(entity), vendor_id_of(entity, version.raw)
        if now is not None and ends.get(named.vendor) == ends.get(now, now):  # else it was corrected since
            vendor = {**version.raw[field], "value": named.vendor, "name": named.name}
            given[number] = replace(version, raw={**version.raw, field: vendor})
    return given


def is_active(version: landing.Version) -> bool:
    """Whether a vendor is in use in QBO; no for one that is deleted or cannot be read."""
    try:
        return not version.tombstone and parse_vendor(version.raw).active
    except BadRecord:
        return False


def _named(db: Database, connection: str, version: landing.Version) -> Named:
    alive = (
        version
        if not version.tombstone
        else landing.last_alive(db, connection, version.entity, version.qbo_id)
    )
    try:
        return Named(version.qbo_id, "" if alive is None else parse_vendor(alive.raw).name)
    except BadRecord:
        return Named(version.qbo_id, "")


def _times(db: Database, connection: str, moved: Sequence[Moved]) -> dict[int, datetime | None]:
    found: dict[int, datetime | None] = {}
    for first in range(0, len(moved), CHUNK):
        numbers = [one.number for one in moved[first : first + CHUNK]]
        versions = landing.by_number(db, connection, numbers)
        found |= {number: _changed(version.raw) for number, version in versions.items()}
    return found


def _changed(raw: Raw) -> datetime | None:
    try:
        return updated_at(raw)
    except BadRecord:
        return None


def _is_near(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= AT_ONCE
