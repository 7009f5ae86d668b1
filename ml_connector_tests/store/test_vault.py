"""The vault: nothing readable in the database, nothing that opens elsewhere, one renewal at a time."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from ml_connector.errors import SetupError
from ml_connector.store.database import open_engine
from ml_connector.store.keys import KeyRing, load_key_ring, make_key_ring
from ml_connector.store.tables import vault as vault_table
from ml_connector.store.vault import Credentials, State, Vault

ISSUED = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
SET = Credentials(
    "canary-id",
    "canary-secret",
    refresh_token="canary-refresh",
    access_token="canary-access",
    access_issued_at=ISSUED,
    access_expires_at=ISSUED,
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return make_key_ring(tmp_path / "keys" / "ring.json")


@pytest.fixture
def vault(engine: Engine, ring: KeyRing, tmp_path: Path) -> Vault:
    return Vault(engine, ring, rescue_folder=tmp_path / "rescue")


def test_a_set_comes_back_as_it_was_put(vault: Vault) -> None:
    vault.put("alpha", "qbo", SET)
    assert vault.get("alpha", "qbo") == (SET, State.CONNECTED)


def test_T5_no_value_can_be_read_in_the_database_or_in_a_repr(vault: Vault, engine: Engine) -> None:
    vault.put("alpha", "qbo", SET)
    with engine.connect() as connection:
        stored = repr(connection.execute(select(vault_table)).all())
    assert "canary" not in stored
    assert "canary" not in repr(SET)
    assert "canary" not in repr(vault.get("alpha", "qbo"))


@pytest.mark.parametrize("moved", [{"connection": "beta"}, {"system": "procore"}])
def test_T9_a_row_moved_to_another_connection_or_system_does_not_open(
    vault: Vault, engine: Engine, moved: dict[str, str]
) -> None:
    vault.put("alpha", "qbo", SET)
    with engine.begin() as connection:
        connection.execute(update(vault_table).values(**moved))
    with pytest.raises(SetupError, match="do not open"):
        vault.get(moved.get("connection", "alpha"), "procore" if "system" in moved else "qbo")


def test_F26_another_key_does_not_open_it_and_leaves_the_row_as_it_was(
    vault: Vault, engine: Engine, tmp_path: Path
) -> None:
    vault.put("alpha", "qbo", SET)
    stranger = Vault(engine, make_key_ring(tmp_path / "other.json"), rescue_folder=tmp_path / "rescue")
    with pytest.raises(SetupError, match="another one"):
        stranger.get("alpha", "qbo")
    with pytest.raises(SetupError, match="another one"), stranger.locked("alpha", "qbo"):
        pass
    assert vault.get("alpha", "qbo") == (SET, State.CONNECTED)


def test_F26_an_old_key_still_opens_what_it_sealed_and_a_lost_one_is_named(
    vault: Vault, engine: Engine, ring: KeyRing, tmp_path: Path
) -> None:
    vault.put("alpha", "qbo", SET)
    rotated = KeyRing("2", {**ring.keys, "2": bytes(32)})
    assert Vault(engine, rotated, rescue_folder=tmp_path).get("alpha", "qbo")[0] == SET
    with pytest.raises(SetupError, match="no key '1'"):
        Vault(engine, KeyRing("2", {"2": bytes(32)}), rescue_folder=tmp_path).get("alpha", "qbo")


def test_a_set_that_is_not_there_says_what_to_do(vault: Vault) -> None:
    with pytest.raises(SetupError, match="ml-connector connect qbo alpha"):
        vault.get("alpha", "qbo")
    with (
        pytest.raises(SetupError, match="ml-connector connect procore alpha"),
        vault.locked("alpha", "procore"),
    ):
        pass


def test_what_is_written_under_the_lock_stays_unless_the_block_fails(vault: Vault) -> None:
    vault.put("alpha", "qbo", SET)
    newer = replace(SET, access_token="newer")
    with pytest.raises(RuntimeError), vault.locked("alpha", "qbo") as held:
        held.save(newer)
        raise RuntimeError
    assert vault.get("alpha", "qbo")[0] == SET
    with vault.locked("alpha", "qbo") as held:
        held.save(newer)
        held.give_up()
    assert vault.get("alpha", "qbo") == (newer, State.RECONNECT_NEEDED)
    vault.put("alpha", "qbo", SET)
    assert vault.get("alpha", "qbo")[1] is State.CONNECTED


def test_I7_a_second_renewal_waits_for_the_first_and_sees_its_result(vault: Vault) -> None:
    vault.put("alpha", "qbo", SET)
    seen: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with vault.locked("alpha", "qbo") as held:
            seen.append(held.credentials.access_token)

    thread = threading.Thread(target=second)
    thread.start()
    with vault.locked("alpha", "qbo") as held:
        inside.set()
        thread.join(0.3)
        assert seen == []
        held.save(replace(SET, access_token="renewed"))
    thread.join()
    assert seen == ["renewed"]


def test_F22_a_rescued_set_is_adopted_at_the_next_reading(vault: Vault, tmp_path: Path) -> None:
    vault.put("alpha", "qbo", SET)
    with vault.locked("alpha", "qbo") as held:
        found = held.sealed
    newer = replace(SET, refresh_token="canary-newer")
    vault.rescue("alpha", "qbo", newer, found=found)
    (file,) = (tmp_path / "rescue").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"canary" not in file.read_bytes()
    assert vault.get("alpha", "qbo")[0] == newer
    assert list((tmp_path / "rescue").iterdir()) == []


def test_F22_a_rescued_set_never_replaces_a_newer_row(vault: Vault, tmp_path: Path) -> None:
    vault.put("alpha", "qbo", SET)
    with vault.locked("alpha", "qbo") as held:
        found = held.sealed
    newest = replace(SET, refresh_token="newest")
    vault.put("alpha", "qbo", newest)
    vault.rescue("alpha", "qbo", replace(SET, refresh_token="older"), found=found)
    with vault.locked("alpha", "qbo") as held:
        assert held.credentials == newest
    assert list((tmp_path / "rescue").iterdir()) == []


def test_a_damaged_rescue_file_is_not_passed_over(vault: Vault, tmp_path: Path) -> None:
    vault.put("alpha", "qbo", SET)
    (tmp_path / "rescue").mkdir()
    (tmp_path / "rescue" / "alpha.qbo.0.json").write_text("{}")
    with pytest.raises(SetupError, match="damaged"):
        vault.get("alpha", "qbo")


def test_a_new_key_ring_is_for_its_owner_alone_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ring.json"
    ring = make_key_ring(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key_ring(path) == ring
    with pytest.raises(SetupError, match="exists"):
        make_key_ring(path)
    assert load_key_ring(path) == ring


def test_a_key_ring_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    make_key_ring(path)
    path.chmod(0o640)
    with pytest.raises(SetupError, match="chmod 600"):
        load_key_ring(path)


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        json.dumps({"current": "1", "keys": {}}),
        json.dumps({"current": "1", "keys": {"1": "c2hvcnQ="}}),
        json.dumps({"current": "1", "keys": {"1": "not base64!"}}),
        json.dumps({"keys": {}}),
    ],
)
def test_a_file_that_is_no_key_ring_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ring.json"
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(SetupError, match=r"ring\.json"):
        load_key_ring(path)


def test_a_missing_key_ring_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="missing"):
        load_key_ring(tmp_path / "ring.json")
