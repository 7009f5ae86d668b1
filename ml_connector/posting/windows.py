"""Posting windows: what mapping planned for the days is compared with the ledger, and only the difference is written.

Records go in slices of a fixed size, so that neither memory nor a crash's reach grows with the window.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.errors import BadRecord
from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO
from ml_connector.posting.direct_costs import DirectCostDesk, Work
from ml_connector.posting.targets import DirectCost, direct_costs
from ml_connector.posting.vendors import Links, VendorDesk
from ml_connector.procore.client import ProcoreClient
from ml_connector.qbo.models import Bill, Entity, parse_bill, parse_vendor
from ml_connector.settings import Connection
from ml_connector.store import landing, ledger, records
from ml_connector.store.ledger import Fate, Kind
from ml_connector.store.records import MappedLine, State

SLICE = 1000
BILL_WORDS = {Entity.BILL: "Bill", Entity.VENDOR_CREDIT: "Vendor credit"}


@dataclass
class Posted:
    """What posting did: records by outcome, money posted now, days that failed or wait, and until when."""

    outcomes: dict[tuple[Entity, State], int] = field(default_factory=dict)
    posted: Decimal = ZERO
    failed_days: dict[date, list[str]] = field(default_factory=dict)  # sentences of refused records
    waiting_days: dict[date, datetime] = field(default_factory=dict)

    def count(self, entity: Entity, state: State) -> None:
        """Add one record."""
        self.outcomes[entity, state] = self.outcomes.get((entity, state), 0) + 1

    def wait(self, day: date, until: datetime) -> None:
        """Keep a day open until `until`."""
        self.waiting_days[day] = max(until, self.waiting_days.get(day, until))


@dataclass(frozen=True)
class _Bill:
    """A bill of the slice with all that planning needs."""

    row: Row[Any]  # of `record`
    version: landing.Version
    bill: Bill | None  # None for a deleted one
    lines: list[MappedLine]
    targets: list[Row[Any]]  # of `ledger`


@dataclass
class Poster:
    """Posts windows of one connection. `resend` repeats bodies that Procore refused before: a replay by a person."""

    connection: Connection
    engine: Engine
    client: ProcoreClient
    run_id: str
    resend: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self._vendors = VendorDesk(
            self.connection, self.engine, self.client, self.run_id, self._settled_at, self.now
        )
        self._direct_costs = DirectCostDesk(
            self.connection, self.engine, self.client, self.run_id, self._settled_at
        )

    def _settled_at(self) -> datetime:
        return self.now() + timedelta(seconds=self.connection.timing.settle)

    def post_vendors(self, days: Sequence[date]) -> Posted:
        """Put the active vendors of `days` into Procore's directory."""
        done = Posted()
        for rows in self._slices(Entity.VENDOR, days):
            with self.engine.connect() as db:
                versions = landing.by_number(db, self.connection.name, [row.landing_number for row in rows])
            active = [row for row in rows if _is_active(versions[row.landing_number])]
            links = self._vendors.link([row.qbo_id for row in active])
            with self.engine.begin() as db:
                for row in rows:
                    self._finish_vendor(db, row, links, row in active, done)
        return done

    def _finish_vendor(self, db: Database, row: Row[Any], links: Links, active: bool, done: Posted) -> None:
        hold = links.holds.get(row.qbo_id)
        if row.qbo_id in links.waiting:
            self._move(db, Entity.VENDOR, row, State.RETRYING, done)
            done.wait(row.day, links.waiting[row.qbo_id])
        elif hold is not None:
            self._move(db, Entity.VENDOR, row, State.HELD, done, holds=[hold])
        elif not active:
            self._move(db, Entity.VENDOR, row, State.EXCLUDED, done)
        else:
            self._move(db, Entity.VENDOR, row, State.POSTED, done)

    def post_direct_costs(self, days: Sequence[date]) -> Posted:
        """Bring the direct costs of the bills of `days` to what was planned."""
        done = Posted()
        for entity in (Entity.BILL, Entity.VENDOR_CREDIT):
            for rows in self._slices(entity, days):
                self._post_slice(entity, rows, done)
        return done

    def _slices(self, entity: Entity, days: Sequence[date]) -> Iterator[list[Row[Any]]]:
        after = ""
        while True:
            with self.engine.connect() as db:
                rows = records.planned(db, self.connection.name, entity, days, after=after, limit=SLICE)
            if not rows:
                return
            yield rows
            after = rows[-1].qbo_id

    # -- one slice --------------------------------------------------------------------------------------------------

    def _post_slice(self, entity: Entity, rows: Sequence[Row[Any]], done: Posted) -> None:
        bills = self._load(entity, rows)
        unsettled = {bill.row.qbo_id: until for bill in bills if (until := self._unsettled(bill)) is not None}
        ready = [bill for bill in bills if bill.row.qbo_id not in unsettled]
        links = self._vendors.link({bill.bill.vendor.id for bill in ready if bill.bill is not None and _sends(bill)})
        works = {bill.row.qbo_id: self._work(entity, bill, links) for bill in ready}
        self._put_vendors_on_projects(ready, works, links)
        changed = [work for work in works.values() if work.open and self._differs(work)]
        if changed:
            self._direct_costs.write(changed)
        wrote = {work.qbo_id for work in changed}
        with self.engine.begin() as db:
            for bill in bills:
                work = works.get(bill.row.qbo_id)
                if work is None:
                    self._move(db, entity, bill.row, State.RETRYING, done)
                    done.wait(bill.row.day, unsettled[bill.row.qbo_id])
                else:
                    self._finish(db, entity, bill, work, wrote=bill.row.qbo_id in wrote, done=done)

    def _load(self, entity: Entity, rows: Sequence[Row[Any]]) -> list[_Bill]:
        ids = [row.qbo_id for row in rows]
        name = self.connection.name
        with self.engine.connect() as db:
            versions = landing.by_number(db, name, [row.landing_number for row in rows])
            lines = records.lines_of(db, name, entity, ids)
            targets = ledger.targets_of(db, name, entity, ids, kind=Kind.DIRECT_COST)
        return [
            _Bill(
                row,
                versions[row.landing_number],
                None if versions[row.landing_number].tombstone else parse_bill(versions[row.landing_number].raw, entity),
                lines[row.qbo_id],
                targets[row.qbo_id],
            )
            for row in rows
        ]

    def _unsettled(self, bill: _Bill) -> datetime | None:
        """Until when a write of an earlier run may still be under way; None when nothing is."""
        waits = [
            target.not_before or target.sent_at + timedelta(seconds=self.connection.timing.settle)
            for target in bill.targets
            if target.state in (Fate.SENDING, Fate.UNKNOWN)
        ]
        until = max(waits, default=None)
        return until if until is not None and until > self.now() else None

    def _work(self, entity: Entity, bill: _Bill, links: Links) -> Work:
        holds: list[Hold] = []
        wait_until: datetime | None = None
        wanted: list[DirectCost] = []
        if bill.bill is not None and _sends(bill):
            vendor = bill.bill.vendor
            if vendor.id in links.waiting:
                wait_until = links.waiting[vendor.id]
            elif vendor.id in links.holds:
                holds.append(links.holds[vendor.id])
            else:
                wanted = direct_costs(
                    bill.bill,
                    bill.lines,
                    realm=self.connection.qbo.realm_id,
                    vendor_id=links.ids[vendor.id],
                    status=self.connection.policies.direct_cost_status,
                    numbers={
                        target.origin_id: target.number for target in bill.targets if target.confirmed_hash is not None
                    },
                )
        origins = {cost.origin_id for cost in wanted}
        gone = [target for target in bill.targets if target.confirmed_hash is not None and target.origin_id not in origins]
        work = Work(
            entity=entity,
            qbo_id=bill.row.qbo_id,
            words=f"{BILL_WORDS[entity]} {bill.row.document or f'without number (QBO id {bill.row.qbo_id})'} "
            f"({bill.row.vendor_name}, {bill.row.total})",
            landing_number=bill.version.number,
            sync_token=bill.version.sync_token,
            wanted=wanted,
            surplus=[] if holds or wait_until else gone,
            known={target.origin_id: target for target in bill.targets},
            holds=holds,
            wait_until=wait_until,
        )
        self._remember_refusal(work)
        return work

    def _remember_refusal(self, work: Work) -> None:
        """An automatic run never sends a refused body again: the same sentence, no call (design 7)."""
        for cost in work.wanted if not self.resend else []:
            row = work.known.get(cost.origin_id)
            if row is not None and row.refused_hash is not None and bytes(row.refused_hash) == cost.body_hash:
                work.holds.append(Hold(Reason.REFUSED, row.refusal, f"REFUSED {row.refusal}"[:200], ZERO))
                return

    def _put_vendors_on_projects(self, bills: Sequence[_Bill], works: Mapping[str, Work], links: Links) -> None:
        vendor_of = {bill.row.qbo_id: bill.bill.vendor.id for bill in bills if bill.bill is not None}
        sending = [work for work in works.values() if work.open and self._differs(work)]
        places = {
            (vendor_of[work.qbo_id], cost.project_id, links.ids[vendor_of[work.qbo_id]])
            for work in sending
            for cost in work.wanted
        }
        troubles = self._vendors.put_on_projects(sorted(places))
        for work in sending if troubles else []:
            for cost in work.wanted:
                trouble = troubles.get((vendor_of[work.qbo_id], cost.project_id))
                if isinstance(trouble, Hold):
                    work.holds.append(trouble)
                elif trouble is not None:
                    work.wait(trouble)

    @staticmethod
    def _differs(work: Work) -> bool:
        if work.surplus:
            return True
        for cost in work.wanted:
            row = work.known.get(cost.origin_id)
            if row is None or row.state != Fate.CONFIRMED or bytes(row.confirmed_hash) != cost.body_hash:
                return True
        return False

    def _finish(self, db: Database, entity: Entity, bill: _Bill, work: Work, *, wrote: bool, done: Posted) -> None:
        row = bill.row
        live = ledger.live_amounts(db, self.connection.name, entity, [row.qbo_id]).get(row.qbo_id, ZERO)
        if work.holds:
            held = row.total - row.excluded - live
            holds = [Hold(entry.reason, entry.sentence, entry.cause, held, entry.line) for entry in work.holds]
            self._move(db, entity, row, State.HELD, done, posted=live, held=held, holds=holds)
            return
        if work.wait_until is not None:
            held = row.total - row.excluded - live
            self._move(db, entity, row, State.RETRYING, done, posted=live, held=held)
            done.wait(row.day, work.wait_until)
            return
        had = any(target.confirmed_hash is not None for target in bill.targets)
        if not work.wanted:
            gone = State.REVERSED if had else State.NO_OP
            state = State.EXCLUDED if row.excluded and not had else gone
        elif not wrote:
            state = State.NO_OP
        else:
            state = State.UPDATED if had else State.POSTED
        if wrote:
            done.posted += live
        self._move(db, entity, row, State.HELD if row.held else state, done, posted=live, held=row.held, holds=None)

    def _move(
        self,
        db: Database,
        entity: Entity,
        row: Row[Any],
        state: State,
        done: Posted,
        *,
        posted: Decimal = ZERO,
        held: Decimal = ZERO,
        holds: Sequence[Hold] | None = (),
    ) -> None:
        records.move(
            db,
            self.connection.name,
            entity,
            row.qbo_id,
            state=state,
            posted=posted,
            held=held,
            holds=holds,
            run_id=self.run_id,
        )
        done.count(entity, state)


def _sends(bill: _Bill) -> bool:
    return any(line.outcome == "posted" for line in bill.lines)


def _is_active(version: landing.Version) -> bool:
    if version.tombstone:
        return False
    try:
        return parse_vendor(version.raw).active
    except BadRecord:
        return False
