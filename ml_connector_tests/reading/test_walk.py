"""The walk by key: complete whatever the pages do, few calls, nothing skipped when rows move meanwhile."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from ml_connector.errors import PermanentError
from ml_connector.orchestration.clients import qbo_client
from ml_connector.qbo.client import QboClient
from ml_connector.qbo.models import Entity
from ml_connector.reading.walk import counts, existing, stamp, walk, walk_dated
from ml_connector_tests.reading.desk import Interrupted, raw_bill
from ml_connector_tests.rig import Rig, line

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
SECOND = "2026-05-04T09:00:00-07:00"


@pytest.fixture
def client(rig: Rig) -> QboClient:
    return qbo_client(rig.home, rig.connection, rig.engine)


def _ids(client: QboClient, **span: datetime) -> Counter[str]:
    pages = walk(client, [Entity.BILL], **{"since": SINCE, **span})
    return Counter(str(row["Id"]) for page in pages for row in page.rows)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_F48_every_row_comes_whatever_the_page_boundary(rig: Rig, client: QboClient, count: int) -> None:
    began = datetime(2026, 5, 4, 16, 0, tzinfo=UTC)
    times = [(began + timedelta(seconds=number // 7)).isoformat() for number in range(count)]
    rig.qbo.load(Bill=[raw_bill(number, at=at) for number, at in enumerate(times, start=1)])
    assert set(_ids(client)) == {str(number) for number in range(1, count + 1)}
    assert len(rig.qbo.calls()) <= 1 + count // 900


def test_F48_five_thousand_changes_in_one_second_are_all_found(rig: Rig, client: QboClient) -> None:
    others = [raw_bill(9001, at="2026-05-04T08:59:59-07:00"), raw_bill(9002, at="2026-05-04T09:00:01-07:00")]
    rig.qbo.load(Bill=[*(raw_bill(number, at=SECOND) for number in range(1, 5001)), *others])
    assert set(_ids(client)) == {*(str(number) for number in range(1, 5001)), "9001", "9002"}
    assert len(rig.qbo.calls()) <= 8


def test_rows_of_one_second_that_move_away_while_it_is_paged_hide_no_other(
    rig: Rig, client: QboClient
) -> None:
    rig.qbo.load(Bill=[raw_bill(number, at=SECOND) for number in range(1, 2501)])

    def edit() -> None:
        later = "2026-05-05T09:00:00-07:00"
        rig.qbo.load(Bill=[raw_bill(number, at=later, SyncToken="1") for number in range(1, 51)])

    assert set(_ids(Interrupted(client, {1: edit}))) == {str(number) for number in range(1, 2501)}


def test_the_span_has_a_beginning_in_and_an_end_out(rig: Rig, client: QboClient) -> None:
    times = ["2026-05-03T23:59:59Z", "2026-05-04T00:00:00Z", "2026-05-04T23:59:59Z", "2026-05-05T00:00:00Z"]
    rig.qbo.load(Bill=[raw_bill(number, at=at) for number, at in enumerate(times)])
    found = _ids(client, since=datetime(2026, 5, 4, tzinfo=UTC), until=datetime(2026, 5, 5, tzinfo=UTC))
    assert set(found) == {"1", "2"}


def test_times_are_asked_for_with_their_offset_and_in_whole_seconds() -> None:
    assert stamp(datetime.fromisoformat("2026-05-04T09:00:00.750-07:00")) == "2026-05-04T16:00:00Z"


def test_many_entities_are_asked_in_one_call_and_one_alone_by_a_plain_query(
    rig: Rig, client: QboClient
) -> None:
    list(walk(client, [Entity.BILL, Entity.VENDOR, Entity.ACCOUNT], since=SINCE))
    list(walk(client, [Entity.BILL], since=SINCE))
    calls = [call.rpartition("/")[2] for call in rig.qbo.calls()]
    assert calls == ["batch", "query"]


@pytest.mark.parametrize("a_day", [3, 1500], ids=["few a date", "more than a page a date"])
def test_S114_by_date_every_transaction_comes_whatever_its_last_change_says(
    rig: Rig, client: QboClient, a_day: int
) -> None:
    dates = [(date(2026, 3, 1) + timedelta(days=number // a_day)).isoformat() for number in range(2500)]
    rig.qbo.load(Bill=[raw_bill(number, TxnDate=day) for number, day in enumerate(dates, start=1)])
    hidden = raw_bill(9001, at="1999-01-01T00:00:00Z", TxnDate="2026-03-02")
    rig.qbo.load(Bill=[hidden, raw_bill(9002, TxnDate="2026-02-28")])
    pages = walk_dated(client, [Entity.BILL], dated_from=date(2026, 3, 1))
    found = {str(row["Id"]) for page in pages for row in page.rows}
    assert found == {*(str(number) for number in range(1, 2501)), "9001"}
    assert len(rig.qbo.calls()) <= 4


def test_counts_are_of_transactions_from_a_date_on(rig: Rig, client: QboClient) -> None:
    rig.qbo.load(Bill=[raw_bill(1, TxnDate="2025-12-31"), raw_bill(2, TxnDate="2026-01-01"), raw_bill(3)])
    start = date(2026, 1, 1)
    assert counts(client, [Entity.BILL, Entity.PURCHASE], dated_from=start) == {
        Entity.BILL: 2,
        Entity.PURCHASE: 0,
    }


def test_a_count_without_a_number_is_no_count(rig: Rig, client: QboClient) -> None:
    answer = {"BatchItemResponse": [{"bId": "0", "QueryResponse": {}}], "time": "2026-11-22T08:00:00-08:00"}
    rig.qbo.fault({"route": "POST */batch", "fault": "status", "args": {"status": 200, "body": answer}})
    with pytest.raises(PermanentError, match="gave no count"):
        counts(client, [Entity.BILL], dated_from=date(2026, 1, 1))


def test_existing_asks_for_all_ids_of_all_entities_in_one_call(rig: Rig, client: QboClient) -> None:
    rig.qbo.load(
        Bill=[raw_bill(number) for number in range(1, 1001)],
        Vendor=[{"Id": "30", "DisplayName": "Old Quarry (deleted)", "Active": False}],
    )
    wanted = {Entity.BILL: {str(number) for number in range(500, 1500)}, Entity.VENDOR: {"30", "31"}}
    pages = list(existing(client, wanted))
    found = {(page.entity, str(row["Id"])) for page in pages for row in page.rows}
    assert found == {(Entity.BILL, str(number)) for number in range(500, 1001)} | {(Entity.VENDOR, "30")}
    assert len(rig.qbo.calls()) == 1


def test_existing_makes_no_call_without_ids(rig: Rig, client: QboClient) -> None:
    assert list(existing(client, {Entity.BILL: set()})) == []
    assert rig.qbo.calls() == []


def test_an_odd_id_does_not_break_the_question(rig: Rig, client: QboClient) -> None:
    odd = "1') OR Id IN ('2"
    bill = rig.bookkeeper.bill("4471", [line(10, item="101")])
    (page,) = existing(client, {Entity.BILL: {odd, bill["Id"]}})
    assert [row["Id"] for row in page.rows] == [bill["Id"]]
