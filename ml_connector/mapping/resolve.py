"""What becomes of every line of a bill: posted to a budget code, excluded by rule, or held.

Pure: the same bill, rules, links, lists and policies always give the same parts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from ml_connector.holds import Hold, Reason
from ml_connector.mapping import line_holds
from ml_connector.mapping.bill_holds import bill_holds
from ml_connector.mapping.costs import Costs, MoneyLine, costs_of, tax_of
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
from ml_connector.money import ZERO, in_cents, split, total
from ml_connector.procore.models import BudgetCode, Catalog, CatalogProject
from ml_connector.qbo.models import TAX_LINE, Bill, Entity, Line
from ml_connector.settings import Policies

TEXT_LINE = "DescriptionOnly"
TAX = "tax"  # stands for the row of what no rule but the policy places
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
    """Decide every line of one version of a bill, vendor credit or purchase."""
    money: list[MoneyLine] = []
    texts = []
    for line in bill.lines:
        # QBO ignores the amount of a comment; if it counts one after all, the bill is out of balance.
        if line.amount is not None and line.kind != TEXT_LINE:
            money.append((line, line.amount))
        elif line.description:
            texts.append(line.description)
    costs = costs_of(bill, money, policies=policies, home_currency=reference.home_currency)
    holds = tuple(bill_holds(bill, money, costs, policies=policies, home_currency=reference.home_currency))
    deciding = _Deciding(bill, rules.version, matcher_of(rules), links, reference, catalog, policies, costs)
    parts = deciding.parts()
    if costs.recoverable:
        parts.append(Excluded(0, costs.recoverable, "RECOVERABLE_TAX", "", ""))
    undecided = next((hold for hold in holds if hold.reason is Reason.TAX_POLICY), None)
    if undecided is not None:
        parts += [Held(number, amount, undecided, "") for number, amount in costs.undecided]
    return MappedBill(costs.total, tuple(parts), holds, tuple(texts), _told(bill, money, costs, policies))


def _told(bill: Bill, money: Sequence[MoneyLine], costs: Costs, policies: Policies) -> dict[str, object]:
    told: dict[str, object] = {}
    if costs.rate is not None:
        told["converted"] = {
            "amount": bill.total,
            "currency": bill.currency,
            "rate": costs.rate,
            "home amount": abs(costs.total),
        }
    tax = tax_of(bill, money)
    if tax and not costs.undecided:
        rates = {part.rate: part.amount for part in bill.taxes}
        recoverable = abs(costs.recoverable)
        told["tax"] = {"policy": policies.tax, "total": tax, "rates": rates, "recoverable": recoverable}
    return told


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
    costs: Costs

    def parts(self) -> list[Part]:
        """What becomes of the lines and of their tax, in their order."""
        ruled = [self._ruled(line, facts_of(line, self.bill, self.reference)) for line, _ in self.costs.lines]
        subcontract = self._is_of_subcontract([rule for _, rule in ruled])
        by_line: list[list[Part]] = []
        for (line, amount), (facts, rule) in zip(self.costs.lines, ruled, strict=True):
            piece = Piece(self.bill, line, facts, amount, amount)
            if rule is None:
                by_line.append([self._without_rule(piece)])
            else:
                by_line.append(list(self._by_rule(piece, rule, subcontract=subcontract)))
        parts = [part for mine in by_line for part in mine]
        if any(self.costs.beside):
            parts = self._with_tax(by_line)
        return _without_idle_zeros(parts)

    def _is_of_subcontract(self, rules: Sequence[Rule | None]) -> bool:
        """Whether retainage is that of a commitment: beside work on one, a release that comes alone, or on a credit."""
        routes = {outcome.route for rule in rules if rule is not None for outcome in rule.outcomes}
        alone = routes == {Route.RETAINAGE} and None not in rules
        released = alone and total(amount for _, amount in self.costs.lines) > 0
        return Route.COMMITMENT in routes or released or self.bill.entity is Entity.VENDOR_CREDIT

    def _with_tax(self, by_line: Sequence[Sequence[Part]]) -> list[Part]:
        """The parts, with the tax of what is posted on a code of its own a project; other tax stays with its part."""
        parts: list[Part] = []
        by_project: dict[str, Decimal] = {}
        for mine, tax in zip(by_line, self.costs.beside, strict=True):
            for part, share in zip(mine, _in_proportion(tax, mine), strict=True):
                if isinstance(part, Excluded | Held) or not part.project:
                    parts.append(_with_more(part, share))
                else:
                    parts.append(part)
                    by_project[part.project] = by_project.get(part.project, ZERO) + share
        return parts + [self._tax_part(project, tax) for project, tax in by_project.items() if tax]

    def _tax_part(self, project: str, tax: Decimal) -> Posted | Held:
        line = Line(0, "", TAX_LINE, "Tax", abs(tax), None, None, None, None, None, None, ())
        code, kind = self.policies.tax_cost_code, self.policies.tax_cost_type
        outcome = Outcome(0, Route.DIRECT_COST, code, kind, project, "", "", Decimal(1))
        facts = facts_of(line, self.bill, self.reference)
        return self._coded(Piece(self.bill, line, facts, tax, tax, outcome), outcome, alone=False)

    def _ruled(self, line: Line, facts: Facts) -> tuple[Facts, Rule | None]:
        return facts, None if facts.gap else self.matcher.first(facts)

    def _by_rule(self, piece: Piece, rule: Rule, *, subcontract: bool) -> Iterator[Part]:
        amounts = split(piece.whole, [outcome.share for outcome in rule.outcomes])
        for outcome, amount in zip(rule.outcomes, amounts, strict=True):
            share = replace(piece, amount=amount, outcome=outcome)
            if not amount and piece.whole:
                continue  # a cent shared by three leaves nothing for two
            if self.bill.entity is Entity.PURCHASE and outcome.route in (Route.COMMITMENT, Route.RETAINAGE):
                yield self._held(share, line_holds.on_commitment(share))
            elif outcome.route in (Route.DIRECT_COST, Route.COMMITMENT):
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
        if project is None:
            named_in = self._where_named(line, outcome)
            return self._held(piece, line_holds.hidden(piece, project_id, named_in=named_in))
        if not project.active or project.unreadable:
            why_not = line_holds.unreadable if project.active else line_holds.closed
            return self._held(piece, why_not(piece, project))
        code = self._code(piece, project, outcome)
        if isinstance(code, Hold):
            return self._held(piece, code)
        posted = Posted(
            line=line.number,
            amount=piece.amount,
            project=project.id,
            wbs_code_id=code.wbs_code_id,
            cost_code=code.cost_code,
            cost_type=code.cost_type,
            description=line.description,
            # The quantity is that of the whole line; of a share it would be a wrong one.
            quantity=line.quantity * self.bill.sign if alone and line.quantity is not None else None,
            unit_price=line.unit_price if alone and self.costs.rate is None else None,
            rule=self._rule_words(piece),
        )
        if outcome.route is Route.COMMITMENT:
            return Committed(**vars(posted), commitment=outcome.commitment)
        return posted

    def _code(self, piece: Piece, project: CatalogProject, outcome: Outcome) -> BudgetCode | Hold:
        code = project.codes.get((outcome.cost_code.upper(), outcome.cost_type.upper()))
        if code is None or not code.active:
            is_made = self.policies.budget_code_missing == "create"
            return line_holds.code_missing(piece, project, outcome, is_made=is_made)
        if self.policies.budget_line_missing == "hold" and not _is_budgeted(project, code):
            return line_holds.no_budget_line(piece, project, outcome)
        return code

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

    def _where_named(self, line: Line, outcome: Outcome) -> str:
        """The row of a sheet that names the project of the line."""
        if outcome.project or line.customer is None:
            return f"row {outcome.row} of mapping.csv"
        rows, by_id = self.links.rows, folded(line.customer.id)
        row = rows.get(by_id) or rows.get(folded(customer_name(line.customer, self.reference)))
        return "projects.csv" if row is None else f"row {row} of projects.csv"

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
        return "" if piece.outcome is None else f"{self.version}.{piece.outcome.row or TAX}"


def _in_proportion(amount: Decimal, parts: Sequence[Part]) -> list[Decimal]:
    whole = total(part.amount for part in parts)
    weights = [
        Fraction(part.amount) / Fraction(whole) if whole else Fraction(1, len(parts)) for part in parts
    ]
    return in_cents([Fraction(amount) * weight for weight in weights], amount)


def _with_more(part: Part, amount: Decimal) -> Part:
    more = replace(part, amount=part.amount + amount)
    if isinstance(more, Held):
        return replace(more, hold=replace(more.hold, amount=more.amount))
    return more


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


def _is_budgeted(project: CatalogProject, code: BudgetCode) -> bool:
    return project.budget is not None and code.wbs_code_id in project.budget.codes


def _is_not_a_cost(facts: Facts) -> bool:
    if facts.item is not None and facts.item.kind == INVENTORY:
        return True
    account = facts.account
    if account is None:
        return False
    return (account.classification or account.kind) in (*NOT_A_COST, *NOT_A_COST_TYPES)
