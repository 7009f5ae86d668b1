"""What keeps a bill as a whole from being posted, whatever its lines say: kind, currency, tax, sums."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from ml_connector.holds import Hold, Reason
from ml_connector.mapping.wording import bill_words, sentence
from ml_connector.money import total
from ml_connector.qbo.models import Bill, Entity, Line

TAX_LINE = "TaxLineDetail"
MoneyLine = tuple[Line, Decimal]


def bill_holds(bill: Bill, money: Sequence[MoneyLine], *, home_currency: str) -> Iterator[Hold]:
    """Every hold on the whole of `bill`, whose lines with an amount are `money`."""
    if bill.entity is Entity.VENDOR_CREDIT:
        text = "is not posted by this version: enter the credit in Procore by hand"
        yield _hold(bill, Reason.UNSUPPORTED, text, "vendor credits")
    if bill.currency and bill.currency != home_currency:
        text = (
            f"is in {bill.currency} while the books are in {home_currency}, and nobody has chosen"
            " how such amounts are carried over: enter it in Procore by hand"
        )
        yield _hold(bill, Reason.CURRENCY, text, bill.currency)
    tax = tax_of(bill, money)
    if tax or any(line.kind == TAX_LINE for line, _ in money):
        text = (
            f"has tax of {tax:.2f} beside its lines, and nobody has chosen where tax goes:"
            " make it an ordinary line in QBO, or enter the bill in Procore by hand"
        )
        yield _hold(bill, Reason.TAX_POLICY, text, "separate tax")
    net = total(amount for line, amount in money if line.kind != TAX_LINE)
    if net + tax != bill.total:
        found = f"lines that add up to {net:.2f}" if money else "no line with an amount"
        with_tax = f" and tax of {tax:.2f}" if tax else ""
        text = f"has {found}{with_tax}, but a total of {bill.total:.2f}: correct it in QBO and save it again"
        yield _hold(bill, Reason.UNBALANCED, text, f"{bill.entity} {bill.id}")


def tax_of(bill: Bill, money: Sequence[MoneyLine]) -> Decimal:
    """The tax of a bill: from its tax detail, else from its tax lines."""
    return bill.tax or tax_in_lines(money)


def tax_in_lines(money: Sequence[MoneyLine]) -> Decimal:
    """The sum of the lines that are tax."""
    return total(amount for line, amount in money if line.kind == TAX_LINE)


def _hold(bill: Bill, reason: Reason, text: str, cause: str) -> Hold:
    return Hold(reason, sentence(f"{bill_words(bill)} {text}."), f"{reason} {cause}", bill.total)
