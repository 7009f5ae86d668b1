"""S89: before anything is published: sheets drafted from a year of QBO, and what last quarter would have become by them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import inspect, text

from ml_connector.mapping.sheets import parse_mapping, parse_projects
from ml_connector.mapping.table import SheetRefused
from ml_connector.orchestration.clients import procore_client, qbo_client
from ml_connector.store import sheets
from ml_connector.takeover.drafting import Draft, Row, filled, mapping_sheet, projects_sheet
from ml_connector.takeover.rehearsal import Rehearsal, Year, last_quarter, quarter_of, read_year, rehearse
from ml_connector_tests.rig import HARBOR, MAPPING, PROJECTS, Rig, line, today
from ml_connector_tests.scenarios.test_changes_in_procore import codes_of, typed
from ml_connector_tests.scenarios.test_subcontracts import BRIGHT, SC_007, period, sub, subcontract

QUARTER = last_quarter(today())
IN_QUARTER = (QUARTER.first + timedelta(days=40)).isoformat()


@contextmanager
def year_of(rig: Rig) -> Iterator[Year]:
    """The last 12 months, read."""
    connection = rig.connection
    qbo = qbo_client(rig.home, connection, rig.engine)
    procore = procore_client(rig.home, connection, rig.engine)
    with read_year(rig.engine, connection, qbo, procore) as year:
        yield year


def is_known(rig: Rig) -> None:
    """Granite Supply is in Procore's directory."""
    rig.procore.load(vendors=[{"id": 700, "name": "Granite Supply", "project_ids": [101, 102]}])


def books(rig: Rig) -> None:
    """A quarter of bills, none of which is known to us yet: what people typed in Procore, a subcontract, overhead."""
    desk = rig.bookkeeper
    is_known(rig)
    rig.procore.load(
        vendors=[{"id": 900, "name": "Bright Electric"}],
        commitments=[subcontract("SC-007", SC_007, retainage_percent=None)],
        billing_periods=[period()],
    )
    for number in range(3):
        typed(rig, f"OLD-{number}", f"{100 + number}.00")
        desk.bill(f"OLD-{number}", [line(100 + number, item="101")], day=IN_QUARTER)
    desk.bill("NEW-1", [line(500, item="101")], day=IN_QUARTER)
    desk.bill("BE-1", [sub(4000)], vendor=BRIGHT, day=IN_QUARTER)
    desk.bill("MB-1", [line(700, item="101", customer="64")], day=IN_QUARTER)
    desk.bill("RENT", [line(90, account="10", customer=None)], day=IN_QUARTER)
    desk.bill("TOOLS", [line(60, account="7")], day=IN_QUARTER)


def cells(rows: tuple[Row, ...], **by: str) -> dict[str, str]:
    """The one row with these cells, without its note and what is empty."""
    (found,) = [row for row in rows if all(row.cells.get(name, "") == text for name, text in by.items())]
    return {name: text for name, text in found.cells.items() if text and name != "note"}


def rehearsed(year: Year, drafted: Draft) -> Rehearsal:
    mapping, projects = mapping_sheet(drafted.mapping), projects_sheet(drafted.projects)
    return rehearse(
        year,
        QUARTER,
        mapping=filled(sheets.MAPPING, mapping),
        projects=filled(sheets.PROJECTS, projects),
        vendors=b"",
    )


def stored(rig: Rig) -> dict[str, int]:
    """Rows of every table of ours but those that count calls."""
    found = {}
    with rig.engine.connect() as db:
        for name in inspect(rig.engine).get_table_names(schema="ml_connector"):
            if name not in ("limiter", "breaker", "vault"):
                found[name] = db.scalar(text(f"select count(*) from ml_connector.{name}")) or 0
    return found


def test_S89_sheets_are_drafted_from_a_year_and_say_what_last_quarter_would_have_become(rig: Rig) -> None:
    books(rig)
    before, marks = stored(rig), (rig.qbo.mark(), rig.procore.mark())
    with year_of(rig) as year:
        drafted = year.drafted
        done = rehearsed(year, drafted)
        load = year.first_load(done)
    # projects.csv: sure by name; what is like no project is left empty
    assert cells(drafted.projects, customer="Harbor Health:Harbor Clinic")["project"] == "101"
    assert cells(drafted.projects, customer="Mill Bridge") == {"customer": "Mill Bridge"}
    # mapping.csv: as people coded it in Procore, by the commitment's schedule, overhead left out, the rest open
    concrete = {"item": "Ready-mix", "route": "direct_cost", "cost_code": "03-3000", "cost_type": "M"}
    assert cells(drafted.mapping, item="Ready-mix") == concrete
    contract = {"account": "5020", "route": "commitment", "cost_code": "26-0500", "cost_type": "S"}
    assert cells(drafted.mapping, account="5020") == contract
    rent = {"account": "6200", "route": "exclude", "reason": "OVERHEAD"}
    assert cells(drafted.mapping, account="6200") == rent
    assert cells(drafted.mapping, account="5075") == {"account": "5075", "route": "direct_cost"}
    with pytest.raises(SheetRefused, match="the Procore project id is missing"):
        parse_projects(projects_sheet(drafted.projects), 1)
    with pytest.raises(SheetRefused, match="route direct_cost needs it"):
        parse_mapping(mapping_sheet(drafted.mapping), 1)
    # what last quarter would have become by the rows that are whole
    assert (done.all_.bills, done.all_.amount) == (8, Decimal("5653.00"))
    assert (done.posted.bills, done.posted.amount) == (2, Decimal("4500.00"))
    assert (done.linked.bills, done.linked.amount) == (3, Decimal("303.00"))
    assert {why: (one.bills, one.amount) for why, one in done.excluded.items()} == {
        "OVERHEAD": (1, Decimal("90.00"))
    }
    assert {why: (one.bills, one.amount) for why, one in done.held.items()} == {
        "PROJECT_NOT_LINKED": (1, Decimal("700.00")),
        "UNMAPPED": (1, Decimal("60.00")),
    }
    assert [(one.sheet, one.to_type.partition(" (")[0], str(one.amount)) for one in done.wanted] == [
        ("projects", "customer: Mill Bridge; project: ?", "700.00"),
        ("mapping", "account: 5075; route: direct_cost; cost_code: ?; cost_type: ?", "60.00"),
    ]
    assert (load.records, done.on_commitments) == (8, 1)
    # it only read: nothing in Procore, nothing here, and few calls
    assert rig.procore.writes(marks[1]) == []
    assert stored(rig) == before
    assert [name for name in inspect(rig.engine).get_schema_names() if "rehearsal" in name] == []
    assert len(rig.qbo.calls(marks[0])) <= 5
    assert len(rig.procore.calls(marks[1])) <= 25


