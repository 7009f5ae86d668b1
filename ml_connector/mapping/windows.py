"""Mapping windows: the newest version of every record of a day becomes a decision in the store.

New versions are mapped, and held ones again, since their cause may be gone; what is posted and unchanged is left alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.holds import WAITS_FOR_DIRECTORY, Reason
from ml_connector.mapping.decided import standing
from ml_connector.mapping.deciding import EXPENSES_OFF, Books, Deciding, document_of, duplicate_of
from ml_connector.mapping.models import Reference
from ml_connector.mapping.publishing import newest_links, newest_rules
from ml_connector.mapping.vendor_merges import as_entered, find_merges
from ml_connector.money import ZERO
from ml_connector.procore.models import Catalog
from ml_connector.qbo.models import JOB_COSTS, Entity, parse_account, parse_customer, parse_item
from ml_connector.settings import Connection
from ml_connector.store import aliases, audit, cursor, landing, ledger, records, windows
from ml_connector.store.records import Decision, Only, State

CHUNK = 500
MAPPED = (Entity.VENDOR, *JOB_COSTS, Entity.BILL_PAYMENT)
FREED_BY_MERGE = (Reason.VENDOR_MISMATCH, Reason.COMMITMENT_MISSING)


@dataclass
class Mapped:
    """What mapping did: records by entity and state, and money of bills and the like (total, excluded, held)."""

    states: dict[tuple[Entity, State], int] = field(default_factory=dict)
    total: Decimal = ZERO
    excluded: Decimal = ZERO
    held: Decimal = ZERO

    def count(self, decision: Decision) -> None:
        """Add one decision."""
        key = (Entity(decision.entity), decision.state)
        self.states[key] = self.states.get(key, 0) + 1
        self.total += decision.total
        self.excluded += decision.excluded
        self.held += decision.held


@dataclass(frozen=True)
class Mapper:
    """Maps windows of one connection. `load_catalog` gives the stored copy of Procore's lists."""

    connection: Connection
    engine: Engine
    load_catalog: Callable[[Database], Catalog]
    run_id: str
    only: Only = None  # the records that the run is limited to

    def map_days(self, days: Sequence[date]) -> Mapped:
        """Decide every record of `days` that is new or held. Never raises for one record: it is held instead.

        A record of which nothing new can be said costs no write: neither a row nor an entry of the trail.
        """
        done = Mapped()
        with self.engine.connect() as db:
            books = self.books(db)
        for entity, numbers in self._pending(days):
            with self.engine.begin() as db:
                decisions = self.decide(db, entity, numbers, books)
                self._store(db, entity, decisions, days)
            for decision in decisions:
                done.count(decision)
        return done

    def decisions(self, days: Sequence[date]) -> Iterator[Decision]:
        """What `map_days` would decide now, without storing it."""
        with self.engine.connect() as db:
            books = self.books(db)
            for entity, numbers in self._pending(days):
                yield from self.decide(db, entity, numbers, books)

    def _pending(self, days: Sequence[date]) -> Iterator[tuple[Entity, list[int]]]:
        for entity in MAPPED:
            after = 0
            while True:
                with self.engine.connect() as db:
                    numbers = to_map(
                        db,
                        self.connection,
                        entity,
                        days,
                        again_held=True,
                        limit=CHUNK,
                        after=after,
                        only=self.only,
                    )
                if not numbers:
                    break
                yield entity, numbers
                after = numbers[-1]

    def _store(
        self, db: Database, entity: Entity, decisions: Sequence[Decision], days: Sequence[date]
    ) -> None:
        name, ids = self.connection.name, [decision.qbo_id for decision in decisions]
        before = records.known(db, name, entity, ids)
        reasons = records.reasons_of(db, name, entity, ids)
        same = records.unchanged(db, name, entity, decisions, before)
        fresh = [decision for decision in decisions if decision.qbo_id not in same]
        records.save(db, name, fresh, run_id=self.run_id)
        self._wake_others(db, fresh, before, days)
        told = [
            entry
            for decision in fresh
            for entry in _told(decision, before.get(decision.qbo_id), reasons.get(decision.qbo_id, []))
        ]
        if entity is Entity.VENDOR:
            told += self._merges(db, [one.landing_number for one in fresh if one.qbo_id in before])
        audit.append(db, name, told, run_id=self.run_id, actor="ml-connector")

    def _merges(self, db: Database, numbers: Sequence[int]) -> list[audit.Entry]:
        """Note what QBO merged, before any bill that it moved is decided; returns what the trail is to be told."""
        name, told = self.connection.name, []
        for merge in find_merges(db, name, list(landing.by_number(db, name, numbers).values())):
            aliases.keep(db, name, loser=merge.loser, winner=merge.winner, moved=merge.moved)
            windows.wake(db, name, FREED_BY_MERGE, why="vendors were merged in QBO")
            facts = {"loser": merge.loser.vendor, "loser_name": merge.loser.name, "winner": merge.winner}
            detail = {**facts, "records": len(merge.moved)}
            told += [
                audit.Entry("merged in QBO", Entity.VENDOR, vendor, detail)
                for vendor in (merge.loser.vendor, merge.winner)
            ]
        return told

    def _wake_others(
        self, db: Database, fresh: Sequence[Decision], before: Mapping[str, Row[Any]], days: Sequence[date]
    ) -> None:
        """A day that lost a waiting record to a later one may be clean by now; so may a duplicate of a changed bill."""
        name = self.connection.name
        changed = [row for row in map(before.get, [decision.qbo_id for decision in fresh]) if row is not None]
        moved = {decision.qbo_id: decision.day for decision in fresh}
        left = {
            row.day
            for row in changed
            if row.day != moved[row.qbo_id] and row.state in (State.HELD, State.RETRYING)
        }
        windows.mark(db, name, left - set(days), reason="a waiting record was superseded")
        causes = [cause for row in changed for cause in (duplicate_of(row.qbo_id), *_waiting_for_vendor(row))]
        if causes:
            windows.wake_causes(db, name, causes, why="what the record waits for changed in QBO")

    def books(self, db: Database) -> Books:
        """What the connection maps by now."""
        name = self.connection.name
        return Books(
            rules=newest_rules(db, name),
            links=newest_links(db, name),
            reference=load_reference(db, self.connection),
            catalog=self.load_catalog(db),
            went_live=cursor.went_live(db, name),
        )

    def decide(self, db: Database, entity: Entity, numbers: Sequence[int], books: Books) -> list[Decision]:
        """The decisions by `books` on versions of one kind, in the order of their landing `numbers`."""
        versions = landing.by_number(db, self.connection.name, numbers)
        if entity in JOB_COSTS:
            versions = as_entered(db, self.connection.name, entity, versions)
        ids = [version.qbo_id for version in versions.values()]
        live = ledger.live_amounts(db, self.connection.name, entity, ids)
        before = records.known(db, self.connection.name, entity, ids)
        twins = self._twins(db, entity, list(versions.values()))
        made = standing(db, self.connection.name, entity, versions.values())
        deciding = Deciding(self.connection, books, live, before, twins, made, db)
        return [deciding.decide(versions[number]) for number in numbers]

    def _twins(
        self, db: Database, entity: Entity, versions: Sequence[landing.Version]
    ) -> dict[tuple[str, str], list[landing.Twin]]:
        documents = [document_of(entity, version.raw) for version in versions]
        return landing.same_documents(
            db, self.connection.name, entity, [pair for pair in documents if all(pair)]
        )


