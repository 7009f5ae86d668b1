"""`mapping`, `projects` and `vendors`: check, preview, publish, apply, explain and suggest the customer's sheets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ml_connector.cli import record_names, rule_changes
from ml_connector.cli.output import AsJson, counted, make_file, plain, show, table
from ml_connector.cli.person import system_account
from ml_connector.cli.record_commands import Name
from ml_connector.cli.record_names import RecordName
from ml_connector.cli.site import open_site
from ml_connector.errors import SetupError
from ml_connector.mapping import publishing, suggesting
from ml_connector.mapping.explain import explain_line
from ml_connector.mapping.models import RuleBook
from ml_connector.mapping.sheets import warnings
from ml_connector.mapping.table import Fault, SheetRefused
from ml_connector.mapping.usage import remarks_by_records
from ml_connector.mapping.windows import load_reference
from ml_connector.qbo.models import JOB_COSTS, Line, parse_bill
from ml_connector.settings import home_from, load_connection
from ml_connector.store import landing, records, sheets

mapping = typer.Typer(help="The table that maps bill lines to cost codes.", no_args_is_help=True)
projects = typer.Typer(
    help="The table that links QuickBooks customers to Procore projects.", no_args_is_help=True
)
vendors = typer.Typer(
    help="The table that links QuickBooks vendors to Procore vendors of other names.", no_args_is_help=True
)


def _check(sheet: str, name: str, as_json: bool) -> None:
    home = home_from()
    content = publishing.read_sheet(home, load_connection(home, name), sheet)
    faults: list[dict[str, Any]] = []
    remarks: list[dict[str, Any]] = []
    try:
        parsed = publishing.check(sheet, content, 0)
    except SheetRefused as refused:
        faults = [{"row": fault.row, "column": fault.column, "text": fault.text} for fault in refused.faults]
    else:
        found = _remarks(name, parsed) if isinstance(parsed, RuleBook) else []
        remarks = [{"row": fault.row, "column": fault.column, "text": fault.text} for fault in found]

    def human(console: Console) -> None:
        for title, rows in (("Errors: the file cannot be published", faults), ("Warnings", remarks)):
            if rows:
                cells = [list(row.values()) for row in rows]
                console.print(table(title, ["row", "column", "what"], cells, numbers=["row"]))
        if faults:
            console.print(
                f"Rows count as in Excel, the headings are row 1. Correct {sheet}.csv and check it again."
            )
        else:
            console.print(f"{sheet}.csv of {name} can be published: `ml-connector {sheet} publish {name}`")

    show({"sheet": sheet, "errors": faults, "warnings": remarks}, as_json=as_json, human=human)
    if faults:
        raise typer.Exit(1)


def _remarks(name: str, rules: RuleBook) -> list[Fault]:
    """Rows that were hardly meant: by the sheet alone, and by what the connection has read so far."""
    by_sheet = warnings(rules)
    hidden = {fault.row for fault in by_sheet if not fault.column}
    with open_site() as site:
        connection = load_connection(site.home, name)
        with site.engine() as engine, engine.connect() as db:
            by_records = remarks_by_records(db, name, rules, load_reference(db, connection))
    found = [*by_sheet, *(fault for fault in by_records if fault.column or fault.row not in hidden)]
    return sorted(found, key=lambda fault: fault.row)


def _publish(sheet: str, name: str, as_json: bool) -> None:
    with open_site() as site:
        connection = load_connection(site.home, name)
        content = publishing.read_sheet(site.home, connection, sheet)
        with site.engine() as engine:
            done = publishing.publish(engine, connection, sheet, content, by=system_account())
    document = {"sheet": sheet, "version": done.version, "new": done.is_new, "days_to_do": done.woken}

    def human(console: Console) -> None:
        if not done.is_new:
            console.print(f"{sheet} is as published: it stays version {done.version}, nothing changed.")
            return
        console.print(f"{sheet} version {done.version} is published.")
        if sheet == sheets.MAPPING and done.version > 1:
            console.print(
                "It holds for what is new or waits. What it would change in what is posted: "
                f"`ml-connector mapping preview {name}`"
            )
        if done.woken:
            console.print(
                f"Held records of {counted(len(done.woken), 'day')} are tried again: {rule_changes.days_listed(done.woken)}"
            )

    show(document, as_json=as_json, human=human)


@mapping.command("check")
def check_mapping(name: Name, as_json: AsJson = False) -> None:
    """List every error of mapping.csv with its row, rows that can never match, and rows that no line ever used."""
    _check(sheets.MAPPING, name, as_json)


@mapping.command("publish")
def publish_mapping(name: Name, as_json: AsJson = False) -> None:
    """Make mapping.csv the newest version; held records that it frees are posted by the next run."""
    _publish(sheets.MAPPING, name, as_json)


mapping.command("preview")(rule_changes.preview)
mapping.command("apply")(rule_changes.apply)


@mapping.command("suggest")
def suggest_rules(
    name: Name,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the rows as a CSV to paste from."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Propose rows for lines that wait for a rule, most money first; nothing is published."""
    with open_site() as site:
        connection = load_connection(site.home, name)
        with site.engine() as engine, engine.connect() as db:
            proposals = suggesting.suggest(db, name, load_reference(db, connection))
    if out is not None:
        make_file(out, suggesting.written(proposals))
    document = [
        {
            "row": {heading: text for heading, text in one.cells.items() if text},
            "lines": one.lines,
            "bills": one.bills,
            "amount": one.amount,
        }
        for one in proposals
    ]

    def human(console: Console) -> None:
        if not proposals:
            console.print(f"No line of {name} waits for a rule.")
            return
        shown = ("account", "item", "vendor", "route", "cost_code", "cost_type", "reason", "note")
        rows = [
            [one.amount, one.lines, one.bills, *(one.cells.get(heading, "") for heading in shown)]
            for one in proposals
        ]
        columns = ["amount", "lines", "bills", *shown]
        console.print(table("Rows that would free held lines", columns, rows, numbers=columns[:3]))
        console.print(
            f"They are in {out}: paste what is right into mapping.csv, above rows that would take the lines."
            if out
            else "Nothing is published. `--out FILE` writes them as a CSV to paste into mapping.csv from."
        )

    show(document, as_json=as_json, human=human)


