"""What the whole suite shares: one throw-away Postgres, a fresh database for each test, the peers' Python."""

import fcntl
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import LiteralString

import hypothesis
import psycopg
import pytest
from psycopg import sql

from ml_connector import logs
from ml_connector.store.postgres_server import PostgresServer, start_server

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("ml_connector", deadline=None)
hypothesis.settings.load_profile("ml_connector")
logs.configure()  # fixtures of a whole session log as services do, too
TEMPLATE = "ml_connector_template"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Tests log as services do; what a command run inside a test sets up ends with the test."""
    logs.configure()
    yield


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a figure that a test of the fault matrix has measured; all are printed at the end of the run."""
    return lambda figure: record_property("measured", figure)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, from all workers."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    figures = [str(text) for report in reports for name, text in report.user_properties if name == "measured"]
    if figures:
        terminalreporter.section("measured")
        terminalreporter.write("".join(f"{figure}\n" for figure in sorted(figures)))


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this run of pytest."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if base.name.startswith("popen-") else base


@pytest.fixture(scope="session")
def postgres(run_folder: Path) -> Iterator[PostgresServer]:
    """One server for all workers, without fsync; the last worker to end stops and removes it."""
    server = start_server(run_folder / "postgres-home", durable=False)
    yield server
    server.discard()


@pytest.fixture(scope="session")
def database_template(postgres: PostgresServer, run_folder: Path) -> str:
    """The name of a database with the migrated schema, made once for all workers."""
    from ml_connector.store.migrate import upgrade

    with (run_folder / "template.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _server(postgres) as connection:
            found = "SELECT datistemplate FROM pg_database WHERE datname = %s"
            if connection.execute(found, [TEMPLATE]).fetchone() != (True,):
                connection.execute(_statement("DROP DATABASE IF EXISTS {}", TEMPLATE))
                connection.execute(_statement("CREATE DATABASE {}", TEMPLATE))
                upgrade(postgres.url("psycopg", TEMPLATE))
                closed = "ALTER DATABASE {} IS_TEMPLATE true ALLOW_CONNECTIONS false"
                connection.execute(_statement(closed, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(postgres: PostgresServer, database_template: str) -> Iterator[str]:
    """The SQLAlchemy address (psycopg 3) of a fresh database with the migrated schema."""
    with _fresh_database(postgres, template=database_template) as name:
        yield postgres.url("psycopg", name)


@pytest.fixture(scope="session")
def databases(postgres: PostgresServer, database_template: str) -> Callable[[], AbstractContextManager[str]]:
    """Makes addresses as `database_url` does, for a test that needs many; each ends with its `with`."""

    @contextmanager
    def fresh() -> Iterator[str]:
        with _fresh_database(postgres, template=database_template) as name:
            yield postgres.url("psycopg", name)

    return fresh


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    """The name of a fresh database without any table of ours."""
    with _fresh_database(postgres, template="template1") as name:
        yield name


@pytest.fixture(scope="session")
def peers_python() -> Path:
    """The interpreter that has python-quickbooks and ProPyCore and nothing of ours."""
    python = ROOT / ".venv-peers" / "bin" / "python"
    assert python.exists(), (
        "the peers' environment is missing: `make peers` makes it (`make test` does so too)"
    )
    return python


def _server(postgres: PostgresServer) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(postgres.url("psycopg", "postgres").replace("+psycopg", ""), autocommit=True)


@contextmanager
def _fresh_database(postgres: PostgresServer, *, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with _server(postgres) as connection:
        connection.execute(_statement("CREATE DATABASE {} TEMPLATE {}", name, template))
    yield name
    with _server(postgres) as connection:
        connection.execute(_statement("DROP DATABASE {} WITH (FORCE)", name))


def _statement(text: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))
