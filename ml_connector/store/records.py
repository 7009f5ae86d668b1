"""State of every source record: one row a record, its holds and its mapped lines. Replaced as a whole with each decision."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    Table,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from ml_connector.holds import Hold, Reason
from ml_connector.store.sets import one_of
from ml_connector.store.tables import hold, landing, mapped_line, record

# Names (entity, id) of the records that a run is limited to; None for all of its days.
Only = Collection[tuple[str, str]] | None


class State(StrEnum):
    """What became of a source record; every record seen is in exactly one."""

    PLANNED = "planned"  # mapped, not yet sent: only between two steps of a run
    POSTED = "posted"
    UPDATED = "updated"
    NO_OP = "no-op"
    HELD = "held"
    EXCLUDED = "excluded"
    REVERSED = "reversed"
    RETRYING = "retrying"


@dataclass(frozen=True)
class MappedLine:
    """A part of a line as it was decided, stored for lineage, proof and explanation."""

    line: int
    outcome: str  # posted | excluded | held | text (a line that carries no money)
    amount: Decimal
    project_id: str = ""
    wbs_code_id: int | None = None
    cost_code: str = ""
    cost_type: str = ""
    description: str = ""
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    reason: str = ""
    account: str = ""
    rule: str = ""
    # Of a posted line: direct_cost | commitment | retainage (negative: held, positive: released).
    route: str = ""
    commitment: str = ""  # as the rule names it


@dataclass(frozen=True)
class Decision:
    """What a step decided about one version of a record."""

    entity: str
    qbo_id: str
    landing_number: int
    day: date
    state: State
    document: str
    vendor_name: str
    txn_date: date | None
    total: Decimal
    posted: Decimal
    excluded: Decimal
    held: Decimal
    mapping_version: int | None
    projects_version: int | None
    holds: tuple[Hold, ...]
    lines: tuple[MappedLine, ...]
    closed_to: date | None = None  # the close of the books in force when the version was first seen
    told: Mapping[str, object] = field(default_factory=dict)  # figures for the audit trail


@dataclass(frozen=True)
class Move:
    """What posting made of a record.

    With `holds` None its holds stay. `settled`: Procore holds what was planned, and a hold is one of mapping.
    `excluded` is given where posting finds it; with None it stays.
    """

    entity: str
    qbo_id: str
    state: State
    posted: Decimal
    held: Decimal
    holds: Sequence[Hold] | None
    settled: bool
    excluded: Decimal | None = None


def save(db: Connection, connection: str, decisions: Sequence[Decision], *, run_id: str) -> None:
    """Store decisions, each replacing what was known of its record."""
    if not decisions:
        return
    statement = upsert(record)
    kept = {"connection", "entity", "qbo_id", "since"}
    changes: dict[str, Any] = {
        column.name: statement.excluded[column.name] for column in record.columns if column.name not in kept
    }
    changes["since"] = func.now()
    db.execute(
        statement.on_conflict_do_update(index_elements=["connection", "entity", "qbo_id"], set_=changes),
        [_record_row(connection, decision, run_id) for decision in decisions],
    )
    for entity in {decision.entity for decision in decisions}:
        ids = [decision.qbo_id for decision in decisions if decision.entity == entity]
        for table in (hold, mapped_line):
            db.execute(delete(table).where(*_of(table, connection, entity, ids)))
    holds = [
        row
        for decision in decisions
        for row in _hold_rows(connection, decision.entity, decision.qbo_id, decision.holds)
    ]
    if holds:
        db.execute(insert(hold), holds)
    lines = [row for decision in decisions for row in _line_rows(connection, decision)]
    if lines:
        db.execute(insert(mapped_line), lines)


def _of(table: Table, connection: str, entity: str, ids: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    # Column by column: Postgres looks a list of whole keys up by reading the table once for each of them.
    return table.c.connection == connection, table.c.entity == entity, one_of(table.c.qbo_id, ids)


def _ids_of(only: Collection[tuple[str, str]], entity: str) -> list[str]:
    return [qbo_id for kind, qbo_id in only if kind == entity]


def _clean(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _record_row(connection: str, decision: Decision, run_id: str) -> dict[str, Any]:
    return {
        "connection": connection,
        "entity": decision.entity,
        "qbo_id": decision.qbo_id,
        "landing_number": decision.landing_number,
        "day": decision.day,
        "state": str(decision.state),
        "document": _clean(decision.document),
        "vendor_name": _clean(decision.vendor_name),
        "txn_date": decision.txn_date,
        "total": decision.total,
        "posted": decision.posted,
        "excluded": decision.excluded,
        "held": decision.held,
        "mapping_version": decision.mapping_version,
        "projects_version": decision.projects_version,
        "settled": decision.state not in (State.PLANNED, State.RETRYING),
        "closed_to": decision.closed_to,
        "run_id": run_id,
    }


def _hold_rows(connection: str, entity: str, qbo_id: str, holds: Sequence[Hold]) -> list[dict[str, Any]]:
    return [
        {
            "connection": connection,
            "entity": entity,
            "qbo_id": qbo_id,
            "ordinal": ordinal,
            "reason": str(entry.reason),
            "cause": _clean(entry.cause),
            "sentence": _clean(entry.sentence),
            "amount": entry.amount,
            "line": entry.line,
            "about": _clean(entry.about),
        }
        for ordinal, entry in enumerate(holds)
    ]


def _line_rows(connection: str, decision: Decision) -> list[dict[str, Any]]:
    return [
        {
            "connection": connection,
            "entity": decision.entity,
            "qbo_id": decision.qbo_id,
            "ordinal": ordinal,
            "line": line.line,
            "outcome": line.outcome,
            "amount": line.amount,
            "project_id": line.project_id,
            "wbs_code_id": line.wbs_code_id,
            "cost_code": line.cost_code,
            "cost_type": line.cost_type,
            "description": _clean(line.description),
            "quantity": line.quantity,
            "unit_price": line.unit_price,
            "reason": line.reason,
            "account": _clean(line.account),
            "rule": line.rule,
            "route": str(line.route),
            "commitment": _clean(line.commitment),
        }
        for ordinal, line in enumerate(decision.lines)
    ]


def move(db: Connection, connection: str, moves: Sequence[Move], *, run_id: str) -> None:
    """Change state and money of records after posting tried them; their mapped lines stay."""
    if not moves:
        return
    db.execute(
        update(record)
        .where(
            record.c.connection == connection,
            record.c.entity == bindparam("of_entity"),
            record.c.qbo_id == bindparam("of_id"),
        )
        .values(
            state=bindparam("to_state"),
            posted=bindparam("to_posted"),
            held=bindparam("to_held"),
            excluded=func.coalesce(bindparam("to_excluded", type_=record.c.excluded.type), record.c.excluded),
            settled=bindparam("to_settled"),
            since=func.now(),
            run_id=run_id,
        ),
        [
            {
                "of_entity": move.entity,
                "of_id": move.qbo_id,
                "to_state": str(move.state),
                "to_posted": move.posted,
                "to_held": move.held,
                "to_excluded": move.excluded,
                "to_settled": move.settled,
            }
            for move in moves
        ],
    )
    for entity in {move.entity for move in moves if move.holds is not None}:
        ids = [move.qbo_id for move in moves if move.holds is not None and move.entity == entity]
        db.execute(delete(hold).where(*_of(hold, connection, entity, ids)))
    rows = [
        row for move in moves for row in _hold_rows(connection, move.entity, move.qbo_id, move.holds or ())
    ]
    if rows:
        db.execute(insert(hold), rows)


def exclude(
    db: Connection, connection: str, entity: str, qbo_id: str, lines: Sequence[MappedLine], *, reason: str
) -> None:
    """Count lines of a record that mapping planned as excluded: posting found that they belong nowhere."""
    if not lines:
        return
    amount = sum((line.amount for line in lines), Decimal(0))
    mine = and_(record.c.connection == connection, record.c.entity == entity, record.c.qbo_id == qbo_id)
    db.execute(update(record).where(mine).values(excluded=record.c.excluded + amount))
    db.execute(
        update(mapped_line)
        .where(
            mapped_line.c.connection == connection,
            mapped_line.c.entity == entity,
            mapped_line.c.qbo_id == qbo_id,
            mapped_line.c.route.in_({line.route for line in lines}),
            mapped_line.c.line.in_([line.line for line in lines]),
        )
        .values(outcome="excluded", reason=reason)
    )


def known(db: Connection, connection: str, entity: str, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """The record rows of `ids`, by id."""
    rows = db.execute(
        select(record).where(
            record.c.connection == connection, record.c.entity == entity, one_of(record.c.qbo_id, ids)
        )
    )
    return {row.qbo_id: row for row in rows}


def ids_of(db: Connection, connection: str, entity: str, *, limit: int | None = None) -> set[str]:
    """Ids of the records of one entity, at most `limit`."""
    mine = (record.c.connection == connection, record.c.entity == entity)
    return set(db.scalars(select(record.c.qbo_id).where(*mine).limit(limit)))


def untouched(db: Connection, connection: str, entity: str, versions: Mapping[str, int]) -> dict[str, int]:
    """Those of the versions (landing number by id) that no run has taken up to its end."""
    if not versions:
        return {}
    rows = known(db, connection, entity, list(versions))
    done = {
        qbo_id
        for qbo_id, row in rows.items()
        if row.landing_number == versions[qbo_id] and row.state not in (State.PLANNED, State.RETRYING)
    }
    return {qbo_id: number for qbo_id, number in versions.items() if qbo_id not in done}


def open_ids(db: Connection, connection: str, entity: str, ids: Collection[str]) -> set[str]:
    """Those of `ids` that posting has not settled yet."""
    return set(
        db.scalars(
            select(record.c.qbo_id).where(
                record.c.connection == connection,
                record.c.entity == entity,
                one_of(record.c.qbo_id, ids),
                ~record.c.settled,
            )
        )
    )


def reopen(db: Connection, connection: str, entity: str, ids: Collection[str]) -> set[date]:
    """Let posting plan records again whose versions have not changed; returns the days of all of them."""
    mine = and_(record.c.connection == connection, record.c.entity == entity, one_of(record.c.qbo_id, ids))
    db.execute(
        update(record)
        .where(mine, record.c.settled, record.c.state != str(State.HELD))
        .values(state=str(State.PLANNED), settled=False)
    )
    return set(db.scalars(select(record.c.day).where(mine)))


def causes_of(db: Connection, connection: str, entity: str, reason: Reason) -> list[tuple[str, str]]:
    """Cause and record id of every open hold of one entity and reason."""
    rows = db.execute(
        select(hold.c.cause, hold.c.qbo_id).where(
            hold.c.connection == connection, hold.c.entity == entity, hold.c.reason == str(reason)
        )
    )
    return [(cause, qbo_id) for cause, qbo_id in rows]


def of_days(db: Connection, connection: str, days: Sequence[date]) -> list[Row[Any]]:
    """The record rows of `days`, by day, entity and id."""
    order = (record.c.day, record.c.entity, record.c.qbo_id)
    return list(
        db.execute(
            select(record)
            .where(record.c.connection == connection, one_of(record.c.day, days))
            .order_by(*order)
        )
    )


def to_map(
    db: Connection,
    connection: str,
    entity: str,
    days: Sequence[date],
    *,
    again_held: bool,
    limit: int,
    after: int,
    only: Only = None,
    known_alone: bool = False,
    again_left_out: str = "",
) -> list[int]:
    """Landing numbers after `after` of the days' newest versions that are new, or held and may be free by now.

    Ordered, at most `limit`: the caller goes on from the last one, so memory does not grow with the window.
    `known_alone`: only of records that were decided before. `again_left_out`: also what was excluded for that reason.
    """
    among = () if only is None else (landing.c.qbo_id.in_(_ids_of(only, entity)),)
    again = [str(State.PLANNED), str(State.RETRYING), *([str(State.HELD)] if again_held else [])]
    # Looked up row by row and not joined: while a first load fills tables that Postgres has not counted yet,
    # it would join them by comparing every row with every other.
    stays: ColumnElement[bool] = record.c.state.not_in(again)
    if again_left_out:
        left_out = select(mapped_line.c.line).where(
            *(mapped_line.c[name] == record.c[name] for name in ("connection", "entity", "qbo_id")),
            mapped_line.c.reason == again_left_out,
        )
        stays &= ~left_out.correlate(record).exists()
    is_decided = (
        select((record.c.landing_number == landing.c.number) & stays)
        .where(
            record.c.connection == connection,
            record.c.entity == entity,
            record.c.qbo_id == landing.c.qbo_id,
        )
        .correlate(landing)
        .scalar_subquery()
    )
    return list(
        db.scalars(
            select(landing.c.number)
            .where(
                landing.c.connection == connection,
                landing.c.entity == entity,
                landing.c.is_current,
                one_of(landing.c.day, days),
                landing.c.number > after,
                is_decided.is_(False) if known_alone else func.coalesce(is_decided, false()).is_(False),
                *among,
            )
            .order_by(landing.c.number)
            .limit(limit)
        )
    )


def planned(
    db: Connection,
    connection: str,
    entity: str,
    days: Sequence[date],
    *,
    again_held: Sequence[date],
    after: str,
    limit: int,
    only: Only = None,
) -> list[Row[Any]]:
    """Records of `days` that mapping planned or that wait for a retry, by QBO id after `after`, at most `limit`.

    Those that mapping planned and posting had to hold come too when their day is one of `again_held`.
    """
    ready = record.c.state.in_([str(State.PLANNED), str(State.RETRYING)])
    held = (record.c.state == str(State.HELD)) & ~record.c.settled & one_of(record.c.day, again_held)
    among = () if only is None else (record.c.qbo_id.in_(_ids_of(only, entity)),)
    return list(
        db.execute(
            select(record)
            .where(
                record.c.connection == connection,
                record.c.entity == entity,
                one_of(record.c.day, days),
                ready | held,
                record.c.qbo_id > after,
                *among,
            )
            .order_by(record.c.qbo_id)
            .limit(limit)
        )
    )


def unchanged(
    db: Connection,
    connection: str,
    entity: str,
    decisions: Sequence[Decision],
    before: Mapping[str, Row[Any]],
) -> set[str]:
    """Ids of the decisions that say nothing new of a record whose row in `before` speaks of the same version.

    So it is when the same lines are planned and only posting is still to come, or the same holds are open.
    """
    again = [
        decision
        for decision in decisions
        if decision.qbo_id in before and before[decision.qbo_id].landing_number == decision.landing_number
    ]
    ids = [decision.qbo_id for decision in again]
    lines, holds = (_content(db, table, connection, entity, ids) for table in (mapped_line, hold))
    same = set()
    for decision in again:
        row, name = before[decision.qbo_id], decision.qbo_id
        same_lines = lines[name] == [_values(mapped_line, new) for new in _line_rows(connection, decision)]
        new_holds = _hold_rows(connection, entity, name, decision.holds)
        if row.settled:
            same_state = row.state == State.HELD and holds[name] == [_values(hold, new) for new in new_holds]
        else:
            same_state = decision.state is State.PLANNED
        if same_lines and same_state:
            same.add(name)
    return same


def reasons_of(db: Connection, connection: str, entity: str, ids: Sequence[str]) -> dict[str, list[str]]:
    """Reasons of open holds by record; records without any are absent."""
    found: dict[str, list[str]] = {}
    for qbo_id, reason in db.execute(
        select(hold.c.qbo_id, hold.c.reason)
        .where(hold.c.connection == connection, hold.c.entity == entity, one_of(hold.c.qbo_id, ids))
        .order_by(hold.c.qbo_id, hold.c.ordinal)
    ):
        found.setdefault(qbo_id, []).append(reason)
    return found


def questions_of(db: Connection, connection: str, entity: str, qbo_id: str) -> list[tuple[str, str]]:
    """Reason of every open hold of a record, and what a decision on it would be about."""
    rows = db.execute(
        select(hold.c.reason, hold.c.about)
        .where(hold.c.connection == connection, hold.c.entity == entity, hold.c.qbo_id == qbo_id)
        .order_by(hold.c.ordinal)
    )
    return [(reason, about) for reason, about in rows]


def _content(
    db: Connection, table: Table, connection: str, entity: str, ids: Sequence[str]
) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {qbo_id: [] for qbo_id in ids}
    if ids:
        mine = (table.c.connection == connection, table.c.entity == entity, one_of(table.c.qbo_id, ids))
        for row in db.execute(
            select(table).where(*mine).order_by(table.c.qbo_id, table.c.ordinal)
        ).mappings():
            found[row["qbo_id"]].append(_values(table, row))
    return found


def _values(table: Table, row: Mapping[str, Any] | RowMapping) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in table.columns if column.name != "since")


def lines_of(db: Connection, connection: str, entity: str, ids: Sequence[str]) -> dict[str, list[MappedLine]]:
    """The mapped lines of `ids` in their order, by id."""
    found: dict[str, list[MappedLine]] = {qbo_id: [] for qbo_id in ids}
    rows = db.execute(
        select(mapped_line)
        .where(
            mapped_line.c.connection == connection,
            mapped_line.c.entity == entity,
            one_of(mapped_line.c.qbo_id, ids),
        )
        .order_by(mapped_line.c.qbo_id, mapped_line.c.ordinal)
    )
    for row in rows:
        found[row.qbo_id].append(
            MappedLine(
                row.line,
                row.outcome,
                row.amount,
                row.project_id,
                row.wbs_code_id,
                row.cost_code,
                row.cost_type,
                row.description,
                row.quantity,
                row.unit_price,
                row.reason,
                row.account,
                row.rule,
                row.route,
                row.commitment,
            )
        )
    return found
