"""`decide`: what a person chooses for a held record, or in a sheet for many, under the name of their account."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ml_connector.cli import record_names
from ml_connector.cli.output import AsJson, counted, plain, show, table
from ml_connector.cli.person import system_account
from ml_connector.cli.record_commands import Name
from ml_connector.cli.record_names import RECORD_HELP
from ml_connector.cli.site import open_site
from ml_connector.crashpoints import crashpoint
from ml_connector.errors import SetupError
from ml_connector.holds import Choice
from ml_connector.mapping import decision_sheet
from ml_connector.settings import load_connection
from ml_connector.store import decisions


def decide(
    name: Name,
    record: Annotated[
        list[str] | None,
        typer.Argument(metavar="RECORD...", help=f"{RECORD_HELP}; not with --sheet"),
    ] = None,
    choice: Annotated[
        Choice | None,
        typer.Argument(
            metavar="CHOICE", help=f"One that its hold takes, as `holds` lists: {', '.join(Choice)}."
        ),
    ] = None,
    comment: Annotated[
        str,
        typer.Option(
            "--comment", metavar="TEXT", help="Why; needed to reject and to exclude, where it is the reason."
        ),
    ] = "",
    version: Annotated[
        int | None,
        typer.Option(
            "--version", help="Only if the record is still at this version, as `holds --json` tells it."
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet", metavar="FILE", help="All decisions of a sheet that `holds NAME --sheet` wrote."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide what becomes of a held record, or of all of a sheet; the next run of its day acts on it.

    A decision is for one version of the record and is made once, by the account that gives the command. Of a sheet all
    are taken or none.
    """
    if sheet is not None:
        if record or choice or comment or version is not None:
            raise SetupError("--sheet says everything: give no record, choice, comment or version with it")
        _decide_sheet(name, sheet, as_json=as_json)
    elif record and choice:
        _decide_one(name, record, choice, comment, version, as_json=as_json)
    else:
        raise SetupError(
            "say which record and what becomes of it, such as `bill:4471 exclude`, or give --sheet FILE"
        )


def _decide_sheet(name: str, path: Path, *, as_json: bool) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    with open_site() as site:
        connection = load_connection(site.home, name)
        with site.engine() as engine, engine.begin() as db:
            made = decision_sheet.decide_by(db, connection, content, by=system_account())
    document = [
        {
            "record": f"{one.entity.lower()}:{one.qbo_id}",
            "version": one.landing_number,
            "reason": one.reason,
            "choice": one.choice,
            "comment": one.comment,
            "by": one.by,
            "at": one.at,
        }
        for one in made
    ]

    def human(console: Console) -> None:
        rows = [[one[column] for column in ("record", "reason", "choice", "comment")] for one in document]
        title = f"{counted(len(made), 'decision')} by {made[0].by}"
        console.print(table(title, ["record", "reason", "decision", "comment"], rows))
        console.print("The next runs take them up.")

    show(document, as_json=as_json, human=human)


def _decide_one(
    name: str, record: list[str], choice: Choice, comment: str, version: int | None, *, as_json: bool
) -> None:
    with open_site() as site:
        policies = load_connection(site.home, name).policies
        with site.engine() as engine, engine.begin() as db:
            named = record_names.one(db, name, " ".join(record))
            made = decisions.decide(
                db,
                name,
                named.entity,
                named.qbo_id,
                choice,
                comment=comment,
                by=system_account(),
                two_persons=policies.approval_two_persons,
                version=version,
            )
            crashpoint("K11")
    document = {
        "record": named.name,
        "version": made.landing_number,
        "reason": made.reason,
        "choice": made.choice,
        "comment": made.comment,
        "by": made.by,
        "at": made.at,
        "dated": named.txn_date,
        "to_be_dated": made.next_open_day,
    }

    def human(console: Console) -> None:
        console.print(plain(str(named)), style="bold")
        console.print(plain(f"{made.reason}: {made}"))
        if made.next_open_day is not None:
            console.print(
                f"dated {named.txn_date} in QuickBooks, to be dated {made.next_open_day} in Procore"
            )
        console.print(
            f"The next run takes it up; `ml-connector replay {name} --record {named.name}` does so now."
        )

    show(document, as_json=as_json, human=human)
