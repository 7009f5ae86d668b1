"""Published versions of the customer's sheets: immutable, numbered for each connection and sheet."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, text

from ml_connector.store.tables import sheet_version

MAPPING = "mapping"
PROJECTS = "projects"


@dataclass(frozen=True)
class Published:
    """One version of a sheet as it was published."""

    sheet: str
    version: int
    content: bytes
    published_by: str
    published_at: datetime


def publish(db: Connection, connection: str, sheet: str, content: bytes, *, by: str) -> tuple[int, bool]:
    """Store `content` as the next version; returns (version, whether it is new).

    Content equal to the newest version makes no new one. The caller has validated it.
    """
    db.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": f"sheet:{connection}:{sheet}"})
    latest = newest(db, connection, sheet)
    if latest is not None and latest.content == content:
        return latest.version, False
    version = 1 if latest is None else latest.version + 1
    db.execute(
        insert(sheet_version).values(
            connection=connection,
            sheet=sheet,
            version=version,
            content_hash=hashlib.sha256(content).digest(),
            content=content,
            published_by=by,
        )
    )
    return version, True


def newest(db: Connection, connection: str, sheet: str) -> Published | None:
    """The newest version; None before the first publication."""
    latest = (
        select(func.max(sheet_version.c.version))
        .where(sheet_version.c.connection == connection, sheet_version.c.sheet == sheet)
        .scalar_subquery()
    )
    row = db.execute(
        select(sheet_version).where(
            sheet_version.c.connection == connection,
            sheet_version.c.sheet == sheet,
            sheet_version.c.version == latest,
        )
    ).one_or_none()
    if row is None:
        return None
    return Published(row.sheet, row.version, bytes(row.content), row.published_by, row.published_at)
