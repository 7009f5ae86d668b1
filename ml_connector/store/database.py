"""One way to the database: an engine from a URL, always psycopg 3, with limits that free locks of vanished hosts."""

from sqlalchemy import Engine, create_engine, make_url

from ml_connector.errors import SetupError

# The server's own look at us: without it the claims of a machine that lost its power would stand for two hours.
_VANISHED = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"


def open_engine(url: str) -> Engine:
    """An engine for our own tables. Raises SetupError when `url` is no Postgres address.

    Whatever driver the address names, psycopg 3 is used; Dagster's storage keeps psycopg2 by an address of its own.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise SetupError(
            "ML_CONNECTOR_DATABASE_URL must be a Postgres address: postgresql://user@host/database"
        )
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=2,
        max_overflow=8,
        pool_pre_ping=True,
        hide_parameters=True,  # an error that is shown must not hold the record that it was about
        connect_args={
            "options": f"-c idle_in_transaction_session_timeout=180s -c timezone=UTC {_VANISHED}",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )
