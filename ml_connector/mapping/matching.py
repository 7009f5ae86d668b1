"""Which rule takes a line: what the line offers, what a rule asks, and the first rule that fits.

Nothing here knows where a line goes afterwards.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from ml_connector.mapping.models import Reference, Route, Rule, RuleBook, folded
from ml_connector.mapping.wording import quoted
from ml_connector.qbo.models import Account, Bill, Item, Line, Ref

ACCOUNT_LINE = "AccountBasedExpenseLineDetail"
ITEM_LINE = "ItemBasedExpenseLineDetail"
STANDING = ("account", "item")
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Facts:
    """What a line offers to rules.

    `keys` has by heading the texts that a condition may name; `subject` is what a new rule would name.
    `gap` says why no rule can be asked: QBO's lists do not tell what the line stands on.
    """

    account: Account | None
    item: Item | None
    keys: Mapping[str, frozenset[str]]
    description: str
    day: date
    subject: str
    gap: str


def facts_of(line: Line, bill: Bill, reference: Reference) -> Facts:
    """The facts of one money line of `bill`; an item line stands on its item's account."""
    account, item, gap = _standing(line, reference)
    return Facts(
        account=account,
        item=item,
        keys={
            "account": NOTHING if account is None else _keys(account.id, account.number, account.full_name),
            "item": NOTHING if item is None else _keys(item.id, item.name, item.full_name),
            "class": _ref_keys(line.class_ref),
            "location": _ref_keys(bill.location),
            "vendor": _keys(bill.vendor.id, bill.vendor.name),
            "customer": NOTHING
            if line.customer is None
            else _keys(line.customer.id, customer_name(line.customer, reference)),
        },
        description=folded(line.description),
        day=bill.txn_date,
        subject=_subject(line),
        gap=gap,
    )


def customer_name(customer: Ref, reference: Reference) -> str:
    """The full name as QBO's list has it, else as the line had it."""
    known = reference.customers.get(customer.id)
    return customer.name if known is None else known.full_name


def _standing(line: Line, reference: Reference) -> tuple[Account | None, Item | None, str]:
    """Account and item of a line, and what is missing to tell them ("" when nothing is)."""
    item: Item | None = None
    if line.kind == ACCOUNT_LINE:
        ref = line.account
        if ref is None:
            return None, None, "names no account: choose one in QBO"
    elif line.kind == ITEM_LINE:
        if line.item is None:
            return None, None, "names no item: choose one in QBO"
        item = reference.items.get(line.item.id)
        if item is None:
            return None, None, _unlisted("item", line.item)
        ref = item.account
        if ref is None:
            return None, item, ""
    else:
        kind = quoted(line.kind) or "without a type"
        return None, None, f"is a line that cannot be mapped ({kind}): book it on an account or item in QBO"
    account = reference.accounts.get(ref.id)
    return account, item, _unlisted("account", ref) if account is None else ""


def _unlisted(what: str, ref: Ref) -> str:
    name = quoted(f"{ref.name or 'without name'} (QBO id {ref.id})")
    return f"names {what} {name}, which is not in the list read from QBO: look at it there and sync again"


def _subject(line: Line) -> str:
    if line.kind == ACCOUNT_LINE:
        return f"account {line.account.id if line.account else 'missing'}"
    if line.kind == ITEM_LINE:
        return f"item {line.item.id if line.item else 'missing'}"
    return f"line type {quoted(line.kind)}"


def _keys(*texts: str) -> frozenset[str]:
    return frozenset(folded(text) for text in texts if text)


def _ref_keys(ref: Ref | None) -> frozenset[str]:
    return NOTHING if ref is None else _keys(ref.id, ref.name, ref.name.rpartition(":")[2])


@dataclass(frozen=True)
class _Asking:
    """A rule made ready for many lines; `standing` asks for account and item, `others` for the rest."""

    rule: Rule
    standing: Sequence[tuple[str, str]]
    others: Sequence[tuple[str, str]]
    pattern: re.Pattern[str] | None

    def refusal(self, facts: Facts) -> str:
        """The heading of the first condition that fails; "" when the rule fits."""
        for heading, text in (*self.standing, *self.others):
            if text not in facts.keys[heading]:
                return heading
        if self.pattern is not None and not self.pattern.match(facts.description):
            return "description"
        begin, end = self.rule.conditions.valid_from, self.rule.conditions.valid_to
        if begin is not None and facts.day < begin:
            return "valid_from"
        return "valid_to" if end is not None and facts.day > end else ""


def _asking(rule: Rule) -> _Asking:
    asked = dict(rule.conditions.asked())
    description = asked.pop("description", "")
    standing = [(heading, text) for heading, text in asked.items() if heading in STANDING]
    others = [pair for pair in asked.items() if pair not in standing]
    return _Asking(rule, standing, others, _pattern(description) if description else None)


def _pattern(text: str) -> re.Pattern[str]:
    asked = text if "*" in text or "?" in text else f"*{text}*"
    # translate() builds an expression that cannot run away; its brackets are no signs of ours.
    return re.compile(fnmatch.translate(asked.replace("[", "[[]")))


class Matcher:
    """The rules of one version, ready to be asked."""

    def __init__(self, rules: RuleBook) -> None:
        self._asking = [_asking(rule) for rule in rules.rules]
        self._standing: dict[tuple[frozenset[str], frozenset[str]], list[_Asking]] = {}
        self._job_cost = frozenset(
            asked
            for asking in self._asking
            for asked in asking.standing
            if any(outcome.route is not Route.EXCLUDE for outcome in asking.rule.outcomes)
        )

    def first(self, facts: Facts) -> Rule | None:
        """The first rule that fits; None without one."""
        return next((asking.rule for asking in self._may_fit(facts) if not asking.refusal(facts)), None)

    def refusals(self, facts: Facts) -> list[tuple[Rule, str]]:
        """Every rule in order with the heading of the first condition that fails, "" for one that fits."""
        return [(asking.rule, asking.refusal(facts)) for asking in self._asking]

    def names_as_job_cost(self, facts: Facts) -> str:
        """`account` or `item`: what of the line a rule that does not exclude names; "" without one."""
        named = (
            heading
            for heading in STANDING
            if any((heading, text) in self._job_cost for text in facts.keys[heading])
        )
        return next(named, "")

    def _may_fit(self, facts: Facts) -> list[_Asking]:
        # Many lines stand on few accounts and items, which rule out most of the rules once for all.
        key = (facts.keys["account"], facts.keys["item"])
        found = self._standing.get(key)
        if found is None:
            found = [
                asking
                for asking in self._asking
                if all(text in facts.keys[heading] for heading, text in asking.standing)
            ]
            self._standing[key] = found
        return found


@lru_cache(maxsize=16)
def matcher_of(rules: RuleBook) -> Matcher:
    """The matcher of `rules`, made once."""
    return Matcher(rules)
