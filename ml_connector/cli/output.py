"""How commands speak: tables for people, or with `--json` one JSON document and nothing else on standard output."""

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _text(value: object) -> str:
    if isinstance(value, Decimal | date | datetime):
        return str(value)
    raise TypeError(type(value).__name__)


def show(document: Any, *, as_json: bool, human: Callable[[Console], None]) -> None:
    """Print `document` as JSON (money and times as text), or let `human` print it for people."""
    if as_json:
        typer.echo(json.dumps(document, indent=2, default=_text))
    else:
        human(Console())


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, money: Sequence[str] = ()
) -> Table:
    """A table; columns named in `money` stand to the right."""
    made = Table(title=title, title_justify="left")
    for column in columns:
        made.add_column(column, justify="right" if column in money else "left", overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
    return made
