"""`sync`: read, map and post days now, through Dagster, so that the run stands in the history like any other."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ml_connector.cli.output import AsJson, counted, plain, show, table
from ml_connector.cli.site import Site, dagster_instance, open_site, prepare
from ml_connector.errors import SetupError
from ml_connector.orchestration import names
from ml_connector.settings import Connection, load_connection, load_connections
from ml_connector.store import landing, overview

if TYPE_CHECKING:
    import dagster as dg

DAYS_A_RUN = 7
EMPTY: Mapping[str, str] = {}
# The run's history keeps every event; a person who waits for a command is told the outcome.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def sync(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The connection.")],
    first: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="First day of change in QuickBooks (default: the last day).",
        ),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option(
            "--to",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Last day of change in QuickBooks (default: today).",
        ),
    ] = None,
    bill_dates: Annotated[
        tuple[datetime, datetime] | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="FROM TO",
            help="Instead: bills by their own date, YYYY-MM-DD YYYY-MM-DD, whenever they were changed.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only tell what would become of what was read before; write nothing."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read, map and post now: the open day, a range of days of change, or bills by their own date.

    It is a person's run: what Procore refused before is sent again. The exit code is 1 when a run failed.
    """
    if bill_dates is not None and (first is not None or last is not None):
        raise SetupError(
            "--from and --to are days of change, --bill-dates are dates on the bills: give one of the two"
        )
    with open_site() as site:
        connection = load_connection(site.home, name)
        prepare(site)
        days = _days(site, connection, first, last, bill_dates)
        if dry_run:
            _foresee(site, connection, days, as_json=as_json)
            return
        job = names.sync_job(name)
        runs = [
            run_job(site, connection, job, days[start : start + DAYS_A_RUN])
            for start in range(0, len(days), DAYS_A_RUN)
        ]
        with site.engine() as engine, engine.connect() as db:
            tallies = overview.tally(db, name, days=days) if days else {}
            held = overview.holds_of(db, name, days=days) if days else []
    rows = [
        {
            "kind": entity,
            "state": state,
            "records": tally.count,
            "total": tally.total,
            "posted": tally.posted,
            "held": tally.held,
        }
        for (entity, state), tally in tallies.items()
    ]

    def human(console: Console) -> None:
        if not days:
            console.print("No bill of those dates was ever read.")
        for run in runs:
            console.print(f"{run['days']}: {run['status']}, run {run['id']}")
            if run["problem"]:
                console.print(plain(f"  {run['problem']}"))
        if rows:
            columns = list(rows[0])
            console.print(table("", columns, [list(row.values()) for row in rows], numbers=columns[2:]))
        if held:
            console.print(f"{counted(len(held), 'hold')}: `ml-connector holds {name}` lists what to do.")

    show({"days": days, "runs": runs, "records": rows, "holds": len(held)}, as_json=as_json, human=human)
    if any(run["status"] != "SUCCESS" for run in runs):
        raise typer.Exit(1)


def _foresee(site: Site, connection: Connection, days: Sequence[date], *, as_json: bool) -> None:
    from ml_connector.orchestration.clients import procore_client
    from ml_connector.posting.preview import Preview

    with site.engine() as engine:
        client = procore_client(site.home, connection, engine)
        foreseen = Preview(connection, engine, client, datetime.now(UTC)).foresee(days)
    rows = [
        {
            "record": f"{entry.entity.lower()}:{entry.qbo_id}",
            "number": entry.document,
            "vendor": entry.vendor_name,
            "total": entry.total,
            "action": entry.action,
            "amount": entry.amount,
            "why": entry.why,
        }
        for entry in foreseen
    ]

    def human(console: Console) -> None:
        if rows:
            columns = list(rows[0])
            cells = [list(row.values()) for row in rows]
            console.print(table("Dry run: nothing was written", columns, cells, numbers=["total", "amount"]))
        else:
            console.print("Nothing of those days was ever read.")

    show({"dry_run": True, "days": days, "records": rows}, as_json=as_json, human=human)


def _days(
    site: Site,
    connection: Connection,
    first: datetime | None,
    last: datetime | None,
    bill_dates: tuple[datetime, datetime] | None,
) -> list[date]:
    if bill_dates is not None:
        begin, end = (day.date() for day in bill_dates)
        if begin > end:
            raise SetupError(f"--bill-dates {begin} {end}: the first date must not be after the second")
        with site.engine() as engine, engine.connect() as db:
            return landing.days_of_bill_dates(db, connection.name, first=begin, last=end)
    today = datetime.now(connection.zone).date()
    end = last.date() if last is not None else today
    begin = first.date() if first is not None else end
    if not connection.start_date <= begin <= end <= today:
        raise SetupError(
            f"days must lie between {connection.start_date}, the start of {connection.name}, and {today}, "
            "today, the first before the last"
        )
    return [begin + timedelta(days=offset) for offset in range((end - begin).days + 1)]


def run_job(
    site: Site,
    connection: Connection,
    job_name: str,
    days: Sequence[date],
    *,
    tags: Mapping[str, str] = EMPTY,
) -> dict[str, Any]:
    """Run a job of the connection for `days`, which follow each other, in this process: a person's run.

    Returns its id, days and status, and its problem in words, "" when there is none.
    """
    from ml_connector.orchestration.build import build_definitions

    span = [day.isoformat() for day in days]
    tags = {**tags, names.CONNECTION_TAG: connection.name, names.DAYS_TAG: names.days_tag(span)}
    if len(span) > 1:
        tags |= {names.RANGE_START_TAG: span[0], names.RANGE_END_TAG: span[-1]}
    with dagster_instance() as instance:
        definitions = build_definitions(site.home, load_connections(site.home))
        job = definitions.resolve_job_def(job_name)
        result = job.execute_in_process(
            instance=instance,
            partition_key=span[0] if len(span) == 1 else None,
            run_config=QUIET,
            tags=tags,
            raise_on_error=False,
        )
    problems = [_problem(event) for event in result.all_events if event.is_step_failure]
    return {
        "id": result.run_id,
        "days": names.days_tag(span),
        "status": "SUCCESS" if result.success else "FAILURE",
        "problem": "; ".join(problems),
    }


def _problem(event: "dg.DagsterEvent") -> str:
    """Why a step failed, in the words of the one who raised it."""
    failure = event.step_failure_data
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    if error is not None and error.cause is not None:
        error = error.cause  # Dagster's own error only says which step it was
    if error is None:
        return "it failed without a word"
    raised, _, words = error.message.strip().partition(": ")
    return words if raised.startswith("ml_connector.") else error.message.strip()