@projects.command("check")
def check_projects(name: Name, as_json: AsJson = False) -> None:
    """List every error of projects.csv with its row."""
    _check(sheets.PROJECTS, name, as_json)


@projects.command("publish")
def publish_projects(name: Name, as_json: AsJson = False) -> None:
    """Make projects.csv the newest version."""
    _publish(sheets.PROJECTS, name, as_json)


@vendors.command("check")
def check_vendors(name: Name, as_json: AsJson = False) -> None:
    """List every error of vendors.csv with its row."""
    _check(sheets.VENDORS, name, as_json)


@vendors.command("publish")
def publish_vendors(name: Name, as_json: AsJson = False) -> None:
    """Make vendors.csv the newest version; held bills that it frees are posted by the next run."""
    _publish(sheets.VENDORS, name, as_json)


@mapping.command("explain")
def explain(name: Name, record: RecordName, as_json: AsJson = False) -> None:
    """Say for every line of a bill which rule of its mapping version took it, and why the ones above did not."""
    with open_site() as site:
        connection = load_connection(site.home, name)
        with site.engine() as engine, engine.connect() as db:
            named = record_names.one(db, name, " ".join(record))
            if named.entity not in JOB_COSTS:
                raise SetupError(
                    f"{named.name} is no bill: only bills, vendor credits and purchases are mapped line by line"
                )
            version = landing.newest(db, name, named.entity, [named.qbo_id])[named.qbo_id]
            newest = publishing.newest_rules(db, name)
            if newest is None:
                raise SetupError(f"nothing is published yet: `ml-connector mapping publish {name}`")
            row = records.known(db, name, named.entity, [named.qbo_id])[named.qbo_id]
            used = row.mapping_version or newest.version
            rules = newest if used == newest.version else publishing.rules_of(db, name, used)
            bill = parse_bill(version.raw, named.entity)
            reference = load_reference(db, connection)
            decided = records.lines_of(db, name, named.entity, [named.qbo_id])[named.qbo_id]

    def rows_of(line: Line, book: RuleBook) -> list[dict[str, Any]]:
        candidates = explain_line(line, bill, rules=book, reference=reference)
        return [{"row": one.row, "took": one.took, "why": one.why} for one in candidates]

    lines: list[dict[str, Any]] = [
        {
            "line": line.number,
            "amount": line.amount,
            "description": line.description[:80],
            "now": [_decision(part) for part in decided if part.line == line.number],
            "rules": rows_of(line, rules),
            "newest_row": next((row["row"] for row in rows_of(line, newest) if row["took"]), None),
        }
        for line in bill.lines
    ]

    def human(console: Console) -> None:
        console.print(plain(f"{named}"), style="bold")
        console.print(f"by mapping version {rules.version}:")
        for entry in lines:
            _print_line(console, entry)
            if newest is not rules and entry["rules"]:
                taker = f"row {entry['newest_row']} takes it" if entry["newest_row"] else "no row takes it"
                console.print(f"  By version {newest.version}, published since: {taker}.")

    document = {"record": named.name, "version": rules.version, "newest": newest.version, "lines": lines}
    show(document, as_json=as_json, human=human)


def _decision(part: records.MappedLine) -> dict[str, Any]:
    return {
        "outcome": part.outcome,
        "amount": part.amount,
        "project": part.project_id,
        "code": f"{part.cost_code}.{part.cost_type}" if part.cost_code else "",
        "reason": part.reason,
        "rule": part.rule,
    }


def _print_line(console: Console, entry: Mapping[str, Any]) -> None:
    """A line with what became of it, and the rules from the top down to the one that took it."""
    amount = "no amount" if entry["amount"] is None else f"{entry['amount']:,}"
    title = " ".join(filter(None, (f"Line {entry['line']}: {amount}", entry["description"])))
    taken = [rule["took"] for rule in entry["rules"]]
    asked = entry["rules"][: taken.index(True) + 1 if True in taken else None]
    rows = [(rule["row"], "took it" if rule["took"] else "", rule["why"]) for rule in asked]
    if rows:
        console.print(table(title, ["row", "", "why"], rows, numbers=["row"]))
    else:
        console.print(plain(title), style="bold")
        console.print("No rule is asked: a line without money, or one that QuickBooks' lists cannot place.")
    for part in entry["now"]:
        where = f" on project {part['project']} as {part['code']}" if part["project"] else ""
        why = f" ({part['reason']})" if part["reason"] else ""
        console.print(f"  {part['amount']:,} {part['outcome']}{where}{why}")
