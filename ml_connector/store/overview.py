"""What people are told of records: holds with their sentences, and counts and money by state. Nothing is written here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, not_, select

from ml_connector.holds import HIDDEN, REASONS, Choice, Reason, choices_of
from ml_connector.store.ledger import Fate, Kind
from ml_connector.store.sets import one_of
from ml_connector.store.tables import hold, ledger, mapped_line, record

_FAILING = and_(
    hold.c.reason.in_([str(reason) for reason, facts in REASONS.items() if facts.fails_day]),
    not_(hold.c.cause.startswith(f"{Reason.PERMISSION} {HIDDEN} ")),
)


@dataclass(frozen=True)
class HeldRecord:
    """One hold of one record, for people."""

    entity: str
    qbo_id: str
    document: str
    vendor_name: str
    txn_date: date | None
    day: date
    total: Decimal
    amount: Decimal
    reason: str
    cause: str
    sentence: str
    fixer: str
    release: str
    since: datetime
    version: int  # landing number of the version that waits
    about: str  # of `holds.Hold`
    choices: tuple[Choice, ...]  # what may be decided


class Part(StrEnum):
    """What a bill becomes in Procore; a bill may have both parts, and one that became nothing counts as direct cost."""

    DIRECT_COSTS = "direct_costs"
    REQUISITIONS = "requisitions"


def _has(part: Part) -> ColumnElement[bool]:
    on_commitment = _shows(Kind.REQUISITION, "commitment", "retainage")
    if part is Part.REQUISITIONS:
        return on_commitment
    return _shows(Kind.DIRECT_COST, "direct_cost") | ~on_commitment


def _shows(kind: Kind, *routes: str) -> ColumnElement[bool]:
    """Whether a record has lines that were mapped that way, or still has something of that kind in Procore."""
    lines = select(mapped_line.c.line).where(_of_record(mapped_line), mapped_line.c.route.in_(routes))
    targets = select(ledger.c.kind).where(
        _of_record(ledger), ledger.c.kind == str(kind), ledger.c.state != str(Fate.REMOVED)
    )
    return lines.exists() | targets.exists()


def _of_record(table: Table) -> ColumnElement[bool]:
    return and_(*(table.c[name] == record.c[name] for name in ("connection", "entity", "qbo_id")))


def holds_of(
    db: Connection,
    connection: str,
    *,
    days: Sequence[date] | None = None,
    entities: Sequence[str] | None = None,
    part: Part | None = None,
    reasons: Sequence[Reason] | None = None,
    failing: bool | None = None,
    limit: int | None = None,
) -> list[HeldRecord]:
    """Open holds, oldest window first, filtered by what is given; `failing` are those that turn their day FAILED."""
    statement = (
        select(
            hold,
            record.c.document,
            record.c.vendor_name,
            record.c.txn_date,
            record.c.day,
            record.c.total,
            record.c.landing_number,
        )
        .join(record, _of_record(hold))
        .where(hold.c.connection == connection)
        .order_by(record.c.day, hold.c.entity, hold.c.qbo_id, hold.c.ordinal)
    )
    if days is not None:
        statement = statement.where(one_of(record.c.day, days))
    if entities is not None:
        statement = statement.where(hold.c.entity.in_(list(entities)))
    if part is not None:
        statement = statement.where(_has(part))
    if reasons is not None:
        statement = statement.where(hold.c.reason.in_([str(reason) for reason in reasons]))
    if failing is not None:
        statement = statement.where(_FAILING if failing else not_(_FAILING))
    if limit is not None:
        statement = statement.limit(limit)
    return [
        HeldRecord(
            row.entity,
            row.qbo_id,
            row.document,
            row.vendor_name,
            row.txn_date,
            row.day,
            row.total,
            row.amount,
            row.reason,
            row.cause,
            row.sentence,
            str(REASONS[Reason(row.reason)].fixer),
            REASONS[Reason(row.reason)].release,
            row.since,
            row.landing_number,
            row.about,
            choices_of(Reason(row.reason), entity=row.entity, about=row.about),
        )
        for row in db.execute(statement)
    ]


@dataclass(frozen=True)
class Tally:
    """Records of one entity in one state: how many, and their money (totals, posted, excluded, held)."""

    count: int
    total: Decimal
    posted: Decimal
    excluded: Decimal
    held: Decimal


def tally(
    db: Connection, connection: str, *, days: Sequence[date] | None = None, part: Part | None = None
) -> Mapping[tuple[str, str], Tally]:
    """Counts and money of records by (entity, state), filtered by what is given."""
    statement = _tallied(connection, [record.c.entity, record.c.state], days, part)
    return {(entity, state): Tally(*money) for entity, state, *money in db.execute(statement)}


def tally_by_day(
    db: Connection, connection: str, days: Sequence[date], *, part: Part | None = None
) -> Mapping[date, Mapping[tuple[str, str], Tally]]:
    """As `tally`, for each of `days` by itself."""
    found: dict[date, dict[tuple[str, str], Tally]] = {day: {} for day in days}
    statement = _tallied(connection, [record.c.day, record.c.entity, record.c.state], days, part)
    for day, entity, state, *money in db.execute(statement):
        found[day][entity, state] = Tally(*money)
    return found


def _tallied(
    connection: str, by: Sequence[ColumnElement[Any]], days: Sequence[date] | None, part: Part | None
) -> Select[Any]:
    statement = (
        select(
            *by,
            func.count(),
            func.sum(record.c.total),
            func.sum(record.c.posted),
            func.sum(record.c.excluded),
            func.sum(record.c.held),
        )
        .where(record.c.connection == connection)
        .group_by(*by)
        .order_by(*by)
    )
    if days is not None:
        statement = statement.where(one_of(record.c.day, days))
    if part is not None:
        statement = statement.where(_has(part))
    return statement


def waiting_by_reason(db: Connection, connection: str) -> Mapping[str, int]:
    """Open holds that turn no day FAILED, by reason, most frequent first."""
    count = func.count()
    statement = (
        select(hold.c.reason, count.label("number"))
        .where(hold.c.connection == connection, not_(_FAILING))
        .group_by(hold.c.reason)
        .order_by(count.desc(), hold.c.reason)
    )
    return {row.reason: row.number for row in db.execute(statement)}


@dataclass(frozen=True)
class PostedRecord:
    """One record that Procore holds of a record of QuickBooks, for people."""

    entity: str
    qbo_id: str
    document: str
    vendor_name: str
    kind: Kind
    amount: Decimal
    project_id: str
    procore_id: int


def posted_of(
    db: Connection, connection: str, days: Sequence[date], kind: Kind, *, limit: int
) -> list[PostedRecord]:
    """What is confirmed in Procore of the records of `days`, largest money first."""
    statement = (
        select(
            record.c.entity,
            record.c.qbo_id,
            record.c.document,
            record.c.vendor_name,
            ledger.c.amount,
            ledger.c.project_id,
            ledger.c.procore_id,
        )
        .join(ledger, _of_record(ledger))
        .where(
            record.c.connection == connection,
            one_of(record.c.day, days),
            ledger.c.kind == str(kind),
            ledger.c.state == str(Fate.CONFIRMED),
            ledger.c.procore_id.is_not(None),
        )
        .order_by(ledger.c.amount.desc(), ledger.c.origin_id)
        .limit(limit)
    )
    return [
        PostedRecord(
            row.entity,
            row.qbo_id,
            row.document,
            row.vendor_name,
            kind,
            row.amount,
            row.project_id,
            row.procore_id,
        )
        for row in db.execute(statement)
    ]
