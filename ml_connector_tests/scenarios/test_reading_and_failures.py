"""Group H of the scenario bank, the reading half: hints, polls, floods, outages; and what QBO changes by itself."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ml_connector.orchestration.clients import qbo_client
from ml_connector.qbo.models import Entity
from ml_connector.qbo.webhooks import parse_notification
from ml_connector.reading.inbox import waiting
from ml_connector.reading.windows import Mode
from ml_connector.receiver.inbox import Inbox, part_of
from ml_connector_tests.reading.desk import (
    Interrupted,
    live_bills,
    patient_client,
    raw_bill,
    read_to,
    reader,
    versions,
)
from ml_connector_tests.rig import REALM, Rig, line, today

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
CDC = f"GET /v3/company/{REALM}/cdc"


def cloud_events(*ids: str, verb: str = "created") -> bytes:
    """A webhook body in the form in force."""
    return json.dumps(
        [
            {
                "specversion": "1.0",
                "id": f"event-{qbo_id}-{verb}",
                "source": "intuit.x",
                "type": f"qbo.bill.{verb}.v1",
                "time": "2026-11-22T08:00:00.000000000Z",
                "intuitentityid": qbo_id,
                "intuitaccountid": REALM,
                "data": {},
            }
            for qbo_id in ids
        ]
    ).encode()


def legacy(*ids: str, operation: str = "Create") -> bytes:
    """The same in the old form."""
    entities = [
        {"name": "Bill", "id": qbo_id, "operation": operation, "lastUpdated": "2026-11-22T08:00:00Z"}
        for qbo_id in ids
    ]
    return json.dumps(
        {"eventNotifications": [{"realmId": REALM, "dataChangeEvent": {"entities": entities}}]}
    ).encode()


def receive(rig: Rig, body: bytes, *, at: datetime = AT) -> bool:
    """What the receiver does with a genuine post; False when it knew the content."""
    (realm,) = parse_notification(body)
    return Inbox(rig.home.root).add(part_of("acme", realm), at=at)


# -- hints ------------------------------------------------------------------------------------------------------


def test_S92_the_same_webhook_five_times_is_one_read_and_one_record(rig: Rig) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    stored: list[bool] = []

    def deliver(number: int) -> None:
        stored.append(receive(rig, cloud_events(bill["Id"]), at=AT + timedelta(seconds=number)))

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(stored) == [False, False, False, False, True]
    mark = rig.qbo.mark()
    assert rig.read().files == 1
    assert rig.qbo.calls(mark) == [CDC]
    assert receive(rig, cloud_events(bill["Id"]), at=AT + timedelta(hours=1)) is False, "it was done already"
    rig.settle()
    assert len(rig.direct_costs()) == 1
    assert len(versions(rig, bill["Id"])) == 1


def test_S93_webhooks_out_of_order_lead_to_the_newest_version_once(rig: Rig) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(100, item="101")])
    for amount in (200, 300):
        rig.bookkeeper.edit("Bill", bill, Line=[line(amount, item="101")])
    for verb, second in (("updated", 1), ("created", 2)):
        receive(rig, cloud_events(bill["Id"], verb=verb), at=AT + timedelta(seconds=second))
        rig.sync()
    (cost,) = rig.direct_costs()
    assert cost["grand_total"] == "300.00"
    assert [row.sync_token for row in versions(rig, bill["Id"])] == [2], "the versions before were never seen"
    assert rig.story("Bill", bill["Id"]).count("posted") == 1


@pytest.mark.parametrize(
    "arrival",
    [
        lambda rig, qbo_id: receive(rig, cloud_events(qbo_id)),
        lambda rig, qbo_id: receive(rig, legacy(qbo_id)),
        lambda rig, qbo_id: (rig.home.inbox / "acme__20990101T000000Z__ffffffffffffffff.json").write_text(
            "?"
        ),
    ],
    ids=["CloudEvents", "the old form", "a file that nobody can read"],
)
def test_S95_any_hint_leads_to_the_same_read(rig: Rig, arrival: Callable[[Rig, str], object]) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    arrival(rig, bill["Id"])
    mark = rig.qbo.mark()
    assert rig.read().files == 1
    assert rig.qbo.calls(mark) == [CDC]
    assert waiting(rig.home, "acme") == []
    rig.settle()
    assert rig.cost_of(bill["Id"])["grand_total"] == "1250.00"


def test_S95_both_forms_of_one_notification_are_one_file(rig: Rig) -> None:
    assert receive(rig, cloud_events("1", "2"))
    assert not receive(rig, legacy("2", "1"), at=AT + timedelta(seconds=9))
    assert len(waiting(rig.home, "acme")) == 1


def test_a_hint_that_comes_while_QBO_is_asked_is_left_for_the_next_run(rig: Rig) -> None:
    receive(rig, cloud_events("1"))
    late = Interrupted(
        qbo_client(rig.home, rig.connection, rig.engine), {1: lambda: receive(rig, cloud_events("2"))}
    )
    assert reader(rig, client=late).read([today()]).files == 1
    assert len(waiting(rig.home, "acme")) == 1
    rig.settle()


def test_S96_bills_without_any_webhook_are_found_by_the_next_poll(rig: Rig) -> None:
    rig.sync()
    bills = [rig.bookkeeper.bill(f"S96-{number}", [line(10, item="101")]) for number in range(10)]
    reading = rig.read()
    assert (reading.mode, reading.files) == (Mode.CDC, 0)
    rig.settle()
    assert len(rig.direct_costs()) == 10
    assert rig.story("Bill", bills[9]["Id"])[0] == "seen"


# -- floods -----------------------------------------------------------------------------------------------------


def test_S97_more_than_a_thousand_changes_in_one_answer_lose_nothing(rig: Rig) -> None:
    rig.sync()
    rig.qbo.load(Bill=[raw_bill(number) for number in range(1, 1401)])
    mark = rig.qbo.mark()
    reading = rig.read()
    assert (reading.mode, reading.new[Entity.BILL]) == (Mode.WALK, 1400)
    assert live_bills(rig) == {str(number) for number in range(1, 1401)}
    assert len(rig.qbo.calls(mark)) <= 4, "CDC, counts, and two pages"
    assert rig.story("connection", "acme") == ["read", "read"], "the trail says that CDC was not enough"
    mark = rig.qbo.mark()
    assert rig.read().new.total() == 0
    assert len(live_bills(rig)) == 1400


def test_S98_a_bill_edited_while_pages_are_read_hides_no_other(rig: Rig) -> None:
    began = datetime.now(UTC) - timedelta(hours=2)
    rig.qbo.load(
        Bill=[
            raw_bill(number, at=(began + timedelta(seconds=number)).isoformat()) for number in range(1, 3001)
        ]
    )

    def edit() -> None:
        rig.bookkeeper.edit("Bill", {"Id": "7"}, PrivateNote="corrected while page 2 was read")

    client = Interrupted(qbo_client(rig.home, rig.connection, rig.engine), {4: edit})
    reader(rig, client=client).read([today()])
    assert len(live_bills(rig)) == len(rig.qbo.live("Bill")) == 3000
    rig.read()
    assert [row.sync_token for row in versions(rig, "7")][-1] == 1
    assert len(live_bills(rig)) == 3000


@pytest.mark.parametrize("count", [999, 1000, 1001])
def test_F48_an_answer_at_the_edge_of_its_limit_loses_nothing(rig: Rig, count: int) -> None:
    rig.read()
    before = read_to(rig)
    rig.qbo.load(Bill=[raw_bill(number) for number in range(1, count + 1)])
    mark = rig.qbo.mark()
    reading = rig.read()
    assert len(live_bills(rig)) == count
    assert reading.mode is (Mode.CDC if count < 1000 else Mode.WALK)
    assert len(rig.qbo.calls(mark)) <= (1 if count < 1000 else 4)
    after = read_to(rig)
    assert before is not None
    assert after is not None
    assert after > before


def test_F48_five_thousand_changes_in_one_second_with_deletes_among_them(rig: Rig) -> None:
    doomed = [rig.bookkeeper.bill(f"D{number}", [line(5, item="101")]) for number in range(3)]
    rig.read()
    for bill in doomed:
        rig.bookkeeper.delete("Bill", bill)
    at = datetime.now(UTC).replace(microsecond=0).isoformat()
    rig.qbo.load(Bill=[raw_bill(10_000 + number, at=at) for number in range(5000)])
    mark = rig.qbo.mark()
    reading = rig.read()
    assert (reading.new[Entity.BILL], reading.deleted[Entity.BILL]) == (5000, 3)
    assert live_bills(rig) == {str(10_000 + number) for number in range(5000)}
    assert len(rig.qbo.calls(mark)) <= 11


# -- long absences ----------------------------------------------------------------------------------------------


def after_an_absence(rig: Rig, days: int) -> list[dict[str, Any]]:
    """Six bills posted `days` ago; three of them are deleted and one is new since. Returns the deleted ones."""
    then = datetime.now(UTC) - timedelta(days=days)
    rig.qbo.clock(frozen=then.isoformat())
    rig.qbo.load(Bill=[raw_bill(number, total=f"{number}00.00") for number in range(1, 7)])
    reader(rig, clock=lambda: then).read([then.date()])
    rig.settle()
    assert len(rig.direct_costs()) == 6
    rig.qbo.clock(offset_seconds=0)
    doomed = [{"Id": qbo_id} for qbo_id in ("2", "4", "6")]
    for bill in doomed:
        rig.bookkeeper.delete("Bill", bill)
    rig.qbo.load(Bill=[raw_bill(9)])
    return doomed


@pytest.mark.parametrize(
    ("days", "reach", "why"),
    [
        (35, 30, "the cursor is older than 25 days: full comparison"),
        (31, 30, "the cursor is older than 25 days: full comparison"),
        (26, 30, "the cursor is older than 25 days: full comparison"),
        (20, 7, "QBO refused the cursor as too old: full comparison"),
    ],
    ids=["S99 35 days", "F18 31 days", "26 days", "CDC reaches less than promised"],
)
def test_S99_F18_after_a_long_absence_deletions_are_found_by_comparing_ids(
    rig: Rig, measured: Callable[[str], None], days: int, reach: int, why: str
) -> None:
    rig.qbo.switch(cdc_days=reach)
    doomed = after_an_absence(rig, days)
    reading = rig.read()
    assert (reading.mode, reading.why) == (Mode.WALK, why)
    assert (reading.new[Entity.BILL], reading.deleted[Entity.BILL]) == (1, 3)
    rig.settle()
    assert {rig.record("Bill", bill["Id"]).state for bill in doomed} == {"reversed"}
    counting = {cost["origin_id"].split(":")[3] for cost in rig.direct_costs()}
    assert counting == {"1", "3", "5", "9"}
    assert len(rig.dirty()) == 0
    measured(
        f"F18 {days} days away where changes reach back {reach}: {len({'1', '3', '5', '9'} - counting)} lost"
    )


def test_every_day_of_an_absence_gets_its_last_run(rig: Rig) -> None:
    after_an_absence(rig, 10)
    rig.read()
    absent = {today() - timedelta(days=number) for number in range(1, 11)}
    assert absent <= set(rig.dirty())
    rig.settle()


# -- limits and faults ------------------------------------------------------------------------------------------

XML_429 = (
    '<?xml version="1.0" encoding="UTF-8"?><IntuitResponse time="2026-11-22T08:00:00.000-08:00">'
    '<Fault type="SERVICE"><Error code="3001"><Message>message=ThrottleExceeded; errorCode=003001; '
    "statusCode=429</Message></Error></Fault></IntuitResponse>"
)


def test_S100_a_rate_limit_in_the_middle_of_a_run_is_waited_for(rig: Rig) -> None:
    rig.sync()
    rig.qbo.load(Bill=[raw_bill(number) for number in range(1, 1401)])
    rig.qbo.fault(
        {"route": "GET */query", "nth": 1, "fault": "status", "args": {"status": 429, "body": XML_429}}
    )
    waits: list[float] = []
    reading = reader(rig, client=patient_client(rig, waits)).read([today()])
    assert reading.new[Entity.BILL] == 1400
    assert sum(waits) >= 59, "nothing says how long, so it is a minute"


@pytest.mark.parametrize("code", ["3001", "10000"])
def test_S101_one_item_of_a_batch_that_fails_is_read_again(rig: Rig, code: str) -> None:
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.qbo.fault(
        {
            "route": "POST */batch",
            "nth": 2,
            "fault": "batch_item_fault",
            "args": {"index": 4, "code": code},
        }
    )
    reader(rig, client=patient_client(rig, [])).read([today()])
    assert live_bills(rig) == {bill["Id"]}
    batches = [entry for entry in rig.qbo.journal() if entry["path"].endswith("/batch")]
    assert [entry["outcome"] for entry in batches] == [
        "batch of 5, 0 faults",
        "batch of 10, 1 faults",
        "batch of 1, 0 faults",
    ]
    rig.settle()


def test_S106_F44_two_runs_at_once_make_one_record_each(rig: Rig) -> None:
    rig.sync()
    bills = [rig.bookkeeper.bill(f"S106-{number}", [line(10, item="101")]) for number in range(5)]
    faults: list[BaseException] = []
    start = threading.Barrier(2)

    def run() -> None:
        start.wait()
        try:
            rig.sync()
        except BaseException as fault:  # noqa: BLE001 told by the assertion below
            faults.append(fault)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert len(rig.direct_costs()) == 5
    assert {rig.story("Bill", bill["Id"]).count("posted") for bill in bills} == {1}
