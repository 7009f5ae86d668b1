"""`replay`: try again what waits, refused bodies included, through Dagster; with `--dry-run` only list the very set."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import Engine

from ml_connector.cli import record_names
from ml_connector.cli.output import AsJson, counted, plain, show, table
from ml_connector.cli.person import system_account
from ml_connector.cli.record_commands import Name
from ml_connector.cli.site import Site, open_site, prepare
from ml_connector.cli.sync import DAYS_A_RUN, run_job
from ml_connector.errors import SetupError
from ml_connector.orchestration import names
from ml_connector.settings import Connection, load_connection
from ml_connector.store import replays
from ml_connector.store.replays import Waiting

AWAITED = "an answer of Procore"


def replay(
    name: Name,
    held: Annotated[bool, typer.Option("--held", help="Everything that waits (the default).")] = False,
    day: Annotated[
        datetime | None,
        typer.Option(
            "--day", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="What waits on this day of change."
        ),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(
            "--record", metavar="RECORD", help="One record: bill:4471, a pasted link, or words in quotes."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be replayed: records, money and reasons.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try again what waits, also what Procore refused before; what is posted stays as it is.

    The exit code is 1 when a run failed, as it does while Procore refuses a record.
    """
    if held + (day is not None) + (record is not None) > 1:
        raise SetupError("--held, --day and --record exclude each other: give one of them")
    with open_site() as site:
        connection = load_connection(site.home, name)
        prepare(site)
        with site.engine() as engine:
            asked, only = _asked(engine, name, day, record)
            runs: list[dict[str, Any]] = []
            outcomes: list[replays.Outcome] = []
            if asked and not dry_run:
                runs, outcomes = _replay(site, engine, connection, asked, only=only)
    document = {**_listed(asked), "dry_run": dry_run}
    if not dry_run:
        document |= {"runs": runs, "outcomes": replays.counted(outcomes), "records": [*map(_ended, outcomes)]}

    def human(console: Console) -> None:
        _print_set(console, name, document, dry_run=dry_run)
        for run in runs:
            console.print(f"{run['days']}: {run['status']}, run {run['id']}")
            if run["problem"]:
                console.print(plain(f"  {run['problem']}"))
        if outcomes:
            ended = ", ".join(f"{number} {outcome}" for outcome, number in document["outcomes"].items())
            console.print(f"Of {counted(len(outcomes), 'record')}: {ended}.")

    show(document, as_json=as_json, human=human)
    if any(run["status"] != "SUCCESS" for run in runs):
        raise typer.Exit(1)


def _asked(
    engine: Engine, name: str, day: datetime | None, words: str | None
) -> tuple[list[Waiting], tuple[str, str] | None]:
    """The records that wait, and the only one that is meant, if one is."""
    with engine.connect() as db:
        if words is not None:
            named = record_names.one(db, name, words)
            only = (str(named.entity), named.qbo_id)
            return replays.waiting(db, name, only=only), only
        return replays.waiting(db, name, days=None if day is None else [day.date()]), None


def _replay(
    site: Site,
    engine: Engine,
    connection: Connection,
    asked: Sequence[Waiting],
    *,
    only: tuple[str, str] | None,
) -> tuple[list[dict[str, Any]], list[replays.Outcome]]:
    from ml_connector.orchestration import work
    from ml_connector.orchestration.clients import procore_client
    from ml_connector.procore.stored_catalog import FREED_BY_CATALOG

    person = system_account()
    with engine.begin() as db:
        replays.ask(db, connection.name, asked, by=person)
    if any(reason in FREED_BY_CATALOG for one in asked for reason in one.reasons):
        # What a person has just put right in Procore must not wait for the copy of its lists to age.
        work.refresh_lists(engine, connection, procore_client(site.home, connection, engine))
    job = names.post_job(connection.name)
    tags = {} if only is None else {names.RECORDS_TAG: names.records_tag([only])}
    runs = [
        run_job(site, connection, job, days, tags=tags) for days in _stretches({one.day for one in asked})
    ]
    with engine.begin() as db:
        ids = [run["id"] for run in runs]
        return runs, replays.conclude(db, connection.name, asked, runs=ids, by=person)


def _stretches(days: set[date]) -> list[list[date]]:
    """`days` as stretches that follow each other, each short enough for one run."""
    stretches: list[list[date]] = []
    for day in sorted(days):
        last = stretches[-1] if stretches else []
        if last and day - last[-1] == timedelta(days=1) and len(last) < DAYS_A_RUN:
            last.append(day)
        else:
            stretches.append([day])
    return stretches


def _listed(asked: Sequence[Waiting]) -> dict[str, Any]:
    """The set: how many, how much money, by which reasons; a record with two reasons counts for both."""
    by_reason: dict[str, list[Waiting]] = {}
    for one in asked:
        for reason in one.reasons or (AWAITED,):
            by_reason.setdefault(reason, []).append(one)
    return {
        "count": len(asked),
        "held": sum((one.held for one in asked), Decimal(0)),
        "reasons": [
            {"reason": reason, "records": len(some), "held": sum((one.held for one in some), Decimal(0))}
            for reason, some in sorted(by_reason.items())
        ],
        "records": [
            {
                "record": one.name,
                "number": one.document,
                "vendor": one.vendor_name,
                "day": one.day,
                "held": one.held,
                "reasons": one.reasons,
            }
            for one in asked
        ],
    }


def _ended(outcome: replays.Outcome) -> dict[str, Any]:
    return {
        "record": outcome.record.name,
        "number": outcome.record.document,
        "vendor": outcome.record.vendor_name,
        "day": outcome.record.day,
        "outcome": outcome.outcome,
        "reasons": outcome.reasons,
        "attempt": outcome.attempt,
    }


def _print_set(console: Console, name: str, document: dict[str, Any], *, dry_run: bool) -> None:
    if not document["count"]:
        console.print(f"Nothing of {name} waits there.")
        return
    title = f"{counted(document['count'], 'record')}, {document['held']:,} held"
    if dry_run:
        rows = [[*(row | {"reasons": ", ".join(row["reasons"])}).values()] for row in document["records"]]
        columns = ["record", "number", "vendor", "day", "held", "reasons"]
        console.print(table(f"Dry run: {title} would be replayed", columns, rows, numbers=["held"]))
    rows = [[*row.values()] for row in document["reasons"]]
    console.print(table(title, ["reason", "records", "held"], rows, numbers=["records", "held"]))
