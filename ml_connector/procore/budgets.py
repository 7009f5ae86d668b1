"""Which budget codes of a project its budget has lines for: read from a budget view, and the stored copy of it."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from ml_connector.holds import Reason
from ml_connector.procore.client import Params, ProcoreClient
from ml_connector.procore.models import Budget
from ml_connector.settings import Connection
from ml_connector.store import catalog, windows
from ml_connector.transport.call import CallRefused

BUDGETS = "budgets"


def budget_of(rows: list[dict[str, Any]]) -> Budget:
    """The budget as the copy has it."""
    (row,) = rows
    return Budget(frozenset(row["codes"]), row["unreadable"])


def refresh_budget(engine: Engine, connection: Connection, client: ProcoreClient, project_id: str) -> Budget:
    """Read which budget codes of a project have a budget line into the copy: one call, two the first time.

    Bills on other days that wait for a line are woken where the copy changes. A budget that Procore does not show says so
    in `unreadable`. Raises what the client raises but refusals; then the copy stays as it is.
    """
    at = datetime.now(UTC)
    with engine.connect() as db:
        stored = catalog.stored(db, connection.name, BUDGETS, project_id)
    row = _fetch(client, project_id, view=stored[0][0]["view"] if stored else None)
    with engine.begin() as db:
        if catalog.keep(db, connection.name, BUDGETS, project_id, [row], at=at):
            _wake(db, connection.name, project_id)
    return budget_of([row])


def waiting_for_budget(db: Database, connection: str) -> list[str]:
    """The projects with bills that wait for a line of the budget."""
    causes = windows.causes(db, connection, [Reason.NO_BUDGET_LINE])
    projects = catalog.copy(db, connection, BUDGETS)
    return sorted(project for project in projects if any(_is_of(project, cause) for cause in causes))


def _is_of(project_id: str, cause: str) -> bool:
    return cause.startswith(f"{Reason.NO_BUDGET_LINE} project {project_id} ")


def _wake(db: Database, connection: str, project_id: str) -> None:
    causes = windows.causes(db, connection, [Reason.NO_BUDGET_LINE])
    mine: Collection[str] = [cause for cause in causes if _is_of(project_id, cause)]
    if mine:
        windows.wake_causes(db, connection, mine, why="Procore's budget changed")


def _fetch(client: ProcoreClient, project_id: str, *, view: int | None) -> dict[str, Any]:
    """The row of the copy. Every view of a project lists all of its budget lines (procore-api 6)."""
    try:
        if view is None:
            views = client.rows("/rest/v1.0/budget_views", {"project_id": project_id})
            view = int(views[0]["id"]) if views else None
        if view is None:  # no view, no budget
            return {"view": None, "codes": [], "unreadable": ""}
        params: Params = {"project_id": project_id, "budget_row_type": "budgeted"}
        rows = client.rows(f"/rest/v1.0/budget_views/{view}/detail_rows", params)
    except CallRefused as refusal:
        # A view that is gone is looked up anew the next time.
        return {"view": None, "codes": [], "unreadable": refusal.fault.text or f"HTTP {refusal.status}"}
    lines = {row.get("wbs_code_id") for row in rows if row.get("id") is not None}
    return {"view": view, "codes": sorted(int(code) for code in lines if code is not None), "unreadable": ""}
