"""Replays by people: which records wait on some days, and what became of each of them afterwards."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, func, select

from ml_connector.store import audit, records
from ml_connector.store.records import State
from ml_connector.store.sets import one_of
from ml_connector.store.tables import audit as audit_table
from ml_connector.store.tables import record

WAITS = (State.HELD, State.RETRYING)
NO_OP = "no-op"


@dataclass(frozen=True)
class Waiting:
    """A record that a replay takes up. `reasons` of its holds; none for one that waits for an answer of Procore."""

    entity: str
    qbo_id: str
    day: date
    document: str
    vendor_name: str
    held: Decimal
    reasons: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name for commands, such as `bill:4471`."""
        return f"{self.entity.lower()}:{self.qbo_id}"


@dataclass(frozen=True)
class Outcome:
    """What became of a record of a replay: its state now, or `no-op` when the replay had nothing to do any more.

    `attempt` counts the replays of it, the first try as 1.
    """

    record: Waiting
    outcome: str
    reasons: tuple[str, ...]
    attempt: int


def waiting(
    db: Connection,
    connection: str,
    *,
    days: Collection[date] | None = None,
    only: tuple[str, str] | None = None,
) -> list[Waiting]:
    """The records that are held or wait for an answer, oldest window first; of `days`, or the one record `only`."""
    statement = select(record).where(
        record.c.connection == connection, record.c.state.in_([str(state) for state in WAITS])
    )
    if days is not None:
        statement = statement.where(one_of(record.c.day, days))
    if only is not None:
        statement = statement.where(record.c.entity == only[0], record.c.qbo_id == only[1])
    rows = db.execute(statement.order_by(record.c.day, record.c.entity, record.c.qbo_id)).all()
    why = _reasons(db, connection, [(row.entity, row.qbo_id) for row in rows])
    return [
        Waiting(
            row.entity,
            row.qbo_id,
            row.day,
            row.document,
            row.vendor_name,
            row.held,
            why.get((row.entity, row.qbo_id), ()),
        )
        for row in rows
    ]


def ask(db: Connection, connection: str, asked: Sequence[Waiting], *, by: str) -> None:
    """Enter in the audit trail that a person replays these records."""
    told = [audit.Entry("replay asked", one.entity, one.qbo_id, {"from": list(one.reasons)}) for one in asked]
    audit.append(db, connection, told, run_id="", actor=by)


def conclude(
    db: Connection, connection: str, asked: Sequence[Waiting], *, runs: Sequence[str], by: str
) -> list[Outcome]:
    """What became of the records that `runs` replayed; it is entered in the audit trail of each.

    A record that another run had finished before counts as no-op.
    """
    states: dict[tuple[str, str], str] = {}
    replays: Counter[tuple[str, str]] = Counter()
    for entity in {one.entity for one in asked}:
        ids = [one.qbo_id for one in asked if one.entity == entity]
        for qbo_id, row in records.known(db, connection, entity, ids).items():
            is_ours = row.state in WAITS or row.run_id in runs
            states[entity, qbo_id] = row.state if is_ours else NO_OP
        replays.update(_replays(db, connection, entity, ids))
    why = _reasons(db, connection, list(states))
    outcomes = [
        Outcome(one, states[key], why.get(key, ()), replays[key] + 1)
        for one in asked
        for key in [(one.entity, one.qbo_id)]
    ]
    told = [
        audit.Entry(
            "replayed",
            outcome.record.entity,
            outcome.record.qbo_id,
            {"outcome": outcome.outcome, "reasons": list(outcome.reasons), "attempt": outcome.attempt},
        )
        for outcome in outcomes
    ]
    audit.append(db, connection, told, run_id=runs[-1] if runs else "", actor=by)
    return outcomes


def counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many records ended in which outcome."""
    return dict(sorted(Counter(outcome.outcome for outcome in outcomes).items()))


def _reasons(
    db: Connection, connection: str, names: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for entity in {entity for entity, _ in names}:
        ids = [qbo_id for kind, qbo_id in names if kind == entity]
        for qbo_id, reasons in records.reasons_of(db, connection, entity, ids).items():
            found[entity, qbo_id] = tuple(dict.fromkeys(reasons))
    return found


def _replays(db: Connection, connection: str, entity: str, ids: Sequence[str]) -> dict[tuple[str, str], int]:
    rows = db.execute(
        select(audit_table.c.qbo_id, func.count())
        .where(
            audit_table.c.connection == connection,
            audit_table.c.entity == entity,
            one_of(audit_table.c.qbo_id, ids),
            audit_table.c.event == "replay asked",
        )
        .group_by(audit_table.c.qbo_id)
    )
    return {(entity, qbo_id): count for qbo_id, count in rows}
