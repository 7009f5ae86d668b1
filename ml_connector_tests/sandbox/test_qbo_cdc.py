"""Change data capture: deletes last, the silent cut, the look-back, blocks."""

from typing import Any

import pytest

from ml_connector_tests.sandbox.conftest import Books

LONG_AGO = "2026-01-03T00:00:00-08:00"


@pytest.fixture
def books(books: Books) -> Books:
    """The books at a fixed hour."""
    books.control("POST", "clock", {"frozen": "2026-05-20T12:00:00-07:00"})
    return books


def at(books: Books, moment: str) -> None:
    books.control("POST", "clock", {"frozen": moment})
    books.token = {}  # an access token of another day would have expired


def test_deleted_rows_follow_the_active_ones_even_when_older(books: Books) -> None:
    first, second = books.bill(), books.bill()
    at(books, "2026-05-20T12:00:10-07:00")
    books.save("Bill", {"Id": first["Id"], "SyncToken": "0"}, operation="delete")
    at(books, "2026-05-20T12:00:20-07:00")
    books.save("Bill", {"Id": second["Id"], "SyncToken": "0", "sparse": True, "PrivateNote": "late"})
    rows = books.cdc("Bill", "2026-05-20T11:59:00-07:00")[0]["Bill"]
    assert [row["Id"] for row in rows] == [second["Id"], first["Id"]]
    assert rows[1] == {
        "domain": "QBO",
        "status": "Deleted",
        "Id": first["Id"],
        "MetaData": {"LastUpdatedTime": "2026-05-20T12:00:10-07:00"},
    }


def test_rows_come_oldest_first_and_an_unchanged_type_is_an_empty_block(books: Books) -> None:
    at(books, "2026-05-20T12:00:05-07:00")
    late = books.bill()
    at(books, "2026-05-20T12:00:01-07:00")
    early = books.bill()
    blocks = books.cdc("VendorCredit,Bill", "2026-05-20T12:00:00-07:00")
    assert blocks[0] == {}
    assert [row["Id"] for row in blocks[1]["Bill"]] == [early["Id"], late["Id"]]


def test_a_posting_moves_its_vendor_and_accounts_without_their_sync_token(books: Books) -> None:
    books.bill("150")
    blocks = books.cdc("Vendor,Account", "2026-05-20T12:00:00-07:00")
    vendor = blocks[0]["Vendor"][0]
    assert (vendor["Id"], vendor["SyncToken"], vendor["Balance"]) == ("56", "0", 150)
    assert [row["Id"] for row in blocks[1]["Account"]] == ["33", "69"]


def rows_of(blocks: list[Any]) -> dict[str, int]:
    return {name: len(rows) for block in blocks for name, rows in block.items() if isinstance(rows, list)}


def fill(books: Books) -> None:
    meta = {"CreateTime": "2026-05-01T00:00:00-07:00", "LastUpdatedTime": "2026-05-19T00:00:00-07:00"}
    docs = [{"Id": str(number), "MetaData": meta} for number in range(1, 701)]
    books.control("POST", "load", {"Bill": docs, "BillPayment": docs, "VendorCredit": docs})


def test_an_answer_is_cut_at_1000_rows_in_all_without_a_sign(books: Books) -> None:
    fill(books)
    blocks = books.cdc("Bill,BillPayment,VendorCredit", "2026-05-18T00:00:00-07:00")
    assert rows_of(blocks) == {"Bill": 700, "BillPayment": 300}
    assert blocks[2] == {}
    assert [block.get("maxResults") for block in blocks] == [700, 300, None]


def test_the_cut_can_be_per_type_and_at_another_number(books: Books) -> None:
    fill(books)
    books.control("POST", "switches", {"cdc_limit_scope": "type", "cdc_limit": 500})
    blocks = books.cdc("Bill,BillPayment,VendorCredit", "2026-05-18T00:00:00-07:00")
    assert rows_of(blocks) == {"Bill": 500, "BillPayment": 500, "VendorCredit": 500}


def test_a_cut_loses_the_deletes_first(books: Books) -> None:
    kept, gone = books.bill(), books.bill()
    books.save("Bill", {"Id": gone["Id"], "SyncToken": "0"}, operation="delete")
    books.control("POST", "switches", {"cdc_limit": 1})
    rows = books.cdc("Bill", "2026-05-20T11:00:00-07:00")[0]["Bill"]
    assert [row["Id"] for row in rows] == [kept["Id"]]


def test_more_than_30_days_back_is_refused_or_clipped(books: Books) -> None:
    params = {"entities": "Vendor", "changedSince": "2026-04-20T11:59:59-07:00"}
    assert books.refused("GET", "cdc", params=params) == (400, "500")
    assert books.cdc("Vendor", "2026-04-20T12:00:00-07:00") == [{}]
    books.control("POST", "switches", {"cdc_too_old": "clip"})
    assert books.cdc("Vendor", LONG_AGO) == [{}]


def test_a_time_without_offset_is_pacific_and_an_unescaped_plus_loses_its_zone(books: Books) -> None:
    at(books, "2026-05-20T12:00:00-07:00")
    books.bill()
    assert "Bill" in books.cdc("Bill", "2026-05-20T12:00:00")[0]
    assert books.cdc("Bill", "2026-05-20T12:00:01") == [{}]
    raw = "cdc?entities=Bill&changedSince=2026-05-20T18:59:59+00:00"
    assert books.ask("GET", raw)["CDCResponse"] == [{"QueryResponse": [{}]}]
    assert "Bill" in books.cdc("Bill", "2026-05-20T18:59:59+00:00")[0]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"entities": "Bill"}, "2020"),
        ({"changedSince": LONG_AGO}, "2020"),
        ({"entities": "Bill", "changedSince": "soon"}, "2030"),
        ({"entities": "TaxCode", "changedSince": "2026-05-19"}, "500"),
        ({"entities": "Bil", "changedSince": "2026-05-19"}, "500"),
    ],
)
def test_cdc_is_refused(books: Books, params: dict[str, str], code: str) -> None:
    assert books.refused("GET", "cdc", params=params) == (400, code)


def test_some_blocks_carry_a_total_count(books: Books) -> None:
    books.bill()
    blocks = books.cdc("Bill,Vendor", "2026-05-20T11:00:00-07:00")
    assert (blocks[0].get("totalCount"), "totalCount" in blocks[1]) == (1, False)


def test_the_time_of_an_answer_has_milliseconds_and_follows_daylight_saving(books: Books) -> None:
    at(books, "2026-01-20T12:00:00.456+00:00")
    assert books.ask("GET", "preferences")["time"] == "2026-01-20T04:00:00.456-08:00"
    assert books.bill()["MetaData"]["LastUpdatedTime"] == "2026-01-20T04:00:00-08:00"
    at(books, "2026-03-20T12:00:00+00:00")
    assert books.ask("GET", "preferences")["time"] == "2026-03-20T05:00:00.000-07:00"
