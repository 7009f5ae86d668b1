"""Subject `latency`: from the receiver's 200 to the record in Procore, beside an empty asset on the same daemon.

Receiver, code servers and daemon are those of an installation. The two are taken in turns, never at once.
"""

import base64
import hashlib
import hmac
import json
import random
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import dagster as dg
import requests

from benchmarks import empty_location, firm
from benchmarks.calls import everything
from benchmarks.ground import VERIFIER_TOKEN, Ground, open_ground
from benchmarks.report import Figure, Report, middle
from ml_connector.cli.services import free_port, start_receiver
from ml_connector.cli.site import dagster_instance
from ml_connector.orchestration import names
from ml_connector.orchestration.sensors import EVERY_SECONDS, IN_FLIGHT

PATIENCE = 180.0  # seconds for one event
NEVER = "0 0 1 1 *"  # the poll's cron: only webhooks start runs here
FIRST_BILL = 500_000


@dataclass(frozen=True)
class Timed:
    """One event, in seconds since the epoch: received, its run asked for and begun, done."""

    received: float
    asked: float
    begun: float
    done: float

    @property
    def whole(self) -> float:
        """Seconds from received to done."""
        return self.done - self.received

    @property
    def parts(self) -> dict[str, float]:
        """The seconds of `whole` one after the other."""
        return {
            "until a run is asked for": self.asked - self.received,
            "until its process begins": self.begun - self.asked,
            "until it is done": self.done - self.begun,
        }


def measure(events: int) -> Report:
    """p50 and p95 of both, in seconds; `events` of each, plus one of each to warm up."""
    with open_ground(poll_cron=NEVER) as ground:
        everything(ground)
        inbox = start_receiver(ground.services, free_port())
        folder = ground.site.home.root / "empty"
        folder.mkdir()
        _start_dagster(ground, folder)
        ours: list[Timed] = []
        bare: list[Timed] = []
        with dagster_instance() as instance:
            for number in range(events + 1):
                ours.append(_webhook(ground, instance, inbox, FIRST_BILL + number))
                _settle(instance)
                bare.append(_empty_run(instance, folder / f"file-{number}"))
                _settle(instance)
    whole, empty = ([timed.whole for timed in kind[1:]] for kind in (ours, bare))
    figures = [
        Figure(f"{name}, {word}", middle(values, share), "s")
        for name, values in (("webhook to Procore record", whole), ("file to the end of an empty run", empty))
        for word, share in (("p50", 0.5), ("p95", 0.95))
    ]
    for word, share in (("p50", 0.5), ("p95", 0.95)):
        at, base = middle(whole, share), middle(empty, share)
        figures.append(
            Figure(
                f"ours beyond Dagster's own, {word}", at - base, "s", ratio=at / base, ratio_of="an empty run"
            )
        )
    for part in ("until a run is asked for", "until its process begins", "until it is done"):
        at, base = (middle([timed.parts[part] for timed in kind[1:]], 0.5) for kind in (ours, bare))
        figures.append(Figure(f"{part}, p50", at, "s", ratio=at / base, ratio_of="an empty run"))
    notes = [
        f"{events} events each, in turns, with random pauses; both sensors look every {EVERY_SECONDS} s.",
        "Ours: from the receiver's 200 to the call that makes the direct cost count, by the sandbox's journal.",
        "Empty run: from the file to the end of the run, by Dagster's own record.",
    ]
    return Report("latency", "Webhook received to Procore record", figures, notes)


