"""An installation with real processes: two connections in two time zones on one sandbox, driven as people drive it.

The vendors' imitations live in the test's own process, so that they outlast whatever is killed.
"""

import json
import math
import os
import secrets
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from zoneinfo import ZoneInfo

import dagster as dg
from sqlalchemy import update

from ml_connector.cli.services import Services, free_port, start_dagster, start_receiver, write_realms
from ml_connector.cli.site import Site, dagster_instance, embedded_site, prepare
from ml_connector.orchestration import names
from ml_connector.orchestration.clients import vault_of
from ml_connector.sandbox.assembly import open_qbo, open_server
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector.settings import Home
from ml_connector.store.grants import PRODUCTS
from ml_connector.store.key_sources import key_source
from ml_connector.store.tables import reading_cursor
from ml_connector.store.vault import Credentials
from ml_connector_tests.rig import (
    CODES,
    COMPANY,
    MAPPING,
    PROJECTS,
    REALM,
    Bookkeeper,
    Rig,
    add_connection,
    call,
    firm,
)

NEW_YORK, TOKYO = "newyork", "tokyo"
OTHER_REALM, OTHER_COMPANY, SHINJUKU = "9341450000000002", 5002, "201"
ZONES = {NEW_YORK: "America/New_York", TOKYO: "Asia/Tokyo"}
HOURLY, EVERY_MINUTE = "59 * * * *", "* * * * *"
DAYS = 9
ASSET_JOB = "__ASSET_JOB"
GROUPS = {"qbo": names.QBO_ASSETS, "mapped": names.MAPPED_ASSETS, "procore": names.PROCORE_ASSETS}
CHAIN = ("qbo/bills", "mapped/bill_lines", "procore/direct_costs")
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def until(what: str, found: Callable[[], Any], *, seconds: float = 180) -> Any:
    """What `found` returns as soon as it is true. Fails when it never is."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.3)
    return value


def tell(text: str) -> None:
    """Show a measurement with `-rP` or `-s`."""
    print(text)  # noqa: T201


@dataclass(frozen=True)
class Ran:
    """One run as Dagster tells it; seconds since 1970, infinite for what has not happened yet."""

    id: str
    connection: str
    job: str
    status: str
    start: float
    end: float
    tags: Mapping[str, str]


@dataclass
class Installation:
    """Services of a site and the two firms behind it."""

    site: Site
    services: Services
    rigs: dict[str, Rig]
    verifier_token: str
    url: str = ""
    receiver: str = ""

    # -- processes --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start receiver, code server, webserver and daemon, as `up` does."""
        self.receiver = start_receiver(self.services, free_port())
        self.url = start_dagster(self.services, free_port())

    def kill_everything(self) -> None:
        """kill -9 of all services with their children, the run workers among them."""
        for service in self.services.running:
            os.killpg(service.process.pid, signal.SIGKILL)
        for service in self.services.running:
            service.process.wait()
        self.services.running.clear()

    # -- what people see in the UI ----------------------------------------------------------------------------------

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL answer. Fails on errors."""
        answer = call("POST", f"{self.url}/graphql", {"query": query, "variables": variables})
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def materialize(self, connection: str, day: date, *, groups: Sequence[str] = tuple(GROUPS)) -> str:
        """Press "Materialize" for one day of the groups' assets; returns the run's id."""
        selection = [{"path": path} for path in paths(connection, groups)]
        answer = self.ask(
            LAUNCH,
            params={
                "selector": {**REPOSITORY, "pipelineName": ASSET_JOB, "assetSelection": selection},
                "mode": "default",
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": day.isoformat()}]},
            },
        )["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def tokens(self) -> list[str]:
        """Every token that is in force, and the keys that seal them."""
        rig = self.rigs[NEW_YORK]
        kept = [
            vault_of(rig.home, rig.engine).get(name, system)[0] for name in self.rigs for system in PRODUCTS
        ]
        keys = key_source(rig.home).read().keys.values()
        found = [token for one in kept for token in (one.access_token, one.refresh_token)]
        return [token for token in (*found, *(key.hex() for key in keys)) if token]

    def shown(self, run: str) -> list[tuple[str, str]]:
        """Where, and what, the web server and the receiver show of a run, of themselves, and to a stranger."""
        pages = [(place, _page(f"{self.url}{place}")) for place in ("/", f"/runs/{run}", "/server_info")]
        pages += [("GraphQL", json.dumps(self.ask(RUN_PAGE, run=run)))]
        stranger = urllib.request.Request(self.receiver, b"[]", {"intuit-signature": "none"}, method="POST")
        health = self.receiver.rpartition("/webhooks")[0] + "/health"
        return [*pages, ("webhooks", _page(stranger)), ("health", _page(health))]

    def backfill(
        self, connection: str, days: Sequence[date], *, groups: Sequence[str] = tuple(GROUPS)
    ) -> str:
        """Launch a backfill over days; returns its id."""
        answer = self.ask(
            BACKFILL,
            params={
                "assetSelection": [{"path": path} for path in paths(connection, groups)],
                "partitionNames": [day.isoformat() for day in days],
                "fromFailure": False,
                "tags": [{"key": "operator", "value": "tests"}],
            },
        )["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["backfillId"])

    def backfill_runs(self, backfill: str, *, count: int) -> list[Ran]:
        """The runs of a backfill, once so many have ended."""

        def look() -> list[Ran]:
            runs = [ran for ran in self.runs() if ran.tags.get("dagster/backfill") == backfill]
            return runs if len(runs) >= count and all(ran.status in ENDED for ran in runs) else []

        found: list[Ran] = until(f"{count} runs of backfill {backfill}", look, seconds=240)
        return found

    def backfill_status(self, backfill: str) -> str:
        """REQUESTED while it is under way."""
        return str(self.ask(BACKFILL_STATUS, id=backfill)["partitionBackfillOrError"]["status"])

    def all_green(self, connection: str, days: Sequence[date], *, assets: Sequence[str] = CHAIN) -> bool:
        """Whether every day of an asset of each step is green."""
        return {self.colour(connection, asset, day) for asset in assets for day in days} == {"MATERIALIZED"}

    def colour(self, connection: str, asset: str, day: date) -> str:
        """The status of one day in the partition bar; "" when it never ran."""
        node = self.ask(STATUSES, key={"path": [connection, *asset.split("/")]})["assetNodeOrError"]
        key = day.isoformat()
        return next(
            (
                str(span["status"])
                for span in node["assetPartitionStatuses"]["ranges"]
                if span["startKey"] <= key <= span["endKey"]
            ),
            "",
        )

    # -- runs -------------------------------------------------------------------------------------------------------

    def runs(self, connection: str | None = None, *, since: float = 0.0) -> list[Ran]:
        """Runs, oldest first, of one connection or all, that were created after an instant."""
        with dagster_instance() as instance:
            found = [
                _ran(record)
                for record in reversed(instance.get_run_records())
                if record.create_timestamp.timestamp() > since
            ]
        return [ran for ran in found if connection in (None, ran.connection)]

    def ended(self, run: str) -> Ran:
        """A run, once it has ended."""

        def look() -> Ran | None:
            return next((ran for ran in self.runs() if ran.id == run and ran.status in ENDED), None)

        found: Ran = until(f"the end of run {run}", look, seconds=240)
        return found

    def quiet(self) -> None:
        """Wait until no run of New York is under way or left to be asked for; Tokyo polls on."""
        rig = self.rigs[NEW_YORK]
        until(
            "the work of New York",
            lambda: not rig.dirty() and all(ran.status in ENDED for ran in self.runs(NEW_YORK)),
            seconds=240,
        )

    # -- the firms --------------------------------------------------------------------------------------------------

    def today(self, connection: str) -> date:
        """The open day of a connection."""
        return datetime.now(ZoneInfo(ZONES[connection])).date()

    def webhooks(self, *, on: bool) -> None:
        """Whether QuickBooks posts to the receiver."""
        rig = self.rigs[NEW_YORK]
        order = {
            "target": self.receiver if on else "",
            "verifier_token": self.verifier_token,
            "form": "cloudevents",
        }
        call("POST", f"{rig.qbo.url}/_control/webhooks", order)

    def saved_at(
        self, connection: str, template: Mapping[str, Any], qbo_id: str, number: str, at: datetime
    ) -> None:
        """A bill that was saved in QuickBooks at an instant of the past."""
        stamp = at.isoformat()
        record = {
            **template,
            "Id": qbo_id,
            "DocNumber": number,
            "MetaData": {"CreateTime": stamp, "LastUpdatedTime": stamp},
        }
        self.rigs[connection].qbo.load(realm=self.rigs[connection].bookkeeper.realm, Bill=[record])

    def read_last_at(self, connection: str, at: datetime) -> None:
        """Set the clock of reading back: nothing after `at` was ever asked for."""
        with self.rigs[connection].engine.begin() as db:
            mine = reading_cursor.c.connection == connection
            db.execute(update(reading_cursor).where(mine).values(read_to=at))

    def costs(self, connection: str, number: str) -> list[dict[str, Any]]:
        """The live direct costs of a connection's company with a bill's number."""
        realm = self.rigs[connection].bookkeeper.realm
        return [
            cost
            for cost in self.rigs[connection].direct_costs()
            if cost["origin_id"].startswith(f"qbo:{realm}:") and cost["invoice_number"] == number
        ]


def paths(connection: str, groups: Sequence[str]) -> list[list[str]]:
    """The asset keys of a connection's groups."""
    return [[connection, group, name] for group in groups for name in GROUPS[group]]


