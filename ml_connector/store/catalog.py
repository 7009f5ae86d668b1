"""The stored copy of Procore's lists (projects, budget codes, vendors), with the age of each list."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from ml_connector.store.tables import catalog


def keep(
    db: Connection,
    connection: str,
    kind: str,
    project_id: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    at: datetime,
) -> bool:
    """Replace one list; `project_id` is "" for lists of the company. Returns whether the rows differ from the copy."""
    before = db.scalar(
        select(catalog.c.rows).where(
            catalog.c.connection == connection, catalog.c.kind == kind, catalog.c.project_id == project_id
        )
    )
    statement = upsert(catalog).values(
        connection=connection, kind=kind, project_id=project_id, rows=list(rows), fetched_at=at
    )
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["connection", "kind", "project_id"],
            set_={"rows": statement.excluded.rows, "fetched_at": statement.excluded.fetched_at},
        )
    )
    return before != list(rows)


def copy(db: Connection, connection: str, kind: str) -> dict[str, list[dict[str, Any]]]:
    """All stored lists of a kind, by project id."""
    rows = db.execute(
        select(catalog.c.project_id, catalog.c.rows).where(
            catalog.c.connection == connection, catalog.c.kind == kind
        )
    )
    return {row.project_id: row.rows for row in rows}


def oldest(db: Connection, connection: str, kind: str) -> datetime | None:
    """When the oldest list of a kind was fetched; None without any."""
    fetched_at: datetime | None = db.scalar(
        select(func.min(catalog.c.fetched_at)).where(
            catalog.c.connection == connection, catalog.c.kind == kind
        )
    )
    return fetched_at


def lately(
    db: Connection, connection: str, kind: str, project_id: str, *, since: datetime
) -> list[dict[str, Any]] | None:
    """One stored list, when it was fetched at `since` or later; else None."""
    found: list[dict[str, Any]] | None = db.scalar(
        select(catalog.c.rows).where(
            catalog.c.connection == connection,
            catalog.c.kind == kind,
            catalog.c.project_id == project_id,
            catalog.c.fetched_at >= since,
        )
    )
    return found


def stored(
    db: Connection, connection: str, kind: str, project_id: str
) -> tuple[list[dict[str, Any]], datetime] | None:
    """One stored list, and when it was fetched; None when there is none."""
    row = db.execute(
        select(catalog.c.rows, catalog.c.fetched_at).where(
            catalog.c.connection == connection, catalog.c.kind == kind, catalog.c.project_id == project_id
        )
    ).one_or_none()
    return None if row is None else (row.rows, row.fetched_at)
