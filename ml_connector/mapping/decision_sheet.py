"""The sheet of decisions: what waits as a CSV for Excel, one row a hold, and the same file taken back filled in.

A row is known by its record, its reason and its mark, which changes with the version of the record and with what the hold
is about: an old sheet decides nothing that its reader did not see.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection as Database

from ml_connector.errors import DecisionRefused
from ml_connector.holds import Choice, Reason
from ml_connector.mapping.table import Fault, SheetRefused, TableRow, read_table
from ml_connector.proving.trail_export import neutral
from ml_connector.qbo.pages import page_of
from ml_connector.settings import Connection
from ml_connector.store import decisions, overview
from ml_connector.store.decisions import Made
from ml_connector.store.overview import HeldRecord

SHEET = "the sheet of decisions"
COLUMNS = (
    "record", "number", "vendor", "date", "amount", "reason", "what to do", "who", "freed by", "choices", "decision",
    "comment", "link", "mark",
)  # fmt: skip
READ = ("record", "reason", "decision", "comment", "mark")


@dataclass(frozen=True)
class Waiting:
    """One row: holds of a record that one decision answers."""

    holds: tuple[HeldRecord, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """Record, reason and mark, as the sheet names them."""
        first = self.holds[0]
        seen = f"{first.version} {first.reason} {first.about}"
        mark = hashlib.sha256(seen.encode()).hexdigest()[:8]
        return f"{first.entity.lower()}:{first.qbo_id}", first.reason, f"v{first.version}-{mark}"


def waiting(db: Database, connection: str) -> list[Waiting]:
    """What waits, oldest day first; lines of one record that wait for the same are one row."""
    rows: dict[tuple[str, str, str, str], list[HeldRecord]] = {}
    for entry in overview.holds_of(db, connection):
        rows.setdefault((entry.entity, entry.qbo_id, entry.reason, entry.about), []).append(entry)
    return [Waiting(tuple(entries)) for entries in rows.values()]


def written(rows: Iterable[Waiting], connection: Connection) -> bytes:
    """The sheet as Excel opens it; no cell is one that a spreadsheet would execute."""
    out = io.StringIO()
    out.write("\ufeff")  # without it Excel takes UTF-8 for the code page of the machine
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        first, (record, reason, mark) = row.holds[0], row.key
        cells = (
            record,
            first.document,
            first.vendor_name,
            first.txn_date or "",
            sum(entry.amount for entry in row.holds) or first.total,
            reason,
            " ".join(dict.fromkeys(entry.sentence for entry in row.holds)),
            first.fixer,
            first.release,
            ", ".join(first.choices),
            "",
            "",
            page_of(connection.qbo.app_url, first.entity, first.qbo_id),
            mark,
        )
        # A credit's amount begins with a minus: as a number it is harmless, and people add it up.
        writer.writerow(
            [
                cell if column == "amount" else neutral(str(cell))
                for column, cell in zip(COLUMNS, cells, strict=True)
            ]
        )
    return out.getvalue().encode("utf-8", "replace")


def decide_by(db: Database, connection: Connection, content: bytes, *, by: str) -> list[Made]:
    """Store every decision of a filled-in sheet, in the name of `by`; rows without one are left alone.

    All or nothing: raises SheetRefused with every fault and its row, and then the caller's transaction must not be kept.
    """
    rows, faults = read_table(content, sheet=SHEET, known=COLUMNS, required=READ)
    faults = [fault for fault in faults if fault.column in ("", *READ)]
    known = {row.key: row for row in waiting(db, connection.name)}
    made: list[Made] = []
    first_at: dict[tuple[str, str, str], int] = {}
    filled = [row for row in rows if row.cells["decision"] or row.cells["comment"]]
    for row in sorted(filled, key=lambda entry: entry.cells["record"]):  # records are locked in one order
        key = (row.cells["record"].lower(), row.cells["reason"].upper(), row.cells["mark"])
        twice = first_at.setdefault(key, row.number)
        if twice != row.number:
            faults.append(
                Fault(row.number, "decision", f"row {twice} decides the same hold: keep one of them")
            )
            continue
        try:
            made.append(_decided(db, connection, row, known.get(key), by=by))
        except DecisionRefused as refused:
            faults.append(Fault(row.number, "decision", str(refused)))
    if not made and not faults:
        faults.append(
            Fault(0, "", "no row has a decision: write one of the row's choices into the column decision")
        )
    if faults:
        raise SheetRefused(SHEET, sorted(faults, key=lambda fault: fault.row))
    return made


def _decided(db: Database, connection: Connection, row: TableRow, found: Waiting | None, *, by: str) -> Made:
    """Store what one row says. Raises DecisionRefused."""
    choice = _choice(row, [] if found is None else found.holds[0].choices)
    entity, qbo_id = _named(db, connection.name, row.cells["record"])
    if found is None:
        raise DecisionRefused(_outdated(db, connection.name, entity, qbo_id, row.cells["record"]))
    first = found.holds[0]
    return decisions.decide(
        db,
        connection.name,
        entity,
        qbo_id,
        choice,
        comment=row.cells["comment"],
        by=by,
        two_persons=connection.policies.approval_two_persons,
        version=first.version,
        answers=(Reason(first.reason), first.about),
    )


def _choice(row: TableRow, offered: Sequence[Choice]) -> Choice:
    said = row.cells["decision"].lower().replace(" ", "_").replace("-", "_")
    among = ", ".join(offered or Choice)
    if not said:
        raise DecisionRefused(f"it has a comment and no decision: choose among {among}, or clear the comment")
    try:
        return Choice(said)
    except ValueError:
        raise DecisionRefused(f"{row.cells['decision']!r} is no choice: choose among {among}") from None


def _named(db: Database, connection: str, record: str) -> tuple[str, str]:
    """Entity and id of a record as the sheet names it."""
    kind, _, qbo_id = record.partition(":")
    entity = decisions.entity_of(db, connection, kind, qbo_id)
    if entity is None:
        raise DecisionRefused(
            f"{record!r} is no record of {connection}: leave the column record as it was written"
        )
    return entity, qbo_id


def _outdated(db: Database, connection: str, entity: str, qbo_id: str, record: str) -> str:
    """Why a row fits nothing that waits any more."""
    before = decisions.of(db, connection, entity, [qbo_id])[qbo_id]
    last = f"; the last decision on it was {before[-1]}" if before else ""
    return (
        f"{record} does not wait for this any more, or it was changed since the sheet was written: "
        f"write a new sheet and look at it again{last}"
    )
