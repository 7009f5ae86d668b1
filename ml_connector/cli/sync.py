"""`sync`: read, map and post days now, through Dagster, so that the run stands in the history like any other."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console

from ml_connector.cli.output import AsJson, show, table
from ml_connector.cli.site import Site, dagster_instance, open_site, prepare
from ml_connector.errors import SetupError
from ml_connector.settings import Connection, load_connection, load_connections
from ml_connector.store import landing, records

DAYS_A_RUN = 7
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def sync(
    name: Annotated[str, typer.Argument(help="The connection.")],
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day of change in QuickBooks."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of change (default: today)."),
    ] = None,
    bill_dates: Annotated[
        tuple[datetime, datetime] | None,
        typer.Option(formats=["%Y-%m-%d"], help="Bills dated from and to, whenever they were changed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read, map and post the open day; or a range of days of change; or bills by their own date. A person's run: what
    Procore refused before is sent again."""
    if bill_dates is not None and (first is not None or last is not None):
        raise SetupError(
            "--from and --to are days of change, --bill-dates are dates on the bills: give one of the two"
        )
    with open_site() as site:
        prepare(site)
        connection = load_connection(site.home, name)
        days = _days(site, connection, first, last, bill_dates)
        runs = [
            _run(site, connection, days[start : start + DAYS_A_RUN])
            for start in range(0, len(days), DAYS_A_RUN)
        ]
        engine = site.engine()
        with engine.connect() as db:
            tallies = records.tally(db, name, days=days) if days else {}
            held = records.holds_of(db, name, days=days) if days else []
        engine.dispose()
    rows = [
        {
            "kind": entity,
            "state": state,
            "records": t.count,
            "total": t.total,
            "posted": t.posted,
            "held": t.held,
        }
        for (entity, state), t in tallies.items()
    ]

    def human(console: Console) -> None:
        if not days:
            console.print("No bill of those dates was ever read.")
        for run in runs:
            console.print(
                f"run {run['id']} {run['days']}: {run['status']}{' ' + run['problem'] if run['problem'] else ''}"
            )
        columns = ["kind", "state", "records", "total", "posted", "held"]
        console.print(table("", columns, [list(row.values()) for row in rows], money=columns[2:]))
        if held:
            console.print(f"{len(held)} holds: `ml-connector holds {name}` tells them.")

    show(
        {"days": [str(day) for day in days], "runs": runs, "records": rows, "holds": len(held)},
        as_json=as_json,
        human=human,
    )
    if any(run["status"] != "SUCCESS" for run in runs):
        raise typer.Exit(1)


def _days(
    site: Site,
    connection: Connection,
    first: datetime | None,
    last: datetime | None,
    bill_dates: tuple[datetime, datetime] | None,
) -> list[date]:
    today = datetime.now(connection.zone).date()
    if bill_dates is not None:
        engine = site.engine()
        with engine.connect() as db:
            found = landing.days_of_bill_dates(
                db, connection.name, first=bill_dates[0].date(), last=bill_dates[1].date()
            )
        engine.dispose()
        return found
    end = last.date() if last is not None else today
    start = first.date() if first is not None else end
    if not connection.start_date <= start <= end <= today:
        raise SetupError(
            f"days must lie between {connection.start_date} (the start) and {today} (today), in order"
        )
    return [start + timedelta(days=offset) for offset in range((end - start).days + 1)]


def _run(site: Site, connection: Connection, days: Sequence[date]) -> dict[str, Any]:
    from ml_connector.orchestration import names
    from ml_connector.orchestration.build import build_definitions

    span = [day.isoformat() for day in days]
    tags = {names.CONNECTION_TAG: connection.name, names.DAYS_TAG: names.days_tag(span)}
    if len(span) > 1:
        tags |= {names.RANGE_START_TAG: span[0], names.RANGE_END_TAG: span[-1]}
    with dagster_instance() as instance:
        definitions = build_definitions(site.home, load_connections(site.home))
        job = definitions.resolve_job_def(names.sync_job(connection.name))
        result = job.execute_in_process(
            instance=instance,
            partition_key=span[0] if len(span) == 1 else None,
            tags=tags,
            raise_on_error=False,
        )
    problems = [
        event.message or "" for event in result.all_events if event.is_step_failure or event.is_failure
    ]
    return {
        "id": result.run_id,
        "days": names.days_tag(span),
        "status": "SUCCESS" if result.success else "FAILURE",
        "problem": problems[0] if problems else "",
    }
