"""Clients with everything they need: tokens from the vault, limits shared over processes. Imported only when a step runs."""

from sqlalchemy import Engine

from ml_connector.procore.client import ProcoreClient, open_procore
from ml_connector.qbo.client import QboClient, open_qbo
from ml_connector.settings import Connection, Home
from ml_connector.store.key_sources import key_source
from ml_connector.store.vault import Vault
from ml_connector.transport.session import Bounds


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


def _bounds(connection: Connection) -> Bounds:
    return Bounds(patience=connection.timing.patience)
