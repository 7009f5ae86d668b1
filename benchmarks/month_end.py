"""Subject `month_end`: 3,000 bills and 900 payments in an hour, polled every five minutes, with both vendors' limits on.

`python -m benchmarks.month_end BILLS PAYMENTS` plays the hour in a process of its own and prints one line of JSON.
"""

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Engine, select

from benchmarks import firm
from benchmarks.fast_clock import FastClock
from benchmarks.ground import open_ground
from benchmarks.report import Figure, Report, middle, peak_megabytes
from ml_connector.cli.demo_firm import Sandbox
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import vault_of
from ml_connector.orchestration.work import Run
from ml_connector.procore.client import open_procore
from ml_connector.qbo.client import open_qbo
from ml_connector.settings import DATABASE_VARIABLE, Connection, Home, home_from, load_connection
from ml_connector.store import windows
from ml_connector.store.database import open_engine
from ml_connector.store.tables import audit
from ml_connector.store.tables import record as record_table

BILLS, PAYMENTS, COMMITMENTS = 3000, 900, 40
HOUR, POLL = 3600.0, 300.0
ON_COMMITMENTS = 3  # every third bill is one on a commitment
LIMITS = {"qbo_per_minute": 450, "procore_per_hour": 3600, "procore_per_ten_seconds": 100}
VENDORS_LIMITS: Mapping[str, Mapping[str, int]] = {
    "qbo": {"requests_per_minute": 500, "requests_per_second": 10, "batches_per_minute": 40},
    "procore": {"hourly_limit": 3600, "spike_limit": 100},
}
RETAINAGE = {"retainage": "separate_line"}
DONE = ("posted", "changed", "linked", "found")


@dataclass(frozen=True)
class Arrival:
    """A record that somebody saves in QuickBooks so many seconds after the hour began."""

    second: float
    entity: str
    record: dict[str, Any]


@dataclass(frozen=True)
class Played:
    """What the hour took. Lags are seconds from saving a record to its confirmation, on the fast clock."""

    records: int
    states: dict[str, int]
    lags: list[float]
    drain: float
    calls: dict[str, int]
    refused: dict[str, int]
    repeated: int
    busiest_ten_seconds: int
    waited: float
    megabytes: float

    @property
    def not_posted(self) -> int:
        """Records that are in another state than done."""
        return self.records - sum(self.states.get(state, 0) for state in ("posted", "no-op", "updated"))


def measure() -> Report:
    """The hour at full size, in a process of its own."""
    with open_ground(policies=RETAINAGE, limits=LIMITS) as ground:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.month_end", str(BILLS), str(PAYMENTS)],
            env=ground.site.environment(),
            stdout=subprocess.PIPE,
            check=True,
        )
    played = Played(**json.loads(done.stdout.splitlines()[-1]))
    thousand = played.records / 1000
    figures = [
        Figure("records that are not posted", played.not_posted, "records", limit=0),
        Figure("lag, p50", middle(played.lags, 0.5), "s"),
        Figure("lag, p95", middle(played.lags, 0.95), "s"),
        Figure("lag, longest", max(played.lags), "s"),
        Figure("calls to Procore per 1,000 records", played.calls["procore"] / thousand, "calls"),
        Figure("calls to QuickBooks per 1,000 records", played.calls["qbo"] / thousand, "calls"),
        Figure("wasted: calls that were refused", sum(played.refused.values()), "calls", limit=0),
        Figure("retries: writes sent twice", played.repeated, "calls", limit=0),
        Figure("most calls to Procore in ten seconds", played.busiest_ten_seconds, "calls", limit=100),
        Figure("drained after the hour's end", played.drain, "s"),
        Figure("waited for limits", played.waited, "s"),
        Figure("peak memory", played.megabytes, "MB"),
    ]
    note = (
        "The clock jumps over waits. QuickBooks takes 500 calls a minute, Procore 3,600 an hour and 100 in ten seconds; "
        f"polls every {POLL / 60:.0f} minutes, no webhooks."
    )
    title = f"Month end: {BILLS:,} bills and {PAYMENTS} payments in an hour, both vendors' limits on"
    return Report("month_end", title, figures, [note])


