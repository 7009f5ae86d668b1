"""The credential sets, sealed in the database and bound to their connection and system.

A row moved to another company does not open. What tokens mean and how they are renewed belongs to `tokens.py`
and to the vendors' packages; changing keys to `rotation.py`.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, Select, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from ml_connector import logs
from ml_connector.errors import SetupError
from ml_connector.store import audit
from ml_connector.store.key_sources import GivenKeys, KeySource
from ml_connector.store.keys import KeyRing, Sealed
from ml_connector.store.rescue import Rescued, read_rescued, write_rescued
from ml_connector.store.tables import vault

System = Literal["qbo", "procore"]

SUBJECT = (
    "credentials"  # what audit entries about a set are filed under, with the system in the place of the id
)
_INSTANTS = (
    "access_issued_at",
    "access_expires_at",
    "refresh_issued_at",
    "refresh_expires_at",
    "hard_expires_at",
)
_LOCK_TIMEOUT = "60s"  # a renewal under the lock takes 20 s at most
_KEYS_LOCK = "hashtextextended('ml-connector keys', 0)"


class State(StrEnum):
    """What is known of a grant."""

    CONNECTED = "connected"
    RECONNECT_NEEDED = "reconnect_needed"  # dead: no more calls until a person connects again


@dataclass(frozen=True, repr=False)
class Credentials:
    """One credential set, instants in UTC; "" and None where a system has no such thing. Prints no value.

    `company` is the QuickBooks realm or the Procore company that consented.
    """

    client_id: str
    client_secret: str
    refresh_token: str = ""
    previous_refresh_token: str = ""
    access_token: str = ""
    access_issued_at: datetime | None = None
    access_expires_at: datetime | None = None
    refresh_issued_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    hard_expires_at: datetime | None = None
    company: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"

    @property
    def ends_at(self) -> datetime | None:
        """When the grant ends unless it is renewed or given again; None when it does not."""
        return min(
            (end for end in (self.refresh_expires_at, self.hard_expires_at) if end is not None), default=None
        )


class Held:
    """A credential set under its row lock; what it writes is durable once the lock is let go."""

    def __init__(self, transaction: Connection, row: Row[Any], ring: KeyRing) -> None:
        self._transaction = transaction
        self._row = row
        self._ring = ring
        self.credentials = opened(row, ring)
        self.state = State(row.state)
        self.warned_days: int | None = row.warned_days  # which warning of the end was given; kept by `save`

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
        _note(self._transaction, self._row.connection, "reconnect_needed", self._row.system, actor="system")

    def forget(self, *, by: str) -> None:
        """Remove the set for good."""
        _forget(self._transaction, self._row.connection, self._row.system, by=by)

    def _write(self, credentials: Credentials, state: State) -> None:
        row = sealed_row(self._row.connection, self._row.system, credentials, state, self._ring)
        _upsert(self._transaction, {**row, "warned_days": self.warned_days})
        self.credentials, self.state = credentials, state


class Vault:
    """The stored credential sets, one for each connection and system.

    `keys` is read again whenever something is sealed. `rescue_folder` takes a renewed set, sealed, that the
    database did not take; it is read first the next time.
    """

    def __init__(self, engine: Engine, keys: KeyRing | KeySource, *, rescue_folder: Path) -> None:
        self._engine = engine
        self._keys: KeySource = GivenKeys(keys) if isinstance(keys, KeyRing) else keys
        self._known = self._keys.read()
        self._rescue_folder = rescue_folder

    def put(
        self,
        connection: str,
        system: System,
        credentials: Credentials,
        *,
        by: str = "system",
        discard_unreadable: bool = False,
    ) -> None:
        """Store a set as connected, in place of any that is there.

        A stored set that does not open with today's keys stays as it is, and SetupError is raised, unless
        `discard_unreadable` says that its key is lost.
        """
        with self._engine.begin() as transaction:
            share_keys(transaction)
            self._known = self._keys.read()
            row = transaction.execute(_select(connection, system).with_for_update()).one_or_none()
            if row is not None and not discard_unreadable:
                opened(row, self._known)
            made = sealed_row(connection, system, credentials, State.CONNECTED, self._known)
            _upsert(transaction, {**made, "warned_days": None})
            _note(transaction, connection, "connected", system, actor=by, company=credentials.company)

    def has(self, connection: str, system: System) -> bool:
        """Whether a set is stored, readable or not."""
        with self._engine.connect() as transaction:
            return transaction.execute(_select(connection, system)).one_or_none() is not None

    def get(self, connection: str, system: System) -> tuple[Credentials, State]:
        """The set and its state. Raises SetupError when there is none or it does not open."""
        self._adopt_rescued(connection, system)

        def row() -> Row[Any]:
            with self._engine.connect() as transaction:
                return _one(transaction, _select(connection, system), connection, system)

        found, credentials = self._opened_now(row)
        return credentials, State(found.state)

    def check(self) -> int:
        """How many sets are stored, all of which open. Raises SetupError for the first that does not."""
        with self._engine.connect() as transaction:
            rows = transaction.execute(select(vault).order_by(vault.c.connection, vault.c.system)).all()
        self._known = self._keys.read()
        for row in rows:
            try:
                opened(row, self._known)
            except SetupError as error:
                raise SetupError(
                    f"{row.connection}, {row.system}: {error}. Bring back the key ring that belongs to this database; "
                    f"if it is lost, run `ml-connector connect {row.system} {row.connection} --discard-unreadable`"
                ) from None
        return len(rows)

    @contextmanager
    def locked(self, connection: str, system: System) -> Iterator[Held]:
        """The set under its row lock, for one renewal at a time over all processes; committed at the end.

        An exception inside rolls back. Raises SetupError like `get`, and sqlalchemy's OperationalError
        when the lock does not come within a minute.
        """
        self._adopt_rescued(connection, system)
        with self._engine.begin() as transaction:
            transaction.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
            share_keys(transaction)
            query = _select(connection, system).with_for_update()
            row = _one(transaction, query, connection, system)
            self._known = self._keys.read()
            yield Held(transaction, row, self._known)

    def forget(self, connection: str, system: System, *, by: str) -> bool:
        """Remove a set for good, readable or not; False when there was none."""
        with self._engine.begin() as transaction:
            return _forget(transaction, connection, system, by=by)

    def replace(self, connection: str, system: System, credentials: Credentials, *, found: bytes) -> None:
        """Store a set where the row's sealed text is still `found`; a changed row is newer and stays."""
        with self._engine.begin() as transaction:
            share_keys(transaction)
            row = sealed_row(connection, system, credentials, State.CONNECTED, self._keys.read())
            _replace(transaction, row, found_digest=sha256(found).digest())

    def rescue(self, connection: str, system: System, credentials: Credentials, *, found: bytes) -> None:
        """Keep a renewed set in the rescue folder, for `replace` at the next reading: the last resort."""
        row = sealed_row(connection, system, credentials, State.CONNECTED, self._keys.read())
        kept = Rescued(Sealed(row["key_id"], row["sealed"]), found_digest=sha256(found).digest())
        write_rescued(self._rescue_folder, connection, system, kept)

    def _opened_now(self, row: Callable[[], Row[Any]]) -> tuple[Row[Any], Credentials]:
        """A row and what it says; read again with newer keys when a rotation came in between."""
        found = row()
        try:
            return found, opened(found, self._known)
        except SetupError:
            found, self._known = row(), self._keys.read()
            return found, opened(found, self._known)

    def _adopt_rescued(self, connection: str, system: System) -> None:
        adopt_rescued(self._engine, self._rescue_folder, connection, system)


