"""tools/programs.sh: what `make test` installs for the tests that drive nginx and a browser, and when it only says so."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ml_connector_tests.conftest import ROOT


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH of a machine without a browser, whose apt-get writes down what it is asked for."""
    place(tmp_path, "id", "echo 0")
    place(tmp_path, "apt-get", f'echo "$DEBIAN_FRONTEND:$*" >>{tmp_path / "asked"}')
    return tmp_path


def place(folder: Path, name: str, line: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{line}\n")
    program.chmod(0o755)


def run(machine: Path) -> tuple[str, list[str]]:
    """What the script says, and what it asked of apt-get; it never fails."""
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "tools" / "programs.sh")],
        env={"PATH": str(machine)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    asked = machine / "asked"
    return done.stderr, asked.read_text().splitlines() if asked.exists() else []


def test_root_installs_what_is_missing_and_asks_nobody(machine: Path) -> None:
    said, asked = run(machine)
    assert said.startswith("Installing ")
    update, install = asked
    assert update == ":update -qq"
    assert install.startswith("noninteractive:install -qq -y --no-install-recommends ")
    assert "chromium" in install.split()
    has_nginx = shutil.which("nginx", path=f"{machine}:/usr/sbin") is not None
    assert ("nginx-light" in install.split()) is not has_nginx


def test_an_install_that_fails_skips_tests_and_fails_nothing(machine: Path) -> None:
    place(machine, "apt-get", "exit 100")
    said, _ = run(machine)
    assert "Not installed: " in said
    assert said.endswith("The tests that need it are skipped.\n")


@pytest.mark.parametrize("without", ["root", "apt-get"])
def test_without_root_or_apt_get_it_says_one_sentence(without: str, machine: Path) -> None:
    if without == "root":
        place(machine, "id", "echo 1000")
    else:
        (machine / "apt-get").unlink()
    said, asked = run(machine)
    assert asked == []
    assert len(said.splitlines()) == 1
    assert said.startswith("Some tests will be skipped: install ")


def test_where_everything_is_there_nothing_is_said_or_done(machine: Path) -> None:
    for program in ("nginx", "chromium"):
        place(machine, program, "exit 0")
    assert run(machine) == ("", [])
