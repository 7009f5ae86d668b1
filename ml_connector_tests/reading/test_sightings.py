"""What a row of an answer is in landing's terms: content that matters, window, facts that can be stored."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.errors import BadRecord
from ml_connector.qbo.models import Entity
from ml_connector.reading.sightings import content_hash, sighting
from ml_connector.store.landing import Sighting
from ml_connector.transport import strict_json

BILL = b"""{"Id":"4471","SyncToken":"2","DocNumber":" Inv-9 ","TxnDate":"2026-05-31","TotalAmt":1250.00,
"VendorRef":{"value":"21","name":"Granite"},"MetaData":{"LastUpdatedTime":"2026-05-31T20:30:00-07:00"},
"Line":[{"Amount":1250.0,"DetailType":"DescriptionOnly"}],"sparse":false,"domain":"QBO"}"""


def bill(**fields: Any) -> dict[str, Any]:
    return {**strict_json.loads(BILL), **fields}


def seen(raw: dict[str, Any], *, zone: str = "America/New_York", start: str = "2026-01-01") -> Sighting:
    answered = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    return sighting(
        Entity.BILL, raw, zone=ZoneInfo(zone), start=date.fromisoformat(start), server_time=answered
    )


def changed_at(instant: str) -> dict[str, Any]:
    return bill(MetaData={"LastUpdatedTime": instant})


# -- content ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"MetaData": {"LastUpdatedTime": "2026-06-30T20:30:00-07:00"}},
        {"SyncToken": "9"},
        {"sparse": True, "domain": "other", "V4IDPseudonym": "x"},
        {"TotalAmt": 1250},
        {"TotalAmt": Decimal("1.25E3")},
    ],
)
def test_what_moves_without_an_edit_is_no_content(other: dict[str, Any]) -> None:
    assert content_hash(Entity.BILL, bill(**other)) == content_hash(Entity.BILL, bill())


@pytest.mark.parametrize(
    "other",
    [
        {"TotalAmt": Decimal("1250.01")},
        {"Balance": 0},
        {"DocNumber": "Inv-9"},
        {"VendorRef": {"value": "21", "name": "Granite (deleted)"}},
        {"NewField": None},
        {"TotalAmt": "1250.00"},
        {"TotalAmt": True},
    ],
)
def test_everything_else_is_content(other: dict[str, Any]) -> None:
    assert content_hash(Entity.BILL, bill(**other)) != content_hash(Entity.BILL, bill())


@pytest.mark.parametrize(
    ("entity", "field"),
    [
        (Entity.VENDOR, "Balance"),
        (Entity.VENDOR, "BillRate"),
        (Entity.ACCOUNT, "CurrentBalance"),
        (Entity.CUSTOMER, "BalanceWithJobs"),
        (Entity.ITEM, "QtyOnHand"),
    ],
)
def test_a_balance_of_a_list_entity_is_no_content(entity: Entity, field: str) -> None:
    assert content_hash(entity, {"Id": "1", field: 5}) == content_hash(entity, {"Id": "1"})


def test_the_order_of_keys_is_no_content_and_the_order_of_lines_is() -> None:
    turned = dict(reversed(list(bill().items())))
    assert content_hash(Entity.BILL, turned) == content_hash(Entity.BILL, bill())
    two = [{"Amount": 1}, {"Amount": 2}]
    assert content_hash(Entity.BILL, bill(Line=two)) != content_hash(Entity.BILL, bill(Line=two[::-1]))


@given(st.integers(-(10**30), 10**30), st.integers(0, 30))
def test_one_number_has_one_hash_however_it_is_written(digits: int, places: int) -> None:
    number = Decimal(digits).scaleb(-places, None) if len(str(digits)) <= 28 else Decimal(digits)
    written = [number, Decimal(f"{number:f}0") if "." in f"{number:f}" else Decimal(f"{number:f}.0")]
    first, second = (content_hash(Entity.BILL, {"Amount": amount}) for amount in written)
    assert first == second


def test_digits_beyond_those_of_money_still_count() -> None:
    long = Decimal("1" * 60)
    assert content_hash(Entity.BILL, {"A": long}) != content_hash(Entity.BILL, {"A": long + Decimal(10**40)})


# -- windows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        ("2026-05-31T20:30:00-07:00", date(2026, 5, 31)),  # 23:30 in New York
        ("2026-05-31T20:55:00-07:00", date(2026, 5, 31)),  # 23:55
        ("2026-05-31T21:00:00-07:00", date(2026, 6, 1)),  # midnight
        ("2026-03-07T20:59:59-08:00", date(2026, 3, 7)),
        ("2026-03-07T21:00:00-08:00", date(2026, 3, 8)),  # the night in which the clocks go forward
        ("2026-03-08T20:59:59-07:00", date(2026, 3, 8)),
        ("2026-03-08T21:00:00-07:00", date(2026, 3, 9)),
        ("2026-10-31T20:59:59-07:00", date(2026, 10, 31)),
        ("2026-11-01T00:30:00-07:00", date(2026, 11, 1)),  # 03:30 daylight time there, 02:30 after the change
        ("2026-11-01T20:59:59-08:00", date(2026, 11, 1)),  # the day of 25 hours ends
        ("2026-11-01T21:00:00-08:00", date(2026, 11, 2)),
        ("2026-06-01T03:30:00Z", date(2026, 5, 31)),
    ],
)
def test_F47_the_window_is_the_day_in_the_companys_zone(instant: str, day: date) -> None:
    assert seen(changed_at(instant)).day == day


def test_F47_the_year_ends_at_the_companys_midnight() -> None:
    assert seen(changed_at("2025-12-31T20:59:59-08:00"), start="2025-01-01").day == date(2025, 12, 31)
    assert seen(changed_at("2025-12-31T21:00:00-08:00"), start="2025-01-01").day == date(2026, 1, 1)


@given(st.integers(-1000, 2000), st.integers(0, 86_399))
def test_F46_no_window_lies_before_the_start_or_after_the_answer(days: int, seconds: int) -> None:
    instant = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days, seconds=seconds)
    day = seen(changed_at(instant.isoformat())).day
    assert date(2026, 1, 1) <= day <= date(2026, 11, 22)


def test_S112_a_bill_date_never_shifts() -> None:
    found = seen(changed_at("2026-05-31T20:30:00-07:00"), zone="Pacific/Auckland")
    assert (found.txn_date, found.day) == (date(2026, 5, 31), date(2026, 6, 1))


@pytest.mark.parametrize(
    "meta", [{}, {"LastUpdatedTime": "yesterday"}, {"LastUpdatedTime": "2026-05-31T10:00:00"}, "text", None]
)
def test_a_change_without_a_readable_time_lies_in_the_day_of_the_answer(meta: object) -> None:
    assert seen(bill(MetaData=meta)).day == date(2026, 11, 22)


def test_a_new_record_without_a_time_of_change_lies_in_the_day_it_was_created() -> None:
    assert seen(bill(MetaData={"CreateTime": "2026-05-31T20:30:00-07:00"})).day == date(2026, 5, 31)


# -- facts ------------------------------------------------------------------------------------------------------


def test_the_facts_are_those_of_the_record() -> None:
    found = seen(bill())
    assert (found.qbo_id, found.sync_token, found.vendor_id, found.document) == ("4471", 2, "21", "inv-9")
    assert (found.total, found.txn_date, found.tombstone) == (Decimal("1250.00"), date(2026, 5, 31), False)


@pytest.mark.parametrize("status", ["Deleted", "deleted"])
def test_a_deleted_row_is_a_tombstone(status: str) -> None:
    assert seen({"Id": "1", "status": status}).tombstone


@pytest.mark.parametrize(
    ("field", "value", "fact"),
    [
        ("TotalAmt", Decimal("10.00001"), "total"),
        ("TotalAmt", int("9" * 400), "total"),
        ("TotalAmt", Decimal("1E+999999999"), "total"),
        ("TotalAmt", {}, "total"),
        ("TotalAmt", None, "total"),
        ("TxnDate", "31/05/2026", "txn_date"),
        ("TxnDate", None, "txn_date"),
        ("VendorRef", None, "vendor_id"),
        ("VendorRef", "21", "vendor_id"),
        ("VendorRef", {"name": "Granite"}, "vendor_id"),
        ("DocNumber", None, "document"),
        ("DocNumber", "", "document"),
        ("DocNumber", "x" * 5000, "document"),
    ],
)
def test_F49_a_field_that_cannot_be_read_leaves_its_fact_empty(field: str, value: object, fact: str) -> None:
    found = seen(bill(**{field: value}))
    assert getattr(found, fact) is None
    assert found.raw[field] == value, "the body keeps what came"


@pytest.mark.parametrize("token", [None, "x", "", str(10**30), [], "9" * 400])
def test_F49_a_version_that_cannot_be_read_is_the_lowest(token: object) -> None:
    assert seen(bill(SyncToken=token)).sync_token == 0


def test_F49_text_that_no_database_takes_is_stored_without_it() -> None:
    assert seen(bill(DocNumber="A\0B\ud800C")).document == "ab?c"


@pytest.mark.parametrize("qbo_id", [None, "", 4471])
def test_a_row_without_an_Id_is_no_record(qbo_id: object) -> None:
    with pytest.raises(BadRecord, match="no Id"):
        seen(bill(Id=qbo_id))
