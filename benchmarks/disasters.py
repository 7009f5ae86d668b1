"""Subject `disasters`: a vendor away for three days, nothing running for 31 days, yesterday's database; what it costs after.

`python -m benchmarks.disasters NAME` plays one of them in a process of its own and prints one line of JSON.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import psycopg
import structlog
from psycopg import sql
from sqlalchemy import Engine

from benchmarks import firm
from benchmarks.fast_clock import FastClock
from benchmarks.ground import open_ground
from benchmarks.report import Figure, Report, peak_megabytes
from ml_connector.cli.demo_firm import Sandbox
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import vault_of
from ml_connector.orchestration.outages import outage_sensor, told_in_one_sentence
from ml_connector.orchestration.work import Run
from ml_connector.procore.client import open_procore
from ml_connector.qbo.client import open_qbo
from ml_connector.reading.windows import Reader
from ml_connector.settings import DATABASE_VARIABLE, Connection, Home, home_from, load_connection
from ml_connector.store import breaker, windows
from ml_connector.store.database import open_engine
from ml_connector.watching.causes import causes

POLL = timedelta(minutes=15)
LIMITS = {"qbo_per_minute": 450, "procore_per_hour": 3600, "procore_per_ten_seconds": 100}
SWITCHES: Mapping[str, Mapping[str, Any]] = {
    "qbo": {"requests_per_minute": 500, "requests_per_second": 10, "batches_per_minute": 40},
    "procore": {"hourly_limit": 3600, "spike_limit": 100},
}
AWAY = {"fault": "status", "args": {"status": 503}}
ROUTES = {"qbo": ("GET /v3/*", "POST /v3/*", "POST /oauth2/*"), "procore": ("* /rest/*", "POST /oauth/*")}
Row = dict[str, Any]


@dataclass(frozen=True)
class Disaster:
    """What happens: who is away ("" nobody), for how long, and how much is saved in QuickBooks meanwhile."""

    title: str
    away: str
    span: timedelta
    bills: int
    versions: int = 1  # how often each bill is saved
    running: bool = True  # whether the connector runs meanwhile


DISASTERS = {
    "quickbooks": Disaster("QuickBooks away for 3 days", "qbo", timedelta(days=3), 3000),
    "procore": Disaster("Procore away for 3 days", "procore", timedelta(days=3), 5000, versions=2),
    "nothing": Disaster("nothing ran for 31 days", "", timedelta(days=31), 3000, running=False),
    "restore": Disaster("yesterday's database restored", "", timedelta(days=1), 1000),
}


@dataclass(frozen=True)
class Played:
    """What it came to. `drain` is time on the fast clock until nothing was left to do, `seconds` the work in it."""

    changes: int
    lost: int
    doubled: int
    money_delta: str
    calls_meanwhile: int
    alarms: list[str]
    calls: dict[str, int]
    refused: int
    drain: float
    seconds: float
    megabytes: float


def measure() -> Report:
    """All of them, each on a ground of its own."""
    figures: list[Figure] = []
    for name, disaster in DISASTERS.items():
        with open_ground(limits=LIMITS, start_date="2026-01-01") as ground:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.disasters", name],
                env=ground.site.environment(),
                stdout=subprocess.PIPE,
                check=True,
            )
        figures += _figures(disaster, Played(**json.loads(done.stdout.splitlines()[-1])))
    note = (
        "The clock jumps over waits; both vendors' limits are on. While a vendor is away it is polled, or probed, every "
        f"{POLL.seconds // 60} minutes. Lost and doubled are counted in the sandbox, by bill and to the cent."
    )
    return Report("disasters", "Disasters, and what it takes to catch up", figures, [note])


def _figures(disaster: Disaster, played: Played) -> Iterator[Figure]:
    title = f"{disaster.title}, {played.changes:,} changes"
    yield Figure(f"{title}: bills lost", played.lost, "bills", limit=0)
    yield Figure("  bills doubled", played.doubled, "bills", limit=0)
    yield Figure("  money delta", float(played.money_delta), "USD", limit=0)
    if disaster.away:
        yield Figure("  alarms", len(played.alarms), "alarms", limit=1)
        yield Figure("  calls to it meanwhile", played.calls_meanwhile, "calls")
    yield Figure("  calls to QuickBooks to catch up", played.calls["qbo"], "calls")
    yield Figure("  calls to Procore to catch up", played.calls["procore"], "calls")
    yield Figure("  wasted: calls that were refused then", played.refused, "calls", limit=0)
    yield Figure("  until nothing was left to do, limits kept", played.drain, "s")
    yield Figure("  of that, work", played.seconds, "s")
    yield Figure("  peak memory", played.megabytes, "MB")


@dataclass
class Scene:
    """The firm on the ground whose environment is set; its clock begins `span` in the past and ends now."""

    home: Home
    connection: Connection
    sandbox: Sandbox
    engine: Engine
    span: timedelta
    fast: FastClock = field(init=False)

    def __post_init__(self) -> None:
        self.fast = FastClock(self.engine, self._shift, passed=-self.span.total_seconds())
        self._shift(self.fast.passed)

    def _shift(self, seconds: float) -> None:
        for vendor in SWITCHES:
            self.sandbox.control(vendor, "POST", "clock", {"offset_seconds": seconds})

    def poll(self) -> None:
        """One poll and what follows from it; an outage ends it as it ends a run."""
        away = self.away()
        if "qbo" in away:
            return
        vault, run_id = vault_of(self.home, self.engine), uuid.uuid4().hex
        with (
            suppress(dg.Failure),
            told_in_one_sentence(self.engine, self.connection),
            closing(open_qbo(self.connection, engine=self.engine, vault=vault, clock=self.fast.clock)) as qbo,
            closing(
                open_procore(self.connection, engine=self.engine, vault=vault, clock=self.fast.clock)
            ) as procore,
        ):
            reader = Reader(self.connection, self.home, self.engine, qbo, run_id, clock=self.fast.now)
            reader.read((self.fast.now().date(),))
            days = self.days()
            if days and "procore" not in away:
                run = Run(run_id, days, automatic=True)
                work.map_days(self.engine, self.connection, run, lambda: procore)
                work.post(self.engine, self.connection, run, procore, work.KINDS, lambda: qbo)

    def probe(self) -> None:
        """What the sensor of outages does."""
        sensor = outage_sensor([self.connection], self.home)
        with dg.DagsterInstance.ephemeral() as instance:
            sensor(dg.build_sensor_context(instance=instance))

    def away(self) -> set[str]:
        """Vendors that are known not to answer."""
        with self.engine.connect() as db:
            return {outage.system for outage in breaker.outages(db, self.connection.name)}

    def alarms(self) -> set[str]:
        """What people are told of a vendor that has been away for an hour; its outage is by the database's clock."""
        with self.engine.connect() as db:
            found = causes(db, self.connection, now=datetime.now(UTC) + timedelta(hours=1))
        return {cause.key for cause in found if cause.key.startswith(("away:", "reconnect:"))}

    def days(self) -> tuple[date, ...]:
        """Days with work left."""
        with self.engine.connect() as db:
            return tuple(window.day for window in windows.dirty(db, self.connection.name))

    def save(self, rows: Sequence[Row]) -> None:
        """Put bills into QuickBooks as they are."""
        for first in range(0, len(rows), 500):
            body = {"realm": firm.REALM, "Bill": rows[first : first + 500]}
            self.sandbox.control("qbo", "POST", "load", body)

    def journal(self, vendor: str, since: int = 0) -> list[Row]:
        """Calls after entry `since`, those for tokens too: an outage meets them as it meets others."""
        rows = self.sandbox.control(vendor, "GET", "journal")[since:]
        return [row for row in rows if "/_control" not in row["path"]]

    def mark(self, vendor: str) -> int:
        """How long the journal is."""
        return len(self.sandbox.control(vendor, "GET", "journal"))


