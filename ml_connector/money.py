"""Money is Decimal from the first byte to the last: parsing, cents, and splits that lose no cent.

Nothing here knows QBO or Procore; both sides count in units of 0.01.
"""

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from math import floor

from ml_connector.errors import BadRecord

CENT = Decimal("0.01")
ZERO = Decimal("0.00")
LARGEST = Decimal("9999999999999.99")  # QBO allows 15 digits in an amount


def parse_amount(value: object, *, field: str) -> Decimal:
    """An amount of money with exactly two decimals.

    Takes Decimal, int or text. Raises BadRecord, naming `field`, for a float, NaN, Infinity, more than two
    decimals that are not zero, or more than 15 digits: a rounded amount would be a wrong amount.
    """
    number = parse_number(value, field=field)
    if abs(number) > LARGEST:
        raise BadRecord(f"{field} {number!s:.40} has more than 15 digits")
    cents = number.quantize(CENT)
    if cents != number:
        raise BadRecord(f"{field} {number!s:.40} has more than two decimals")
    return cents + ZERO  # a negative zero becomes zero


def parse_number(value: object, *, field: str) -> Decimal:
    """A finite Decimal, at most 18 digits before the point and 20 after it (quantities, unit prices, rates).

    Raises BadRecord naming `field`.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise BadRecord(f"{field} is not a number: {value!r:.40}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise BadRecord(f"{field} is not a number: {value!r:.40}") from None
    if not number.is_finite():
        raise BadRecord(f"{field} is not a finite number: {value!r:.40}")
    exponent = number.as_tuple().exponent
    if number.adjusted() >= 18 or (isinstance(exponent, int) and exponent < -20):
        raise BadRecord(f"{field} has too many digits: {number!s:.40}")
    return number


def to_cents(number: Decimal) -> Decimal:
    """`number` rounded half up to two decimals, as a clerk and Procore's own product round."""
    return number.quantize(CENT, rounding=ROUND_HALF_UP)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The sum with two decimals; 0.00 of nothing."""
    return sum(amounts, ZERO)


def split(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """`amount` shared by `weights` to the cent; the parts add up to `amount` exactly.

    Largest remainder as `in_cents`. Raises ValueError for an amount that is not in whole cents, and for weights of which
    one is negative or none is positive.
    """
    cents = Fraction(abs(amount)) / Fraction(CENT)
    if cents.denominator != 1:
        raise ValueError("only whole cents can be split")
    if not any(weights) or any(weight < 0 for weight in weights):
        raise ValueError("a split needs weights that are not negative and not all zero")
    # Fractions, because a third as Decimal is rounded, and then equal remainders no longer look equal.
    whole = sum(map(Fraction, weights), Fraction(0))
    parts = in_cents([Fraction(abs(amount)) * Fraction(weight) / whole for weight in weights], abs(amount))
    return parts if amount >= 0 else [-part for part in parts]


def in_cents(exact: Sequence[Fraction], whole: Decimal) -> list[Decimal]:
    """`exact` in whole cents that add up to `whole`, by largest remainder.

    Every amount is cut to the cent below, then the cents left over go one by one to the amount that lost most, of equal
    ones to the largest, then to the first. Raises ValueError when `whole` is not in whole cents, or further from the sum
    of `exact` than a cent an amount.
    """
    cents = [Fraction(amount) / Fraction(CENT) for amount in exact]
    parts = [floor(amount) for amount in cents]
    left = Fraction(whole) / Fraction(CENT) - sum(parts)
    if left.denominator != 1 or abs(Fraction(whole) / Fraction(CENT) - sum(cents)) > len(parts):
        raise ValueError(f"{len(parts)} amounts cannot be rounded to {whole}")
    each, over = divmod(int(left), len(parts)) if parts else (0, 0)
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - cents[i], -cents[i], i))
    for i in order[:over]:
        parts[i] += 1
    return [(part + each) * CENT for part in parts]
