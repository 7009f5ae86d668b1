"""A real receiver process on loopback, and a sender that signs as Intuit does."""

import base64
import hashlib
import hmac
import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

VERIFIER_TOKEN = "b5771f19b12ddb4bcdb9f08bdc50bc63878a"  # of the public signature vector
REALMS = {"1185883450": "acme", "9341457021722202": "borealis"}


def sign(raw: bytes, token: str = VERIFIER_TOKEN) -> str:
    return base64.b64encode(hmac.new(token.encode(), raw, hashlib.sha256).digest()).decode()


@dataclass
class Receiver:
    home: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, raw: bytes, *, signature: str | None = None) -> int:
        """The status of one post, signed rightly unless a signature is given."""
        headers = {"intuit-signature": sign(raw) if signature is None else signature}
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"{self.url}/webhooks/qbo", data=raw, headers=headers, timeout=20).status_code

    def post_until(self, raw: bytes) -> int:
        """As `post`, repeated while no worker listens or the one that does cannot store, as QBO repeats."""
        deadline = time.monotonic() + 30
        status = 503
        while status == 503 and time.monotonic() < deadline:
            try:
                status = self.post(raw)
            except requests.ConnectionError:
                time.sleep(0.1)
        return status

    @property
    def worker(self) -> int:
        """The process that answers, a child of the one that was started."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[-1])

    def fill_the_disk(self) -> None:
        """From now on no file takes a byte of the worker."""
        resource.prlimit(self.worker, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def free_the_disk(self) -> None:
        """The opposite."""
        resource.prlimit(self.worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def peak(self) -> int:
        """The most memory that the worker ever had, in MiB."""
        status = Path(f"/proc/{self.worker}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) // 1024

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.home / "inbox").iterdir())

    def parts(self) -> list[dict[str, Any]]:
        return [json.loads((self.home / "inbox" / name).read_text()) for name in self.names()]


def prepare(home: Path) -> None:
    folder = home / "receiver"
    folder.mkdir(parents=True)
    token = folder / "verifier_token"
    token.write_text(f"{VERIFIER_TOKEN}\n")
    token.chmod(0o600)
    (folder / "realms.json").write_text(json.dumps(REALMS))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    prepare(tmp_path / "home")
    return tmp_path / "home"


@contextmanager
def running_receiver(home: Path, log: Path, *, port: int | None = None) -> Iterator[Receiver]:
    """A receiver that listens; a port that a killed one still holds is waited for."""
    port = port or _free_port()
    command = [sys.executable, "-m", "ml_connector.receiver.main", "--home", str(home), "--port", str(port)]
    deadline = time.monotonic() + 30
    while True:
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        if _answers(process, port):
            break
        assert time.monotonic() < deadline, log.read_text()
    yield Receiver(home, port, log, process)
    process.terminate()
    try:
        process.wait(10)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    while process.poll() is None:
        try:
            requests.get(f"http://127.0.0.1:{port}/health", timeout=10)
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return process.poll() is None
    return False


@pytest.fixture
def receiver(home: Path, tmp_path: Path) -> Iterator[Receiver]:
    log = tmp_path / "receiver.log"
    with running_receiver(home, log) as receiver:
        yield receiver
    assert receiver.process.returncode == 0, log.read_text()
