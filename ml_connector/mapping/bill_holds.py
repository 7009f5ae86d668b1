"""What keeps a bill as a whole from being posted, whatever its lines say: currency, tax, sums."""

from collections.abc import Iterator, Sequence

from ml_connector.holds import Hold, Reason
from ml_connector.mapping.costs import Costs, MoneyLine, is_balanced, is_foreign, tax_of, tax_trouble
from ml_connector.mapping.wording import bill_words, sentence
from ml_connector.money import total
from ml_connector.qbo.models import TAX_LINE, Bill
from ml_connector.settings import Policies


def bill_holds(
    bill: Bill, money: Sequence[MoneyLine], costs: Costs, *, policies: Policies, home_currency: str
) -> Iterator[Hold]:
    """Every hold on the whole of `bill`, whose lines with an amount are `money` and come to `costs`."""
    if is_foreign(bill, home_currency) and costs.rate is None:
        yield bill_hold(bill, costs, Reason.CURRENCY, _currency(bill, policies, home_currency), bill.currency)
    trouble = tax_trouble(bill, money, policies)
    if trouble:
        yield bill_hold(bill, costs, Reason.TAX_POLICY, trouble, "separate tax")
    if not is_balanced(bill, money):
        tax, net = tax_of(bill, money), total(amount for line, amount in money if line.kind != TAX_LINE)
        found = f"lines that add up to {net:.2f}" if money else "no line with an amount"
        with_tax = f" and tax of {tax:.2f}" if tax else ""
        text = f"has {found}{with_tax}, but a total of {bill.total:.2f}: correct it in QBO and save it again"
        yield bill_hold(bill, costs, Reason.UNBALANCED, text, f"{bill.entity} {bill.id}")


def bill_hold(bill: Bill, costs: Costs, reason: Reason, text: str, cause: str) -> Hold:
    """A hold on the whole bill; `text` goes on after its name."""
    return Hold(reason, sentence(f"{bill_words(bill)} {text}."), f"{reason} {cause}", costs.total)


def _currency(bill: Bill, policies: Policies, home_currency: str) -> str:
    words = f"is in {bill.currency} while the books are in {home_currency}"
    if policies.foreign_currency == "home_amount":
        return f"{words}, and QBO gives no usable rate for it: set the exchange rate on it in QBO"
    return (
        f"{words}, and nobody has chosen how such amounts are carried over:"
        " set the policy `foreign_currency` and replay it, or enter it in Procore by hand"
    )
