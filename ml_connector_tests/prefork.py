"""Processes that start in milliseconds: a server has everything loaded, and forks itself for each request.

What runs in a fork is as much a process as any other: it has its own memory, environment and files, SIGKILL is real, and
its exit code is the answer. `python -m ml_connector_tests.prefork MODULE ...` is the server; the modules are loaded first.
"""

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
DISCARD = Path(os.devnull)


class Prefork:
    """A server that has loaded modules, and one fork of it at a time."""

    def __init__(self, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ml_connector_tests.prefork", *modules],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what was read ahead would be hidden from `has_ended`
        )

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def start(
        self,
        function: str,
        *arguments: str,
        environment: Mapping[str, str],
        out: Path,
        err: Path,
        answers: Path = DISCARD,
        program: str = "",
    ) -> int:
        """Start `function` ("module:name") and return its process id; with `program` as `sys.argv[0]` of a command."""
        request = {
            "function": function,
            "arguments": arguments,
            "environment": dict(environment),
            "folder": str(Path.cwd()),
            "streams": [str(answers), str(out), str(err)],
            "program": program,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return self._hear("pid")

    def wait(self) -> int:
        """The exit code of what was started; below zero for a signal."""
        return self._hear("code")

    def has_ended(self) -> bool:
        """Whether `wait` would answer at once."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout.fileno()], [], [], 0)[0])

    def close(self) -> None:
        """End the server."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(timeout=10)

    def _hear(self, what: str) -> int:
        assert self._process.stdout is not None
        answer: int = json.loads(self._process.stdout.readline())[what]
        return answer


def serve(modules: list[str]) -> None:
    """Fork for each request on standard input, until it ends."""
    for module in modules:
        importlib.import_module(module)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(request)
        _say({"pid": pid})
        _, status = os.waitpid(pid, 0)
        _say({"code": os.waitstatus_to_exitcode(status)})


def _become(request: Mapping[str, Any]) -> NoReturn:
    """The fork: it takes over what the request says, and ends as a process of Python's does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    writing = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for stream, path, flags in zip(
        (0, 1, 2), request["streams"], (os.O_RDONLY, writing, writing), strict=True
    ):
        opened = os.open(path, flags)
        os.dup2(opened, stream)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 the old one has read ahead in the server's requests
    arguments = request["arguments"]
    if request["program"]:
        sys.argv = [request["program"], *arguments]
        arguments = []
    module, _, name = request["function"].partition(":")
    code = 1
    try:
        getattr(importlib.import_module(module), name)(*arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 the fork ends here, whatever it met
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say(answer: Mapping[str, int]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1:])
