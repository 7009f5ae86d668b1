"""The holds of single lines: reason, cause and the sentence that says what is wrong and what to do.

When a line is held is decided in `resolve`.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from ml_connector.holds import HIDDEN, Hold, Reason
from ml_connector.mapping.matching import Facts
from ml_connector.mapping.models import Outcome
from ml_connector.mapping.wording import line_words, name_words, quoted, sentence
from ml_connector.procore.models import CatalogProject
from ml_connector.qbo.models import Bill, Line, Ref

OFFERED = 3  # budget codes that a sentence offers
ALIKE = 2  # characters that a near cost code begins with alike


@dataclass(frozen=True)
class Piece:
    """A line, or the share of it that one row of a rule takes; `outcome` is None without a rule."""

    bill: Bill
    line: Line
    facts: Facts
    amount: Decimal
    whole: Decimal  # what the line costs
    outcome: Outcome | None = None


def gap(piece: Piece) -> Hold:
    """QBO's lists do not say what the line stands on."""
    return _hold(piece, Reason.UNMAPPED, piece.facts.gap, piece.facts.subject)


def no_account(piece: Piece) -> Hold:
    """The line is on an item without an account, and no rule takes it."""
    text = f"is on {_standing(piece)}, which has no expense account: add a rule that names the item"
    return _hold(piece, Reason.UNMAPPED, text, piece.facts.subject)


def no_rule(piece: Piece) -> Hold:
    """The line has a project, and no rule takes it."""
    text = f"is on {_standing(piece)}, which no rule takes: add a rule to mapping.csv and publish it"
    return _hold(piece, Reason.UNMAPPED, text, piece.facts.subject)


def not_a_cost(piece: Piece) -> Hold:
    """The line has a project, but a balance-sheet account."""
    text = (
        f"has a project but is on {_standing(piece)}, which is no cost:"
        " choose another account in QBO, or add a rule that names it"
    )
    return _hold(piece, Reason.NOT_A_COST, text, piece.facts.subject)


def no_project(piece: Piece, why: str) -> Hold:
    """The line needs a project; `why` says how we know."""
    text = f"{why} but no project: choose the customer or project of the line in QBO, or add a rule for it"
    return _hold(piece, Reason.NO_PROJECT, text, f"{piece.bill.entity} {piece.bill.id}")


def on_commitment(piece: Piece) -> Hold:
    """A rule sends a purchase to a commitment, which only bills draw on."""
    text = (
        f"goes to a commitment by row {piece.outcome.row if piece.outcome else 0} of mapping.csv, and an expense cannot"
        " draw on one: enter it as a bill in QBO, or let another row take it"
    )
    return _hold(piece, Reason.EXPENSE_ON_COMMITMENT, text, f"{piece.bill.entity} {piece.bill.id}")


def not_linked(piece: Piece, customer: Ref) -> Hold:
    """The line's customer is not in projects.csv."""
    text = (
        f"is for {name_words(customer)}, which is linked to no Procore project:"
        " add a row to projects.csv and publish it"
    )
    return _hold(piece, Reason.PROJECT_NOT_LINKED, text, f"customer {customer.id}")


def closed(piece: Piece, project: CatalogProject) -> Hold:
    """The project is not active in Procore."""
    text = (
        f"goes to project {quoted(project.name, 40)} ({project.id}), which is closed in Procore: reopen it,"
        " choose another project in QBO, or exclude the line by a rule"
    )
    return _hold(piece, Reason.PROJECT_CLOSED, text, f"project {project.id}")


def hidden(piece: Piece, project_id: str, *, named_in: str) -> Hold:
    """Procore's list has closed projects too, but none that the service account is not permitted (procore-api 1).

    A number that no project has looks the same: the sentence tells both, and `named_in` where the number stands.
    """
    text = (
        f"goes to project {project_id}, which Procore does not list for ml-connector: it is not permitted, or there is"
        f" no such project. Give the service account that project, or correct its id in {named_in} and publish it"
    )
    return _hold(piece, Reason.PERMISSION, text, f"{HIDDEN} {project_id}")


