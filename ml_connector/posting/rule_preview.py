"""What a mapping sheet would change in posted history, in counts and money. Reads Procore; stores nothing but itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.holds import Hold
from ml_connector.mapping.models import RuleBook
from ml_connector.mapping.publishing import newest_links, procore_projects
from ml_connector.mapping.remapping import PREVIEWED, SHEET, Change, Remapping
from ml_connector.mapping.sheets import parse_mapping
from ml_connector.money import ZERO, total
from ml_connector.posting.bill_work import Work
from ml_connector.posting.preview import BillPlans
from ml_connector.posting.vendors.desk import VendorDesk
from ml_connector.procore.catalog import fetch_catalog
from ml_connector.procore.client import ProcoreClient
from ml_connector.settings import Connection
from ml_connector.store import audit, sheets
from ml_connector.store.records import Decision, MappedLine, State

LISTED = 100  # bills that are told one by one


@dataclass(frozen=True, order=True)
class Place:
    """Where money is counted: a budget code of a project, or why it is on none (`excluded OVERHEAD`)."""

    project: str
    cost_code: str
    cost_type: str
    left_out: str


@dataclass
class Moved:
    """Lines and money of one place that would change: what is there now, and what would be."""

    lines_before: int = 0
    before: Decimal = ZERO
    lines_after: int = 0
    after: Decimal = ZERO


@dataclass
class Sum:
    """A number of bills and their money."""

    bills: int = 0
    amount: Decimal = ZERO

    def add(self, amount: Decimal) -> None:
        """One bill more."""
        self.bills += 1
        self.amount += amount


@dataclass(frozen=True)
class LeftOut:
    """A posted bill that would be held or excluded, and why."""

    entity: str
    qbo_id: str
    document: str
    vendor_name: str
    txn_date: date | None
    total: Decimal
    becomes: str  # held | excluded
    reason: str
    sentence: str


@dataclass
class RulePreview:
    """What the rules of one sheet would do with settled bills; each changed bill counts in one of the groups.

    Those that move are `moved` (their lines by `places`), in part or whole `excluded` by reason; `held` ones keep what
    Procore has of them and wait; those of `closed` books stay as they are, and so do those of which a person decided to
    keep what is in Procore (`kept`). `left_out` names the first 100 held or excluded.
    """

    sheet_hash: str
    version: int
    is_published: bool
    projects_version: int
    closed_to: date | None
    looked_at: int = 0
    lines: int = 0
    moved: Sum = field(default_factory=Sum)
    closed: Sum = field(default_factory=Sum)
    kept: Sum = field(default_factory=Sum)
    held: dict[str, Sum] = field(default_factory=dict)
    excluded: dict[str, Sum] = field(default_factory=dict)
    places: dict[Place, Moved] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Everything but the single bills, as it is stored."""
        return {
            "sheet_hash": self.sheet_hash,
            "version": self.version,
            "published": self.is_published,
            "projects": self.projects_version,
            "looked_at": self.looked_at,
            "bills": self.moved.bills,
            "lines": self.lines,
            "amount": self.moved.amount,
            "codes": [
                {
                    "project": place.project,
                    "cost_code": place.cost_code,
                    "cost_type": place.cost_type,
                    "left_out": place.left_out,
                    **vars(moved),
                }
                for place, moved in sorted(self.places.items())
            ],
            "held": _listed(self.held),
            "excluded": _listed(self.excluded),
            "closed": {"to": self.closed_to, **vars(self.closed)},
            "kept": vars(self.kept),
        }

    def hold(self, change: Change, holds: Sequence[Hold]) -> None:
        """A bill that would wait."""
        self.held.setdefault(str(holds[0].reason), Sum()).add(_posted(change))
        self._tell(change.decision, "held", str(holds[0].reason), holds[0].sentence)

    def move(self, change: Change) -> None:
        """A bill that would be posted anew, lines that fall out of it included."""
        self.moved.add(total(line.amount for line in change.before))
        self.lines += len({line.line for line in (*change.before, *change.after)})
        for line in change.before:
            moved = self.places.setdefault(_place(line), Moved())
            moved.lines_before, moved.before = moved.lines_before + 1, moved.before + line.amount
        for line in change.after:
            moved = self.places.setdefault(_place(line), Moved())
            moved.lines_after, moved.after = moved.lines_after + 1, moved.after + line.amount
        out: dict[str, Decimal] = {}
        for line in (line for line in change.after if line.outcome == "excluded"):
            out[line.reason] = out.get(line.reason, ZERO) + line.amount
        for reason, amount in out.items():
            self.excluded.setdefault(reason, Sum()).add(amount)
            self._tell(change.decision, "excluded", reason, f"{amount:,.2f} of it would be excluded by rule")
        for hold in change.decision.holds[:1]:  # by policy the good lines of a bill go on without the others
            self._tell(change.decision, "held", str(hold.reason), hold.sentence)

    def _tell(self, decision: Decision, becomes: str, reason: str, sentence: str) -> None:
        if len(self.left_out) < LISTED:
            known = (decision.document, decision.vendor_name, decision.txn_date, decision.total)
            self.left_out.append(LeftOut(decision.entity, decision.qbo_id, *known, becomes, reason, sentence))


