"""One run in a process of its own, for tests that kill it."""

import signal
import uuid
from datetime import UTC, datetime
from pathlib import Path

from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client, qbo_client
from ml_connector.orchestration.work import Run
from ml_connector.settings import Home, load_connection
from ml_connector.store import windows
from ml_connector.store.database import open_engine


def read(home: str, database_url: str) -> None:
    """Poll once."""
    engine, folder = open_engine(database_url), Home(Path(home))
    connection = load_connection(folder, "acme")
    run = Run(uuid.uuid4().hex, (datetime.now(UTC).date(),), automatic=True)
    work.read(engine, folder, connection, qbo_client(folder, connection, engine), run)


def main(home: str, database_url: str) -> None:
    """Map and post every dirty day once."""
    engine = open_engine(database_url)
    connection = load_connection(Home(Path(home)), "acme")
    client = procore_client(Home(Path(home)), connection, engine)
    with engine.connect() as db:
        days = [window.day for window in windows.dirty(db, connection.name)]
    run = Run(uuid.uuid4().hex, tuple(days or [datetime.now(UTC).date()]), automatic=True)
    work.map_days(engine, connection, run, lambda: client)
    work.post(engine, connection, run, client, work.KINDS)


def interrupted(home: str, database_url: str) -> None:
    """As `main`, and SIGTERM is the interrupt that it is in Dagster's run workers."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(home, database_url)
