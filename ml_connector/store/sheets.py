"""Published versions of the customer's sheets: immutable, numbered for each connection and sheet."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, text

from ml_connector.store.tables import sheet_version

MAPPING = "mapping"
PROJECTS = "projects"
VENDORS = "vendors"


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


def publisher(db: Connection, connection: str, sheet: str, version: int) -> str | None:
    """Who published a version; None when there is none of that number."""
    found: str | None = db.scalar(
        select(sheet_version.c.published_by).where(
            sheet_version.c.connection == connection,
            sheet_version.c.sheet == sheet,
            sheet_version.c.version == version,
        )
    )
    return found


def newest(db: Connection, connection: str, sheet: str) -> Published | None:
    """The newest version; None before the first publication."""
    latest = (
        select(func.max(sheet_version.c.version))
        .where(sheet_version.c.connection == connection, sheet_version.c.sheet == sheet)
        .scalar_subquery()
    )
    row = db.execute(_of(connection, sheet).where(sheet_version.c.version == latest)).one_or_none()
    return None if row is None else _published(row)


def one(db: Connection, connection: str, sheet: str, version: int) -> Published:
    """A version that was published."""
    return _published(db.execute(_of(connection, sheet).where(sheet_version.c.version == version)).one())


def hash_of(content: bytes) -> str:
    """The SHA-256 of a sheet in hex: it names the same content, published or not."""
    return hashlib.sha256(content).hexdigest()


def _of(connection: str, sheet: str) -> Select[Any]:
    return select(sheet_version).where(
        sheet_version.c.connection == connection, sheet_version.c.sheet == sheet
    )


def _published(row: Row[Any]) -> Published:
    return Published(row.sheet, row.version, bytes(row.content), row.published_by, row.published_at)
