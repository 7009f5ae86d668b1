"""Figures of a benchmark and how they are shown: one table a subject, a line about the machine, one JSON document."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PACKAGES = ("dagster", "pandas", "psycopg", "requests", "SQLAlchemy")


@dataclass(frozen=True)
class Figure:
    """One measured value. With `limit` it should be at most that; `ratio` is what the run measured it against."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    ratio: float | None = None
    ratio_of: str = ""  # what `ratio` divides by; "" for the limit

    @property
    def missed(self) -> bool:
        """Whether the target was missed; False without one."""
        return self.limit is not None and self.value > self.limit

    @property
    def shown_ratio(self) -> float | None:
        """The ratio given, else value to limit."""
        if self.ratio is not None or not self.limit:
            return self.ratio
        return self.value / self.limit

    def document(self) -> dict[str, Any]:
        """The figure as JSON data."""
        found: dict[str, Any] = {"name": self.name, "value": round(self.value, 4), "unit": self.unit}
        if self.limit is not None:
            found |= {"at_most": self.limit, "met": not self.missed}
        if self.shown_ratio is not None:
            found |= {"ratio": round(self.shown_ratio, 4), "ratio_of": self.ratio_of or "the target"}
        return found


@dataclass(frozen=True)
class Report:
    """What one subject measured; `notes` say under what conditions."""

    subject: str
    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {
            "subject": self.subject,
            "title": self.title,
            "figures": [figure.document() for figure in self.figures],
            "notes": list(self.notes),
        }


def machine() -> dict[str, Any]:
    """Cores that this process may use, memory in GB, load before the run, and versions."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(pages * size / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name.lower(): version(name) for name in PACKAGES},
    }


def show(console: Console, report: Report) -> None:
    """Print the report's table."""
    table = Table(title=report.title, title_justify="left")
    for column in ("figure", "value", "unit", "target", "ratio", ""):
        table.add_column(column, justify="left" if column in ("figure", "unit", "") else "right")
    for figure in report.figures:
        ratio = figure.shown_ratio
        words = "" if ratio is None else f"{ratio:.2f}" + (f" x {figure.ratio_of}" if figure.ratio_of else "")
        table.add_row(
            figure.name,
            _number(figure.value),
            figure.unit,
            "" if figure.limit is None else f"<= {_number(figure.limit)}",
            words,
            "" if figure.limit is None else ("[bold red]MISSED[/]" if figure.missed else "met"),
        )
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}")


def machine_line(facts: Mapping[str, Any]) -> str:
    """The machine in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def peak_megabytes(pid: int | str = "self") -> float:
    """The most memory that a process ever held, its swapped-out part aside.

    From VmHWM and not from ru_maxrss: the latter begins with what the parent held when it started the child.
    """
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has no memory left to tell of")


def middle(values: Sequence[float], share: float) -> float:
    """The value below or at which `share` of `values` lie (nearest rank); `values` must not be empty."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
