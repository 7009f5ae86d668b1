"""One run in a process of its own, for tests that kill it."""

import uuid
from datetime import UTC, datetime
from pathlib import Path

from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client
from ml_connector.orchestration.work import Run
from ml_connector.settings import Home, load_connection
from ml_connector.store import windows
from ml_connector.store.database import open_engine


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
