"""The reader against the sandbox: what it lands, when the cursor moves, which days it marks, what it never believes."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ml_connector.orchestration.clients import qbo_client
from ml_connector.qbo.client import CdcAnswer, QboClient
from ml_connector.qbo.models import Entity
from ml_connector.reading import windows as reading_windows
from ml_connector.reading.walk import Page, walk
from ml_connector.reading.windows import DAY_COMPLETE, Mode
from ml_connector.store import landing
from ml_connector_tests.reading.desk import (
    Interrupted,
    clean,
    dirty,
    live_bills,
    poll_at,
    raw_bill,
    read_to,
    reader,
    versions,
)
from ml_connector_tests.rig import Rig, line, today

CDC = "GET /v3/company/9341450000000001/cdc"
ZONES = {"time_zone": "America/New_York"}


class _LyingClient(QboClient):
    """CDC answers of this client report bills as deleted that still exist."""

    def __init__(self, inner: QboClient, *ids: str) -> None:
        super().__init__(inner._session, inner._realm)
        self._ids = ids

    def cdc(self, entities: Any, since: datetime) -> CdcAnswer:
        answer = super().cdc(entities, since)
        lies = [{"Id": qbo_id, "status": "Deleted", "MetaData": {}} for qbo_id in self._ids]
        return replace(answer, blocks={**answer.blocks, Entity.BILL: [*answer.blocks[Entity.BILL], *lies]})


# -- first load -------------------------------------------------------------------------------------------------


def test_the_first_load_brings_every_list_and_the_bills_from_the_start_date_on(rig: Rig) -> None:
    rig.qbo.load(
        Bill=[
            raw_bill(1, TxnDate="2025-12-31"),
            raw_bill(2, TxnDate="2026-01-01", at="2025-11-03T10:00:00-08:00"),
            raw_bill(3, TxnDate="2026-05-04"),
        ],
        Vendor=[{"Id": "30", "DisplayName": "Old Quarry (deleted)", "Active": False}],
        Account=[{"Id": "90", "Name": "Old account (deleted)", "Active": False}],
        Item=[{"Id": "190", "Name": "Old item (deleted)", "Active": False}],
        Customer=[{"Id": "69", "DisplayName": "Old job (deleted)", "Active": False}],
    )
    reading = rig.read()
    assert reading.mode is Mode.FIRST_LOAD
    assert live_bills(rig) == {"2", "3"}
    assert versions(rig, "2")[0].day == date(2026, 1, 1), "a change before the start lies in the first window"
    for entity, qbo_id in (("Vendor", "30"), ("Account", "90"), ("Item", "190"), ("Customer", "69")):
        assert len(versions(rig, qbo_id, entity)) == 1, f"the inactive {entity} was not read"


def test_the_first_load_marks_every_day_from_the_start_until_today(rig: Rig) -> None:
    start = today() - timedelta(days=40)
    rig.configure(start_date=start.isoformat())
    rig.read()
    assert sorted(dirty(rig)) == [start + timedelta(days=number) for number in range(41)]


def test_a_start_in_the_future_marks_nothing_before_it(rig: Rig) -> None:
    rig.configure(start_date=(today() + timedelta(days=3)).isoformat())
    rig.qbo.load(Bill=[raw_bill(1)])
    rig.read()
    assert live_bills(rig) == set()
    assert set(dirty(rig)) == {today() + timedelta(days=3)}, "the vendors wait in the first window"


def test_a_first_load_that_died_half_way_is_completed_and_forgets_what_was_deleted_meanwhile(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (rig.bookkeeper.bill(number, [line(10, item="101")]) for number in ("1", "2"))

    def half_a_walk(*args: Any, **options: Any) -> Iterator[Page]:
        for page in walk(*args, **options):
            yield page
            if page.entity is Entity.BILL:
                raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(reading_windows, "walk", half_a_walk)
        with pytest.raises(RuntimeError, match="killed"):
            rig.read()
    assert read_to(rig) is None
    assert live_bills(rig) == {first["Id"], second["Id"]}
    rig.bookkeeper.delete("Bill", first)
    assert rig.read().mode is Mode.FIRST_LOAD
    assert live_bills(rig) == {second["Id"]}


def test_the_cursor_starts_at_the_time_that_QBO_told_before_the_load(rig: Rig) -> None:
    rig.qbo.clock(frozen="2026-11-20T12:00:00+00:00")
    later = Interrupted(
        qbo_client(rig.home, rig.connection, rig.engine),
        {1: lambda: rig.qbo.clock(frozen="2026-11-20T12:30:00+00:00")},
    )
    reader(rig, client=later).read([today()])
    assert read_to(rig) == datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


# -- the cursor -------------------------------------------------------------------------------------------------


def test_an_unchanged_window_costs_one_call_and_marks_nothing(rig: Rig) -> None:
    rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.read()
    clean(rig)
    mark = rig.qbo.mark()
    reading = rig.read()
    assert rig.qbo.calls(mark) == [CDC]
    assert reading.new.total() == 0
    assert reading.unchanged > 0, "the overlap brings them again"
    assert dirty(rig) == {}


def test_K4_rows_and_cursor_are_stored_together_or_not_at_all(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.read()
    clean(rig)
    before = read_to(rig)
    bill = rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.bookkeeper.pay(bill, "10")
    stored = landing.land

    def dying(db: Any, connection: str, entity: str, *args: Any, **options: Any) -> Any:
        if entity == Entity.BILL_PAYMENT:
            raise RuntimeError("killed")
        return stored(db, connection, entity, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(landing, "land", dying)
        with pytest.raises(RuntimeError, match="killed"):
            rig.read()
    assert read_to(rig) == before
    assert versions(rig, bill["Id"]) == []
    assert rig.story("Bill", bill["Id"]) == []
    assert dirty(rig) == {}
    rig.read()
    assert len(versions(rig, bill["Id"])) == 1


def test_the_cursor_never_goes_back(rig: Rig) -> None:
    poll_at(rig, "2026-11-20T12:00:00+00:00")
    poll_at(rig, "2026-11-20T11:50:00+00:00")
    assert read_to(rig) == datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_F46_a_server_clock_that_jumps_back_hides_nothing_within_the_overlap(rig: Rig) -> None:
    rig.configure(timing={"overlap": 900})
    poll_at(rig, "2026-11-20T12:00:00+00:00")
    rig.qbo.clock(frozen="2026-11-20T11:50:30+00:00")
    rig.qbo.load(Bill=[raw_bill(1)])
    poll_at(rig, "2026-11-20T11:51:00+00:00")
    assert live_bills(rig) == {"1"}


@pytest.mark.parametrize("minutes", [-10, 10])
def test_F46_our_own_clock_does_not_matter(rig: Rig, minutes: int) -> None:
    def wrong() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=minutes)

    reader(rig, clock=wrong).read([today()])
    rig.qbo.load(Bill=[raw_bill(1)])
    assert reader(rig, clock=wrong).read([today()]).mode is Mode.CDC
    assert live_bills(rig) == {"1"}
    cursor = read_to(rig)
    assert cursor is not None
    assert abs(cursor - datetime.now(UTC)) < timedelta(minutes=2), "the cursor is QBO's time"


# -- windows and midnight ---------------------------------------------------------------------------------------


def test_a_bill_saved_at_2355_between_two_polls_marks_yesterdays_window(rig: Rig) -> None:
    rig.configure(**ZONES)
    poll_at(rig, "2026-11-09T23:50:00-05:00")
    clean(rig)
    rig.qbo.clock(frozen="2026-11-09T23:55:00-05:00")
    rig.qbo.load(Bill=[raw_bill(1)])
    poll_at(rig, "2026-11-10T00:00:00-05:00")
    assert versions(rig, "1")[0].day == date(2026, 11, 9)
    assert set(dirty(rig)) == {date(2026, 11, 9)}


def test_every_day_that_the_cursor_closes_is_marked_once(rig: Rig) -> None:
    rig.configure(**ZONES)
    poll_at(rig, "2026-11-06T17:00:00-05:00")
    clean(rig)
    reading = poll_at(rig, "2026-11-09T07:00:00-05:00")
    assert {day: window.reason for day, window in dirty(rig).items()} == {
        date(2026, 11, 6): DAY_COMPLETE,
        date(2026, 11, 7): DAY_COMPLETE,
        date(2026, 11, 8): DAY_COMPLETE,
    }
    assert reading.days == {date(2026, 11, 6), date(2026, 11, 7), date(2026, 11, 8)}
    clean(rig)
    poll_at(rig, "2026-11-09T07:15:00-05:00")
    assert dirty(rig) == {}


def test_days_before_the_start_are_never_marked_as_complete(rig: Rig) -> None:
    rig.configure(start_date="2026-11-08", **ZONES)
    poll_at(rig, "2026-11-06T17:00:00-05:00")
    clean(rig)
    poll_at(rig, "2026-11-10T07:00:00-05:00")
    assert set(dirty(rig)) == {date(2026, 11, 8), date(2026, 11, 9)}


@pytest.mark.parametrize(
    ("saved", "polled", "day"),
    [
        ("2026-03-08T01:59:00-05:00", "2026-03-08T03:05:00-04:00", date(2026, 3, 8)),
        ("2026-03-07T23:59:59-05:00", "2026-03-08T03:05:00-04:00", date(2026, 3, 7)),
        ("2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00", date(2026, 11, 1)),
        ("2026-11-01T23:59:59-05:00", "2026-11-02T00:15:00-05:00", date(2026, 11, 1)),
        ("2026-10-31T23:59:59-04:00", "2026-11-01T00:15:00-04:00", date(2026, 10, 31)),
    ],
)
def test_F47_a_change_lies_in_the_companys_day_when_the_clocks_change(
    rig: Rig, saved: str, polled: str, day: date
) -> None:
    rig.configure(**ZONES)
    before = datetime.fromisoformat(saved) - timedelta(minutes=5)
    poll_at(rig, before.isoformat())
    rig.qbo.clock(frozen=saved)
    rig.qbo.load(Bill=[raw_bill(1, TxnDate="2026-05-31")])
    poll_at(rig, polled)
    landed = versions(rig, "1")[0]
    assert (landed.day, landed.txn_date) == (day, date(2026, 5, 31))


def test_a_closed_day_is_asked_for_again_inside_itself_and_leaves_the_cursor_alone(rig: Rig) -> None:
    rig.read()
    cursor = read_to(rig)
    hidden = [raw_bill(number, at="2026-05-04T09:00:00-07:00") for number in (1, 2)]
    rig.qbo.load(Bill=[*hidden, raw_bill(3, at="2026-05-05T09:00:00-07:00")])
    mark = rig.qbo.mark()
    reading = rig.read([date(2026, 5, 4)])
    assert reading.mode is Mode.DAYS
    assert live_bills(rig) == {"1", "2"}
    assert read_to(rig) == cursor
    assert len(rig.qbo.calls(mark)) == 1


def test_the_first_window_read_again_holds_what_was_changed_before_it(rig: Rig) -> None:
    rig.read()
    rig.qbo.load(
        Bill=[
            raw_bill(1, at="2025-11-04T09:00:00-08:00", TxnDate="2026-01-15"),
            raw_bill(2, at="2025-11-04T09:00:00-08:00", TxnDate="2025-06-01"),
        ]
    )
    rig.read([date(2026, 1, 1)])
    assert live_bills(rig) == {"1"}
    assert versions(rig, "1")[0].day == date(2026, 1, 1)


def test_open_and_closed_days_of_one_range_are_both_read(rig: Rig) -> None:
    rig.read()
    rig.qbo.load(Bill=[raw_bill(1, at="2026-05-04T09:00:00-07:00"), raw_bill(2)])
    rig.read([date(2026, 5, 4), today()])
    assert live_bills(rig) == {"1", "2"}


# -- deletions --------------------------------------------------------------------------------------------------


def test_a_deletion_is_landed_and_told(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.read()
    rig.bookkeeper.delete("Bill", bill)
    mark = rig.qbo.mark()
    reading = rig.read()
    assert reading.deleted[Entity.BILL] == 1
    assert live_bills(rig) == set()
    assert rig.story("Bill", bill["Id"]) == ["seen", "superseded", "deleted in QBO"]
    assert len(rig.qbo.calls(mark)) == 2, "one CDC call, one check of the reported ids"
    mark = rig.qbo.mark()
    rig.read()
    assert rig.qbo.calls(mark) == [CDC], "what is known to be deleted is not checked again"


def test_S76_a_record_that_is_reported_deleted_but_still_there_stays(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(10, item="101")])
    gone = rig.bookkeeper.bill("4472", [line(20, item="101")])
    rig.read()
    rig.bookkeeper.delete("Bill", gone)
    mark = rig.qbo.mark()
    lying = _LyingClient(qbo_client(rig.home, rig.connection, rig.engine), bill["Id"])
    reading = reader(rig, client=lying).read([today()])
    assert reading.deleted[Entity.BILL] == 1
    assert live_bills(rig) == {bill["Id"]}
    assert rig.story("Bill", bill["Id"]) == ["seen", "reported deleted, still there"]
    assert len(versions(rig, bill["Id"])) == 1
    assert len(rig.qbo.calls(mark)) == 2, "one check for all reported ids"


def test_S76_an_inactive_vendor_that_is_reported_deleted_is_still_found(rig: Rig) -> None:
    rig.qbo.load(Vendor=[{"Id": "30", "DisplayName": "Old Quarry (deleted)", "Active": False}])
    rig.read()

    class Lying(QboClient):
        def cdc(self, entities: Any, since: datetime) -> CdcAnswer:
            answer = super().cdc(entities, since)
            return replace(
                answer, blocks={**answer.blocks, Entity.VENDOR: [{"Id": "30", "status": "Deleted"}]}
            )

    inner = qbo_client(rig.home, rig.connection, rig.engine)
    reading = reader(rig, client=Lying(inner._session, inner._realm)).read([today()])
    assert reading.deleted.total() == 0
    assert not versions(rig, "30", "Vendor")[-1].tombstone


def test_a_deleted_record_that_reappears_unchanged_is_live_again(rig: Rig) -> None:
    rig.qbo.load(Bill=[raw_bill(1)])
    rig.read()
    rig.bookkeeper.delete("Bill", {"Id": "1"})
    rig.read()
    assert live_bills(rig) == set()
    rig.qbo.load(Bill=[raw_bill(1)])
    rig.read()
    assert live_bills(rig) == {"1"}
    assert [row.tombstone for row in versions(rig, "1")] == [False, True, False]


def test_a_tombstone_before_the_first_sight_costs_nothing(rig: Rig) -> None:
    rig.read()
    clean(rig)
    bill = rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.bookkeeper.delete("Bill", bill)
    mark = rig.qbo.mark()
    rig.read()
    assert versions(rig, bill["Id"]) == []
    assert rig.story("Bill", bill["Id"]) == []
    assert dirty(rig) == {}
    assert rig.qbo.calls(mark) == [CDC]


# -- what costs nothing -----------------------------------------------------------------------------------------


def test_a_flood_of_vendors_and_accounts_with_the_same_content_costs_nothing(rig: Rig) -> None:
    vendors = [
        {"Id": str(500 + number), "DisplayName": f"Vendor {number}", "Balance": 0} for number in range(400)
    ]
    accounts = [
        {"Id": str(700 + number), "Name": f"Account {number}", "CurrentBalance": 0} for number in range(400)
    ]
    rig.qbo.load(Vendor=vendors, Account=accounts)
    rig.read()
    clean(rig)
    rig.qbo.load(
        Vendor=[vendor | {"Balance": 17.5} for vendor in vendors],
        Account=[account | {"CurrentBalance": -3} for account in accounts],
    )
    mark = rig.qbo.mark()
    reading = rig.read()
    assert (reading.new.total(), reading.unchanged) == (0, 800)
    assert dirty(rig) == {}
    assert rig.qbo.calls(mark) == [CDC]


def test_content_that_came_back_keeps_the_higher_version_against_a_stale_answer(rig: Rig) -> None:
    rig.qbo.load(Bill=[raw_bill(1, SyncToken="1")])
    rig.read()
    rig.qbo.load(Bill=[raw_bill(1, SyncToken="3")])
    rig.read()
    rig.qbo.load(Bill=[raw_bill(1, SyncToken="2", total="999.00")])
    rig.read()
    assert [(row.sync_token, row.total) for row in versions(rig, "1")] == [(3, 100)]


# -- two at once, and the trail ----------------------------------------------------------------------------------


def test_S106_two_readers_at_once_land_every_record_once(rig: Rig) -> None:
    rig.read()
    rig.qbo.load(Bill=[raw_bill(number) for number in range(1, 301)])
    counts: list[int] = []
    start = threading.Barrier(2)

    def work() -> None:
        mine = reader(rig)
        start.wait()
        counts.append(mine.read([today()]).new[Entity.BILL])

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(counts) == [0, 300]
    assert {len(versions(rig, str(number))) for number in range(1, 301)} == {1}
    assert rig.story("Bill", "7") == ["seen"]


def test_a_walk_tells_the_trail_why(rig: Rig) -> None:
    rig.read()
    assert rig.story("connection", "acme") == ["read"]
