"""The firm of `ml-connector demo`, its last three weeks, behind a real daemon and web server; Procore refuses one bill."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from ml_connector.cli.demo_firm import (
    NAME,
    Sandbox,
    bookkeeper_token,
    load_firm,
    make_connection,
    open_webhooks,
)
from ml_connector.cli.services import Services
from ml_connector.cli.site import embedded_site, prepare
from ml_connector.sandbox.assembly import open_qbo, open_server
from ml_connector.sandbox.demo import bookkeeper
from ml_connector.sandbox.demo.firm import DemoFirm, demo
from ml_connector.sandbox.procore.vendor import ProcoreVendor
from ml_connector.sandbox.records import Document
from ml_connector.settings import Home
from ml_connector_tests.orchestration.live.installation import Installation, until
from ml_connector_tests.rig import Bookkeeper, Rig

DAYS = 21
AT_MIDNIGHT = "0 0 * * *"  # never while it is noon: the walk itself starts what reads, sensors start the rest
REFUSAL = "Invoice number has already been taken by another direct cost of this vendor"


@dataclass(frozen=True)
class Refused:
    """The bill that Procore refuses, and its day of change."""

    bill: Document
    day: date
    today: date


@contextmanager
def open_shown_firm(folder: Path) -> Iterator[tuple[Installation, Refused]]:
    """The firm with its days read and posted by Dagster, one day red; all of it is gone at the end."""
    firm = _lately(_at_noon())
    with embedded_site(Home(folder / "home"), throw_away=True) as site, site.engine() as engine:
        prepare(site)
        qbo = open_qbo(directory=folder / "sandbox", seed="demo")
        procore = open_server(ProcoreVendor, name="procore", directory=folder / "sandbox", seed="demo")
        for server in (qbo, procore):
            server.start()
        services = Services(site)
        try:
            sandbox = Sandbox(qbo.url, procore.url)
            load_firm(sandbox, firm)
            header = bookkeeper_token(sandbox)
            bookkeeper.enter(sandbox.qbo, authorization=lambda: header, demo=firm, pace=0)
            token = open_webhooks(site, make_connection(site, sandbox, firm))
            _poll_at_midnight(site.home)
            rig = Rig(site.home, engine, qbo, procore, name=NAME)
            rig.bookkeeper = Bookkeeper(qbo.url, realm=firm.realm)
            installation = Installation(site, services, {NAME: rig}, token)
            refused = _refuse_one(firm, rig)
            installation.start()
            installation.materialize(NAME, firm.today)
            until(
                "the first load",
                lambda: (
                    installation.colour(NAME, "procore/direct_costs", refused.day) == "FAILED"
                    and not rig.dirty()
                ),
            )
            yield installation, refused
        finally:
            services.stop()
            for server in (qbo, procore):
                server.stop()


def _at_noon() -> DemoFirm:
    """The firm in a zone where it is about noon, so that no midnight passes between two steps of a walk."""
    hours = 12 - datetime.now(UTC).hour
    zone = f"Etc/GMT{-hours:+d}"  # the signs of these names are turned round
    return replace(demo(datetime.now(ZoneInfo(zone)).date()), time_zone=zone)


def _lately(firm: DemoFirm) -> DemoFirm:
    """The firm with the bills of these days, old and new, and nobody who pays."""
    start = firm.today - timedelta(days=DAYS - 1)
    bills = [bill for bill in firm.history["Bill"] if bill["TxnDate"] >= start.isoformat()]
    return replace(firm, start_date=start, history={**firm.history, "Bill": bills}, payments=())


def _poll_at_midnight(home: Home) -> None:
    path = home.folder(NAME) / "connection.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "poll_cron": AT_MIDNIGHT}))


def _refuse_one(firm: DemoFirm, rig: Rig) -> Refused:
    """Procore refuses the newest plain bill that was changed a week ago or earlier."""
    latest = firm.today - timedelta(days=7)
    plain = [
        bill
        for bill in firm.history["Bill"]
        if firm.expectations[bill["Id"]].scenario == "S01" and _day(bill, firm) <= latest
    ]
    bill = plain[-1]
    args = {"field": "invoice_number", "value": bill["DocNumber"], "says": REFUSAL}
    rig.procore.fault({"route": "PATCH /rest/*direct_costs/sync*", "fault": "item_fault", "args": args})
    return Refused(bill, _day(bill, firm), firm.today)


def _day(bill: Document, firm: DemoFirm) -> date:
    changed = datetime.fromisoformat(bill["MetaData"]["LastUpdatedTime"])
    return changed.astimezone(ZoneInfo(firm.time_zone)).date()
