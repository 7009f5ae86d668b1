"""What in Procore open holds wait for: the parts of Procore that a look is worth, and the days that each may free."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from sqlalchemy import Connection, and_, select

from ml_connector.holds import HIDDEN, WAITS_FOR_COMMITMENT, WAITS_FOR_DIRECTORY, WAITS_FOR_LISTS, Reason
from ml_connector.store.tables import hold, mapped_line, record

WAITS_FOR_PROCORE = (*WAITS_FOR_LISTS, *WAITS_FOR_DIRECTORY, *WAITS_FOR_COMMITMENT)
NAMED = re.compile(r"\b(project|commitment|requisition) (\d+)")


class Part(StrEnum):
    """A part of Procore that one or two calls read."""

    PROJECTS = "projects"
    CODES = "budget codes"
    BUDGET = "budget"
    DIRECTORY = "directory"
    PROJECT_DIRECTORY = "project directory"
    COMMITMENTS = "commitments"
    COMMITMENT = "commitment"
    INVOICES = "invoices"
    PERIODS = "billing periods"
    RIGHT = "right to write"  # which nothing tells but a write


@dataclass(frozen=True, order=True)
class Awaited:
    """One part: of a `project`, and a single `commitment` of it; "" where it is the company's, or all."""

    part: Part
    project: str = ""
    commitment: str = ""

    def __str__(self) -> str:
        return " ".join(
            filter(None, (self.part, self.commitment, f"of project {self.project}" if self.project else ""))
        )


OF_ONE_PART = {
    Reason.PROJECT_CLOSED: Part.PROJECTS,
    Reason.CODE_MISSING: Part.CODES,
    Reason.NO_BUDGET_LINE: Part.BUDGET,
    Reason.VENDOR_AMBIGUOUS: Part.DIRECTORY,
    Reason.VENDOR_PROPOSED: Part.DIRECTORY,
    Reason.VENDOR_INACTIVE: Part.DIRECTORY,
    Reason.NO_OPEN_PERIOD: Part.PERIODS,
}
OF_THE_COMPANY = (Part.PROJECTS, Part.DIRECTORY)
WAITS_FOR_ITS_LINES = (
    Reason.SOV_AMBIGUOUS,
    Reason.OVERBILLED,
    Reason.COMMITMENT_NOT_APPROVED,
    Reason.OPENING_DIFFERENCE,
)


def awaited(db: Connection, connection: str) -> dict[Awaited, set[date]]:
    """The parts that open holds wait for, each with the days of the records that wait for it; empty when none does."""
    same = and_(*(hold.c[name] == record.c[name] for name in ("connection", "entity", "qbo_id")))
    rows = db.execute(
        select(hold.c.reason, hold.c.cause, hold.c.entity, hold.c.qbo_id, record.c.day)
        .join(record, same)
        .where(
            hold.c.connection == connection, hold.c.reason.in_([str(reason) for reason in WAITS_FOR_PROCORE])
        )
    ).all()
    projects = _projects(db, connection) if any(row.reason in WAITS_FOR_COMMITMENT for row in rows) else {}
    found: dict[Awaited, set[date]] = {}
    for row in rows:
        mine = projects.get((row.entity, row.qbo_id), [])
        for part in parts_of(Reason(row.reason), row.cause, mine):
            found.setdefault(part, set()).add(row.day)
    return dict(sorted(found.items()))


def parts_of(reason: Reason, cause: str, projects: Sequence[str]) -> list[Awaited]:
    """What a hold waits for; `projects` are those on whose commitments its record is billed."""
    named: dict[str, str] = dict(NAMED.findall(cause))
    project = named.get("project", "")
    if reason in OF_ONE_PART:
        part = OF_ONE_PART[reason]
        return [Awaited(part, "" if part in OF_THE_COMPANY else project)]
    if reason is Reason.PERMISSION:
        return _seen_again(cause, project)
    if "requisition" in named:
        return [Awaited(Part.INVOICES, place) for place in projects]
    if reason in WAITS_FOR_ITS_LINES and "commitment" in named:
        return [Awaited(Part.COMMITMENT, place, named["commitment"]) for place in projects]
    return [Awaited(Part.COMMITMENTS, place) for place in ([project] if project else projects)]


def _seen_again(cause: str, project: str) -> list[Awaited]:
    """Where it is seen that a right is back."""
    if cause == f"{Reason.PERMISSION} directory":
        return [Awaited(Part.DIRECTORY)]
    if cause not in (f"{Reason.PERMISSION} project {project}", f"{Reason.PERMISSION} {HIDDEN} {project}"):
        return [Awaited(Part.RIGHT)]
    return [Awaited(Part.PROJECTS), Awaited(Part.CODES, project), Awaited(Part.PROJECT_DIRECTORY, project)]


def _projects(db: Connection, connection: str) -> Mapping[tuple[str, str], list[str]]:
    """The projects on whose commitments records are billed, by (entity, id)."""
    rows = db.execute(
        select(mapped_line.c.entity, mapped_line.c.qbo_id, mapped_line.c.project_id)
        .distinct()
        .join(
            hold,
            and_(*(hold.c[name] == mapped_line.c[name] for name in ("connection", "entity", "qbo_id"))),
        )
        .where(
            mapped_line.c.connection == connection,
            mapped_line.c.route.in_(("commitment", "retainage")),
            mapped_line.c.project_id != "",
            hold.c.reason.in_([str(reason) for reason in WAITS_FOR_COMMITMENT]),
        )
        .order_by(mapped_line.c.project_id)
    )
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row.entity, row.qbo_id), []).append(row.project_id)
    return found
