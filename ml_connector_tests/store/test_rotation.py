"""S119 and F26: keys that change while everything runs, and what is left to a thief or to a person without a key."""

import multiprocessing
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ml_connector.errors import SetupError
from ml_connector.settings import KEYS_COMMAND_VARIABLE, KEYS_FILE_VARIABLE, KEYS_VARIABLE, Home
from ml_connector.store.database import open_engine
from ml_connector.store.key_sources import KeyCommand, KeyFile, KeyVariable, key_source
from ml_connector.store.keys import load_key_ring, make_key_ring, new_key_ring
from ml_connector.store.rotation import must_have_its_ring, rotate
from ml_connector.store.tokens import Renewal, StoredTokens
from ml_connector.store.vault import Credentials, State, System, Vault

SET = Credentials(
    "canary-id",
    "canary-secret",
    refresh_token="canary-refresh",
    previous_refresh_token="canary-previous",
    access_token="canary-access",
    company="9341450000000001",
)
SECRETS = ("canary-id", "canary-secret", "canary-refresh", "canary-previous", "canary-access", "canary-next")
CONNECTIONS: list[tuple[str, System]] = [("alpha", "qbo"), ("alpha", "procore"), ("beta", "qbo")]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def ring_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "ring.json"
    make_key_ring(path)
    return path


@pytest.fixture
def vault(engine: Engine, ring_file: Path) -> Vault:
    made = Vault(engine, KeyFile(ring_file), rescue_folder=ring_file.parent)
    for connection, system in CONNECTIONS:
        made.put(connection, system, SET)
    return made


def sealed(engine: Engine) -> list[bytes]:
    with engine.connect() as db:
        rows = db.scalars(text("select sealed from ml_connector.vault order by connection, system"))
        return [bytes(row) for row in rows]


def test_F26_a_rotation_seals_every_set_anew_and_removes_the_old_key(
    vault: Vault, engine: Engine, ring_file: Path
) -> None:
    before, old = sealed(engine), load_key_ring(ring_file)
    done = rotate(engine, KeyFile(ring_file), rescue_folder=ring_file.parent, by="tester")
    assert (done.sets, done.removed) == (3, (old.current,))
    ring = load_key_ring(ring_file)
    assert list(ring.keys) == [done.key_id] == [ring.current]
    assert ring_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in ring_file.parent.iterdir()] == [ring_file.name]
    assert not set(before) & set(sealed(engine))
    for connection, system in CONNECTIONS:
        assert vault.get(connection, system) == (
            SET,
            State.CONNECTED,
        )  # a worker that knew the old ring alone
    with pytest.raises(SetupError, match="no key"):
        Vault(engine, old, rescue_folder=ring_file.parent).get("alpha", "qbo")
    with engine.connect() as db:
        recorded = "select connection, qbo_id, actor from ml_connector.audit where event = 'key_rotated' order by 1, 2"
        assert [tuple(row) for row in db.execute(text(recorded))] == [
            ("alpha", "procore", "tester"),
            ("alpha", "qbo", "tester"),
            ("beta", "qbo", "tester"),
        ]


def test_F26_a_rotation_keeps_what_is_known_of_a_grant(vault: Vault, engine: Engine, ring_file: Path) -> None:
    end = datetime(2031, 5, 20, tzinfo=UTC)
    vault.put("alpha", "qbo", replace(SET, hard_expires_at=end))
    with vault.locked("alpha", "qbo") as held:
        held.give_up()
    rotate(engine, KeyFile(ring_file), rescue_folder=ring_file.parent, by="tester")
    assert vault.get("alpha", "qbo") == (replace(SET, hard_expires_at=end), State.RECONNECT_NEEDED)
    with engine.connect() as db:
        assert db.scalar(text("select max(ends_at) from ml_connector.vault")) == end


def test_F26_a_wrong_ring_rotates_nothing_and_overwrites_nothing(
    vault: Vault, engine: Engine, tmp_path: Path
) -> None:
    before = sealed(engine)
    wrong = tmp_path / "wrong" / "ring.json"
    make_key_ring(wrong)
    content = wrong.read_bytes()
    with pytest.raises(SetupError, match="another one"):
        rotate(engine, KeyFile(wrong), rescue_folder=tmp_path / "rescue", by="tester")
    stranger = Vault(engine, KeyFile(wrong), rescue_folder=tmp_path / "rescue")
    with pytest.raises(SetupError, match="another one"):
        stranger.put("alpha", "qbo", SET)
    with pytest.raises(SetupError, match=r"alpha, procore: .* --discard-unreadable"):
        stranger.check()
    assert (sealed(engine), wrong.read_bytes()) == (before, content)
    stranger.put("alpha", "qbo", SET, discard_unreadable=True)
    assert stranger.get("alpha", "qbo")[0] == SET


def test_F26_a_set_that_waits_in_the_rescue_folder_survives_a_rotation(
    vault: Vault, engine: Engine, ring_file: Path
) -> None:
    with vault.locked("alpha", "qbo") as held:
        found = held.sealed
    newer = replace(SET, refresh_token="canary-newer")
    vault.rescue("alpha", "qbo", newer, found=found)
    rotate(engine, KeyFile(ring_file), rescue_folder=ring_file.parent, by="tester")
    assert vault.get("alpha", "qbo")[0] == newer


def test_F26_a_lost_ring_is_not_silently_replaced(vault: Vault, engine: Engine, ring_file: Path) -> None:
    must_have_its_ring(engine, KeyFile(ring_file))
    ring_file.unlink()
    with pytest.raises(SetupError, match="is missing, and 3 credential sets"):
        must_have_its_ring(engine, KeyFile(ring_file))


