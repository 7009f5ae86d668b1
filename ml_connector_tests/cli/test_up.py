"""`up`: the services of an installation on its embedded database, and that none of them outlives it."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ml_connector.cli.services import free_port
from ml_connector.settings import Home
from ml_connector.store.postgres_cluster import cluster_of
from ml_connector.store.postgres_server import start_server
from ml_connector_tests.cli.shell import Shell, mentioning, wait_for
from ml_connector_tests.rig import Problem, call

pytestmark = [
    pytest.mark.processes,
    pytest.mark.installation,
    pytest.mark.timeout(900),  # its turn comes when the others are done
]

INIT = [
    "--realm", "9341450000000001", "--company", "5001", "--time-zone", "UTC", "--start-date", "2026-01-01",
]  # fmt: skip


@dataclass
class Installation:
    """One connection on the embedded database, and its `up`."""

    shell: Shell
    folder: Path
    ui: int = field(default_factory=free_port)
    receiver: int = field(default_factory=free_port)

    @property
    def home(self) -> Home:
        assert self.shell.home is not None
        return Home(self.shell.home)

    def told(self) -> str:
        return (self.folder / "err").read_text()

    def up(self) -> "subprocess.Popen[bytes]":
        """Start it and wait until everything runs."""
        options = ["--port", str(self.ui), "--receiver-port", str(self.receiver)]
        process = self.shell.start("up", *options, out=self.folder / "out", err=self.folder / "err")
        wait_for(
            lambda: "Ctrl-C stops everything" in self.told() or process.poll() is not None,
            seconds=200,
            saying=self.told,
        )
        assert process.poll() is None, self.told()
        return process


@pytest.fixture
def installation(tmp_path: Path, alone: None) -> Iterator[Installation]:
    """Made by `init`, with a verifier token; its database is removed at the end."""
    shell = Shell(tmp_path / "home", None)
    made = Installation(shell, tmp_path)
    try:
        assert shell("init", "acme", *INIT).code == 0
        token = made.home.receiver / "verifier_token"
        token.touch(mode=0o600)
        token.write_text("an invented token")
        yield made
    finally:
        shell.end()
        start_server(made.home.root, durable=True).discard()


def test_it_serves_refuses_a_second_and_ends_as_a_whole_when_told(installation: Installation) -> None:
    process = installation.up()
    info = call("GET", f"http://127.0.0.1:{installation.ui}/server_info")
    assert "dagster_webserver_version" in info
    receiver = f"http://127.0.0.1:{installation.receiver}"
    assert call("GET", f"{receiver}/health") == {"status": "ok"}
    with pytest.raises(Problem) as refused:
        call("POST", f"{receiver}/webhooks/qbo", {"eventNotifications": []})
    assert refused.value.status == 401
    realms = json.loads((installation.home.receiver / "realms.json").read_text())
    assert realms == {"9341450000000001": "acme"}

    second = installation.shell("up", "--port", str(free_port()), "--receiver-port", str(free_port()))
    assert "are running already" in second.sentence()
    assert installation.shell("status", "--json").document()[0]["connection"] == "acme"

    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0, installation.told()
    assert installation.shell.living() == {}
    assert mentioning(str(cluster_of(installation.home.root).data)) == {}
    assert (installation.folder / "out").read_text() == ""


def test_kill_9_of_the_parent_ends_its_children_and_the_next_start_goes_on(
    installation: Installation,
) -> None:
    process = installation.up()
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    wait_for(
        lambda: not installation.shell.living(),
        seconds=60,
        saying=lambda: str(installation.shell.living()),
    )
    again = installation.up()
    again.send_signal(signal.SIGINT)
    assert again.wait(120) == 0, installation.told()
    assert installation.shell.living() == {}
    assert mentioning(str(cluster_of(installation.home.root).data)) == {}


def test_a_port_that_is_taken_is_told_and_no_other_one_is_chosen_in_silence(
    installation: Installation,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", installation.receiver))
        taken.listen()
        options = ["--port", str(installation.ui), "--receiver-port", str(installation.receiver)]
        sentence = installation.shell("up", *options).sentence()
    assert sentence.startswith(f"port {installation.receiver} is taken")
    assert "--receiver-port" in sentence


def test_two_connections_of_one_company_are_refused(installation: Installation) -> None:
    assert installation.shell("init", "other", *INIT).code == 0
    options = ["--port", str(installation.ui), "--receiver-port", str(installation.receiver)]
    assert "acme and other name the same QuickBooks company" in installation.shell("up", *options).sentence()
