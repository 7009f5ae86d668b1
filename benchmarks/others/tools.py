"""What a tool of the comparison is, and how it gets its ground."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks import firm
from benchmarks.others.ground import ROOT, Cell, open_cell
from benchmarks.others.judge import Told

CLIENT, SECRET, REFRESH = firm.CONNECTOR
KillWhen = Callable[[], bool] | None
POSTS, SYNCS = "POST */direct_costs", "PATCH */sync"


class Session(Protocol):
    """One tool on one ground."""

    cell: Cell

    def run(self, kill_when: KillWhen = None) -> Told:
        """Run it once, as its schedule would."""
        ...

    def replay(self) -> Told:
        """Send, or read, everything again from the start."""
        ...

    def two_at_once(self) -> tuple[tuple[str, str], ...]:
        """Two runs side by side; the rows of both."""
        ...


@dataclass(frozen=True)
class Tool:
    """`open` gives a session whose QuickBooks has these bills; `how` says how it was configured.

    `writes`: the route of its writes, which are killed and cut; `kills`: at which write, in the first and second run.
    """

    name: str
    how: str
    open: Callable[[Sequence[Mapping[str, Any]]], Any]
    second_page: Mapping[str, Any]
    writes: str = ""
    kills: tuple[int, int] = (20, 40)
    headers_only: bool = False
    batch_item: Mapping[str, Any] | None = None  # the rule that makes the bills' item of a batch fail
    environment: str = ".venv"
    fresh: Callable[[Sequence[Mapping[str, Any]]], Any] | None = (
        None  # as `open`, and it holds no access token yet
    )

    @property
    def here(self) -> bool:
        """Whether it is installed."""
        return python_of(self.environment).exists()


def python_of(environment: str) -> Path:
    """The Python of an environment that `make others` has made."""
    return ROOT / environment / "bin" / "python"


def version_of(environment: str, package: str) -> str:
    """The version of a package there."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run(
        [python_of(environment), "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def on(make: Callable[[Cell], Any]) -> Callable[[Sequence[Mapping[str, Any]]], Any]:
    """A context that opens a ground with bills and prepares a tool on it."""

    @contextmanager
    def opened(entered: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
        with open_cell(entered) as cell:
            yield make(cell)

    return opened
