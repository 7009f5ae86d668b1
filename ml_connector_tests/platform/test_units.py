"""The shipped systemd units: they start what exists, and the receiver's gives up what it must not have (T8)."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ml_connector.cli.main import app
from ml_connector_tests.conftest import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"), key=lambda unit: unit.stem)
RECEIVER = ROOT / "deploy" / "systemd" / "ml-connector-receiver.service"


def values(unit: Path, name: str) -> list[str]:
    """All values of a setting, in order."""
    rows = unit.read_text().splitlines()
    return [row.partition("=")[2] for row in rows if row.startswith(f"{name}=")]


def test_the_services_are_shipped_and_started_by_an_account_of_their_own() -> None:
    assert [unit.stem for unit in UNITS] == ["ml-connector", "ml-connector-metrics", "ml-connector-receiver"]
    for unit in UNITS:
        assert values(unit, "User") == ["ml-connector"]


def test_the_commands_exist_with_their_options() -> None:
    for unit in UNITS[:2]:
        (start,) = values(unit, "ExecStart")
        program, *arguments = shlex.split(start)
        assert Path(program).name == "ml-connector"
        told = CliRunner().invoke(app, [*arguments, "--help"])
        assert told.exit_code == 0, told.output
    (receiver,) = values(RECEIVER, "ExecStart")
    python, dash_m, module, *options = shlex.split(receiver)
    assert (Path(python).name, dash_m, module) == ("python", "-m", "ml_connector.receiver.main")
    assert options[::2] == ["--home", "--port"]


def test_the_drop_in_for_viewers_is_the_same_service_with_a_second_web_server() -> None:
    drop_in = ROOT / "deploy" / "systemd" / "ml-connector.service.d" / "viewers.conf"
    emptied, started = values(drop_in, "ExecStart")
    (plain,) = values(UNITS[0], "ExecStart")
    assert (emptied, started) == ("", f"{plain} --viewer-port 3001")
    told = CliRunner().invoke(app, [*shlex.split(started)[1:], "--help"])
    assert told.exit_code == 0, told.output
    assert "--viewer-port" in told.output


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictNamespaces", "yes"),
        ("UMask", "0077"),
    ],
)
def test_every_service_gives_up_what_it_does_not_need(unit: Path, name: str, value: str) -> None:
    assert values(unit, name) == [value]


def test_T8_the_receivers_service_finds_its_token_and_the_inbox_and_nothing_else_of_the_home() -> None:
    assert values(RECEIVER, "TemporaryFileSystem") == ["/srv/ml-connector:ro"]
    assert values(RECEIVER, "BindReadOnlyPaths") == ["/srv/ml-connector/receiver"]
    assert values(RECEIVER, "BindPaths") == ["/srv/ml-connector/inbox /srv/ml-connector/done"]
    assert values(RECEIVER, "EnvironmentFile") == values(RECEIVER, "Environment") == []
    assert (values(RECEIVER, "IPAddressDeny"), values(RECEIVER, "IPAddressAllow")) == (["any"], ["localhost"])


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)
def test_systemd_understands_every_line() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [row for row in done.stderr.splitlines() if any(unit.name in row for unit in UNITS)]
    assert [row for row in said if "not executable" not in row and "No such file" not in row] == []