def to_map(
    db: Database,
    connection: Connection,
    entity: Entity,
    days: Sequence[date],
    *,
    again_held: bool,
    limit: int,
    after: int,
    only: Only = None,
) -> list[int]:
    """Landing numbers to be decided, as of `records.to_map`.

    Of purchases, with the policy `expenses: off`, only those that were taken up before; and once it is on, also those
    that were left out for it.
    """
    is_off = connection.policies.expenses == "off"
    is_expense = entity is Entity.PURCHASE
    return records.to_map(
        db,
        connection.name,
        entity,
        days,
        again_held=again_held,
        limit=limit,
        after=after,
        only=only,
        known_alone=is_expense and is_off,
        again_left_out=EXPENSES_OFF if is_expense and not is_off else "",
    )


def load_reference(db: Database, connection: Connection) -> Reference:
    """QBO's lists as they were landed last."""
    accounts = (parse_account(version.raw) for version in landing.every(db, connection.name, Entity.ACCOUNT))
    items = (parse_item(version.raw) for version in landing.every(db, connection.name, Entity.ITEM))
    customers = (
        parse_customer(version.raw) for version in landing.every(db, connection.name, Entity.CUSTOMER)
    )
    return Reference(
        accounts={account.id: account for account in accounts},
        items={item.id: item for item in items},
        customers={customer.id: customer for customer in customers},
        home_currency=connection.qbo.home_currency,
    )


def _waiting_for_vendor(row: Row[Any]) -> list[str]:
    if row.entity != Entity.VENDOR:
        return []
    reasons = (*WAITS_FOR_DIRECTORY, Reason.UNREADABLE, Reason.REFUSED)
    return [f"{reason} vendor {row.qbo_id}" for reason in reasons]


def _told(decision: Decision, before: Row[Any] | None, reasons: Sequence[str]) -> Iterator[audit.Entry]:
    if before is not None and before.state == State.HELD and decision.state is not State.HELD:
        yield audit.Entry(
            "released" if before.landing_number == decision.landing_number else "superseded",
            decision.entity,
            decision.qbo_id,
            {
                "from": sorted(set(reasons)),
                "mapping": decision.mapping_version,
                "projects": decision.projects_version,
                "waited_since": before.since,
            },
        )
    yield audit.Entry(
        "mapped",
        decision.entity,
        decision.qbo_id,
        {
            "state": decision.state,
            "version": decision.landing_number,
            "mapping": decision.mapping_version,
            "projects": decision.projects_version,
            "total": decision.total,
            "excluded": decision.excluded,
            "held": decision.held,
            "rules": sorted({line.rule for line in decision.lines if line.rule}),
            "holds": [{"reason": entry.reason, "sentence": entry.sentence} for entry in decision.holds],
            **decision.told,
        },
    )
