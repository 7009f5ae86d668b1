"""`ml-connector` as a user runs it, and what is left of its processes afterwards.

A command that ends is a fork of a process that has the program loaded; one that stays is the installed program itself.
"""

import atexit
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_connector_tests.prefork import Prefork

PROGRAM = Path(sys.executable).with_name("ml-connector")
MARK_VARIABLE = "CLI_TEST_MARK"
# What commands import when they run; loaded once for all of them.
LOADED = ("ml_connector.cli.main", "ml_connector.orchestration.build", "ml_connector.posting.rule_preview")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        """The one JSON document on standard output; anything beside it is an error."""
        return json.loads(self.out, parse_float=_no_float)

    def sentence(self) -> str:
        """What a person is told of a fault: one line on standard error, exit code 2, standard output empty."""
        lines = self.err.splitlines()
        assert (self.code, self.out, len(lines)) == (2, "", 1), self
        assert lines[0].startswith("error: "), self
        return lines[0].removeprefix("error: ")


def _no_float(text: str) -> float:
    raise AssertionError(f"{text} is a float: money is text")


@dataclass
class Shell:
    """A user's shell: a home, a database address, and the processes that were started from here."""

    home: Path | None
    database_url: str | None
    settings: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """What a command finds; the mark comes down to every process that it starts."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("ML_CONNECTOR_", "DAGSTER_", "COLUMNS", "COVERAGE", "PYTEST"))
        }
        if self.home is not None:
            kept["ML_CONNECTOR_HOME"] = str(self.home)
        if self.database_url is not None:
            kept["ML_CONNECTOR_DATABASE_URL"] = self.database_url
        return {**kept, MARK_VARIABLE: self.mark, **self.settings}

    def __call__(self, *arguments: str, answers: str = "") -> Done:
        """Run a command to its end."""
        with tempfile.TemporaryDirectory() as folder:
            said, out, err = (Path(folder) / name for name in ("in", "out", "err"))
            said.write_text(answers)
            _commands().start(
                "ml_connector.cli.main:main",
                *arguments,
                environment=self.environment(),
                answers=said,
                out=out,
                err=err,
                program=str(PROGRAM),
            )
            return Done(_commands().wait(), out.read_text(), err.read_text())

    def on_a_full_disk(self, *arguments: str) -> Done:
        """Run a command that can write no file of more than 400 bytes; what it says of it fits."""
        server = _commands().pid
        resource.prlimit(server, resource.RLIMIT_FSIZE, (400, resource.RLIM_INFINITY))
        try:
            return self(*arguments)
        finally:
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(server, resource.RLIMIT_FSIZE, unlimited)

    def start(self, *arguments: str, out: Path, err: Path) -> "subprocess.Popen[bytes]":
        """Start a command that stays; its output goes to files."""
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [str(PROGRAM), *arguments],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def living(self) -> dict[int, str]:
        """Command lines, by process id, of everything that was started from here and still lives."""
        mark = f"{MARK_VARIABLE}={self.mark}".encode()
        return _processes(lambda folder: mark in (folder / "environ").read_bytes())

    def end(self) -> None:
        """Kill what is left, so that a failing test leaves nothing behind."""
        for pid in self.living():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self.started:
            process.wait()


@functools.cache
def _commands() -> Prefork:
    """The one server of this test process."""
    made = Prefork(*LOADED)
    atexit.register(made.close)
    return made


def mentioning(words: str) -> dict[int, str]:
    """Command lines, by process id, of the living processes that name `words`."""
    return _processes(lambda folder: words.encode() in (folder / "cmdline").read_bytes())


def _processes(fits: Callable[[Path], bool]) -> dict[int, str]:
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if fits(folder):
                found[int(folder.name)] = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile; a zombie shows no environment
    return found


def wait_for(what: Callable[[], object], *, seconds: float, saying: Callable[[], str] = lambda: "") -> None:
    """Wait until `what` is true; an AssertionError with `saying` when it never is."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {saying()}"
        time.sleep(0.1)
