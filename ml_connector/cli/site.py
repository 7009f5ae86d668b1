"""An installation on this machine: its home, its database, and what every process of it must find in the environment."""

import os
import shutil
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError

import ml_connector
from ml_connector.errors import SetupError
from ml_connector.settings import (
    DAGSTER_DATABASE_VARIABLE,
    DATABASE_VARIABLE,
    HOME_VARIABLE,
    Home,
    home_from,
)
from ml_connector.store.database import open_engine
from ml_connector.store.key_sources import KeyFile, key_source
from ml_connector.store.keys import make_key_ring
from ml_connector.store.migrate import upgrade
from ml_connector.store.postgres_server import PostgresServer, start_server
from ml_connector.store.rotation import must_have_its_ring
from ml_connector.store.vault import Vault

if TYPE_CHECKING:
    import dagster as dg

SHIPPED_DAGSTER_YAML = Path(ml_connector.__file__).resolve().parent.parent / "dagster.yaml"


@dataclass(frozen=True)
class Site:
    """Where an installation lives. `embedded` when its database is the one of the home."""

    home: Home
    database_url: str
    embedded: bool

    @property
    def dagster_url(self) -> str:
        """The address of Dagster's storage: the same database, always with the driver that Dagster ships."""
        return (
            make_url(self.database_url)
            .set(drivername="postgresql+psycopg2")
            .render_as_string(hide_password=False)
        )

    def environment(self) -> dict[str, str]:
        """What processes of this installation find in their environment."""
        return {
            **os.environ,
            HOME_VARIABLE: str(self.home.root),
            DATABASE_VARIABLE: self.database_url,
            DAGSTER_DATABASE_VARIABLE: self.dagster_url,
            "DAGSTER_HOME": str(self.home.dagster),
        }

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """An engine for our tables, which are made or brought up to date first."""
        upgrade(self.database_url)
        engine = open_engine(self.database_url)
        try:
            yield engine
        finally:
            engine.dispose()


@contextmanager
def open_site() -> Iterator[Site]:
    """The installation that ML_CONNECTOR_HOME names, its database running and this process's environment set.

    Without ML_CONNECTOR_DATABASE_URL the embedded Postgres of the home is started, or shared with whoever started it.
    Raises SetupError, also when there is no installation yet: only `new_site` makes one.
    """
    home = home_from()
    if not home.connections.is_dir():
        raise SetupError(
            f"{home.root} holds no connection yet: `ml-connector init NAME` makes the first, "
            f"or {HOME_VARIABLE} must name another folder"
        )
    with new_site(home) as site:
        yield site


@contextmanager
def new_site(home: Home) -> Iterator[Site]:
    """As `open_site`, for a home that may be empty."""
    given = os.environ.get(DATABASE_VARIABLE, "")
    if not given:
        with embedded_site(home, throw_away=False) as site:
            yield site
        return
    try:
        open_engine(given).dispose()
    except ArgumentError:  # its text would show the password
        raise SetupError(
            f"{DATABASE_VARIABLE} is no database address: postgresql://user@host/database"
        ) from None
    with _entered(Site(home, given, embedded=False)) as site:
        yield site


@contextmanager
def embedded_site(home: Home, *, throw_away: bool) -> Iterator[Site]:
    """An installation on the embedded Postgres of its home; with `throw_away` its data are removed at the end."""
    server: PostgresServer | None = None
    try:
        with undisturbed():
            server = start_server(home.root, durable=not throw_away)
        with _entered(Site(home, server.url("psycopg"), embedded=True)) as site:
            yield site
    finally:
        if server is not None:
            with undisturbed():
                server.discard() if throw_away else server.stop()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block is done: what is half started or half stopped is left behind."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _entered(site: Site) -> Iterator[Site]:
    before = dict(os.environ)
    os.environ.update(site.environment())
    try:
        yield site
    finally:
        os.environ.clear()
        os.environ.update(before)


def prepare(site: Site) -> None:
    """Make or upgrade everything an installation needs; repeatable, and done once before any service starts.

    Dagster's storage is touched here, alone: several first starts at once race for it.
    """
    upgrade(site.database_url)  # first: without a database nothing is made
    home = site.home
    for folder in (home.connections, home.inbox, home.done, home.dagster, home.receiver):
        folder.mkdir(parents=True, exist_ok=True)
    home.receiver.chmod(0o700)
    prepare_keys(site)
    with site.engine() as engine:
        Vault(engine, key_source(home), rescue_folder=home.keys.parent).check()
    if not SHIPPED_DAGSTER_YAML.exists():
        raise SetupError(f"{SHIPPED_DAGSTER_YAML} is missing: install ml-connector from its repository")
    shutil.copyfile(SHIPPED_DAGSTER_YAML, home.dagster / "dagster.yaml")
    with dagster_instance():
        pass


def prepare_keys(site: Site) -> None:
    """Make the key ring of a new installation. Raises SetupError when one is missing that sealed something."""
    source = key_source(site.home)
    with site.engine() as engine:
        must_have_its_ring(engine, source)
    if isinstance(source, KeyFile) and not source.path.exists():
        make_key_ring(source.path)


@contextmanager
def dagster_instance() -> Iterator["dg.DagsterInstance"]:
    """The Dagster instance of the installation whose environment is set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notices of Dagster's about its own preview features
        import dagster as dg

        with dg.DagsterInstance.get() as instance:
            yield instance
