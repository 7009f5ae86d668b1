"""`mapping` and `projects`: check, publish and explain the customer's sheets."""

import getpass
from typing import Annotated, Any

import typer
from rich.console import Console

from ml_connector.cli import record_names
from ml_connector.cli.output import AsJson, show, table
from ml_connector.cli.site import open_site, prepare
from ml_connector.errors import SetupError
from ml_connector.mapping import publishing
from ml_connector.mapping.explain import explain_line
from ml_connector.mapping.models import RuleBook
from ml_connector.mapping.sheets import warnings
from ml_connector.mapping.table import SheetRefused
from ml_connector.mapping.windows import load_reference
from ml_connector.qbo.models import Entity, parse_bill
from ml_connector.settings import load_connection
from ml_connector.store import landing, records, sheets

Name = Annotated[str, typer.Argument(help="The connection.")]

mapping = typer.Typer(help="The table that maps bill lines to cost codes.", no_args_is_help=True)
projects = typer.Typer(
    help="The table that links QuickBooks customers to Procore projects.", no_args_is_help=True
)


def _check(sheet: str, name: str, as_json: bool) -> None:
    with open_site() as site:
        connection = load_connection(site.home, name)
        content = publishing.read_sheet(site.home, connection, sheet)
    faults: list[dict[str, Any]] = []
    remarks: list[dict[str, Any]] = []
    try:
        parsed = publishing.check(sheet, content, 0)
    except SheetRefused as refused:
        faults = [{"row": fault.row, "column": fault.column, "text": fault.text} for fault in refused.faults]
    else:
        found = warnings(parsed) if isinstance(parsed, RuleBook) else []
        remarks = [{"row": fault.row, "column": fault.column, "text": fault.text} for fault in found]

    def human(console: Console) -> None:
        for title, rows in (("Errors: the file cannot be published", faults), ("Warnings", remarks)):
            if rows:
                console.print(table(title, ["row", "column", "what"], [list(row.values()) for row in rows]))
        if not faults:
            console.print(f"{sheet}.csv of {name} can be published.")

    show({"sheet": sheet, "errors": faults, "warnings": remarks}, as_json=as_json, human=human)
    if faults:
        raise typer.Exit(1)


def _publish(sheet: str, name: str, as_json: bool) -> None:
    with open_site() as site:
        prepare(site)
        connection = load_connection(site.home, name)
        engine = site.engine()
        content = publishing.read_sheet(site.home, connection, sheet)
        done = publishing.publish(engine, connection, sheet, content, by=getpass.getuser())
        engine.dispose()
    document = {
        "sheet": sheet,
        "version": done.version,
        "new": done.is_new,
        "days_to_do": [str(day) for day in done.woken],
    }
    words = "is published" if done.is_new else "was published before: nothing changed"
    show(
        document,
        as_json=as_json,
        human=lambda console: console.print(
            f"{sheet} version {done.version} {words}; {len(done.woken)} days with held records are looked at again."
        ),
    )


@mapping.command("check")
def check_mapping(name: Name, as_json: AsJson = False) -> None:
    """List every error of mapping.csv with its row, and rows that can never match."""
    _check(sheets.MAPPING, name, as_json)


@mapping.command("publish")
def publish_mapping(name: Name, as_json: AsJson = False) -> None:
    """Make mapping.csv the newest version; held records that it frees are posted by the next run."""
    _publish(sheets.MAPPING, name, as_json)


@projects.command("check")
def check_projects(name: Name, as_json: AsJson = False) -> None:
    """List every error of projects.csv with its row."""
    _check(sheets.PROJECTS, name, as_json)


@projects.command("publish")
def publish_projects(name: Name, as_json: AsJson = False) -> None:
    """Make projects.csv the newest version."""
    _publish(sheets.PROJECTS, name, as_json)


@mapping.command("explain")
def explain(
    name: Name,
    record: Annotated[list[str], typer.Argument(help="bill:<QBO id>, a QuickBooks link, or words.")],
    as_json: AsJson = False,
) -> None:
    """Say for every line of a bill which rule took it, and why the ones above did not."""
    with open_site() as site:
        connection = load_connection(site.home, name)
        engine = site.engine()
        with engine.connect() as db:
            named = record_names.one(db, name, " ".join(record))
            if named.entity not in (Entity.BILL, Entity.VENDOR_CREDIT):
                raise SetupError(f"{named} is no bill: only bills are mapped line by line")
            version = landing.newest(db, name, named.entity, [named.qbo_id])[named.qbo_id]
            rules = publishing.newest_rules(db, name)
            if rules is None:
                raise SetupError(f"nothing is published yet: `ml-connector mapping publish {name}`")
            bill = parse_bill(version.raw, named.entity)
            reference = load_reference(db, connection)
            decided = records.lines_of(db, name, named.entity, [named.qbo_id])[named.qbo_id]
        engine.dispose()
    lines: list[dict[str, Any]] = [
        {
            "line": line.number,
            "amount": line.amount,
            "description": line.description[:80],
            "now": [
                {
                    "outcome": entry.outcome,
                    "amount": entry.amount,
                    "project": entry.project_id,
                    "code": f"{entry.cost_code}.{entry.cost_type}" if entry.cost_code else "",
                    "reason": entry.reason,
                    "rule": entry.rule,
                }
                for entry in decided
                if entry.line == line.number
            ],
            "rules": [
                {"row": candidate.row, "took": candidate.took, "why": candidate.why}
                for candidate in explain_line(line, bill, rules=rules, reference=reference)
            ],
        }
        for line in bill.lines
    ]

    def human(console: Console) -> None:
        console.print(f"[bold]{named}[/bold], mapping version {rules.version}")
        for entry in lines:
            rows = [(c["row"], "took it" if c["took"] else "", c["why"]) for c in entry["rules"]]
            console.print(
                table(
                    f"Line {entry['line']}: {entry['amount']} {entry['description']}",
                    ["row", "", "why"],
                    rows,
                )
            )

    show(
        {"record": f"{named.entity.lower()}:{named.qbo_id}", "version": rules.version, "lines": lines},
        as_json=as_json,
        human=human,
    )