def test_S89_with_the_missing_rows_filled_in_more_of_it_is_posted(rig: Rig) -> None:
    books(rig)
    rig.bookkeeper.bill("EARLIER", [line(9, item="101")], day=str(QUARTER.first - timedelta(days=1)))
    more = MAPPING.replace("2150,", "5075,,,,,,,,,direct_cost,06-1000,M,,,,,\n2150,", 1)
    with year_of(rig) as year:
        done = rehearse(
            year, QUARTER, mapping=more.encode(), projects=f"{PROJECTS}64,102,\n".encode(), vendors=b""
        )
    assert (done.posted.bills, done.posted.amount) == (4, Decimal("5260.00"))
    assert (done.held, done.wanted) == ({}, [])
    assert done.all_.amount == Decimal("5653.00"), "a bill of the quarter before is none of it"


def test_S89_what_people_typed_with_several_codes_is_left_open_with_what_they_chose(rig: Rig) -> None:
    is_known(rig)
    for number, code in enumerate(("03-3000.M", "06-1000.M")):
        coded = [{"wbs_code_id": codes_of(rig, HARBOR)[code], "manual_amount": "10.00"}]
        typed(rig, f"OLD-{number}", "10.00", line_items=coded)
        rig.bookkeeper.bill(f"OLD-{number}", [line(10, item="101")], day=IN_QUARTER)
    named = {**account("70", "06-1000 Framing labor"), "AccountType": "Cost of Goods Sold"}
    rig.qbo.load(Account=[{**named, "Classification": "Expense"}])
    rig.bookkeeper.bill("FRAMING", [line(7, account="70")], day=IN_QUARTER)
    with year_of(rig) as year:
        drafted = year.drafted
    concrete, framing = drafted.mapping
    assert (concrete.is_sure, concrete.cells["cost_code"]) == (False, "")
    assert "03-3000 / M (1), 06-1000 / M (1)" in concrete.cells["note"]
    assert (framing.is_sure, framing.cells["cost_code"], framing.cells["cost_type"]) == (True, "06-1000", "L")


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [("2026-01-01", "2025-10-01", "2025-12-31"), ("2026-03-31", "2025-10-01", "2025-12-31"),
     ("2026-04-01", "2026-01-01", "2026-03-31"), ("2026-12-31", "2026-07-01", "2026-09-30")],
)  # fmt: skip
def test_the_last_quarter_is_the_one_that_is_over(day: str, first: str, last: str) -> None:
    quarter = last_quarter(date.fromisoformat(day))
    assert (str(quarter.first), str(quarter.last)) == (first, last)
    assert quarter_of(quarter.last) == quarter


def account(qbo_id: str, name: str) -> dict[str, Any]:
    """An account that was made months ago."""
    then = "2026-01-05T08:00:00-08:00"
    meta = {"MetaData": {"CreateTime": then, "LastUpdatedTime": then}}
    return {"Id": qbo_id, "Active": True, "Name": name, "FullyQualifiedName": name, "AcctNum": "", **meta}


def test_S89_projects_are_linked_by_number_and_not_where_two_fit(rig: Rig) -> None:
    rig.procore.load(projects=[
        {"id": 201, "company_id": 5001, "name": "MB new bridge", "project_number": "24-017", "active": True},
        {"id": 202, "company_id": 5001, "name": "Elm Street School", "active": True},
    ])  # fmt: skip
    rig.qbo.load(Customer=[customer("65", "24-017 Mill Bridge"), customer("66", "Nowhere")])
    for qbo_id in ("62", "65", "66"):
        rig.bookkeeper.bill(qbo_id, [line(10, item="101", customer=qbo_id)], day=IN_QUARTER)
    with year_of(rig) as year:
        drafted = year.drafted
    rows: dict[str, Any] = {row.cells["customer"]: row for row in drafted.projects}
    assert rows["24-017 Mill Bridge"].cells["project"] == "201"
    assert rows["Elm Street School"].cells["project"] == ""
    assert "102 Elm Street School; 202 Elm Street School" in rows["Elm Street School"].cells["note"]
    assert "no project alike" in rows["Nowhere"].cells["note"]


def customer(qbo_id: str, name: str) -> dict[str, Any]:
    """A customer that was entered months ago."""
    then = "2026-01-05T08:00:00-08:00"
    meta = {"MetaData": {"CreateTime": then, "LastUpdatedTime": then}}
    return {"Id": qbo_id, "Active": True, "DisplayName": name, "FullyQualifiedName": name, **meta}
