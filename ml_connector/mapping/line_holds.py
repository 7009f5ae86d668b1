"""The holds of single lines: reason, cause and the sentence that says what is wrong and what to do.

When a line is held is decided in `resolve`.
"""

from dataclasses import dataclass
from decimal import Decimal

from ml_connector.holds import Hold, Reason
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


def hidden(piece: Piece, project_id: str) -> Hold:
    """Procore's list has closed projects too, but none that the service account is not permitted (procore-api 1)."""
    text = (
        f"goes to project {project_id}, which Procore does not list for ml-connector: give the service account that"
        " project, or correct its id in projects.csv"
    )
    return _hold(piece, Reason.PERMISSION, text, f"project {project_id}")


def unreadable(piece: Piece, project: CatalogProject) -> Hold:
    """Procore keeps the project's budget codes from us."""
    text = (
        f"goes to project {quoted(project.name, 40)} ({project.id}), whose budget codes Procore does not show to"
        f" ml-connector ({quoted(project.unreadable)}): give the service account that project"
    )
    return _hold(piece, Reason.PERMISSION, text, f"project {project.id}")


def code_missing(piece: Piece, project: CatalogProject, outcome: Outcome) -> Hold:
    """The project has no such active budget code; the nearest it has are offered."""
    pair = _pair(outcome.cost_code, outcome.cost_type)
    where = f"row {outcome.row} of mapping.csv" if outcome.row else "tax_cost_code in connection.yaml"
    near = ", ".join(_pair(*found) for found in _nearest(project, outcome))
    text = (
        f"needs budget code {pair}, which project {quoted(project.name, 30)} ({project.id}) lacks:"
        f" add it there or correct {where}" + (f"; nearest: {near}" if near else "")
    )
    return _hold(piece, Reason.CODE_MISSING, text, f"project {project.id} {pair}")


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
