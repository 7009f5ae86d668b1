"""The receiver's process: `python -m ml_connector.receiver.main --home DIR --port N`."""

import argparse
import os
import resource
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TextIO, cast

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from starlette.types import ASGIApp, Receive, Scope, Send

from ml_connector.receiver.app import create_app
from ml_connector.receiver.config import ReceiverConfigError
from ml_connector.receiver.confinement import keep_to, open_no_socket
from ml_connector.receiver.inbox import Inbox

HEADER_MILLISECONDS = 5000
# A slow sender holds a connection for the deadlines of head and body: there must be more of them than slow senders.
CONNECTIONS = 4096
_FILES = CONNECTIONS + 256  # a connection is a file
_BUFFER = 65_536  # bytes that a connection may fill ahead of us
_HINT = "this kernel cannot: give the receiver a user of its own"

_log = structlog.get_logger(__name__)


def serve(home: Path, *, host: str, port: int) -> None:
    """Receives until SIGTERM or SIGINT, then lets the requests in hand end.

    Raises ReceiverConfigError or OSError when it cannot start.
    """
    _must_be_free(host, port)
    _allow_files()
    create_app(home)  # here already, so that a person sees what is wrong instead of a worker that dies
    server = Granian(
        "ml_connector.receiver",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,  # the search for HTTP/2 waits for ever for somebody who says nothing
        websockets=False,
        backpressure=CONNECTIONS,
        backlog=1024,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS, max_buffer_size=_BUFFER),
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=5,
    )
    _log.info("receiver_listens", host=host, port=port)
    server.serve(target_loader=partial(_worker_app, home, port, os.getpid()), wrap_loader=False)


def _must_be_free(host: str, port: int) -> None:
    """Granian shares a port with whoever listens there; two receivers behind one address would be chance."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _allow_files() -> None:
    """Many systems allow 1024 open files where more may be asked for; workers inherit it."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _worker_app(home: Path, port: int, parent: int) -> ASGIApp:
    _configure_log()
    inbox = Inbox(home)
    inbox.prepare()
    if not keep_to(home, port):
        _log.warning("receiver_not_confined", missing="files", hint=_HINT)
    threading.Thread(target=_end_with, args=(parent, inbox), name="end-with-parent", daemon=True).start()
    return _closing_sockets(create_app(home))


def _closing_sockets(app: ASGIApp) -> ASGIApp:
    """`app`, which opens no socket any more from its first request on; before, the server would not listen."""
    closed = False

    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal closed
        if not closed and scope["type"] == "http":
            closed = True
            if not open_no_socket():
                _log.warning("receiver_not_confined", missing="sockets", hint=_HINT)
        await app(scope, receive, send)

    return closing


def _end_with(parent: int, inbox: Inbox) -> None:
    """A worker whose parent was killed would keep the port from the next receiver; one whose folders were exchanged
    is started again and takes the new ones."""
    while os.getppid() == parent and inbox.is_in_place():
        time.sleep(0.5)
    os._exit(1)


class _LossyLog:
    """Standard output; a disk that is full loses words and no request."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stdout.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stdout.flush()


def _configure_log() -> None:
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _LossyLog())),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
    )


def main() -> int:
    """Runs the receiver; 2 with a sentence on stderr when it cannot start."""
    parser = argparse.ArgumentParser(description="Receives QBO webhooks into the inbox of a home.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="loopback unless a reverse proxy is elsewhere")
    options = parser.parse_args()
    _configure_log()
    try:
        serve(options.home, host=options.host, port=options.port)
    except (ReceiverConfigError, OSError) as error:
        print(f"The receiver cannot start: {error}", file=sys.stderr)  # noqa: T201 its only word to a person
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
