"""The command line `ml-connector`: its commands stand in the modules beside; errors of ours end in one sentence."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from ml_connector.cli import (
    audit,
    connect,
    connections,
    decide,
    disconnect,
    keys,
    metrics,
    ping,
    prove,
    record_commands,
    replay,
    sheet_commands,
    sync,
    takeover,
)
from ml_connector.cli.output import AsJson, log_from, plain
from ml_connector.errors import MlConnectorError
from ml_connector.settings import DATABASE_VARIABLE

app = typer.Typer(
    help="Brings vendor bills from QuickBooks Online into Procore, and proves that both sides agree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback shows code, never the values in hand: they are bill data
)
app.command()(connections.init)
app.command()(takeover.draft)
app.command()(takeover.rehearse)
app.command()(takeover.takeover)
app.command()(connections.up)
app.add_typer(connect.app, name="connect")
app.command()(disconnect.disconnect)
app.command()(ping.ping)
app.command()(connections.status)
app.command()(metrics.metrics)
app.command()(sync.sync)
app.command()(record_commands.holds)
app.command()(decide.decide)
app.command()(replay.replay)
app.command()(record_commands.find)
app.add_typer(audit.app, name="audit")
app.command()(prove.prove)
app.add_typer(sheet_commands.mapping, name="mapping")
app.add_typer(sheet_commands.projects, name="projects")
app.add_typer(keys.app, name="keys")
app.add_typer(sheet_commands.vendors, name="vendors")


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End when the table stands, instead of staying up.")
    ] = False,
    as_json: AsJson = False,
    home: Annotated[
        Path | None, typer.Option(help="Keep everything in this folder (default: one that is removed).")
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Port of the Dagster UI; another one is taken when it is not free."
        ),
    ] = 3000,
) -> None:
    """Run everything on the sandbox, through Dagster: bills come in, are mapped, posted and compared.

    The exit code is 0 only when every record ended as the demo data state it.
    """
    from ml_connector.cli.demo import run_demo

    raise typer.Exit(run_demo(once=once, as_json=as_json, home=home, port=port))


app.command()(connections.sandbox)


def main() -> None:
    """Entry point: a fault that a person can mend is told on standard error, with exit code 2.

    Anything else is a defect: its traceback goes to standard error and the exit code is 1.
    """
    log_from(logging.WARNING)
    try:
        app()
    except MlConnectorError as error:
        _fail(str(error))
    except OperationalError as error:
        _fail(f"the database {_database()} cannot be used: {_first_line(error)}")


def _fail(sentence: str) -> None:
    typer.echo(typer.style("error: ", fg="red") + plain(sentence), err=True)
    sys.exit(2)


def _database() -> str:
    """Where the database is, without account and password."""
    given = os.environ.get(DATABASE_VARIABLE, "")
    if not given:
        return "of the home"
    url = make_url(given)
    host = url.host or url.query.get("host", "localhost")
    return f"{host}:{url.port or 5432}/{url.database}"


def _first_line(error: OperationalError) -> str:
    return str(error.orig).partition("\n")[0]
