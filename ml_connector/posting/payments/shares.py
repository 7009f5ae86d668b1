"""How the money of a payment is shared: over what a bill became in Procore, and cash against credits. Pure and exact.

A payment is divided by what each target still has open, not by a fresh share of all that was paid so far: the latter can
take a cent back from a target when more is paid (the Alabama paradox), and a payment below zero is no payment.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from ml_connector.money import CENT, ZERO, total


@dataclass(frozen=True)
class Place:
    """Where money belongs: commitments as (project, name in the mapping), and projects."""

    commitments: Collection[tuple[str, str]] = ()
    projects: Collection[str] = ()


@dataclass(frozen=True)
class Settled:
    """What a payment settles of one target, in cash and credits together."""

    amount: Decimal
    place: Place


@dataclass(frozen=True)
class Credit:
    """A credit that a payment uses."""

    amount: Decimal
    place: Place


def divide(amount: Decimal, open_amounts: Sequence[Decimal]) -> list[Decimal]:
    """`amount` over targets by what each has open; the parts add up to `amount` exactly.

    Every part lies between zero and what its target has open, and paying all that is open settles every target exactly.
    Largest remainder: cut to whole cents, the cents left over go to the parts that lost most, of equal ones to the
    larger, then to the first. An open amount may be negative (a correction on the bill). Raises ValueError for an
    amount that is negative, not in whole cents, or more than what is open.
    """
    cents, opened = _cents(amount), [_cents(one) for one in open_amounts]
    whole = sum(opened)
    if cents == 0:
        return [ZERO for _ in opened]
    if not 0 < cents <= whole:
        raise ValueError(f"{amount} cannot be divided over open {total(open_amounts)}")
    exact = [Fraction(cents * one, whole) for one in opened]
    parts = [share.numerator // share.denominator for share in exact]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], -opened[i], i))
    for i in order[: cents - sum(parts)]:
        parts[i] += 1
    return [part * CENT for part in parts]


def spread_credits(settled: Sequence[Settled], credits: Sequence[Credit]) -> list[Decimal]:
    """How much of each settled amount is settled by credits instead of cash.

    A credit goes first to amounts of the same commitment, then of the same project, then to all in proportion; never
    more than the amount. Raises ValueError when the credits are more than what is settled.
    """
    left = [max(one.amount, ZERO) for one in settled]
    for credit in credits:
        rest = credit.amount
        for pool in _pools(settled, credit.place):
            opened = [left[i] for i in pool]
            used = min(rest, total(opened))
            for i, part in zip(pool, divide(used, opened), strict=True):
                left[i] -= part
            rest -= used
        if rest:
            raise ValueError(f"credits of {total(c.amount for c in credits)} are more than what is settled")
    return [max(one.amount, ZERO) - unused for one, unused in zip(settled, left, strict=True)]


def _pools(settled: Sequence[Settled], place: Place) -> list[list[int]]:
    same_commitment = [
        i for i, one in enumerate(settled) if set(one.place.commitments) & set(place.commitments)
    ]
    same_project = [i for i, one in enumerate(settled) if set(one.place.projects) & set(place.projects)]
    return [same_commitment, same_project, list(range(len(settled)))]


def _cents(amount: Decimal) -> int:
    cents = amount / CENT
    if cents != cents.to_integral_value():
        raise ValueError(f"{amount} is not in whole cents")
    return int(cents)
