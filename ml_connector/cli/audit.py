"""`audit NAME RECORD`, `audit verify NAME` and `audit export NAME`: what an auditor asks."""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from ml_connector.cli import record_names
from ml_connector.cli.output import AsJson, counted, plain, show, table
from ml_connector.cli.record_names import RecordName
from ml_connector.cli.site import Site, dagster_instance, open_site
from ml_connector.errors import SetupError
from ml_connector.proving import trail, trail_export
from ml_connector.proving.story import Facts, story_of
from ml_connector.settings import UI_VARIABLE, load_connection
from ml_connector.store.audit import StoredEntry

SHOW = "show"
Name = Annotated[str, typer.Argument(metavar="NAME", help="The connection.")]


class _OrShow(TyperGroup):
    """A group in which `audit NAME RECORD` means `audit show NAME RECORD`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = [SHOW, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_OrShow,
    no_args_is_help=True,
    help="The audit trail. `audit NAME RECORD` tells everything about one record.",
)


@app.command(SHOW)
def show_record(name: Name, record: RecordName, as_json: AsJson = False) -> None:
    """Tell everything that happened to one record, oldest first. The word `show` may be left out."""
    ui_url = os.environ.get(UI_VARIABLE, "")
    with open_site() as site:
        zone = load_connection(site.home, name).zone
        with site.engine() as engine, engine.connect() as db:
            named = record_names.one(db, name, " ".join(record))
            story = story_of(db, name, named.entity, named.qbo_id)
    document = {
        "record": named.name,
        "number": named.document,
        "vendor": named.vendor,
        "now": story.now,
        "versions": story.versions,
        "lines": story.lines,
        "sheets": story.sheets,
        "targets": story.targets,
        "entries": [
            {
                "number": entry.number,
                "at": entry.at,
                "event": entry.event,
                "actor": entry.actor,
                "run": entry.run_id,
                "run_link": trail_export.run_link(ui_url, entry.run_id),
                "detail": entry.detail,
                "hash": entry.hash.hex(),
            }
            for entry in story.entries
        ],
    }

    def human(console: Console) -> None:
        def local(instant: datetime) -> str:
            return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S}"

        def part(title: str, facts: Sequence[Facts], leave_out: Sequence[str] = ()) -> None:
            if facts:
                columns = [column for column in facts[0] if column not in leave_out]
                rows = [
                    [local(row[c]) if isinstance(row[c], datetime) else row[c] for c in columns]
                    for row in facts
                ]
                words = [column.replace("_", " ") for column in columns]
                console.print(table(title, words, rows, numbers=["amount", "total"]))

        console.print(plain(str(named)))
        now = ", ".join(f"{kind} {story.now[kind]:,}" for kind in ("total", "posted", "excluded", "held"))
        console.print(f"{story.now['state']} since {local(story.now['since'])} ({zone}): {now}")
        part("Versions in QuickBooks", story.versions, ["run_id"])
        part("Lines and their rules now", story.lines)
        part("Sheets that decided it, and who published them", story.sheets)
        part("In Procore", story.targets)
        rows = [
            (entry.number, local(entry.at), entry.event, _words(entry), entry.actor, entry.run_id[:8])
            for entry in story.entries
        ]
        columns = ["entry", f"when ({zone})", "event", "what", "by", "run"]
        console.print(table("What happened", columns, rows))
        links = dict.fromkeys(trail_export.run_link(ui_url, entry.run_id) for entry in story.entries)
        for link in filter(None, links):
            console.print(link)

    show(document, as_json=as_json, human=human)


def _words(entry: StoredEntry) -> str:
    """The facts of an entry as `name value`, those that say nothing left out."""
    said = {key: value for key, value in entry.detail.items() if value not in ("", None, [], {}, 0)}
    return ", ".join(
        f"{key.replace('_', ' ')} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in said.items()
    )


@app.command()
def verify(
    name: Name,
    head: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HEAD",
            help="A head kept elsewhere, number:hash or the hash alone: the trail must contain it. May be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the whole trail: exit code 0 when it is whole, 1 when an entry was changed, removed, inserted or cut off."""
    given = [trail.head_from(text, where="given by --head") for text in head or []]
    with open_site() as site:
        load_connection(site.home, name)
        noted = trail.noted_heads(site.home.audit_heads(name))
        with site.engine() as engine:  # first: without the database Dagster would not answer either
            logged = _heads_in_dagster(site, name)
            verdict = trail.verify(engine, name, [*noted, *(logged or ()), *given])
    document = {
        "connection": name,
        "whole": not verdict.faults,
        "entries": verdict.entries,
        "head": str(verdict.head),
        "noted_heads": len(noted),
        "dagster_heads": None if logged is None else len(logged),
        "given_heads": len(given),
        "faults": [{"number": fault.number, "sentence": fault.sentence} for fault in verdict.faults],
        "more_faults": verdict.more_faults,
    }

    def human(console: Console) -> None:
        for fault in verdict.faults:
            console.print(f"{fault.number}: {fault.sentence}.", soft_wrap=True)
        if verdict.more_faults:
            console.print(f"And {counted(verdict.more_faults, 'more fault')}.")
        state = "is NOT whole" if verdict.faults else "is whole"
        compared = f"compared with {counted(verdict.compared, 'noted head')}"
        entries = "1 entry" if verdict.entries == 1 else f"{verdict.entries:,} entries"
        console.print(f"The audit trail of {name} {state}: {entries}, {compared}.")
        if not verdict.compared:
            console.print(
                "No head was noted elsewhere yet, so a cut end would show only against one on paper (--head)."
            )
        if logged is None:
            console.print(
                "Dagster's event log was not asked: this home has no Dagster instance yet (`ml-connector up` makes it).",
                soft_wrap=True,
            )
        console.print(f"Head: {verdict.head}", soft_wrap=True)

    show(document, as_json=as_json, human=human)
    if verdict.faults:
        raise typer.Exit(1)


