"""What becomes of every line of a bill: posted to a budget code, excluded by rule, or held.

Pure: the same bill, rules, links, lists and policies always give the same parts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from ml_connector.holds import Hold, Reason
from ml_connector.mapping import line_holds
from ml_connector.mapping.bill_holds import TAX_LINE, MoneyLine, bill_holds, tax_in_lines, tax_of
from ml_connector.mapping.line_holds import Piece
from ml_connector.mapping.matching import Facts, Matcher, customer_name, facts_of, matcher_of
from ml_connector.mapping.models import (
    Committed,
    Excluded,
    Held,
    MappedBill,
    Outcome,
    Part,
    Posted,
    ProjectLinks,
    Reference,
    Retained,
    Route,
    Rule,
    RuleBook,
    folded,
)
from ml_connector.money import split, total
from ml_connector.procore.models import Catalog
from ml_connector.qbo.models import Bill, Line
from ml_connector.settings import Policies

TEXT_LINE = "DescriptionOnly"
INVENTORY = "Inventory"
COST_OF_GOODS_SOLD = "Cost of Goods Sold"
# Classification says it; AccountType stands in where QBO left that out (qbo-api 8).
NOT_A_COST = ("Asset", "Liability", "Equity")
NOT_A_COST_TYPES = (
    "Bank",
    "Accounts Receivable",
    "Other Current Asset",
    "Fixed Asset",
    "Other Asset",
    "Accounts Payable",
    "Credit Card",
    "Other Current Liability",
    "Long Term Liability",
    "Equity",
)


def map_bill(
    bill: Bill,
    *,
    rules: RuleBook,
    links: ProjectLinks,
    reference: Reference,
    catalog: Catalog,
    policies: Policies,
) -> MappedBill:
    """Decide every line of one version of a bill or vendor credit.

    All parts of a vendor credit are held by the hold on the whole. Amounts are in the bill's currency.
    """
    money: list[MoneyLine] = []
    texts = []
    for line in bill.lines:
        # QBO ignores the amount of a comment; if it counts one after all, the bill is out of balance.
        if line.amount is not None and line.kind != TEXT_LINE:
            money.append((line, line.amount))
        elif line.description:
            texts.append(line.description)
    holds = tuple(bill_holds(bill, money, home_currency=reference.home_currency))
    whole = {hold.reason: hold for hold in holds}
    costs = [(line, amount) for line, amount in money if line.kind != TAX_LINE]
    parts: list[Part] = []
    if Reason.UNSUPPORTED in whole:
        parts += [Held(line.number, amount, whole[Reason.UNSUPPORTED], "") for line, amount in costs]
    else:
        deciding = _Deciding(bill, rules.version, matcher_of(rules), links, reference, catalog, policies)
        parts += deciding.parts(costs)
    if Reason.TAX_POLICY in whole:
        parts += _tax_parts(bill, money, whole[Reason.TAX_POLICY])
    return MappedBill(tuple(parts), holds, tuple(texts))


def _tax_parts(bill: Bill, money: Sequence[MoneyLine], hold: Hold) -> Iterator[Held]:
    for line, amount in money:
        if line.kind == TAX_LINE:
            yield Held(line.number, amount, hold, "")
    beside = tax_of(bill, money) - tax_in_lines(money)
    if beside:
        yield Held(0, beside, hold, "")


@dataclass(frozen=True)
class _Deciding:
    """Decides the lines of one bill."""

    bill: Bill
    version: int
    matcher: Matcher
    links: ProjectLinks
    reference: Reference
    catalog: Catalog
    policies: Policies

    def parts(self, money: Sequence[MoneyLine]) -> list[Part]:
        """What becomes of the lines, in their order."""
        ruled = [self._ruled(line, facts_of(line, self.bill, self.reference)) for line, _ in money]
        subcontract = _is_of_subcontract([rule for _, rule in ruled], [amount for _, amount in money])
        parts: list[Part] = []
        for (line, amount), (facts, rule) in zip(money, ruled, strict=True):
            piece = Piece(self.bill, line, facts, amount, amount)
            if rule is None:
                parts.append(self._without_rule(piece))
            else:
                parts += self._by_rule(piece, rule, subcontract=subcontract)
        return _without_idle_zeros(parts)

    def _ruled(self, line: Line, facts: Facts) -> tuple[Facts, Rule | None]:
        return facts, None if facts.gap else self.matcher.first(facts)

    def _by_rule(self, piece: Piece, rule: Rule, *, subcontract: bool) -> Iterator[Part]:
        amounts = split(piece.whole, [outcome.share for outcome in rule.outcomes])
        for outcome, amount in zip(rule.outcomes, amounts, strict=True):
            share = replace(piece, amount=amount, outcome=outcome)
            if not amount and piece.whole:
                continue  # a cent shared by three leaves nothing for two
            if outcome.route in (Route.DIRECT_COST, Route.COMMITMENT):
                yield self._coded(share, outcome, alone=len(rule.outcomes) == 1)
            elif outcome.route is Route.EXCLUDE:
                yield self._excluded(share, outcome.reason)
            elif subcontract or outcome.commitment:
                yield Retained(
                    line=piece.line.number,
                    amount=amount,
                    project=outcome.project or self._linked_project(piece.line),
                    commitment=outcome.commitment,
                    description=piece.line.description,
                    rule=self._rule_words(share),
                )
            else:
                yield self._excluded(share, "RETAINAGE_PAYABLE")

    def _coded(self, piece: Piece, outcome: Outcome, *, alone: bool) -> Posted | Held:
        """A part with a budget code of its project: direct cost, or work on a commitment."""
        line = piece.line
        project_id = outcome.project or self._linked_project(line)
        if not project_id:
            return self._held(piece, self._no_project(piece))
        project = self.catalog.projects.get(project_id)
        if project is None or not project.active:
            return self._held(piece, line_holds.closed(piece, project_id, project))
        if project.unreadable:
            return self._held(piece, line_holds.unreadable(piece, project))
        code = project.codes.get((outcome.cost_code.upper(), outcome.cost_type.upper()))
        if code is None or not code.active:
            return self._held(piece, line_holds.code_missing(piece, project, outcome))
        posted = Posted(
            line=line.number,
            amount=piece.amount,
            project=project.id,
            wbs_code_id=code.wbs_code_id,
            cost_code=code.cost_code,
            cost_type=code.cost_type,
            description=line.description,
            # The quantity is that of the whole line; of a share it would be a wrong one.
            quantity=line.quantity if alone else None,
            unit_price=line.unit_price if alone else None,
            rule=self._rule_words(piece),
        )
        if outcome.route is Route.COMMITMENT:
            return Committed(**vars(posted), commitment=outcome.commitment)
        return posted

    def _no_project(self, piece: Piece) -> Hold:
        customer = piece.line.customer
        if customer is not None:
            return line_holds.not_linked(piece, customer)
        return line_holds.no_project(piece, self._why_job_cost(piece.facts) or "is job cost by rule")

    def _linked_project(self, line: Line) -> str:
        if line.customer is None:
            return ""
        name = customer_name(line.customer, self.reference)
        by_customer = self.links.by_customer
        return by_customer.get(folded(line.customer.id)) or by_customer.get(folded(name), "")

    def _without_rule(self, piece: Piece) -> Excluded | Held:
        facts, has_project = piece.facts, piece.line.customer is not None
        if facts.gap:
            return self._held(piece, line_holds.gap(piece))
        if _is_not_a_cost(facts):
            if has_project:
                return self._held(piece, line_holds.not_a_cost(piece))
            return self._excluded(piece, "NOT_A_COST")
        if facts.account is None:
            return self._held(piece, line_holds.no_account(piece))
        if has_project:
            return self._held(piece, line_holds.no_rule(piece))
        return self._without_project(piece)

    def _without_project(self, piece: Piece) -> Excluded | Held:
        why = self._why_job_cost(piece.facts)
        if why:
            return self._held(piece, line_holds.no_project(piece, why))
        if self.policies.overhead == "exclude":
            return self._excluded(piece, "OVERHEAD")
        return self._held(piece, line_holds.no_project(piece, "has an expense account that no rule takes"))

    def _why_job_cost(self, facts: Facts) -> str:
        """What makes the line job cost whatever its project; "" when nothing does."""
        if facts.account is not None and facts.account.kind == COST_OF_GOODS_SOLD:
            return "has a job-cost account"
        named = self.matcher.names_as_job_cost(facts)
        return f"has a job-cost {named}" if named else ""

    def _excluded(self, piece: Piece, reason: str) -> Excluded:
        account = piece.facts.account
        name = "" if account is None else account.full_name
        return Excluded(piece.line.number, piece.amount, reason, self._rule_words(piece), name)

    def _held(self, piece: Piece, hold: Hold) -> Held:
        return Held(piece.line.number, piece.amount, hold, self._rule_words(piece))

    def _rule_words(self, piece: Piece) -> str:
        return "" if piece.outcome is None else f"{self.version}.{piece.outcome.row}"


def _is_of_subcontract(rules: Sequence[Rule | None], amounts: Sequence[Decimal]) -> bool:
    """Whether retainage of the bill is that of a commitment: beside work on one, or a release that comes alone."""
    routes = {outcome.route for rule in rules if rule is not None for outcome in rule.outcomes}
    alone = routes == {Route.RETAINAGE} and None not in rules
    return Route.COMMITMENT in routes or (alone and total(amounts) > 0)


def _without_idle_zeros(parts: Sequence[Part]) -> list[Part]:
    """`parts` with 0.00 kept beside other money of its project and else excluded: it is worth no hold."""
    projects = {part.project for part in parts if isinstance(part, Posted) and part.amount}

    def is_idle(part: Part) -> bool:
        if part.amount or isinstance(part, Excluded):
            return False
        return isinstance(part, Held) or part.project not in projects

    return [
        Excluded(part.line, part.amount, "NO_MONEY", part.rule, "") if is_idle(part) else part
        for part in parts
    ]


def _is_not_a_cost(facts: Facts) -> bool:
    if facts.item is not None and facts.item.kind == INVENTORY:
        return True
    account = facts.account
    if account is None:
        return False
    return (account.classification or account.kind) in (*NOT_A_COST, *NOT_A_COST_TYPES)
