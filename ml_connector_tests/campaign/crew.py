"""What one lane keeps from schedule to schedule: a Postgres, and servers that start runs and sandboxes in no time."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ml_connector import crashpoints
from ml_connector_tests.postgres_control import ControlledPostgres
from ml_connector_tests.prefork import Prefork

WORKER, SANDBOX, COMMANDS = (
    "ml_connector_tests.campaign.worker",
    "ml_connector.sandbox.main",
    "ml_connector.cli.main",
)
_START_SECONDS = 60.0


class Crew:
    """What one lane keeps from schedule to schedule."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self.folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="campaign-")))
        self.folder.chmod(0o755)  # Postgres may run as somebody else
        self._runs = [self._prefork(WORKER), self._prefork(WORKER)]
        self._sandbox = self._prefork(SANDBOX)
        self._commands = self._prefork(COMMANDS)
        self.postgres = ControlledPostgres(self.folder)
        self._open.callback(self.postgres.close)

    def _prefork(self, module: str) -> Prefork:
        made = Prefork(module)
        self._open.callback(made.close)
        return made

    def close(self) -> None:
        """End everything and remove it."""
        self._open.close()

    @contextmanager
    def sandboxes(self, folder: Path) -> Iterator[dict[str, str]]:
        """Both sandboxes with their journals below `folder`: their addresses by vendor."""
        out = folder / "sandbox.out"
        err = folder / "sandbox.err"
        words = (f"{SANDBOX}:main", "--journal", str(folder / "sandbox"))
        pid = self._sandbox.start(*words, environment={}, program=SANDBOX, out=out, err=err)
        try:
            _wait(lambda: out.exists() and out.read_text().endswith("\n"), err)
            yield json.loads(out.read_text())
        finally:
            os.kill(pid, signal.SIGTERM)
            self._sandbox.wait()

    def command(
        self, folder: Path, *words: str, settings: Mapping[str, str], point: str = ""
    ) -> tuple[int, str]:
        """`ml-connector` as the operator runs it: exit code, and what it printed; killed at `point` when it comes there."""
        out, err = folder / "command.out", folder / "command.err"
        for file in (out, err):
            file.unlink(missing_ok=True)
        environment = {**_environment(point), **settings}
        self._commands.start(
            f"{COMMANDS}:main", *words, environment=environment, out=out, err=err, program="ml-connector"
        )
        code = self._commands.wait()
        return code, out.read_text() + err.read_text()

    def start(self, *words: str, out: Path, err: Path, point: str = "", second: bool = False) -> int:
        """Start a run; its process id."""
        return self._runs[second].start(
            f"{WORKER}:main", *words, environment=_environment(point), out=out, err=err
        )

    def end(self, *, second: bool = False) -> int:
        """Wait until a run is gone; its exit code, below zero for a signal."""
        return self._runs[second].wait()

    def has_ended(self, *, second: bool = False) -> bool:
        """Whether `end` would answer at once."""
        return self._runs[second].has_ended()


def _environment(point: str) -> dict[str, str]:
    named = {crashpoints.VARIABLE: point} if point else {}
    return {**os.environ, "ML_CONNECTOR_TEST_MODE": "1", **named}


def _wait(reached: Callable[[], bool], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while not reached():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.01)
