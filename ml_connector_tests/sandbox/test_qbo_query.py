"""The query dialect: what is found, in which order, and how a statement is refused."""

from typing import Any

import pytest

from ml_connector.sandbox.wire import parse_json
from ml_connector_tests.sandbox.conftest import Books


def bill(id: str, updated: str, **more: Any) -> dict[str, Any]:
    meta = {"CreateTime": "2026-05-01T00:00:00-07:00", "LastUpdatedTime": updated}
    vendor = {"VendorRef": {"value": "56", "name": "Bob's Burger Joint"}, "TotalAmt": 10, "Balance": 10}
    return {"Id": id, "TxnDate": "2026-05-01", "MetaData": meta, **vendor, **more}


@pytest.fixture
def five_bills(books: Books) -> Books:
    bills = [
        bill("9", "2026-05-02T10:00:00-07:00", Balance=0, DocNumber="A-9"),
        bill("10", "2026-05-02T10:00:00-07:00", TxnDate="2026-05-03", VendorRef={"value": "46"}),
        bill("11", "2026-05-04T10:00:00-07:00", DocNumber="O'Neil 50%"),
        bill("12", "2026-05-03T10:00:00-07:00", TotalAmt=900, Balance=450.5),
        bill("13", "2026-05-01T23:59:59-07:00", DocNumber="B-13"),
    ]
    books.control("POST", "load", {"Bill": bills})
    return books


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("Id = '10'", ["10"]),
        ("Id IN ('13', '9', 'none')", ["9", "13"]),
        ("VendorRef = '46'", ["10"]),
        ("Balance > '0' AND Balance < '100'", ["11", "10", "13"]),
        ("Balance = '450.50'", ["12"]),
        ("TotalAmt >= 900", ["12"]),
        ("TxnDate >= '2026-05-02'", ["10"]),
        ("DocNumber like 'a-%'", ["9"]),
        (r"DocNumber = 'O\'Neil 50%'", ["11"]),
        ("docnumber IN ('b-13','A-9')", ["9", "13"]),
        ("MetaData.LastUpdatedTime > '2026-05-02T17:00:00Z'", ["11", "12"]),
        ("metadata.lastupdatedtime >= '2026-05-02T19:00:00+02:00'", ["11", "12", "9", "10"]),
        ("MetaData.LastUpdatedTime < '2026-05-02'", ["13"]),
        ("MetaData.CreateTime <= '2026-05-01T07:00:00Z' and DocNumber = 'A-9'", ["9"]),
    ],
)
def test_a_condition_finds(five_bills: Books, where: str, found: list[str]) -> None:
    assert five_bills.ids(f"SELECT * FROM Bill WHERE {where}") == found


def test_bills_come_by_last_change_descending_and_names_by_name(five_bills: Books) -> None:
    assert five_bills.ids("select * from bill") == ["11", "12", "9", "10", "13"]
    assert five_bills.ids("select * from Vendor") == ["56", "46"]


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        ("ORDERBY Id", ["9", "10", "11", "12", "13"]),
        ("order by Id desc", ["13", "12", "11", "10", "9"]),
        ("ORDERBY Balance DESC, Id ASC MAXRESULTS 3", ["12", "10", "11"]),
        ("ORDERBY MetaData.LastUpdatedTime STARTPOSITION 2 MAXRESULTS 2", ["9", "10"]),
        ("ORDERBY Id MAXRESULTS 2 STARTPOSITION 4", ["12", "13"]),
        ("ORDERBY Id STARTPOSITION 6", []),
    ],
)
def test_order_and_paging(five_bills: Books, tail: str, found: list[str]) -> None:
    assert five_bills.ids(f"select * from Bill {tail}") == found


def test_a_page_has_100_rows_unless_told_otherwise(books: Books) -> None:
    moment = "2026-05-02T10:00:00-07:00"
    books.control("POST", "load", {"Bill": [bill(str(number), moment) for number in range(1, 151)]})
    assert len(books.ids("select * from Bill")) == 100
    answer = books.query("select * from Bill startposition 101")
    assert (len(answer["Bill"]), answer["maxResults"], answer["startPosition"]) == (50, 50, 101)
    assert books.query("select count(*) from Bill") == {"totalCount": 150}


def test_a_statement_may_be_posted(five_bills: Books) -> None:
    headers = {"Content-Type": "application/text"}
    answer = five_bills.ask("POST", "query", data="select * from Bill where Id = '9'", headers=headers)
    assert [row["Id"] for row in answer["QueryResponse"]["Bill"]] == ["9"]


def test_inactive_names_are_hidden_until_asked_for(books: Books) -> None:
    books.save("Vendor", {"Id": "46", "SyncToken": "0", "sparse": True, "Active": False})
    assert books.ids("select * from Vendor") == ["56"]
    assert books.ids("select * from Vendor where Active = false") == ["46"]
    assert sorted(books.ids("select * from Vendor where Active in (true, false)")) == ["46", "56"]
    assert books.query("select * from Vendor where Id = '46'") == {}


def test_named_columns_alone_are_answered(five_bills: Books) -> None:
    answer = five_bills.query("select DocNumber, TotalAmt from Bill where Id = '9'")
    assert answer["Bill"] == [{"Id": "9", "DocNumber": "A-9", "TotalAmt": 10}]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("", "4000"),
        ("select", "4000"),
        ("select * Bill", "4000"),
        ("select * from Bill where", "4000"),
        ("select * from Bill where Id '1'", "4000"),
        ("select * from Bill where Id = '1' or Id = '2'", "4000"),
        ("select * from Bill where Balance != '1'", "4000"),
        ("select * from Bill where DocNumber = 'O'Neil'", "4000"),
        ("select * from Bill maxresults many", "4000"),
        ("select * from Custmoer", "4001"),
        ("select * from Bill where Line = '1'", "4001"),
        ("select * from Bill where Nonsense = '1'", "4001"),
        ("select * from Bill where Id > '1'", "4001"),
        ("select * from Bill where Balance > 'much'", "4001"),
        ("select * from Bill where MetaData.LastUpdatedTime > 'yesterday'", "4001"),
        ("select * from Bill startposition 0", "4001"),
        ("select * from Bill maxresults 1001", "4001"),
    ],
)
def test_a_statement_is_refused(books: Books, statement: str, code: str) -> None:
    assert books.refused("GET", "query", params={"query": statement}) == (400, code)


def test_a_property_that_cannot_be_asked_for_is_named(books: Books) -> None:
    params = {"query": "select * from Bill where LinkedTxn = '1'"}
    fault = parse_json(books.call("GET", "query", params=params).content)["Fault"]
    assert "property 'LinkedTxn' is not queryable" in fault["Error"][0]["Detail"]
