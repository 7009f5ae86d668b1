"""Why a line went where it went: every rule of a version, and what it said of the line."""

from ml_connector.mapping.matching import facts_of, matcher_of
from ml_connector.mapping.models import ASKING, Candidate, Reference, Rule, RuleBook
from ml_connector.mapping.resolve import TEXT_LINE
from ml_connector.mapping.wording import quoted
from ml_connector.qbo.models import Bill, Line, Ref


def explain_line(line: Line, bill: Bill, *, rules: RuleBook, reference: Reference) -> list[Candidate]:
    """Every rule in the order of the sheet: the one that took the line, and why the others did not.

    Empty when no rule is asked: a line without money, or one that QBO's lists cannot place.
    """
    facts = facts_of(line, bill, reference)
    if line.amount is None or line.kind == TEXT_LINE or facts.gap:
        return []
    candidates = []
    winner: Rule | None = None
    for rule, refusal in matcher_of(rules).refusals(facts):
        if winner is not None:
            why = "not reached" if refusal else f"would also match, but row {winner.row} comes first"
        elif refusal:
            why = _why_not(rule, refusal, line=line, bill=bill, reference=reference)
        else:
            why = "every condition holds" if rule.conditions.asked() else "it asks for nothing"
            why += _validity(rule, bill)
            winner = rule
        candidates.append(Candidate(rule.row, rule is winner, why))
    return candidates


def _validity(rule: Rule, bill: Bill) -> str:
    """The validity by which a rule took a line, if it has one."""
    begin, end = rule.conditions.valid_from, rule.conditions.valid_to
    if begin is None and end is None:
        return ""
    words = " ".join([*([f"from {begin}"] if begin else []), *([f"until {end}"] if end else [])])
    return f"; valid {words}, the bill is dated {bill.txn_date}"


def _why_not(rule: Rule, heading: str, *, line: Line, bill: Bill, reference: Reference) -> str:
    conditions = rule.conditions
    if heading == "valid_from":
        return f"valid_from: it holds from {conditions.valid_from}, the bill is dated {bill.txn_date}"
    if heading == "valid_to":
        return f"valid_to: it holds until {conditions.valid_to}, the bill is dated {bill.txn_date}"
    asked = quoted(getattr(conditions, ASKING[heading]))
    offered = quoted(_offered(heading, line=line, bill=bill, reference=reference))
    return f"{heading}: it asks for “{asked}”, the line has {f'“{offered}”' if offered else 'none'}"


def _offered(heading: str, *, line: Line, bill: Bill, reference: Reference) -> str:
    """What the line has where the rule asks, as a person knows it."""
    if heading == "description":
        return line.description
    if heading == "account":
        account = facts_of(line, bill, reference).account
        return "" if account is None else f"{account.number} {account.full_name}"
    refs: dict[str, Ref | None] = {
        "item": line.item,
        "class": line.class_ref,
        "location": bill.location,
        "vendor": bill.vendor,
        "customer": line.customer,
    }
    ref = refs[heading]
    return "" if ref is None else ref.name or ref.id
