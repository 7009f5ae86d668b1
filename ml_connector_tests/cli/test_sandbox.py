"""`sandbox`: both vendors' imitations as one process."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_connector_tests.cli.shell import Shell, wait_for
from ml_connector_tests.rig import call


@pytest.fixture
def shell() -> Iterator[Shell]:
    shell = Shell(None, None)
    yield shell
    shell.end()


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_addresses_as_one_line_and_ends_when_told(
    number: signal.Signals, shell: Shell, tmp_path: Path
) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    process = shell.start("sandbox", "--journal", str(tmp_path / "journal"), out=out, err=err)
    wait_for(lambda: out.read_text().endswith("\n"), seconds=60, saying=err.read_text)
    addresses = json.loads(out.read_text())
    assert set(addresses) == {"qbo", "procore"}
    assert all(call("GET", f"{url}/_control/journal") is not None for url in addresses.values())
    process.send_signal(number)
    assert process.wait(30) == 0
    assert out.read_text().count("\n") == 1
    assert shell.living() == {}


def test_a_port_that_is_taken_and_a_seed_that_is_none_are_told(shell: Shell, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        sentence = shell("sandbox", "--journal", str(tmp_path), "--procore-port", port).sentence()
    assert sentence == f"port {port} is taken by another program: --procore-port chooses another one"
    wrong = shell("sandbox", "--journal", str(tmp_path), "--seed", "full")
    assert wrong.code == 2
    assert all(seed in wrong.err for seed in ("'full'", "demo", "empty"))
