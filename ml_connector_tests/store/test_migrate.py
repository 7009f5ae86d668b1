"""Migrations: they make what `tables.py` describes, once, whole or not at all."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, create_engine, inspect, text

from ml_connector.errors import SetupError
from ml_connector.store import migrate
from ml_connector.store.migrate import upgrade
from ml_connector.store.postgres_server import PostgresServer
from ml_connector.store.tables import SCHEMA, metadata


@pytest.fixture
def url(postgres: PostgresServer, empty_database: str) -> str:
    return postgres.url("psycopg", empty_database)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    # The role has the name of our schema, which would make ours the default one and alembic call it None.
    opened = create_engine(url, connect_args={"options": "-c search_path=public"})
    yield opened
    opened.dispose()


def _ours(name: str | None, kind: str, parents: Any) -> bool:
    return name == SCHEMA if kind == "schema" else name != "schema_version"


def _differences(engine: Engine, wanted: MetaData) -> list[Any]:
    with engine.connect() as db:
        options = {"include_schemas": True, "include_name": _ours, "compare_server_default": True}
        context = MigrationContext.configure(db, opts={**options, "compare_type": True})
        return list(compare_metadata(context, wanted))


def test_the_migrated_database_is_what_the_tables_say(url: str, engine: Engine) -> None:
    upgrade(url)
    assert _differences(engine, metadata) == []


def test_the_comparison_would_see_a_difference(url: str, engine: Engine) -> None:
    upgrade(url)
    with engine.begin() as db:
        db.execute(text("alter table ml_connector.landing drop column run_id"))
        db.execute(text("drop index ml_connector.landing_current"))
        db.execute(text("alter table ml_connector.ledger alter column amount drop default"))
    assert len(_differences(engine, metadata)) == 3


def test_keys_and_conditions_of_indexes_are_those_of_the_tables(url: str, engine: Engine) -> None:
    upgrade(url)
    found = inspect(engine)
    for table in metadata.sorted_tables:
        key = found.get_pk_constraint(table.name, schema=SCHEMA)["constrained_columns"]
        assert key == [column.name for column in table.primary_key.columns], table.name
    partial = {"landing_current", "landing_day", "landing_document", "ledger_open"}
    with engine.connect() as db:
        rows = db.execute(
            text("select indexname, indexdef from pg_indexes where schemaname = 'ml_connector'")
        )
        conditional = {row.indexname for row in rows if " WHERE " in row.indexdef}
    described = {
        index.name
        for table in metadata.sorted_tables
        for index in table.indexes
        if index.dialect_options["postgresql"]["where"] is not None
    }
    assert partial <= conditional
    assert conditional == described


def test_an_upgrade_is_repeatable_and_keeps_what_is_there(url: str, engine: Engine) -> None:
    upgrade(url)
    with engine.begin() as db:
        db.execute(text("insert into ml_connector.audit_head values ('acme', 0, '')"))
    upgrade(url)
    with engine.connect() as db:
        assert db.scalar(text("select count(*) from ml_connector.audit_head")) == 1


def test_K13_a_migration_that_fails_half_way_leaves_nothing_of_itself(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Path, *args: Any, **options: Any) -> str:
        whole = reading(self, *args, **options)
        return (
            whole + "create table ml_connector.audit (doubled text);\n\n" if self.suffix == ".sql" else whole
        )

    reading = Path.read_text
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", broken)
        with pytest.raises(Exception, match="already exists"):
            upgrade(url)
    assert set(inspect(engine).get_table_names(schema=SCHEMA)) <= {"schema_version"}
    upgrade(url)
    assert _differences(engine, metadata) == []


def test_F55_K13_code_of_an_older_version_refuses_newer_tables_and_changes_nothing(
    url: str, engine: Engine
) -> None:
    upgrade(url)
    version = text("update ml_connector.schema_version set version_num = :number")
    with engine.begin() as db:
        db.execute(version, {"number": "0999"})
    with pytest.raises(SetupError, match="of version 0999, which this older ml-connector does not know"):
        upgrade(url)
    assert _differences(engine, metadata) == []
    with engine.begin() as db:
        db.execute(version, {"number": "0001"})
    upgrade(url)


def test_F45_a_migrator_waits_while_another_one_works(url: str, engine: Engine) -> None:
    with engine.connect() as other:
        other.execute(text("select pg_advisory_lock(:lock)"), {"lock": migrate.ONE_AT_A_TIME})
        waiting = threading.Thread(target=upgrade, args=(url,))
        waiting.start()
        waits = text("select count(*) from pg_locks where locktype = 'advisory' and not granted")
        while not other.scalar(waits):
            assert waiting.is_alive()
        assert not inspect(engine).has_schema(SCHEMA)
        other.execute(text("select pg_advisory_unlock(:lock)"), {"lock": migrate.ONE_AT_A_TIME})
    waiting.join(60)
    assert inspect(engine).has_table("landing", schema=SCHEMA)


def test_an_address_of_another_database_is_refused() -> None:
    with pytest.raises(SetupError, match="Postgres address"):
        upgrade("sqlite:///x.db")
