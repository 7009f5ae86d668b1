"""`holds` and `find`: what waits and why, and which records there are."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import Connection as Database

from ml_connector.cli import record_names
from ml_connector.cli.output import AsJson, counted, make_file, show, table
from ml_connector.cli.site import open_site
from ml_connector.mapping import decision_sheet
from ml_connector.settings import Connection, load_connection
from ml_connector.store import overview

Name = Annotated[str, typer.Argument(metavar="NAME", help="The connection.")]


def holds(
    name: Name,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="FILE",
            help="Write a CSV to decide in: fill it in, then `decide NAME --sheet FILE`.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what waits, grouped by cause: one fix frees a whole group."""
    with open_site() as site:
        connection = load_connection(site.home, name)
        with site.engine() as engine, engine.connect() as db:
            if sheet is not None:
                _write_sheet(db, connection, sheet, as_json=as_json)
                return
            found = overview.holds_of(db, name)
    groups: dict[tuple[str, str], list[overview.HeldRecord]] = {}
    for entry in found:
        groups.setdefault((entry.reason, entry.cause), []).append(entry)
    document: list[dict[str, Any]] = [
        {
            "reason": reason,
            "cause": cause,
            "records": len({(entry.entity, entry.qbo_id) for entry in entries}),
            "amount": sum((entry.amount for entry in entries), Decimal(0)),
            "oldest": min(entry.since for entry in entries),
            "who": entries[0].fixer,
            "release": entries[0].release,
            "holds": [
                {
                    "record": f"{entry.entity.lower()}:{entry.qbo_id}",
                    "number": entry.document,
                    "vendor": entry.vendor_name,
                    "date": entry.txn_date,
                    "total": entry.total,
                    "amount": entry.amount,
                    "sentence": entry.sentence,
                    "version": entry.version,
                    "choices": entry.choices,
                }
                for entry in entries
            ],
        }
        for (reason, cause), entries in sorted(groups.items())
    ]

    def human(console: Console) -> None:
        if not document:
            console.print(f"Nothing of {name} waits.")
        for group in document:
            rows = [
                [hold[column] for column in ("record", "date", "amount", "sentence")]
                for hold in group["holds"]
            ]
            title = (
                f"{group['reason']}: {counted(group['records'], 'record')}, {group['amount']:,} held. "
                f"For {group['who']}; freed by {group['release']}."
            )
            choices = dict.fromkeys(choice for hold in group["holds"] for choice in hold["choices"])
            if choices:
                title += f" To decide: {', '.join(choices)}."
            console.print(table(title, ["record", "date", "amount", "what to do"], rows, numbers=["amount"]))

    show(document, as_json=as_json, human=human)


def _write_sheet(db: Database, connection: Connection, path: Path, *, as_json: bool) -> None:
    rows = decision_sheet.waiting(db, connection.name)
    make_file(path, decision_sheet.written(rows, connection))
    to_decide = sum(bool(row.holds[0].choices) for row in rows)

    def human(console: Console) -> None:
        console.print(
            f"{path}: {counted(len(rows), 'row')}, {to_decide} of them to decide. Open it in Excel, write one of a row's "
            "choices into the column decision, and your reason into comment;\n"
            f"then `ml-connector decide {connection.name} --sheet {path}`"
        )

    show({"sheet": str(path), "rows": len(rows), "to_decide": to_decide}, as_json=as_json, human=human)


def find(
    name: Name,
    words: Annotated[
        list[str],
        typer.Argument(metavar="WORDS...", help="Parts of number or vendor name, or a kind: bill granite"),
    ],
    as_json: AsJson = False,
) -> None:
    """List the newest records that fit all words, with the name that other commands take."""
    with open_site() as site:
        load_connection(site.home, name)
        with site.engine() as engine, engine.connect() as db:
            found = record_names.find(db, name, " ".join(words))
    columns = ["record", "number", "vendor", "date", "total", "state"]
    rows = [(hit.name, hit.document, hit.vendor, hit.txn_date, hit.total, hit.state) for hit in found]

    def human(console: Console) -> None:
        if not rows:
            console.print(f"No record of {name} fits.")
            return
        console.print(table("", columns, rows, numbers=["total"]))
        if len(rows) == record_names.SEVERAL:
            console.print(f"At most {record_names.SEVERAL} are listed: more words narrow it down.")

    show([dict(zip(columns, row, strict=True)) for row in rows], as_json=as_json, human=human)
