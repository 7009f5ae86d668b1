"""Subject `side_by_side`: 20 connections of one installation at once, one of them with a Procore that never answers."""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import yaml
from sqlalchemy import select

from benchmarks import firm
from benchmarks.ground import open_ground
from benchmarks.report import Figure, Report, middle, peak_megabytes
from ml_connector.cli.demo_firm import Sandbox
from ml_connector.errors import TransientError, VendorAway
from ml_connector.mapping.publishing import publish
from ml_connector.orchestration import work
from ml_connector.orchestration.clients import procore_client, qbo_client, vault_of
from ml_connector.orchestration.work import Run
from ml_connector.settings import DATABASE_VARIABLE, Home, home_from, load_connection
from ml_connector.store import sheets, windows
from ml_connector.store.database import open_engine
from ml_connector.store.tables import record
from ml_connector.store.vault import Credentials

CONNECTIONS, BILLS = 20, 60
FAILING = 13  # the one whose Procore does not answer
LIMITS = {"qbo_per_minute": 450, "procore_per_hour": 3600, "procore_per_ten_seconds": 100}
SWITCHES: Mapping[str, Mapping[str, Any]] = {
    "qbo": {"requests_per_minute": 500, "requests_per_second": 10, "batches_per_minute": 40},
    "procore": {"hourly_limit": 3600, "spike_limit": 100, "limit_per": "company"},
}


@dataclass(frozen=True)
class Done:
    """What one connection came to: seconds until all of its bills were in their final state, and how many were posted."""

    name: str
    seconds: float
    posted: int
    ended: str


def measure() -> Report:
    """All of them in a process of its own."""
    with open_ground(limits=LIMITS) as ground:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.side_by_side"],
            env=ground.site.environment(),
            stdout=subprocess.PIPE,
            check=True,
        )
    measured = json.loads(done.stdout.splitlines()[-1])
    healthy = [one for one in measured["done"] if one["name"] != _name(FAILING)]
    (failing,) = (one for one in measured["done"] if one["name"] == _name(FAILING))
    seconds = [one["seconds"] for one in healthy]
    missing = sum(BILLS - one["posted"] for one in healthy)
    figures = [
        Figure("bills of the others that are not posted", missing, "bills", limit=0),
        Figure("bills of the failing one that are posted", failing["posted"], "bills", limit=0),
        Figure("lag of the others, p50", middle(seconds, 0.5), "s"),
        Figure("lag of the others, longest", max(seconds), "s"),
        Figure("lag of one alone", measured["alone"], "s"),
        Figure("calls of the others to Procore per 1,000 bills", measured["calls"] / len(healthy) / BILLS * 1000, "calls"),
        Figure("wasted: calls of the others that were refused", measured["refused"], "calls", limit=0),
        Figure("calls of the failing one before it was left alone", measured["failing_calls"], "calls"),
        Figure("peak memory of all in one process", measured["megabytes"], "MB"),
    ]  # fmt: skip
    note = f"{BILLS} new bills each, in 20 threads on one database; the failing one's Procore answers 503 to everything."
    title = f"{CONNECTIONS} connections side by side, one of them failing"
    return Report("side_by_side", title, figures, [note])


