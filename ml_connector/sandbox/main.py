"""Both imitations in one process: `python -m ml_connector.sandbox.main --journal DIR`."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ml_connector.sandbox.assembly import open_qbo, open_server
from ml_connector.sandbox.procore.vendor import ProcoreVendor


def serve(*, qbo_port: int, procore_port: int, journal: Path, seed: str) -> None:
    """Run both servers on 127.0.0.1 until SIGTERM or SIGINT; port 0 chooses one.

    Prints one JSON line `{"qbo": url, "procore": url}` once both accept. Raises OSError for a taken port and
    ValueError for an unknown seed.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    servers = [
        open_qbo(directory=journal, port=qbo_port, seed=seed),
        open_server(ProcoreVendor, name="procore", directory=journal, port=procore_port, seed=seed),
    ]
    for server in servers:
        server.start()
    sys.stdout.write(json.dumps({server.vendor.name: server.url for server in servers}) + "\n")
    sys.stdout.flush()
    ended.wait()
    for server in servers:
        server.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Imitations of QuickBooks Online and Procore on loopback.")
    parser.add_argument("--qbo-port", type=int, default=0)
    parser.add_argument("--procore-port", type=int, default=0)
    parser.add_argument("--journal", type=Path, required=True, help="folder for journals and state")
    parser.add_argument("--seed", choices=("demo", "empty"), default="empty")
    given = parser.parse_args(argv)
    serve(qbo_port=given.qbo_port, procore_port=given.procore_port, journal=given.journal, seed=given.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
