"""Runs in processes of their own, for tests that kill them.

`python -m ml_connector_tests.scenarios.step HOME DATABASE` is one run. Without arguments it is a nursery: it has loaded
everything, and forks a run for each line of JSON ({home, database, point, log}); it answers {"pid"} and then {"code"}.
"""

import json
import os
import signal
import sys
import traceback
import uuid
from datetime import UTC, datetime
from pathlib import Path

from ml_connector import crashpoints
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client
from ml_connector.orchestration.work import Run
from ml_connector.settings import Home, load_connection
from ml_connector.store import windows
from ml_connector.store.database import open_engine


def main(home: Path, database_url: str) -> None:
    """Map and post every dirty day once."""
    engine = open_engine(database_url)
    connection = load_connection(Home(home), "acme")
    client = procore_client(Home(home), connection, engine)
    with engine.connect() as db:
        days = [window.day for window in windows.dirty(db, connection.name)]
    run = Run(uuid.uuid4().hex, tuple(days or [datetime.now(UTC).date()]), automatic=True)
    work.map_days(engine, connection, run, lambda: client)
    work.post(engine, connection, run, client, work.KINDS)


def nursery() -> None:
    """Fork a run for each request until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(request)
        _say({"pid": pid})
        _, status = os.waitpid(pid, 0)
        _say({"code": os.waitstatus_to_exitcode(status)})


def _run(request: dict[str, str]) -> None:
    """The forked run: its output goes to the log, and it never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(log, stream)
    os.environ["ML_CONNECTOR_TEST_MODE"] = "1"
    if request["point"]:
        os.environ[crashpoints.VARIABLE] = request["point"]
    code = 1
    try:
        main(Path(request["home"]), request["database"])
        code = 0
    except BaseException:  # noqa: BLE001 the fork ends here, whatever it met
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say(answer: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), sys.argv[2])
    else:
        nursery()
