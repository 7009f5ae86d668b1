"""I1: whatever the bill and the rules, the parts add up to the total to the cent, or a hold says why not."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ml_connector.holds import Reason
from ml_connector.mapping.costs import tax_of
from ml_connector.mapping.models import Excluded, Held, Posted, Retained, RuleBook
from ml_connector.money import total
from ml_connector.qbo.models import TAX_LINE, Bill, Entity
from ml_connector.settings import Policies
from ml_connector_tests.mapping.books import (
    ACCOUNTS,
    DEPOT,
    ELM,
    HARBOR,
    ITEMS,
    MILL,
    bill,
    cost,
    line,
    mapped,
    rules,
)

amounts = st.decimals(min_value=-(10**6), max_value=10**6, places=2)
lines = st.builds(
    line,
    st.none() | amounts.map(str),
    account=st.sampled_from([account.number for account in ACCOUNTS]),
    customer=st.sampled_from([None, HARBOR, ELM, DEPOT, MILL]),
    class_name=st.sampled_from(["", "Labor", "Material"]),
) | st.builds(
    line,
    st.none() | amounts.map(str),
    item=st.sampled_from([item.name for item in ITEMS]),
    customer=st.sampled_from([None, HARBOR, ELM, DEPOT, MILL]),
    kind=st.sampled_from(["", "", "", TAX_LINE, "DescriptionOnly", "GroupLineDetail"]),
)


@st.composite
def bills(draw: st.DrawFn) -> Bill:
    one = bill(*draw(st.lists(lines, max_size=6)))
    return replace(
        one,
        entity=draw(st.sampled_from([Entity.BILL, Entity.BILL, Entity.VENDOR_CREDIT])),
        total=one.total + draw(st.sampled_from([Decimal("0.00")] * 3 + [Decimal("0.01"), Decimal("70.00")])),
        tax=draw(st.sampled_from([Decimal("0.00")] * 3 + [Decimal("70.00"), Decimal("-70.00")])),
        currency=draw(st.sampled_from(["", "USD", "CAD"])),
    )


@st.composite
def books(draw: st.DrawFn) -> RuleBook:
    outcomes = [
        cost("03-3000", "M"),
        cost("06-1000", "M", project="102"),
        cost("99-9999", "M"),
        cost("03-3000", "M", project="103"),
        {"route": "commitment", "cost_code": "26-0500", "cost_type": "S"},
        {"route": "retainage"},
        {"route": "exclude", "reason": "OFFICE"},
    ]
    rows = []
    for account in draw(st.lists(st.sampled_from([account.number for account in ACCOUNTS]), unique=True)):
        count = draw(st.integers(min_value=1, max_value=4))
        for _ in range(count):
            share = draw(st.sampled_from(["1", "33.3", "0.001", "1000"])) if count > 1 else ""
            rows.append({**draw(st.sampled_from(outcomes)), "account": account, "share": share})
    return rules(*rows)


@given(bills(), books(), st.sampled_from(["exclude", "hold"]))
def test_I1_posted_excluded_and_held_are_the_total(one: Bill, book: RuleBook, overhead: str) -> None:
    result = mapped(one, by=book, policies=Policies.model_validate({"overhead": overhead}))
    unbalanced = any(hold.reason is Reason.UNBALANCED for hold in result.holds)
    assert result.total == one.sign * one.total
    assert (total(part.amount for part in result.parts) == result.total) is not unbalanced
    for part in result.parts:
        assert part.amount.as_tuple().exponent == -2
        if isinstance(part, Held):
            assert part.hold.sentence
            assert part.line in range(len(one.lines) + 1)


@given(bills(), books())
def test_I5_every_line_with_money_is_in_the_answer_and_every_text_beside_it(
    one: Bill, book: RuleBook
) -> None:
    result = mapped(one, by=book)
    money = [(entry, entry.amount) for entry in one.lines if entry.amount is not None]
    for entry in one.lines:
        parts = [part for part in result.parts if part.line == entry.number]
        has_no_tax = entry.kind == TAX_LINE and not tax_of(one, money)
        if entry.amount is None or entry.kind == "DescriptionOnly" or has_no_tax:
            assert parts == []
        else:
            assert parts
            assert total(part.amount for part in parts) == one.sign * entry.amount


@given(bills(), books())
def test_I4_mapping_the_same_again_says_the_same(one: Bill, book: RuleBook) -> None:
    assert mapped(one, by=book) == mapped(one, by=RuleBook(book.version, book.rules))


@given(bills(), books())
def test_nothing_is_posted_to_a_closed_project_or_a_code_it_lacks(one: Bill, book: RuleBook) -> None:
    for part in mapped(one, by=book).parts:
        assert isinstance(part, Excluded | Held) or _may_be_posted(part)


def _may_be_posted(part: Posted | Retained) -> bool:
    if isinstance(part, Retained):
        return True  # it carries no code, and posting finds its commitment
    return part.project in ("101", "102") and part.cost_code in ("03-3000", "06-1000", "26-0500")
