"""Records that are done with: what was posted, or left out by rule, and has not changed in QBO since. Read in slices."""

from typing import Any

from sqlalchemy import Connection, Row, exists, select

from ml_connector.store.records import State
from ml_connector.store.tables import landing, record

DONE = (State.POSTED, State.UPDATED, State.NO_OP, State.EXCLUDED, State.REVERSED)


def settled(
    db: Connection, connection: str, entity: str, *, after: str, limit: int, lock: bool = False
) -> list[Row[Any]]:
    """Settled records whose newest version they speak of, by QBO id after `after`, at most `limit`.

    Deleted ones are left out. With `lock` nobody else changes them until the transaction ends.
    """
    is_newest = exists().where(
        landing.c.number == record.c.landing_number, landing.c.is_current, ~landing.c.tombstone
    )
    statement = (
        select(record)
        .where(
            record.c.connection == connection,
            record.c.entity == entity,
            record.c.settled,
            record.c.state.in_([str(state) for state in DONE]),
            record.c.qbo_id > after,
            is_newest,
        )
        .order_by(record.c.qbo_id)
        .limit(limit)
    )
    return list(db.execute(statement.with_for_update(of=record) if lock else statement))
