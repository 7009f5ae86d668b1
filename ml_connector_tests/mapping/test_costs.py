"""What lines come to in job cost: tax that is spread, set apart or excluded, and amounts of another currency."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.holds import Reason
from ml_connector.mapping.costs import costs_of
from ml_connector.mapping.models import Held, MappedBill
from ml_connector.money import total
from ml_connector.qbo.models import TAX_LINE, Bill, Entity, Tax
from ml_connector.settings import Policies
from ml_connector_tests.mapping.books import (
    DEPOT,
    ELM,
    HARBOR,
    bill,
    cost,
    line,
    mapped,
    only_posted,
    rules,
    told,
)

GST, PST = "17", "18"  # recoverable, and not
SPREAD = Policies(tax="spread", recoverable_tax=(GST,))
OWN_CODE = Policies(tax="own_code", recoverable_tax=(GST,), tax_cost_code="01-7800", tax_cost_type="O")
HOME = Policies(foreign_currency="home_amount")


def taxed(*parts: tuple[str, str], on: Bill, inclusive: bool = False) -> Bill:
    """The bill with taxes of these rates and amounts beside its lines, or in them."""
    taxes = tuple(Tax(rate, Decimal(amount)) for rate, amount in parts)
    tax = total(part.amount for part in taxes)
    whole = on.total if inclusive else on.total + tax
    return replace(on, taxes=taxes, tax=tax, total=whole, is_tax_inclusive=inclusive)


def s10() -> Bill:
    """Net 1,000.00 in two lines, 50.00 recoverable, 70.00 not."""
    net = bill(
        line("700.00", item="Ready-mix", customer=HARBOR),
        line("300.00", item="Lumber", customer=ELM),
    )
    return taxed((GST, "50.00"), (PST, "70.00"), on=net)


def adds_up(result: MappedBill) -> bool:
    return total(part.amount for part in result.parts) == result.total


def test_S10_tax_waits_until_a_policy_says_where_it_goes() -> None:
    result = mapped(s10())
    (hold,) = result.holds
    assert (hold.reason, hold.amount) == (Reason.TAX_POLICY, Decimal("1120.00"))
    assert "has tax of 120.00 (rate 17: 50.00, rate 18: 70.00), and nobody has chosen" in hold.sentence
    assert told(result.parts)[-1] == "0 held TAX_POLICY 120.00"
    assert adds_up(result)


def test_S10_what_is_recoverable_is_excluded_and_the_rest_spread_over_the_lines() -> None:
    result = mapped(s10(), policies=SPREAD)
    assert result.holds == ()
    assert told(result.parts) == [
        "1 101 03-3000 / M 749.00",
        "2 102 06-1000 / M 321.00",
        "0 excluded RECOVERABLE_TAX 50.00",
    ]
    assert result.told["tax"] == {
        "policy": "spread",
        "total": Decimal("120.00"),
        "rates": {GST: Decimal("50.00"), PST: Decimal("70.00")},
        "recoverable": Decimal("50.00"),
    }


def test_S10_tax_on_a_code_of_its_own_is_one_line_a_project() -> None:
    net = bill(
        line("600.00", item="Ready-mix", customer=HARBOR),
        line("100.00", item="Lumber", customer=HARBOR),
        line("200.00", item="Lumber", customer=ELM),
        line("100.00", account="6100"),
    )
    result = mapped(taxed((GST, "50.00"), (PST, "70.00"), on=net), policies=OWN_CODE)
    assert told(result.parts) == [
        "1 101 03-3000 / M 600.00",
        "2 101 06-1000 / M 100.00",
        "3 102 06-1000 / M 200.00",
        "4 excluded OVERHEAD 107.00",
        "0 101 01-7800 / O 49.00",
        "0 102 01-7800 / O 14.00",
        "0 excluded RECOVERABLE_TAX 50.00",
    ]
    assert adds_up(result)


def test_S10_a_missing_code_for_tax_is_named_with_the_place_where_it_is_chosen() -> None:
    policies = replace_code(OWN_CODE, "99-9999")
    parts = mapped(s10(), policies=policies).parts
    hold = next(part.hold for part in parts if isinstance(part, Held) and part.line == 0)
    assert hold.reason is Reason.CODE_MISSING
    assert hold.sentence.startswith("Tax of bill 4490 (City Rental, 49.00) needs budget code 99-9999 / O")
    assert "correct tax_cost_code in connection.yaml" in hold.sentence


def replace_code(policies: Policies, code: str) -> Policies:
    return policies.model_copy(update={"tax_cost_code": code})


def test_S10_the_policy_own_code_needs_its_code_and_rates_may_be_numbers() -> None:
    with pytest.raises(ValueError, match="own_code needs tax_cost_code and tax_cost_type"):
        Policies.model_validate({"tax": "own_code", "tax_cost_code": "01-7800"})
    assert Policies.model_validate({"recoverable_tax": [17, "18"]}).recoverable_tax == (GST, PST)


def test_S10_all_tax_is_recoverable_under_the_policy_exclude() -> None:
    assert told(mapped(s10(), policies=Policies(tax="exclude")).parts) == [
        "1 101 03-3000 / M 700.00",
        "2 102 06-1000 / M 300.00",
        "0 excluded RECOVERABLE_TAX 120.00",
    ]


def test_S10_nothing_is_undecided_when_all_of_the_tax_is_recoverable() -> None:
    net = bill(line("100.00", item="Ready-mix", customer=HARBOR))
    result = mapped(taxed((GST, "5.00"), on=net), policies=Policies(recoverable_tax=(GST,)))
    assert told(result.parts) == ["1 101 03-3000 / M 100.00", "0 excluded RECOVERABLE_TAX 5.00"]


def test_S10_the_odd_cents_go_by_largest_remainder_and_a_line_that_is_not_taxed_bears_none() -> None:
    net = bill(
        *(line("33.33", item="Ready-mix", customer=HARBOR) for _ in range(3)),
        replace(line("500.00", item="Lumber", customer=HARBOR), is_taxed=False),
    )
    result = mapped(taxed((PST, "7.00"), on=net), policies=SPREAD)
    assert [part.amount for part in result.parts] == [
        Decimal("35.67"),
        Decimal("35.66"),
        Decimal("35.66"),
        Decimal("500.00"),
    ]


def test_S10_lines_that_have_their_tax_in_them_give_up_only_what_is_recoverable() -> None:
    gross = bill(
        line("784.00", item="Ready-mix", customer=HARBOR), line("336.00", item="Lumber", customer=ELM)
    )
    inside = taxed((GST, "50.00"), (PST, "70.00"), on=gross, inclusive=True)
    assert told(mapped(inside, policies=SPREAD).parts) == told(mapped(s10(), policies=SPREAD).parts)
    own = told(mapped(inside, policies=OWN_CODE).parts)
    assert own == told(mapped(s10(), policies=OWN_CODE).parts)
    (hold,) = mapped(inside).holds
    assert hold.reason is Reason.TAX_POLICY
    assert adds_up(mapped(inside))


def test_S10_recoverable_tax_that_qbo_does_not_name_waits() -> None:
    vague = replace(s10(), taxes=(Tax("", Decimal("20.00")),))
    (hold,) = mapped(vague, policies=SPREAD).holds
    assert "QBO does not name the rates of all of it" in hold.sentence
    assert mapped(vague, policies=Policies(tax="spread")).holds == ()


def test_S10_tax_on_lines_that_add_up_to_nothing_waits() -> None:
    nothing = bill(line("10.00", item="Lumber", customer=HARBOR), line("-10.00", item="Lumber", customer=ELM))
    (hold,) = mapped(taxed((PST, "1.00"), on=nothing), policies=SPREAD).holds
    assert "on lines that add up to 0.00, over which it cannot be spread: book it as a line" in hold.sentence
    nearly = bill(
        line("1000.00", item="Lumber", customer=HARBOR), line("-999.99", item="Lumber", customer=ELM)
    )
    assert [hold.reason for hold in mapped(taxed((PST, "5.00"), on=nearly), policies=SPREAD).holds] == [
        Reason.TAX_POLICY
    ]


def test_S10_tax_of_a_credit_lowers_cost() -> None:
    credit = replace(s10(), entity=Entity.VENDOR_CREDIT)
    result = mapped(credit, policies=SPREAD)
    assert told(result.parts) == [
        "1 101 03-3000 / M -749.00",
        "2 102 06-1000 / M -321.00",
        "0 excluded RECOVERABLE_TAX -50.00",
    ]
    assert told(mapped(credit, policies=OWN_CODE).parts)[2:] == [
        "0 101 01-7800 / O -49.00",
        "0 102 01-7800 / O -21.00",
        "0 excluded RECOVERABLE_TAX -50.00",
    ]


def test_S17_a_foreign_bill_waits_or_goes_at_its_own_rate() -> None:
    foreign = replace(
        bill(line("1000.00", item="Ready-mix", customer=HARBOR)),
        currency="CAD",
        exchange_rate=Decimal("0.7312"),
    )
    (hold,) = mapped(foreign).holds
    assert (hold.reason, hold.amount) == (Reason.CURRENCY, Decimal("1000.00"))
    assert "set the policy `foreign_currency` and replay it" in hold.sentence
    result = mapped(foreign, policies=HOME)
    assert (only_posted(result).amount, result.total) == (Decimal("731.20"), Decimal("731.20"))
    assert result.told["converted"] == {
        "amount": Decimal("1000.00"),
        "currency": "CAD",
        "rate": Decimal("0.7312"),
        "home amount": Decimal("731.20"),
    }


def test_S17_a_price_in_another_currency_is_not_sent_and_lines_add_up_to_the_rounded_total() -> None:
    priced = replace(
        line("33.33", item="Ready-mix", customer=HARBOR), quantity=Decimal(3), unit_price=Decimal("11.11")
    )
    foreign = replace(bill(priced, priced, priced), currency="CAD", exchange_rate=Decimal("0.7312"))
    result = mapped(foreign, policies=HOME)
    assert [part.amount for part in result.parts] == [Decimal("24.37"), Decimal("24.37"), Decimal("24.37")]
    assert result.total == Decimal("73.11")
    own = mapped(replace(foreign, home_total=Decimal("73.12")), policies=HOME)
    assert [part.amount for part in own.parts] == [Decimal("24.38"), Decimal("24.37"), Decimal("24.37")]
    posted = result.parts[0]
    assert (getattr(posted, "quantity", None), getattr(posted, "unit_price", 0)) == (Decimal(3), None)


def test_S17_a_foreign_bill_of_zero_moves_cost_between_projects() -> None:
    moved = bill(line("400.05", item="Lumber", customer=HARBOR), line("-400.05", item="Lumber", customer=ELM))
    result = mapped(replace(moved, currency="CAD", exchange_rate=Decimal("0.7312")), policies=HOME)
    assert sorted(part.amount for part in result.parts) == [Decimal("-292.52"), Decimal("292.52")]


@pytest.mark.parametrize("rate", [None, Decimal(0), Decimal("-1.2"), Decimal("9" * 17)])
def test_S17_without_a_rate_nothing_is_converted(rate: Decimal | None) -> None:
    foreign = replace(bill(line("10.00", item="Lumber", customer=HARBOR)), currency="CAD", exchange_rate=rate)
    (hold,) = mapped(foreign, policies=HOME).holds
    assert "QBO gives no usable rate for it: set the exchange rate" in hold.sentence


def test_a_rate_on_a_bill_of_the_books_currency_changes_nothing() -> None:
    own = replace(bill(line("10.00", item="Lumber", customer=HARBOR)), exchange_rate=Decimal("0.5"))
    assert only_posted(mapped(own, policies=HOME)).amount == Decimal("10.00")


amounts = st.decimals(min_value=-(10**6), max_value=10**6, places=2)
policies = st.builds(
    Policies,
    tax=st.sampled_from(["hold", "spread", "own_code", "exclude"]),
    recoverable_tax=st.sampled_from([(), (GST,), (GST, PST)]),
    tax_cost_code=st.just("01-7800"),
    tax_cost_type=st.just("O"),
    foreign_currency=st.sampled_from(["hold", "home_amount"]),
)
BOOK = rules(
    cost("03-3000", "M", account="5010", share="1"),
    cost("06-1000", "M", account="5010", share="2"),
    cost("06-1000", "M", item="Lumber"),
    {"account": "5020", "route": "commitment", "cost_code": "26-0500", "cost_type": "S"},
    {"account": "2150", "route": "retainage"},
    {"account": "6100", "route": "exclude", "reason": "OVERHEAD"},
)


@st.composite
def taxed_bills(draw: st.DrawFn) -> Bill:
    accounts = st.sampled_from(["5010", "5020", "2150", "6100", "6200", "1500"])
    drawn = draw(st.lists(st.tuples(amounts, accounts, st.booleans(), st.booleans()), min_size=1, max_size=6))
    where = st.sampled_from([None, HARBOR, ELM, DEPOT])
    lines = [
        replace(
            line(
                str(amount),
                account="" if is_tax else account,
                customer=draw(where),
                kind=TAX_LINE if is_tax else "",
            ),
            is_taxed=is_taxed,
        )
        for amount, account, is_taxed, is_tax in drawn
    ]
    one = bill(*lines)
    rates = st.sampled_from([GST, PST, ""])
    parts = draw(st.lists(st.tuples(rates, amounts.map(str)), max_size=3))
    if parts and not any(entry.kind == TAX_LINE for entry in lines):
        one = taxed(*parts, on=one, inclusive=draw(st.booleans()))
    rate = draw(st.none() | st.decimals(min_value="0.0001", max_value=20, places=4))
    return replace(
        one,
        entity=draw(st.sampled_from([Entity.BILL, Entity.VENDOR_CREDIT])),
        currency=draw(st.sampled_from(["USD", "CAD"])),
        exchange_rate=rate,
        total=one.total + draw(st.sampled_from([Decimal("0.00")] * 4 + [Decimal("3.00")])),
    )


@given(taxed_bills(), policies)
def test_I1_whatever_the_tax_and_the_rate_the_parts_are_the_total(one: Bill, chosen: Policies) -> None:
    result = mapped(one, by=BOOK, policies=chosen)
    unbalanced = any(hold.reason is Reason.UNBALANCED for hold in result.holds)
    added = total(part.amount for part in result.parts)
    assert unbalanced or added == result.total
    assert all(part.amount.as_tuple().exponent == -2 for part in result.parts)


@given(taxed_bills(), policies)
def test_a_credit_is_the_bill_below_zero_to_the_cent(one: Bill, chosen: Policies) -> None:
    money = [(entry, entry.amount) for entry in one.lines if entry.amount is not None]
    ours, theirs = (
        costs_of(replace(one, entity=entity), money, policies=chosen, home_currency="USD")
        for entity in (Entity.BILL, Entity.VENDOR_CREDIT)
    )
    assert [amount for _, amount in ours.lines] == [-amount for _, amount in theirs.lines]
    assert (ours.total, ours.recoverable) == (-theirs.total, -theirs.recoverable)
