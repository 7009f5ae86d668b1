"""The credential sets, sealed in the database and bound to their connection and system.

A row moved to another company does not open. What tokens mean and how they are renewed belongs to `tokens.py`
and to the vendors' packages.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, Select, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from ml_connector.errors import SetupError
from ml_connector.store.keys import KeyRing, Sealed
from ml_connector.store.rescue import Rescued, read_rescued, write_rescued
from ml_connector.store.tables import vault

System = Literal["qbo", "procore"]

_INSTANTS = ("access_issued_at", "access_expires_at", "refresh_issued_at", "hard_expires_at")
_LOCK_TIMEOUT = "60s"  # a renewal under the lock takes 20 s at most


class State(StrEnum):
    """What is known of a grant."""

    CONNECTED = "connected"
    RECONNECT_NEEDED = "reconnect_needed"  # dead: no more calls until a person connects again


@dataclass(frozen=True, repr=False)
class Credentials:
    """One credential set, instants in UTC; "" and None where a system has no such thing. Prints no value."""

    client_id: str
    client_secret: str
    refresh_token: str = ""
    previous_refresh_token: str = ""
    access_token: str = ""
    access_issued_at: datetime | None = None
    access_expires_at: datetime | None = None
    refresh_issued_at: datetime | None = None
    hard_expires_at: datetime | None = None

    def __repr__(self) -> str:
        return "Credentials(...)"


class Held:
    """A credential set under its row lock; what it writes is durable once the lock is let go."""

    def __init__(self, transaction: Connection, row: Row[Any], ring: KeyRing) -> None:
        self._transaction = transaction
        self._row = row
        self._ring = ring
        self.credentials = _opened(row, ring)
        self.state = State(row.state)

    @property
    def sealed(self) -> bytes:
        """The sealed text as it was found: tells later whether the row is still the same."""
        return bytes(self._row.sealed)

    def save(self, credentials: Credentials) -> None:
        """Put `credentials` in the place of the set; the grant counts as connected."""
        self._write(credentials, State.CONNECTED)

    def give_up(self) -> None:
        """The grant is dead: a person must connect again."""
        self._write(self.credentials, State.RECONNECT_NEEDED)

    def _write(self, credentials: Credentials, state: State) -> None:
        row = _sealed_row(self._row.connection, self._row.system, credentials, state, self._ring)
        _upsert(self._transaction, row)
        self.credentials, self.state = credentials, state


class Vault:
    """The stored credential sets, one for each connection and system.

    `rescue_folder` takes a renewed set, sealed, that the database did not take; it is read first the next
    time.
    """

    def __init__(self, engine: Engine, ring: KeyRing, *, rescue_folder: Path) -> None:
        self._engine = engine
        self._ring = ring
        self._rescue_folder = rescue_folder

    def put(self, connection: str, system: System, credentials: Credentials) -> None:
        """Store a set as connected, in place of any that is there."""
        with self._engine.begin() as transaction:
            _upsert(transaction, _sealed_row(connection, system, credentials, State.CONNECTED, self._ring))

    def get(self, connection: str, system: System) -> tuple[Credentials, State]:
        """The set and its state. Raises SetupError when there is none or it does not open."""
        self._adopt_rescued(connection, system)
        with self._engine.connect() as transaction:
            row = _one(transaction, _select(connection, system), connection, system)
        return _opened(row, self._ring), State(row.state)

    @contextmanager
    def locked(self, connection: str, system: System) -> Iterator[Held]:
        """The set under its row lock, for one renewal at a time over all processes; committed at the end.

        An exception inside rolls back. Raises SetupError like `get`, and sqlalchemy's OperationalError
        when the lock does not come within a minute.
        """
        self._adopt_rescued(connection, system)
        with self._engine.begin() as transaction:
            transaction.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
            query = _select(connection, system).with_for_update()
            yield Held(transaction, _one(transaction, query, connection, system), self._ring)

    def replace(self, connection: str, system: System, credentials: Credentials, *, found: bytes) -> None:
        """Store a set where the row's sealed text is still `found`; a changed row is newer and stays."""
        row = _sealed_row(connection, system, credentials, State.CONNECTED, self._ring)
        self._replace(row, found_digest=sha256(found).digest())

    def rescue(self, connection: str, system: System, credentials: Credentials, *, found: bytes) -> None:
        """Keep a renewed set in the rescue folder, for `replace` at the next reading: the last resort."""
        row = _sealed_row(connection, system, credentials, State.CONNECTED, self._ring)
        kept = Rescued(Sealed(row["key_id"], row["sealed"]), found_digest=sha256(found).digest())
        write_rescued(self._rescue_folder, connection, system, kept)

    def _adopt_rescued(self, connection: str, system: System) -> None:
        for path, kept in read_rescued(self._rescue_folder, connection, system):
            values = _row_values(connection, system, kept.sealed, State.CONNECTED)
            self._replace(values, found_digest=kept.found_digest)
            path.unlink(missing_ok=True)

    def _replace(self, row: dict[str, Any], *, found_digest: bytes) -> None:
        with self._engine.begin() as transaction:
            transaction.execute(
                update(vault)
                .where(
                    vault.c.connection == row["connection"],
                    vault.c.system == row["system"],
                    func.sha256(vault.c.sealed) == found_digest,
                )
                .values(row)
            )


def _select(connection: str, system: System) -> Select[Any]:
    return select(vault).where(vault.c.connection == connection, vault.c.system == system)


def _one(transaction: Connection, query: Select[Any], connection: str, system: System) -> Row[Any]:
    row = transaction.execute(query).one_or_none()
    if row is None:
        raise SetupError(
            f"{connection} has no {system} credentials: run `ml-connector connect {system} {connection}`"
        )
    return row


def _upsert(transaction: Connection, row: dict[str, Any]) -> None:
    statement = insert(vault).values(row)
    transaction.execute(
        statement.on_conflict_do_update(index_elements=[vault.c.connection, vault.c.system], set_=row)
    )


def _sealed_row(
    connection: str, system: str, credentials: Credentials, state: State, ring: KeyRing
) -> dict[str, Any]:
    sealed = ring.seal(_packed(credentials), bound_to=_bound_to(connection, system))
    return _row_values(connection, system, sealed, state)


def _row_values(connection: str, system: str, sealed: Sealed, state: State) -> dict[str, Any]:
    return {
        "connection": connection,
        "system": system,
        "key_id": sealed.key_id,
        "sealed": sealed.text,
        "state": str(state),
        "updated_at": func.now(),
    }


def _opened(row: Row[Any], ring: KeyRing) -> Credentials:
    sealed = Sealed(row.key_id, bytes(row.sealed))
    return _unpacked(ring.unseal(sealed, bound_to=_bound_to(row.connection, row.system)))


def _bound_to(connection: str, system: str) -> bytes:
    return json.dumps(["ml-connector credentials", connection, system]).encode()


def _packed(credentials: Credentials) -> bytes:
    values = {entry.name: getattr(credentials, entry.name) for entry in fields(Credentials)}
    return json.dumps(values, default=datetime.isoformat).encode()


def _unpacked(content: bytes) -> Credentials:
    values = json.loads(content)
    for name in _INSTANTS:
        if values.get(name) is not None:
            values[name] = datetime.fromisoformat(values[name])
    return Credentials(**values)
