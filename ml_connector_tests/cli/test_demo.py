"""`demo`: the whole sync on the sandbox, once from start to verdict, and broken off at its start."""

import json
import signal
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from ml_connector_tests.cli.shell import Shell, mentioning, wait_for

pytestmark = [
    pytest.mark.processes,
    pytest.mark.installation,
    pytest.mark.timeout(900),  # its turn comes when the others are done
]


@pytest.fixture
def shell(tmp_path: Path, alone: None) -> Iterator[Shell]:
    """A shell without home and database, whose throw-away folders lie where the test can see them."""
    places = tmp_path / "temporary"
    places.mkdir()
    shell = Shell(None, None, {"TMPDIR": str(places)})
    yield shell
    shell.end()


def place_of(shell: Shell) -> Path | None:
    """The demo's own folder, once it is there."""
    found = list(Path(shell.settings["TMPDIR"]).glob("ml-connector-demo-*"))
    return found[0] if found else None


def left_of(shell: Shell, place: Path, data: Path) -> dict[int, str]:
    """Every living process of the demo: its children, those that name its folder, and its Postgres."""
    return shell.living() | mentioning(str(place)) | mentioning(str(data))


def started(shell: Shell, folder: Path, *options: str) -> tuple["subprocess.Popen[bytes]", Path, Path]:
    """The running demo, its folder and that of its Postgres, which as root lies elsewhere."""
    process = shell.start("demo", *options, out=folder / "out", err=folder / "err")

    def postgres() -> Path | None:
        place = place_of(shell)
        return place / "postgres" if place is not None and (place / "postgres").exists() else None

    wait_for(postgres, seconds=60, saying=(folder / "err").read_text)
    found = postgres()
    assert found is not None
    return process, found.parent, found.resolve()


def test_everything_comes_out_as_the_demo_data_state_and_nothing_stays(shell: Shell, tmp_path: Path) -> None:
    process, place, data = started(shell, tmp_path, "--once", "--json", "--port", "0")
    code = process.wait(700)
    told = (tmp_path / "err").read_text()
    assert code == 0, told
    document = json.loads((tmp_path / "out").read_text())
    assert {"records", "money", "calls", "runs", "dagster_url"} <= set(document)
    money = {name: Decimal(amount) for name, amount in document["money"].items()}
    assert document["money"]["delta"] == "0.00"
    assert money["qbo"] == money["posted"] + money["excluded"] + money["held"]
    assert money["posted"] >= Decimal("0.85") * money["qbo"] > 0
    cash = {name: Decimal(amount) for name, amount in document["payments"].items()}
    assert document["payments"]["delta"] == "0.00"
    assert cash["qbo"] == sum(amount for name, amount in cash.items() if name not in ("qbo", "delta"))
    assert min(cash[name] for name in ("on_commitments", "on_direct_costs", "by_credit", "held")) > 0
    assert document["records"]["BillPayment"]["reversed"] == 1
    assert (document["records"]["Bill"]["reversed"], document["records"]["Bill"]["updated"]) == (1, 2)
    assert document["wrong"] == []
    assert document["runs"]
    assert {run["status"] for run in document["runs"]} == {"SUCCESS"}
    assert document["calls"]["procore"] > 0
    assert document["dagster_url"].startswith("http://127.0.0.1:")
    assert left_of(shell, place, data) == {}
    assert not place.exists()
    assert not data.exists()


@pytest.mark.parametrize("after", ["at once", "sandbox", "webserver"])
def test_ctrl_c_while_it_starts_stops_everything_that_it_started(
    after: str, shell: Shell, tmp_path: Path
) -> None:
    process, place, data = started(shell, tmp_path, "--once", "--port", "0")
    if after != "at once":
        log = place / "logs" / f"{after}.log"
        wait_for(log.exists, seconds=180, saying=(tmp_path / "err").read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130, (tmp_path / "err").read_text()
    assert left_of(shell, place, data) == {}
    assert not place.exists()
    assert not data.exists()
    assert (tmp_path / "out").read_text() == ""


def test_a_home_with_other_connections_is_not_taken(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "real" / "connections" / "acme").mkdir(parents=True)
    sentence = shell("demo", "--once", "--home", str(tmp_path / "real")).sentence()
    assert "has the connections acme" in sentence
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["connections"]
