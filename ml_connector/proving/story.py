"""Everything that is known of one record, for one page: its versions, rules, publishers, targets and audit entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, select, tuple_
from sqlalchemy import Connection as Database

from ml_connector.store import audit
from ml_connector.store.tables import landing, ledger, mapped_line, record, sheet_version

Facts = Mapping[str, Any]  # by the column's name, as they are shown
_VERSION = (
    landing.c.number, landing.c.sync_token, landing.c.landed_at, landing.c.txn_date, landing.c.total,
    landing.c.document, landing.c.tombstone, landing.c.is_current, landing.c.run_id,
)  # fmt: skip
_LINE = (
    mapped_line.c.line, mapped_line.c.amount, mapped_line.c.outcome, mapped_line.c.route, mapped_line.c.project_id,
    mapped_line.c.cost_code, mapped_line.c.cost_type, mapped_line.c.rule, mapped_line.c.reason,
)  # fmt: skip
_TARGET = (
    ledger.c.origin_id, ledger.c.kind, ledger.c.project_id, ledger.c.commitment_id, ledger.c.procore_id,
    ledger.c.state, ledger.c.amount, ledger.c.number, ledger.c.attempts, ledger.c.sent_at,
)  # fmt: skip
_SHEET = (
    sheet_version.c.sheet, sheet_version.c.version, sheet_version.c.published_by, sheet_version.c.published_at,
)  # fmt: skip


@dataclass(frozen=True)
class Story:
    """One record: where it stands, and how it came there."""

    now: Facts  # state and money
    versions: Sequence[Facts]  # as QuickBooks showed it, oldest first
    lines: Sequence[Facts]  # as mapped now, each with the rule that took it
    sheets: Sequence[Facts]  # the versions of the sheets that ever decided it, and who published them
    targets: Sequence[Facts]  # what Procore holds or held of it
    entries: Sequence[audit.StoredEntry]


def story_of(db: Database, connection: str, entity: str, qbo_id: str) -> Story:
    """The story of a record that is there (of table `record`)."""

    def of(table: Table) -> ColumnElement[bool]:
        return and_(table.c.connection == connection, table.c.entity == entity, table.c.qbo_id == qbo_id)

    def facts(columns: Sequence[Any], order: Any) -> list[Facts]:
        table = columns[0].table
        return [dict(row) for row in db.execute(select(*columns).where(of(table)).order_by(order)).mappings()]

    entries = audit.story(db, connection, entity, qbo_id)
    used = {
        (sheet, entry.detail[sheet])
        for entry in entries
        for sheet in ("mapping", "projects")
        if isinstance(entry.detail.get(sheet), int)
    }
    published = db.execute(
        select(*_SHEET)
        .where(
            sheet_version.c.connection == connection,
            tuple_(sheet_version.c.sheet, sheet_version.c.version).in_(sorted(used)),
        )
        .order_by(sheet_version.c.sheet, sheet_version.c.version)
    )
    money = (
        record.c.state,
        record.c.total,
        record.c.posted,
        record.c.excluded,
        record.c.held,
        record.c.since,
    )
    return Story(
        now=dict(db.execute(select(*money).where(of(record))).mappings().one()),
        versions=facts(_VERSION, landing.c.number),
        lines=facts(_LINE, mapped_line.c.ordinal),
        sheets=[dict(row) for row in published.mappings()],
        targets=facts(_TARGET, ledger.c.origin_id),
        entries=entries,
    )
