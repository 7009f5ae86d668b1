"""Changing the key of the vault while everything runs: a new key, every set sealed anew, the old key gone.

Nobody seals while the sets change over; who reads meanwhile finds either key in the ring.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select, update

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import SetupError
from ml_connector.store import audit
from ml_connector.store.key_sources import KeyFile, KeySource
from ml_connector.store.keys import KeyRing
from ml_connector.store.rescue import rescued_keys
from ml_connector.store.tables import vault
from ml_connector.store.vault import SUBJECT, State, adopt_rescued, claim_keys, opened, sealed_row


@dataclass(frozen=True)
class Rotated:
    """What a rotation did: the key that seals from now on, how many sets it sealed anew, which keys are gone."""

    key_id: str
    sets: int
    removed: tuple[str, ...]


def rotate(engine: Engine, source: KeySource, *, rescue_folder: Path, by: str) -> Rotated:
    """Seal every set under a new key and take the old ones out of the ring's file.

    A ring out of the environment or a command is not ours to write: its current key is taken as the new one. Raises
    SetupError, and nothing has changed, when a set does not open.
    """
    with engine.connect() as db:
        stored = db.execute(select(vault.c.connection, vault.c.system)).all()
    for row in stored:
        adopt_rescued(engine, rescue_folder, row.connection, row.system)
    with engine.begin() as transaction:
        claim_keys(transaction)
        ring = source.read()
        _must_open(transaction, ring)
        if isinstance(source, KeyFile):
            ring = ring.with_new_key()
            source.write(ring)  # before the sets: who reads one that is sealed anew finds its key
        sets = _reseal(transaction, ring, by=by)
    with engine.begin() as transaction:
        claim_keys(transaction)
        return Rotated(ring.current, sets, _without_unused(transaction, source, rescue_folder))


def _must_open(transaction: Connection, ring: KeyRing) -> None:
    for row in transaction.execute(select(vault)):
        opened(row, ring)


def _reseal(transaction: Connection, ring: KeyRing, *, by: str) -> int:
    rows = transaction.execute(
        select(vault).where(vault.c.key_id != ring.current).order_by(*vault.primary_key).with_for_update()
    ).all()
    for row in rows:
        made = sealed_row(row.connection, row.system, opened(row, ring), State(row.state), ring)
        transaction.execute(
            update(vault)
            .where(vault.c.connection == row.connection, vault.c.system == row.system)
            .values(key_id=made["key_id"], sealed=made["sealed"], updated_at=func.now())
        )
        crashpoint("K12")
    for row in rows:
        entry = audit.Entry("key_rotated", SUBJECT, row.system, {"from": row.key_id, "to": ring.current})
        audit.append(transaction, row.connection, [entry], run_id="", actor=by)
    return len(rows)


def _without_unused(transaction: Connection, source: KeySource, rescue_folder: Path) -> tuple[str, ...]:
    if not isinstance(source, KeyFile):
        return ()
    ring = source.read()
    used = set(transaction.scalars(select(vault.c.key_id))) | rescued_keys(rescue_folder)
    kept = ring.with_only(used)
    removed = tuple(sorted(set(ring.keys) - set(kept.keys)))
    if removed:
        source.write(kept)
    return removed


def must_have_its_ring(engine: Engine, source: KeySource) -> None:
    """Raises SetupError when sets are stored and the file of their key ring is gone: a new one would not open them."""
    if not isinstance(source, KeyFile) or source.path.exists():
        return
    with engine.connect() as db:
        stored = db.scalar(select(func.count()).select_from(vault)) or 0
    if stored:
        raise SetupError(
            f"the key ring {source.path} is missing, and {stored} credential sets in the database are sealed with it: "
            "put the file back from its backup; if it is lost for good, make a new one with `ml-connector keys make` "
            "and connect every company again with --discard-unreadable"
        )
