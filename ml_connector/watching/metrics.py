"""Figures for Prometheus, read from Postgres at each scrape. Names are stable; there is no money and no vendor in them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection as Db
from sqlalchemy import Engine

from ml_connector.proving.noted import PROOF, PROVED
from ml_connector.settings import Connection
from ml_connector.store import audit, breaker, cursor, ledger, overview, windows
from ml_connector.store.grants import standings
from ml_connector.store.vault import State
from ml_connector.watching.causes import causes

PREFIX = "ml_connector_"


class Books(Collector):
    """Where every connection stands, as `status` tells people."""

    def __init__(self, engine: Engine, connections: Callable[[], Sequence[Connection]]) -> None:
        """`connections` is asked at each scrape, so that a new one needs no restart."""
        self._engine = engine
        self._connections = connections

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All families. Raises SQLAlchemyError when Postgres does not answer: no figure is better than an old one."""
        families = _Families()
        with self._engine.connect() as db:
            for connection in self._connections():
                _add(families, db, connection, now=datetime.now(UTC))
        yield from families.made


class _Families:
    def __init__(self) -> None:
        self.records = GaugeMetricFamily(
            f"{PREFIX}records", "Records by kind and state.", labels=["connection", "kind", "state"]
        )
        self.holds = GaugeMetricFamily(
            f"{PREFIX}holds", "Open holds by reason.", labels=["connection", "reason"]
        )
        self.oldest = self._one("oldest_hold_seconds", "Age of the oldest open hold; 0 without one.")
        self.read_to = self._one(
            "read_to_timestamp_seconds",
            "Up to when QuickBooks was read, by its clock; absent before the first load.",
        )
        self.days = self._one("days_to_do", "Days with work left.")
        self.unclear = self._one("unclear_writes", "Writes to Procore whose outcome is not known yet.")
        self.balanced = self._one(
            "proof_balanced", "1 when the newest proof balanced, 0 when not; absent before the first."
        )
        self.connected = GaugeMetricFamily(
            f"{PREFIX}connected", "1 while the grant is good.", labels=["connection", "system"]
        )
        self.away = GaugeMetricFamily(
            f"{PREFIX}away", "1 while a vendor does not answer.", labels=["connection", "system"]
        )
        self.alarms = GaugeMetricFamily(
            f"{PREFIX}alarm", "1 for each trouble that stands.", labels=["connection", "cause"]
        )
        self.made = list(vars(self).values())

    def _one(self, name: str, text: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(PREFIX + name, text, labels=["connection"])


def _add(families: _Families, db: Db, connection: Connection, *, now: datetime) -> None:
    name = connection.name
    for (entity, state), tally in overview.tally(db, name).items():
        families.records.add_metric([name, entity, state], tally.count)
    held = overview.holds_of(db, name)
    for reason, count in Counter(hold.reason for hold in held).items():
        families.holds.add_metric([name, reason], count)
    oldest = min((hold.since for hold in held), default=now)
    families.oldest.add_metric([name], (now - oldest).total_seconds())
    read_to = cursor.read_to(db, name)
    if read_to is not None:
        families.read_to.add_metric([name], read_to.timestamp())
    families.days.add_metric([name], len(windows.dirty(db, name)))
    families.unclear.add_metric([name], ledger.count_unclear(db, name))
    proved = audit.newest(db, name, entity=PROOF, event=PROVED)
    if proved is not None:
        families.balanced.add_metric([name], int(proved.detail["balanced"]))
    away = {outage.system for outage in breaker.outages(db, name)}
    for grant in standings(db, name):
        families.connected.add_metric([name, grant.system], int(grant.state is State.CONNECTED))
        families.away.add_metric([name, grant.system], int(grant.system in away))
    for cause in causes(db, connection, now=now):
        families.alarms.add_metric([name, cause.key], 1)