def main() -> int:
    """Set the connections up, let one work alone, then all at once."""
    home, url = home_from(), os.environ[DATABASE_VARIABLE]
    first = load_connection(home, firm.NAME)
    sandbox = Sandbox(first.qbo.api_url, first.procore.api_url)
    for number in range(CONNECTIONS + 1):
        _connect(home, url, sandbox, number)
    for vendor, switches in SWITCHES.items():
        sandbox.control(vendor, "POST", "switches", dict(switches))
    away = {"fault": "status", "args": {"status": 503}}
    for route in _routes(FAILING):
        sandbox.control("procore", "POST", "faults", {"route": route, **away})
    began = time.monotonic()
    _work(home, url, CONNECTIONS, began)  # one more, for comparison
    alone = time.monotonic() - began
    mark = len(sandbox.control("procore", "GET", "journal"))
    done: list[Done] = []
    began = time.monotonic()
    workers = [
        threading.Thread(target=lambda n=number: done.append(_work(home, url, n, began)))
        for number in range(CONNECTIONS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    entries = sandbox.control("procore", "GET", "journal")[mark:]
    calls = [entry for entry in entries if "/oauth" not in entry["path"] and "/_control" not in entry["path"]]
    failing = [entry for entry in calls if "status" in str(entry["fault"])]
    others = [entry for entry in calls if entry not in failing]
    document = {
        "done": [asdict(one) for one in done],
        "alone": alone,
        "calls": len(others),
        "refused": sum(1 for entry in others if not 200 <= entry["status"] < 300),
        "failing_calls": len(failing),
        "megabytes": peak_megabytes(),
    }
    sys.stdout.write(json.dumps(document) + "\n")
    return 0


def _work(home: Home, url: str, number: int, began: float) -> Done:
    """Read, map and post what the connection has, as its runs do."""
    connection, engine = load_connection(home, _name(number)), open_engine(url)
    ended = ""
    try:
        with (
            closing(qbo_client(home, connection, engine)) as qbo,
            closing(procore_client(home, connection, engine)) as procore,
        ):
            run_id = uuid.uuid4().hex
            work.read(engine, home, connection, qbo, Run(run_id, (datetime.now(UTC).date(),), automatic=True))
            with engine.connect() as db:
                days = tuple(window.day for window in windows.dirty(db, connection.name))
            run = Run(run_id, days, automatic=True)
            work.map_days(engine, connection, run, lambda: procore)
            work.post(engine, connection, run, procore, work.KINDS, lambda: qbo)
    except (TransientError, VendorAway) as error:
        ended = str(error)
    with engine.connect() as db:
        mine = (record.c.connection == connection.name, record.c.entity == "Bill", record.c.state == "posted")
        posted = len(db.execute(select(record.c.qbo_id).where(*mine)).all())
    engine.dispose()
    return Done(connection.name, time.monotonic() - began, posted, ended)


def _connect(home: Home, url: str, sandbox: Sandbox, number: int) -> None:
    """A company in QuickBooks with its bills, one in Procore with its five projects, and the connection of the two."""
    realm, company, name = str(9341450000001000 + number), 6000 + number, _name(number)
    projects = _projects(number)
    app = {
        "client_id": f"{name}-client", "client_secret": f"{name}-secret", "refresh_token": f"RT1-{name}", "realms": [realm],
    }  # fmt: skip
    sandbox.control("qbo", "POST", "load", {**firm.qbo_lists(), "realm": realm, "App": [app]})
    lists = firm.procore_lists()
    sandbox.control("procore", "POST", "load", {
        "companies": [{"id": company, "name": name, "is_active": True}],
        "projects": [
            {**one, "id": projects[place], "company_id": company} for place, one in enumerate(lists["projects"])
        ],
        "vendors": [
            {**one, "id": one["id"] + 100_000 * (number + 1), "company_id": company, "project_ids": projects}
            for one in lists["vendors"]
        ],
    })  # fmt: skip
    sandbox.control("qbo", "POST", "load", {"realm": realm, "Bill": list(firm.bills(BILLS))})
    content = yaml.safe_load((home.folder(firm.NAME) / "connection.yaml").read_text(encoding="utf-8"))
    content["qbo"]["realm_id"], content["procore"]["company_id"] = realm, company
    content["timing"]["patience"] = 5
    home.folder(name).mkdir(parents=True)
    (home.folder(name) / "connection.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    connection, engine = load_connection(home, name), open_engine(url)
    links = firm.projects_csv()
    for place, project in enumerate(firm.PROJECTS):
        links = links.replace(f",{project},", f",{projects[place]},")
    publish(engine, connection, sheets.PROJECTS, links.encode(), by="bench")
    publish(engine, connection, sheets.MAPPING, firm.mapping_csv().encode(), by="bench")
    vault = vault_of(home, engine)
    vault.put(name, "qbo", Credentials(f"{name}-client", f"{name}-secret", refresh_token=f"RT1-{name}"))
    vault.put(name, "procore", Credentials("sandbox-client", "sandbox-secret"))
    engine.dispose()


def _routes(number: int) -> Iterator[str]:
    yield f"* *companies/{6000 + number}*"
    for project in _projects(number):
        yield f"* *projects/{project}*"


def _projects(number: int) -> list[int]:
    return [project + 1000 * (number + 1) for project in firm.PROJECTS]


def _name(number: int) -> str:
    return f"firm{number}"


if __name__ == "__main__":
    sys.exit(main())
