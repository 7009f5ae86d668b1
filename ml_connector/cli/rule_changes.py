"""`mapping preview` and `mapping apply`: what other rules would change in posted history, and letting them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console

from ml_connector.cli.output import AsJson, counted, people, show, table
from ml_connector.cli.person import system_account
from ml_connector.cli.record_commands import Name
from ml_connector.cli.site import open_site
from ml_connector.errors import SetupError
from ml_connector.mapping import publishing, remapping
from ml_connector.settings import load_connection
from ml_connector.store import sheets

DAYS_SHOWN = 10


def preview(name: Name, as_json: AsJson = False) -> None:
    """Tell what mapping.csv would change in what is posted, before it is published. Nothing is written to Procore."""
    from ml_connector.orchestration.clients import procore_client
    from ml_connector.posting.rule_preview import preview_rules

    with open_site() as site:
        connection = load_connection(site.home, name)
        content = publishing.read_sheet(site.home, connection, sheets.MAPPING)
        with site.engine() as engine:
            client = procore_client(site.home, connection, engine)
            found = preview_rules(
                connection, engine, client, content, by=system_account(), now=datetime.now(UTC)
            )
    figures = found.figures()
    bills = [
        {
            "record": f"{bill.entity.lower()}:{bill.qbo_id}",
            "number": bill.document,
            "vendor": bill.vendor_name,
            "date": bill.txn_date,
            "total": bill.total,
            "becomes": bill.becomes,
            "reason": bill.reason,
            "sentence": bill.sentence,
        }
        for bill in found.left_out
    ]

    def human(console: Console) -> None:
        _print_figures(console, figures)
        if bills:
            columns = ["record", "date", "total", "becomes", "why"]
            cells = [[*(bill[column] for column in columns[:-1]), bill["sentence"]] for bill in bills]
            console.print(table("Bills that would not stay posted", columns, cells, numbers=["total"]))
        if figures["bills"] or figures["held"]:
            publish = "" if figures["published"] else f"`ml-connector mapping publish {name}`, then "
            console.print(f"Nothing was changed. To change it: {publish}`ml-connector mapping apply {name}`")

    show({**figures, "left_out": bills}, as_json=as_json, human=human)


def apply(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: the preview was looked at.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let the published rules change what was posted before, as previewed: the same records, with other codes."""
    from ml_connector.orchestration import work
    from ml_connector.orchestration.clients import procore_client
    from ml_connector.procore.stored_catalog import load_catalog

    if as_json and not yes:
        raise SetupError("--json asks no question: give --yes with it")
    with open_site() as site:
        connection = load_connection(site.home, name)
        with site.engine() as engine:
            _, seen = remapping.approved(engine, connection)
            if not yes:
                _ask(seen.detail, f"{seen.actor} at {seen.at.astimezone(connection.zone):%Y-%m-%d %H:%M}")
            work.refresh_lists(engine, connection, procore_client(site.home, connection, engine))
            with engine.connect() as db:
                catalog = load_catalog(db, name)
            done = remapping.apply(engine, connection, catalog, by=system_account())
    document = {
        "version": done.version,
        "preview": seen.number,
        "bills": done.bills,
        "left": done.left,
        "days_to_do": done.days,
    }

    def human(console: Console) -> None:
        if not done.bills:
            console.print(f"What is posted is as mapping version {done.version} says: nothing is to be done.")
        else:
            console.print(
                f"The next runs post {counted(done.bills, 'bill')} of {counted(len(done.days), 'day')} anew: "
                f"{days_listed(done.days)}"
            )
        if done.left:
            console.print(f"Left as posted, since the books are closed: {counted(done.left, 'bill')}.")

    show(document, as_json=as_json, human=human)


def days_listed(days: Sequence[object]) -> str:
    """The first days, and how many more."""
    shown = ", ".join(map(str, days[:DAYS_SHOWN]))
    return f"{shown} and {len(days) - DAYS_SHOWN} more" if len(days) > DAYS_SHOWN else shown


def _ask(figures: Mapping[str, Any], when: str) -> None:
    console = people()
    console.print(f"Previewed by {when}:")
    _print_figures(console, figures)
    question = f"Change what is posted of {counted(figures['bills'], 'bill')}?"
    if not typer.confirm(question):
        raise typer.Exit(1)


def _print_figures(console: Console, figures: Mapping[str, Any]) -> None:
    """The figures of a preview, as it was made or as it was stored (money as text)."""
    console.print(
        f"By mapping version {figures['version']}, {figures['bills']:,} of {figures['looked_at']:,} settled bills would "
        f"change: {counted(figures['lines'], 'line')} over {_money(figures['amount'])}."
    )
    rows = [
        (
            code["project"] or code["left_out"],
            f"{code['cost_code']} / {code['cost_type']}" if code["cost_code"] else "",
            code["lines_before"],
            _money(code["before"]),
            code["lines_after"],
            _money(code["after"]),
            _money(Decimal(code["after"]) - Decimal(code["before"])),
        )
        for code in figures["codes"]
    ]
    if rows:
        columns = ["project", "code", "lines now", "now", "lines then", "then", "change"]
        console.print(table("Lines that would change", columns, rows, numbers=columns[2:]))
    for becomes, words in (
        ("held", "would wait; Procore keeps what it has"),
        ("excluded", "would be excluded"),
    ):
        for group in figures[becomes]:
            amount = _money(group["amount"])
            console.print(f"{group['reason']}: {counted(group['bills'], 'bill')} over {amount} {words}.")
    closed, kept = figures["closed"], figures["kept"]
    if closed["bills"]:
        console.print(f"Books closed to {closed['to']}: {_left(closed)}.")
    if kept["bills"]:
        console.print(f"A person decided to keep what Procore has: {_left(kept)}.")


def _left(group: Mapping[str, Any]) -> str:
    return f"{counted(group['bills'], 'bill')} over {_money(group['amount'])} left as posted"


def _money(amount: Decimal | str) -> str:
    return f"{Decimal(amount):,.2f}"
