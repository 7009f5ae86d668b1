"""`draft`, `rehearse`, `takeover`: from a connected company to sheets that can be published, and the report to sign."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ml_connector.cli.output import AsJson, counted, log_from, plain, show, table
from ml_connector.cli.record_commands import Name
from ml_connector.cli.site import Site, open_site
from ml_connector.errors import SetupError
from ml_connector.mapping import publishing
from ml_connector.settings import Connection, Home, load_connection
from ml_connector.store import sheets
from ml_connector.takeover.drafting import Row, filled, mapping_sheet, projects_sheet
from ml_connector.takeover.rehearsal import (
    FirstLoad,
    Quarter,
    Rehearsal,
    Year,
    beginning,
    last_quarter,
    quarter_of,
    read_year,
)
from ml_connector.takeover.rehearsal import rehearse as rehearse_quarter
from ml_connector.takeover.report import Report, report

SHOWN = 15
QuarterName = Annotated[
    str | None,
    typer.Option(
        "--quarter",
        metavar="YYYY-Qn",
        help="The quarter to rehearse, such as 2026-Q2, not older than a year (default: the last one that is over).",
    ),
]


def draft(name: Name, quarter: QuarterName = None, as_json: AsJson = False) -> None:
    """Draft projects.csv and mapping.csv from the last 12 months of QuickBooks, and rehearse the last quarter with them.

    Nothing is published, and nothing is written at any vendor. A sheet that has rows is left alone: its draft stands beside.
    """
    log_from(logging.ERROR)
    with open_site() as site:
        connection = load_connection(site.home, name)
        asked = _quarter(connection, quarter)
        places = {sheet: _place(site, connection, sheet) for sheet in (sheets.PROJECTS, sheets.MAPPING)}
        with _year(site, connection) as year:
            drafted = year.drafted
            contents = {
                sheets.PROJECTS: projects_sheet(drafted.projects),
                sheets.MAPPING: mapping_sheet(drafted.mapping),
            }
            done = rehearse_quarter(
                year,
                asked,
                mapping=filled(sheets.MAPPING, contents[sheets.MAPPING]),
                projects=filled(sheets.PROJECTS, contents[sheets.PROJECTS]),
                vendors=_own(site.home, connection, sheets.VENDORS),
            )
            load = year.first_load(done)
        for sheet, content in contents.items():
            _write(places[sheet], content)
    rows = {sheets.PROJECTS: drafted.projects, sheets.MAPPING: drafted.mapping}
    drafts: list[dict[str, Any]] = [
        {
            "sheet": sheet,
            "file": str(places[sheet]),
            "rows": len(of_sheet),
            "to_fill": sum(not row.is_sure for row in of_sheet),
            "amount": sum(row.amount for row in of_sheet),
        }
        for sheet, of_sheet in rows.items()
    ]

    def human(console: Console) -> None:
        for entry, of_sheet in zip(drafts, rows.values(), strict=True):
            _print_draft(console, entry, of_sheet)
        _print(console, name, done, load)
        console.print(
            "Read the drafts, fill the empty cells or take the rows out, and try again with "
            f"`ml-connector rehearse {name}`. Then `ml-connector projects publish {name}` and "
            f"`ml-connector mapping publish {name}`."
        )

    show({"drafts": drafts, "rehearsal": _document(done, load)}, as_json=as_json, human=human)


def rehearse(name: Name, quarter: QuarterName = None, as_json: AsJson = False) -> None:
    """Say what would have become of the last quarter's bills by the sheets in the folder, and which rows bring the most.

    It only reads: nothing is published, posted or kept. Rows that are not filled in yet are left out.
    """
    log_from(logging.ERROR)
    with open_site() as site:
        connection = load_connection(site.home, name)
        own = {
            sheet: filled(sheet, publishing.read_sheet(site.home, connection, sheet))
            for sheet in (sheets.MAPPING, sheets.PROJECTS)
        }
        vendors = _own(site.home, connection, sheets.VENDORS)
        asked = _quarter(connection, quarter)
        with _year(site, connection) as year:
            done = rehearse_quarter(
                year, asked, mapping=own[sheets.MAPPING], projects=own[sheets.PROJECTS], vendors=vendors
            )
            load = year.first_load(done)
    show(_document(done, load), as_json=as_json, human=lambda console: _print(console, name, done, load))


@contextmanager
def _year(site: Site, connection: Connection) -> Iterator[Year]:
    from ml_connector.orchestration.clients import procore_client, qbo_client

    with (
        site.engine() as engine,
        closing(qbo_client(site.home, connection, engine)) as qbo,
        closing(procore_client(site.home, connection, engine)) as procore,
        read_year(engine, connection, qbo, procore) as year,
    ):
        yield year


def _quarter(connection: Connection, given: str | None) -> Quarter:
    today = datetime.now(UTC).astimezone(connection.zone).date()
    if given is None:
        return last_quarter(today)
    number, _, quarter = given.upper().partition("-Q")
    if not (number.isdigit() and len(number) == 4 and quarter in ("1", "2", "3", "4")):
        raise SetupError(f"--quarter is written like 2026-Q2, not {given}")
    asked = quarter_of(date(int(number), 3 * int(quarter), 1))
    since = beginning(today)
    if not since <= asked.first <= today:
        raise SetupError(f"{given} is not within the last 12 months: {since} to {today}")
    return asked


def _place(site: Site, connection: Connection, sheet: str) -> Path:
    """Where the draft of a sheet goes: its own file while that has no row and was never published, else one beside it."""
    path = publishing.sheet_path(site.home, connection, sheet)
    with site.engine() as engine, engine.connect() as db:
        is_published = sheets.newest(db, connection.name, sheet) is not None
    if not is_published and not _has_rows(path):
        return path
    beside = path.with_name(f"{sheet}.draft.csv")
    if beside.exists():
        raise SetupError(
            f"{beside} is there already: take from it what you need and remove it, then draft again"
        )
    return beside


def _has_rows(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return b"\n" in content.strip().replace(b"\r", b"\n")


def _own(home: Home, connection: Connection, sheet: str) -> bytes:
    path = publishing.sheet_path(home, connection, sheet)
    return path.read_bytes() if path.exists() else b""


def _write(path: Path, content: bytes) -> None:
    """The whole file or none of it: who saves another one meanwhile finds both."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None


