"""Bring a database to this version's tables: alembic, in our own schema, one migrator at a time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from ml_connector.errors import SetupError
from ml_connector.store.database import open_engine
from ml_connector.store.tables import SCHEMA

MIGRATIONS = Path(__file__).with_name("migrations")
VERSIONS = "schema_version"
ONE_AT_A_TIME = 7_261_913  # advisory lock; any number that nothing else of ours uses


def upgrade(url: str) -> None:
    """Create or upgrade the schema `ml_connector` in the database at `url`.

    Waits for another migrator. Repeatable; a migration that fails leaves nothing of itself. Raises SetupError, with
    nothing changed, for tables of a newer version than this one.
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
            _must_know(db, config)
            config.attributes["connection"] = db
            command.upgrade(config, "head")
            db.commit()
            db.execute(text("select pg_advisory_unlock(:lock)"), {"lock": ONE_AT_A_TIME})
            db.commit()
    finally:
        engine.dispose()


def _must_know(db: Connection, config: Config) -> None:
    """Code of one version must not work on tables of a later one: what it does not know of it would leave out."""
    if db.scalar(text("select to_regclass(:name)"), {"name": f"{SCHEMA}.{VERSIONS}"}) is None:
        return
    version = db.scalar(text(f"select version_num from {SCHEMA}.{VERSIONS}"))  # noqa: S608 constants
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise SetupError(
            f"the tables in this database are of version {version}, which this older ml-connector does not know: start "
            "the newer one again, or put back the backup that was made before the upgrade"
        )
