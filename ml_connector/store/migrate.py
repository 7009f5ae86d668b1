"""Bring a database to this version's tables: alembic, in our own schema, one migrator at a time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from ml_connector.store.database import open_engine
from ml_connector.store.tables import SCHEMA

MIGRATIONS = Path(__file__).with_name("migrations")
ONE_AT_A_TIME = 7_261_913  # advisory lock; any number that nothing else of ours uses


def upgrade(url: str) -> None:
    """Create or upgrade the schema `ml_connector` in the database at `url`.

    Waits for another migrator. Repeatable; a migration that fails leaves nothing of itself.
    """
    engine = open_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine.connect() as db:
            db.execute(text("select pg_advisory_lock(:lock)"), {"lock": ONE_AT_A_TIME})
            # Asked first: a role without the right to make schemas may not even say "if not exists".
            if db.scalar(text("select to_regnamespace(:schema)"), {"schema": SCHEMA}) is None:
                db.execute(text(f"create schema {SCHEMA}"))
            db.commit()
            config.attributes["connection"] = db
            command.upgrade(config, "head")
            db.commit()
            db.execute(text("select pg_advisory_unlock(:lock)"), {"lock": ONE_AT_A_TIME})
            db.commit()
    finally:
        engine.dispose()
