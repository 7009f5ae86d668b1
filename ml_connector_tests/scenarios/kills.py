"""Runs that die: at a crash point, or while a call is under way. A run is a process of its own and SIGKILL is real."""

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_connector_tests.rig import Rig

WRITES = ("POST", "PATCH", "DELETE")
ROOT = Path(__file__).resolve().parents[2]


class Nursery:
    """The process that forks runs: they start in milliseconds, since everything is loaded there once."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ml_connector_tests.scenarios.step"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, rig: Rig, point: str = "") -> int:
        """Start a run that maps and posts what is dirty; returns its process id."""
        request = {
            "home": str(rig.home.root),
            "database": rig.database_url,
            "point": point,
            "log": str(_log(rig)),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._hear("pid")

    def wait(self) -> int:
        """The exit code of the run that was started; below zero for a signal."""
        return self._hear("code")

    def has_ended(self) -> bool:
        """Whether `wait` would answer at once."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout.fileno()], [], [], 0)[0])

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(timeout=10)

    def _hear(self, what: str) -> int:
        assert self._process.stdout is not None
        answer: int = json.loads(self._process.stdout.readline())[what]
        return answer


@functools.cache
def nursery() -> Nursery:
    """The one nursery of this test process."""
    made = Nursery()
    atexit.register(made.close)
    return made


def run_in_a_process(rig: Rig, point: str = "") -> int:
    """Read, then map and post in a process of its own, which may kill itself at `point`; its exit code."""
    rig.read()
    nursery().start(rig, point)
    code = nursery().wait()
    assert code in (0, -signal.SIGKILL), _log(rig).read_text()[-4000:]
    return code


def run_that_dies_at(rig: Rig, point: str) -> None:
    """A run that must reach a crash point, and dies there."""
    assert run_in_a_process(rig, point) == -signal.SIGKILL, f"{point} was not reached"


def run_killed_when(rig: Rig, reached: Callable[[], bool]) -> None:
    """K6: a run that is killed from outside once `reached`, while a call of it is still under way."""
    rig.read()
    pid = nursery().start(rig)
    until = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < until, _log(rig).read_text()[-4000:]
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert nursery().wait() == -signal.SIGKILL


def run_killed_in_flight(rig: Rig, nth: int, *, methods: Sequence[str] = WRITES) -> bool:
    """K6: a run that is killed while Procore holds back the answer to its nth write; False when it makes fewer."""
    rig.read()
    mark = rig.procore.mark()
    for method in methods:
        late = {"fault": "delay", "args": {"seconds": 1, "when": "after"}}
        rig.procore.fault({"route": f"{method} /rest/*", "nth": nth, **late})
    pid = nursery().start(rig)
    while not nursery().has_ended():
        if any("delay" in str(entry["fault"]) for entry in rig.procore.journal(mark)):
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    rig.procore.no_faults()
    return nursery().wait() == -signal.SIGKILL


def _log(rig: Rig) -> Path:
    return rig.home.root / "killed-runs.log"