def preview_rules(
    connection: Connection, engine: Engine, client: ProcoreClient, content: bytes, *, by: str, now: datetime
) -> RulePreview:
    """Map every settled bill afresh by the sheet `content`, and keep the figures in the audit trail.

    What Procore would make the bill wait for, such as a later invoice on its commitment, is looked up. Raises
    SheetRefused, and the client's errors.
    """
    with engine.connect() as db:
        rules, preview = _begin(db, connection, content)
        projects = procore_projects(db, connection.name, rules=rules)
    catalog = fetch_catalog(client, connection.procore.company_id, projects)
    desk = VendorDesk(connection, engine, client, "", lambda: now, lambda: now)
    plans = BillPlans(connection, engine, client, desk, now)
    for found in Remapping(connection, engine, catalog, rules).slices():
        preview.looked_at += found.looked_at
        for change, work in _foreseen(plans, found.changes):
            holds = (
                change.decision.holds if change.decision.state is State.HELD else work.holds if work else ()
            )
            if change.is_closed:
                preview.closed.add(_posted(change))
            elif holds:
                preview.hold(change, holds)
            elif work is not None and work.is_kept:
                preview.kept.add(_posted(change))
            else:
                preview.move(change)
    with engine.begin() as db:
        told = audit.Entry(PREVIEWED, SHEET, sheets.MAPPING, preview.figures())
        audit.append(db, connection.name, [told], run_id="", actor=by)
    return preview


def _begin(db: Database, connection: Connection, content: bytes) -> tuple[RuleBook, RulePreview]:
    newest = sheets.newest(db, connection.name, sheets.MAPPING)
    is_published = newest is not None and newest.content == content
    version = (0 if newest is None else newest.version) + (not is_published)
    return parse_mapping(content, version), RulePreview(
        sheet_hash=sheets.hash_of(content),
        version=version,
        is_published=is_published,
        projects_version=newest_links(db, connection.name).version,
        closed_to=connection.policies.books_closed_to,
    )


def _foreseen(plans: BillPlans, changes: Sequence[Change]) -> Iterator[tuple[Change, Work | None]]:
    """Each change with what posting would do with the bill; None where it would not come to posting."""
    going = [change for change in changes if change.decision.state is State.PLANNED and not change.is_closed]
    works = {
        (decision.entity, decision.qbo_id): work
        for decision, _, work in plans.of([change.decision for change in going])
    }
    for change in changes:
        yield change, works.get((change.decision.entity, change.decision.qbo_id))


def _posted(change: Change) -> Decimal:
    """The money in Procore that the change is about."""
    return total(line.amount for line in change.before if line.outcome == "posted")


def _place(line: MappedLine) -> Place:
    if line.outcome == "posted":
        return Place(line.project_id, line.cost_code, line.cost_type, "")
    return Place("", "", "", f"{line.outcome} {line.reason}")


def _listed(sums: Mapping[str, Sum]) -> list[dict[str, Any]]:
    return [{"reason": reason, **vars(one)} for reason, one in sorted(sums.items())]
