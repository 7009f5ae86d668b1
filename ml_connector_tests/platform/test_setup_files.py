"""What a fresh machine relies on: locks, addresses, the arrows between the rooms."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import psycopg
import pytest
from packaging.requirements import Requirement

from ml_connector_tests.conftest import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-peers.lock", "requirements-audit.lock")
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)


def pins(lock: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for match in PIN.finditer((ROOT / lock).read_text()):
        found.setdefault(match["name"], set()).add(match["version"])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_line_names_an_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?://|--(extra-)?index|--find-links|file:", text)
    entries = re.split(r"\n(?=[a-z0-9])", text)
    assert len(entries) > 10
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_dagster_packages_move_in_step() -> None:
    locked = pins("requirements.lock")
    (core,) = locked["dagster"]
    assert locked["dagster-webserver"] == locked["dagster-graphql"] == {core}
    minor, patch = core.split(".")[1:]
    assert locked["dagster-postgres"] == {f"0.{int(minor) + 16}.{patch}"}


def test_the_development_lock_has_the_very_versions_that_run() -> None:
    development = pins("requirements-dev.lock")
    assert {
        name: versions
        for name, versions in pins("requirements.lock").items()
        if development[name] != versions
    } == {}


def test_every_dependency_that_is_declared_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = pins("requirements.lock")
    declared = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["embedded"]
    for requirement in map(Requirement, declared):
        versions = runtime[requirement.name.lower()]
        assert all(version in requirement.specifier for version in versions), requirement


def test_no_shipped_configuration_leaves_the_database_driver_to_chance() -> None:
    files = [ROOT / name for name in ("dagster.yaml", "workspace.yaml", "Makefile", ".ci/run")]
    files += [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    bare = re.compile(r"^[^#]*postgres(ql)?://", re.MULTILINE)
    assert [path.name for path in files if bare.search(path.read_text())] == []


@pytest.mark.processes
def test_the_arrows_between_the_rooms_point_one_way() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_tests_database_has_the_migrated_schema_and_is_its_own(database_url: str) -> None:
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'ml_connector'"
        counted = connection.execute(tables).fetchone()
    assert counted is not None
    assert counted[0] > 1


@pytest.mark.peers
def test_the_peers_environment_has_both_clients_and_nothing_of_ours(peers_python: Path) -> None:
    code = (
        "import importlib.util as u, sys, quickbooks, ProPyCore\n"
        "sys.exit(any(u.find_spec(n) for n in ('ml_connector', 'dagster')))"
    )
    assert subprocess.run([peers_python, "-c", code], cwd="/", check=False).returncode == 0
