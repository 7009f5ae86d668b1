"""Reading windows: what changed in QBO comes into landing, and the cursor moves past it.

One CDC call for all entity types when the cursor reaches far enough back; a walk by query when the answer was cut, the
cursor is old, or there is none; a query inside the days when they were covered before.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.holds import Reason
from ml_connector.qbo.client import CdcAnswer, CdcTooOld, QboClient
from ml_connector.qbo.models import REFERENCE, TRANSACTIONS, Entity, Raw
from ml_connector.reading import inbox
from ml_connector.reading.sightings import sighting
from ml_connector.reading.walk import Page, counts, existing, walk
from ml_connector.settings import Connection, Home
from ml_connector.store import audit, cursor, landing, windows
from ml_connector.store.claims import claim

ENTITIES = (Entity.VENDOR, *TRANSACTIONS, *REFERENCE)
CDC_REACH = timedelta(days=25)  # QBO promises 30; the edge is not documented (qbo-api 5)
HAS_STATE = (Entity.VENDOR, Entity.BILL, Entity.BILL_PAYMENT, Entity.VENDOR_CREDIT)
# Held records that a change of QBO's own lists may free.
WAIT_FOR_LISTS = (Reason.UNMAPPED, Reason.NO_PROJECT, Reason.PROJECT_NOT_LINKED, Reason.NOT_A_COST)


class Mode(StrEnum):
    """How a window was read."""

    CDC = "change data capture"
    WALK = "query walk from the cursor"
    FIRST_LOAD = "first load by query"
    DAYS = "query inside the days"


@dataclass
class Reading:
    """What reading did: mode, new versions and deletions by entity, rows that cost nothing, days marked, webhook files taken."""

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
    """Reads one connection. `clock` is used only to ask QBO for its own time before the first load."""

    connection: Connection
    home: Home
    engine: Engine
    client: QboClient
    run_id: str
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def read(self, days: Sequence[date]) -> Reading:
        """Bring what changed in `days` into landing.

        Days that the cursor does not cover, the open one above all, are read from the cursor on, whatever the windows;
        covered days are asked for again by query. Raises the client's errors: an outage is never an empty day.
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

    def _start(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.connection.zone).astimezone(UTC)

    def _end(self, day: date) -> datetime:
        return self._start(day + timedelta(days=1))

    def _read_days(self, days: Sequence[date], done: Reading) -> None:
        done.mode, done.why = Mode.DAYS, "the days were read before"
        self._land_pages(
            walk(self.client, ENTITIES, since=self._start(min(days)), until=self._end(max(days))), done
        )

    def _read_on(self, read_to: datetime | None, done: Reading) -> None:
        if read_to is None:
            self._first_load(done)
            return
        since = read_to - timedelta(seconds=self.connection.timing.overlap)
        answer = self._cdc(since, done)
        if answer.truncated:
            self._walk_on(since, answer.server_time, done)
            return
        with self.engine.begin() as db:
            for entity, rows in answer.blocks.items():
                self._land(db, entity, rows, answer.server_time, done)
            cursor.move(db, self.connection.name, answer.server_time)
        done.read_to = answer.server_time

    def _cdc(self, since: datetime, done: Reading) -> CdcAnswer:
        # An answer about the last minutes gives QBO's own time, from which the next cursor is taken.
        if self.clock() - since > CDC_REACH:
            done.why = "the cursor is older than 25 days: full comparison"
        else:
            try:
                answer = self.client.cdc(ENTITIES, since)
            except CdcTooOld:
                done.why = "QBO refused the cursor as too old: full comparison"
            else:
                if answer.truncated:
                    done.why = "the CDC answer was cut at its limit"
                return answer
        probe = self.client.cdc(ENTITIES, self.clock() - timedelta(minutes=5))
        return CdcAnswer(server_time=probe.server_time, blocks={}, truncated=True)

    def _first_load(self, done: Reading) -> None:
        done.mode, done.why = Mode.FIRST_LOAD, "there was no cursor"
        began = self.client.cdc(ENTITIES, self.clock() - timedelta(minutes=5)).server_time
        start = self.connection.start_date
        for entities in (REFERENCE, (Entity.VENDOR, *TRANSACTIONS)):
            pages = walk(self.client, entities, since=datetime(2000, 1, 1, tzinfo=UTC), dated_from=start)
            self._land_pages(pages, done)
        self._move(began, done)

    def _walk_on(self, since: datetime, server_time: datetime, done: Reading) -> None:
        done.mode = Mode.WALK
        # Counted before the walk: equal counts afterwards then prove that nothing is missing on either side.
        counted = counts(self.client, TRANSACTIONS, dated_from=self.connection.start_date)
        self._land_pages(walk(self.client, ENTITIES, since=since), done)
        for entity, count in counted.items():
            with self.engine.connect() as db:
                ours = landing.live_ids(db, self.connection.name, entity, from_date=self.connection.start_date)
            if len(ours) != count:
                self._bury_missing(entity, sorted(ours), done)
        self._move(server_time, done)

    def _bury_missing(self, entity: Entity, ours: Sequence[str], done: Reading) -> None:
        if not ours:
            return
        found, asked_at = existing(self.client, entity, ours)
        tombstones = [
            {"Id": qbo_id, "status": "Deleted", "MetaData": {"LastUpdatedTime": asked_at.isoformat()}}
            for qbo_id in ours
            if qbo_id not in found
        ]
        with self.engine.begin() as db:
            self._land(db, entity, tombstones, asked_at, done)

    def _move(self, to: datetime, done: Reading) -> None:
        with self.engine.begin() as db:
            cursor.move(db, self.connection.name, to)
        done.read_to = to

    def _land_pages(self, pages: Iterable[Page], done: Reading) -> None:
        for page in pages:
            with self.engine.begin() as db:
                self._land(db, page.entity, page.rows, page.server_time, done)

    def _land(
        self, db: Database, entity: Entity, rows: Sequence[Raw], server_time: datetime, done: Reading
    ) -> None:
        name = self.connection.name
        sightings = [
            sighting(
                entity, raw, zone=self.connection.zone, start=self.connection.start_date, server_time=server_time
            )
            for raw in rows
        ]
        landed = landing.land(db, name, entity, sightings, server_time=server_time, run_id=self.run_id)
        done.new[entity] += len(landed.new)
        done.deleted[entity] += len(landed.deleted)
        done.unchanged += landed.unchanged
        if entity in HAS_STATE:
            windows.mark(db, name, landed.days, reason=f"{entity} changed in QBO")
            done.days |= landed.days
        if entity in REFERENCE and landed.new:
            done.days.update(windows.wake(db, name, WAIT_FOR_LISTS, why=f"{entity} changed in QBO"))
        if landed.deleted:
            done.days.update(
                windows.wake(db, name, [Reason.POSSIBLE_DUPLICATE], why=f"a {entity} was deleted in QBO")
            )
        if entity in HAS_STATE:
            fresh = {*landed.new, *landed.deleted}
            seen = [
                audit.Entry(
                    "deleted in QBO" if row.tombstone else "seen",
                    entity,
                    row.qbo_id,
                    {"sync_token": row.sync_token, "content": row.content_hash.hex()[:16], "window": row.day},
                )
                for row in sightings
                if row.qbo_id in fresh
            ]
            audit.append(db, name, seen, run_id=self.run_id, actor="ml-connector")
