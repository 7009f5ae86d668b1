"""Money: amounts are exact or refused, and a split loses no cent."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.errors import BadRecord
from ml_connector.money import (
    CENT,
    LARGEST,
    ZERO,
    in_cents,
    parse_amount,
    parse_number,
    split,
    to_cents,
    total,
)

amounts = st.decimals(min_value=-LARGEST, max_value=LARGEST, places=2)
weights = st.lists(st.decimals(min_value=0, max_value=10**6, places=4), min_size=1, max_size=12).filter(any)


@given(amounts)
def test_an_amount_in_cents_comes_back_as_it_is(amount: Decimal) -> None:
    for given_value in (amount, str(amount), f"{amount}000"):
        parsed = parse_amount(given_value, field="Amount")
        assert parsed == amount
        assert parsed.as_tuple().exponent == -2


@given(st.integers(min_value=-(10**13) + 1, max_value=10**13 - 1))
def test_a_whole_number_becomes_cents(number: int) -> None:
    assert str(parse_amount(number, field="Amount")) == f"{number}.00"


def test_a_negative_zero_becomes_zero() -> None:
    assert str(parse_amount("-0.00", field="Amount")) == "0.00"


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        None,
        True,
        "",
        "abc",
        "NaN",
        "sNaN",
        "Infinity",
        "1.005",
        "12,50",
        [1],
        "0.001",
        "10000000000000.00",
    ],
)
def test_what_is_no_exact_amount_is_refused_by_name(value: object) -> None:
    with pytest.raises(BadRecord, match="Line 3 Amount"):
        parse_amount(value, field="Line 3 Amount")


@pytest.mark.parametrize(
    "value",
    ["1E+9999999", "1E-9999999", "9" * 6000, 10**6000, "0." + "3" * 30],
    ids=["vast", "tiny", "long text", "long integer", "thirty decimals"],
)
def test_a_number_of_absurd_length_is_refused_and_never_overflows(value: object) -> None:
    for parse in (parse_amount, parse_number):
        with pytest.raises(BadRecord, match="Qty") as refusal:
            parse(value, field="Qty")
        assert len(str(refusal.value)) < 120


@given(st.text(max_size=12))
def test_any_text_is_an_exact_amount_or_refused(text: str) -> None:
    try:
        amount = parse_amount(text, field="Amount")
    except BadRecord:
        return
    assert amount == Decimal(text)


def test_cents_are_rounded_half_up_as_a_clerk_does() -> None:
    assert [to_cents(Decimal(text)) for text in ("0.005", "-0.005", "2.675", "1.004")] == [
        Decimal("0.01"),
        Decimal("-0.01"),
        Decimal("2.68"),
        Decimal("1.00"),
    ]


def test_the_total_of_nothing_has_two_decimals() -> None:
    assert str(total([])) == "0.00"


@given(amounts, weights)
def test_I1_a_split_adds_up_to_the_cent(amount: Decimal, shares: list[Decimal]) -> None:
    parts = split(amount, shares)
    assert total(parts) == amount
    whole = sum(map(Fraction, shares), Fraction(0))
    for part, share in zip(parts, shares, strict=True):
        assert part.as_tuple().exponent == -2
        assert abs(Fraction(part) - Fraction(amount) * Fraction(share) / whole) < Fraction(CENT)
        assert part * amount >= 0
        assert share or not part


@given(amounts, weights)
def test_a_split_of_the_negative_is_the_negative_split(amount: Decimal, shares: list[Decimal]) -> None:
    assert split(-amount, shares) == [-part + ZERO for part in split(amount, shares)]


def test_S15_the_odd_cent_of_equal_shares_goes_to_the_first() -> None:
    assert split(Decimal("100.00"), [Decimal(1)] * 3) == [
        Decimal("33.34"),
        Decimal("33.33"),
        Decimal("33.33"),
    ]


def test_of_equal_remainders_the_largest_share_gets_the_cent() -> None:
    # Every share is a third of a cent too small; as rounded decimals the thirds would not look equal.
    assert split(Decimal("0.08"), [Decimal(1), Decimal(1), Decimal(22)]) == [ZERO, ZERO, Decimal("0.08")]


@pytest.mark.parametrize(
    ("amount", "shares"), [("1.00", []), ("1.00", ["0", "0"]), ("1.00", ["2", "-1"]), ("1.005", ["1", "1"])]
)
def test_a_split_without_sense_is_refused(amount: str, shares: list[str]) -> None:
    with pytest.raises(ValueError, match="split"):
        split(Decimal(amount), [Decimal(share) for share in shares])


@given(
    st.lists(st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**4), min_size=1, max_size=8)
)
def test_I1_amounts_in_cents_add_up_to_the_rounded_whole(exact: list[Fraction]) -> None:
    added = sum(exact, Fraction(0))
    whole = to_cents(Decimal(added.numerator) / Decimal(added.denominator))
    parts = in_cents(exact, whole)
    assert total(parts) == whole
    for part, amount in zip(parts, exact, strict=True):
        assert part.as_tuple().exponent == -2
        assert abs(Fraction(part) - amount) <= Fraction(CENT)


def test_a_whole_that_cents_cannot_come_to_is_refused() -> None:
    assert in_cents([Fraction(1), Fraction(2)], Decimal("3.02")) == [Decimal("1.01"), Decimal("2.01")]
    for whole in (Decimal("3.03"), Decimal("3.005")):
        with pytest.raises(ValueError, match="cannot be rounded"):
            in_cents([Fraction(1), Fraction(2)], whole)