def saved(disaster: Disaster, scene: Scene) -> list[tuple[float, Row]]:
    """Every version of every bill with its second after the beginning, in order: evenly over the span."""
    began, span = scene.fast.now(), disaster.span.total_seconds() * 0.99
    bills = list(firm.bills(disaster.bills))
    found = []
    for version in range(disaster.versions):
        for place, bill in enumerate(bills):
            second = span * (version * len(bills) + place + 1) / (disaster.versions * len(bills))
            stamp = (began + timedelta(seconds=second)).isoformat(timespec="seconds")
            found.append((second, _version(bill, version, stamp)))
    return found


def _version(bill: Row, version: int, stamp: str) -> Row:
    first, *rest = bill["Line"]
    more = {**first, "Amount": float(Decimal(str(first["Amount"])) + version)}
    total = float(Decimal(str(bill["TotalAmt"])) + version)
    times = {"CreateTime": stamp, "LastUpdatedTime": stamp}
    changed = {"SyncToken": str(version), "MetaData": times, "Line": [more, *rest]}
    return {**bill, **changed, "TotalAmt": total, "Balance": total}


def pass_by(disaster: Disaster, scene: Scene, coming: Sequence[tuple[float, Row]]) -> set[str]:
    """Let the span pass while people save bills and, where it runs, the connector polls; returns the alarms."""
    told: set[str] = set()
    coming, end, second = list(coming), disaster.span.total_seconds(), 0.0
    while second < end:
        second += POLL.total_seconds() if disaster.running else end
        scene.fast.jump(POLL.total_seconds() if disaster.running else end)
        due = [row for at, row in coming if at <= second]
        coming = coming[len(due) :]
        scene.save(list({row["Id"]: row for row in due}.values()) if not disaster.running else due)
        if disaster.running:
            scene.probe()
            scene.poll()
            told |= scene.alarms()
    return told


