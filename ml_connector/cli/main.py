"""The command line: `ml-connector ...`. Commands stand in the modules beside this one; errors of ours end in one sentence."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Brings vendor bills from QuickBooks Online into Procore, and proves that both sides agree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _root() -> None:
    """Keeps the sub-commands named even while there is only one."""


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End when the table stands, instead of staying up.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    home: Annotated[Path | None, typer.Option(help="Keep everything here (default: a folder that is removed).")] = None,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI; another one is taken when it is not free.")] = 3000,
) -> None:
    """Run everything on the sandbox, through Dagster: bills come in, are mapped, posted and compared."""
    from ml_connector.cli.demo import run_demo

    raise typer.Exit(run_demo(once=once, as_json=as_json, home=home, port=port))
