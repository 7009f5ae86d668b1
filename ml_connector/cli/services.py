"""The processes of an installation: started in order, watched, and stopped together; each is ended by its own id.

Receiver, Dagster's code server, webserver and daemon. The demo adds the sandbox.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ml_connector.cli.loopback import answers
from ml_connector.cli.site import Site, dagster_instance, undisturbed
from ml_connector.errors import SetupError
from ml_connector.settings import Connection, Home
from ml_connector.store.claims import only_installation
from ml_connector.store.database import open_engine

START_SECONDS = 90.0
STOP_SECONDS = 20.0
RECEIVER_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
PARENT_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)


def _in_the_child() -> None:
    # kill -9 of the parent would otherwise leave a daemon that goes on launching runs.
    ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the parent holds signals back while it starts a child


@dataclass
class Service:
    """One child process and its log file."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def stop(self) -> None:
        """End the process and its own children: first asked, after 20 s killed."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # run workers that outlive their code server
        self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@dataclass
class Services:
    """What runs for a site."""

    site: Site
    running: list[Service] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        """Where the logs lie."""
        return self.site.home.root / "logs"

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> Service:
        """Start a process and wait until it is `ready`.

        Raises SetupError with the end of its log when it ends or is late.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{name}.log"
        with path.open("ab") as log, undisturbed():
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment or self.site.environment()),
                start_new_session=True,
                preexec_fn=_in_the_child,  # noqa: PLW1509 two system calls, no lock
            )
            service = Service(name, process, path)
            self.running.append(service)
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None:
                raise SetupError(f"{name} ended at its start (exit {process.returncode}):\n{service.tail()}")
            if time.monotonic() > deadline:
                raise SetupError(f"{name} was not ready after {START_SECONDS:.0f} s:\n{service.tail()}")
            time.sleep(0.1)
        return service

    def dead(self) -> list[Service]:
        """Services that have ended by themselves."""
        return [service for service in self.running if service.process.poll() is not None]

    def stop(self) -> None:
        """Stop everything that was started, last first."""
        while self.running:
            self.running.pop().stop()


@contextmanager
def only_one(site: Site) -> Iterator[None]:
    """One set of services a home, and one home a database. Raises SetupError when another process has them."""
    lock: IO[str]
    engine = open_engine(site.database_url)
    with (site.home.root / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(f"the services of {site.home.root} are running already") from None
        try:
            with only_installation(engine):
                yield
        finally:
            engine.dispose()


def free_port(wanted: int = 0) -> int:
    """A port of the loopback interface that is free now: `wanted` if it is, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SetupError("no port is free on the loopback interface")


def must_be_free(port: int, option: str) -> None:
    """Raises SetupError when another program has `port`: whoever was told this one must find us there."""
    if free_port(port) != port:
        raise SetupError(f"port {port} is taken by another program: {option} chooses another one")


def write_realms(home: Home, connections: Sequence[Connection]) -> None:
    """Tell the receiver which QuickBooks company belongs to which connection.

    Raises SetupError when two connections name the same company.
    """
    realms: dict[str, str] = {}
    for connection in connections:
        other = realms.setdefault(connection.qbo.realm_id, connection.name)
        if other != connection.name:
            raise SetupError(
                f"{other} and {connection.name} name the same QuickBooks company {connection.qbo.realm_id}: "
                "a company feeds one connection"
            )
    path = home.receiver / "realms.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(realms), encoding="utf-8")
    new.replace(path)


def start_dagster(services: Services, port: int) -> str:
    """Sweep dead runs, then start code server, webserver and daemon; returns the address of the UI."""
    from ml_connector.orchestration.janitor import sweep

    site = services.site
    with dagster_instance() as instance, site.engine() as engine:
        sweep(instance, engine)
    workspace = site.home.dagster / "workspace.yaml"
    code_port = free_port()
    location = {"host": "127.0.0.1", "port": code_port, "location_name": "ml_connector"}
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": location}]}), encoding="utf-8")
    python = [sys.executable, "-W", "ignore"]
    services.start(
        "code-server",
        [
            *python, "-m", "dagster", "api", "grpc", "--module-name", "ml_connector.definitions",
            "--host", "127.0.0.1", "--port", str(code_port), "--location-name", "ml_connector",
        ],
        ready=lambda: _accepts(code_port),
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    services.start(
        "webserver",
        [*python, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)],
        ready=lambda: answers(f"{url}/server_info"),
    )
    services.start(
        "daemon", [*python, "-m", "dagster._daemon", "run", "-w", str(workspace)], ready=lambda: True
    )
    return url


def start_viewer(services: Services, port: int) -> str:
    """Start the web server for people who only look, after the others; returns its address."""
    workspace = services.site.home.dagster / "workspace.yaml"
    url = f"http://127.0.0.1:{port}"
    services.start(
        "viewer",
        [
            sys.executable, "-W", "ignore", "-m", "dagster_webserver", "--read-only",
            "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace),
        ],
        ready=lambda: answers(f"{url}/server_info"),
    )  # fmt: skip
    return url


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_receiver(services: Services, port: int) -> str:
    """Start the webhook receiver; returns the address for QuickBooks' webhooks.

    Of our environment it gets what a program needs to start, and nothing else: no database, no vault, no secret.
    """
    environment = {key: value for key, value in os.environ.items() if key in RECEIVER_ENVIRONMENT}
    services.start(
        "receiver",
        [
            sys.executable, "-m", "ml_connector.receiver.main",
            "--home", str(services.site.home.root), "--port", str(port),
        ],
        ready=lambda: answers(f"http://127.0.0.1:{port}/health"),
        environment=environment,
    )  # fmt: skip
    return f"http://127.0.0.1:{port}/webhooks/qbo"
