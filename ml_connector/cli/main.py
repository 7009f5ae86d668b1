"""The command line `ml-connector`: its commands stand in the modules beside; errors of ours end in one sentence."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console

from ml_connector.cli import connections, record_commands, sheet_commands, sync
from ml_connector.cli.output import AsJson
from ml_connector.errors import MlConnectorError

app = typer.Typer(
    help="Brings vendor bills from QuickBooks Online into Procore, and proves that both sides agree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback of ours goes to the log of whoever called, without bill data
)
app.command()(connections.init)
app.command()(connections.up)
app.command()(connections.status)
app.command()(connections.sandbox)
app.command()(sync.sync)
app.command()(record_commands.holds)
app.command()(record_commands.audit)
app.add_typer(sheet_commands.mapping, name="mapping")
app.add_typer(sheet_commands.projects, name="projects")


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End when the table stands, instead of staying up.")
    ] = False,
    as_json: AsJson = False,
    home: Annotated[
        Path | None, typer.Option(help="Keep everything here (default: a folder that is removed).")
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port of the Dagster UI; another one is taken when it is not free.")
    ] = 3000,
) -> None:
    """Run everything on the sandbox, through Dagster: bills come in, are mapped, posted and compared."""
    from ml_connector.cli.demo import run_demo

    raise typer.Exit(run_demo(once=once, as_json=as_json, home=home, port=port))


def main() -> None:
    """Entry point: a fault that a person can mend is one sentence on standard error and exit code 2."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        app()
    except MlConnectorError as error:
        Console(stderr=True).print(
            f"[red]{type(error).__name__}[/red]: {error}", markup=True, highlight=False
        )
        sys.exit(2)
