"""What keeps a whole payment from being posted, whatever its bills are: its currency, and sums that do not fit."""

from ml_connector.holds import Hold, Reason
from ml_connector.money import ZERO, total
from ml_connector.qbo.models import BillPayment, Entity


def payment_hold(payment: BillPayment, home_currency: str) -> Hold | None:
    """The hold of a payment that cannot be shared out, or None."""
    words = f"Payment {payment.number or f'without number (QBO id {payment.id})'} to {payment.vendor.name}"
    if payment.currency not in ("", home_currency):
        text = (
            f"{words} is in {payment.currency}, and the books are in {home_currency}: it has a rate of its own, "
            "which is not that of its bills. Enter it in Procore by hand, at what each bill was posted at."
        )
        return Hold(Reason.CURRENCY, text, f"CURRENCY {payment.currency}", payment.total)
    bills = total(line.amount for line in payment.applied if line.kind == Entity.BILL)
    credits = total(line.amount for line in payment.applied if line.kind != Entity.BILL)
    below_zero = payment.total < ZERO or any(line.amount < ZERO for line in payment.applied)
    if below_zero or bills > payment.total + credits or (payment.applied and credits > bills):
        text = (
            f"{words} applies {bills} to bills, out of {payment.total} paid and {credits} of credits. "
            "Correct it in QBO and save it again."
        )
        return Hold(Reason.UNBALANCED, text, f"UNBALANCED payment {payment.id}", payment.total)
    return None
