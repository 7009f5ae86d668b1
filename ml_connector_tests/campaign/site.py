"""One firm of one schedule: its sandboxes, home, database and proxies, and runs that meet tricks.

A process that was killed is waited for until it is gone, whoever it was.
"""

import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ml_connector.sandbox.server import VendorServer
from ml_connector.settings import DATABASE_VARIABLE, HOME_VARIABLE, Home
from ml_connector.store.database import open_engine
from ml_connector_tests.campaign.crew import Crew
from ml_connector_tests.campaign.tricks import HOST, RULES, TOKENS, TOXICS
from ml_connector_tests.campaign.worker import DATABASE, DISK, DONE, GAVE_WAY, VENDOR
from ml_connector_tests.postgres_control import How
from ml_connector_tests.rig import COMPANY, MAPPING, PROJECTS, REALM, Rig, add_connection, call, firm
from ml_connector_tests.tcp_faults import FaultProxy

SETTLE = 2  # seconds, as the connection says; longer than any sandbox of ours works on after we hung up
TENS = 400  # calls to Procore in ten seconds that the connection allows itself
ROADS = ("qbo", "procore", "postgres")
POSTGRES: Mapping[str, How] = {
    "Postgres stopped": "fast",
    "Postgres stopped at once": "immediate",
    "Postgres killed": "kill",
    "everything killed": "kill",
}
KILLED = -signal.SIGKILL
COUNTED_BY_KILLS = {name for name in HOST if name.startswith("killed")} | {"everything killed"}
_RUN_SECONDS = 60.0


@dataclass
class Tally:
    """What was done to the runs of a schedule."""

    kills: Counter[str] = field(default_factory=Counter)  # by kill point
    hits: Counter[str] = field(default_factory=Counter)  # by name of trick, where it had an effect
    runs: int = 0
    ended: Counter[int] = field(default_factory=Counter)  # runs by exit code
    peak_kilobytes: int = 0
    busy_days: int = 0  # most windows that waited at once


@dataclass(frozen=True)
class _Elsewhere:
    """A sandbox server of another process: the rig needs its address alone."""

    url: str

    def stop(self) -> None:
        """Nothing: the crew ends its process."""


