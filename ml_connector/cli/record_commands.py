"""`holds` and `find`: what waits and why, and which records there are."""

from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console

from ml_connector.cli import record_names
from ml_connector.cli.output import AsJson, counted, show, table
from ml_connector.cli.site import open_site
from ml_connector.settings import load_connection
from ml_connector.store import overview

Name = Annotated[str, typer.Argument(metavar="NAME", help="The connection.")]


def holds(name: Name, as_json: AsJson = False) -> None:
    """List what waits, grouped by cause: one fix frees a whole group."""
    with open_site() as site:
        load_connection(site.home, name)
        with site.engine() as engine, engine.connect() as db:
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
