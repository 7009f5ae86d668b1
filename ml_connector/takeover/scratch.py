"""A copy of our tables that nobody else sees and that ends with its block: what is tried there changes nothing here."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.schema import CreateSchema, DropSchema

from ml_connector.errors import SetupError
from ml_connector.settings import Connection
from ml_connector.store import windows
from ml_connector.store.claims import claim
from ml_connector.store.tables import SCHEMA, metadata


@contextmanager
def scratch_tables(engine: Engine, connection: Connection) -> Iterator[Engine]:
    """An engine whose statements go to empty tables in a schema of their own, which is dropped at the end.

    One at a time for a connection; what a killed process left behind is dropped first. Raises SetupError where the account
    of the database may make no schema.
    """
    schema = f"{SCHEMA}_rehearsal_{connection.name}"
    with claim(engine, f"rehearse:{connection.name}"):
        _drop(engine, schema)
        try:
            with engine.begin() as db:
                db.execute(CreateSchema(schema))
        except ProgrammingError as error:
            if isinstance(error.orig, InsufficientPrivilege):
                raise SetupError(
                    "a rehearsal needs tables of its own, and the database account may make no schema: "
                    "let it (GRANT CREATE ON DATABASE), or rehearse on a copy of the installation"
                ) from None
            raise
        scratch = engine.execution_options(schema_translate_map={SCHEMA: schema})
        try:
            with scratch.begin() as db:
                metadata.create_all(db, checkfirst=False)
                windows.marks.create(db, checkfirst=False)
            yield scratch
        finally:
            _drop(engine, schema)


def _drop(engine: Engine, schema: str) -> None:
    with engine.begin() as db:
        db.execute(DropSchema(schema, cascade=True, if_exists=True))
