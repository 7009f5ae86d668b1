"""The stored copy of Procore's projects and budget codes: refreshing it, and reading it as a Catalog."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.holds import Reason
from ml_connector.procore.budget_codes import NOT_MADE, not_made
from ml_connector.procore.budgets import BUDGETS, budget_of
from ml_connector.procore.catalog import fetch_catalog, fetch_codes
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.models import BudgetCode, Catalog, CatalogProject
from ml_connector.settings import Connection
from ml_connector.store import catalog, windows
from ml_connector.transport.call import CallRefused

PROJECTS = "projects"
BUDGET_CODES = "budget_codes"
FREED_BY_CATALOG = (Reason.CODE_MISSING, Reason.NO_BUDGET_LINE, Reason.PROJECT_CLOSED, Reason.PERMISSION)


@dataclass(frozen=True)
class Refreshed:
    """What a refresh found: sizes, whether anything differs from the copy, and the days with records that it may free."""

    projects: int
    budget_codes: int
    changed: bool
    woken: tuple[date, ...]


@dataclass(frozen=True)
class ChangedParts:
    """What differs from the copy as it was: whether the list of projects, and the projects with other budget codes."""

    projects: bool
    codes: frozenset[str]


def refresh_catalog(
    engine: Engine, connection: Connection, client: ProcoreClient, project_ids: Iterable[str]
) -> Refreshed:
    """Read Procore's projects, and the budget codes of `project_ids`, into the copy. One call a list.

    Held records that the change may free get their days marked. Raises the client's errors; then the copy
    stays as it is.
    """
    at = datetime.now(UTC)
    wanted = set(project_ids)
    fetched = fetch_catalog(client, connection.procore.company_id, wanted)
    with engine.begin() as db:
        changed = catalog.keep(db, connection.name, PROJECTS, "", _project_rows(fetched), at=at)
        for project in (fetched.projects[name] for name in sorted(wanted & fetched.projects.keys())):
            rows = _code_rows(project.codes.values())
            changed |= catalog.keep(db, connection.name, BUDGET_CODES, project.id, rows, at=at)
        woken = (
            windows.wake(db, connection.name, FREED_BY_CATALOG, why="Procore's lists changed")
            if changed
            else []
        )
    codes = sum(len(project.codes) for project in fetched.projects.values())
    return Refreshed(len(fetched.projects), codes, changed, tuple(woken))


def refresh_parts(
    engine: Engine,
    connection: Connection,
    client: ProcoreClient,
    *,
    projects: bool,
    codes_of: Collection[str],
) -> ChangedParts:
    """Read the list of projects, if asked for, and the budget codes of some into the copy. One call a list.

    The copy as a whole grows no younger: the other lists keep their age. Budget codes that cannot be read stay as they are,
    unless the projects are read too: these say so. Raises the client's errors.
    """
    at = datetime.now(UTC)
    if projects:
        fetched = fetch_catalog(client, connection.procore.company_id, codes_of)
        known = {name: fetched.projects[name].codes for name in codes_of if name in fetched.projects}
    else:
        read = {name: _codes_or_none(client, name) for name in sorted(codes_of)}
        known = {name: codes for name, codes in read.items() if codes is not None}
    with engine.begin() as db:
        is_other = False
        if projects:
            before = catalog.stored(db, connection.name, PROJECTS, "")
            age = at if before is None else before[1]
            is_other = catalog.keep(db, connection.name, PROJECTS, "", _project_rows(fetched), at=age)
        other = {
            name
            for name, codes in sorted(known.items())
            if catalog.keep(db, connection.name, BUDGET_CODES, name, _code_rows(codes.values()), at=at)
        }
    return ChangedParts(is_other, frozenset(other))


def _codes_or_none(client: ProcoreClient, project: str) -> dict[tuple[str, str], BudgetCode] | None:
    try:
        return fetch_codes(client, project)
    except CallRefused as refusal:
        if refusal.status not in (403, 404):
            raise
        return None


def _project_rows(fetched: Catalog) -> list[dict[str, Any]]:
    return [
        {
            "id": project.id,
            "name": project.name,
            "active": project.active,
            "unreadable": project.unreadable,
        }
        for project in sorted(fetched.projects.values(), key=lambda project: int(project.id))
    ]


def _code_rows(codes: Iterable[BudgetCode]) -> list[dict[str, Any]]:
    return [
        {"id": code.wbs_code_id, "code": code.cost_code, "type": code.cost_type, "active": code.active}
        for code in sorted(codes, key=lambda code: code.wbs_code_id)
    ]


def add_code(db: Database, connection: str, project_id: str, code: BudgetCode) -> None:
    """Put a budget code that was made into the copy, which grows no younger by it."""
    stored = catalog.stored(db, connection, BUDGET_CODES, project_id)
    rows, age = stored if stored is not None else ([], datetime.now(UTC))
    known = [row for row in rows if row["id"] != code.wbs_code_id]
    rows = sorted([*known, *_code_rows([code])], key=lambda row: int(row["id"]))
    catalog.keep(db, connection, BUDGET_CODES, project_id, rows, at=age)


def load_catalog(db: Database, connection: str) -> Catalog:
    """The copy as it stands; without any project before the first refresh."""
    codes = catalog.copy(db, connection, BUDGET_CODES)
    budgets = catalog.copy(db, connection, BUDGETS)
    refused = catalog.copy(db, connection, NOT_MADE)
    projects = catalog.copy(db, connection, PROJECTS).get("", [])
    return Catalog(
        {
            row["id"]: CatalogProject(
                id=row["id"],
                name=row["name"],
                active=row["active"],
                unreadable=row.get("unreadable", ""),
                codes={
                    (code["code"].upper(), code["type"].upper()): BudgetCode(
                        code["id"], code["code"], code["type"], code["active"]
                    )
                    for code in codes.get(row["id"], [])
                },
                not_made=not_made(refused.get(row["id"], [])),
                budget=budget_of(budgets[row["id"]]) if row["id"] in budgets else None,
            )
            for row in projects
        }
    )
