"""What becomes of the lines of a bill: the mapping half of the scenarios."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from ml_connector.holds import Reason
from ml_connector.mapping.models import Excluded, Held, Posted, RuleBook
from ml_connector.mapping.sheets import parse_projects
from ml_connector.money import total
from ml_connector.procore.models import BudgetCode, Catalog
from ml_connector.qbo.models import TAX_LINE, Entity, Item, Ref
from ml_connector.settings import Policies
from ml_connector_tests.mapping.books import (
    CATALOG,
    DEPOT,
    ELM,
    HARBOR,
    MILL,
    REFERENCE,
    bill,
    cost,
    line,
    mapped,
    only_held,
    only_posted,
    project,
    rules,
    told,
)


def test_S01_one_line_goes_to_the_budget_code_of_its_project() -> None:
    result = mapped(
        bill(line("1250.00", item="Ready-mix", customer=HARBOR, description="Slab"), number="4471")
    )
    posted = only_posted(result)
    assert posted == Posted(
        line=1,
        amount=Decimal("1250.00"),
        project="101",
        wbs_code_id=101000,
        cost_code="03-3000",
        cost_type="M",
        description="Slab",
        quantity=None,
        unit_price=None,
        rule="4.2",
    )
    assert (result.holds, result.texts) == ((), ())


def test_S02_a_bill_over_two_projects_is_shared_by_its_lines() -> None:
    result = mapped(
        bill(
            line("1200.00", item="Ready-mix", customer=HARBOR),
            line("800.00", item="Ready-mix", customer=ELM),
            line("1000.00", item="Lumber", customer=HARBOR),
        )
    )
    assert told(result.parts) == [
        "1 101 03-3000 / M 1200.00",
        "2 102 03-3000 / M 800.00",
        "3 101 06-1000 / M 1000.00",
    ]


def test_S03_the_bad_line_waits_and_the_good_ones_say_where_they_would_go() -> None:
    result = mapped(
        bill(
            line("2200.00", item="Ready-mix", customer=HARBOR),
            line("800.00", item="Ready-mix", customer=DEPOT),
        )
    )
    assert told(result.parts) == ["1 101 03-3000 / M 2200.00", "2 held PROJECT_CLOSED 800.00"]
    assert result.holds == ()


def test_S04_item_coded_and_account_coded_lines_stand_in_one_bill() -> None:
    result = mapped(
        bill(line("10.00", item="Lumber", customer=HARBOR), line("20.00", account="5030", customer=HARBOR))
    )
    assert told(result.parts) == ["1 101 06-1000 / M 10.00", "2 101 01-5000 / E 20.00"]
    assert [part.rule for part in result.parts if isinstance(part, Posted)] == ["4.3", "4.4"]


@pytest.mark.parametrize("asked", ["31", "ready-mix", "Concrete:Ready-Mix"])
def test_S04_an_item_is_named_by_id_name_or_full_name(asked: str) -> None:
    result = mapped(
        bill(line("10.00", item="Ready-mix", customer=HARBOR)), by=rules(cost("03-3000", "L", item=asked))
    )
    assert told(result.parts) == ["1 101 03-3000 / L 10.00"]


@pytest.mark.parametrize("asked", ["5010", "11", "job costs:MATERIALS"])
def test_S04_an_item_line_stands_on_its_items_account(asked: str) -> None:
    result = mapped(
        bill(line("10.00", item="Lumber", customer=HARBOR)), by=rules(cost("03-3000", "L", account=asked))
    )
    assert told(result.parts) == ["1 101 03-3000 / L 10.00"]


def test_an_account_number_is_text_and_no_number() -> None:
    book = rules(cost("03-3000", "L", account="05010"), cost("03-3000", "L", account="Materials"))
    result = mapped(bill(line("10.00", account="5010", customer=HARBOR)), by=book)
    assert told(result.parts) == ["1 held UNMAPPED 10.00"]


def test_S05_the_class_decides_the_cost_type() -> None:
    book = rules(
        cost("03-3000", "L", account="5010", class_="labor"),
        cost("03-3000", "M", account="5010", class_="Material"),
    )
    result = mapped(
        bill(
            line("10.00", account="5010", customer=HARBOR, class_name="Labor"),
            line("20.00", account="5010", customer=HARBOR, class_name="Field:Material"),
            line("30.00", account="5010", customer=HARBOR),
        ),
        by=book,
    )
    assert told(result.parts) == [
        "1 101 03-3000 / L 10.00",
        "2 101 03-3000 / M 20.00",
        "3 held UNMAPPED 30.00",
    ]


@pytest.mark.parametrize(
    "condition",
    [
        {"vendor": "46"},
        {"vendor": "granite supply"},
        {"location": "2"},
        {"location": "Yards:North"},
        {"location": "north"},
        {"customer": "61"},
        {"customer": "harbor health:harbor clinic"},
        {"class_": "5000000000000007195"},
        {"description": "PUMP"},
        {"description": "*pump*"},
        {"description": 'small p?mp [2"] for*'},
    ],
    ids=str,
)
def test_every_condition_takes_what_it_names_and_nothing_else(condition: dict[str, str]) -> None:
    quoted = {name: '"' + text.replace('"', '""') + '"' for name, text in condition.items()}
    book = rules(cost("03-3000", "M", **quoted), cost("03-3000", "L", account="5010"))
    fitting = bill(
        line(
            "10.00",
            account="5010",
            customer=HARBOR,
            class_name="Labor",
            description='Small pump [2"]\nfor the pit',
        ),
        vendor="Granite Supply",
    )
    located = replace(fitting, location=Ref("2", "Yards:North"))
    assert told(mapped(located, by=book).parts) == ["1 101 03-3000 / M 10.00"]
    other = replace(
        bill(line("10.00", account="5010", customer=ELM, description="a pomp"), vendor="Granite Supply Inc"),
        vendor=Ref("47", "Granite Supply Inc"),
        location=Ref("3", "Yards:North East"),
    )
    assert told(mapped(other, by=book).parts) == ["1 102 03-3000 / L 10.00"]


def test_a_pattern_is_asked_of_the_whole_text_and_never_runs_away() -> None:
    book = rules(cost("03-3000", "M", description="pump*"), cost("03-3000", "L", account="5010"))
    result = mapped(bill(line("1.00", account="5010", customer=HARBOR, description="a pump")), by=book)
    assert told(result.parts) == ["1 101 03-3000 / L 1.00"]
    greedy = rules(cost("03-3000", "M", description="*a" * 40 + "b"), cost("03-3000", "L", account="5010"))
    long = mapped(bill(line("1.00", account="5010", customer=HARBOR, description="a" * 4000)), by=greedy)
    assert told(long.parts) == ["1 101 03-3000 / L 1.00"]


def test_S06_overhead_in_a_job_bill_is_excluded_and_counted() -> None:
    result = mapped(bill(line("500.00", item="Ready-mix", customer=HARBOR), line("60.00", account="6100")))
    assert told(result.parts) == ["1 101 03-3000 / M 500.00", "2 excluded OVERHEAD 60.00"]
    assert result.parts[1] == Excluded(2, Decimal("60.00"), "OVERHEAD", "4.8", "Office")


def test_S07_a_job_cost_line_without_project_waits_with_a_sentence() -> None:
    held = only_held(mapped(bill(line("300.00", account="5075"))))
    assert held.hold.reason is Reason.NO_PROJECT
    assert held.hold.sentence == (
        "Line 1 of bill 4490 (City Rental, 300.00) has a job-cost account but no project: "
        "choose the customer or project of the line in QBO, or add a rule for it."
    )
    assert (held.hold.amount, held.hold.line, held.rule) == (Decimal("300.00"), 1, "")


def test_S07_a_line_of_a_job_cost_rule_without_project_waits_too() -> None:
    held = only_held(mapped(bill(line("300.00", account="5030"))))
    assert held.hold.sentence.startswith(
        "Line 1 of bill 4490 (City Rental, 300.00) has a job-cost account but no project: "
    )
    assert held.rule == "4.4"


def test_S07_an_expense_account_that_a_rule_names_is_a_job_cost_account() -> None:
    named = rules(cost("01-7800", "O", account="6200", class_="Field"))
    assert told(mapped(bill(line("300.00", account="6200")), by=named).parts) == ["1 held NO_PROJECT 300.00"]
    excluded = rules({"account": "6200", "class": "Field", "route": "exclude", "reason": "RENT"})
    assert told(mapped(bill(line("300.00", account="6200")), by=excluded).parts) == [
        "1 excluded OVERHEAD 300.00"
    ]


def test_S08_text_lines_carry_no_money_and_crash_nothing() -> None:
    result = mapped(
        bill(
            line(None, description="See ticket 881"),
            line("10.00", item="Lumber", customer=HARBOR),
            line(None, account="5010", description="second page"),
            line(None),
        )
    )
    assert told(result.parts) == ["2 101 06-1000 / M 10.00"]
    assert result.texts == ("See ticket 881", "second page")


def test_S08_a_comment_with_an_amount_counts_for_nothing_but_never_unseen() -> None:
    comment = line("50.00", description="note", kind="DescriptionOnly")
    ignored = mapped(bill(comment, line("10.00", item="Lumber", customer=HARBOR), total="10.00"))
    assert (told(ignored.parts), ignored.holds, ignored.texts) == (["2 101 06-1000 / M 10.00"], (), ("note",))
    counted = mapped(bill(comment, line("10.00", item="Lumber", customer=HARBOR), total="60.00"))
    assert [hold.reason for hold in counted.holds] == [Reason.UNBALANCED]


def test_S09_freight_goes_to_its_own_code() -> None:
    result = mapped(
        bill(
            line("2000.00", item="Ready-mix", customer=HARBOR),
            line("150.00", account="5090", customer=HARBOR),
        )
    )
    assert told(result.parts) == ["1 101 03-3000 / M 2000.00", "2 101 01-7800 / O 150.00"]


def test_S09_freight_is_spread_by_shares_and_the_cent_lands_on_the_largest() -> None:
    book = rules(
        cost("03-3000", "M", account="5090", share="1"),
        cost("06-1000", "M", account="5090", share="2"),
        cost("01-7800", "O", account="5090", share="3"),
    )
    result = mapped(bill(line("150.01", account="5090", customer=HARBOR)), by=book)
    assert told(result.parts) == [
        "1 101 03-3000 / M 25.00",
        "1 101 06-1000 / M 50.00",
        "1 101 01-7800 / O 75.01",
    ]


def test_S10_separate_tax_holds_the_whole_bill_and_is_counted() -> None:
    one = bill(line("1000.00", item="Ready-mix", customer=HARBOR), total="1120.00")
    result = mapped(replace(one, tax=Decimal("120.00")))
    (hold,) = result.holds
    assert (hold.reason, hold.amount, "120.00" in hold.sentence) == (
        Reason.TAX_POLICY,
        Decimal("1120.00"),
        True,
    )
    assert told(result.parts) == ["1 101 03-3000 / M 1000.00", "0 held TAX_POLICY 120.00"]


def test_S10_tax_as_a_line_holds_the_whole_bill_once() -> None:
    one = bill(line("1000.00", item="Ready-mix", customer=HARBOR), line("50.00", kind=TAX_LINE))
    for tax in ("0.00", "50.00"):
        result = mapped(replace(one, tax=Decimal(tax)))
        assert [hold.reason for hold in result.holds] == [Reason.TAX_POLICY]
        assert told(result.parts) == ["1 101 03-3000 / M 1000.00", "2 held TAX_POLICY 50.00"]


def test_S11_a_negative_line_stays_negative() -> None:
    result = mapped(
        bill(
            line("1000.00", item="Ready-mix", customer=HARBOR),
            line("-120.00", item="Lumber", customer=HARBOR, description="Return pallets"),
        )
    )
    assert told(result.parts) == ["1 101 03-3000 / M 1000.00", "2 101 06-1000 / M -120.00"]


def test_S12_a_bill_of_zero_moves_cost_between_two_projects() -> None:
    result = mapped(
        bill(
            line("400.00", item="Ready-mix", customer=HARBOR), line("-400.00", item="Ready-mix", customer=ELM)
        )
    )
    assert told(result.parts) == ["1 101 03-3000 / M 400.00", "2 102 03-3000 / M -400.00"]
    assert result.holds == ()


def test_S13_a_bill_without_number_is_named_by_its_id() -> None:
    held = only_held(mapped(bill(line("300.00", account="5075"), number="")))
    assert held.hold.sentence.startswith(
        "Line 1 of bill without number (QBO id 145) (City Rental, 300.00) has "
    )


def test_S14_a_long_description_keeps_every_character() -> None:
    text = "O'Brien & Söhne GmbH\r\n🏗 " + "x" * 5000
    assert (
        only_posted(mapped(bill(line("1.00", item="Lumber", customer=HARBOR, description=text)))).description
        == text
    )


def test_S15_three_equal_shares_lose_no_cent() -> None:
    row = {"account": "5090", "share": "33.3"}
    book = rules(
        cost("03-3000", "M", **row),
        cost("06-1000", "M", **row),
        {**row, "route": "exclude", "reason": "OFFICE"},
    )
    result = mapped(bill(line("100.00", account="5090", customer=HARBOR)), by=book)
    assert told(result.parts) == [
        "1 101 03-3000 / M 33.34",
        "1 101 06-1000 / M 33.33",
        "1 excluded OFFICE 33.33",
    ]
    assert [part.rule for part in result.parts if not isinstance(part, Held)] == ["4.2", "4.3", "4.4"]
    cent = mapped(bill(line("0.01", account="5090", customer=HARBOR)), by=book)
    assert told(cent.parts) == ["1 101 03-3000 / M 0.01"]


def test_S16_quantity_and_price_go_along_with_a_whole_line_only() -> None:
    measured = replace(
        line("605.00", account="5090", customer=HARBOR), quantity=Decimal("12.5"), unit_price=Decimal("48.40")
    )
    posted = only_posted(mapped(bill(measured)))
    assert (posted.quantity, posted.unit_price, posted.amount) == (
        Decimal("12.5"),
        Decimal("48.40"),
        Decimal("605.00"),
    )
    book = rules(
        cost("03-3000", "M", account="5090", share="1"), cost("06-1000", "M", account="5090", share="1")
    )
    for part in mapped(bill(measured), by=book).parts:
        assert isinstance(part, Posted)
        assert (part.amount, part.quantity, part.unit_price) == (Decimal("302.50"), None, None)


def test_S17_a_bill_in_another_currency_waits_as_a_whole() -> None:
    one = bill(line("1000.00", item="Ready-mix", customer=HARBOR))
    (hold,) = mapped(replace(one, currency="CAD", exchange_rate=Decimal("0.7312"))).holds
    assert (hold.reason, hold.cause) == (Reason.CURRENCY, "CURRENCY CAD")
    assert mapped(replace(one, currency="")).holds == ()


@pytest.mark.parametrize(
    ("pairs", "offered"),
    [
        (
            [("09-2910", "S"), ("09-2900", "M"), ("09-2900", "L"), ("03-3000", "S")],
            "09-2900 / L, 09-2900 / M",
        ),
        (
            [("09-2910", "S"), ("09-2990", "S"), ("09-1000", "S"), ("09-29", "M"), ("26-0500", "S")],
            "09-2910 / S, 09-2990 / S, 09-1000 / S",
        ),
        ([("26-0500", "S")], ""),
    ],
    ids=["same code", "near code", "nothing near"],
)
def test_S22_S23_a_missing_budget_code_waits_with_the_nearest_pairs(
    pairs: list[tuple[str, str]], offered: str
) -> None:
    catalog = Catalog({"101": project("101", "Harbor Clinic", pairs)})
    book = rules(cost("09-2900", "S", account="5010"))
    hold = only_held(
        mapped(bill(line("300.00", account="5010", customer=HARBOR)), by=book, catalog=catalog)
    ).hold
    assert hold.reason is Reason.CODE_MISSING
    start = (
        "Line 1 of bill 4490 (City Rental, 300.00) needs budget code 09-2900 / S, which project "
        "Harbor Clinic (101) lacks: add it there or correct row 2 of mapping.csv"
    )
    assert hold.sentence == (f"{start}; nearest: {offered}." if offered else f"{start}.")


def test_S22_fourteen_bills_without_the_code_are_one_problem() -> None:
    book = rules(cost("09-2900", "S", account="5010"))
    causes = {
        only_held(
            mapped(bill(line(f"{count}.00", account="5010", customer=HARBOR), number=str(count)), by=book)
        ).hold.cause
        for count in range(1, 15)
    }
    assert causes == {"CODE_MISSING project 101 09-2900 / S"}
    elsewhere = only_held(mapped(bill(line("1.00", account="5010", customer=ELM)), by=book)).hold.cause
    assert elsewhere not in causes


def test_S22_an_inactive_budget_code_is_as_good_as_none() -> None:
    closed = replace(
        project("101", "Harbor Clinic"), codes={("03-3000", "M"): BudgetCode(1, "03-3000", "M", active=False)}
    )
    held = only_held(
        mapped(bill(line("1.00", item="Ready-mix", customer=HARBOR)), catalog=Catalog({"101": closed}))
    )
    assert held.hold.reason is Reason.CODE_MISSING


def test_codes_are_compared_without_case_and_posted_as_procore_spells_them() -> None:
    catalog = Catalog({"101": project("101", "Harbor Clinic", [("03-30A", "m")])})
    book = rules(cost("03-30a", "M", account="5010"))
    posted = only_posted(
        mapped(bill(line("1.00", account="5010", customer=HARBOR)), by=book, catalog=catalog)
    )
    assert (posted.cost_code, posted.cost_type) == ("03-30A", "m")


def test_S24_an_unmapped_account_waits_under_one_heading_until_a_rule_takes_it() -> None:
    bills = [
        bill(line(f"{count}.00", account="5075", customer=HARBOR), number=str(count)) for count in range(1, 9)
    ]
    holds = [only_held(mapped(one)).hold for one in bills]
    assert {hold.cause for hold in holds} == {"UNMAPPED account 14"}
    assert "account 5075 Job Costs:Temporary works, which no rule takes" in holds[0].sentence
    later = rules(cost("03-3000", "M", item="Ready-mix"), cost("01-5000", "E", account="5075"), version=5)
    assert {only_posted(mapped(one, by=later)).rule for one in bills} == {"5.3"}


def test_S25_the_first_rule_that_matches_wins() -> None:
    book = rules(cost("03-3000", "M", item="Ready-mix"), cost("01-5000", "E", description="rental pump"))
    both = bill(line("10.00", item="Ready-mix", customer=HARBOR, description="with rental pump"))
    assert only_posted(mapped(both, by=book)).rule == "4.2"
    turned = rules(cost("01-5000", "E", description="rental pump"), cost("03-3000", "M", item="Ready-mix"))
    assert told(mapped(both, by=turned).parts) == ["1 101 01-5000 / E 10.00"]


def test_S26_two_versions_of_the_rules_stand_side_by_side() -> None:
    one = bill(line("10.00", item="Ready-mix", customer=HARBOR))
    old, new = (
        rules(cost("03-3000", "M", item="Ready-mix")),
        rules(cost("06-1000", "M", item="Ready-mix"), version=5),
    )
    seen = [only_posted(mapped(one, by=book)).rule for book in (old, new, old)]
    assert seen == ["4.2", "5.2", "4.2"]


@pytest.mark.parametrize(
    ("day", "code"),
    [(date(2026, 6, 28), "09-2900"), (date(2026, 6, 30), "09-2900"), (date(2026, 7, 1), "09-2910")],
)
def test_S27_the_bill_date_decides_which_rule_is_valid(day: date, code: str) -> None:
    book = rules(
        cost("09-2910", "S", item="Drywall", valid_from="2026-07-01"),
        cost("09-2900", "S", item="Drywall", valid_to="2026-06-30"),
    )
    catalog = Catalog({"101": project("101", "Harbor Clinic", [("09-2900", "S"), ("09-2910", "S")])})
    one = replace(bill(line("10.00", item="Drywall", customer=HARBOR)), txn_date=day)
    assert only_posted(mapped(one, by=book, catalog=catalog)).cost_code == code


def test_S87_a_project_that_is_not_linked_waits_under_one_heading_until_it_is() -> None:
    one = bill(line("10.00", item="Ready-mix", customer=MILL))
    hold = only_held(mapped(one)).hold
    assert (hold.reason, hold.cause) == (Reason.PROJECT_NOT_LINKED, "PROJECT_NOT_LINKED customer 64")
    assert (
        "is for Mill Bridge, which is linked to no Procore project: add a row to projects.csv"
        in hold.sentence
    )
    for row in ("64,102", "mill bridge,102"):
        links = parse_projects(f"customer,project\n{row}\n".encode(), 3)
        assert told(mapped(one, links=links).parts) == ["1 102 03-3000 / M 10.00"]


def test_S87_the_id_of_a_customer_goes_before_a_name() -> None:
    links = parse_projects(b"customer,project\nHarbor Health:Harbor Clinic,102\n61,101\n", 3)
    one = bill(line("10.00", item="Ready-mix", customer=HARBOR))
    assert only_posted(mapped(one, links=links)).project == "101"


def test_S87_a_renamed_customer_is_known_by_its_present_name() -> None:
    renamed = replace(HARBOR, name="Harbor Clinic (old name)")
    links = parse_projects(b"customer,project\nHarbor Health:Harbor Clinic,101\n", 3)
    assert (
        only_posted(mapped(bill(line("1.00", item="Lumber", customer=renamed)), links=links)).project == "101"
    )


def test_a_rule_may_name_the_project_itself() -> None:
    book = rules(cost("03-3000", "M", account="5010", project="102"))
    for customer in (None, HARBOR, MILL):
        assert (
            only_posted(mapped(bill(line("1.00", account="5010", customer=customer)), by=book)).project
            == "102"
        )


def test_S88_a_closed_project_says_reopen_recode_or_exclude() -> None:
    hold = only_held(mapped(bill(line("10.00", item="Ready-mix", customer=DEPOT)))).hold
    assert (hold.reason, hold.cause) == (Reason.PROJECT_CLOSED, "PROJECT_CLOSED project 103")
    assert hold.sentence.endswith(
        "goes to project Depot Lofts (103), which is closed in Procore: reopen it, choose another "
        "project in QBO, or exclude the line by a rule."
    )


def test_S110_a_project_that_procore_does_not_list_is_not_permitted_or_misnamed() -> None:
    held = only_held(mapped(bill(line("10.00", item="Ready-mix", customer=HARBOR)), catalog=Catalog({})))
    assert held.hold.reason is Reason.PERMISSION
    assert "101, which Procore does not list for ml-connector: it is not permitted, or there is no such" in (
        held.hold.sentence
    )


def test_S124_retainage_without_a_commitment_is_excluded() -> None:
    result = mapped(
        bill(
            line("2000.00", item="Ready-mix", customer=HARBOR),
            line("-200.00", account="2150", customer=HARBOR),
        )
    )
    assert told(result.parts) == ["1 101 03-3000 / M 2000.00", "2 excluded RETAINAGE_PAYABLE -200.00"]
    back = mapped(bill(line("10.00", item="Ready-mix", customer=HARBOR), line("200.00", account="2150")))
    assert told(back.parts)[1] == "2 excluded RETAINAGE_PAYABLE 200.00"


def test_S34_a_release_alone_is_for_posting_to_find_its_commitment() -> None:
    release = mapped(bill(line("200.00", account="2150", customer=HARBOR)))
    assert told(release.parts) == ["1 101 retained 200.00"]


def test_S33_a_subcontract_bill_goes_with_its_retainage() -> None:
    result = mapped(
        bill(
            line("-1000.00", account="2150"),
            line("10000.00", account="5020", customer=HARBOR),
            vendor="Bright Electric",
        )
    )
    assert told(result.parts) == ["1 no project retained -1000.00", "2 101 committed 26-0500 / S 10000.00"]


def test_S127_what_is_no_cost_waits_with_a_project_and_is_excluded_without() -> None:
    lines = [
        line("1.00", item="Anchors", customer=HARBOR),
        line("2.00", account="1500", customer=HARBOR),
        line("3.00", account="1400"),
        line("4.00", account="2700"),
        line("5.00", item="Anchors"),
        line("6.00", account="6200"),
    ]
    assert told(mapped(bill(*lines)).parts) == [
        "1 held NOT_A_COST 1.00",
        "2 held NOT_A_COST 2.00",
        "3 excluded NOT_A_COST 3.00",
        "4 excluded NOT_A_COST 4.00",
        "5 excluded NOT_A_COST 5.00",
        "6 excluded OVERHEAD 6.00",
    ]
    assert [part.account for part in mapped(bill(*lines)).parts if isinstance(part, Excluded)] == [
        "Prepaid insurance",
        "Bank loan",
        "Inventory",
        "Rent",
    ]


def test_S127_an_account_without_classification_is_told_by_its_type() -> None:
    accounts = dict(REFERENCE.accounts)
    accounts["20"] = replace(accounts["20"], classification="")
    result = mapped(bill(line("2.00", account="1500")), reference=replace(REFERENCE, accounts=accounts))
    assert told(result.parts) == ["1 excluded NOT_A_COST 2.00"]


def test_S127_an_inventory_item_is_no_cost_whatever_its_account() -> None:
    for account in (None, Ref("14", "Job Costs:Temporary works")):
        items = {**REFERENCE.items, "34": replace(REFERENCE.items["34"], account=account)}
        result = mapped(
            bill(line("2.00", item="Anchors", customer=HARBOR)), reference=replace(REFERENCE, items=items)
        )
        assert told(result.parts) == ["1 held NOT_A_COST 2.00"]


def test_S127_a_rule_that_names_a_balance_sheet_account_makes_it_a_cost() -> None:
    book = rules(cost("01-5000", "E", account="1500"))
    assert told(mapped(bill(line("2.00", account="1500", customer=HARBOR)), by=book).parts) == [
        "1 101 01-5000 / E 2.00"
    ]


def test_S127_overhead_waits_where_the_policy_says_hold() -> None:
    held = only_held(mapped(bill(line("6.00", account="6200")), policies=Policies(overhead="hold")))
    assert held.hold.reason is Reason.NO_PROJECT


def test_an_expense_with_project_and_no_rule_is_unmapped() -> None:
    assert told(mapped(bill(line("6.00", account="6200", customer=HARBOR))).parts) == ["1 held UNMAPPED 6.00"]


def test_an_item_without_account_is_fine_for_a_rule_that_does_not_ask_for_it() -> None:
    consulting = bill(line("10.00", item="Consulting", customer=HARBOR))
    assert told(mapped(consulting, by=rules(cost("03-3000", "L", item="consulting"))).parts) == [
        "1 101 03-3000 / L 10.00"
    ]
    hold = only_held(mapped(consulting)).hold
    assert hold.reason is Reason.UNMAPPED
    assert (
        "is on item Consulting, which has no expense account: add a rule that names the item" in hold.sentence
    )


@pytest.mark.parametrize("missing", ["account", "item", "account of an item"])
def test_a_line_on_what_the_lists_do_not_have_waits_whatever_the_rules(missing: str) -> None:
    everything = rules(cost("03-3000", "M"))
    if missing == "account":
        one, reference = line("10.00", account="5010", customer=HARBOR), replace(REFERENCE, accounts={})
    elif missing == "item":
        one, reference = line("10.00", item="Lumber", customer=HARBOR), replace(REFERENCE, items={})
    else:
        one, reference = line("10.00", item="Lumber", customer=HARBOR), replace(REFERENCE, accounts={})
    hold = only_held(mapped(bill(one), by=everything, reference=reference)).hold
    assert hold.reason is Reason.UNMAPPED
    assert "which is not in the list read from QBO" in hold.sentence


@pytest.mark.parametrize("kind", ["AccountBasedExpenseLineDetail", "ItemBasedExpenseLineDetail"])
def test_a_money_line_that_names_nothing_waits(kind: str) -> None:
    assert "choose one in QBO" in only_held(mapped(bill(line("10.00", kind=kind)))).hold.sentence


@pytest.mark.parametrize("kind", ["GroupLineDetail", "SomethingNewLineDetail", ""])
def test_a_line_of_unknown_type_waits_and_is_named(kind: str) -> None:
    unknown = replace(line("10.00", account="5010", customer=HARBOR), kind=kind)
    hold = only_held(mapped(bill(unknown), by=rules(cost("03-3000", "M")))).hold
    assert hold.reason is Reason.UNMAPPED
    assert (kind or "without a type") in hold.sentence


def test_S54_a_vendor_credit_is_a_cost_below_zero_and_so_are_its_exclusions_and_holds() -> None:
    back = replace(
        line("90.00", item="Ready-mix", customer=HARBOR), quantity=Decimal("2"), unit_price=Decimal("45.00")
    )
    credit = replace(
        bill(
            back,
            line("-5.00", item="Lumber", customer=HARBOR),
            line("10.00", account="6100"),
            line("1", account="5075"),
        ),
        entity=Entity.VENDOR_CREDIT,
    )
    result = mapped(credit)
    assert (result.total, result.holds) == (Decimal("-96.00"), ())
    assert told(result.parts) == [
        "1 101 03-3000 / M -90.00",
        "2 101 06-1000 / M 5.00",
        "3 excluded OVERHEAD -10.00",
        "4 held NO_PROJECT -1.00",
    ]
    assert isinstance(result.parts[0], Posted) and isinstance(result.parts[3], Held)
    assert (result.parts[0].quantity, result.parts[0].unit_price) == (Decimal(-2), Decimal("45.00"))
    hold = result.parts[3].hold
    assert (hold.amount, hold.sentence[:59]) == (
        Decimal("-1.00"),
        "Line 4 of vendor credit 4490 (City Rental, 1.00) has a job-"[:59],
    )


def test_S57_retainage_on_a_credit_is_that_of_a_commitment() -> None:
    credit = replace(bill(line("90.00", account="2150", customer=HARBOR)), entity=Entity.VENDOR_CREDIT)
    assert told(mapped(credit).parts) == ["1 101 retained -90.00"]


def test_a_bill_whose_lines_do_not_add_up_waits_with_both_figures() -> None:
    (hold,) = mapped(bill(line("10.00", item="Lumber", customer=HARBOR), total="12.00")).holds
    assert (hold.reason, hold.amount) == (Reason.UNBALANCED, Decimal("12.00"))
    assert "lines that add up to 10.00, but a total of 12.00" in hold.sentence
    taxed = replace(bill(line("10.00", item="Lumber", customer=HARBOR), total="12.00"), tax=Decimal("1.00"))
    assert [hold.reason for hold in mapped(taxed).holds] == [Reason.TAX_POLICY, Reason.UNBALANCED]


def test_a_bill_without_lines_is_balanced_only_at_zero() -> None:
    (hold,) = mapped(bill(total="12.00")).holds
    assert "has no line with an amount, but a total of 12.00" in hold.sentence
    empty = mapped(bill(total="0.00"))
    assert (empty.parts, empty.holds) == ((), ())


def test_a_line_of_zero_goes_along_with_other_money_of_its_project_and_holds_nothing() -> None:
    free = replace(line("0.00", item="Lumber", customer=HARBOR), quantity=Decimal(4))
    result = mapped(
        bill(
            free,
            line("10.00", item="Ready-mix", customer=HARBOR),
            replace(free, customer=ELM),
            replace(free, customer=MILL),
            line("0.00", account="5075", customer=HARBOR),
            line("0.00", account="6100"),
        )
    )
    assert told(result.parts) == [
        "1 101 06-1000 / M 0.00",
        "2 101 03-3000 / M 10.00",
        "3 excluded NO_MONEY 0.00",
        "4 excluded NO_MONEY 0.00",
        "5 excluded NO_MONEY 0.00",
        "6 excluded OVERHEAD 0.00",
    ]
    assert total(part.amount for part in result.parts) == Decimal("10.00")


def test_a_bill_voided_to_zero_posts_nothing() -> None:
    result = mapped(bill(line("0.00", item="Lumber", customer=HARBOR)))
    assert (told(result.parts), result.holds) == (["1 excluded NO_MONEY 0.00"], ())


def _worst_sentences(by: RuleBook) -> list[str]:
    """Sentences of records whose every text is as long and as odd as QBO allows."""
    odd = "\u202eÜ\x07 very\u00a0long\nname\U0001f3d7 " + "x" * 500
    item = Item("9" * 20, odd, odd, "Service", None, active=True)
    reference = replace(REFERENCE, items={**REFERENCE.items, item.id: item})
    long = {number: project(number, odd, [("1" * 60, "M"), ("03" * 30, "M")]) for number in ("101", "9" * 18)}
    catalog = Catalog({**long, "103": replace(CATALOG.projects["103"], name=odd)})
    customer = Ref("8" * 20, odd)
    lines = [
        line("-9999999999999.99", account="5075"),
        line("9999999999999.99", account="5010", customer=HARBOR),
        line("1.00", account="1500", customer=HARBOR),
        line("1.00", item="Ready-mix", customer=DEPOT),
        line("1.00", item="Ready-mix", customer=customer),
        line("1.00", account="5020", customer=HARBOR),
        line("1.00", account="2150", customer=HARBOR),
        line("1.00", account="5075", customer=HARBOR),
        replace(line("1.00", item="Ready-mix"), item=Ref(item.id, odd)),
        replace(line("1.00", item="Ready-mix"), item=Ref("7" * 20, odd)),
        line("1.00", kind=odd),
    ]
    sentences = []
    for number in ("", odd):
        one = replace(
            bill(*lines, number=number, total="1.00", vendor=odd), currency="CAD", tax=Decimal("1.00")
        )
        for entity in (Entity.BILL, Entity.VENDOR_CREDIT):
            result = mapped(replace(one, entity=entity), by=by, reference=reference, catalog=catalog)
            sentences += [hold.sentence for hold in result.holds]
            sentences += [part.hold.sentence for part in result.parts if isinstance(part, Held)]
    return sentences


def test_no_sentence_is_long_cut_or_holds_a_character_that_cannot_be_seen() -> None:
    book = rules(
        cost("03" * 20, "M" * 20, account="5010"),
        cost("03-3000", "M", item="Ready-mix"),
        {"account": "5020", "route": "commitment", "cost_code": "26-0500", "cost_type": "S"},
        {"account": "2150", "route": "retainage"},
    )
    sentences = _worst_sentences(book)
    assert len(sentences) > 25
    for words in sentences:
        assert len(words) <= 300
        assert words.isprintable()
        assert words.endswith("."), words