def adopt_rescued(engine: Engine, folder: Path, connection: str, system: str) -> None:
    """Put renewed sets of the rescue folder into the database, where nothing newer is."""
    for path, kept in read_rescued(folder, connection, system):
        values = _row_values(connection, system, kept.sealed, State.CONNECTED)
        with engine.begin() as transaction:
            _replace(transaction, values, found_digest=kept.found_digest)
        path.unlink(missing_ok=True)


def share_keys(transaction: Connection) -> None:
    """Keep the keys from being rotated until the transaction ends."""
    transaction.execute(text(f"SELECT pg_advisory_xact_lock_shared({_KEYS_LOCK})"))


def claim_keys(transaction: Connection) -> None:
    """Wait until nothing is being sealed, and keep it so until the transaction ends."""
    transaction.execute(text(f"SELECT pg_advisory_xact_lock({_KEYS_LOCK})"))


def _replace(transaction: Connection, row: dict[str, Any], *, found_digest: bytes) -> None:
    transaction.execute(
        update(vault)
        .where(
            vault.c.connection == row["connection"],
            vault.c.system == row["system"],
            func.sha256(vault.c.sealed) == found_digest,
        )
        .values(row)
    )


def _note(
    transaction: Connection, connection: str, event: str, system: str, *, actor: str, **detail: str
) -> None:
    entry = audit.Entry(event, SUBJECT, system, detail)
    audit.append(transaction, connection, [entry], run_id="", actor=actor)


def _forget(transaction: Connection, connection: str, system: str, *, by: str) -> bool:
    gone = transaction.execute(
        delete(vault).where(vault.c.connection == connection, vault.c.system == system)
    )
    if gone.rowcount:
        _note(transaction, connection, "disconnected", system, actor=by)
    return bool(gone.rowcount)


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


def sealed_row(
    connection: str, system: str, credentials: Credentials, state: State, ring: KeyRing
) -> dict[str, Any]:
    """The columns of a set, sealed under the ring's current key."""
    sealed = ring.seal(_packed(credentials), bound_to=_bound_to(connection, system))
    return {**_row_values(connection, system, sealed, state), "ends_at": credentials.ends_at}


def _row_values(connection: str, system: str, sealed: Sealed, state: State) -> dict[str, Any]:
    return {
        "connection": connection,
        "system": system,
        "key_id": sealed.key_id,
        "sealed": sealed.text,
        "state": str(state),
        "updated_at": func.now(),
    }


def opened(row: Row[Any], ring: KeyRing) -> Credentials:
    """The set of a row. Raises SetupError when the ring does not open it."""
    sealed = Sealed(row.key_id, bytes(row.sealed))
    return _unpacked(ring.unseal(sealed, bound_to=_bound_to(row.connection, row.system)))


def _bound_to(connection: str, system: str) -> bytes:
    return json.dumps(["ml-connector credentials", connection, system]).encode()


def _packed(credentials: Credentials) -> bytes:
    _keep_out_of_logs(credentials)
    values = {entry.name: getattr(credentials, entry.name) for entry in fields(Credentials)}
    return json.dumps(values, default=datetime.isoformat).encode()


def _unpacked(content: bytes) -> Credentials:
    values = json.loads(content)
    for name in _INSTANTS:
        if values.get(name) is not None:
            values[name] = datetime.fromisoformat(values[name])
    credentials = Credentials(**values)
    _keep_out_of_logs(credentials)
    return credentials


def _keep_out_of_logs(credentials: Credentials) -> None:
    logs.keep_out(
        [
            credentials.client_secret,
            credentials.refresh_token,
            credentials.previous_refresh_token,
            credentials.access_token,
        ]
    )
