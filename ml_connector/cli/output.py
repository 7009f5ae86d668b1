"""How commands speak: tables for people, or with `--json` one JSON document and nothing else on standard output."""

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ml_connector import logs
from ml_connector.errors import SetupError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
PIPED_WIDTH = 200  # columns where no terminal says how many it has: rows stay whole for grep and files


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal | date):
        return str(value)
    raise TypeError(type(value).__name__)


def show(document: Any, *, as_json: bool, human: Callable[[Console], None]) -> None:
    """Print `document` as JSON (money and times as text), or let `human` print it for people."""
    if as_json:
        typer.echo(json.dumps(document, indent=2, default=_text))
    else:
        human(people())


def log_from(level: int) -> None:
    """Let the log of this command begin at `level` (of `logging`), on the standard error of the moment.

    A command that tells itself how its calls went begins at ERROR: alarms alone.
    """
    logs.configure(level, for_people=True)


def people() -> Console:
    """Standard output for people. What vendors and bookkeepers wrote is printed as it is, never as markup."""
    given = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(markup=False, emoji=False, highlight=False, width=None if given else PIPED_WIDTH)


def make_file(path: Path, content: bytes) -> None:
    """Write a new file, whole or not at all. Raises SetupError where there is one already: it may be filled in."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.open("xb").close()  # the name is ours from here on
    except FileExistsError:
        raise SetupError(f"{path} is there already: give another name, or remove it first") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with draft.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def plain(text: str) -> str:
    """`text` without control characters: a name out of the books must not steer a terminal."""
    return "".join("\ufffd" if unicodedata.category(mark) == "Cc" and mark != "\n" else mark for mark in text)


def counted(number: int, what: str) -> str:
    """`1 hold`, `3 holds`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: Sequence[str] = ()
) -> Table:
    """A table; columns named in `numbers` stand to the right, and neither they nor the first one are broken."""
    made = Table(title=Text(plain(title), style="bold"), title_justify="left")
    for place, column in enumerate(columns):
        right = column in numbers
        made.add_column(
            column, justify="right" if right else "left", overflow="fold", no_wrap=right or place == 0
        )
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:,}"
    return plain(str(value))
