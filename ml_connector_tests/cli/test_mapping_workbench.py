"""`mapping check` against what was read, and `mapping suggest`: what a person needs to write the next rules."""

import csv

from ml_connector.mapping.sheets import MAPPING_COLUMNS, parse_mapping
from ml_connector_tests.cli.conftest import Firm
from ml_connector_tests.rig import MAPPING, line

BRIGHT, RENTAL = "22", "23"
DRILLS = f"""{MAPPING}5075,,,,Bright Electric,,drill,,,direct_cost,03-3000,M,,,,,
5075,,,,City Rental,,,,,direct_cost,01-7800,O,,,,,
"""


def test_S24_suggest_proposes_rows_by_what_became_of_such_lines_most_money_first(firm: Firm) -> None:
    rig, desk = firm.rig, firm.rig.bookkeeper
    rig.publish(mapping=DRILLS)
    odd = desk.vendor("=1+1")["Id"]
    desk.bill("1", [line("5.00", account="7", description="Drill bits")], vendor=BRIGHT)
    desk.bill("2", [line("6.00", account="7", description="Hoist"), line("7.00", account="7")], vendor=RENTAL)
    desk.bill("3", [line("40.00", account="7", description="Saw"), line("2.50", account="7")], vendor=BRIGHT)
    desk.bill("4", [line("100.00", account="7", description="Pump")], vendor=BRIGHT)
    desk.bill("5", [line("900.00", account="7", description="-Hose")], vendor=odd)
    rig.sync()
    out = rig.home.root / "rules.csv"
    document = firm.shell("mapping", "suggest", "acme", "--out", str(out), "--json").document()
    assert [(one["amount"], one["lines"], one["bills"]) for one in document] == [
        ("900.00", 1, 1),
        ("142.50", 3, 2),
    ]
    other, own = (one["row"] for one in document)
    assert own["note"].startswith("1 of 1 lines of this vendor on this account went this way; such as ")
    assert (own["account"], own["vendor"], own["route"], own["cost_code"], own["cost_type"]) == (
        ("5075", "Bright Electric", "direct_cost", "03-3000", "M")
    )
    assert other["note"].startswith("2 of 3 lines of other vendors on this account went this way")
    assert (other["vendor"], other["cost_code"]) == (odd, "01-7800"), (
        "a name that is a formula is told by its id"
    )
    rows = list(csv.reader(out.read_text("utf-8-sig").splitlines()))
    assert rows[0][: len(MAPPING_COLUMNS)] == list(MAPPING_COLUMNS)
    assert rows[1][len(MAPPING_COLUMNS) :] == ["1", "1", "900.00"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert (
        "rules.csv is there already" in firm.shell("mapping", "suggest", "acme", "--out", str(out)).sentence()
    )
    pasted = DRILLS + "".join(",".join(f'"{cell}"' for cell in row[:17]) + "\n" for row in rows[1:])
    assert len(parse_mapping(pasted.encode(), 0).rules) == 13
    rig.publish(mapping=pasted)
    rig.settle()
    assert rig.holds() == []
    assert "No line of acme waits for a rule." in firm.shell("mapping", "suggest", "acme").out


def test_suggest_without_a_past_leaves_the_outcome_to_the_person_but_what_was_excluded_counts(
    books: Firm,
) -> None:
    shown = books.shell("mapping", "suggest", "acme")
    assert "no line like it was posted before" in shown.out
    assert "Nothing is published." in shown.out
    decided = books.shell("decide", "acme", "bill:3", "exclude", "--comment", "Tools of the shop")
    assert decided.code == 0, decided.err
    books.rig.settle()
    (one,) = books.shell("mapping", "suggest", "acme", "--json").document()
    assert (one["row"]["vendor"], one["row"]["route"]) == ("Granite Supply", "exclude")
    assert (one["row"]["reason"], one["amount"]) == ("Tools of the shop", "20.10")


def test_S25_check_names_rows_that_no_line_used_and_names_that_nothing_has(books: Firm) -> None:
    books.sheet("mapping").write_text(
        f"{MAPPING}5099,,,,,,,,,direct_cost,03-3000,M,,,,,\n"  # 11
        ",,,,Granite,,,,,direct_cost,03-3000,M,,,,,\n"  # 12
        "5075,,,,,,*,,,direct_cost,77-0000,M,999,,,,\n"  # 13
        "5075,,,,Bright Electric,,,,,direct_cost,03-3000,M,,,,,\n"  # 14
        ",Nails,,,,Elm,,,,direct_cost,03-3000,M,,,,,\n"  # 15
    )
    document = books.shell("mapping", "check", "acme", "--json").document()
    assert document["errors"] == []
    told = {(entry["row"], entry["column"]): entry["text"] for entry in document["warnings"]}
    assert told[11, "account"] == "QuickBooks has no account 5099: the row can never match"
    assert told[12, "vendor"].startswith("QuickBooks has no vendor granite")
    assert told[13, "project"] == "Procore has no project 999"
    assert told[13, "cost_code"].startswith("no linked project has budget code 77-0000 / M in Procore")
    assert told[14, ""] == "never used: of 4 lines read, all 1 that fit it are taken by row 13 above"
    assert {(15, "item"), (15, "customer")} <= told.keys()
    assert told[3, ""] == "never used: of 4 lines read, none fits it"
    assert (2, "") not in told, "Ready-mix was billed"
