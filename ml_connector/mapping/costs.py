"""What the lines of a bill come to in job cost: signed, with the tax that goes with them, in the currency of the books.

Pure and exact: whatever is spread or converted adds up to the bill's total to the cent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from ml_connector.money import CENT, LARGEST, ZERO, in_cents, to_cents, total
from ml_connector.qbo.models import TAX_LINE, Bill, Line
from ml_connector.settings import Policies

MoneyLine = tuple[Line, Decimal]
NOTHING = Fraction(0)
MOST_RATES = 3  # that a sentence names


@dataclass(frozen=True)
class Costs:
    """A bill in job cost; a credit is below zero.

    `lines` are those that are no tax, with what each costs, and `beside` is the tax of each that goes to a code of its
    own. `recoverable` is excluded, `undecided` is tax that waits (number of the line, 0 for what stands beside them).
    All of them add up to `total` unless the bill is out of balance. `rate`: home units for one of the bill's, None
    when nothing was converted.
    """

    total: Decimal
    lines: tuple[MoneyLine, ...]
    beside: tuple[Decimal, ...]
    recoverable: Decimal
    undecided: tuple[tuple[int, Decimal], ...]
    rate: Decimal | None


def costs_of(bill: Bill, money: Sequence[MoneyLine], *, policies: Policies, home_currency: str) -> Costs:
    """The costs of a bill whose lines with an amount are `money`. What is in trouble stays as QBO has it."""
    lines = [(line, amount) for line, amount in money if line.kind != TAX_LINE]
    tax = tax_of(bill, money)
    back, beside, inside, undecided = ZERO, ZERO, ZERO, list[tuple[int, Decimal]]()
    if tax_trouble(bill, money, policies):
        undecided = _undecided(bill, money)
    elif tax:
        back = recoverable_tax(bill, tax, policies) or ZERO
        in_lines = is_inclusive(bill, money)
        if policies.tax == "own_code":
            beside, inside = tax - back, -tax if in_lines else ZERO
        else:
            inside = -back if in_lines else tax - back
    net = [Fraction(amount) + part for (_, amount), part in zip(lines, _shared(inside, lines), strict=True)]
    pieces = [*net, *_shared(beside, lines), Fraction(back), *(Fraction(amount) for _, amount in undecided)]
    rate = rate_of(bill, policies, home_currency)
    amount = home_total(bill, rate)
    added = total(
        [*(amount for _, amount in lines), inside, beside, back, *(amount for _, amount in undecided)]
    )
    whole = amount if added == bill.total else _at(rate, added)
    cents = in_cents(pieces if rate is None else [piece * Fraction(rate) for piece in pieces], whole)
    signed = [bill.sign * part + ZERO for part in cents]
    count = len(lines)
    return Costs(
        total=bill.sign * amount + ZERO,
        lines=tuple((line, cost) for (line, _), cost in zip(lines, signed[:count], strict=True)),
        beside=tuple(signed[count : 2 * count]),
        recoverable=signed[2 * count],
        undecided=tuple(
            (number, cost) for (number, _), cost in zip(undecided, signed[2 * count + 1 :], strict=True)
        ),
        rate=rate,
    )


# -- tax --------------------------------------------------------------------------------------------------------------


def tax_of(bill: Bill, money: Iterable[MoneyLine]) -> Decimal:
    """The tax of a bill: from its tax detail, else from its tax lines."""
    return bill.tax or _tax_in_lines(money)


def is_inclusive(bill: Bill, money: Iterable[MoneyLine]) -> bool:
    """Whether the lines have the tax in them: they add up to the total as they stand."""
    net = _net(money)
    return bill.is_tax_inclusive and bool(bill.tax) and net == bill.total != net + bill.tax


def is_balanced(bill: Bill, money: Sequence[MoneyLine]) -> bool:
    """Whether lines and tax add up to the total."""
    return _net(money) + tax_of(bill, money) == bill.total or is_inclusive(bill, money)


def recoverable_tax(bill: Bill, tax: Decimal, policies: Policies) -> Decimal | None:
    """What of `tax` the firm gets back; None when QBO does not say enough to tell."""
    if policies.tax == "exclude":
        return tax
    if not policies.recoverable_tax:
        return ZERO
    if total(part.amount for part in bill.taxes) != tax:
        return None
    return total(part.amount for part in bill.taxes if part.rate in policies.recoverable_tax)


def tax_trouble(bill: Bill, money: Sequence[MoneyLine], policies: Policies) -> str:
    """Why the tax of a bill cannot be placed, for a sentence; "" when it can."""
    tax = tax_of(bill, money)
    if not tax:
        return ""
    back = recoverable_tax(bill, tax, policies)
    rates = ", ".join(f"rate {part.rate or 'unknown'}: {part.amount:.2f}" for part in bill.taxes[:MOST_RATES])
    words = f"has tax of {tax:.2f}{f' ({rates})' if rates else ''}"
    if back is None:
        return (
            f"{words}, and QBO does not name the rates of all of it: save it again in QBO with its tax codes"
        )
    if back == tax and not is_inclusive(bill, money):
        return ""
    if back != tax and policies.tax == "hold":
        return f"{words}, and nobody has chosen where tax goes: set the policy `tax` and replay it"
    taxed = total(_weights([entry for entry in money if entry[0].kind != TAX_LINE]))
    if abs(tax) > abs(taxed):  # lines that nearly cancel out would each get more tax than they are worth
        return f"{words} on lines that add up to {taxed:.2f}, over which it cannot be spread: book it as a line in QBO"
    return ""


def _undecided(bill: Bill, money: Sequence[MoneyLine]) -> list[tuple[int, Decimal]]:
    in_lines = [(line.number, amount) for line, amount in money if line.kind == TAX_LINE]
    beside = ZERO if is_inclusive(bill, money) else tax_of(bill, money) - _tax_in_lines(money)
    return [*in_lines, *([(0, beside)] if beside else [])]


def _shared(amount: Decimal, lines: Sequence[MoneyLine]) -> list[Fraction]:
    """`amount` by what the taxed lines come to, not rounded."""
    weights = _weights(lines)
    whole = sum(weights)
    return [
        Fraction(amount) * Fraction(weight) / Fraction(whole) if amount else NOTHING for weight in weights
    ]


def _weights(lines: Sequence[MoneyLine]) -> list[Decimal]:
    taxed = [amount if line.is_taxed else ZERO for line, amount in lines]
    return taxed if any(taxed) else [amount for _, amount in lines]


def _tax_in_lines(money: Iterable[MoneyLine]) -> Decimal:
    return total(amount for line, amount in money if line.kind == TAX_LINE)


def _net(money: Iterable[MoneyLine]) -> Decimal:
    return total(amount for line, amount in money if line.kind != TAX_LINE)


# -- currency ---------------------------------------------------------------------------------------------------------


def is_foreign(bill: Bill, home_currency: str) -> bool:
    """Whether the bill is in another currency than the books."""
    return bill.currency not in ("", home_currency)


def rate_of(bill: Bill, policies: Policies, home_currency: str) -> Decimal | None:
    """The rate that the bill's amounts are converted at; None when they are not, or when there is no usable one."""
    rate = bill.exchange_rate
    if (
        not is_foreign(bill, home_currency)
        or policies.foreign_currency == "hold"
        or rate is None
        or rate <= 0
    ):
        return None
    amounts = [bill.total, bill.tax, *(line.amount for line in bill.lines if line.amount is not None)]
    return rate if max(map(abs, amounts)) * rate <= LARGEST else None


def home_total(bill: Bill, rate: Decimal | None) -> Decimal:
    """The bill's total in the currency of the books: QBO's own where that is the rounded one, give or take its cents."""
    rounded = _at(rate, bill.total)
    said = bill.home_total
    near = rate is not None and said is not None and abs(said - rounded) <= CENT * len(bill.lines)
    return said if near and said is not None else rounded


def _at(rate: Decimal | None, amount: Decimal) -> Decimal:
    return amount if rate is None else to_cents(amount * rate)
