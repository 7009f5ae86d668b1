"""mapping.csv and projects.csv: what Excel writes is taken, every fault is told with its place."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.errors import SetupError
from ml_connector.mapping.models import Conditions, Route
from ml_connector.mapping.sheets import parse_mapping, parse_projects, warnings
from ml_connector.mapping.table import MOST_BYTES, MOST_ROWS, SheetRefused
from ml_connector.mapping.vendor_sheet import VendorLink, parse_vendors
from ml_connector_tests.mapping.books import HEADINGS, cost, rules, sheet


def refused(
    content: bytes, parse: Callable[[bytes, int], object] = parse_mapping
) -> list[tuple[int, str, str]]:
    with pytest.raises(SheetRefused) as refusal:
        parse(content, 1)
    assert isinstance(refusal.value, SetupError)
    return [(fault.row, fault.column, fault.text) for fault in refusal.value.faults]


def places(*rows: dict[str, str]) -> list[tuple[int, str]]:
    return [(row, column) for row, column, _ in refused(sheet(*rows))]


def test_a_sheet_becomes_rules_in_its_order() -> None:
    book = parse_mapping(
        b"route,account,cost_code,cost_type,valid_from,valid_to,project,description\n"
        b"direct_cost,5030,01-5000,E,2026-07-01,2026-12-31,101,rental *\n"
        b"retainage,2150,,,,,,\n",
        version=7,
    )
    assert book.version == 7
    first, second = book.rules
    assert first.row == 2
    assert first.conditions == Conditions(
        account="5030", description="rental *", valid_from=date(2026, 7, 1), valid_to=date(2026, 12, 31)
    )
    (outcome,) = first.outcomes
    assert (outcome.route, outcome.cost_code, outcome.cost_type) == (Route.DIRECT_COST, "01-5000", "E")
    assert (outcome.project, outcome.share, outcome.row) == ("101", Decimal(1), 2)
    assert second.outcomes[0].route is Route.RETAINAGE


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_form_that_excel_saves_is_read(separator: str, end: str, mark: str) -> None:
    rows = [
        ["Account", "description", "route", "Cost_Code", "cost_type", "", ""],
        ["5030", '"pump, crane; or 3/4"" pipe"', "direct_cost", "01-5000", "E", "", ""],
        ["", "", "", "", "", "", ""],
        ["\u00a05090 ", "Söhne", " Direct_Cost ", "01-7800", "O", "", ""],
        ["", "", "", "", "", "", ""],
    ]
    text = mark + end.join(separator.join(row) for row in rows) + end
    first, second = parse_mapping(text.encode(), 1).rules
    assert (first.row, second.row) == (2, 4)
    assert first.conditions.description == 'pump, crane; or 3/4" pipe'
    assert (second.conditions.account, second.conditions.description) == ("5090", "Söhne")


def test_quoted_headings_with_semicolons_are_read() -> None:
    book = parse_mapping(b'"account";"route";"reason"\n"6100";"exclude";"OVERHEAD"\n', 1)
    assert book.rules[0].outcomes[0].reason == "OVERHEAD"


def test_a_cell_over_two_lines_counts_as_one_row_as_in_excel() -> None:
    content = b'description,route,reason\n"two\nlines",exclude,A\nx,nonsense,\n'
    assert [(row, column) for row, column, _ in refused(content)] == [(3, "route")]


def test_blanks_that_come_along_from_a_web_page_are_trimmed() -> None:
    book = parse_mapping("account,route,reason\n\u200b\u00a06100\u200b ,exclude,A\n".encode(), 1)
    assert book.rules[0].conditions.account == "6100"


def test_S27_a_rule_may_hold_for_one_day() -> None:
    day = {"valid_from": "2026-07-01", "valid_to": "2026-07-01"}
    assert rules(cost("03-3000", "M", item="a", **day)).rules[0].conditions.valid_to == date(2026, 7, 1)


def test_a_row_with_a_note_alone_is_a_comment() -> None:
    content = b"account,route,reason,note\n,,,Concrete and what belongs to it\n6100,exclude,OVERHEAD,office\n"
    assert [rule.row for rule in parse_mapping(content, 1).rules] == [3]


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"account,route,reason\nB\xfcro,exclude,OVERHEAD\n", "CSV UTF-8"),
        ("account,route,reason\n6100,exclude,A\n".encode("utf-16"), "CSV UTF-8"),
        ("account,route,reason\n6100,exclude,A\n".encode("utf-16-le"), "CSV UTF-8"),
        (b"PK\x03\x04 whatever", "CSV UTF-8"),
        (b"", "headings"),
        (b"\n\n", "headings"),
        (b'account,route,reason\n"6100,exclude,A\n', "quote"),
        (b'account,route,reason\n"61"00,exclude,A\n', "quote"),
        (b"account,route\n" + b"x" * MOST_BYTES, "5 MB"),
        (b"account,route,reason\n" + b"6100,exclude,A\n" * (MOST_ROWS + 1), "50,000 rows"),
    ],
    ids=[
        "cp1252",
        "utf-16",
        "utf-16-le",
        "xlsx",
        "empty",
        "blank",
        "lone quote",
        "text after quote",
        "bytes",
        "rows",
    ],
)
def test_a_file_whose_rows_cannot_be_told_is_refused_with_the_way_out(content: bytes, hint: str) -> None:
    ((_, _, text),) = refused(content)
    assert hint in text


def test_the_row_of_a_wrong_byte_is_told() -> None:
    ((row, _, _),) = refused(b"account,route,reason\n6100,exclude,A\nB\xfcro,exclude,A\n")
    assert row == 3


def test_blank_rows_at_the_end_do_not_count_as_rows() -> None:
    content = b"account,route,reason\n6100,exclude,A\n" + b",,\n" * (MOST_ROWS + 10)
    assert len(parse_mapping(content, 1).rules) == 1


def test_headings_that_are_unknown_doubled_or_missing_are_told_at_once() -> None:
    faults = refused(b"account,amount,account,,cost_code\n")
    assert [(row, column) for row, column, _ in faults] == [
        (1, "amount"),
        (1, "account"),
        (1, "column 4"),
        (1, "route"),
    ]


@pytest.mark.parametrize(
    ("row", "column", "word"),
    [
        (cost("03-3000", "M", route="direct cost", item="a"), "route", "direct_cost, commitment"),
        (cost("03-3000", "M", route="", item="a"), "route", "missing"),
        (cost("", "M", item="a"), "cost_code", "needs"),
        (cost("03-3000", "", item="a"), "cost_type", "needs"),
        ({"account": "5020", "route": "commitment", "cost_type": "S"}, "cost_code", "needs"),
        ({"account": "6100", "route": "exclude"}, "reason", "needs"),
        (
            {"account": "6100", "route": "exclude", "reason": "A", "cost_code": "1"},
            "cost_code",
            "leave it empty",
        ),
        (cost("03-3000", "M", item="a", commitment="SC-007"), "commitment", "leave it empty"),
        (cost("03-3000", "M", item="a", reason="A"), "reason", "leave it empty"),
        (cost("03-3000", "M", item="a", valid_from="7/1/2026"), "valid_from", "2026-07-01"),
        (cost("03-3000", "M", item="a", valid_from="20260701"), "valid_from", "2026-07-01"),
        (cost("03-3000", "M", item="a", valid_to="2026-02-30"), "valid_to", "2026-07-01"),
        (
            cost("03-3000", "M", item="a", valid_from="2026-07-02", valid_to="2026-07-01"),
            "valid_to",
            "before",
        ),
        (cost("03-3000", "M", item="a", project="P101"), "project", "digits"),
        (cost("03-3000", "M", item="a", project="5.62E+14"), "project", "digits"),
        (cost('="03-3000"', "M", item="a"), "cost_code", "formula"),
        (cost("03-3000", "M", item="a" * 501), "item", "500"),
        (cost("03-3000", "M", item="a\x07"), "item", "control"),
    ],
)
def test_a_wrong_cell_is_told_with_row_and_column(row: dict[str, str], column: str, word: str) -> None:
    ((number, name, text),) = refused(sheet(cost("03-3000", "M", item="good"), row))
    assert (number, name) == (3, column)
    assert word in text


@pytest.mark.parametrize(
    "share", ["0", "-1", "33,3", "33%", "NaN", "1e3", "a third", "\uff11", "0.0000000001"]
)
def test_a_share_that_is_no_number_above_zero_is_told(share: str) -> None:
    rows = (cost("03-3000", "M", item="a", share="1"), cost("03-3000", "L", item="a", share=f'"{share}"'))
    assert places(*rows) == [(3, "share")]


def test_a_cell_beyond_the_headings_is_told() -> None:
    ((row, _, text),) = refused(b"account,route,reason\n6100,exclude,rent, light\n")
    assert row == 2
    assert "quote" in text


def test_every_fault_of_the_sheet_is_told_in_its_order_and_the_message_shows_twenty() -> None:
    content = sheet(*(cost("", "", item=f"item {number}") for number in range(15)))
    with pytest.raises(SheetRefused) as refusal:
        parse_mapping(content, 1)
    assert [fault.row for fault in refusal.value.faults] == [row for row in range(2, 17) for _ in range(2)]
    message = str(refusal.value)
    assert message.startswith("mapping.csv was refused, 30 faults:\n  row 2, cost_code: ")
    assert message.endswith("and 10 more")
    assert len(message.splitlines()) == 22


def test_S15_following_rows_with_shares_are_one_rule() -> None:
    book = rules(
        cost("03-3000", "M", account="5010", share="1"),
        cost("06-1000", "M", account=" 5010", share="2.5"),
        cost("01-7800", "O", account="5090"),
    )
    first, second = book.rules
    assert [(outcome.row, outcome.share) for outcome in first.outcomes] == [
        (2, Decimal(1)),
        (3, Decimal("2.5")),
    ]
    assert (first.row, second.row) == (2, 4)


def test_splits_that_are_not_whole_are_told() -> None:
    lone = cost("03-3000", "M", account="5010", share="1")
    assert places(lone) == [(2, "share")]
    assert places(lone, lone, cost("03-3000", "M", account="5010")) == [(4, "share")]
    other = cost("01-7800", "O", account="5090")
    assert places(lone, lone, other, lone) == [(5, "share")]
    assert places(lone, lone, other, lone, lone) == [(5, "share")]


def test_a_row_without_condition_may_stand_last_only() -> None:
    everything = cost("03-3000", "M")
    assert places(everything, cost("03-3000", "M", item="a")) == [(2, "")]
    (warning,) = warnings(rules(cost("03-3000", "M", item="a"), everything))
    assert (warning.row, "no condition" in warning.text) == (3, True)


def test_S25_a_row_that_can_never_match_is_reported() -> None:
    book = rules(
        cost("03-3000", "M", account="5010"),
        cost("06-1000", "M", account="5010", class_="Labor"),
        cost("06-1000", "M", account="5010"),
        cost("06-1000", "M", account="5011", class_="Labor"),
    )
    assert [(fault.row, fault.text.partition(":")[2]) for fault in warnings(book)] == [
        (3, " row 2 above takes all that it asks for"),
        (4, " row 2 above takes all that it asks for"),
    ]


def test_S27_a_row_is_hidden_only_when_the_rows_above_cover_its_whole_validity() -> None:
    until = cost("09-2900", "M", item="Drywall", valid_to="2026-06-30")
    since = cost("09-2910", "M", item="Drywall", valid_from="2026-07-01")
    late = cost("09-2910", "M", item="Drywall", valid_from="2026-07-02")
    always = cost("06-1000", "M", item="DRYWALL")
    assert warnings(rules(until, since)) == []
    assert warnings(rules(until, late, always)) == []
    assert warnings(rules(until, always)) == []
    (warning,) = warnings(rules(until, since, always))
    assert (warning.row, "rows 2, 3 above" in warning.text) == (4, True)


def test_a_code_that_excel_made_a_date_and_a_sheet_without_rules_are_warned_of() -> None:
    (warning,) = warnings(rules(cost("30-Mar", "M", item="a")))
    assert (warning.row, warning.column) == (2, "cost_code")
    (warning,) = warnings(parse_mapping(HEADINGS.encode(), 1))
    assert warning.row == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "1", "2"]), st.sampled_from(["", "a", "b"])), min_size=1, max_size=8
    )
)
def test_warned_rows_are_those_that_no_line_reaches(asked: list[tuple[str, str]]) -> None:
    asked = [pair for pair in asked if any(pair)] + [("", "")]
    book = rules(*(cost("03-3000", "M", account=account, class_=name) for account, name in asked))
    reached = set()
    for account in ("1", "2", "other"):
        for name in ("a", "b", "other"):
            fits = (rule.row for rule in book.rules if _fits(rule.conditions, account, name))
            reached.add(next(fits))
    never = {fault.row for fault in warnings(book) if "never" in fault.text}
    assert never == {rule.row for rule in book.rules} - reached


def _fits(conditions: Conditions, account: str, name: str) -> bool:
    return conditions.account in ("", account) and conditions.class_name in ("", name)


def test_projects_link_ids_and_full_names() -> None:
    links = parse_projects(
        b"project;customer;note\r\n101;61;\r\n102;City  Schools:ELM Street;\r\n101;61;again\r\n", 3
    )
    assert links.version == 3
    assert links.by_customer == {"61": "101", "city schools:elm street": "102"}


def test_every_fault_of_projects_is_told() -> None:
    content = b"customer,project\n61,101\n61,102\n,103\n62,\n63,P1\n64,=A1\n"
    faults = refused(content, parse_projects)
    assert [(row, column) for row, column, _ in faults] == [
        (3, "customer"),
        (4, "customer"),
        (5, "project"),
        (6, "project"),
        (7, "project"),
        (7, "project"),
    ]
    assert "row 2" in faults[0][2]
    assert refused(b"customer,note\n61,x\n", parse_projects)[0][:2] == (1, "project")


def test_vendors_link_ids_and_names_to_ids_and_names() -> None:
    links = parse_vendors(
        b"vendor,procore_vendor,note\r\n57,8812,the one in Sparks\r\nBright  Electric & Volt,bright electric,\r\n,,\r\n",
        4,
    )
    assert links.find("57", "ABC Concrete") == VendorLink(2, "57", "8812")
    named = links.find("99", "", "bright ELECTRIC & Volt")
    assert named == VendorLink(3, "Bright Electric & Volt", "bright electric")
    assert links.source(named) == "vendors.csv version 4, row 3"
    assert links.find("58", "Granite Supply") is None


def test_every_fault_of_vendors_is_told() -> None:
    faults = refused(b"vendor,procore_vendor\n57,8812\n57,8813\n57,8812\n,8814\n58,\n", parse_vendors)
    assert [(row, column) for row, column, _ in faults] == [
        (3, "vendor"),
        (5, "vendor"),
        (6, "procore_vendor"),
    ]
    assert "row 2 links it to another vendor, 8812" in faults[0][2]
    assert refused(b"vendor,note\n57,x\n", parse_vendors)[0][:2] == (1, "procore_vendor")


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(content: bytes) -> None:
    sheets = (
        (parse_mapping, HEADINGS),
        (parse_projects, "customer,project"),
        (parse_vendors, "vendor,procore_vendor"),
    )
    for parse, headings in sheets:
        for whole in (content, headings.encode() + b"\n" + content):
            try:
                parse(whole, 1)
            except SheetRefused as refusal:
                assert refusal.faults
