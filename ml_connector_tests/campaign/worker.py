"""The work under test: one run of the product in a process of its own, which a campaign may kill at any moment.

It goes the way of a scheduled run: read, then map and post every window that may be run now, then note the trail's end.
The exit code says how it ended.
"""

import json
import resource
import sys
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import time_machine
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from ml_connector import logs
from ml_connector.errors import TurnLost, VendorError
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client, qbo_client
from ml_connector.orchestration.work import Run
from ml_connector.receiver.inbox import Inbox, Part
from ml_connector.settings import Connection, Home, load_connection
from ml_connector.store import windows
from ml_connector.store.database import open_engine
from ml_connector.transport.session import Bounds
from ml_connector.transport.wire import Timeouts

DONE, VENDOR, DATABASE, DISK, GAVE_WAY, PART_FILE = 0, 3, 4, 5, 6, 7  # 1 is a crash, as everywhere
# Shorter than in the field, as the settle time is: a campaign waits for hundreds of answers that never come.
BOUNDS = Bounds(timeouts=Timeouts(connect=1.0, read=0.5, total=1.5), patience=1.0)


def main(home: str, database_url: str, order: str) -> NoReturn:
    """Do one run as `order` says (JSON): `clock` seconds ahead, `full_disk`, `replay` days; ends with the exit code."""
    logs.configure()
    wanted = json.loads(order)
    engine = open_engine(database_url)
    place = Home(Path(home))
    with _travelling(wanted.get("clock", 0)):
        code = _ended(engine, place, wanted)
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")
    sys.exit(code)


def _ended(engine: Engine, home: Home, wanted: Mapping[str, Any]) -> int:
    try:
        if wanted.get("full_disk"):
            return _on_a_full_disk(engine, home)
        connection = load_connection(home, "acme")
        if wanted.get("replay"):
            _replay(engine, home, connection, [date.fromisoformat(day) for day in wanted["replay"]])
        else:
            _run(engine, home, connection)
    except VendorError:
        return _told(VENDOR)
    except (DBAPIError, PendingRollbackError, psycopg.Error):
        return _told(DATABASE)
    except OSError:
        return _told(DISK)
    except TurnLost:
        return _told(GAVE_WAY)
    return DONE


def _told(code: int) -> int:
    traceback.print_exc()
    return code


@contextmanager
def _travelling(seconds: float) -> Iterator[None]:
    if not seconds:
        yield
        return
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True):
        yield


def _on_a_full_disk(engine: Engine, home: Home) -> int:
    """A webhook is refused and leaves no part of itself; a run ends with a failure that is told."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    inbox = Inbox(home.root)
    before = sorted(home.inbox.iterdir())
    try:
        inbox.add(Part("acme", uuid.uuid4().bytes), at=datetime.now(UTC))
    except OSError:
        if sorted(home.inbox.iterdir()) != before:
            return PART_FILE
    else:
        return PART_FILE
    _run(engine, home, load_connection(home, "acme"))
    return DONE


def _run(engine: Engine, home: Home, connection: Connection) -> None:
    """As schedule and sensor do it: what was read before is posted although QuickBooks may not answer now."""
    today = datetime.now(connection.zone).date()
    trouble: VendorError | None = None
    try:
        _read(engine, home, connection, today)
    except VendorError as error:
        trouble = error
    now = datetime.now(UTC)
    with engine.connect() as db:
        found = windows.dirty(db, connection.name)
    days = [window.day for window in found if window.not_before is None or window.not_before <= now]
    if days:
        _post(engine, home, connection, days, automatic=True)
    if trouble is not None:
        raise trouble


def _replay(engine: Engine, home: Home, connection: Connection, days: Sequence[date]) -> None:
    _read(engine, home, connection, datetime.now(connection.zone).date())
    for day in days:
        _post(engine, home, connection, [day], automatic=False)


def _read(engine: Engine, home: Home, connection: Connection, today: date) -> None:
    run = Run(uuid.uuid4().hex, (today,), automatic=True)
    work.read(engine, home, connection, qbo_client(home, connection, engine, bounds=BOUNDS), run)


def _post(
    engine: Engine, home: Home, connection: Connection, days: Sequence[date], *, automatic: bool
) -> None:
    run = Run(uuid.uuid4().hex, tuple(days), automatic=automatic)
    client = procore_client(home, connection, engine, bounds=BOUNDS)
    work.map_days(engine, connection, run, lambda: client)
    qbo = partial(qbo_client, home, connection, engine, bounds=BOUNDS)
    work.post(engine, connection, run, client, work.KINDS, qbo)
    work.note_audit_head(engine, home, connection, run)
