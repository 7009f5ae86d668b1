"""Explaining a line: which rule took it, and what every other rule said."""

from dataclasses import replace

from ml_connector.mapping.explain import explain_line
from ml_connector.mapping.models import Candidate
from ml_connector.qbo.models import Bill, Ref
from ml_connector_tests.mapping.books import HARBOR, REFERENCE, bill, cost, line, mapped, only_posted, rules

RULES = rules(
    cost("03-3000", "L", account="5030"),
    cost("03-3000", "L", item="Lumber"),
    cost("03-3000", "L", item="Ready-mix", class_="Labor"),
    cost("03-3000", "L", item="Ready-mix", location="North"),
    cost("03-3000", "L", vendor="Granite Supply"),
    cost("03-3000", "L", customer="62"),
    cost("03-3000", "L", description="crane"),
    cost("03-3000", "L", valid_from="2026-07-01"),
    cost("03-3000", "L", item="Ready-mix", valid_to="2026-05-31"),
    cost("03-3000", "M", item="ready-mix"),
    cost("01-5000", "E", description="rental pump"),
    cost("01-5000", "E", description="crane"),
    cost("03-3000", "M"),
)


def explained(one: Bill) -> list[Candidate]:
    return explain_line(one.lines[0], one, rules=RULES, reference=REFERENCE)


def test_S25_the_winner_and_why_every_other_rule_is_not() -> None:
    one = bill(line("10.00", item="Ready-mix", customer=HARBOR, description="with rental pump"))
    assert explained(one) == [
        Candidate(2, took=False, why="account: it asks for “5030”, the line has “5010 Job Costs:Materials”"),
        Candidate(3, took=False, why="item: it asks for “Lumber”, the line has “Concrete:Ready-mix”"),
        Candidate(4, took=False, why="class: it asks for “Labor”, the line has none"),
        Candidate(5, took=False, why="location: it asks for “North”, the line has none"),
        Candidate(6, took=False, why="vendor: it asks for “Granite Supply”, the line has “City Rental”"),
        Candidate(
            7, took=False, why="customer: it asks for “62”, the line has “Harbor Health:Harbor Clinic”"
        ),
        Candidate(8, took=False, why="description: it asks for “crane”, the line has “with rental pump”"),
        Candidate(9, took=False, why="valid_from: it holds from 2026-07-01, the bill is dated 2026-06-28"),
        Candidate(10, took=False, why="valid_to: it holds until 2026-05-31, the bill is dated 2026-06-28"),
        Candidate(11, took=True, why="every condition holds"),
        Candidate(12, took=False, why="would also match, but row 11 comes first"),
        Candidate(13, took=False, why="not reached"),
        Candidate(14, took=False, why="would also match, but row 11 comes first"),
    ]
    assert only_posted(mapped(one, by=RULES)).rule == "4.11"


def test_the_rule_for_the_rest_says_that_it_asks_for_nothing() -> None:
    one = bill(line("10.00", account="6200", customer=HARBOR))
    assert explained(one)[-1] == Candidate(14, took=True, why="it asks for nothing")


def test_a_split_rule_is_one_candidate() -> None:
    book = rules(
        cost("03-3000", "M", item="Lumber", share="1"), cost("03-3000", "L", item="Lumber", share="1")
    )
    one = bill(line("10.00", item="Lumber", customer=HARBOR))
    candidates = explain_line(one.lines[0], one, rules=book, reference=REFERENCE)
    assert candidates == [Candidate(2, took=True, why="every condition holds")]


def test_no_rule_is_asked_of_a_line_without_money_or_standing() -> None:
    assert explained(bill(line(None, account="5010"))) == []
    assert explained(bill(line("1.00", description="note", kind="DescriptionOnly"))) == []
    assert explained(bill(replace(line("1.00", account="5010"), account=Ref("999", "Gone")))) == []
