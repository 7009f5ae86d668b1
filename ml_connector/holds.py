"""Why a record waits: the reason codes, who can fix each, what releases it, and how the day shows it.

A reason is added here and nowhere else; the sentence of a hold is written where the record is at hand.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Reason(StrEnum):
    """Reason codes of holds; the words appear in the UI, in sheets and in the audit trail."""

    NO_PROJECT = "NO_PROJECT"
    PROJECT_NOT_LINKED = "PROJECT_NOT_LINKED"
    PROJECT_CLOSED = "PROJECT_CLOSED"
    UNMAPPED = "UNMAPPED"
    CODE_MISSING = "CODE_MISSING"
    VENDOR_AMBIGUOUS = "VENDOR_AMBIGUOUS"
    VENDOR_INACTIVE = "VENDOR_INACTIVE"
    CURRENCY = "CURRENCY"
    TAX_POLICY = "TAX_POLICY"
    POSSIBLE_DUPLICATE = "POSSIBLE_DUPLICATE"
    NOT_A_COST = "NOT_A_COST"
    ENTERED_AFTER_START = "ENTERED_AFTER_START"
    RETAINAGE_POLICY = "RETAINAGE_POLICY"
    UNBALANCED = "UNBALANCED"
    UNREADABLE = "UNREADABLE"
    UNSUPPORTED = "UNSUPPORTED"
    REFUSED = "REFUSED"
    PERIOD_CLOSED = "PERIOD_CLOSED"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    PERMISSION = "PERMISSION"


class Fixer(StrEnum):
    """Who can make the cause of a hold go away."""

    ACCOUNTING = "accounting"
    PROJECT_CONTROLS = "project controls"
    ADMINISTRATOR = "administrator"
    NOBODY = "nobody: it ends by itself"


@dataclass(frozen=True)
class ReasonFacts:
    """What holds for every hold of one reason."""

    fixer: Fixer
    release: str
    automatic: bool
    fails_day: bool  # refused or failed by Procore: the partition turns FAILED; else a WARN check


REASONS: dict[Reason, ReasonFacts] = {
    Reason.NO_PROJECT: ReasonFacts(Fixer.ACCOUNTING, "a project on the line in QBO", True, False),
    Reason.PROJECT_NOT_LINKED: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "a row for the project in projects.csv", True, False
    ),
    Reason.PROJECT_CLOSED: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "the project active in Procore, or another project in QBO", True, False
    ),
    Reason.UNMAPPED: ReasonFacts(Fixer.PROJECT_CONTROLS, "a rule for the line in mapping.csv", True, False),
    Reason.CODE_MISSING: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "the budget code on the project in Procore, or another rule", True, False
    ),
    Reason.VENDOR_AMBIGUOUS: ReasonFacts(
        Fixer.ACCOUNTING, "one vendor of that name left in Procore, or the right one chosen", True, False
    ),
    Reason.VENDOR_INACTIVE: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "the vendor active in Procore, or the bill excluded", True, False
    ),
    Reason.CURRENCY: ReasonFacts(Fixer.ACCOUNTING, "a policy for foreign currency", False, False),
    Reason.TAX_POLICY: ReasonFacts(Fixer.ACCOUNTING, "a policy for separate tax", False, False),
    Reason.POSSIBLE_DUPLICATE: ReasonFacts(
        Fixer.ACCOUNTING, "another number in QBO, or the word that it is no duplicate", True, False
    ),
    Reason.NOT_A_COST: ReasonFacts(
        Fixer.ACCOUNTING, "another account in QBO, or a rule that names the account", True, False
    ),
    Reason.ENTERED_AFTER_START: ReasonFacts(
        Fixer.ACCOUNTING, "the choice to bring in or to exclude", False, False
    ),
    Reason.RETAINAGE_POLICY: ReasonFacts(Fixer.ACCOUNTING, "a policy for retainage", False, False),
    Reason.UNBALANCED: ReasonFacts(Fixer.ACCOUNTING, "a corrected record in QBO", True, False),
    Reason.UNREADABLE: ReasonFacts(Fixer.ADMINISTRATOR, "a corrected record in QBO", True, False),
    Reason.UNSUPPORTED: ReasonFacts(
        Fixer.ACCOUNTING, "an entry by hand in Procore, or a version that posts this kind", False, False
    ),
    Reason.REFUSED: ReasonFacts(
        Fixer.ACCOUNTING, "a corrected record in QBO, or a replay once Procore would take it", True, True
    ),
    Reason.PERIOD_CLOSED: ReasonFacts(
        Fixer.PROJECT_CONTROLS,
        "an earlier books_closed_to and a replay, or another date in QBO",
        False,
        False,
    ),
    Reason.OUTCOME_UNKNOWN: ReasonFacts(Fixer.NOBODY, "a look-up after the settle time", True, True),
    Reason.PERMISSION: ReasonFacts(
        Fixer.ADMINISTRATOR, "the missing permission given back in Procore, then a replay", True, True
    ),
}


@dataclass(frozen=True)
class Hold:
    """One reason why a record waits.

    `sentence` is for a bookkeeper: which record and line, what is wrong, what to do. `cause` groups holds
    that one fix would free ("PROJECT_NOT_LINKED customer 61"). `amount` is the money of the lines concerned.
    """

    reason: Reason
    sentence: str
    cause: str
    amount: Decimal
    line: int | None = None
