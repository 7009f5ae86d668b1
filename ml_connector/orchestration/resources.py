"""What runs are given from outside: the store and both vendors' clients. Secrets stay in the vault, never in run config."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from ml_connector.settings import DATABASE_VARIABLE, Connection, Home, load_connection

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from ml_connector.procore.client import ProcoreClient
    from ml_connector.qbo.client import QboClient


class StoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # Dagster's own generic default
    """Home folder and database. The address of the database is read from the environment when a run starts."""

    home: str
    _engine: "Engine | None" = PrivateAttr(default=None)

    def folders(self) -> Home:
        """The home."""
        return Home(Path(self.home))

    def connection(self, name: str) -> Connection:
        """The settings of a connection as they are now."""
        return load_connection(self.folders(), name)

    def engine(self) -> "Engine":
        """The run's engine for our tables; its connections are closed when the run ends."""
        from ml_connector.store.database import open_engine

        if self._engine is None:
            self._engine = open_engine(os.environ[DATABASE_VARIABLE])
        return self._engine

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close what the run had open."""
        if self._engine is not None:
            self._engine.dispose()


class QboResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # as above
    """Opens QBO clients; tokens come from the vault."""

    home: str

    def client(self, connection: Connection, engine: "Engine") -> "QboClient":
        """A client for the connection's company."""
        from ml_connector.orchestration.clients import qbo_client

        return qbo_client(Home(Path(self.home)), connection, engine)


class ProcoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # as above
    """Opens Procore clients; tokens come from the vault."""

    home: str

    def client(self, connection: Connection, engine: "Engine") -> "ProcoreClient":
        """A client for the connection's company."""
        from ml_connector.orchestration.clients import procore_client

        return procore_client(Home(Path(self.home)), connection, engine)
