"""The receiver's process: `python -m ml_connector.receiver.main --home DIR --port N`."""

import argparse
import os
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path

import structlog
from granian import Granian
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from starlette.applications import Starlette

from ml_connector.receiver.app import create_app
from ml_connector.receiver.config import ReceiverConfigError

HEADER_MILLISECONDS = 5000
_BUSIEST = 64  # requests in hand at once, so at most 64 MiB of bodies

_log = structlog.get_logger(__name__)


def serve(home: Path, *, host: str, port: int) -> None:
    """Receives until SIGTERM or SIGINT, then lets the requests in hand end.

    Raises ReceiverConfigError or OSError when it cannot start.
    """
    _must_be_free(host, port)
    create_app(home)  # here already, so that a person sees what is wrong instead of a worker that dies
    server = Granian(
        "ml_connector.receiver",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        backpressure=_BUSIEST,
        backlog=1024,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS),
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=5,
    )
    _log.info("receiver_listens", host=host, port=port)
    server.serve(target_loader=partial(_worker_app, home, os.getpid()), wrap_loader=False)


def _must_be_free(host: str, port: int) -> None:
    """Granian shares a port with whoever listens there; two receivers behind one address would be chance."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _worker_app(home: Path, parent: int) -> Starlette:
    _configure_log()
    threading.Thread(target=_end_with, args=(parent,), name="end-with-parent", daemon=True).start()
    return create_app(home)


def _end_with(parent: int) -> None:
    """A worker whose parent was killed would keep the port from the next receiver."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _configure_log() -> None:
    structlog.configure(
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
