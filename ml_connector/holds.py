"""Why a record waits: the reason codes, who can fix each, what releases it, what a person may choose, how the day shows it.

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
    NO_BUDGET_LINE = "NO_BUDGET_LINE"
    VENDOR_AMBIGUOUS = "VENDOR_AMBIGUOUS"
    VENDOR_PROPOSED = "VENDOR_PROPOSED"
    VENDOR_INACTIVE = "VENDOR_INACTIVE"
    CURRENCY = "CURRENCY"
    TAX_POLICY = "TAX_POLICY"
    POSSIBLE_DUPLICATE = "POSSIBLE_DUPLICATE"
    NOT_A_COST = "NOT_A_COST"
    ENTERED_AFTER_START = "ENTERED_AFTER_START"
    COMMITMENT_MISSING = "COMMITMENT_MISSING"
    COMMITMENT_AMBIGUOUS = "COMMITMENT_AMBIGUOUS"
    COMMITMENT_NOT_APPROVED = "COMMITMENT_NOT_APPROVED"
    COMMITMENT_EXPECTED = "COMMITMENT_EXPECTED"
    VENDOR_MISMATCH = "VENDOR_MISMATCH"
    SOV_AMBIGUOUS = "SOV_AMBIGUOUS"
    OVERBILLED = "OVERBILLED"
    OPENING_DIFFERENCE = "OPENING_DIFFERENCE"
    NO_OPEN_PERIOD = "NO_OPEN_PERIOD"
    LATER_INVOICE_EXISTS = "LATER_INVOICE_EXISTS"
    NOT_YET_APPROVED_IN_PROCORE = "NOT_YET_APPROVED_IN_PROCORE"
    LOCKED_IN_PROCORE = "LOCKED_IN_PROCORE"
    CREDIT_ON_COMMITMENT = "CREDIT_ON_COMMITMENT"
    EXPENSE_ON_COMMITMENT = "EXPENSE_ON_COMMITMENT"
    DRIFT = "DRIFT"
    RETAINAGE_POLICY = "RETAINAGE_POLICY"
    WAITING_FOR_BILL = "WAITING_FOR_BILL"
    UNBALANCED = "UNBALANCED"
    UNREADABLE = "UNREADABLE"
    REFUSED = "REFUSED"
    PERIOD_CLOSED = "PERIOD_CLOSED"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    PERMISSION = "PERMISSION"
    NEEDS_APPROVAL = "NEEDS_APPROVAL"


class Choice(StrEnum):
    """What a person may decide about a held record; the words are those of `ml-connector decide`."""

    APPROVE = "approve"
    REJECT = "reject"  # it stays in the queue, with the comment as its reason
    EXCLUDE = "exclude"  # never sent; its money counts as excluded
    POST_ANYWAY = "post_anyway"
    NEXT_OPEN_DAY = "next_open_day"  # posted, dated the first day after the close
    BRING_IN = "bring_in"
    ACCEPT = "accept"  # a difference from before the start stays as it is
    KEEP_THEIRS = "keep_theirs"  # what a person changed in Procore stays
    RESTORE_OURS = "restore_ours"


NEEDS_COMMENT = (Choice.REJECT, Choice.EXCLUDE)  # the comment is the reason
EXCLUDABLE = ("Bill", "VendorCredit", "Purchase")  # entities that can be left out of job cost by a person


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
    choices: tuple[Choice, ...] = (Choice.EXCLUDE,)  # () where only the cause's end, or a replay, releases
    decided_on: str = ""  # the entity whose record alone takes the choices besides exclude; "" for any


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
        Fixer.ACCOUNTING,
        "one vendor of that name left in Procore, or the right one in vendors.csv",
        True,
        False,
    ),
    Reason.NO_BUDGET_LINE: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "a line for the code in the project's budget, or another rule", True, False
    ),
    Reason.VENDOR_PROPOSED: ReasonFacts(
        Fixer.ACCOUNTING,
        "the word of a person on the vendor, or a row in vendors.csv",
        True,
        False,
        (Choice.APPROVE, Choice.REJECT, Choice.EXCLUDE),
        decided_on="Vendor",  # its bills wait with it
    ),
    Reason.VENDOR_INACTIVE: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "the vendor active in Procore, or the bill excluded", True, False
    ),
    Reason.CURRENCY: ReasonFacts(
        Fixer.ACCOUNTING,
        "the policy foreign_currency and a replay, or the rate put right in QBO",
        False,
        False,
        (Choice.POST_ANYWAY, Choice.EXCLUDE),
    ),
    Reason.TAX_POLICY: ReasonFacts(Fixer.ACCOUNTING, "the policy tax, then a replay", False, False),
    Reason.POSSIBLE_DUPLICATE: ReasonFacts(
        Fixer.ACCOUNTING,
        "another number in QBO, or the word that it is no duplicate",
        True,
        False,
        (Choice.POST_ANYWAY, Choice.EXCLUDE),
    ),
    Reason.NOT_A_COST: ReasonFacts(
        Fixer.ACCOUNTING, "another account in QBO, or a rule that names the account", True, False
    ),
    Reason.ENTERED_AFTER_START: ReasonFacts(
        Fixer.ACCOUNTING,
        "the choice to bring in or to exclude",
        False,
        False,
        (Choice.BRING_IN, Choice.EXCLUDE),
    ),
    Reason.COMMITMENT_MISSING: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "a commitment of that vendor approved on the project", True, False
    ),
    Reason.COMMITMENT_AMBIGUOUS: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "the commitment named on the bill in QBO, or in a rule", True, False
    ),
    Reason.COMMITMENT_NOT_APPROVED: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "the commitment approved in Procore", True, False
    ),
    Reason.COMMITMENT_EXPECTED: ReasonFacts(
        Fixer.PROJECT_CONTROLS,
        "a rule with the route commitment, or the policy that lets it pass",
        True,
        False,
    ),
    Reason.VENDOR_MISMATCH: ReasonFacts(
        Fixer.ACCOUNTING,
        "the contract's vendor on the bill, another commitment, or a row in vendors.csv",
        True,
        False,
    ),
    Reason.SOV_AMBIGUOUS: ReasonFacts(
        Fixer.PROJECT_CONTROLS,
        "a schedule of values with one line for the code, or the policy in_order",
        True,
        False,
    ),
    Reason.OVERBILLED: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "a change order in Procore, or a corrected bill", True, False
    ),
    Reason.OPENING_DIFFERENCE: ReasonFacts(
        Fixer.PROJECT_CONTROLS,
        "both sides alike at the start, or the word that accepts the difference",
        True,
        False,
        (Choice.ACCEPT, Choice.EXCLUDE),
    ),
    Reason.NO_OPEN_PERIOD: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "an open billing period on the project", True, False
    ),
    Reason.LATER_INVOICE_EXISTS: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "the difference on a new bill, and this one as it was", True, False, ()
    ),
    Reason.NOT_YET_APPROVED_IN_PROCORE: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "the invoice approved in Procore", True, False
    ),
    Reason.LOCKED_IN_PROCORE: ReasonFacts(
        Fixer.PROJECT_CONTROLS,
        "the record unlocked in Procore, then a replay",
        False,
        True,
        (Choice.KEEP_THEIRS,),
    ),
    Reason.CREDIT_ON_COMMITMENT: ReasonFacts(
        Fixer.PROJECT_CONTROLS, "a rule for it, the policy for back-charges, or its exclusion", True, False
    ),
    Reason.EXPENSE_ON_COMMITMENT: ReasonFacts(
        Fixer.ACCOUNTING,
        "a bill in its place in QBO, a rule that takes it elsewhere, or its exclusion",
        True,
        False,
    ),
    Reason.DRIFT: ReasonFacts(
        Fixer.PROJECT_CONTROLS,
        "Procore and QBO brought together by a person, then a replay",
        False,
        False,
        (Choice.KEEP_THEIRS, Choice.RESTORE_OURS),
    ),
    Reason.WAITING_FOR_BILL: ReasonFacts(
        Fixer.NOBODY, "the bill that it pays, once that is posted", True, False, ()
    ),
    Reason.RETAINAGE_POLICY: ReasonFacts(Fixer.ACCOUNTING, "a policy for retainage", False, False),
    Reason.UNBALANCED: ReasonFacts(Fixer.ACCOUNTING, "a corrected record in QBO", True, False),
    Reason.UNREADABLE: ReasonFacts(Fixer.ADMINISTRATOR, "a corrected record in QBO", True, False),
    Reason.REFUSED: ReasonFacts(
        Fixer.ACCOUNTING, "a corrected record in QBO, or a replay once Procore would take it", True, True
    ),
    Reason.PERIOD_CLOSED: ReasonFacts(
        Fixer.PROJECT_CONTROLS,
        "the choice of its date in Procore, another date in QBO, or an earlier books_closed_to and a replay",
        False,
        False,
        (Choice.POST_ANYWAY, Choice.NEXT_OPEN_DAY, Choice.EXCLUDE),
    ),
    Reason.OUTCOME_UNKNOWN: ReasonFacts(Fixer.NOBODY, "a look-up after the settle time", True, True, ()),
    Reason.PERMISSION: ReasonFacts(
        Fixer.ADMINISTRATOR,
        "the permission given back in Procore, or the project's number put right in projects.csv",
        True,
        True,
    ),
    Reason.NEEDS_APPROVAL: ReasonFacts(
        Fixer.PROJECT_CONTROLS,
        "the word of a person who may approve it",
        False,
        False,
        (Choice.APPROVE, Choice.REJECT, Choice.EXCLUDE),
    ),
}


def choices_of(reason: Reason, *, entity: str, about: str) -> tuple[Choice, ...]:
    """What may be decided about a hold of `reason` on a record of `entity`.

    Any held bill, credit or purchase can be excluded; the other choices are there where the hold says what they are about.
    """
    facts = REASONS[reason]
    takes_others = bool(about) and facts.decided_on in ("", entity)
    return tuple(
        choice
        for choice in facts.choices
        if (entity in EXCLUDABLE if choice is Choice.EXCLUDE else takes_others)
    )


@dataclass(frozen=True)
class Hold:
    """One reason why a record waits.

    `sentence` is for a bookkeeper: which record and line, what is wrong, what to do. `cause` groups holds
    that one fix would free ("PROJECT_NOT_LINKED customer 61"). `amount` is the money of the lines concerned.
    `about` is what a decision on it would hold for besides the version: the bill it may be a duplicate of, the close
    of the books, a digest of what would be sent; "" when there is nothing to choose but to exclude the record.
    `wants` is the budget code that it waits for (project, cost code, cost type); it is not stored.
    """

    reason: Reason
    sentence: str
    cause: str
    amount: Decimal
    line: int | None = None
    about: str = ""
    wants: tuple[str, str, str] | None = None


# What the cause of a hold says of a project that Procore does not show: nothing was refused, and no day fails for it.
HIDDEN = "hidden project"

# Holds that a change in Procore ends, which only a look at Procore can find.
WAITS_FOR_LISTS = (Reason.CODE_MISSING, Reason.NO_BUDGET_LINE, Reason.PROJECT_CLOSED, Reason.PERMISSION)
WAITS_FOR_COMMITMENT = (
    Reason.COMMITMENT_MISSING,
    Reason.COMMITMENT_AMBIGUOUS,
    Reason.COMMITMENT_NOT_APPROVED,
    Reason.VENDOR_MISMATCH,
    Reason.SOV_AMBIGUOUS,
    Reason.OVERBILLED,
    Reason.OPENING_DIFFERENCE,
    Reason.NO_OPEN_PERIOD,
    Reason.NOT_YET_APPROVED_IN_PROCORE,
)
WAITS_FOR_DIRECTORY = (Reason.VENDOR_AMBIGUOUS, Reason.VENDOR_PROPOSED, Reason.VENDOR_INACTIVE)

MEANINGS: dict[Reason, str] = {
    Reason.NO_PROJECT: "a line of job cost names no customer or project",
    Reason.PROJECT_NOT_LINKED: "no row of projects.csv says which Procore project the customer is",
    Reason.PROJECT_CLOSED: "the project is not active in Procore, and takes no cost",
    Reason.UNMAPPED: "no rule of mapping.csv takes the line",
    Reason.CODE_MISSING: "the project has no budget code of that cost code and cost type",
    Reason.NO_BUDGET_LINE: "the budget code is there, but the project's budget has no line for it",
    Reason.VENDOR_AMBIGUOUS: "several vendors in Procore may be the one of the bill",
    Reason.VENDOR_PROPOSED: "the vendor is not linked yet, and a person is to confirm the link that is proposed",
    Reason.VENDOR_INACTIVE: "the vendor is inactive in Procore",
    Reason.CURRENCY: "the record is in another currency than the books, or its rate was changed after it was posted",
    Reason.TAX_POLICY: "tax stands beside the lines, and nobody has chosen where it goes",
    Reason.POSSIBLE_DUPLICATE: "another record has the same vendor, number and amount",
    Reason.NOT_A_COST: "a line with a project stands on an account of the balance sheet",
    Reason.ENTERED_AFTER_START: "it is dated before the start, and was entered after it",
    Reason.COMMITMENT_MISSING: "the line goes to a commitment, and the vendor has none on the project",
    Reason.COMMITMENT_AMBIGUOUS: "several commitments may be meant, and nothing on the bill says which",
    Reason.COMMITMENT_NOT_APPROVED: "the commitment is not approved, so that nothing can be billed on it",
    Reason.COMMITMENT_EXPECTED: "a direct cost whose vendor has an open commitment with that code",
    Reason.VENDOR_MISMATCH: "the commitment that the bill names belongs to another vendor",
    Reason.SOV_AMBIGUOUS: "several lines of the schedule of values have the code, or none has",
    Reason.OVERBILLED: "the bill is for more than the schedule line has left, or releases more than is held",
    Reason.OPENING_DIFFERENCE: "at the start the commitment was billed, retained or paid otherwise in QBO than in Procore",
    Reason.NO_OPEN_PERIOD: "no billing period of the project is open for the date",
    Reason.LATER_INVOICE_EXISTS: "the commitment has a later invoice, so that this one cannot change any more",
    Reason.NOT_YET_APPROVED_IN_PROCORE: "an invoice of the commitment is not approved yet, and the next one waits for it",
    Reason.LOCKED_IN_PROCORE: "Procore does not let the record be changed",
    Reason.CREDIT_ON_COMMITMENT: "a credit, or a line below zero, goes to a commitment",
    Reason.EXPENSE_ON_COMMITMENT: "a purchase without a bill goes to a commitment or to retainage",
    Reason.DRIFT: "somebody changed or removed in Procore what was posted",
    Reason.WAITING_FOR_BILL: "a payment of a bill that is not in Procore yet",
    Reason.RETAINAGE_POLICY: "the commitment holds retainage, and nobody has chosen how the books show it",
    Reason.UNBALANCED: "the figures of the record contradict each other: lines and total, payment and bill",
    Reason.UNREADABLE: "the record has a form that is not understood",
    Reason.REFUSED: "Procore refused it; the sentence has its answer",
    Reason.PERIOD_CLOSED: "it is dated in a period that is closed (`books_closed_to`)",
    Reason.OUTCOME_UNKNOWN: "it was sent, no answer came, and a look-up will tell whether Procore has it",
    Reason.PERMISSION: "the service account may not do it there, or the project does not exist",
    Reason.NEEDS_APPROVAL: "the policy `approval` asks for a person's word first",
}
"""What a hold of each reason means, in words for the list of reasons; the sentence of a hold has the figures."""
