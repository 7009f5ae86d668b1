"""`ml-connector demo`: the whole sync on the sandbox, through Dagster, with a bookkeeper who works while it runs."""

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status
from sqlalchemy import Engine

from ml_connector.cli.demo_firm import (
    NAME,
    Sandbox,
    bookkeeper_token,
    load_firm,
    make_connection,
    open_webhooks,
)
from ml_connector.cli.demo_verdict import Verdict, judge, posted_at
from ml_connector.cli.output import show, table
from ml_connector.cli.services import Services, free_port, only_one, start_dagster, start_receiver
from ml_connector.cli.site import dagster_instance, embedded_site, prepare, undisturbed
from ml_connector.errors import SetupError
from ml_connector.reading import inbox
from ml_connector.sandbox.demo import bookkeeper
from ml_connector.sandbox.demo.bookkeeper import Entered
from ml_connector.sandbox.demo.firm import DemoFirm, demo, this_day
from ml_connector.settings import Home
from ml_connector.store import overview, windows

UI_PORT = 3000
PACE_SECONDS = 1.0
PATIENCE_SECONDS = 420.0
QUIET_SECONDS = 4.0


@dataclass(frozen=True)
class Shown:
    """What the demo has to tell at its end."""

    verdict: Verdict
    calls: dict[str, int]
    runs: list[dict[str, str]]
    latencies: list[float]
    seconds: float
    url: str

    @property
    def good(self) -> bool:
        """Whether everything came out as the demo data state it."""
        return self.verdict.good and all(run["status"] == "SUCCESS" for run in self.runs)

    def document(self) -> dict[str, Any]:
        """The one JSON document of `--json`; money as text with two decimals."""
        return {
            "records": {kind: dict(states) for kind, states in sorted(self.verdict.records.items())},
            "held_by_reason": dict(self.verdict.held_by_reason.most_common()),
            "money": _as_text(self.verdict.money),
            "payments": _as_text(self.verdict.payments),
            "calls": self.calls,
            "runs": self.runs,
            "seconds_from_saved_to_posted": _spread(self.latencies),
            "seconds": round(self.seconds, 1),
            "wrong": self.verdict.wrong,
            "dagster_url": self.url,
        }


def _as_text(money: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: f"{amount:.2f}" for name, amount in money.items()}


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "p50": round(ordered[len(ordered) // 2], 1),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 1),
    }


def run_demo(*, once: bool, as_json: bool, home: Path | None, port: int) -> int:
    """Run the demo; returns the exit code: 0 only when everything came out as stated.

    Unless `once`, stays up until Ctrl-C. Everything that was started is stopped, and a home of its own is removed.
    """
    console = Console(stderr=True)
    began = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with (
            _place(home) as place,
            embedded_site(place, throw_away=home is None) as site,
            only_one(site),
        ):
            services = Services(site)
            try:
                shown = _show(services, console, port, began)
                show(shown.document(), as_json=as_json, human=partial(_print, shown))
                sys.stdout.flush()
                if not once:
                    _stay(services, console, shown.url)
                return 0 if shown.good else 1
            finally:
                console.print("stopping …")
                with undisturbed():
                    services.stop()
    except KeyboardInterrupt:
        return 130


@contextmanager
def _place(home: Path | None) -> Iterator[Home]:
    """The demo's own home. Raises SetupError for the folder of an installation with other connections."""
    if home is not None:
        place = Home(home.expanduser().absolute())
        others = {entry.name for entry in place.connections.glob("*")} - {NAME}
        if others:
            raise SetupError(
                f"{place.root} has the connections {', '.join(sorted(others))}: give an empty folder"
            )
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="ml-connector-demo-", ignore_cleanup_errors=True) as folder:
        yield Home(Path(folder))


def _stay(services: Services, console: Console, url: str) -> None:
    console.print(f"The Dagster UI is at [bold]{url}[/bold]. Ctrl-C stops everything.")
    while not services.dead():
        time.sleep(1.0)
    names = ", ".join(service.name for service in services.dead())
    raise SetupError(f"{names} ended by itself; the log is in {services.logs}")


def _show(services: Services, console: Console, port: int, began: float) -> Shown:
    site = services.site
    firm = demo(this_day())
    console.print("database …")
    prepare(site)
    console.print("sandbox: QuickBooks and Procore …")
    sandbox = _start_sandbox(services)
    load_firm(sandbox, firm)
    token = open_webhooks(site, make_connection(site, sandbox, firm))
    console.print("receiver, Dagster …")
    target = start_receiver(services, free_port())
    sandbox.control(
        "qbo",
        "POST",
        "webhooks",
        {"target": target, "verifier_token": token, "batch_seconds": 1.0, "duplicates": 1},
    )
    url = start_dagster(services, free_port(port))
    console.print(f"Dagster UI: {url}")
    entered, by_hand = _work(services, sandbox, firm, console)
    with site.engine() as engine:
        verdict = judge(engine, sandbox, firm)
        posted = posted_at(engine)
    latencies = [
        (posted[entry.id] - entry.at).total_seconds()
        for entry in entered.values()
        if entry.entity == "Bill" and entry.id in posted
    ]
    return Shown(
        verdict,
        {"qbo": sandbox.api_calls("qbo") - by_hand, "procore": sandbox.api_calls("procore")},
        _runs(),
        latencies,
        time.monotonic() - began,
        url,
    )


