"""projects.csv and mapping.csv as drafts: what is sure is filled in, what is not is left empty with the reason beside it.

A draft is never published by itself: a person reads it, fills what is empty or takes the row out.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ml_connector.mapping.matching import Facts
from ml_connector.mapping.models import Reference, Route, folded
from ml_connector.mapping.read_lines import ReadLine
from ml_connector.mapping.sheets import MAPPING_COLUMNS, NEEDS, PROJECTS_COLUMNS
from ml_connector.mapping.suggesting import name_of, stands_on
from ml_connector.mapping.table import read_table
from ml_connector.posting.vendors.matching import match_key
from ml_connector.procore.models import Pair
from ml_connector.proving.trail_export import neutral
from ml_connector.store import sheets
from ml_connector.takeover.evidence import Known, Linked, money_of, typed_code

COST_OF_GOODS_SOLD = "Cost of Goods Sold"
LIABILITY = "Liability"
NO_COST = ("Asset", "Liability", "Equity", "Revenue")
SURE = Decimal("0.8")  # of the lines that people coded in Procore
TYPE_WORDS = {
    "labor": "L", "labour": "L", "wages": "L", "material": "M", "materials": "M", "supplies": "M", "equipment": "E",
    "rental": "E", "subcontract": "S", "subcontractor": "S", "subcontractors": "S", "subs": "S",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row of a draft: its cells by heading, the money behind it, and whether a person must fill it first."""

    cells: Mapping[str, str]
    amount: Decimal
    is_sure: bool


@dataclass(frozen=True)
class Draft:
    """Both sheets: rows in the order in which they must stand."""

    projects: tuple[Row, ...]
    mapping: tuple[Row, ...]


@dataclass
class _Outcome:
    route: str = ""
    pair: Pair = ("", "")
    reason: str = ""
    why: str = ""

    @property
    def is_sure(self) -> bool:
        """Whether the row can be published as it is."""
        needs_code = self.route in (Route.DIRECT_COST, Route.COMMITMENT)
        return bool(self.route) and (all(self.pair) or not needs_code)

    @property
    def key(self) -> tuple[str, Pair, str]:
        """Equal for outcomes that say the same."""
        return self.route, self.pair, self.reason


@dataclass(frozen=True)
class _Lines:
    """The lines of one account or item, with the project of each as far as it is sure."""

    heading: str
    name: str
    lines: Sequence[ReadLine]
    projects: Mapping[str, str]  # of customers, by id
    known: Mapping[str, Known]

    def of_line(self, one: ReadLine) -> Known | None:
        customer = one.line.customer
        return None if customer is None else self.known.get(self.projects.get(customer.id, ""))


@dataclass
class _Rules:
    special: list[Row] = field(default_factory=list)  # of a vendor: above the others
    general: list[Row] = field(default_factory=list)


def draft(
    read: Sequence[ReadLine], links: Sequence[Linked], known: Mapping[str, Known], reference: Reference
) -> Draft:
    """Drafts from a year of lines: most money first, rows of single vendors above those of all."""
    projects = {link.customer.id: link.project.id for link in links if link.project is not None}
    groups: dict[tuple[str, str], list[ReadLine]] = {}
    for one in read:
        groups.setdefault(stands_on(one.facts), []).append(one)
    rules = _Rules()
    for (heading, _), lines in groups.items():
        _add(rules, _Lines(heading, name_of(lines[0], reference), lines, projects, known))
    return Draft(
        projects=tuple(_project_row(link, read, reference) for link in links),
        mapping=(*_by_money(rules.special), *_by_money(rules.general)),
    )


