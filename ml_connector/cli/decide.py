"""`decide`: what a person chooses for a held record, under the name of their account."""

from typing import Annotated

import typer
from rich.console import Console

from ml_connector.cli import record_names
from ml_connector.cli.output import AsJson, plain, show
from ml_connector.cli.person import system_account
from ml_connector.cli.record_commands import Name
from ml_connector.cli.record_names import RecordName
from ml_connector.cli.site import open_site
from ml_connector.holds import Choice
from ml_connector.settings import load_connection
from ml_connector.store import decisions


def decide(
    name: Name,
    record: RecordName,
    choice: Annotated[
        Choice,
        typer.Argument(
            metavar="CHOICE", help=f"One that its hold takes, as `holds` lists: {', '.join(Choice)}."
        ),
    ],
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
    as_json: AsJson = False,
) -> None:
    """Decide what becomes of a held record; the next run of its day acts on it.

    A decision is for one version of the record and is made once, by the account that gives the command.
    """
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