# -- how it is told ---------------------------------------------------------------------------------------------------


def _document(done: Rehearsal, load: FirstLoad) -> dict[str, Any]:
    return {
        "quarter": str(done.quarter),
        "from": done.quarter.first,
        "to": done.quarter.last,
        "bills": vars(done.all_),
        "posted": vars(done.posted),
        "linked": vars(done.linked),
        "excluded": {reason: vars(sum_) for reason, sum_ in sorted(done.excluded.items())},
        "held": {reason: vars(sum_) for reason, sum_ in sorted(done.held.items())},
        "wanted": [vars(one) for one in done.wanted],
        "first_load": vars(load),
    }


def _print_draft(console: Console, entry: Mapping[str, Any], rows: Sequence[Row]) -> None:
    console.print(
        f"{entry['file']}: {counted(entry['rows'], 'row')}, {entry['to_fill']} to be filled in by you"
        + ("" if Path(entry["file"]).name.count(".") == 1 else " (your own sheet is left as it is)")
    )
    open_rows = [row for row in rows if not row.is_sure][:SHOWN]
    if open_rows:
        heads = ("customer", "account", "item", "vendor")
        cells = [
            [
                row.amount,
                " ".join(row.cells[name] for name in heads if row.cells.get(name)),
                row.cells["note"],
            ]
            for row in open_rows
        ]
        console.print(table("To be filled in", ["amount", "row", "note"], cells, numbers=["amount"]))


def _print(console: Console, name: str, done: Rehearsal, load: FirstLoad) -> None:
    rows: list[list[object]] = [
        ["would be posted", "", done.posted.bills, done.posted.amount],
        ["is in Procore already, would be linked", "", done.linked.bills, done.linked.amount],
    ]
    rows += [["excluded", reason, one.bills, one.amount] for reason, one in sorted(done.excluded.items())]
    by_money = sorted(done.held.items(), key=lambda pair: -abs(pair[1].amount))
    rows += [["held", reason, one.bills, one.amount] for reason, one in by_money]
    rows.append(["all", "", done.all_.bills, done.all_.amount])
    title = f"{done.quarter} of {name} ({done.quarter.first} to {done.quarter.last}): nothing was written"
    console.print(table(title, ["what", "why", "bills", "amount"], rows, numbers=["bills", "amount"]))
    if done.wanted:
        cells = [
            [one.amount, one.bills, f"{one.sheet}.csv" if one.sheet else one.reason, plain(one.to_type)]
            for one in done.wanted[:SHOWN]
        ]
        columns = ["amount", "bills", "where", "what to type or do"]
        console.print(table("What brings the most", columns, cells, numbers=columns[:2]))
    hours, minutes = load.seconds // 3600, load.seconds % 3600 // 60 + 1
    time = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    console.print(
        f"The first load from {load.start} has {counted(load.records, 'bill')} and credits: about "
        f"{load.qbo_calls:,} calls to QuickBooks, {load.procore_calls:,} to Procore, {time}."
    )


# -- the report -----------------------------------------------------------------------------------------------------------


def takeover(name: Name, as_json: AsJson = False) -> None:
    """The report to sign: what was in Procore already, what is new, what has no bill; commitments at the start; the load."""
    with open_site() as site:
        connection = load_connection(site.home, name)
        with site.engine() as engine, engine.connect() as db:
            found = report(db, connection)
    show(found.document(), as_json=as_json, human=lambda console: _print_report(console, connection, found))


def _print_report(console: Console, connection: Connection, found: Report) -> None:
    rows = [[what, one.bills, one.amount] for what, one in found.sums().items()]
    title = f"Taking over {connection.name} from {connection.start_date}"
    console.print(table(title, ["what", "records", "amount"], rows, numbers=["records", "amount"]))
    if found.takeover.only_in_procore:
        cells = [
            [one.project_id, one.procore_id, one.number, one.amount] for one in found.takeover.only_in_procore
        ]
        columns = ["project", "Procore id", "number", "amount"]
        console.print(table("Only in Procore", columns, cells, numbers=["Procore id", "amount"]))
    if found.openings:
        columns = [
            "commitment", "project", "billed in books", "in Procore", "retained in books", "in Procore ", "paid in books",
            "in Procore  ", "",
        ]  # fmt: skip
        lines = [
            [
                one.number,
                one.project_id,
                one.books.billed,
                one.procore.billed,
                one.books.retained,
                one.procore.retained,
                one.books.paid,
                one.procore.paid,
                "alike" if one.is_alike else one.accepted or "its bills wait",
            ]
            for one in found.openings
        ]
        console.print(table("Commitments at the start", columns, lines, numbers=columns[2:8]))
    console.print(found.load_words())
