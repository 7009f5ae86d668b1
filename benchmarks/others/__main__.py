"""`python -m benchmarks.others [--only TOOL] [--scenario S104] [--page FILE]`: the same faults, other tools and ours.

Prints a table for reading and one for writing; `--page` puts both, with versions and date, between the marks of a page.
A tool whose environment is missing (`make others` makes them) is left out and named.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from benchmarks.others import playing
from benchmarks.others.judge import Verdict
from benchmarks.others.lineup import READERS, WRITERS
from benchmarks.others.tools import Tool, python_of, version_of
from benchmarks.report import machine, machine_line

BEGIN, END = "<!-- figures: written by `make others` -->", "<!-- end of figures -->"
PACKAGES = (
    ("tap-quickbooks", ".venv-others-tap"),
    ("airbyte-source-quickbooks", ".venv-others-airbyte"),
    ("python-quickbooks", ".venv-peers"),
    ("drt-core", ".venv-others-drt"),
    ("pyprocore", ".venv-others-pyprocore"),
    ("ProPyCore", ".venv-peers"),
)
HEAD = ("scenario", "tool", "lost", "doubled", "misreported", "said so", "calls per 1,000", "runs")

Play = Callable[[Tool, str], Verdict | None]


def main() -> int:
    """Play every scenario with every tool that is installed, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.others", description=__doc__)
    parser.add_argument("--only", help="tools whose name contains this")
    parser.add_argument("--scenario", help="scenarios whose name contains this")
    parser.add_argument("--page", type=Path, help="put the tables between the marks of this page")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    # Ended by SIGTERM, it stops and removes what it started as it does for Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    parts: list[tuple[str, str, Sequence[Tool], Sequence[str], Play]] = [
        ("Reading", f"bills: {playing.READ}, {playing.PAGED:,} for S98 and S101", READERS, playing.READING, playing.read),
        ("Writing", f"bills: {playing.WRITTEN}", WRITERS, playing.WRITING, playing.write),
    ]  # fmt: skip
    pieces = [_facts()]
    try:
        for title, size, tools, scenarios, play in parts:
            chosen = [tool for tool in tools if not given.only or given.only in tool.name]
            asked = [name for name in scenarios if not given.scenario or given.scenario in name]
            verdicts = _played(chosen, asked, play)
            if not verdicts:
                continue
            pieces += [f"## {title} ({size})", _configured(chosen), _table(verdicts), _words(verdicts)]
    except KeyboardInterrupt:
        return 130
    pieces.append(f"The whole took {(time.monotonic() - began) / 60:.0f} minutes.")
    text = "\n\n".join(piece for piece in pieces if piece)
    sys.stdout.write(text + "\n")
    if given.page is not None:
        page = given.page.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        given.page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


def _played(tools: Sequence[Tool], scenarios: Sequence[str], play: Play) -> list[Verdict]:
    verdicts = []
    for scenario in scenarios:
        for tool in tools:
            if not tool.here:
                continue
            verdict = play(tool, scenario)
            word = "cannot meet it" if verdict is None else verdict.counts
            sys.stderr.write(f"{scenario}, {tool.name}: {word}\n")
            verdicts += [] if verdict is None else [verdict]
    return verdicts


def _facts() -> str:
    found = []
    for package, environment in PACKAGES:
        here = python_of(environment).exists()
        found.append(f"{package} {version_of(environment, package) if here else 'is not installed here'}")
    return f"{datetime.now(UTC):%Y-%m-%d}. {', '.join(found)}.\n{machine_line(machine())}."


def _configured(tools: Sequence[Tool]) -> str:
    rows = [
        f"- **{tool.name}**: {tool.how}{'' if tool.here else '; **left out: not installed here**'}"
        for tool in tools
    ]
    return "\n".join(rows)


def _table(verdicts: Sequence[Verdict]) -> str:
    lines = [f"| {' | '.join(HEAD)} |", f"|---|---|{'---:|' * (len(HEAD) - 2)}"]
    before = ""
    for row in verdicts:
        shown = "" if row.scenario == before else row.scenario
        before = row.scenario
        numbers = (row.lost, row.doubled, row.misreported)
        counts = [f"**{number}**" if number else "0" for number in numbers]
        counts += [str(row.said), f"{row.per_thousand:,}", str(row.runs)]
        lines.append(f"| {' | '.join([shown, row.tool, *counts])} |")
    return "\n".join(lines)


def _words(verdicts: Sequence[Verdict]) -> str:
    told = [f"- {row.scenario}, {row.tool}: `{row.note.replace('`', ' ')}`" for row in verdicts if row.note]
    return "What they said last, where something did not get through:\n\n" + "\n".join(told) if told else ""


if __name__ == "__main__":
    sys.exit(main())