def play(name: str, scene: Scene) -> Played:
    """The disaster, then the way back until nothing is left to do."""
    disaster = DISASTERS[name]
    scene.poll()  # links the vendors
    for vendor, switches in SWITCHES.items():
        scene.sandbox.control(vendor, "POST", "switches", dict(switches))
    coming = saved(disaster, scene)
    copied = _copy(scene) if name == "restore" else ""
    if disaster.away:
        rules = [{"route": route, **AWAY} for route in ROUTES[disaster.away]]
        scene.sandbox.control(disaster.away, "POST", "faults", rules)
    meanwhile = scene.mark(disaster.away or "qbo")
    told = pass_by(disaster, scene, coming)
    calls_meanwhile = len(scene.journal(disaster.away, meanwhile)) if disaster.away else 0
    if disaster.away:
        scene.sandbox.control(disaster.away, "DELETE", "faults")
    if copied:
        scene = _restored(scene, copied)
    marks = {vendor: scene.mark(vendor) for vendor in SWITCHES}
    back, began = scene.fast.now(), time.monotonic()
    drained = _until_quiet(scene)
    return Played(
        changes=len(coming),
        **_judged(scene, coming),
        calls_meanwhile=calls_meanwhile,
        alarms=sorted(told),
        calls={vendor: len(scene.journal(vendor, since)) for vendor, since in marks.items()},
        refused=sum(
            1
            for vendor, since in marks.items()
            for row in scene.journal(vendor, since)
            if not 200 <= row["status"] < 300
        ),
        drain=(drained - back).total_seconds(),
        seconds=time.monotonic() - began,
        megabytes=peak_megabytes(),
    )


def _until_quiet(scene: Scene) -> datetime:
    """Poll until nothing is left to do; returns when the last work was done."""
    for _ in range(100):
        scene.probe()
        if not scene.away():
            scene.poll()
            if not scene.days():
                return scene.fast.now()
        scene.fast.jump(60)
    raise SystemExit("the connector did not come to rest in 100 minutes")


def _judged(scene: Scene, coming: Sequence[tuple[float, Row]]) -> dict[str, Any]:
    """What Procore counts against what QuickBooks has, by bill."""
    wanted = {row["Id"]: Decimal(str(row["TotalAmt"])) for _, row in coming}
    there: Counter[str] = Counter()
    costs: Counter[tuple[str, Any]] = Counter()
    money: dict[str, Decimal] = {}
    for cost in scene.sandbox.live("procore", "direct_costs"):
        qbo_id = str(cost["origin_id"]).split(":")[3]
        if qbo_id in wanted:
            there[qbo_id] += 1
            costs[qbo_id, cost["project_id"]] += 1
            money[qbo_id] = money.get(qbo_id, Decimal(0)) + Decimal(str(cost["grand_total"]))
    delta = sum((abs(money.get(one, Decimal(0)) - amount) for one, amount in wanted.items()), Decimal(0))
    return {
        "lost": len(wanted.keys() - there.keys()),
        "doubled": sum(1 for count in costs.values() if count > 1),
        "money_delta": f"{delta:.2f}",
    }


def _copy(scene: Scene) -> str:
    """A copy of the database as it is now; its name."""
    name = "yesterday"
    scene.engine.dispose()
    with psycopg.connect(_plain(scene.engine, "postgres"), autocommit=True) as db:
        ours = sql.Identifier(scene.engine.url.database or "")
        db.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), ours))
    return name


def _plain(engine: Engine, database: str) -> str:
    return engine.url.set(drivername="postgresql", database=database).render_as_string(hide_password=False)


def _restored(scene: Scene, name: str) -> Scene:
    """The scene on the copied database, at the same time of its clock."""
    address = _plain(scene.engine, name)
    scene.engine.dispose()
    os.environ[DATABASE_VARIABLE] = address
    behind = timedelta(seconds=-scene.fast.passed)
    return Scene(scene.home, scene.connection, scene.sandbox, open_engine(address), behind)


def main() -> int:
    """Play one on the ground whose environment is set."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    home = home_from()
    connection = load_connection(home, firm.NAME)
    name = sys.argv[1]
    scene = Scene(
        home,
        connection,
        Sandbox(connection.qbo.api_url, connection.procore.api_url),
        open_engine(os.environ[DATABASE_VARIABLE]),
        DISASTERS[name].span,
    )
    sys.stdout.write(json.dumps(asdict(play(name, scene))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
