"""What the firm expects of each of its records, in the words of its controller.

The generators of the data write these beside it; nothing here maps, and nothing here is asked of a mapper.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

ZERO = Decimal("0.00")
_MARK = re.compile(r"\bref ([CDP]-\d{3})\b")

State = Literal["posted", "held", "excluded", "no-op"]
CodedLine = tuple[str, str, Decimal]
"""Cost code, cost type, amount."""


@dataclass(frozen=True)
class ExpectedTarget:
    """One direct cost: its Procore project, the invoice number, its lines in the order of the bill.

    `number` is "" when the vendor gave none: then any number made of the QBO id is right.
    """

    project: int
    number: str
    lines: tuple[CodedLine, ...]


@dataclass(frozen=True)
class Expected:
    """The state of one record under the default policies; posted + excluded + held = total, to the cent.

    Amounts are in the record's own currency; a vendor credit counts below zero. `reason` is that of the hold
    (of the first bad line) or of the exclusion (of the first line), "" for a posted record. `scenario` is the
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


def marked(key: str, note: str = "") -> str:
    """A PrivateNote by which the record can be told whatever Id QuickBooks gives it."""
    return f"{note}; ref {key}" if note else f"ref {key}"


def key_of(record: Mapping[str, Any]) -> str:
    """The key of a QBO record: the mark in its PrivateNote (entered live), else its Id (history)."""
    found = _MARK.search(str(record.get("PrivateNote") or ""))
    return found[1] if found else str(record.get("Id", ""))
