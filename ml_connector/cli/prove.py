"""`prove`: both sides read afresh and compared, for people and for scripts."""

import logging
import re
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console

from ml_connector.cli.output import AsJson, counted, log_from, plain, show, table
from ml_connector.cli.person import system_account
from ml_connector.cli.site import open_site
from ml_connector.errors import SetupError
from ml_connector.orchestration.clients import procore_client, qbo_client
from ml_connector.proving.figures import Compared
from ml_connector.proving.noted import note
from ml_connector.proving.proof import Proof
from ml_connector.proving.proof import prove as prove_connection
from ml_connector.proving.told import (
    COLUMNS,
    by_project,
    document_of,
    money_of,
    open_rows,
    outside_words,
    verdict,
)
from ml_connector.settings import load_connection

MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def prove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The connection.")],
    project: Annotated[
        str | None, typer.Option(metavar="ID", help="Only one Procore project, by its id.")
    ] = None,
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="Only one month, by the dates of the records.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare QuickBooks with Procore, both read afresh, to the cent. Exit code 0 only when they balance.

    Nothing is written on either side; the verdict is kept in the audit trail.
    """
    if month is not None and not MONTH.fullmatch(month):
        raise SetupError(f"--month is written like 2026-03, not {month}")
    log_from(logging.ERROR)
    with open_site() as site:
        connection = load_connection(site.home, name)
        with (
            site.engine() as engine,
            closing(qbo_client(site.home, connection, engine)) as qbo,
            closing(procore_client(site.home, connection, engine)) as procore,
        ):
            proof = prove_connection(engine, connection, qbo, procore)
            with engine.begin() as db:
                note(db, proof, run_id="", actor=system_account())
    proof = proof.narrowed(project=project, month=month)
    show(document_of(proof), as_json=as_json, human=lambda console: _print(console, proof, month))
    raise typer.Exit(0 if proof.balanced else 1)


def _print(console: Console, proof: Proof, month: str | None) -> None:
    rows: list[Sequence[object]] = [
        [project, *money_of(row)]
        for project, row in [*by_project(proof, proof.costs), ("all", proof.costs.total)]
    ]
    title = f"Job cost of {proof.connection}, records dated {proof.start} or later"
    console.print(table(title, ["project", *COLUMNS], rows, numbers=COLUMNS))
    _print_open(console, proof, "Where the two sides are not the same", proof.costs)
    if proof.payments.rows:
        rows = [[project, *money_of(row)] for project, row in by_project(proof, proof.payments)]
        console.print(
            table(
                "Payments (excluded: those that Procore shows by a date alone, or not at all)",
                ["project", *COLUMNS],
                rows,
                numbers=COLUMNS,
            )
        )
    if proof.retainage:
        columns = ["commitment", "books", "procore", "by policy", "held", "excluded", "difference"]
        rows = [
            [
                row.commitment_id or "none",
                row.books,
                row.procore,
                row.by_policy,
                row.held,
                row.excluded,
                row.difference,
            ]
            for row in proof.retainage
        ]
        title = f"Retainage payable at the end of {month}" if month else "Retainage payable"
        console.print(table(title, columns, rows, numbers=columns[1:]))
    _print_vendors(console, proof)
    if proof.outside:
        console.print(
            f"Beside this, {counted(len(proof.outside), 'line')} of {outside_words(proof)} in QuickBooks bring "
            f"{proof.outside_total:,} of job cost that the sync does not bring: Procore has none of it."
        )
    for one in (*proof.costs.differences, *proof.payments.differences):
        if not one.is_problem:
            console.print(f"{one.direction}: {plain(one.sentence)}")
    for problem in proof.problems():
        console.print(f"- {plain(problem)}")
    console.print(
        f"{verdict(proof)} {counted(proof.calls.qbo, 'call')} to QuickBooks, {counted(proof.calls.procore, 'call')} to "
        "Procore."
    )


def _print_open(console: Console, proof: Proof, title: str, compared: Compared) -> None:
    rows = [
        [project, code, month, *money_of(row)] for project, code, month, row in open_rows(proof, compared)
    ]
    if rows:
        console.print(table(title, ["project", "code", "month", *COLUMNS], rows, numbers=COLUMNS))


def _print_vendors(console: Console, proof: Proof) -> None:
    report = proof.vendors
    console.print(
        f"Vendors: {report.linked} linked, {len(report.only_in_qbo)} only in QuickBooks, "
        f"{len(report.only_in_procore)} only in Procore, {len(report.name_differs)} under another name."
    )
    rows: list[Sequence[object]] = [
        [what, pair.qbo_name, pair.procore_name]
        for what, pairs in (
            ("only in QuickBooks", report.only_in_qbo),
            ("only in Procore", report.only_in_procore),
            ("name differs", report.name_differs),
        )
        for pair in pairs
    ]
    if rows:
        console.print(table("", ["vendor", "in QuickBooks", "in Procore"], rows))
