"""The embedded Postgres: started, shared by the processes of one home, stopped by the last of them.

For trial, development and tests. It has no TCP, its socket lies in a folder of its owner, and only the
account that started it may log in. Production takes a server with backups by ML_CONNECTOR_DATABASE_URL.
"""

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self
from urllib.parse import quote

import psycopg
import structlog
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ml_connector.errors import SetupError
from ml_connector.store.postgres_binaries import find_binaries
from ml_connector.store.postgres_cluster import (
    PORT,
    ROLE,
    Cluster,
    allow_only_us,
    cluster_of,
    environment,
    make_cluster,
    prepare_socket_folder,
    remove_cluster,
)
from ml_connector.store.postgres_process import (
    is_ready,
    is_server,
    living_processes,
    noted_pid,
    postmaster,
    wait_until,
)

DATABASE = "ml_connector"

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0
_ANOTHER_IS_ENDING = ("lock file", "still in use")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    # Bill data must not reach a log: neither statements nor the values in a violated constraint's detail.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}
_THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_log = structlog.get_logger(__name__)


class PostgresServer:
    """A running server, held by this process until `stop`. It ends when no process holds it any more."""

    def __init__(self, cluster: Cluster, *, pid: int, holders: IO[str]) -> None:
        self._cluster = cluster
        self._holders = holders
        self.pid = pid

    def url(self, driver: Literal["psycopg", "psycopg2"] = "psycopg", database: str = DATABASE) -> str:
        """An SQLAlchemy address over the Unix socket; Dagster's storage wants psycopg2, ours psycopg."""
        folder = quote(str(self._cluster.socket_folder))
        return f"postgresql+{driver}://{ROLE}@/{database}?host={folder}&port={PORT}"

    def stop(self) -> None:
        """Lets go of the server, and stops it if no other process holds it. Repeating it does nothing."""
        self._let_go(remove=False)

    def discard(self) -> None:
        """As `stop`, and then removes the cluster with its data: for throw-away homes."""
        self._let_go(remove=True)

    def _let_go(self, *, remove: bool) -> None:
        if self._holders.closed:
            return
        with _start_lock(self._cluster.home), self._holders:
            try:
                fcntl.flock(self._holders, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("postgres_left_running", pid=self.pid, reason="other processes use it")
                return
            _shut_down(self._cluster)
            if remove:
                remove_cluster(self._cluster)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_server(home: Path, *, durable: bool) -> PostgresServer:
    """Starts the Postgres of `home`, or joins the one that another process of ml-connector started there.

    The first start makes the cluster and the database `ml_connector` (about a second). `durable=False` writes
    without fsync, for data that may be lost with the machine. A server that was killed is recovered.
    Raises SetupError with what to do when there are no programs, no account, or the start fails.
    """
    home.mkdir(parents=True, exist_ok=True)
    home = home.resolve()
    with _start_lock(home):
        cluster = cluster_of(home)
        pid = _running(cluster)
        if pid is None:
            pid = _bring_up(cluster, durable=durable)
        else:
            _join(cluster, pid, durable=durable)
        holders = (cluster.folder / "holders").open("a")
        fcntl.flock(holders, fcntl.LOCK_SH)
    return PostgresServer(cluster, pid=pid, holders=holders)


@contextmanager
def _start_lock(home: Path) -> Iterator[None]:
    """One process at a time starts or stops the server of a home."""
    with (home / "postgres.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _running(cluster: Cluster) -> int | None:
    """The process id of the server if it runs and answers, None if there is none (any more)."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        pid = postmaster(cluster.data)
        if pid is None:
            return None
        try:
            _ensure_database(cluster)
        except psycopg.OperationalError as error:  # it may be dying at this moment
            if time.monotonic() > deadline:
                raise SetupError(f"Postgres {pid} runs but does not answer: see {cluster.log}.") from error
            time.sleep(0.05)
        else:
            return pid


def _join(cluster: Cluster, pid: int, *, durable: bool) -> None:
    if durable and "fsync=off" in (cluster.data / "postmaster.opts").read_text():
        raise SetupError(
            f"The Postgres of {cluster.home} (process {pid}, started by process {_starter(cluster)}) runs "
            "without fsync, for throw-away data: stop what uses it, then start again."
        )
    _log.info("postgres_joined", pid=pid, started_by=_starter(cluster))


def _starter(cluster: Cluster) -> str:
    return cluster.started_by.read_text().strip() if cluster.started_by.exists() else "unknown"


def _bring_up(cluster: Cluster, *, durable: bool) -> int:
    began = time.monotonic()
    version_file = cluster.data / "PG_VERSION"
    major = int(version_file.read_text()) if version_file.exists() else None
    binaries = find_binaries(major=major, reachable=cluster.account.can_enter)
    if major is None:
        make_cluster(cluster, binaries.folder, durable=durable)
    allow_only_us(cluster)
    prepare_socket_folder(cluster)
    _clear_the_dead(cluster.data)
    pid = _launch(cluster, binaries.folder / "postgres", durable=durable)
    cluster.started_by.write_text(f"{os.getpid()}\n")
    _ensure_database(cluster)
    _log.info(
        "postgres_ready",
        pid=pid,
        major=binaries.major,
        programs=str(binaries.folder),
        durable=durable,
        made=major is None,
        seconds=round(time.monotonic() - began, 2),
    )
    return pid


def _clear_the_dead(data: Path) -> None:
    """After kill -9: waits until every process of the old server is gone, then sees to its lock file.

    Postgres takes any living or unreaped process with the noted number for itself and refuses to start.
    """
    if not wait_until(lambda: not living_processes(data), seconds=_STOP_SECONDS):
        raise SetupError(f"A killed Postgres still uses {data}: end its processes {living_processes(data)}.")
    pid = noted_pid(data)
    if pid is None or wait_until(lambda: not Path(f"/proc/{pid}").exists(), seconds=2.0):
        return
    # The number belongs to a zombie that nobody reaps or to another program, and ours are all gone.
    (data / "postmaster.pid").unlink()


def _launch(cluster: Cluster, program: Path, *, durable: bool) -> int:
    settings = _SETTINGS | {
        "unix_socket_directories": str(cluster.socket_folder),
        "hba_file": str(cluster.access_rules),
        "ident_file": str(cluster.account_names),
    }
    if not durable:
        settings |= _THROW_AWAY
    command = [str(program), "-D", str(cluster.data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    deadline = time.monotonic() + _START_SECONDS
    while True:
        pid, said = _attempt(cluster, command)
        if pid is not None:
            return pid
        if time.monotonic() > deadline or not any(words in said for words in _ANOTHER_IS_ENDING):
            reason = said[-800:] or "it said nothing"
            raise SetupError(f"Postgres did not start (see {cluster.log}): {reason}")
        time.sleep(0.1)


def _attempt(cluster: Cluster, command: list[str]) -> tuple[int | None, str]:
    """Starts the server once: its process id when it is ready, else None and what it wrote."""
    with cluster.log.open("ab") as log:
        cluster.log.chmod(0o600)
        written_before = log.tell()
        process = subprocess.Popen(
            command,
            cwd=cluster.data,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; the server ends after us
            umask=0o077,
            **cluster.account.switch,
        )
    # Reaped at once whenever it dies: an unreaped postmaster keeps the next one from starting.
    threading.Thread(target=process.wait, name="postgres-reaper", daemon=True).start()
    wait_until(
        lambda: process.returncode is not None or is_ready(cluster.data, process.pid), seconds=_START_SECONDS
    )
    if process.returncode is None and is_ready(cluster.data, process.pid):
        return process.pid, ""
    process.kill()
    return None, cluster.log.read_bytes()[written_before:].decode(errors="replace").strip()


def _ensure_database(cluster: Cluster) -> None:
    where = make_conninfo(
        host=str(cluster.socket_folder), port=PORT, user=ROLE, dbname="postgres", connect_timeout=10
    )
    with psycopg.connect(where, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _shut_down(cluster: Cluster) -> None:
    pid = postmaster(cluster.data)
    if pid is None:
        return
    began = time.monotonic()
    for request in (signal.SIGINT, signal.SIGQUIT):  # fast, with a checkpoint; then at once
        try:
            os.kill(pid, request)
        except ProcessLookupError:
            break
        if wait_until(lambda: not is_server(pid, cluster.data), seconds=_STOP_SECONDS):
            break
    else:
        raise SetupError(f"Postgres {pid} does not stop: see {cluster.log}.")
    _log.info("postgres_stopped", pid=pid, seconds=round(time.monotonic() - began, 2))
