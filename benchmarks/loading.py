"""Subject `loading`: what Dagster's code server, every run and every tick pay to load the code location."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.report import Figure, Report
from ml_connector.settings import HOME_VARIABLE

TRIES = 5
LIMIT = 1.5
ZONES = {"denver": "America/Denver", "sydney": "Australia/Sydney"}
NOT_NEEDED = ("pandas", "requests", "sqlalchemy")
PROBE = """
import sys, time
wall, cpu = time.perf_counter(), time.process_time()
import {module}
print(time.process_time() - cpu, time.perf_counter() - wall, *[name for name in {heavy!r} if name in sys.modules])
"""


def measure() -> Report:
    """CPU seconds of the import in a fresh process, best of five taken in turns, with two connections."""
    with tempfile.TemporaryDirectory(prefix="ml-connector-bench-") as folder:
        environment = {**os.environ, HOME_VARIABLE: folder, "DAGSTER_HOME": folder}
        _connections(Path(folder))
        times: dict[str, list[tuple[float, float]]] = {"dagster": [], "ml_connector.definitions": []}
        heavy: list[str] = []
        for _ in range(TRIES):
            for module, taken in times.items():
                cpu, wall, *heavy = _import(module, environment)
                taken.append((float(cpu), float(wall)))
    alone, ours = (min(cpu for cpu, _ in taken) for taken in times.values())
    alone_wall, ours_wall = (min(wall for _, wall in taken) for taken in times.values())
    figures = [
        Figure("import dagster alone, CPU", alone, "s"),
        Figure(
            "the code location, CPU",
            ours,
            "s",
            limit=LIMIT * alone,
            ratio=ours / alone,
            ratio_of="dagster alone",
        ),
        Figure("import dagster alone, wall", alone_wall, "s"),
        Figure(
            "the code location, wall", ours_wall, "s", ratio=ours_wall / alone_wall, ratio_of="dagster alone"
        ),
        Figure(f"of {', '.join(NOT_NEEDED)} imported by it", len(heavy), "modules", limit=0),
    ]
    note = f"Best of {TRIES} fresh processes each, taken in turns; {len(ZONES)} connections."
    return Report("loading", "Loading the code location", figures, [note])


def _import(module: str, environment: dict[str, str]) -> list[str]:
    probe = PROBE.format(module=module, heavy=NOT_NEEDED)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", probe],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1].split()


def _connections(home: Path) -> None:
    for number, (name, zone) in enumerate(ZONES.items(), start=1):
        folder = home / "connections" / name
        folder.mkdir(parents=True)
        content = {
            "qbo": {"realm_id": str(number)},
            "procore": {"company_id": number},
            "time_zone": zone,
            "start_date": "2026-01-01",
        }
        (folder / "connection.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
