"""What the firm expects of each of its records, in the words of its controller.

The generators of the data write these beside it; nothing here maps, and nothing here is asked of a mapper.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

ZERO = Decimal("0.00")
_MARK = re.compile(r"\bref ([CDP]-\d{3})\b")

State = Literal["posted", "updated", "reversed", "held", "excluded", "no-op"]
CodedLine = tuple[str, str, Decimal]
"""Cost code, cost type, amount."""


@dataclass(frozen=True)
class ExpectedTarget:
    """One direct cost: its Procore project, the invoice number, its lines in the order of the bill.

    `number` is "" when the vendor gave none: then the number is `QBO-` and the QBO Id.
    """

    project: int
    number: str
    lines: tuple[CodedLine, ...]

    @property
    def amount(self) -> Decimal:
        """What it costs."""
        return _sum(amount for _, _, amount in self.lines)


@dataclass(frozen=True)
class ExpectedInvoice:
    """One requisition, approved: its commitment, the invoice number, the work by budget code, and the retainage of it all.

    `held` and `released` are both positive.
    """

    commitment: str
    number: str
    work: tuple[CodedLine, ...]
    held: Decimal
    released: Decimal

    @property
    def gross(self) -> Decimal:
        """The work."""
        return _sum(amount for _, _, amount in self.work)

    @property
    def net(self) -> Decimal:
        """What is due, and what counts as posted."""
        return self.gross - self.held + self.released


@dataclass(frozen=True)
class ExpectedPayment:
    """One contract payment: cash for one requisition. `check_number` is "" for a payment without a check."""

    commitment: str
    invoice: str
    amount: Decimal
    method: Literal["check", "credit_card", "electronic"]
    check_number: str
    day: date


@dataclass(frozen=True)
class Expected:
    """What stands in the end of one record under the demo's policies; posted + excluded + held = total, to the cent.

    Amounts are in the record's own currency; a vendor credit counts below zero, and the total of a payment is its cash
    and the credits that it uses. `reason` is that of the hold (of the first bad line) or of the exclusion (of the first
    line), else "". `paid_on` is the payment date of the direct costs of a bill that is paid off. `scenario` is the
    story that the record tells.
    """

    key: str
    entity: str
    scenario: str
    state: State
    reason: str
    total: Decimal
    posted: Decimal
    excluded: Decimal
    held: Decimal
    targets: tuple[ExpectedTarget, ...] = ()
    invoices: tuple[ExpectedInvoice, ...] = ()
    payments: tuple[ExpectedPayment, ...] = ()
    paid_on: date | None = None


def marked(key: str, note: str = "") -> str:
    """A PrivateNote by which the record can be told whatever Id QuickBooks gives it."""
    return f"{note}; ref {key}" if note else f"ref {key}"


def key_of(record: Mapping[str, Any]) -> str:
    """The key of a QBO record: the mark in its PrivateNote (entered live), else its Id (history)."""
    found = _MARK.search(str(record.get("PrivateNote") or ""))
    return found[1] if found else str(record.get("Id", ""))


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)
