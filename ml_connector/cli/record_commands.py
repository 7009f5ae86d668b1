"""`holds` and `audit`: what waits and why, and the whole story of one record."""

from typing import Annotated

import typer
from rich.console import Console

from ml_connector.cli import record_names
from ml_connector.cli.output import AsJson, show, table
from ml_connector.cli.site import open_site
from ml_connector.settings import load_connection
from ml_connector.store import audit as trail
from ml_connector.store import records


def holds(
    name: Annotated[str, typer.Argument(help="The connection.")],
    as_json: AsJson = False,
) -> None:
    """List what waits, grouped by cause: one fix frees a whole group."""
    with open_site() as site:
        load_connection(site.home, name)
        engine = site.engine()
        with engine.connect() as db:
            found = records.holds_of(db, name)
        engine.dispose()
    groups: dict[tuple[str, str], list[records.HeldRecord]] = {}
    for entry in found:
        groups.setdefault((entry.reason, entry.cause), []).append(entry)
    document = [
        {
            "reason": reason,
            "cause": cause,
            "records": len({(entry.entity, entry.qbo_id) for entry in entries}),
            "amount": sum(entry.amount for entry in entries),
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
                }
                for entry in entries
            ],
        }
        for (reason, cause), entries in sorted(groups.items())
    ]

    def human(console: Console) -> None:
        if not groups:
            console.print(f"Nothing of {name} waits.")
        for (reason, _), entries in sorted(groups.items()):
            rows = [
                (f"{entry.entity.lower()}:{entry.qbo_id}", entry.txn_date, entry.amount, entry.sentence)
                for entry in entries
            ]
            title = f"{reason}: {len(entries)}; {entries[0].fixer}; released by {entries[0].release}"
            console.print(table(title, ["record", "date", "amount", "what to do"], rows, money=["amount"]))

    show(document, as_json=as_json, human=human)


def audit(
    name: Annotated[str, typer.Argument(help="The connection.")],
    record: Annotated[list[str], typer.Argument(help="bill:<QBO id>, a QuickBooks link, or words.")],
    as_json: AsJson = False,
) -> None:
    """Tell everything that happened to one record, oldest first."""
    with open_site() as site:
        load_connection(site.home, name)
        engine = site.engine()
        with engine.connect() as db:
            named = record_names.one(db, name, " ".join(record))
            story = trail.story(db, name, named.entity, named.qbo_id)
        engine.dispose()
    document = {
        "record": f"{named.entity.lower()}:{named.qbo_id}",
        "number": named.document,
        "vendor": named.vendor,
        "entries": [
            {
                "number": entry.number,
                "at": entry.at.isoformat(),
                "event": entry.event,
                "actor": entry.actor,
                "run": entry.run_id,
                "detail": entry.detail,
            }
            for entry in story
        ],
    }

    def human(console: Console) -> None:
        rows = [
            (
                entry.number,
                f"{entry.at:%Y-%m-%d %H:%M:%S}",
                entry.event,
                entry.actor,
                _words(entry),
                entry.run_id[:8],
            )
            for entry in story
        ]
        console.print(table(str(named), ["no", "UTC", "event", "who", "what", "run"], rows))

    show(document, as_json=as_json, human=human)


def _words(entry: trail.StoredEntry) -> str:
    return ", ".join(
        f"{key}: {value}" for key, value in entry.detail.items() if value not in ("", None, [], 0)
    )