def _ran(record: dg.RunRecord) -> Ran:
    run = record.dagster_run
    selection = sorted(run.asset_selection or [])
    connection = run.job_name.split("__")[0] or (selection[0].path[0] if selection else "")
    return Ran(
        run.run_id,
        connection,
        run.job_name,
        run.status.value,
        math.inf if record.start_time is None else record.start_time,
        math.inf if record.end_time is None else record.end_time,
        run.tags,
    )


@contextmanager
def open_installation(folder: Path) -> Iterator[Installation]:
    """An installation with everything started; all of it is gone at the end."""
    with embedded_site(Home(folder / "home"), throw_away=True) as site, site.engine() as engine:
        prepare(site)
        qbo_server = open_qbo(directory=folder / "sandbox")
        procore_server = open_server(ProcoreVendor, name="procore", directory=folder / "sandbox")
        for server in (qbo_server, procore_server):
            server.start()
        services = Services(site)
        try:
            rigs = {name: Rig(site.home, engine, qbo_server, procore_server, name=name) for name in ZONES}
            _connect(rigs)
            installation = Installation(site, services, rigs, secrets.token_urlsafe(24))
            _open_receiver(installation)
            installation.start()
            yield installation
        finally:
            services.stop()
            for server in (qbo_server, procore_server):
                server.stop()


