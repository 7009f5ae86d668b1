"""`python -m benchmarks [subject ...] [--bills N] [--events N] [--memory] [--json FILE]`: figures of one run, side by side.

A missed target is said in the table and changes nothing else: the exit code is 0 whenever the measuring itself worked.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import structlog
from rich.console import Console

from benchmarks import calls, disasters, latency, loading, month_end, side_by_side, subcontracts, throughput
from benchmarks.report import Report, machine, machine_line, show

SMALL, LARGE = 10_000, 40_000
ON_DEMAND = ("month_end", "side_by_side", "disasters", "memory")  # minutes each


def main() -> int:
    """Measure the subjects asked for (all by default) and print a table for each as it is done."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed, cost and size of ml-connector."
    )
    parser.add_argument(
        "subject",
        nargs="*",
        help="calls, subcontracts, loading, throughput, latency (default: these), month_end, side_by_side, disasters",
    )
    parser.add_argument("--bills", type=int, default=SMALL, help="bills of throughput (default %(default)s)")
    parser.add_argument("--events", type=int, default=8, help="webhooks of latency (default %(default)s)")
    parser.add_argument("--memory", action="store_true", help=f"peak memory at {SMALL:,} and {LARGE:,} bills")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE, too")
    given = parser.parse_args()
    subjects: dict[str, Callable[[], Report]] = {
        "calls": calls.measure,
        "subcontracts": subcontracts.measure,
        "loading": loading.measure,
        "throughput": lambda: throughput.measure(given.bills),
        "latency": lambda: latency.measure(given.events),
        "month_end": month_end.measure,
        "side_by_side": side_by_side.measure,
        "disasters": disasters.measure,
        "memory": lambda: throughput.measure_memory(SMALL, LARGE),
    }
    asked = list(given.subject)
    if unknown := sorted(set(asked) - subjects.keys()):
        parser.error(f"no subject {', '.join(unknown)}; there are {', '.join(subjects)}")
    if given.memory and "memory" not in asked:
        asked.append("memory")
    asked = asked or [name for name in subjects if name not in ON_DEMAND]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    # Ended by SIGTERM, it stops and removes what it started as it does for Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(width=None if sys.stdout.isatty() else 140)
    facts = machine()
    console.print(machine_line(facts))
    reports = []
    try:
        for name in asked:
            reports.append(subjects[name]())
            show(console, reports[-1])
    except KeyboardInterrupt:
        return 130
    if given.json is not None:
        document = {"machine": facts, "reports": [report.document() for report in reports]}
        given.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