def _start_sandbox(services: Services) -> Sandbox:
    ports = {"qbo": free_port(), "procore": free_port()}
    made = Sandbox(f"http://127.0.0.1:{ports['qbo']}", f"http://127.0.0.1:{ports['procore']}")
    log = services.logs / "sandbox.log"
    services.start(
        "sandbox",
        [
            sys.executable, "-m", "ml_connector.sandbox.main",
            "--qbo-port", str(ports["qbo"]), "--procore-port", str(ports["procore"]),
            "--journal", str(services.site.home.root / "sandbox"), "--seed", "demo",
        ],
        ready=lambda: '"procore"' in log.read_text(encoding="utf-8"),
    )  # fmt: skip
    return made


def _work(
    services: Services, sandbox: Sandbox, firm: DemoFirm, console: Console
) -> tuple[dict[str, Entered], int]:
    """The bookkeeper enters and pays while the connector works, and takes some of it back once it is posted.

    Returns what was entered, and the number of the bookkeeper's calls.
    """
    header = bookkeeper_token(sandbox)
    entered: dict[str, Entered] = {}
    calls: list[int] = []

    def enter() -> None:
        entered.update(
            bookkeeper.enter(sandbox.qbo, authorization=lambda: header, demo=firm, pace=PACE_SECONDS)
        )
        calls.append(len(entered))

    def correct() -> None:
        calls.append(
            bookkeeper.correct(sandbox.qbo, authorization=lambda: header, demo=firm, entered=entered)
        )

    with services.site.engine() as engine:
        saying = console.status("the bookkeeper enters, Dagster takes it up …")
        if _until_quiet(services, engine, firm, enter, saying):
            _until_quiet(services, engine, firm, correct, console.status("the bookkeeper corrects …"))
    return entered, sum(calls)


def _until_quiet(
    services: Services, engine: Engine, firm: DemoFirm, act: Callable[[], None], waiting: Status
) -> bool:
    """Let the bookkeeper act, and wait until nothing of it is left to do; False when that takes too long."""
    trouble: list[Exception] = []

    def acting() -> None:
        try:
            act()
        except (bookkeeper.EntryRefused, OSError) as error:
            trouble.append(error)

    desk = threading.Thread(target=acting, daemon=True)
    desk.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    quiet_since: float | None = None
    with waiting as status:
        while time.monotonic() < deadline:
            if services.dead():
                dead = services.dead()[0]
                raise SetupError(f"{dead.name} ended by itself:\n{dead.tail()}")
            if trouble:
                raise trouble[0]
            with engine.connect() as db:
                tallies = overview.tally(db, NAME)
                left = len(windows.dirty(db, NAME))
            files = len(inbox.waiting(services.site.home, NAME))
            counted = sum(tally.count for (entity, _), tally in tallies.items() if entity != "Vendor")
            posted = sum((tally.posted for tally in tallies.values()), start=0)
            status.update(
                f"{counted} of {len(firm.expectations)} records known, {posted:,.2f} posted, "
                f"{left} days to do, {files} webhook files waiting"
            )
            idle = not desk.is_alive() and not left and not files and counted >= len(firm.expectations)
            if not idle or _active_runs():
                quiet_since = None
            else:
                quiet_since = quiet_since or time.monotonic()
                if time.monotonic() - quiet_since > QUIET_SECONDS:
                    return True
            time.sleep(0.5)
    return False


def _active_runs() -> bool:
    import dagster as dg

    from ml_connector.orchestration.sensors import IN_FLIGHT

    with dagster_instance() as instance:
        return bool(instance.get_run_records(dg.RunsFilter(statuses=IN_FLIGHT), limit=1))


def _runs() -> list[dict[str, str]]:
    with dagster_instance() as instance:
        return [
            {"id": record.dagster_run.run_id, "status": record.dagster_run.status.value}
            for record in reversed(instance.get_run_records())
        ]


def _print(shown: Shown, console: Console) -> None:
    rows: list[tuple[object, ...]] = [
        (kind, state, number)
        for kind, states in sorted(shown.verdict.records.items())
        for state, number in sorted(states.items())
    ]
    rows += [("", f"held: {reason}", count) for reason, count in shown.verdict.held_by_reason.most_common()]
    console.print(
        table("What became of the firm's records", ["kind", "state", "records"], rows, numbers=["records"])
    )
    for title, money in (
        ("Money of bills and vendor credits", shown.verdict.money),
        ("Money of bill payments: cash, and the credits used", shown.verdict.payments),
    ):
        names = [name.replace("_", " ") for name in money]
        console.print(table(title, names, [tuple(money.values())], numbers=names))
    spread = _spread(shown.latencies)
    ended = [run["status"] for run in shown.runs]
    console.print(
        f"Calls: {shown.calls['qbo']} to QuickBooks, {shown.calls['procore']} to Procore. "
        f"Runs: {len(ended)}, {ended.count('SUCCESS')} succeeded. "
        f"From bill saved to posted: p50 {spread.get('p50', 0)} s, p95 {spread.get('p95', 0)} s. "
        f"The table stood after {shown.seconds:.0f} s."
    )
    for fault in shown.verdict.wrong[:20]:
        console.print(f"not as stated: {fault}", style="red")
    console.print(f"Look at the lineage, the runs and the days: {shown.url}", style="bold")
