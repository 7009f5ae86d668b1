"""The vocabulary of mapping: rules as published, what they are matched against, and what becomes of a line.

Pure data. Sheets become these in `sheets`, lines are decided in `resolve`.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from ml_connector.holds import Hold
from ml_connector.qbo.models import Account, Customer, Item


def folded(text: str) -> str:
    """The form in which names are compared: without case, blanks of any kind as one."""
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()


# Heading of mapping.csv -> field of Conditions.
ASKING = {
    "account": "account",
    "item": "item",
    "class": "class_name",
    "location": "location",
    "vendor": "vendor",
    "customer": "customer",
    "description": "description",
}


class Route(StrEnum):
    """Where a line goes."""

    DIRECT_COST = "direct_cost"
    COMMITMENT = "commitment"
    RETAINAGE = "retainage"
    EXCLUDE = "exclude"


@dataclass(frozen=True)
class Conditions:
    """What a rule asks of a line; "" or None asks nothing. Text is compared `folded`, dates are inclusive."""

    account: str = ""  # number, id or full name
    item: str = ""  # id, name or full name, as class and location
    class_name: str = ""
    location: str = ""
    vendor: str = ""  # id or name
    customer: str = ""  # id or full name
    description: str = ""  # pattern: `*` any text, `?` one character; without them, contained text
    valid_from: date | None = None
    valid_to: date | None = None

    def asked(self) -> list[tuple[str, str]]:
        """(heading, `folded` text) of every column of text that asks something, in the order of the sheet."""
        texts = ((heading, folded(getattr(self, name))) for heading, name in ASKING.items())
        return [(heading, text) for heading, text in texts if text]


@dataclass(frozen=True)
class Outcome:
    """Where a matched line goes; one of several when the rule splits it. `share` is a weight, else 1."""

    row: int  # row of the sheet as Excel counts (header = 1)
    route: Route
    cost_code: str
    cost_type: str
    project: str  # Procore project id; "" = the project linked to the line's customer
    commitment: str
    reason: str  # of an exclusion
    share: Decimal


@dataclass(frozen=True)
class Rule:
    """Consecutive rows of the sheet with the same conditions; `row` is the first one's."""

    row: int
    conditions: Conditions
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, eq=False)  # one object a version: found in caches by identity
class RuleBook:
    """One published version of mapping.csv, in the order of the sheet: the first match wins."""

    version: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class ProjectLinks:
    """One published version of projects.csv: QBO customer id or full name, `folded`, -> Procore project."""

    version: int
    by_customer: Mapping[str, str]
    rows: Mapping[str, int] = field(default_factory=dict)  # where a customer stands in the file


@dataclass(frozen=True)
class Reference:
    """QBO's lists at the time of mapping, by id."""

    accounts: Mapping[str, Account]
    items: Mapping[str, Item]
    customers: Mapping[str, Customer]
    home_currency: str


@dataclass(frozen=True)
class Posted:
    """A part of a line that becomes a direct cost line."""

    line: int
    amount: Decimal
    project: str
    wbs_code_id: int
    cost_code: str
    cost_type: str
    description: str
    quantity: Decimal | None
    unit_price: Decimal | None
    rule: str  # "<version>.<row>"


@dataclass(frozen=True)
class Committed(Posted):
    """A part of a line that is work billed on a commitment, which posting finds; `commitment` as the rule names it."""

    commitment: str


@dataclass(frozen=True)
class Retained:
    """A part of a line that is retainage of a commitment: negative what is held back, positive what is released."""

    line: int
    amount: Decimal
    project: str  # "" when the line has no project: that of the bill's work
    commitment: str
    description: str
    rule: str


@dataclass(frozen=True)
class Excluded:
    """A part of a line that is never sent: by a rule, or because it is no job cost."""

    line: int
    amount: Decimal
    reason: str  # of the rule, or OVERHEAD, NOT_A_COST, RETAINAGE_PAYABLE, RECOVERABLE_TAX, NO_MONEY
    rule: str  # "" when no rule takes the line
    account: str  # full name, for totals by account


@dataclass(frozen=True)
class Held:
    """A part of a line that waits; `line` 0 is tax that stands beside the lines."""

    line: int
    amount: Decimal
    hold: Hold
    rule: str


Part = Posted | Retained | Excluded | Held  # a Committed is a Posted, too


@dataclass(frozen=True)
class MappedBill:
    """What mapping says of one version of a bill: parts of its lines, and holds on the whole.

    `parts` add up to `total`, which is below zero for a credit and in the currency of the books where it was converted,
    unless one of `holds` is UNBALANCED. `texts`: lines without money. `told`: figures for the audit trail.
    """

    total: Decimal
    parts: tuple[Part, ...]
    holds: tuple[Hold, ...]
    texts: tuple[str, ...]
    told: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """One rule in an explanation: whether it took the line, and if not the first condition that failed."""

    row: int
    took: bool
    why: str
