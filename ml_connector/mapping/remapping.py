"""Posted history mapped afresh: which settled bills other rules would change, and letting just these be posted anew.

A published version is for what is new or held. What was posted follows it only when a person applies it, after a preview.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row

from ml_connector.errors import SetupError
from ml_connector.mapping.models import Outcome, RuleBook
from ml_connector.mapping.publishing import newest_rules, rules_of
from ml_connector.mapping.windows import Mapper
from ml_connector.procore.models import Catalog
from ml_connector.qbo.models import JOB_COSTS, Entity
from ml_connector.settings import Connection
from ml_connector.store import audit, history, records, sheets, windows
from ml_connector.store.records import Decision, MappedLine, State

SLICE = 500
SHEET = "Sheet"  # entity of audit entries on sheets
PREVIEWED, APPLIED = "previewed", "applied"


@dataclass(frozen=True)
class Change:
    """A settled bill, credit or purchase that other rules decide otherwise.

    `before` and `after` are the parts of its lines that differ: those that are posted, or were left out, and those in
    their place. `is_closed`: it is dated in closed books, and so it stays as it is.
    """

    decision: Decision
    was_version: int | None
    before: tuple[MappedLine, ...]
    after: tuple[MappedLine, ...]
    is_closed: bool


@dataclass(frozen=True)
class Slice:
    """Some settled records: how many were looked at, and the changes among them."""

    looked_at: int
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Applied:
    """What applying a version came to. `days` are marked: their next runs post the bills anew."""

    version: int
    bills: int
    left: int  # bills of closed books
    days: tuple[date, ...]


class Remapping:
    """Settled bills, credits and purchases of one connection, mapped afresh by `rules` with Procore's lists in `catalog`."""

    def __init__(self, connection: Connection, engine: Engine, catalog: Catalog, rules: RuleBook) -> None:
        self.rules = rules
        self._connection = connection
        self._engine = engine
        self._mapper = Mapper(connection, engine, lambda db: catalog, run_id="")
        self._wants = {rules.version: _wants(rules)}

    def slices(self, take: Callable[[Database, Sequence[Change]], None] | None = None) -> Iterator[Slice]:
        """All settled records, so many at a time that memory does not grow with the history.

        `take` gets the changes of a slice in the transaction in which they were found, the records locked.
        """
        with self._engine.connect() as db:
            books = replace(self._mapper.books(db), rules=self.rules)
        for entity in JOB_COSTS:
            after = ""
            while True:
                with self._engine.begin() as db:
                    rows = history.settled(
                        db, self._connection.name, entity, after=after, limit=SLICE, lock=take is not None
                    )
                    if not rows:
                        break
                    decisions = self._mapper.decide(db, entity, [row.landing_number for row in rows], books)
                    changes = self._changes(db, entity, rows, decisions)
                    if take is not None and changes:
                        take(db, changes)
                yield Slice(len(rows), tuple(changes))
                after = rows[-1].qbo_id

    def _changes(
        self, db: Database, entity: Entity, rows: Sequence[Row[Any]], decisions: Sequence[Decision]
    ) -> list[Change]:
        stored = records.lines_of(db, self._connection.name, entity, [row.qbo_id for row in rows])
        changes = []
        for row, decision in zip(rows, decisions, strict=True):
            lines = [_as_planned(line) for line in stored[row.qbo_id]]
            # What changed beside the rules, such as a project that was closed since, is no reason to touch history.
            if self._wanted(db, lines) == self._wanted(db, decision.lines):
                continue
            before, after = _difference(lines, decision.lines), _difference(decision.lines, lines)
            if before or after:
                changes.append(
                    Change(decision, row.mapping_version, before, after, self._is_closed(decision))
                )
        return changes

    def _is_closed(self, decision: Decision) -> bool:
        closed_to = self._connection.policies.books_closed_to
        return closed_to is not None and decision.txn_date is not None and decision.txn_date <= closed_to

    def _wanted(self, db: Database, lines: Sequence[MappedLine]) -> list[tuple[int, object]]:
        """What the rules that took `lines` want of them, each rule in the version that took it."""
        return [(line.line, self._want(db, line.rule)) for line in lines]

    def _want(self, db: Database, rule: str) -> object:
        version, _, row = rule.partition(".")
        if not row:
            return None
        if int(version) not in self._wants:
            self._wants[int(version)] = _wants(rules_of(db, self._connection.name, int(version)))
        return self._wants[int(version)][int(row)]


