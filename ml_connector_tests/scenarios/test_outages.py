"""F12: a vendor that does not answer is left alone by all runs, and what waited is done by itself when it is back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from ml_connector.errors import TransientError, VendorAway
from ml_connector.store import breaker, windows
from ml_connector.store.breaker import ATTEMPTS, Outage
from ml_connector.store.tables import breaker as breaker_table
from ml_connector.store.tables import dirty_window, ledger
from ml_connector_tests.rig import Rig, line, today

DOWN = {"route": "* /rest/*", "fault": "status", "args": {"status": 503}}
CUSTOMERS = ("61", "62")  # their bills go into two projects: each needs calls of its own
BILLS = [str(number) for number in range(1, 1 + 2 * len(CUSTOMERS))]


def outages(rig: Rig) -> list[Outage]:
    with rig.engine.connect() as db:
        return list(breaker.outages(db, "acme"))


def waits_pass(rig: Rig, *, minute: bool = False) -> None:
    """Windows and unclear writes have waited long enough; with `minute` the vendor may be asked again, too."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    with rig.engine.begin() as db:
        db.execute(update(dirty_window).values(not_before=None))
        db.execute(update(ledger).where(ledger.c.not_before.is_not(None)).values(not_before=past))
        if minute:
            asked = breaker_table.c.open_until.is_not(None)
            db.execute(update(breaker_table).where(asked).values(open_until=past))


def two_bills(rig: Rig, name: str) -> None:
    for number, customer in enumerate(CUSTOMERS):
        rig.bookkeeper.bill(f"{name}-{number}", [line(100, item="101", customer=customer)])
    rig.read()


@pytest.fixture
def outage(rig: Rig) -> int:
    """Procore has answered 503 until nothing was sent any more; how many calls that took."""
    rig.configure(timing={"patience": 0, "settle": 0})
    rig.sync()
    two_bills(rig, "before")
    rig.settle()
    two_bills(rig, "during")
    rig.procore.fault(DOWN)
    mark = rig.procore.mark()
    for _ in range(ATTEMPTS):
        if not outages(rig):
            waits_pass(rig)
            try:
                rig.settle()
            except (TransientError, VendorAway):
                continue
    assert outages(rig)
    return len(rig.procore.calls(mark))


def test_F12_after_five_calls_without_an_answer_nothing_is_sent_and_days_wait_instead_of_records(
    rig: Rig, outage: int
) -> None:
    assert outage == ATTEMPTS
    (known,) = outages(rig)
    assert (known.system, known.reason) == ("procore", "HTTP 503")
    waits_pass(rig)
    mark = rig.procore.mark()
    stories = [rig.story("Bill", bill) for bill in BILLS]
    with pytest.raises(VendorAway):
        rig.post()
    assert rig.procore.calls(mark) == []
    assert [rig.story("Bill", bill) for bill in BILLS] == stories, "no record tells of the outage"
    with rig.engine.connect() as db:
        (window,) = windows.dirty(db, "acme")
    assert window.day == today()
    assert window.not_before is not None
    assert abs(window.not_before - known.asked_again_at) < timedelta(seconds=5)
    back(rig)


def test_F12_once_a_minute_one_call_without_consequences_finds_out(
    rig: Rig, outage: int, measured: Callable[[str], None]
) -> None:
    mark = rig.procore.mark()
    for minute in range(1, 4):
        waits_pass(rig, minute=True)
        for _ in range(3):
            with pytest.raises((TransientError, VendorAway)):
                rig.post()
        assert rig.procore.calls(mark) == ["GET /rest/v1.0/me"] * minute
    measured(f"F12: {outage} calls until it was left alone, then 1 a minute from 3 runs")
    back(rig)


def test_F12_one_record_that_is_refused_again_and_again_is_no_outage(rig: Rig) -> None:
    rig.sync()
    refused = {"route": "PATCH */direct_costs/sync", "fault": "status", "args": {"status": 422}}
    rig.procore.fault(refused)
    two_bills(rig, "refused")
    for _ in range(3):
        rig.post(automatic=False)
    assert outages(rig) == []
    rig.procore.no_faults()
    rig.post(automatic=False)
    assert len(rig.direct_costs()) == len(CUSTOMERS)


def test_F12_quickbooks_goes_on_being_read_while_procore_is_away(rig: Rig, outage: int) -> None:
    bill = rig.bookkeeper.bill("read meanwhile", [line(5, item="101")])
    rig.read()
    back(rig)
    assert rig.cost_of(bill["Id"])["grand_total"] == "5.00"


def back(rig: Rig) -> None:
    """Procore answers again: the next run asks once, and everything that waited is done."""
    rig.procore.no_faults()
    waits_pass(rig, minute=True)
    rig.settle()
    assert outages(rig) == []
    for _ in range(3):
        waits_pass(rig)
        rig.settle()
    assert {rig.record("Bill", bill).state for bill in BILLS} == {"posted"}