def unreadable(piece: Piece, project: CatalogProject) -> Hold:
    """Procore keeps the project's budget codes from us."""
    text = (
        f"goes to project {quoted(project.name, 40)} ({project.id}), whose budget codes Procore does not show to"
        f" ml-connector ({quoted(project.unreadable)}): give the service account that project"
    )
    return _hold(piece, Reason.PERMISSION, text, f"{HIDDEN} {project.id}")


def code_missing(piece: Piece, project: CatalogProject, outcome: Outcome, *, is_made: bool) -> Hold:
    """The project has no such active budget code; the nearest it has are offered. `is_made`: we make it where we can."""
    pair, key = _pair(outcome.cost_code, outcome.cost_type), _key(outcome)
    where = f"row {outcome.row} of mapping.csv" if outcome.row else "tax_cost_code in connection.yaml"
    near = ", ".join(_pair(*found) for found in _nearest(project, outcome))
    lacking = f"needs budget code {pair}, which project {quoted(project.name, 30)} ({project.id})"
    if key in project.codes:
        text = f"{lacking} has as inactive: make it active there or correct {where}"
    elif is_made and key in project.not_made:
        why = quoted(project.not_made[key], 200)
        text = f"{lacking} lacks, and it could not be made ({why}): add it there or correct {where}"
    elif is_made:
        text = f"{lacking} lacks: it is made when the bill is posted, as far as its cost code and cost type are there"
    else:
        text = f"{lacking} lacks: add it there or correct {where}"
    wants = (project.id, *key) if is_made and key not in project.codes else None
    hold = _hold(
        piece,
        Reason.CODE_MISSING,
        text + (f"; nearest: {near}" if near else ""),
        f"project {project.id} {pair}",
    )
    return replace(hold, wants=wants)


def no_budget_line(piece: Piece, project: CatalogProject, outcome: Outcome) -> Hold:
    """The budget of the project has no line for the code, or that is not known."""
    pair = _pair(outcome.cost_code, outcome.cost_type)
    whose = f"project {quoted(project.name, 30)} ({project.id})"
    if project.budget is None:
        text = (
            f"goes to {pair} of {whose}, whose budget was not read yet: it is when the bill is to be posted"
        )
    elif project.budget.unreadable:
        text = (
            f"goes to {pair} of {whose}, whose budget Procore does not show to ml-connector"
            f" ({quoted(project.budget.unreadable)}): give the service account the Budget tool of that project"
        )
    else:
        where = f"row {outcome.row} of mapping.csv" if outcome.row else "tax_cost_code in connection.yaml"
        text = (
            f"goes to {pair}, which the budget of {whose} has no line for: add one there or correct {where}"
        )
    hold = _hold(piece, Reason.NO_BUDGET_LINE, text, f"project {project.id} {pair}")
    return replace(hold, wants=(project.id, *_key(outcome)))


def _hold(piece: Piece, reason: Reason, text: str, cause: str) -> Hold:
    words = sentence(f"{line_words(piece.line, piece.bill)} {text}.")
    return Hold(reason, words, f"{reason} {cause}", piece.amount, piece.line.number)


def _standing(piece: Piece) -> str:
    facts = piece.facts
    if facts.item is not None:
        return f"item {quoted(facts.item.full_name)}"
    if facts.account is None:
        return "no account"
    return f"account {quoted(f'{facts.account.number} {facts.account.full_name}')}"


def _key(outcome: Outcome) -> tuple[str, str]:
    return outcome.cost_code.upper(), outcome.cost_type.upper()


def _pair(cost_code: str, cost_type: str) -> str:
    return f"{quoted(cost_code, 20)} / {quoted(cost_type, 8)}"


def _nearest(project: CatalogProject, outcome: Outcome) -> list[tuple[str, str]]:
    """Active pairs that may be meant: the same code with another type, else the type with a near code."""
    wanted, kind = outcome.cost_code.upper(), outcome.cost_type.upper()
    active = [(pair, (code.cost_code, code.cost_type)) for pair, code in project.codes.items() if code.active]
    near = sorted(shown for (code, _), shown in active if code == wanted)
    if near:
        return near[:OFFERED]
    left = [(code, shown) for (code, its_kind), shown in active if its_kind == kind]
    for length in range(len(wanted), ALIKE - 1, -1):
        if len(near) >= OFFERED:
            break
        begin = wanted[:length]
        near += sorted(shown for code, shown in left if code.startswith(begin) and shown not in near)
    return near[:OFFERED]
