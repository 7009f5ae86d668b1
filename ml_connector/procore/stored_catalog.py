"""The stored copy of Procore's projects and budget codes: refreshing it, and reading it as a Catalog."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.holds import Reason
from ml_connector.procore.catalog import fetch_catalog
from ml_connector.procore.client import ProcoreClient
from ml_connector.procore.models import BudgetCode, Catalog, CatalogProject
from ml_connector.settings import Connection
from ml_connector.store import catalog, windows

PROJECTS = "projects"
BUDGET_CODES = "budget_codes"
FREED_BY_CATALOG = (Reason.CODE_MISSING, Reason.PROJECT_CLOSED, Reason.PERMISSION)


@dataclass(frozen=True)
class Refreshed:
    """What a refresh found: sizes, whether anything differs from the copy, and the days with records that it may free."""

    projects: int
    budget_codes: int
    changed: bool
    woken: tuple[date, ...]


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
    projects = [
        {
            "id": project.id,
            "name": project.name,
            "active": project.active,
            "unreadable": project.unreadable,
        }
        for project in sorted(fetched.projects.values(), key=lambda project: int(project.id))
    ]
    changed = False
    with engine.begin() as db:
        changed |= catalog.keep(db, connection.name, PROJECTS, "", projects, at=at)
        for project in (fetched.projects[name] for name in sorted(wanted & fetched.projects.keys())):
            rows = [
                {
                    "id": code.wbs_code_id,
                    "code": code.cost_code,
                    "type": code.cost_type,
                    "active": code.active,
                }
                for code in sorted(project.codes.values(), key=lambda code: code.wbs_code_id)
            ]
            changed |= catalog.keep(db, connection.name, BUDGET_CODES, project.id, rows, at=at)
        woken = (
            windows.wake(db, connection.name, FREED_BY_CATALOG, why="Procore's lists changed")
            if changed
            else []
        )
    codes = sum(len(project.codes) for project in fetched.projects.values())
    return Refreshed(len(projects), codes, changed, tuple(woken))


def load_catalog(db: Database, connection: str) -> Catalog:
    """The copy as it stands; without any project before the first refresh."""
    codes = catalog.copy(db, connection, BUDGET_CODES)
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
            )
            for row in projects
        }
    )