@contextmanager
def open_site(crew: Crew, seed: int) -> Iterator["Site"]:
    """A firm with its sandboxes, home and database, for one schedule."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{seed}-", dir=crew.folder)))
        urls = stack.enter_context(crew.sandboxes(folder))
        database = crew.postgres.make_database()
        stack.callback(crew.postgres.drop_database, database)
        stack.callback(crew.postgres.start)
        engine = open_engine(crew.postgres.url(database))
        stack.callback(engine.dispose)
        roads = {
            road: FaultProxy(crew.postgres.socket if road == "postgres" else _port(urls[road]))
            for road in ROADS
        }
        for proxy in roads.values():
            stack.callback(proxy.close)
        qbo, procore = (cast("VendorServer", _Elsewhere(urls[name])) for name in ("qbo", "procore"))
        rig = Rig(Home(folder / "home"), engine, qbo, procore, owns_engine=False)
        _furnish(rig, roads)
        yield Site(crew, rig, database, roads, folder)


@dataclass
class Site:
    """One firm and what befalls its runs."""

    crew: Crew
    rig: Rig
    database: str
    roads: Mapping[str, FaultProxy]
    folder: Path
    tally: Tally = field(default_factory=Tally)

    @property
    def log(self) -> Path:
        """What all runs wrote to standard error."""
        return self.folder / "runs.log"

    def run(self, tricks: Sequence[Mapping[str, Any]] = (), **order: Any) -> int:
        """One run that meets the tricks; when it returns, no fault is left and Postgres runs. Its exit code."""
        ordered, points = dict(order), [_point(trick) for trick in tricks if _point(trick)]
        for trick in tricks:
            self._prepare(trick, ordered)
        pid = self._start(ordered, point=points[0] if points else "")
        twin = any(trick["name"] == "two runs" for trick in tricks)
        if twin:
            self._start(ordered, second=True)
        try:
            for trick in tricks:
                self._disturb(trick, pid)
            code = self._ended(pid)
            if twin:
                self._count(self._ended(None), "", second=True)
        finally:
            self.crew.postgres.start()
        self._count(code, points[0] if points else "")
        self._clean(tricks)
        return code

    def command(self, *words: str, point: str = "") -> tuple[int, str]:
        """`ml-connector` as the operator runs it: exit code, and what it printed; killed at `point` when it comes there."""
        url = self.crew.postgres.url(self.database)
        settings = {HOME_VARIABLE: str(self.rig.home.root), DATABASE_VARIABLE: url}
        return self.crew.command(self.folder, *words, settings=settings, point=point)

    def _start(self, order: Mapping[str, Any], *, point: str = "", second: bool = False) -> int:
        nowhere = Path(os.devnull) if order.get("full_disk") else None
        port = self.roads["postgres"].port
        url = f"postgresql+psycopg://ml_connector@127.0.0.1:{port}/{self.database}?sslmode=disable&gssencmode=disable"
        out, err = nowhere or self.folder / "peak", nowhere or self.log
        words = (str(self.rig.home.root), url, json.dumps(order))
        return self.crew.start(*words, out=out, err=err, point=point, second=second)

    # -- before and after a run -------------------------------------------------------------------------------------

    def _prepare(self, trick: Mapping[str, Any], order: dict[str, Any]) -> None:
        name, rig = trick["name"], self.rig
        if name in RULES:
            rule = RULES[name]
            control = rig.qbo if rule.vendor == "qbo" else rig.procore
            when = {"nth": 1 if rule.also else trick["nth"]}
            if "probability" in rule.rule:
                when = {"seed": trick["nth"]}
            if "every" in rule.rule:
                when = {}
            control.fault(*rule.also, {"route": trick["route"], **when, **rule.rule})
        elif name in TOXICS:
            self.roads[TOXICS[name].road].add(TOXICS[name].toxic)
        match name:
            case "killed in a write":
                for method in ("POST", "PATCH", "DELETE"):
                    late = {"fault": "delay", "args": {"seconds": 0.4, "when": "after"}}
                    rig.procore.fault({"route": f"{method} /rest/*", "nth": trick["nth"], **late})
            case "killed in a renewal" | "killed at K10":
                refused = {"fault": "status", "args": {"status": 401}}
                rig.qbo.fault({"route": "GET /v3/*", "nth": 1, **refused})
                if name == "killed in a renewal":
                    late = {"fault": "delay", "args": {"seconds": 0.4, "when": "after"}}
                    rig.qbo.fault({"route": TOKENS["qbo"], "nth": 1, **late})
            case "disk full":
                order["full_disk"] = True
            case "our clock ahead" | "our clock behind":
                order["clock"] = abs(trick["jump"]) * (1 if name.endswith("ahead") else -1)
            case "clock of QuickBooks jumps":
                self._shift(rig.qbo.url, trick["jump"])
            case "clock of Procore jumps":
                self._shift(rig.procore.url, trick["jump"])
            case "changes cut at five":
                rig.qbo.switch(cdc_limit=5)
            case "everything read before, again":
                order["replay"] = self.days()
            case _:
                pass

    def _clean(self, tricks: Sequence[Mapping[str, Any]]) -> None:
        """Take note of which faults had an effect, and end them."""
        for control in (self.rig.qbo, self.rig.procore):
            given = call("GET", f"{control.url}/_control/faults")
            for trick in tricks:
                rule = RULES.get(trick["name"])
                if rule is not None and any(
                    one["fault"] == rule.rule["fault"] and one["route"] == trick["route"] and one["hits"]
                    for one in given
                ):
                    self.tally.hits[trick["name"]] += 1
            control.no_faults()
        for trick in tricks:
            name = trick["name"]
            if name in TOXICS:
                proxy = self.roads[TOXICS[name].road]
                self.tally.hits[name] += int(proxy.spoilt > 0 or TOXICS[name].toxic.kind == "down")
                proxy.spoilt = 0
                proxy.clear()
            elif name == "changes cut at five":
                self.rig.qbo.switch(cdc_limit=1000)
            elif name == "clock of QuickBooks jumps":
                self._shift(self.rig.qbo.url, -trick["jump"])
            elif name == "clock of Procore jumps":
                self._shift(self.rig.procore.url, -trick["jump"])
            if name in HOST and name not in COUNTED_BY_KILLS:
                self.tally.hits[name] += 1

    def _shift(self, url: str, seconds: float) -> None:
        now = call("GET", f"{url}/_control/clock")
        call("POST", f"{url}/_control/clock", {"offset_seconds": float(now["offset_seconds"]) + seconds})

    # -- while it runs ----------------------------------------------------------------------------------------------

    def _disturb(self, trick: Mapping[str, Any], pid: int) -> None:
        name = trick["name"]
        if name in ("killed in a write", "killed in a renewal"):
            rig = self.rig.procore if name == "killed in a write" else self.rig.qbo
            if self._until(lambda: _is_late(rig.url)):
                self._kill(pid, "K6" if name == "killed in a write" else "K9", name)
        elif name in ("killed some time", "two runs"):
            if self._until(lambda: False, seconds=trick["seconds"]):
                self._kill(pid, "any", name)
        elif name in POSTGRES:
            self._until(lambda: False, seconds=trick["seconds"] / 2)
            if name == "everything killed":
                self._kill(pid, "any", name)
            self.crew.postgres.stop(POSTGRES[name])
            time.sleep(trick["seconds"] / 3)
            self.crew.postgres.start()
        elif name == "backends ended":
            self._until(lambda: False, seconds=trick["seconds"] / 2)
            self.crew.postgres.end_backends(self.database)

    def _until(self, reached: Callable[[], bool], *, seconds: float = _RUN_SECONDS) -> bool:
        """Wait until `reached`, or for so many seconds; False when the run has ended before."""
        until = time.monotonic() + seconds
        while not self.crew.has_ended():
            if time.monotonic() > until or reached():
                return True
            time.sleep(0.02)
        return False

    def _kill(self, pid: int, point: str, name: str) -> None:
        with suppress(ProcessLookupError):  # it may end at this moment
            if not self.crew.has_ended():
                os.kill(pid, signal.SIGKILL)
                self.tally.kills[point] += 1
                self.tally.hits[name] += 1

    def _ended(self, pid: int | None) -> int:
        second = pid is None
        until = time.monotonic() + _RUN_SECONDS
        while not self.crew.has_ended(second=second):
            if time.monotonic() > until and pid is not None:
                os.kill(pid, signal.SIGKILL)
                self.crew.end()
                raise AssertionError(f"a run does not end within {_RUN_SECONDS:.0f} s")
            time.sleep(0.005)
        return self.crew.end(second=second)

    def _count(self, code: int, point: str, *, second: bool = False) -> None:
        self.tally.runs += 1
        self.tally.ended[code] += 1
        if code == KILLED and point and not second:
            reached = point.partition(":")[0]
            self.tally.kills[reached] += 1
            self.tally.hits[f"killed at {reached}"] += 1
        peak = self.folder / "peak"
        peaks = [int(line) for line in peak.read_text().split()] if peak.exists() else []
        self.tally.peak_kilobytes = max([self.tally.peak_kilobytes, *peaks])
        expected = (DONE, VENDOR, DATABASE, DISK, GAVE_WAY, KILLED)
        assert code in expected, f"a run ended with {code}: {self.log.read_text()[-3000:]}"

    # -- what the crew sees -----------------------------------------------------------------------------------------

    def days(self) -> list[str]:
        """Every day that has a record."""
        with self.rig.engine.connect() as db:
            found = db.exec_driver_sql("select distinct day from ml_connector.record order by day")
            return [day.isoformat() for day in found.scalars()]


def _furnish(rig: Rig, roads: Mapping[str, FaultProxy]) -> None:
    """The fixture firm; runs reach both vendors through the proxies, people reach them directly."""
    add_connection(rig, "acme", REALM, COMPANY)
    firm(rig.qbo, rig.procore)
    rig.publish(mapping=MAPPING, projects=PROJECTS)
    qbo, procore = roads["qbo"].url, roads["procore"].url
    rig.configure(
        qbo={"api_url": qbo, "token_url": f"{qbo}/oauth2/v1/tokens/bearer"},
        procore={"api_url": procore, "token_url": f"{procore}/oauth/token"},
        timing={"settle": SETTLE, "overlap": 900},
        limits={"procore_per_ten_seconds": TENS},
    )


def _point(trick: Mapping[str, Any]) -> str:
    name = str(trick["name"])
    at = name.removeprefix("killed at ")
    return "" if at == name else f"{at}:{1 if at in ('K3', 'K4', 'K10') else trick['nth']}"


def _is_late(url: str) -> bool:
    """Whether a call is held back that a run is to be killed in."""
    return any(rule["fault"] == "delay" and rule["hits"] for rule in call("GET", f"{url}/_control/faults"))


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
