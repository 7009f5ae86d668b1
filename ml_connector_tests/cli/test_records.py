"""`holds`, `find` and `audit`: what waits, which records there are, and the story of one."""

from pathlib import Path

from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import line

ODD = "44[/x]\\%_"


def test_holds_are_grouped_by_cause_with_money_and_what_to_do(books: Firm) -> None:
    document = books.shell("holds", "acme", "--json").document()
    told = {group["cause"]: group for group in document}
    assert set(told) == {"PROJECT_NOT_LINKED customer 64", "UNMAPPED account 7"}
    unmapped = told["UNMAPPED account 7"]
    assert (unmapped["records"], unmapped["amount"]) == (2, "75.10")
    assert unmapped["who"] == "project controls"
    assert unmapped["release"] == "a rule for the line in mapping.csv"
    assert {(hold["record"], hold["amount"], hold["total"]) for hold in unmapped["holds"]} == {
        ("bill:2", "20.10", "320.10"),
        ("bill:3", "55.00", "55.00"),
    }
    shown = books.shell("holds", "acme").out
    assert "UNMAPPED: 2 records, 75.10 held. For project controls" in shown
    assert all(hold["sentence"] in shown for group in document for hold in group["holds"])


def test_where_nothing_waits_that_is_said(firm: Firm) -> None:
    assert firm.shell("holds", "acme").out == "Nothing of acme waits.\n"
    assert firm.shell("holds", "acme", "--json").document() == []


def test_find_lists_what_fits_all_words_and_never_guesses(books: Firm) -> None:
    both = books.shell("find", "acme", "bill", "4471", "--json").document()
    assert {(hit["record"], hit["vendor"], hit["total"], hit["state"]) for hit in both} == {
        ("bill:1", "Granite Supply", "1250.00", "posted"),
        ("bill:3", "Bright Electric", "55.00", "held"),
    }
    shown = books.shell("find", "acme", "granite").out
    assert "1,250.00" in shown
    assert "vendor:21" in shown
    assert books.shell("find", "acme", "no", "such").out == "No record of acme fits.\n"


def test_several_that_fit_are_listed_for_the_person_to_choose(books: Firm) -> None:
    for command in (["audit"], ["mapping", "explain"]):
        told = books.shell(*command, "acme", "4471")
        assert (told.code, told.out) == (2, "")
        assert told.err.startswith("error: 2 records of acme fit '4471'; name one of them:\n")
        assert "bill:1  number 4471  Granite Supply" in told.err
        assert "bill:3  number 4471  Bright Electric" in told.err


def test_none_that_fits_says_what_to_give(books: Firm) -> None:
    sentence = books.shell("audit", "acme", "4471", "nobody").sentence()
    assert "no record of acme fits '4471 nobody'" in sentence
    assert "bill:<id in QuickBooks>" in sentence
    assert "no kind of record" in books.shell("audit", "acme", "cheque:1").sentence()
    link = "https://qbo.intuit.com/app/homepage"
    assert "does not lead to a bill" in books.shell("audit", "acme", link).sentence()


def test_what_the_books_say_is_shown_as_it_is(firm: Firm) -> None:
    firm.rig.bookkeeper.bill(ODD, [line("10.00", account="7", description="[/red] \x1b[2J")])
    firm.rig.bookkeeper.bill("44712", [line("10.00", account="7")])
    firm.rig.sync()
    for command in (["holds", "acme"], ["audit", "acme", "bill:1"], ["mapping", "explain", "acme", "bill:1"]):
        told = firm.shell(*command)
        assert told.code == 0, told.err
        assert ODD in told.out
        assert "\x1b" not in told.out
    found = firm.shell("find", "acme", ODD[2:], "--json").document()
    assert [hit["record"] for hit in found] == ["bill:1"]


def test_the_story_of_a_bill_is_told_in_order_and_names_the_run(books: Firm) -> None:
    document = books.shell("audit", "acme", "bill:1", "--json").document()
    assert (document["record"], document["number"], document["vendor"]) == (
        "bill:1",
        "4471",
        "Granite Supply",
    )
    entries = document["entries"]
    assert [entry["event"] for entry in entries] == ["seen", "mapped", "sent", "posted"]
    assert [entry["number"] for entry in entries] == sorted(entry["number"] for entry in entries)
    assert all(entry["run"] in books.rig.runs for entry in entries)
    assert entries[-1]["detail"]["amount"] == "1250.00"
    shown = books.shell("audit", "acme", "bill:1").out
    told = shown.partition("What happened")[2]
    places = [told.index(f"│ {event} ") for event in ("seen", "mapped", "sent", "posted")]
    assert places == sorted(places)
    assert all(entry["run"][:8] in shown for entry in entries)


def test_a_second_connection_sees_nothing_of_the_first(books: Firm, tmp_path: Path) -> None:
    other = tmp_path / "home" / "connections" / "other"
    other.mkdir()
    other.joinpath("connection.yaml").write_text(
        "qbo: {realm_id: '2'}\nprocore: {company_id: 2}\ntime_zone: UTC\nstart_date: 2026-01-01\n"
    )
    assert "no record of other fits" in books.shell("audit", "other", "bill:1").sentence()
    assert books.shell("find", "other", "4471", "--json").document() == []
    assert books.shell("holds", "other", "--json").document() == []