def arrivals(bills: int, payments: int, commitments: int, *, began: datetime) -> list[Arrival]:
    """Bills over the whole hour; payments in its second half, of bills of its first."""
    contracted = bills // ON_COMMITMENTS
    made = chain.from_iterable(
        _in_turns(list(firm.bills(bills - contracted)), list(firm.subcontract_bills(contracted, commitments)))
    )
    found = [
        Arrival(HOUR * place / bills, "Bill", _saved(bill, began, HOUR * place / bills))
        for place, bill in enumerate(made)
    ]
    for place in range(payments):
        second = HOUR / 2 * (1 + place / payments)
        payment = firm.payment(place, found[place].record)
        found.append(Arrival(second, "BillPayment", _saved(payment, began, second)))
    return sorted(found, key=lambda one: one.second)


def play(
    sandbox: Sandbox,
    home: Home,
    connection: Connection,
    engine: Engine,
    *,
    realm: str,
    bills: int,
    payments: int,
    commitments: int,
    poll: float = POLL,
) -> Played:
    """Let the hour pass, with a poll every so many seconds, then work on until nothing is left to do."""
    fast = FastClock(engine, lambda shift: _shift(sandbox, shift))
    began = fast.now()
    marks = {vendor: len(sandbox.control(vendor, "GET", "journal")) for vendor in VENDORS_LIMITS}
    coming = arrivals(bills, payments, commitments, began=began)
    saved: dict[tuple[str, str], float] = {}
    polled = waited = 0.0
    while coming or _days(engine, connection):
        second = (fast.now() - began).total_seconds()
        if second < polled:
            fast.jump(polled - second)
            second = polled
        polled = max(polled + poll, second)
        due = [one for one in coming if one.second <= second]
        coming = coming[len(due) :]
        _save(sandbox, realm, due)
        saved |= {(one.entity, one.record["Id"]): one.second for one in due}
        before = fast.passed
        _run(home, connection, engine, fast)
        waited += fast.passed - before
    end = (fast.now() - began).total_seconds()
    journals = {vendor: sandbox.control(vendor, "GET", "journal") for vendor in VENDORS_LIMITS}
    asked = {vendor: _asked(rows[marks[vendor] :]) for vendor, rows in journals.items()}
    return Played(
        records=len(saved),
        states=_states(engine, connection, saved),
        lags=_lags(engine, connection, saved, fast, began),
        drain=max(0.0, end - HOUR),
        calls={vendor: len(rows) for vendor, rows in asked.items()},
        refused={
            vendor: sum(1 for row in rows if not 200 <= row["status"] < 300) for vendor, rows in asked.items()
        },
        repeated=_repeated(asked["procore"]),
        busiest_ten_seconds=_busiest(asked["procore"]),
        waited=waited,
        megabytes=peak_megabytes(),
    )


def _run(home: Home, connection: Connection, engine: Engine, fast: FastClock) -> None:
    """One poll and what follows from it, as the schedule and the sensor ask for it."""
    vault = vault_of(home, engine)
    with (
        closing(open_qbo(connection, engine=engine, vault=vault, clock=fast.clock)) as qbo,
        closing(open_procore(connection, engine=engine, vault=vault, clock=fast.clock)) as procore,
    ):
        run_id = uuid.uuid4().hex
        work.read(engine, home, connection, qbo, Run(run_id, (fast.now().date(),), automatic=True))
        days = _days(engine, connection)
        if days:
            run = Run(run_id, days, automatic=True)
            work.map_days(engine, connection, run, lambda: procore)
            work.post(engine, connection, run, procore, work.KINDS, lambda: qbo)


def _days(engine: Engine, connection: Connection) -> tuple[Any, ...]:
    with engine.connect() as db:
        return tuple(window.day for window in windows.dirty(db, connection.name))


