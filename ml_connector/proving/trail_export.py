"""The audit trail as CSV or JSON for an auditor: a stated schema, streamed, and no cell that a spreadsheet would execute."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Any

from sqlalchemy import Connection as Database
from sqlalchemy import Row, and_, select

from ml_connector.store import audit
from ml_connector.store.tables import audit as table
from ml_connector.store.tables import record

SCHEMA = "ml-connector-audit/1"
COLUMNS = (
    "connection", "number", "at", "event", "entity", "qbo_id", "document", "vendor", "actor", "run_id", "run",
    "detail", "previous_hash", "hash",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how cells begin that spreadsheets execute, or may
MARK = "'"


def neutral(cell: str) -> str:
    """`cell` so that a spreadsheet shows it: a leading apostrophe, also before a real one, so it can be taken off again."""
    return MARK + cell if cell.startswith((*FORMULA, MARK)) else cell


def run_link(ui_url: str, run_id: str) -> str:
    """The page of a run in the Dagster UI; "" when its address is not configured or no run did it."""
    return f"{ui_url.rstrip('/')}/runs/{run_id}" if ui_url and run_id else ""


def rows_of(
    db: Database,
    connection: str,
    *,
    since: datetime | None = None,
    before: datetime | None = None,
    named: tuple[str, str] | None = None,
) -> Iterator[Row[Any]]:
    """Rows to export, oldest first, as a stream: from `since` on and `before` an instant, or of one record."""
    of_record = and_(
        record.c.connection == table.c.connection,
        record.c.entity == table.c.entity,
        record.c.qbo_id == table.c.qbo_id,
    )
    statement = (
        select(table, record.c.document, record.c.vendor_name)
        .select_from(table.outerjoin(record, of_record))
        .where(table.c.connection == connection)
        .order_by(table.c.number)
    )
    if since is not None:
        statement = statement.where(table.c.at >= since)
    if before is not None:
        statement = statement.where(table.c.at < before)
    if named is not None:
        statement = statement.where(table.c.entity == named[0], table.c.qbo_id == named[1])
    yield from db.execute(statement, execution_options={"stream_results": True, "yield_per": audit.AT_ONCE})


def write_csv(rows: Iterator[Row[Any]], out: IO[str], *, ui_url: str) -> int:
    """Write a header and one line an entry; returns how many. `detail` is the JSON text that the hash covers."""
    out.write("\ufeff")  # without it Excel takes UTF-8 for the code page of the machine
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        cells = _cells(row, ui_url)
        writer.writerow([neutral(str(cells[column])) for column in COLUMNS])
        count += 1
    return count


def write_json(rows: Iterator[Row[Any]], out: IO[str], *, connection: str, ui_url: str) -> int:
    """Write one document, an entry a line; returns how many. Here `detail` is an object."""
    out.write(f'{{"schema": {json.dumps(SCHEMA)}, "connection": {json.dumps(connection)}, "entries": [')
    count = 0
    for count, row in enumerate(rows, start=1):
        cells = _cells(row, ui_url)
        out.write((",\n" if count > 1 else "\n") + json.dumps({**cells, "detail": json.loads(row.detail)}))
    out.write("\n]}\n")
    return count


def _cells(row: Row[Any], ui_url: str) -> dict[str, Any]:
    return {
        "connection": row.connection,
        "number": row.number,
        "at": row.at.astimezone(UTC).isoformat(),
        "event": row.event,
        "entity": row.entity,
        "qbo_id": row.qbo_id,
        "document": row.document or "",
        "vendor": row.vendor_name or "",
        "actor": row.actor,
        "run_id": row.run_id,
        "run": run_link(ui_url, row.run_id),
        "detail": bytes(row.detail).decode("ascii"),
        "previous_hash": bytes(row.previous_hash).hex(),
        "hash": bytes(row.hash).hex(),
    }
