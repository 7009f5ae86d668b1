"""Runs that die: at a crash point, or while a call is under way. A run is a process of its own and SIGKILL is real."""

import atexit
import functools
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_connector import crashpoints
from ml_connector_tests.prefork import Prefork
from ml_connector_tests.rig import Rig

WRITES = ("POST", "PATCH", "DELETE")
STEP = "ml_connector_tests.scenarios.step"


@functools.cache
def _runs() -> Prefork:
    """The one server of this test process."""
    made = Prefork(STEP)
    atexit.register(made.close)
    return made


def _start(rig: Rig, point: str = "", *, function: str = "main") -> int:
    """Start a function of `step`, by default a run that maps and posts what is dirty; returns its process id."""
    environment = {
        **os.environ,
        "ML_CONNECTOR_TEST_MODE": "1",
        **({crashpoints.VARIABLE: point} if point else {}),
    }
    return _runs().start(
        f"{STEP}:{function}",
        str(rig.home.root),
        rig.database_url,
        environment=environment,
        out=_log(rig),
        err=_log(rig),
    )


def run_in_a_process(rig: Rig, point: str = "") -> int:
    """Read, then map and post in a process of its own, which may kill itself at `point`; its exit code."""
    rig.read()
    _start(rig, point)
    code = _runs().wait()
    assert code in (0, -signal.SIGKILL), _log(rig).read_text()[-4000:]
    return code


def run_that_dies_at(rig: Rig, point: str) -> None:
    """A run that must reach a crash point, and dies there."""
    assert run_in_a_process(rig, point) == -signal.SIGKILL, f"{point} was not reached"


def run_killed_when(rig: Rig, reached: Callable[[], bool]) -> None:
    """K6: a run that is killed from outside once `reached`, while a call of it is still under way."""
    rig.read()
    assert run_ended_when(rig, reached, signal.SIGKILL, function="main") == -signal.SIGKILL


def run_ended_when(rig: Rig, reached: Callable[[], bool], number: signal.Signals, *, function: str) -> int:
    """Send a signal to a function of `step` once `reached`; its exit code."""
    pid = _start(rig, function=function)
    until = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < until, _log(rig).read_text()[-4000:]
        time.sleep(0.01)
    os.kill(pid, number)
    return _runs().wait()


def reading_that_dies_at(rig: Rig, point: str) -> None:
    """A poll that must reach a crash point, and dies there."""
    _start(rig, point, function="read")
    assert _runs().wait() == -signal.SIGKILL, f"{point} was not reached"


def run_killed_in_flight(rig: Rig, nth: int, *, methods: Sequence[str] = WRITES) -> bool:
    """K6: a run that is killed while Procore holds back the answer to its nth write; False when it makes fewer."""
    rig.read()
    mark = rig.procore.mark()
    for method in methods:
        late = {"fault": "delay", "args": {"seconds": 1, "when": "after"}}
        rig.procore.fault({"route": f"{method} /rest/*", "nth": nth, **late})
    pid = _start(rig)
    while not _runs().has_ended():
        if any("delay" in str(entry["fault"]) for entry in rig.procore.journal(mark)):
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    rig.procore.no_faults()
    return _runs().wait() == -signal.SIGKILL


def _log(rig: Rig) -> Path:
    return rig.home.root / "killed-runs.log"