def test_S119_T5_a_dump_without_the_key_holds_no_secret(
    vault: Vault, engine: Engine, ring_file: Path
) -> None:
    with vault.locked("alpha", "qbo") as held:
        held.save(replace(SET, refresh_token="canary-next"))
    rotate(engine, KeyFile(ring_file), rescue_folder=ring_file.parent, by="tester")
    lines: list[str] = []
    with engine.connect() as db:
        tables = db.scalars(text("select tablename from pg_tables where schemaname = 'ml_connector'")).all()
        for table in tables:
            rows = db.scalars(text(f'select t::text from ml_connector."{table}" t'))
            lines.extend(rows)  # what pg_dump writes: bytes as hex
    dump = "\n".join(lines)
    assert dump.count("\\\\x") >= 3
    kept = load_key_ring(ring_file)
    for secret in SECRETS:
        for form in (secret, secret.encode().hex(), b64encode(secret.encode()).decode()):
            assert form not in dump
    for key in kept.keys.values():
        assert key.hex() not in dump
        assert b64encode(key).decode() not in dump


def test_a_ring_comes_from_a_file_the_environment_or_a_command(tmp_path: Path) -> None:
    ring, home = new_key_ring(), Home(tmp_path)
    place = tmp_path / "elsewhere.json"
    place.touch(0o600)
    place.write_text(ring.written())
    for given, kind in (
        ({KEYS_VARIABLE: ring.written()}, KeyVariable),
        ({KEYS_FILE_VARIABLE: str(place)}, KeyFile),
        ({KEYS_COMMAND_VARIABLE: f"cat {place}"}, KeyCommand),
    ):
        source = key_source(home, given)
        assert isinstance(source, kind)
        assert source.read() == ring
    assert key_source(home, {}) == KeyFile(home.keys)
    with pytest.raises(SetupError, match="one place"):
        key_source(home, {KEYS_VARIABLE: "x", KEYS_FILE_VARIABLE: "y"})


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sh -c 'echo canary-key; exit 3'", "ended with code 3"),
        ("/nowhere/client", "cannot be run"),
        ("echo canary-key", "is not a key ring"),
        ("'unclosed", "cannot be run"),
    ],
)
def test_a_command_that_gives_no_ring_is_one_sentence_without_what_it_printed(
    command: str, told: str
) -> None:
    with pytest.raises(SetupError, match=told) as caught:
        KeyCommand(command).read()
    assert "canary" not in str(caught.value)


def test_a_ring_out_of_the_environment_is_rotated_where_it_is_kept_and_its_current_key_seals(
    engine: Engine, tmp_path: Path
) -> None:
    ring = new_key_ring()
    environment = {KEYS_VARIABLE: ring.written()}
    source = key_source(Home(tmp_path), environment)
    Vault(engine, source, rescue_folder=tmp_path).put("alpha", "qbo", SET)
    assert rotate(engine, source, rescue_folder=tmp_path, by="tester").sets == 0
    newer = ring.with_new_key()
    environment[KEYS_VARIABLE] = newer.written()
    done = rotate(engine, source, rescue_folder=tmp_path, by="tester")
    assert (done.key_id, done.sets, done.removed) == (newer.current, 1, ())
    only = newer.with_only(set())
    assert Vault(engine, only, rescue_folder=tmp_path).get("alpha", "qbo")[0] == SET


WORKERS, ROTATIONS, FOR_SECONDS = 4, 4, 4.0


@pytest.mark.processes
def test_S119_F26_keys_are_rotated_while_four_workers_renew_and_nobody_fails(
    vault: Vault, engine: Engine, ring_file: Path, database_url: str, measured: Callable[[str], None]
) -> None:
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        working = [pool.submit(_renew_for_a_while, database_url, str(ring_file)) for _ in range(WORKERS)]
        first = ring_file.with_name("begun")
        deadline = time.monotonic() + 60
        while not first.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        sets = 0
        for _ in range(ROTATIONS):
            sets += rotate(engine, KeyFile(ring_file), rescue_folder=ring_file.parent, by="tester").sets
            time.sleep(0.3)
        renewals = sum(future.result() for future in working)
    ring = load_key_ring(ring_file)
    assert (sets, len(ring.keys)) == (ROTATIONS * len(CONNECTIONS), 1)
    assert renewals > ROTATIONS
    credentials, state = vault.get("alpha", "qbo")
    assert state is State.CONNECTED
    assert vault.check() == len(CONNECTIONS)
    assert int(credentials.refresh_token.removeprefix("refresh-")) == renewals  # not one of them was lost
    measured(f"F26 {sets} sets sealed anew in {ROTATIONS} rotations, {renewals} renewals meanwhile, 0 failed")


def _renew_for_a_while(url: str, ring_file: str) -> int:
    """How many renewals this worker made; each counts the stored refresh token up by one."""
    engine = open_engine(url)
    path, renewals = Path(ring_file), 0
    vault = Vault(engine, KeyFile(path), rescue_folder=path.parent)

    def renew(credentials: Credentials) -> Credentials:
        nonlocal renewals
        renewals += 1
        count = int(credentials.refresh_token.removeprefix("refresh-").replace("canary-refresh", "0"))
        now = datetime.now(UTC)
        return replace(
            credentials,
            refresh_token=f"refresh-{count + 1}",
            access_token=f"access-{count + 1}",
            access_issued_at=now,
            access_expires_at=now + timedelta(milliseconds=50),
        )

    tokens = StoredTokens(vault, "alpha", "qbo", Renewal(renew, timedelta(minutes=5)))
    tokens.current()
    path.with_name("begun").touch()
    ends = time.monotonic() + FOR_SECONDS
    while time.monotonic() < ends:
        tokens.current()
        time.sleep(0.005)
    engine.dispose()
    return renewals
