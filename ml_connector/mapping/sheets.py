"""mapping.csv and projects.csv: a checked RuleBook and ProjectLinks, or one refusal that names every fault.

A sheet that parses may still hold rows that nobody meant: `warnings` finds these.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import chain, combinations, groupby

from ml_connector.mapping.models import (
    ASKING,
    Conditions,
    Outcome,
    ProjectLinks,
    Route,
    Rule,
    RuleBook,
    folded,
)
from ml_connector.mapping.table import Fault, SheetRefused, TableRow, read_table

MAPPING_SHEET = "mapping.csv"
PROJECTS_SHEET = "projects.csv"
VALIDITY = ("valid_from", "valid_to")
OUTCOME = ("route", "cost_code", "cost_type", "project", "commitment", "share", "reason")
MAPPING_COLUMNS = (*ASKING, *VALIDITY, *OUTCOME, "note")
PROJECTS_COLUMNS = ("customer", "project", "note")
# What a row of each route must say, and what else it may say.
NEEDS = {
    Route.DIRECT_COST: ("cost_code", "cost_type"),
    Route.COMMITMENT: ("cost_code", "cost_type"),
    Route.RETAINAGE: (),
    Route.EXCLUDE: ("reason",),
}
MAY = {
    Route.DIRECT_COST: ("project",),
    Route.COMMITMENT: ("project", "commitment"),
    Route.RETAINAGE: ("project", "commitment"),
    Route.EXCLUDE: (),
}
ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
PROJECT_ID = re.compile(r"[0-9]{1,18}")
SHARE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
# What Excel makes of codes such as 03-30.
MADE_A_DATE = re.compile(r"\d{1,2}-(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.IGNORECASE)


@dataclass(frozen=True)
class _Read:
    """One row of mapping.csv; `outcome` is None when its route cannot be told, `share` when it has none."""

    row: int
    conditions: Conditions
    outcome: Outcome | None
    share: Decimal | None


def parse_mapping(content: bytes, version: int) -> RuleBook:
    """The rules of mapping.csv in the order of the sheet. Raises SheetRefused with every fault."""
    rows, faults = read_table(content, sheet=MAPPING_SHEET, known=MAPPING_COLUMNS, required=("route",))
    read = [_read_row(row, faults) for row in rows if any(row.cells[name] for name in MAPPING_COLUMNS[:-1])]
    groups = [list(group) for _, group in groupby(read, key=lambda entry: condition_key(entry.conditions))]
    faults += _share_faults(groups)
    rules = list(chain.from_iterable(_rules(group) for group in groups))
    faults += [
        Fault(rule.row, "", "a row without any condition takes every line: it must be the last one")
        for rule in rules[:-1]
        if rule.conditions == Conditions()
    ]
    if faults:
        raise SheetRefused(MAPPING_SHEET, sorted(faults, key=lambda fault: fault.row))
    return RuleBook(version, tuple(rules))


def parse_projects(content: bytes, version: int) -> ProjectLinks:
    """The links of projects.csv. Raises SheetRefused with every fault."""
    required = ("customer", "project")
    rows, faults = read_table(content, sheet=PROJECTS_SHEET, known=PROJECTS_COLUMNS, required=required)
    links: dict[str, tuple[int, str]] = {}
    for row in rows:
        customer, project = row.cells["customer"], row.cells["project"]
        if not customer and not project:
            continue
        if not customer:
            faults.append(Fault(row.number, "customer", "the customer is missing: its QBO id or full name"))
        faults += _project_faults(row.number, project)
        if not project:
            faults.append(Fault(row.number, "project", "the Procore project id is missing"))
        first, other = links.setdefault(folded(customer), (row.number, project))
        if customer and other != project:
            faults.append(Fault(row.number, "customer", f"row {first} links it to another project, {other}"))
    if faults:
        raise SheetRefused(PROJECTS_SHEET, sorted(faults, key=lambda fault: fault.row))
    return ProjectLinks(
        version,
        by_customer={customer: project for customer, (_, project) in links.items()},
        rows={customer: row for customer, (row, _) in links.items()},
    )


def warnings(rulebook: RuleBook) -> list[Fault]:
    """Rows that parse but are hardly meant: they never match, take everything, or name a code Excel spoilt.

    A row can never match where rows above ask for nothing that it does not ask for too, in the same text, and
    their validity together covers its own. Rows that overlap by pattern alone are not told.
    """
    found = [] if rulebook.rules else [Fault(0, "", "there is no rule: every job-cost line will wait")]
    above: dict[frozenset[tuple[str, str]], list[Rule]] = defaultdict(list)
    for rule in rulebook.rules:
        asked = frozenset(rule.conditions.asked())
        wider = [other for part in _subsets(asked) for other in above.get(part, ())]
        hiding = _covering(rule, wider)
        if hiding:
            rows = ", ".join(str(other.row) for other in hiding)
            text = f"it can never match: row{'s'[: len(hiding) > 1]} {rows} above takes all that it asks for"
            found.append(Fault(rule.row, "", text))
            continue
        above[asked].append(rule)
        if rule.conditions == Conditions():
            text = "it has no condition: it takes every line that no row above takes"
            found.append(Fault(rule.row, "", text))
        found += (
            Fault(outcome.row, "cost_code", f"{outcome.cost_code!r} looks like a code that Excel made a date")
            for outcome in rule.outcomes
            if MADE_A_DATE.fullmatch(outcome.cost_code)
        )
    return found


def condition_key(conditions: Conditions) -> tuple[object, ...]:
    """Equal for conditions that ask the same."""
    return (*conditions.asked(), conditions.valid_from, conditions.valid_to)


def _subsets(asked: frozenset[tuple[str, str]]) -> Iterator[frozenset[tuple[str, str]]]:
    return (frozenset(part) for size in range(len(asked) + 1) for part in combinations(asked, size))


def _covering(rule: Rule, wider: Sequence[Rule]) -> list[Rule]:
    """The rules of `wider` whose validity together covers that of `rule`; none when a day is left over."""
    begin = rule.conditions.valid_from or date.min
    end = rule.conditions.valid_to or date.max
    used = []
    open_from = begin
    for other in sorted(wider, key=lambda entry: (entry.conditions.valid_from or date.min, entry.row)):
        last = other.conditions.valid_to or date.max
        if (other.conditions.valid_from or date.min) > open_from:
            return []
        if last >= open_from:
            used.append(other)
            if last >= end:
                return sorted(used, key=lambda entry: entry.row)
            open_from = last + timedelta(days=1)
    return []


def _read_row(row: TableRow, faults: list[Fault]) -> _Read:
    cells = row.cells
    begin, end = (_date(row, name, faults) for name in VALIDITY)
    if begin and end and begin > end:
        faults.append(Fault(row.number, "valid_to", f"{end} is before valid_from, {begin}"))
    texts = {name: cells[heading] for heading, name in ASKING.items()}
    share = _share(row, faults)
    return _Read(
        row=row.number,
        conditions=Conditions(**texts, valid_from=begin, valid_to=end),
        outcome=_outcome(row, share or Decimal(1), faults),
        share=share,
    )


def _date(row: TableRow, column: str, faults: list[Fault]) -> date | None:
    text = row.cells[column]
    if not text:
        return None
    try:
        day = date.fromisoformat(text) if ISO_DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        hint = "write 2026-07-01 for 1 July 2026, and format the column as Text, or Excel changes it"
        faults.append(Fault(row.number, column, f"{text!r} is no date: {hint}"))
    return day


def _share(row: TableRow, faults: list[Fault]) -> Decimal | None:
    text = row.cells["share"]
    if not text:
        return None
    share = Decimal(text) if SHARE.fullmatch(text) else Decimal(0)
    if share > 0:
        return share
    faults.append(Fault(row.number, "share", f"{text!r} is not a number above 0, such as 1 or 33.3"))
    return Decimal(1)  # so that the rest of the split is judged as if it were right


def _outcome(row: TableRow, share: Decimal, faults: list[Fault]) -> Outcome | None:
    cells = row.cells
    words = ", ".join(Route)
    try:
        route = Route(cells["route"].lower())
    except ValueError:
        wrong = f"{cells['route']!r} is no route" if cells["route"] else "it is missing"
        faults.append(Fault(row.number, "route", f"{wrong}; routes are {words}"))
        return None
    for column in (name for name in OUTCOME if name not in ("route", "share")):
        if column in NEEDS[route] and not cells[column]:
            faults.append(Fault(row.number, column, f"route {route} needs it"))
        if cells[column] and column not in (*NEEDS[route], *MAY[route]):
            faults.append(Fault(row.number, column, f"route {route} does not use it: leave it empty"))
    faults += _project_faults(row.number, cells["project"])
    return Outcome(
        row=row.number,
        route=route,
        cost_code=cells["cost_code"],
        cost_type=cells["cost_type"],
        project=cells["project"],
        commitment=cells["commitment"],
        reason=cells["reason"],
        share=share,
    )


def _project_faults(row: int, project: str) -> list[Fault]:
    if not project or PROJECT_ID.fullmatch(project):
        return []
    return [Fault(row, "project", f"{project!r} is not a Procore project id, which has digits only")]


def _share_faults(groups: Sequence[Sequence[_Read]]) -> Iterator[Fault]:
    """Splits that are not whole: `groups` are runs of rows with the same conditions."""
    split_at: dict[tuple[object, ...], int] = {}
    for group in groups:
        first = group[0]
        shared = [entry for entry in group if entry.share is not None]
        if not shared:
            continue
        earlier = split_at.setdefault(condition_key(first.conditions), first.row)
        if earlier != first.row:
            text = f"the split of row {earlier} goes on here: its rows must follow each other"
            yield Fault(first.row, "share", text)
        elif len(group) == 1:
            yield Fault(first.row, "share", "a share needs a second row with the same conditions")
        for entry in group:
            if entry.share is None:
                text = f"a share is missing: rows {first.row} to {group[-1].row} ask for the same"
                yield Fault(entry.row, "share", text)


def _rules(group: Sequence[_Read]) -> Iterator[Rule]:
    """One rule of a split; of rows without shares, one each (the second can never match: see `warnings`)."""
    split = any(entry.share is not None for entry in group)
    for rows in [group] if split else [[entry] for entry in group]:
        outcomes = tuple(entry.outcome for entry in rows if entry.outcome is not None)
        yield Rule(rows[0].row, rows[0].conditions, outcomes)