def _connect(rigs: Mapping[str, Rig]) -> None:
    """Both firms, read once, with nothing left to do."""
    here, there = rigs[NEW_YORK], rigs[TOKYO]
    facts = {
        "limits": {
            "qbo_per_minute": 100_000,
            "procore_per_hour": 1_000_000,
            "procore_per_ten_seconds": 100_000,
        }
    }
    timing = {"settle": 3, "overlap": 60, "catalog_age": 900}
    for name, realm, company, cron in (
        (NEW_YORK, REALM, COMPANY, HOURLY),
        (TOKYO, OTHER_REALM, OTHER_COMPANY, EVERY_MINUTE),
    ):
        start = datetime.now(ZoneInfo(ZONES[name])).date() - timedelta(days=DAYS)
        zone = {"time_zone": ZONES[name], "start_date": start.isoformat(), "poll_cron": cron}
        add_connection(here, name, realm, company, **zone, timing=timing, **facts)
    firm(here.qbo, here.procore)
    lists = {
        kind: here.qbo.live(kind)
        for kind in ("CompanyInfo", "Account", "Item", "Class", "Customer", "Vendor")
    }
    apps = [
        {
            "client_id": f"{who}-client",
            "client_secret": f"{who}-secret",
            "refresh_token": f"RT1-{who}",
            "realms": realms,
        }
        for who, realms in (("other", [OTHER_REALM]), ("person", [REALM, OTHER_REALM]))
    ]
    here.qbo.load(realm=OTHER_REALM, **lists, App=apps)
    project = {"id": int(SHINJUKU), "company_id": OTHER_COMPANY, "name": "Shinjuku Tower", "active": True}
    here.procore.load(
        companies=[{"id": OTHER_COMPANY, "name": "Acme Nippon", "is_active": True}],
        projects=[{**project, "budget_codes": CODES}],
    )
    secret = Credentials("other-client", "other-secret", refresh_token="RT1-other")
    vault_of(there.home, there.engine).put(TOKYO, "qbo", secret)
    there.bookkeeper = Bookkeeper(there.qbo_server.url, realm=OTHER_REALM)
    here.publish(mapping=MAPPING, projects=PROJECTS)
    there.publish(mapping=MAPPING, projects=f"customer,project,note\n61,{SHINJUKU},Shinjuku Tower\n")
    for name, rig in rigs.items():
        today = datetime.now(ZoneInfo(ZONES[name])).date()
        rig.read([today])
        rig.settle()


def _open_receiver(installation: Installation) -> None:
    folder = installation.site.home.receiver
    token = folder / "verifier_token"
    token.touch(mode=0o600)
    token.write_text(installation.verifier_token)
    write_realms(installation.site.home, [rig.connection for rig in installation.rigs.values()])


def _page(asked: str | urllib.request.Request) -> str:
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return f"{answer.headers}{answer.read().decode(errors='replace')}"
    except HTTPError as error:
        return f"{error.headers}{error.read().decode(errors='replace')}"


RUN_PAGE = """
query Page($run: ID!) {
  instance { info }
  runOrError(runId: $run) {
    ... on Run {
      runConfigYaml
      tags { key value }
      eventConnection {
        events {
          __typename
          ... on MessageEvent { message }
          ... on ExecutionStepFailureEvent {
            error { message stack errorChain { error { message stack } } }
            failureMetadata { description }
          }
          ... on RunFailureEvent { error { message stack } }
        }
      }
    }
  }
}"""
REPOSITORY = {"repositoryLocationName": "ml_connector", "repositoryName": "__repository__"}
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
    ... on PresetNotFoundError { message }
    ... on ConflictingExecutionParamsError { message }
    ... on PipelineNotFoundError { message }
  }
}"""
BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on PartitionSetNotFoundError { message }
  }
}"""
BACKFILL_STATUS = """
query Status($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill { status }
  }
}"""
STATUSES = """
query Statuses($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode { assetPartitionStatuses { ... on TimePartitionStatuses { ranges { startKey endKey status } } } }
  }
}"""
