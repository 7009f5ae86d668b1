"""A sheet held against the connection's own records: rows that no line ever used, and names that nothing has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection as Database

from ml_connector.mapping.matching import Facts, matcher_of
from ml_connector.mapping.models import Reference, RuleBook, folded
from ml_connector.mapping.read_lines import read_lines
from ml_connector.mapping.table import Fault
from ml_connector.mapping.wording import quoted
from ml_connector.procore.stored_catalog import load_catalog
from ml_connector.qbo.models import Entity, parse_vendor
from ml_connector.store import landing

Names = Mapping[str, frozenset[str]]


@dataclass
class _Used:
    """How often each rule took a line, and one of each kind of line that was read."""

    lines: int = 0
    by_row: dict[int, int] = field(default_factory=dict)
    kinds: dict[object, tuple[Facts, int | None, int]] = field(default_factory=dict)


def remarks_by_records(db: Database, connection: str, rules: RuleBook, reference: Reference) -> list[Fault]:
    """What the records say against rows that parse: nothing has such a name, or no line that was read used them.

    A list that was never read says nothing.
    """
    return [*_unknown_names(db, connection, rules, reference), *_never_used(db, connection, rules, reference)]


def _unknown_names(db: Database, connection: str, rules: RuleBook, reference: Reference) -> Iterator[Fault]:
    vendors = [parse_vendor(version.raw) for version in landing.every(db, connection, Entity.VENDOR)]
    known: Names = {
        "account": _keys(*((a.id, a.number, a.full_name) for a in reference.accounts.values())),
        "item": _keys(*((item.id, item.name, item.full_name) for item in reference.items.values())),
        "customer": _keys(*((c.id, c.full_name) for c in reference.customers.values())),
        "vendor": _keys(*((vendor.id, vendor.name) for vendor in vendors)),
    }
    catalog = load_catalog(db, connection).projects
    codes = {pair for project in catalog.values() for pair in project.codes}
    for rule in rules.rules:
        for heading, text in rule.conditions.asked():
            if known.get(heading) and text not in known[heading]:
                what = f"QuickBooks has no {heading} {quoted(text)}: the row can never match"
                yield Fault(rule.row, heading, what)
        for outcome in rule.outcomes:
            pair = (outcome.cost_code.upper(), outcome.cost_type.upper())
            if catalog and outcome.project and outcome.project not in catalog:
                yield Fault(outcome.row, "project", f"Procore has no project {outcome.project}")
            if codes and outcome.cost_code and pair not in codes:
                what = (
                    f"no linked project has budget code {outcome.cost_code} / {outcome.cost_type} in Procore"
                )
                yield Fault(outcome.row, "cost_code", f"{what}: lines would wait for it")


def _never_used(db: Database, connection: str, rules: RuleBook, reference: Reference) -> Iterator[Fault]:
    matcher, used = matcher_of(rules), _Used()
    for read in read_lines(db, connection, reference):
        kind = (*read.facts.keys.values(), read.facts.description, read.facts.day)
        if kind not in used.kinds:
            taken = matcher.first(read.facts)
            used.kinds[kind] = read.facts, None if taken is None else taken.row, 0
        facts, row, count = used.kinds[kind]
        used.kinds[kind] = facts, row, count + 1
        used.lines += 1
        if row is not None:
            used.by_row[row] = used.by_row.get(row, 0) + 1
    if not used.lines:
        return
    fitting: dict[int, dict[int, int]] = {}
    unused = {rule.row for rule in rules.rules} - used.by_row.keys()
    for facts, row, count in used.kinds.values() if unused else ():
        for rule, refusal in matcher.refusals(facts):
            if not refusal and rule.row in unused and row is not None:
                takers = fitting.setdefault(rule.row, {})
                takers[row] = takers.get(row, 0) + count
    for row in sorted(unused):
        takers = fitting.get(row, {})
        rows = ", ".join(map(str, sorted(takers)))
        why = (
            f"all {sum(takers.values()):,} that fit it are taken by row{'s'[: len(takers) > 1]} {rows} above"
            if takers
            else "none fits it"
        )
        yield Fault(row, "", f"never used: of {used.lines:,} lines read, {why}")


def _keys(*names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(folded(text) for texts in names for text in texts if text)
