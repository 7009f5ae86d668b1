"""A Postgres of its own for tests that stop, kill and start it again; a commit that it acknowledged outlives kill -9."""

import os
import signal
import uuid
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from ml_connector.store.migrate import upgrade
from ml_connector.store.postgres_cluster import PORT, cluster_of
from ml_connector.store.postgres_process import living_processes, wait_until
from ml_connector.store.postgres_server import PostgresServer, start_server

TEMPLATE = "ml_connector_template"
How = Literal["fast", "immediate", "kill"]
_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
_GONE_SECONDS = 30.0


class ControlledPostgres:
    """A running server below `home`, with a template of our schema. Without fsync: it is not safe from a power cut."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._server: PostgresServer | None = start_server(home, durable=False)
        with self._connected() as db:
            db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        upgrade(self.url(TEMPLATE))

    @property
    def socket(self) -> Path:
        """Its Unix socket, for a proxy before it."""
        return cluster_of(self._home.resolve()).socket_folder / f".s.PGSQL.{PORT}"

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._server is not None, "Postgres is stopped"
        return self._server.pid

    def url(self, database: str) -> str:
        """The SQLAlchemy address (psycopg 3) of a database, which does not change over a restart."""
        return self._running().url("psycopg", database)

    def make_database(self) -> str:
        """The name of a fresh database with our schema, whose commits wait until they are written."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        own = sql.Identifier(name)
        with self._connected() as db:
            db.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(own, sql.Identifier(TEMPLATE)))
            db.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = on").format(own))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected."""
        with self._connected() as db:
            db.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def end_backends(self, database: str, *, but: int = 0) -> int:
        """End every connection to a database except that of process `but`; returns how many there were."""
        ended = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> %s"
        with self._connected() as db:
            return len(db.execute(ended, [database, but]).fetchall())

    def stop(self, how: How = "fast") -> None:
        """Stop the server, or kill it, and wait until all of its processes are gone."""
        server = self._running()
        os.kill(server.pid, _SIGNALS[how])
        data = cluster_of(self._home.resolve()).data
        assert wait_until(lambda: not living_processes(data), seconds=_GONE_SECONDS), f"{data} is still used"
        server.stop()
        self._server = None

    def start(self) -> None:
        """Start it again after `stop`; it recovers what a kill left."""
        if self._server is None:
            self._server = start_server(self._home, durable=False)

    def close(self) -> None:
        """End it and remove its data."""
        self.start()
        self._running().discard()

    def _running(self) -> PostgresServer:
        assert self._server is not None, "Postgres is stopped"
        return self._server

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url("postgres").replace("+psycopg", ""), autocommit=True)
