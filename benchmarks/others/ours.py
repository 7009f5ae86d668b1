"""ml-connector on the same ground: its own reading, mapping and posting, run as its schedule and its sensor run them."""

import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from benchmarks import firm
from benchmarks.calls import everything
from benchmarks.ground import Ground, open_ground
from benchmarks.others.ground import PERSON, Cell
from benchmarks.others.judge import Told
from benchmarks.others.tools import KillWhen
from ml_connector.errors import MlConnectorError
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client, qbo_client
from ml_connector.orchestration.work import Run
from ml_connector.procore.client import ProcoreClient
from ml_connector.qbo.models import Entity
from ml_connector.settings import Connection, load_connection
from ml_connector.store import overview, windows
from ml_connector.store.database import open_engine
from ml_connector_tests.rig import Control

ROUNDS = 4  # as often as the sensor would come back before a person looks
STATES = (
    "select qbo_id, document, state from ml_connector.record where connection = :name and entity = 'Bill'"
)
VERSIONS = """
    select qbo_id, sync_token from ml_connector.landing
    where connection = :name and entity = 'Bill' order by number
"""


@dataclass
class Ours:
    """A session of ml-connector."""

    cell: Cell
    ground: Ground
    engine: Engine

    @property
    def connection(self) -> Connection:
        """The connection's settings."""
        return load_connection(self.ground.site.home, firm.NAME)

    def run(self, kill_when: KillWhen = None) -> Told:
        """Read, then map and post until nothing may be done now; with `kill_when` posting is a process that is killed."""
        try:
            self.read()
            if kill_when is not None:
                return self._killed(kill_when)
            self.settle()
        except MlConnectorError as error:
            return Told(False, self._not_posted(), rows=self._rows(), words=str(error))
        failed = self._not_posted()
        return Told(not failed, failed, rows=self._rows(), words=self._why())

    def read(self) -> None:
        """Read from QuickBooks."""
        client = qbo_client(self.ground.site.home, self.connection, self.engine)
        run = Run(uuid.uuid4().hex, (datetime.now(UTC).date(),), automatic=True)
        work.read(self.engine, self.ground.site.home, self.connection, client, run)

    def settle(self, *, days: Sequence[date] = ()) -> None:
        """Map and post what is dirty; with `days` these, as a person re-materialises them."""
        for _ in range(ROUNDS):
            asked = tuple(days) or self._dirty()
            if not asked:
                return
            run = Run(uuid.uuid4().hex, asked, automatic=not days)
            client = procore_client(self.ground.site.home, self.connection, self.engine)
            qbo = partial(qbo_client, self.ground.site.home, self.connection, self.engine)
            work.map_days(self.engine, self.connection, run, partial(_same, client))
            work.post(self.engine, self.connection, run, client, work.KINDS, qbo)
            if days:
                return

    def replay(self) -> Told:
        """Read again, and re-materialise every day there is."""
        self.read()
        with self.engine.connect() as db:
            days = list(db.scalars(text("select distinct day from ml_connector.record order by day")))
        self.settle(days=days)
        return Told(not self._not_posted(), self._not_posted(), rows=self._rows())

    def two_at_once(self) -> tuple[tuple[str, str], ...]:
        """Two processes that read side by side; what both landed."""
        command = [sys.executable, "-m", "benchmarks.stage", "read"]
        threads = [
            threading.Thread(target=self._process, args=([*command, uuid.uuid4().hex],)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self._rows()

    def _process(self, command: list[str]) -> None:
        subprocess.run(command, env=self.ground.site.environment(), capture_output=True, check=False)

    def _killed(self, kill_when: KillWhen) -> Told:
        run_id = uuid.uuid4().hex
        asked = self._dirty()
        client = procore_client(self.ground.site.home, self.connection, self.engine)
        work.map_days(self.engine, self.connection, Run(run_id, asked, automatic=True), lambda: client)
        command = [sys.executable, "-m", "benchmarks.stage", "post", run_id]
        with subprocess.Popen(
            command, env=self.ground.site.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None:
                if kill_when is not None and kill_when():
                    process.kill()
                    break
                try:
                    process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
        return Told(False, silent=True)

    def _dirty(self) -> tuple[date, ...]:
        now = datetime.now(UTC)
        with self.engine.connect() as db:
            found = windows.dirty(db, firm.NAME)
        return tuple(row.day for row in found if row.not_before is None or row.not_before <= now)

    def _not_posted(self) -> frozenset[str]:
        with self.engine.connect() as db:
            rows = db.execute(text(STATES), {"name": firm.NAME}).all()
        return frozenset(row.document for row in rows if row.state not in ("posted", "no-op"))

    def _why(self) -> str:
        with self.engine.connect() as db:
            holds = overview.holds_of(db, firm.NAME, entities=[Entity.BILL], limit=1)
        return holds[0].sentence if holds else ""

    def _rows(self) -> tuple[tuple[str, str], ...]:
        with self.engine.connect() as db:
            rows = db.execute(text(VERSIONS), {"name": firm.NAME}).all()
        return tuple((row.qbo_id, str(row.sync_token)) for row in rows)


def _same(client: ProcoreClient) -> ProcoreClient:
    return client


@contextmanager
def open_ours(entered: Sequence[Mapping[str, Any]], *, linked: bool = True) -> Iterator[Ours]:
    """An installation with a throw-away database whose first run is over, and these bills in QuickBooks after it.

    Without `linked` nothing was read before: not a token has been asked for.
    """
    with (
        open_ground(timing={"settle": 0, "overlap": 900, "catalog_age": 0}) as ground,
        tempfile.TemporaryDirectory(prefix="ml-connector-others-") as folder,
    ):
        qbo, procore = Control(ground.sandbox.qbo), Control(ground.sandbox.procore)
        qbo.load(realm=firm.REALM, App=[{**PERSON, "realms": [firm.REALM]}])
        if linked:
            everything(ground)
        engine = open_engine(ground.site.database_url)
        try:
            yield Ours(Cell(qbo, procore, Path(folder), []).enter(entered), ground, engine)
        finally:
            engine.dispose()