def written(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """A sheet as Excel opens it; no cell is one that a spreadsheet would execute."""
    out = io.StringIO()
    out.write("\ufeff")  # without it Excel takes UTF-8 for the code page of the machine
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([neutral(row.cells.get(column, "")) for column in columns])
    return out.getvalue().encode("utf-8", "replace")


def mapping_sheet(rows: Iterable[Row]) -> bytes:
    """mapping.csv."""
    return written(MAPPING_COLUMNS, rows)


def projects_sheet(rows: Iterable[Row]) -> bytes:
    """projects.csv."""
    return written(PROJECTS_COLUMNS, rows)


def filled(sheet: str, content: bytes) -> bytes:
    """A sheet without the rows that nobody has filled in yet. Raises SheetRefused where its rows cannot be told."""
    is_mapping = sheet == sheets.MAPPING
    columns = MAPPING_COLUMNS if is_mapping else PROJECTS_COLUMNS
    rows, _ = read_table(content, sheet=f"{sheet}.csv", known=columns, required=())
    kept = [row.cells for row in rows if (_is_filled(row.cells) if is_mapping else row.cells["project"])]
    return written(columns, [Row(cells, Decimal(0), is_sure=True) for cells in kept])


def _is_filled(cells: Mapping[str, str]) -> bool:
    if cells["route"].lower() not in list(Route):
        return bool(cells["route"])  # a wrong word is a fault, and told
    return all(cells[column] for column in NEEDS[Route(cells["route"].lower())])


# -- projects.csv -------------------------------------------------------------------------------------------------------


def _project_row(link: Linked, read: Sequence[ReadLine], reference: Reference) -> Row:
    mine = [one for one in read if one.line.customer is not None and one.line.customer.id == link.customer.id]
    amount = money_of(mine)
    name = link.customer.full_name
    alike = [one for one in reference.customers.values() if folded(one.full_name) == folded(name)]
    cell = name if len(alike) == 1 and neutral(name) == name else link.customer.id
    if link.project is not None:
        closed = "" if link.project.active else "; it is closed in Procore"
        note = f"{link.project.name}, by {link.why}{closed}; {_figures(mine, amount)}"
    else:
        may_be = "; ".join(f"{one.id} {one.name}" for one in link.candidates)
        note = (
            f"may be {may_be}; {_figures(mine, amount)}"
            if may_be
            else f"no project alike; {_figures(mine, amount)}"
        )
    project = "" if link.project is None else link.project.id
    return Row({"customer": cell, "project": project, "note": note[:480]}, amount, link.project is not None)


def _figures(lines: Sequence[ReadLine], amount: Decimal) -> str:
    return f"{len(lines)} line{'' if len(lines) == 1 else 's'}, {amount:.2f} in 12 months"


# -- mapping.csv --------------------------------------------------------------------------------------------------------


def _add(rules: _Rules, place: _Lines) -> None:
    left_out = _left_out(place)
    if left_out is not None:
        rules.general += [_row(place, place.lines, left_out)] if left_out.route else []
        return
    by_vendor: dict[str, list[ReadLine]] = {}
    for one in place.lines:
        by_vendor.setdefault(one.bill.vendor.id, []).append(one)
    on_contract = {
        vendor: found for vendor, mine in by_vendor.items() if (found := _on_commitment(place, mine))
    }
    rest = [one for one in place.lines if one.bill.vendor.id not in on_contract]
    if len(on_contract) == len(by_vendor) and len({one.key for one in on_contract.values()}) == 1:
        rules.general.append(_row(place, place.lines, next(iter(on_contract.values()))))
        return
    rules.special += [_row(place, by_vendor[vendor], found, vendor) for vendor, found in on_contract.items()]
    if not rest:
        return
    general = _direct(place, rest)
    for vendor, mine in by_vendor.items():
        if vendor not in on_contract and len(mine) > 1:
            own = _typed(place, mine)
            if own is not None and own.key != general.key:
                rules.special.append(_row(place, mine, own, vendor))
    rules.general.append(_row(place, rest, general))


def _left_out(place: _Lines) -> _Outcome | None:
    """Overhead, and accounts of the balance sheet, which need no row but retainage payable; None for job cost."""
    facts: Facts = place.lines[0].facts
    account = facts.account
    kind = "" if account is None else account.classification or account.kind
    if (
        account is not None
        and facts.item is None
        and LIABILITY in kind
        and "retain" in account.full_name.lower()
    ):
        return _Outcome(Route.RETAINAGE, why="a liability account for retainage")
    if kind in NO_COST or (facts.item is not None and facts.item.kind == "Inventory"):
        return _Outcome()
    is_cost = account is None or account.kind == COST_OF_GOODS_SOLD
    if is_cost or any(one.line.customer is not None for one in place.lines):
        return None
    return _Outcome(Route.EXCLUDE, reason="OVERHEAD", why="an expense account on which no line has a project")


def _on_commitment(place: _Lines, lines: Sequence[ReadLine]) -> _Outcome | None:
    """The outcome of a vendor that has an approved commitment on one of the projects; None when it has none."""
    vendor = match_key(lines[0].bill.vendor.name)
    found = {
        contract.number: pairs
        for one in lines
        if (known := place.of_line(one)) is not None
        for contract, pairs in known.contracts.get(vendor, ())
    }
    if not found:
        return None
    pairs = {pair for several in found.values() for pair in several}
    why = f"commitment {', '.join(sorted(found)[:3])} is approved"
    if len(pairs) == 1:
        return _Outcome(Route.COMMITMENT, pairs.pop(), why=why)
    offered = ", ".join(" / ".join(pair) for pair in sorted(pairs)[:4])
    return _Outcome(Route.COMMITMENT, why=f"{why}; its schedule has {offered or 'no budget code'}")


def _direct(place: _Lines, lines: Sequence[ReadLine]) -> _Outcome:
    return _typed(place, lines) or _by_name(place, lines)


def _typed(place: _Lines, lines: Sequence[ReadLine]) -> _Outcome | None:
    """What people made of these lines in Procore, where they were of one mind."""
    codes = Counter(
        pair
        for one in lines
        if (known := place.of_line(one)) is not None and (pair := typed_code(one, known))
    )
    if not codes:
        return None
    (pair, often), all_ = codes.most_common(1)[0], codes.total()
    why = f"{often} of {all_} lines that were typed in Procore have this code"
    if often >= SURE * all_:
        return _Outcome(Route.DIRECT_COST, pair, why=why)
    offered = ", ".join(f"{' / '.join(code)} ({times})" for code, times in codes.most_common(4))
    return _Outcome(Route.DIRECT_COST, why=f"typed in Procore with several codes: {offered}")


def _by_name(place: _Lines, lines: Sequence[ReadLine]) -> _Outcome:
    """A budget code that the account or item names, where every project of the lines that is known has it."""
    projects = [known for one in lines if (known := place.of_line(one)) is not None]
    facts = place.lines[0].facts
    standing = facts.item or facts.account
    name = "" if standing is None else f"{standing.name} {standing.full_name}"
    pairs = set.intersection(*(set(known.pairs.values()) for known in projects)) if projects else set[Pair]()
    named = {pair for pair in pairs if re.search(rf"(?<!\w){re.escape(pair[0])}(?!\w)", name)}
    words = set(re.findall(r"[a-z]+", name.lower()))
    kinds = {TYPE_WORDS[word] for word in words if word in TYPE_WORDS}
    fitting = {pair for pair in named if pair[1].upper() in kinds} or named
    if len(fitting) == 1:
        return _Outcome(Route.DIRECT_COST, fitting.pop(), why="its name has the cost code")
    if fitting:
        offered = ", ".join(" / ".join(pair) for pair in sorted(fitting)[:4])
        return _Outcome(Route.DIRECT_COST, why=f"its name may mean {offered}")
    return _Outcome(Route.DIRECT_COST, why="nothing in Procore tells its code")


def _row(place: _Lines, lines: Sequence[ReadLine], outcome: _Outcome, vendor: str = "") -> Row:
    amount = money_of(lines)
    cells = {
        place.heading: place.name,
        "route": str(outcome.route),
        "cost_code": outcome.pair[0],
        "cost_type": outcome.pair[1],
        "reason": outcome.reason,
        "note": f"{outcome.why}; {_figures(lines, amount)}"[:480],
    }
    if vendor:
        name = lines[0].bill.vendor.name
        cells["vendor"] = name if name and neutral(name) == name else vendor
    return Row(cells, amount, outcome.is_sure)


def _by_money(rows: Sequence[Row]) -> list[Row]:
    return sorted(
        rows, key=lambda row: (-abs(row.amount), row.cells.get("account", ""), row.cells.get("item", ""))
    )
