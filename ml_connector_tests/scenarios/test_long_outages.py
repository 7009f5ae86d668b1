"""F16, F17: a vendor is away for three days while people work on; nothing is lost, and only the newest is sent."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from ml_connector.errors import TransientError, VendorAway
from ml_connector.orchestration.clients import vault_of
from ml_connector.reading.windows import Mode
from ml_connector.store import windows
from ml_connector.store.tables import landing
from ml_connector.store.vault import State
from ml_connector.watching.causes import causes
from ml_connector_tests.reading.desk import live_bills, raw_bill, reader
from ml_connector_tests.rig import REALM, Rig, line
from ml_connector_tests.scenarios.test_outages import outages, waits_pass

AWAY = {"fault": "status", "args": {"status": 503}}
THREE_DAYS = timedelta(hours=72)
BILLS, VERSIONS = 300, 3
HOURS = 24


def test_F16_quickbooks_is_away_for_three_days_and_everything_of_them_is_brought_by_one_poll(
    rig: Rig, measured: Callable[[str], None]
) -> None:
    gone = datetime.now(UTC) - THREE_DAYS
    rig.qbo.clock(frozen=gone.isoformat())
    rig.qbo.load(Bill=[raw_bill(number, total=f"{number}00.00") for number in range(1, 4)])
    reader(rig, clock=lambda: gone).read([gone.date()])
    rig.settle()
    rig.qbo.clock(offset_seconds=0)
    rig.qbo.fault({"route": "GET /v3/*", **AWAY}, {"route": "POST /oauth2/*", **AWAY})
    rig.configure(timing={"patience": 0})
    told: set[str] = set()
    for hour in range(1, 1 + HOURS):
        rig.qbo.load(Bill=[raw_bill(100 + hour, at=(gone + THREE_DAYS / HOURS * hour).isoformat())])
        waits_pass(rig, minute=True)
        with pytest.raises((TransientError, VendorAway)):
            rig.read()
        if outages(rig):
            with rig.engine.connect() as db:
                later = datetime.now(UTC) + timedelta(hours=1)
                told |= {cause.key for cause in causes(db, rig.connection, now=later)}
    assert told == {"away:qbo"}, "one trouble, however often it is met"
    assert vault_of(rig.home, rig.engine).get(rig.name, "qbo")[1] is State.CONNECTED
    rig.qbo.no_faults()
    rig.configure(timing={"patience": 20})
    rig.bookkeeper.edit("Bill", {"Id": "1"}, Line=[line(150, item="101")])
    rig.bookkeeper.delete("Bill", {"Id": "2"})
    waits_pass(rig, minute=True)
    began, mark = time.monotonic(), rig.qbo.mark()
    reading = rig.read()
    rig.settle()
    drained = time.monotonic() - began
    assert reading.mode is Mode.CDC
    answered = [entry["path"] for entry in rig.qbo.journal(mark) if entry["status"] == 200]
    assert len([path for path in answered if path.endswith("/cdc")]) == 1
    expected = {"1", "3", *(str(100 + hour) for hour in range(1, 1 + HOURS))}
    lost = expected - live_bills(rig)
    assert (lost, live_bills(rig) - expected) == (set(), set())
    assert rig.cost_of("1")["grand_total"] == "150.00"
    assert rig.record("Bill", "2").state == "reversed"
    assert outages(rig) == []
    measured(
        f"F16 QuickBooks away for 3 days, 26 changes: {len(lost)} lost, {len(told)} alarm, drained in {drained:.1f} s"
    )


def test_F17_procore_is_away_for_three_days_and_only_the_newest_versions_are_sent(
    rig: Rig, measured: Callable[[str], None]
) -> None:
    gone = datetime.now(UTC) - THREE_DAYS
    _read_at(rig, gone)
    rig.settle()
    rig.procore.fault({"route": "* /rest/*", **AWAY})
    mark = rig.procore.mark()
    for version in range(VERSIONS):
        at = gone + timedelta(hours=24 * version + 1)
        rig.qbo.load(realm=REALM, Bill=[_bill(number, version, at.isoformat()) for number in range(BILLS)])
        rig.configure(timing={"patience": 20})
        _read_at(rig, at)
        rig.configure(timing={"patience": 0})
        for _ in range(4):
            waits_pass(rig, minute=True)
            with suppress(TransientError, VendorAway):
                rig.post(rig.dirty())
    asked = len(rig.procore.calls(mark))
    with rig.engine.connect() as db:
        queue = db.scalar(select(func.count()).select_from(landing).where(landing.c.entity == "Bill")) or 0
        waiting = len(windows.dirty(db, rig.name))
    assert (queue, rig.direct_costs(counting=False)) == (BILLS * VERSIONS, [])
    assert asked <= 3 + 4 * VERSIONS, "a probe, and no storm"
    rig.procore.no_faults()
    rig.configure(timing={"patience": 20})
    rig.qbo.clock(offset_seconds=0)
    waits_pass(rig, minute=True)
    began, mark = time.monotonic(), rig.procore.mark()
    for _ in range(3):
        rig.settle()
        waits_pass(rig, minute=True)
    drained = time.monotonic() - began
    assert {cost["grand_total"] for cost in rig.direct_costs(counting=False)} == {f"{10 + VERSIONS - 1}.00"}
    assert len(rig.direct_costs()) == BILLS
    assert [rig.story("Bill", str(number)).count("posted") for number in (5000, 5000 + BILLS - 1)] == [1, 1]
    calls = len(rig.procore.calls(mark))
    assert calls <= 40
    measured(
        f"F17 Procore away for 3 days, {BILLS * VERSIONS} changes of {BILLS} bills: queue {queue} versions in {waiting} "
        f"days, {asked} calls meanwhile, then drained by {calls} calls in {drained:.1f} s"
    )


def _read_at(rig: Rig, at: datetime) -> None:
    rig.qbo.clock(frozen=at.isoformat())
    reader(rig, clock=lambda: at).read([at.date()])


def _bill(number: int, version: int, at: str) -> dict[str, Any]:
    amount = f"{10 + version}.00"
    lines = [{"Id": "1", **line(amount, item="101")}]
    return raw_bill(5000 + number, at=at, total=amount, SyncToken=str(version), Line=lines)
