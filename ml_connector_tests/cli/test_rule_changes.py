"""`mapping preview` and `mapping apply`: rules corrected after posting, as project controls type them."""

import os
import pwd

from ml_connector.store import audit
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import HARBOR, MAPPING, today

RIGHT = MAPPING.replace("Ready-mix,,,,,,,,direct_cost,03-3000,M", "Ready-mix,,,,,,,,direct_cost,03-3000,S")


def test_preview_tells_counts_and_money_of_a_file_that_is_not_published(books: Firm) -> None:
    books.sheet("mapping").write_text(RIGHT)
    mark = books.rig.procore.mark()
    document = books.shell("mapping", "preview", "acme", "--json").document()
    assert books.rig.procore.writes(mark) == []
    assert (document["version"], document["published"], document["looked_at"]) == (2, False, 1)
    assert (document["bills"], document["lines"], document["amount"]) == (1, 1, "1250.00")
    empty = {"lines_before": 0, "before": "0.00", "lines_after": 0, "after": "0.00"}
    place = {"project": HARBOR, "cost_code": "03-3000", "left_out": ""}
    assert document["codes"] == [
        {**place, **empty, "cost_type": "M", "lines_before": 1, "before": "1250.00"},
        {**place, **empty, "cost_type": "S", "lines_after": 1, "after": "1250.00"},
    ]
    assert (document["held"], document["excluded"], document["left_out"]) == ([], [], [])
    shown = books.shell("mapping", "preview", "acme")
    assert shown.code == 0
    assert "By mapping version 2, 1 of 1 settled bills would change: 1 line over 1,250.00." in shown.out
    assert "-1,250.00" in shown.out
    assert "`ml-connector mapping publish acme`, then `ml-connector mapping apply acme`" in shown.out


def test_preview_of_a_broken_file_tells_every_fault_and_stores_nothing(books: Firm) -> None:
    books.sheet("mapping").write_text(MAPPING.replace("direct_cost,06-1000,M", "nowhere,06-1000,M"))
    told = books.shell("mapping", "preview", "acme")
    assert (told.code, told.out) == (2, "")
    assert "row 3, route: 'nowhere' is no route" in told.err
    with books.rig.engine.connect() as db:
        assert [entry.event for entry in audit.story(db, "acme", "Sheet", "mapping")] == ["published"]


def test_preview_names_the_bills_that_would_wait_with_what_to_do(books: Firm) -> None:
    books.sheet("mapping").write_text(
        MAPPING.replace("direct_cost,03-3000,M,,,,,", "direct_cost,03-9999,M,,,,,", 1)
    )
    document = books.shell("mapping", "preview", "acme", "--json").document()
    assert document["held"] == [{"reason": "CODE_MISSING", "bills": 1, "amount": "1250.00"}]
    (bill,) = document["left_out"]
    assert (bill["record"], bill["number"], bill["becomes"]) == ("bill:1", "4471", "held")
    shown = books.shell("mapping", "preview", "acme")
    assert "CODE_MISSING: 1 bill over 1,250.00 would wait; Procore keeps what it has." in shown.out
    assert "needs budget code 03-9999 / M" in shown.out


def test_apply_needs_the_preview_of_what_is_published(books: Firm) -> None:
    assert (
        "mapping version 1 was never previewed" in books.shell("mapping", "apply", "acme", "--yes").sentence()
    )
    books.sheet("mapping").write_text(RIGHT)
    books.shell("mapping", "preview", "acme")
    refused = books.shell("mapping", "apply", "acme", "--yes").sentence()
    assert "mapping version 1 is not what was previewed last" in refused
    assert books.rig.dirty() == []


def test_apply_shows_the_preview_asks_and_tells_what_comes(books: Firm) -> None:
    books.sheet("mapping").write_text(RIGHT)
    books.shell("mapping", "preview", "acme")
    published = books.shell("mapping", "publish", "acme")
    assert "`ml-connector mapping preview acme`" in published.out
    books.rig.settle()
    mark = books.rig.procore.mark()
    assert "give --yes" in books.shell("mapping", "apply", "acme", "--json").sentence()
    asked = books.shell("mapping", "apply", "acme", answers="n\n")
    assert asked.code == 1
    assert "1 of 1 settled bills would change: 1 line over 1,250.00" in asked.out
    assert books.rig.dirty() == []
    done = books.shell("mapping", "apply", "acme", answers="y\n")
    assert done.code == 0
    assert f"The next runs post 1 bill of 1 day anew: {today()}" in done.out
    assert books.rig.procore.writes(mark) == []
    books.rig.settle()
    assert books.rig.record("Bill", "1").state == "updated"
    document = books.shell("mapping", "apply", "acme", "--yes", "--json").document()
    assert (document["version"], document["bills"], document["days_to_do"]) == (2, 0, [])
    with books.rig.engine.connect() as db:
        (told,) = [entry for entry in audit.story(db, "acme", "Bill", "1") if entry.event == "remapped"]
    assert told.actor == pwd.getpwuid(os.getuid()).pw_name


def test_explain_speaks_of_the_version_that_posted_a_bill_and_of_the_newest(books: Firm) -> None:
    head, *rows = RIGHT.splitlines()
    books.sheet("mapping").write_text("\n".join([head, "5099,,,,,,,,,exclude,,,,,,NEW,", *rows, ""]))
    books.shell("mapping", "publish", "acme")
    document = books.shell("mapping", "explain", "acme", "bill:1", "--json").document()
    (line,) = document["lines"]
    assert (document["version"], document["newest"], line["newest_row"]) == (1, 2, 3)
    assert [rule["row"] for rule in line["rules"] if rule["took"]] == [2]
    shown = books.shell("mapping", "explain", "acme", "bill:1")
    assert "By version 2, published since: row 3 takes it." in shown.out


def test_check_names_rows_that_can_never_match_and_the_rows_that_take_all_of_theirs(firm: Firm) -> None:
    late = "5030,,Labor,,,,,2026-07-01,,direct_cost,01-5000,E,,,,,\n"
    parts = "5091,,,,,,,,2026-06-30,direct_cost,01-7800,O,,,,,\n5091,,,,,,,2026-07-01,,direct_cost,01-7800,O,,,,,\n"
    firm.sheet("mapping").write_text(f"{MAPPING}{late}{parts}5091,,,,,,,,,direct_cost,01-7800,O,,,,,\n")
    document = firm.shell("mapping", "check", "acme", "--json").document()
    told = {warning["row"]: warning["text"] for warning in document["warnings"]}
    assert told == {
        11: "it can never match: row 4 above takes all that it asks for",
        14: "it can never match: rows 12, 13 above takes all that it asks for",
    }
