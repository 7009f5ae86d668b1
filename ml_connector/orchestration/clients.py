"""Clients with everything they need: tokens from the vault, limits shared over processes. Imported only when a step runs."""

from sqlalchemy import Engine

from ml_connector.procore.client import ProcoreClient, open_procore
from ml_connector.qbo.client import QboClient, open_qbo
from ml_connector.settings import Connection, Home
from ml_connector.store.keys import load_key_ring
from ml_connector.store.vault import Vault


def vault_of(home: Home, engine: Engine) -> Vault:
    """The credential sets of the home. Raises SetupError when the key ring is missing or open to others."""
    return Vault(engine, load_key_ring(home.keys), rescue_folder=home.keys.parent)


def qbo_client(home: Home, connection: Connection, engine: Engine) -> QboClient:
    """A client for the connection's QuickBooks company."""
    return open_qbo(connection, engine=engine, vault=vault_of(home, engine))


def procore_client(home: Home, connection: Connection, engine: Engine) -> ProcoreClient:
    """A client for the connection's Procore company."""
    return open_procore(connection, engine=engine, vault=vault_of(home, engine))
