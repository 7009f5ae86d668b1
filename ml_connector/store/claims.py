"""Claims: one worker at a time for one piece of a connection's work, over all processes on the database.

A claim is a session lock of Postgres: it ends with its process, and no transaction is open over a call.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text


@contextmanager
def claim(engine: Engine, work: str) -> Iterator[None]:
    """Hold the claim on `work` (for instance "read:acme"); waits for another holder to end."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.execute(text("select pg_advisory_lock(hashtextextended(:work, 0))"), {"work": work})
        try:
            yield
        finally:
            db.execute(text("select pg_advisory_unlock(hashtextextended(:work, 0))"), {"work": work})