def apply(engine: Engine, connection: Connection, catalog: Catalog, *, by: str) -> Applied:
    """Let the published rules change posted history: bills that they decide otherwise are planned again, their days marked.

    The next runs map and post them like any others, so nothing is lost when this or they are killed: applying again
    goes on with what is left, and costs nothing when nothing is. Raises SetupError unless just this version was previewed.
    """
    rules, preview = approved(engine, connection)
    days: set[date] = set()

    def take(db: Database, changes: Sequence[Change]) -> None:
        moving = [change for change in changes if not change.is_closed]
        for entity in {change.decision.entity for change in moving}:
            ids = [change.decision.qbo_id for change in moving if change.decision.entity == entity]
            reopened = records.reopen(db, connection.name, entity, ids)
            windows.mark(
                db, connection.name, reopened, reason=f"mapping version {rules.version} was applied to it"
            )
            days.update(reopened)
        told = [_told(change, rules.version, preview.number) for change in moving]
        audit.append(db, connection.name, told, run_id="", actor=by)

    changes = [0, 0]  # those that stay, those that move
    for found in Remapping(connection, engine, catalog, rules).slices(take):
        for change in found.changes:
            changes[not change.is_closed] += 1
    done = Applied(rules.version, bills=changes[1], left=changes[0], days=tuple(sorted(days)))
    if done.bills:
        detail = {
            "version": done.version,
            "preview": preview.number,
            "bills": done.bills,
            "left": done.left,
            "days": done.days,
        }
        with engine.begin() as db:
            told = audit.Entry(APPLIED, SHEET, sheets.MAPPING, detail)
            audit.append(db, connection.name, [told], run_id="", actor=by)
    return done


def approved(engine: Engine, connection: Connection) -> tuple[RuleBook, audit.StoredEntry]:
    """The published rules and the preview of just these. Raises SetupError without one."""
    name = connection.name
    with engine.connect() as db:
        rules = newest_rules(db, name)
        published, links = (sheets.newest(db, name, sheet) for sheet in (sheets.MAPPING, sheets.PROJECTS))
        preview = last_preview(db, name)
    if rules is None or published is None:
        raise SetupError(f"nothing is published yet: `ml-connector mapping publish {name}`")
    look = f"look at `ml-connector mapping preview {name}` first"
    if preview is None:
        raise SetupError(f"mapping version {published.version} was never previewed: {look}")
    if preview.detail["sheet_hash"] != sheets.hash_of(published.content):
        raise SetupError(
            f"mapping version {published.version} is not what was previewed last, by {preview.actor} at "
            f"{preview.at:%Y-%m-%d %H:%M} UTC: publish that file, or {look}"
        )
    if preview.detail["projects"] != (0 if links is None else links.version):
        raise SetupError(f"projects.csv was published after the preview: {look}")
    return rules, preview


def last_preview(db: Database, connection: str) -> audit.StoredEntry | None:
    """The newest preview of a mapping sheet, with its figures; None before the first."""
    entries = audit.story(db, connection, SHEET, sheets.MAPPING)
    return next((entry for entry in reversed(entries) if entry.event == PREVIEWED), None)


def _wants(rules: RuleBook) -> Mapping[int, object]:
    """What each row wants of a line, whichever row says it."""
    return {
        outcome.row: _want_of(outcome, split=len(rule.outcomes) > 1)
        for rule in rules.rules
        for outcome in rule.outcomes
    }


def _want_of(outcome: Outcome, *, split: bool) -> tuple[object, ...]:
    code = (outcome.cost_code.upper(), outcome.cost_type.upper())
    share = outcome.share if split else Decimal(1)
    return (outcome.route, code, outcome.project, outcome.commitment, outcome.reason, share)


def _as_planned(line: MappedLine) -> MappedLine:
    """A line as mapping had it: retainage without a commitment is left out by posting."""
    return replace(line, outcome="posted", reason="") if line.route and line.outcome == "excluded" else line


def _difference(lines: Sequence[MappedLine], others: Sequence[MappedLine]) -> tuple[MappedLine, ...]:
    """The lines with money that have no equal among `others`."""
    left = Counter(_place(other) for other in others)
    found = []
    for line in lines:
        place = _place(line)
        if left[place]:
            left[place] -= 1
        elif line.outcome != "text":
            found.append(line)
    return tuple(found)


def _place(line: MappedLine) -> tuple[object, ...]:
    where = (
        line.project_id,
        line.wbs_code_id,
        line.cost_code,
        line.cost_type,
        str(line.route),
        line.commitment,
    )
    return (line.line, line.outcome, line.amount, line.reason, *where)


def _told(change: Change, version: int, preview: int) -> audit.Entry:
    return audit.Entry(
        "remapped",
        change.decision.entity,
        change.decision.qbo_id,
        {
            "mapping": version,
            "mapping_before": change.was_version,
            "preview": preview,
            "before": [_part(line) for line in change.before],
            "after": [_part(line) for line in change.after],
            "held": [hold.reason for hold in change.decision.holds]
            if change.decision.state is State.HELD
            else [],
        },
    )


def _part(line: MappedLine) -> dict[str, Any]:
    """A part of a line in the trail; what says nothing is left out."""
    said = {
        "line": line.line,
        "amount": line.amount,
        "outcome": line.outcome,
        "project": line.project_id,
        "code": f"{line.cost_code}.{line.cost_type}" if line.cost_code else "",
        "commitment": line.commitment,
        "reason": line.reason,
        "rule": line.rule,
    }
    return {name: value for name, value in said.items() if value not in ("", None)}