def _heads_in_dagster(site: Site, name: str) -> list[trail.Noted] | None:
    """The heads in Dagster's event log; None where the installation has no instance. Raises SetupError."""
    if not (site.home.dagster / "dagster.yaml").is_file():
        return None
    import dagster as dg
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import SQLAlchemyError

    from ml_connector.orchestration.audit_heads import heads_in_dagster

    try:
        with dagster_instance() as instance:
            return heads_in_dagster(instance, name)
    except (dg.DagsterError, DagsterPostgresException, SQLAlchemyError) as error:
        raise SetupError(
            f"Dagster's event log, which has heads of the trail, cannot be read: {type(error).__name__}"
        ) from error


@app.command()
def export(
    name: Name,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day, in the company's time zone."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, in the company's time zone."),
    ] = None,
    record: Annotated[
        str, typer.Option(metavar="RECORD", help="Only one record: bill:4471, a QuickBooks link, or words.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here instead of to standard output.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of CSV.")] = False,
) -> None:
    """Write the entries of the trail as CSV, safe to open in a spreadsheet, or as JSON; docs/audit.md has the columns."""
    if first is not None and last is not None and last < first:
        raise SetupError(f"--to {last:%Y-%m-%d} lies before --from {first:%Y-%m-%d}")
    ui_url = os.environ.get(UI_VARIABLE, "")
    with open_site() as site:
        zone = load_connection(site.home, name).zone
        since = None if first is None else datetime.combine(first, time(), zone)
        before = None if last is None else datetime.combine(last + timedelta(days=1), time(), zone)
        with site.engine() as engine, engine.connect() as db:
            named = record_names.one(db, name, record) if record else None
            key = None if named is None else (str(named.entity), named.qbo_id)
            rows = trail_export.rows_of(db, name, since=since, before=before, named=key)

            def write(to: IO[str]) -> int:
                if as_json:
                    return trail_export.write_json(rows, to, connection=name, ui_url=ui_url)
                return trail_export.write_csv(rows, to, ui_url=ui_url)

            if out is None:
                write(sys.stdout)
                return
            count = _written(out, write)
    typer.echo(f"{count} entries in {out}", err=True)


def _written(path: Path, write: Callable[[IO[str]], int]) -> int:
    """Let `write` fill the file at `path`, which is whole or not there: readable by this account alone."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.touch(mode=0o600)
        with part.open("w", encoding="utf-8", newline="") as to:
            count = write(to)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SetupError(f"{path} cannot be written: {error.strerror}") from error
    part.replace(path)
    return count
