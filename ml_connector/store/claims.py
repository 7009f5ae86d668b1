"""Claims: one worker at a time for one piece of a connection's work, over all processes on the database.

A claim is a session lock of Postgres: it ends with its process, and no transaction is open over a call. A session can
end before its worker does, so a claim on posting is numbered by its run: a run that another one followed writes no more.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import OperationalError

from ml_connector.errors import SetupError, TurnLost
from ml_connector.store.tables import turn

_LOCK = text("select pg_advisory_lock(hashtextextended(:work, 0))")
_TRY = text("select pg_try_advisory_lock(hashtextextended(:work, 0))")
_UNLOCK = text("select pg_advisory_unlock(hashtextextended(:work, 0))")


@contextmanager
def claim(engine: Engine, work: str) -> Iterator[None]:
    """Hold the claim on `work` (for instance "read:acme"); waits for another holder to end."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.execute(_LOCK, {"work": work})
        try:
            yield
        finally:
            _let_go(db, work)


@contextmanager
def claim_posting(engine: Engine, connection: str, run_id: str) -> Iterator[None]:
    """Hold the claim on a connection's posting, and the turn: from now on no earlier run can commit an intent."""
    with claim(engine, f"post:{connection}"):
        mine = upsert(turn).values(connection=connection, run_id=run_id)
        with engine.begin() as db:
            db.execute(
                mine.on_conflict_do_update(
                    index_elements=["connection"], set_={"run_id": mine.excluded.run_id}
                )
            )
        yield


def must_have_turn(db: Connection, connection: str, run_id: str) -> None:
    """Raises TurnLost when another run took the turn; until the transaction ends nobody can take it."""
    holder = db.scalar(
        select(turn.c.run_id).where(turn.c.connection == connection).with_for_update(read=True)
    )
    if holder not in (None, run_id):
        raise TurnLost(
            f"Run {holder} has taken over the posting of {connection}: the database had ended this run's claim. "
            "Nothing more is sent by this run; what it left is done by the next one."
        )


@contextmanager
def only_installation(engine: Engine) -> Iterator[None]:
    """Be the one installation whose services work on the database. Raises SetupError when another one's do."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        if not db.scalar(_TRY, {"work": "services"}):
            raise SetupError(
                "the services of another installation work on this database: each installation needs a database "
                "of its own"
            )
        try:
            yield
        finally:
            _let_go(db, "services")


def _let_go(db: Connection, work: str) -> None:
    try:
        db.execute(_UNLOCK, {"work": work})
    except OperationalError:
        db.invalidate()  # the session is ended, and with it the claim
