"""What a line costs: its amount as entered or as quantity times unit cost, and the tax on top."""

from decimal import Decimal

from ml_connector.sandbox.procore import forms
from ml_connector.sandbox.records import Document


def priced(line: Document, rate: Decimal) -> Document:
    """Kind, amount, tax and total of a line, as text. `rate` is in percent.

    A calculated amount is rounded half up to cents. A line that does not say its kind is
    calculated when it has a unit cost and no amount.
    """
    kind = line.get("extended_type")
    if kind is None:
        kind = "calculated" if line.get("unit_cost") is not None and line.get("amount") is None else "manual"
    if kind == "calculated":
        amount = forms.rounded(forms.money(line.get("quantity")) * forms.money(line.get("unit_cost")))
    else:
        amount = forms.money(line.get("amount"))
    tax = forms.rounded(amount * rate / 100)
    return {
        "extended_type": kind,
        "amount": forms.cents(amount),
        "tax": forms.cents(tax),
        "total_amount": forms.cents(amount + tax),
    }
