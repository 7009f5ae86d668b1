"""Rules proposed for lines that wait for one: by vendor, by account or item, and by what became of such lines before.

A proposal is never applied by itself: a person pastes the rows that are right into mapping.csv and publishes it.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection as Database
from sqlalchemy import select

from ml_connector.holds import Choice, Reason
from ml_connector.mapping.matching import Facts
from ml_connector.mapping.models import Reference, Route, folded
from ml_connector.mapping.read_lines import ReadLine, read_lines
from ml_connector.mapping.sheets import MAPPING_COLUMNS
from ml_connector.mapping.wording import quoted
from ml_connector.proving.trail_export import neutral
from ml_connector.qbo.models import Ref
from ml_connector.store.tables import decision, hold, mapped_line, record

FIGURES = ("lines", "bills", "amount")  # right of what is pasted
LONGEST_REASON = 60

Place = tuple[str, str, int]  # entity, id, line
Outcome = tuple[str, str, str, str]  # route, cost code, cost type, reason


@dataclass(frozen=True)
class Proposal:
    """One row for mapping.csv and what it would free. `cells` are by heading; without a past the outcome is left empty."""

    cells: Mapping[str, str]
    lines: int
    bills: int
    amount: Decimal


def suggest(db: Database, connection: str, reference: Reference) -> list[Proposal]:
    """Rows for the lines that no rule takes, most money first."""
    waiting = _waiting(db, connection)
    if not waiting:
        return []
    read = list(read_lines(db, connection, reference))
    past = _past(db, connection, read)
    groups: dict[tuple[str, str, str], list[ReadLine]] = {}
    for one in read:
        if _place(one) in waiting:
            groups.setdefault((one.bill.vendor.id, *stands_on(one.facts)), []).append(one)
    proposals = [_proposal(lines, past, reference) for lines in groups.values()]
    return sorted(proposals, key=lambda one: (-abs(one.amount), -one.lines, one.cells["vendor"]))


def written(proposals: Iterable[Proposal]) -> bytes:
    """The rows as a CSV for Excel, figures to the right; no cell is one that a spreadsheet would execute."""
    out = io.StringIO()
    out.write("\ufeff")  # without it Excel takes UTF-8 for the code page of the machine
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow((*MAPPING_COLUMNS, *FIGURES))
    for one in proposals:
        cells = [neutral(one.cells.get(column, "")) for column in MAPPING_COLUMNS]
        writer.writerow([*cells, one.lines, one.bills, one.amount])
    return out.getvalue().encode("utf-8", "replace")


def _waiting(db: Database, connection: str) -> set[Place]:
    rows = db.execute(
        select(hold.c.entity, hold.c.qbo_id, hold.c.line).where(
            hold.c.connection == connection, hold.c.reason == str(Reason.UNMAPPED), hold.c.line.is_not(None)
        )
    )
    return {(row.entity, row.qbo_id, row.line) for row in rows}


class _Past:
    """What became of lines before: of one vendor on one account or item, and of all vendors there."""

    def __init__(self) -> None:
        self.of_vendor: dict[tuple[str, str, str], Counter[Outcome]] = {}
        self.of_all: dict[tuple[str, str], Counter[Outcome]] = {}

    def add(self, one: ReadLine, outcome: Outcome) -> None:
        place = stands_on(one.facts)
        self.of_vendor.setdefault((one.bill.vendor.id, *place), Counter())[outcome] += 1
        self.of_all.setdefault(place, Counter())[outcome] += 1

    def best(self, one: ReadLine) -> tuple[Outcome, str] | None:
        """The commonest outcome of lines like this one, and on what it rests."""
        place = stands_on(one.facts)
        for counts, whose in (
            (self.of_vendor.get((one.bill.vendor.id, *place)), "of this vendor"),
            (self.of_all.get(place), "of other vendors"),
        ):
            if counts:
                (outcome, often), total = counts.most_common(1)[0], counts.total()
                return outcome, f"{often} of {total} lines {whose} on this {place[0]} went this way"
        return None


def _past(db: Database, connection: str, read: Iterable[ReadLine]) -> _Past:
    """Lines that rules sent somewhere, and lines of bills that a person left out with a reason."""
    outcomes: dict[Place, Outcome | None] = {}  # None: a rule split the line, and no single row says that
    rows = db.execute(
        select(mapped_line).where(
            mapped_line.c.connection == connection,
            mapped_line.c.outcome.in_(("posted", "excluded")),
            mapped_line.c.rule != "",
        )
    )
    for row in rows:
        is_excluded = row.outcome == "excluded"
        outcome = (
            str(Route.EXCLUDE) if is_excluded else row.route,
            row.cost_code,
            row.cost_type,
            row.reason if is_excluded else "",
        )
        place = row.entity, row.qbo_id, row.line
        outcomes[place] = None if place in outcomes else outcome
    left_out = {
        (row.entity, row.qbo_id): row.comment[:LONGEST_REASON]
        for row in db.execute(
            select(decision.c.entity, decision.c.qbo_id, decision.c.comment)
            .join(
                record,
                (record.c.connection == decision.c.connection)
                & (record.c.entity == decision.c.entity)
                & (record.c.qbo_id == decision.c.qbo_id)
                & (record.c.landing_number == decision.c.landing_number),
            )
            .where(
                decision.c.connection == connection,
                decision.c.choice == str(Choice.EXCLUDE),
                decision.c.reason == str(Reason.UNMAPPED),
            )
        )
    }
    past = _Past()
    for one in read:
        entity, qbo_id, _ = place = _place(one)
        if (entity, qbo_id) in left_out:
            past.add(one, (str(Route.EXCLUDE), "", "", left_out[entity, qbo_id]))
        elif (before := outcomes.get(place)) is not None:
            past.add(one, before)
    return past


def _proposal(lines: list[ReadLine], past: _Past, reference: Reference) -> Proposal:
    first = lines[0]
    heading, _ = stands_on(first.facts)
    found = past.best(first)
    (route, code, cost_type, reason), why = found or (("", "", "", ""), "no line like it was posted before")
    cells = {
        heading: name_of(first, reference),
        "vendor": _vendor(first.bill.vendor),
        "route": route,
        "cost_code": code,
        "cost_type": cost_type,
        "reason": reason,
        "note": f"{why}; such as {quoted(first.line.description, 40) or 'a line without text'}",
    }
    bills = {(one.bill.entity, one.bill.id) for one in lines}
    amount = sum((one.line.amount for one in lines if one.line.amount is not None), Decimal(0))
    return Proposal(cells, len(lines), len(bills), amount)


def _place(one: ReadLine) -> Place:
    return str(one.bill.entity), one.bill.id, one.line.number


def stands_on(facts: Facts) -> tuple[str, str]:
    """Heading and QBO id of what a rule for the line would name: its item, else its account."""
    if facts.item is not None:
        return "item", facts.item.id
    return "account", "" if facts.account is None else facts.account.id


def name_of(one: ReadLine, reference: Reference) -> str:
    """The name that a rule can give to that alone, as a person knows it: its number or name, else its id."""
    item, account = one.facts.item, one.facts.account
    if item is not None:
        others = (entry for entry in reference.items.values() if entry.id != item.id)
        taken = {folded(text) for entry in others for text in (entry.id, entry.name, entry.full_name)}
        return _first_free((item.full_name, item.name), taken) or item.id
    if account is None:
        return ""
    those = (entry for entry in reference.accounts.values() if entry.id != account.id)
    taken = {folded(text) for entry in those for text in (entry.id, entry.number, entry.full_name)}
    return _first_free((account.number, account.full_name), taken) or account.id


def _first_free(names: Iterable[str], taken: set[str]) -> str:
    return next((name for name in names if name and folded(name) not in taken and neutral(name) == name), "")


def _vendor(vendor: Ref) -> str:
    return vendor.name if vendor.name and neutral(vendor.name) == vendor.name else vendor.id
