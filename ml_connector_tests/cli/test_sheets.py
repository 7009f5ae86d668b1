"""`mapping`, `projects` and `vendors`: check, publish, explain."""

import pytest

from ml_connector.store import sheets
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import MAPPING, MAPPING_HEADER, PROJECTS, today

BROKEN = f"""{MAPPING_HEADER}
5010,,,,,,,,,direct_cost,03-3000,,,,,,
5020,,,,,,,,,nowhere,26-0500,S,,,,,
5030,,,,,,,2026-13-01,,direct_cost,01-5000,E,,,,,
"""


def newest(firm: Firm, sheet: str) -> tuple[int, bytes]:
    with firm.rig.engine.connect() as db:
        found = sheets.newest(db, firm.rig.name, sheet)
    assert found is not None
    return found.version, found.content


def test_check_lists_every_error_with_its_row_and_ends_with_1(firm: Firm) -> None:
    firm.sheet("mapping").write_text(BROKEN)
    told = firm.shell("mapping", "check", "acme", "--json")
    document = told.document()
    assert told.code == 1
    assert document["sheet"] == "mapping"
    places = [(error["row"], error["column"]) for error in document["errors"]]
    assert places == [(2, "cost_type"), (3, "route"), (4, "valid_from")]
    assert all(error["text"] for error in document["errors"])
    shown = firm.shell("mapping", "check", "acme")
    assert shown.code == 1
    assert all(error["text"] in shown.out for error in document["errors"])
    assert "headings are row 1" in shown.out


def test_check_of_a_good_file_names_rows_that_never_match_and_says_what_comes_next(firm: Firm) -> None:
    firm.sheet("mapping").write_text(MAPPING + "5030,,,,,,,,,direct_cost,01-5000,E,,,,,\n")
    document = firm.shell("mapping", "check", "acme", "--json").document()
    assert document["errors"] == []
    assert [warning["row"] for warning in document["warnings"]] == [11]
    shown = firm.shell("mapping", "check", "acme")
    assert shown.code == 0
    assert "ml-connector mapping publish acme" in shown.out


def test_check_asks_no_database(firm: Firm) -> None:
    firm.shell.database_url = "postgresql://127.0.0.1:1/none"
    assert firm.shell("projects", "check", "acme").code == 0


def test_projects_are_checked_and_published_alike(firm: Firm) -> None:
    firm.sheet("projects").write_text("customer,project\n61,101\n61,102\n,103\n")
    told = firm.shell("projects", "check", "acme", "--json")
    assert told.code == 1
    assert {error["row"] for error in told.document()["errors"]} == {3, 4}
    refused = firm.shell("projects", "publish", "acme")
    assert (refused.code, refused.out) == (2, "")
    assert "row 3" in refused.err
    assert "row 4" in refused.err
    firm.sheet("projects").write_text(PROJECTS + "64,101,Mill Bridge\n")
    document = firm.shell("projects", "publish", "acme", "--json").document()
    assert document == {"sheet": "projects", "version": 2, "new": True, "days_to_do": []}


def test_vendors_are_checked_and_published_alike(firm: Firm) -> None:
    firm.sheet("vendors").write_text("vendor,procore_vendor\n57,\n")
    told = firm.shell("vendors", "check", "acme", "--json")
    assert (told.code, [error["row"] for error in told.document()["errors"]]) == (1, [2])
    assert firm.shell("vendors", "publish", "acme").code == 2
    firm.sheet("vendors").write_text("vendor,procore_vendor,note\n57,8812,factor\n")
    document = firm.shell("vendors", "publish", "acme", "--json").document()
    assert document == {"sheet": "vendors", "version": 1, "new": True, "days_to_do": []}


def test_a_missing_sheet_is_one_sentence(firm: Firm) -> None:
    firm.sheet("mapping").unlink()
    assert "mapping.csv is missing" in firm.shell("mapping", "publish", "acme").sentence()


def test_versions_count_and_the_same_content_makes_none(firm: Firm) -> None:
    same = firm.shell("mapping", "publish", "acme")
    assert same.code == 0
    assert "version 1" in same.out
    assert "nothing changed" in same.out
    firm.sheet("mapping").write_text(MAPPING + "5075,,,,,,,,,direct_cost,01-7800,O,,,,,\n")
    document = firm.shell("mapping", "publish", "acme", "--json").document()
    assert (document["version"], document["new"]) == (2, True)
    again = firm.shell("mapping", "publish", "acme", "--json").document()
    assert again == {"sheet": "mapping", "version": 2, "new": False, "days_to_do": []}


def test_a_broken_file_never_replaces_a_good_version(firm: Firm) -> None:
    before = newest(firm, "mapping")
    firm.sheet("mapping").write_text(BROKEN)
    told = firm.shell("mapping", "publish", "acme", "--json")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("error: mapping.csv was refused, 3 faults:\n")
    assert all(f"row {row}" in told.err for row in (2, 3, 4))
    assert newest(firm, "mapping") == before


def test_publishing_lists_the_days_of_held_records_that_are_tried_again(books: Firm) -> None:
    books.sheet("mapping").write_text(MAPPING + "5075,,,,,,,,,direct_cost,01-7800,O,,,,,\n")
    shown = books.shell("mapping", "publish", "acme")
    assert "mapping version 2 is published" in shown.out
    assert f"1 day are tried again: {today()}" in shown.out
    status = books.shell("status", "acme", "--json").document()
    assert status[0]["days_to_do"] == [str(today())]
    books.rig.settle()
    assert books.rig.record("Bill", "3").state == "posted"


def test_explain_tells_the_rule_of_each_line_and_why_those_above_did_not(books: Firm) -> None:
    document = books.shell("mapping", "explain", "acme", "bill:2", "--json").document()
    assert (document["record"], document["version"]) == ("bill:2", 1)
    first, second = document["lines"]
    assert (first["amount"], second["amount"]) == ("300.00", "20.10")
    assert [rule["row"] for rule in first["rules"] if rule["took"]] == [2]
    assert not any(rule["took"] for rule in second["rules"])
    assert all("5075 Small tools" in rule["why"] for rule in second["rules"][2:])
    assert [part["reason"] for part in second["now"]] == ["UNMAPPED"]
    shown = books.shell("mapping", "explain", "acme", "bill:2")
    assert "took it" in shown.out
    assert "20.10 held (UNMAPPED)" in shown.out


@pytest.mark.parametrize(
    "words",
    [
        ["bill:1"],
        ["https://qbo.intuit.com/app/bill?txnId=1"],
        ["bill", "4471", "granite"],
        ["Bill", "#4471", "GRANITE"],
    ],
    ids=" ".join,
)
def test_explain_finds_a_bill_by_id_link_and_words(words: list[str], books: Firm) -> None:
    document = books.shell("mapping", "explain", "acme", *words, "--json").document()
    assert document["record"] == "bill:1"
    assert [part["code"] for line in document["lines"] for part in line["now"]] == ["03-3000.M"]


def test_explain_of_a_vendor_says_that_only_bills_are_mapped(books: Firm) -> None:
    assert "vendor:21 is no bill" in books.shell("mapping", "explain", "acme", "vendor:21").sentence()
