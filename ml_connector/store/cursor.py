"""The reading cursor of a connection: up to which server time everything was read."""

from datetime import datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from ml_connector.store.tables import reading_cursor


def read_to(db: Connection, connection: str) -> datetime | None:
    """Where the cursor stands, without locking; None before the first load."""
    return db.scalar(select(reading_cursor.c.read_to).where(reading_cursor.c.connection == connection))


def went_live(db: Connection, connection: str) -> datetime | None:
    """When the first load began, by QBO's clock; None before it."""
    return db.scalar(select(reading_cursor.c.went_live).where(reading_cursor.c.connection == connection))


def move(db: Connection, connection: str, to: datetime) -> None:
    """Set the cursor, in the transaction that stores the last rows before it. It never goes back."""
    first = insert(reading_cursor).values(
        connection=connection, read_to=to, went_live=to, updated_at=func.now()
    )
    db.execute(
        first.on_conflict_do_update(
            index_elements=["connection"],
            set_={
                "read_to": func.greatest(reading_cursor.c.read_to, first.excluded.read_to),
                "updated_at": func.now(),
            },
        )
    )