def _start_dagster(ground: Ground, folder: Path) -> None:
    """Both code servers and the daemon."""
    services = ground.services
    locations = []
    environment = {**ground.site.environment(), empty_location.FOLDER_VARIABLE: str(folder)}
    python = [sys.executable, "-W", "ignore"]
    for module in ("ml_connector.definitions", "benchmarks.empty_location"):
        port = free_port()
        services.start(
            module,
            [
                *python, "-m", "dagster", "api", "grpc", "--module-name", module,
                "--host", "127.0.0.1", "--port", str(port), "--location-name", module,
            ],
            ready=partial(_accepts, port),
            environment=environment,
        )  # fmt: skip
        locations.append({"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": module}})
    workspace = ground.site.home.dagster / "workspace.yaml"
    workspace.write_text(json.dumps({"load_from": locations}), encoding="utf-8")
    services.start(
        "daemon", [*python, "-m", "dagster._daemon", "run", "-w", str(workspace)], ready=lambda: True
    )


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _webhook(ground: Ground, instance: dg.DagsterInstance, inbox: str, number: int) -> Timed:
    """From the receiver's 200 for a new bill to its direct cost in Procore."""
    ground.load_bills(firm.bills(1, first=number, lines=1))
    mark = ground.entries("procore")
    time.sleep(random.uniform(0, EVERY_SECONDS))
    body = json.dumps(_notification(str(number))).encode()
    signature = base64.b64encode(hmac.digest(VERIFIER_TOKEN.encode(), body, hashlib.sha256)).decode()
    headers = {"intuit-signature": signature, "Content-Type": "application/json"}
    requests.post(inbox, data=body, headers=headers, timeout=10).raise_for_status()
    received = time.time()
    there = _await(ground, lambda: _counted_at(ground, mark, number)).timestamp()
    run = _begun_run(instance, dg.RunsFilter(job_name=names.sync_job(firm.NAME)))
    assert run.start_time is not None
    return Timed(received, run.create_timestamp.timestamp(), run.start_time, there)


def _notification(bill: str) -> dict[str, object]:
    entity = {"id": bill, "operation": "Create", "name": "Bill", "lastUpdated": datetime.now(UTC).isoformat()}
    return {"eventNotifications": [{"realmId": firm.REALM, "dataChangeEvent": {"entities": [entity]}}]}


def _counted_at(ground: Ground, mark: int, number: int) -> datetime | None:
    """When the last header call of the bill was answered: the one before it makes a draft, which does not count."""
    origin = f"qbo:{firm.REALM}:bill:{number}:"
    entries = ground.sandbox.control("procore", "GET", f"journal?since={mark}")
    headers = [
        entry["at"]
        for entry in entries
        if entry["path"].endswith("/direct_costs/sync")
        and any(id.startswith(origin) for id in entry["origin_ids"])
    ]
    return datetime.fromisoformat(headers[-1]) if len(headers) >= 2 else None


def _begun_run(instance: dg.DagsterInstance, wanted: dg.RunsFilter) -> dg.RunRecord:
    """The newest run that began: when a second webhook run waits by now, it is not the one that posted."""
    records = instance.get_run_records(wanted, limit=5)
    return next(record for record in records if record.start_time is not None)


def _empty_run(instance: dg.DagsterInstance, file: Path) -> Timed:
    """From a file to the end of the empty run that it starts."""
    time.sleep(random.uniform(0, EVERY_SECONDS))
    file.touch()
    dropped = time.time()
    wanted = dg.RunsFilter(tags={"dagster/run_key": file.name}, statuses=[dg.DagsterRunStatus.SUCCESS])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for record in instance.get_run_records(wanted, limit=1):
            if record.start_time is not None and record.end_time is not None:
                return Timed(dropped, record.create_timestamp.timestamp(), record.start_time, record.end_time)
        time.sleep(0.2)
    raise TimeoutError("the empty run did not come to its end")


def _await(ground: Ground, found: Callable[[], datetime | None]) -> datetime:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        there = found()
        if there is not None:
            return there
        if dead := ground.services.dead():
            raise RuntimeError(f"{dead[0].name} ended by itself:\n{dead[0].tail()}")
        time.sleep(0.2)
    raise TimeoutError(f"the bill did not come to Procore; logs:\n{ground.services.running[-1].tail()}")


def _settle(instance: dg.DagsterInstance) -> None:
    """Wait until no run is under way, so that the next event has the machine to itself."""
    deadline = time.monotonic() + PATIENCE
    while instance.get_run_records(dg.RunsFilter(statuses=IN_FLIGHT), limit=1):
        if time.monotonic() > deadline:
            raise TimeoutError("a run does not end")
        time.sleep(0.2)
