"""T8: whoever takes the receiver over finds no secret but its token, no database, and no way on."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_connector.cli.services import RECEIVER_ENVIRONMENT, Services, free_port, start_receiver
from ml_connector.cli.site import Site
from ml_connector.settings import Home
from ml_connector_tests.receiver.conftest import VERIFIER_TOKEN, Receiver, prepare

pytestmark = pytest.mark.processes

SECRETS = {
    "ML_CONNECTOR_DATABASE_URL": "postgresql://canary@host/db",
    "ML_CONNECTOR_KEYS": "canary-key",
    "DAGSTER_HOME": "/canary",
    "PGPASSWORD": "canary-password",
    "AWS_SECRET_ACCESS_KEY": "canary-aws",
}
NO_FILES = ("socket:", "pipe:", "anon_inode:", "/dev/", "/memfd:")
# What an intruder would try from inside; each line is one attempt, `home` and `url` are at hand.
ATTEMPTS = """
(home / "keys" / "ring.json").read_bytes()
(home / "connections" / "acme" / "connection.yaml").read_bytes()
(home / "connections" / "acme" / "mapping.csv").write_text("")
(home / "receiver" / "verifier_token").write_text("mine")
(home / "done" / "acme__20260101T000000Z__0000000000000000.json").read_bytes()
list((home / "keys").iterdir())
Path("/etc/passwd").read_bytes()
Path(f"/proc/{os.getppid()}/environ").read_bytes()
list(Path("/tmp").iterdir())
(home / "inbox" / "link").symlink_to(home / "keys")
(home / "inbox" / "folder").mkdir()
subprocess.run([sys.executable, "-c", ""])
os.execv("/bin/true", ["true"])
psycopg.connect(url)
socket.create_connection(("127.0.0.1", 9))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
socket.socket(socket.AF_UNIX)
listener.connect(("127.0.0.1", 9))
os.kill(os.getppid(), 0)
""".strip().splitlines()
INTRUDER = """
import json, os, socket, subprocess, sys, threading
from pathlib import Path
import psycopg
from ml_connector.receiver.confinement import keep_to, open_no_socket
home, url, attempts = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
psycopg.connect(url).close()
listener = socket.socket()
before = threading.Event()
done = {}
def attempt():
    before.wait()
    for text in attempts:
        try:
            exec(text)
        except (OSError, psycopg.OperationalError) as error:
            done[text] = type(error).__name__
        else:
            done[text] = "it worked"
thread = threading.Thread(target=attempt)
assert keep_to(home, 0)
thread.start()  # a thread that is there before sockets are refused
assert open_no_socket()
before.set()
thread.join()
(home / "inbox" / "kept.json").write_text("{}")
token = (home / "receiver" / "verifier_token").read_text()
print(json.dumps([done, token.strip(), os.listdir(home / "done")]))
"""


@pytest.fixture
def landlock() -> None:
    """A kernel without Landlock (before 5.13, or not built in) is told in the receiver's log; nothing can be shown on it."""
    if ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) < 1:
        pytest.skip("this kernel has no Landlock")


@pytest.fixture
def full_home(home: Path) -> Path:
    """A home with everything that an intruder would like to have."""
    for folder in ("keys", "connections/acme", "done", "inbox"):
        (home / folder).mkdir(parents=True)
    (home / "keys" / "ring.json").write_text("canary-ring")
    (home / "connections" / "acme" / "connection.yaml").write_text("canary: settings")
    (home / "done" / "acme__20260101T000000Z__0000000000000000.json").write_text("{}")
    return home


def test_T8_what_runs_in_the_receivers_place_can_read_no_secret_and_reach_no_database(
    landlock: None, full_home: Path, database_url: str
) -> None:
    url = database_url.replace("+psycopg", "")
    command = [sys.executable, "-c", INTRUDER, str(full_home), url, json.dumps(ATTEMPTS)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    done, token, listed = json.loads(told.stdout)
    refused = {"PermissionError", "OperationalError"}
    assert {text: came for text, came in done.items() if came not in refused} == {}
    assert len(done) == len(ATTEMPTS)
    assert token == VERIFIER_TOKEN, "the one secret that it needs"
    assert len(listed) == 1, "names of what is done, to drop repetitions"
    assert (full_home / "inbox" / "kept.json").exists()


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The receiver as `up` starts it, from an environment full of secrets; the id of its first process."""
    home = Home(tmp_path / "home")
    prepare(home.root)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    services = Services(Site(home, "postgresql://canary@host/db", embedded=False))
    with (tmp_path / "canary-file").open("w") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        try:
            start_receiver(services, free_port())
            yield services.running[0].process.pid
        finally:
            services.stop()


def test_T8_neither_environment_nor_open_files_of_its_processes_hold_a_secret(started: int) -> None:
    children = Path(f"/proc/{started}/task/{started}/children").read_text().split()
    assert children
    for process in (str(started), *children):
        proc = Path("/proc") / process
        assert b"canary" not in (proc / "environ").read_bytes()
        names = {part.partition(b"=")[0] for part in (proc / "environ").read_bytes().split(b"\0") if part}
        assert names <= {name.encode() for name in (*RECEIVER_ENVIRONMENT, "LC_CTYPE")}
        opened = [str(entry.readlink()) for entry in (proc / "fd").iterdir()]
        files = [name for name in opened if not name.startswith(NO_FILES)]
        assert {Path(name).name for name in files} <= {"receiver.log"}
        assert b"canary" not in (proc / "cmdline").read_bytes()


def test_T8_the_worker_of_a_real_receiver_is_confined_from_its_first_answer_on(
    landlock: None, receiver: Receiver
) -> None:
    status = Path(f"/proc/{receiver.worker}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status, "no socket any more"
    for task in Path(f"/proc/{receiver.worker}/task").iterdir():
        assert "Seccomp:\t2" in (task / "status").read_text(), "in none of its threads"
    assert "receiver_not_confined" not in receiver.log.read_text()
