"""Clients with everything they need: tokens from the vault, limits shared over processes. Imported only when a step runs."""

from contextlib import closing

from sqlalchemy import Engine

from ml_connector.procore.client import ProcoreClient, open_procore
from ml_connector.qbo.client import QboClient, open_qbo
from ml_connector.settings import Connection, Home
from ml_connector.store.key_sources import key_source
from ml_connector.store.vault import System, Vault
from ml_connector.transport.session import Bounds
from ml_connector.transport.wire import Timeouts

PROBE_SECONDS = 15.0  # a tick of a sensor may last a minute


def vault_of(home: Home, engine: Engine) -> Vault:
    """The credential sets of the home. Raises SetupError when the key ring is missing or open to others."""
    return Vault(engine, key_source(home), rescue_folder=home.keys.parent)


def qbo_client(
    home: Home,
    connection: Connection,
    engine: Engine,
    *,
    bounds: Bounds | None = None,
) -> QboClient:
    """A client for the connection's QuickBooks company; as patient as its settings say, unless `bounds` are given."""
    return open_qbo(
        connection, engine=engine, vault=vault_of(home, engine), bounds=bounds or _bounds(connection)
    )


def procore_client(
    home: Home,
    connection: Connection,
    engine: Engine,
    *,
    bounds: Bounds | None = None,
) -> ProcoreClient:
    """A client for the connection's Procore company; as patient as its settings say, unless `bounds` are given."""
    return open_procore(
        connection, engine=engine, vault=vault_of(home, engine), bounds=bounds or _bounds(connection)
    )


def probe(home: Home, connection: Connection, engine: Engine, system: System) -> None:
    """Ask a vendor that was away for next to nothing; raises what a call raises, at the latest after a deadline."""
    bounds = Bounds(timeouts=Timeouts(connect=5.0, read=10.0, total=PROBE_SECONDS), patience=0.0)
    if system == "qbo":
        with closing(qbo_client(home, connection, engine, bounds=bounds)) as qbo:
            qbo.company_info()
    else:
        with closing(procore_client(home, connection, engine, bounds=bounds)) as procore:
            procore.get("/rest/v1.0/me")


def _bounds(connection: Connection) -> Bounds:
    return Bounds(patience=connection.timing.patience)