def _save(sandbox: Sandbox, realm: str, due: Sequence[Arrival]) -> None:
    for entity in ("Bill", "BillPayment"):
        records = [one.record for one in due if one.entity == entity]
        if records:
            sandbox.control("qbo", "POST", "load", {"realm": realm, entity: records})


def _saved(record: dict[str, Any], began: datetime, second: float) -> dict[str, Any]:
    stamp = (began + timedelta(seconds=second)).isoformat(timespec="seconds")
    return {**record, "MetaData": {"CreateTime": stamp, "LastUpdatedTime": stamp}}


def _in_turns(many: Sequence[Any], few: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Two of `many`, one of `few`, and so on; every part that `few` leaves over at the end."""
    step = ON_COMMITMENTS - 1
    for place in range(max(len(few), -(-len(many) // step))):
        yield [*many[step * place : step * (place + 1)], *few[place : place + 1]]


def _shift(sandbox: Sandbox, seconds: float) -> None:
    for vendor in VENDORS_LIMITS:
        sandbox.control(vendor, "POST", "clock", {"offset_seconds": seconds})


def _asked(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if "/oauth" not in entry["path"] and "/_control" not in entry["path"]]


def _repeated(entries: Sequence[Mapping[str, Any]]) -> int:
    """Writes whose very body had been sent to the same place before."""
    writes = Counter(
        (entry["method"], entry["path"], str(entry["query"]), entry["body_sha256"])
        for entry in entries
        if entry["method"] != "GET"
    )
    return sum(count - 1 for count in writes.values())


def _busiest(entries: Sequence[Mapping[str, Any]]) -> int:
    """The most calls in any ten seconds."""
    times = sorted(datetime.fromisoformat(entry["at"]) for entry in entries)
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= timedelta(seconds=10):
            first += 1
        most = max(most, last - first + 1)
    return most


def _states(engine: Engine, connection: Connection, saved: Mapping[tuple[str, str], float]) -> dict[str, int]:
    mine = record_table.c.connection == connection.name
    with engine.connect() as db:
        rows = db.execute(
            select(record_table.c.entity, record_table.c.qbo_id, record_table.c.state).where(mine)
        )
        known = {(row.entity, row.qbo_id): str(row.state) for row in rows}
    return dict(Counter(known.get(one, "not read") for one in saved))


def _lags(
    engine: Engine,
    connection: Connection,
    saved: Mapping[tuple[str, str], float],
    fast: FastClock,
    began: datetime,
) -> list[float]:
    """Seconds from saving to the last part's confirmation, by record."""
    told = select(audit.c.entity, audit.c.qbo_id, audit.c.at).where(
        audit.c.connection == connection.name, audit.c.event.in_(DONE)
    )
    with engine.connect() as db:
        ends = {(row.entity, row.qbo_id): row.at for row in db.execute(told.order_by(audit.c.number))}
    return [
        (fast.of(ends[one]) - began).total_seconds() - second for one, second in saved.items() if one in ends
    ]


def main() -> int:
    """Play the hour on the ground whose environment is set."""
    home = home_from()
    connection = load_connection(home, firm.NAME)
    engine = open_engine(os.environ[DATABASE_VARIABLE])
    sandbox = Sandbox(connection.qbo.api_url, connection.procore.api_url)
    plain = FastClock(engine, lambda _: None)
    _run(home, connection, engine, plain)  # links the vendors
    sandbox.control("procore", "POST", "load", firm.contracts(COMMITMENTS))
    for vendor, switches in VENDORS_LIMITS.items():
        sandbox.control(vendor, "POST", "switches", dict(switches))
    bills, payments = (int(count) for count in sys.argv[1:])
    played = play(
        sandbox, home, connection, engine,
        realm=firm.REALM, bills=bills, payments=payments, commitments=COMMITMENTS,
    )  # fmt: skip
    engine.dispose()
    sys.stdout.write(json.dumps(asdict(played)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
