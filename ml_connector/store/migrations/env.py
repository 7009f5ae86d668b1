"""Alembic's entry: runs the versions on the connection that `store.migrate` hands over, one transaction each."""

from alembic import context
from sqlalchemy import Connection, text

from ml_connector.store.tables import SCHEMA, metadata


def _run(db: Connection) -> None:
    context.configure(
        connection=db,
        target_metadata=metadata,
        version_table="schema_version",
        version_table_schema=SCHEMA,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        db.execute(text("set local lock_timeout = '30s'"))
        context.run_migrations()


_run(context.config.attributes["connection"])
