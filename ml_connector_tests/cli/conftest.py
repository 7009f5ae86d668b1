"""A shell on an empty home, and one on the fixture firm with some bills worked off."""

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml_connector_tests.cli.shell import Shell
from ml_connector_tests.rig import MAPPING, PROJECTS, Rig, line, open_rig, today


@pytest.fixture
def alone(run_folder: Path) -> Iterator[None]:
    """One whole installation at a time over all workers: each brings Dagster's three processes."""
    with (run_folder / "live.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def empty_shell(tmp_path: Path, database_url: str) -> Iterator[Shell]:
    """A shell whose home does not exist yet."""
    shell = Shell(tmp_path / "home", database_url)
    yield shell
    shell.end()


@dataclass
class Firm:
    """The fixture firm in a home, with a shell on it."""

    rig: Rig
    shell: Shell

    def sheet(self, name: str) -> Path:
        """The file that the operator edits."""
        return self.rig.home.folder(self.rig.name) / f"{name}.csv"


@pytest.fixture
def firm(tmp_path: Path, database_url: str) -> Iterator[Firm]:
    """The fixture firm since today, with its sheets as files and published, and nothing read yet."""
    rig = open_rig(tmp_path, database_url, start_date=today().isoformat())
    opened = Firm(rig, Shell(rig.home.root, database_url))
    opened.sheet("mapping").write_text(MAPPING)
    opened.sheet("projects").write_text(PROJECTS)
    yield opened
    opened.shell.end()
    rig.close()


@pytest.fixture
def books(firm: Firm) -> Firm:
    """The firm with bill:1 (4471, posted), bill:2 (4472, held twice) and bill:3 (4471 of another vendor, held)."""
    desk = firm.rig.bookkeeper
    desk.bill("4471", [line("1250.00", item="101")])
    desk.bill("4472", [line("300.00", item="101", customer="64"), line("20.10", account="7")])
    desk.bill("4471", [line("55.00", account="7")], vendor="22")
    firm.rig.sync()
    return firm
