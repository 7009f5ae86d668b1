"""Reading windows: what changed in QBO comes into landing, and the cursor moves past it.

One CDC call for all entity types when the cursor reaches far enough back; a walk by query when the answer was
cut, the cursor is old, or there is none; a query inside the days when they were covered before.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.crashpoints import crashpoint
from ml_connector.holds import WAITS_FOR_DIRECTORY, Reason
from ml_connector.qbo.client import CdcAnswer, CdcTooOld, QboClient
from ml_connector.qbo.models import REFERENCE, TRANSACTIONS, Entity, is_deleted
from ml_connector.reading import inbox
from ml_connector.reading.outside import expenses_followed
from ml_connector.reading.sightings import sighting
from ml_connector.reading.walk import Page, counts, existing, server_time, walk
from ml_connector.settings import Connection, Home
from ml_connector.store import audit, cursor, landing, records, windows
from ml_connector.store.claims import claim

ENTITIES = (*REFERENCE, Entity.VENDOR, Entity.PURCHASE_ORDER, *TRANSACTIONS)
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)  # before any record of QBO Online
CDC_REACH = timedelta(days=25)  # QBO promises 30; the edge is not documented (qbo-api 5)
DAY_COMPLETE = "the day is complete"
HAS_STATE = (Entity.VENDOR, Entity.BILL, Entity.BILL_PAYMENT, Entity.VENDOR_CREDIT)
# Held records that a change of QBO's own lists may free.
WAIT_FOR_LISTS = (Reason.UNMAPPED, Reason.NO_PROJECT, Reason.PROJECT_NOT_LINKED, Reason.NOT_A_COST)
WAIT_FOR = {
    **dict.fromkeys(REFERENCE, WAIT_FOR_LISTS),
    Entity.VENDOR: WAITS_FOR_DIRECTORY,
    Entity.PURCHASE_ORDER: (Reason.COMMITMENT_MISSING, Reason.COMMITMENT_AMBIGUOUS),
}


class Mode(StrEnum):
    """How a window was read."""

    CDC = "change data capture"
    WALK = "query walk from the cursor"
    FIRST_LOAD = "first load by query"
    DAYS = "query inside the days"


@dataclass
class Reading:
    """What reading did.

    How and why so, new versions and deletions by entity, rows that cost nothing, days marked, how far the
    cursor stands if it moved, webhook files taken.
    """

    mode: Mode = Mode.CDC
    why: str = ""
    new: Counter[Entity] = field(default_factory=Counter)
    deleted: Counter[Entity] = field(default_factory=Counter)
    unchanged: int = 0
    days: set[date] = field(default_factory=set)
    read_to: datetime | None = None
    files: int = 0


@dataclass(frozen=True)
class Reader:
    """Reads one connection. `clock` only tells whether the cursor is too old to try CDC with it."""

    connection: Connection
    home: Home
    engine: Engine
    client: QboClient
    run_id: str
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def read(self, days: Sequence[date]) -> Reading:
        """Bring what changed in `days` into landing.

        Days that the cursor does not cover, the open one above all, are read from the cursor on, whatever the
        windows; covered days are asked for again by query. Raises the client's errors, and BadRecord for a
        row without an Id: an outage is never an empty day.
        """
        done = Reading()
        with claim(self.engine, f"read:{self.connection.name}"):
            with self.engine.connect() as db:
                read_to = cursor.read_to(db, self.connection.name)
            open_days = [day for day in days if read_to is None or self._end(day) > read_to]
            closed = [day for day in days if day not in open_days]
            if closed:
                self._read_days(closed, done)
            if open_days:
                names = inbox.waiting(self.home, self.connection.name)
                self._read_on(read_to, done)
                inbox.finish(self.home, names)
                done.files = len(names)
        return done

    # -- ways of reading ----------------------------------------------------------------------------------

    def _read_days(self, days: Sequence[date], done: Reading) -> None:
        done.mode, done.why = Mode.DAYS, "the days were read before"
        first, start = min(days), self.connection.start_date
        # The first window also holds what was changed last before it.
        since, dated_from = (BEGINNING, start) if first <= start else (self._start(first), None)
        until = self._end(max(days))
        self._land_pages(walk(self.client, ENTITIES, since=since, until=until, dated_from=dated_from), done)

    def _read_on(self, read_to: datetime | None, done: Reading) -> None:
        if read_to is None:
            done.mode, done.why = Mode.FIRST_LOAD, "there was no cursor"
            self._walk_on(None, server_time(self.client), done)
            return
        answer = self._ask_cdc(self._overlapped(read_to), done)
        if answer is not None and not answer.truncated:
            self._take(answer, read_to, done)
            return
        done.mode = Mode.WALK
        self._walk_on(read_to, server_time(self.client) if answer is None else answer.server_time, done)

    def _ask_cdc(self, since: datetime, done: Reading) -> CdcAnswer | None:
        if self.clock() - since > CDC_REACH:
            done.why = "the cursor is older than 25 days: full comparison"
            return None
        try:
            answer = self.client.cdc(ENTITIES, since)
        except CdcTooOld:
            done.why = "QBO refused the cursor as too old: full comparison"
            return None
        if answer.truncated:
            done.why = "the CDC answer was cut at its limit"
        return answer

    def _take(self, answer: CdcAnswer, read_to: datetime, done: Reading) -> None:
        """Land a whole CDC answer and move the cursor past it, in one transaction."""
        pages = [Page(entity, rows, answer.server_time) for entity, rows in answer.blocks.items()]
        still_there = list(existing(self.client, self._reported_deleted(pages)))
        crashpoint("K3")
        with self.engine.begin() as db:
            told = self._land(db, [*_without_tombstones(pages, still_there), *still_there], done)
            told += [
                audit.Entry("reported deleted, still there", page.entity, str(row["Id"]), _still_there(row))
                for page in still_there
                for row in page.rows
            ]
            crashpoint("K4")
            self._move(db, read_to, answer.server_time, done)
            self._tell(db, told)

    def _walk_on(self, read_to: datetime | None, to: datetime, done: Reading) -> None:
        """Land by query what changed since the cursor, find what was deleted, then move the cursor."""
        start = self.connection.start_date
        since, dated_from = (BEGINNING, start) if read_to is None else (self._overlapped(read_to), None)
        # Counted before the walk: equal counts afterwards then prove that nothing is missing on either side.
        counted = counts(self.client, TRANSACTIONS, dated_from=start)
        self._land_pages(walk(self.client, ENTITIES, since=since, dated_from=dated_from), done)
        self._bury_missing(counted, done)
        detail = {"mode": done.mode, "why": done.why, "from": read_to, "to": to}
        crashpoint("K3")
        with self.engine.begin() as db:
            self._move(db, read_to, to, done)
            self._tell(db, [audit.Entry("read", "connection", self.connection.name, detail)])

    # -- deletions ----------------------------------------------------------------------------------------

    def _reported_deleted(self, pages: Sequence[Page]) -> dict[Entity, set[str]]:
        """Ids reported as deleted that are live here: CDC reports records that still exist, too (S76)."""
        reported = {
            page.entity: {str(row.get("Id")) for row in page.rows if is_deleted(row)} for page in pages
        }
        with self.engine.connect() as db:
            return {
                entity: landing.live_among(db, self.connection.name, entity, ids)
                for entity, ids in reported.items()
                if ids
            }

    def _bury_missing(self, counted: Mapping[Entity, int], done: Reading) -> None:
        """Land a tombstone for every live transaction that QBO no longer holds."""
        start = self.connection.start_date
        missing: dict[Entity, set[str]] = {}
        with self.engine.connect() as db:
            for entity, count in counted.items():
                ours = landing.live_ids(db, self.connection.name, entity, from_date=start)
                if len(ours) != count:
                    missing[entity] = ours
        asked_at: datetime | None = None
        for page in existing(self.client, missing):
            asked_at = asked_at or page.server_time
            missing[page.entity].difference_update(str(row.get("Id")) for row in page.rows)
        if asked_at is not None:
            self._land_pages([_tombstones(entity, ids, asked_at) for entity, ids in missing.items()], done)

    # -- landing ------------------------------------------------------------------------------------------

    def _land_pages(self, pages: Iterable[Page], done: Reading) -> None:
        for page in pages:
            with self.engine.begin() as db:
                self._tell(db, self._land(db, [page], done))

    def _land(self, db: Database, pages: Iterable[Page], done: Reading) -> list[audit.Entry]:
        """Land pages and mark what they touch; returns what the audit trail is to be told at the end."""
        return [entry for page in pages for entry in self._land_page(db, page, done)]

    def _land_page(self, db: Database, page: Page, done: Reading) -> list[audit.Entry]:
        name, entity = self.connection.name, page.entity
        zone, start = self.connection.zone, self.connection.start_date
        sightings = [
            sighting(entity, raw, zone=zone, start=start, server_time=page.server_time) for raw in page.rows
        ]
        landed = landing.land(db, name, entity, sightings, server_time=page.server_time, run_id=self.run_id)
        done.new[entity] += len(landed.new)
        done.deleted[entity] += len(landed.deleted)
        done.unchanged += landed.unchanged
        has_state = entity in HAS_STATE or (
            entity is Entity.PURCHASE and expenses_followed(db, self.connection)
        )
        if has_state:
            windows.mark(db, name, landed.days, reason=f"{entity} changed in QBO")
            done.days |= landed.days
        if entity in WAIT_FOR and landed.kept:
            woken = windows.wake(db, name, WAIT_FOR[entity], why=f"{entity} changed in QBO")
            done.days.update(woken)
        if not has_state:
            return []
        unsent = records.untouched(db, name, entity, landed.superseded)
        passed_over = [
            audit.Entry(
                "superseded", entity, qbo_id, {"version": number, "before": "anything was sent of it"}
            )
            for qbo_id, number in sorted(unsent.items())
        ]
        return passed_over + [
            audit.Entry(
                "deleted in QBO" if row.tombstone else "seen",
                entity,
                row.qbo_id,
                {"sync_token": row.sync_token, "content": row.content_hash.hex()[:16], "window": row.day},
            )
            for row in landed.kept
        ]

    # -- the cursor ---------------------------------------------------------------------------------------

    def _move(self, db: Database, read_to: datetime | None, to: datetime, done: Reading) -> None:
        """Move the cursor. Every day that it closes gets a last run, on first load every day until now."""
        cursor.move(db, self.connection.name, to)
        today = self._day(to)
        if read_to is None:
            complete = list(_days(self.connection.start_date, today + timedelta(days=1)))
        else:
            complete = list(_days(max(self._day(read_to), self.connection.start_date), today))
        windows.mark(db, self.connection.name, complete, reason=DAY_COMPLETE)
        done.days.update(complete)
        done.read_to = to

    def _tell(self, db: Database, entries: Sequence[audit.Entry]) -> None:
        audit.append(db, self.connection.name, entries, run_id=self.run_id, actor="ml-connector")

    def _overlapped(self, read_to: datetime) -> datetime:
        return read_to - timedelta(seconds=self.connection.timing.overlap)

    def _day(self, instant: datetime) -> date:
        return instant.astimezone(self.connection.zone).date()

    def _start(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.connection.zone).astimezone(UTC)

    def _end(self, day: date) -> datetime:
        return self._start(day + timedelta(days=1))


def _still_there(row: Mapping[str, Any]) -> dict[str, str]:
    """The report, the check and the decision (S76)."""
    return {
        "report": "change data capture says that it is deleted",
        "check": f"a query by its id found it, SyncToken {row.get('SyncToken')}",
        "decision": "nothing is taken back",
    }


def _days(first: date, end: date) -> Iterator[date]:
    """The days from `first` until before `end`."""
    return (first + timedelta(days=number) for number in range((end - first).days))


def _without_tombstones(pages: Sequence[Page], still_there: Sequence[Page]) -> Iterator[Page]:
    """`pages` without the tombstones of records that are still there."""
    found = {(page.entity, str(row.get("Id"))) for page in still_there for row in page.rows}
    for page in pages:
        rows = [
            row for row in page.rows if not (is_deleted(row) and (page.entity, str(row.get("Id"))) in found)
        ]
        yield replace(page, rows=rows)


def _tombstones(entity: Entity, ids: Iterable[str], asked_at: datetime) -> Page:
    changed = {"LastUpdatedTime": asked_at.isoformat()}
    rows = [{"Id": qbo_id, "status": "Deleted", "MetaData": changed} for qbo_id in sorted(ids)]
    return Page(entity, rows, asked_at)
