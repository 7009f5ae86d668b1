"""StoredTokens: one renewal for all, durable before use; dead grants remembered, lost commits survived."""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import Engine, text

from ml_connector.errors import ReconnectNeeded, TransientError
from ml_connector.store.database import open_engine
from ml_connector.store.keys import load_key_ring, make_key_ring
from ml_connector.store.tokens import Renewal, StoredTokens
from ml_connector.store.vault import Credentials, State, Vault

START = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
LIFE = timedelta(hours=1)
NEW = Credentials("id", "secret", refresh_token="refresh-0")


@dataclass
class Vendor:
    """A token endpoint: each renewal gives the next access and refresh token; the one used before dies."""

    time: datetime = START
    renewals: int = 0
    trouble: Exception | None = None
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.time

    def renew(self, credentials: Credentials) -> Credentials:
        self.renewals += 1
        if self.trouble is not None:
            raise self.trouble
        if credentials.refresh_token != f"refresh-{self.renewals - 1}":
            raise ReconnectNeeded("invalid_grant", vendor="qbo")
        return replace(
            credentials,
            access_token=f"access-{self.renewals}",
            access_issued_at=self.time,
            access_expires_at=self.time + LIFE,
            refresh_token=f"refresh-{self.renewals}",
            previous_refresh_token=credentials.refresh_token,
        )

    def tokens(self, vault: Vault, ahead: timedelta = timedelta(minutes=5)) -> StoredTokens:
        return StoredTokens(
            vault, "alpha", "qbo", Renewal(self.renew, ahead), now=self.now, pause=self.slept.append
        )


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def vault(engine: Engine, tmp_path: Path) -> Vault:
    made = Vault(engine, make_key_ring(tmp_path / "ring.json"), rescue_folder=tmp_path / "rescue")
    made.put("alpha", "qbo", NEW)
    return made


def test_a_token_is_renewed_five_minutes_ahead_of_its_end(vault: Vault) -> None:
    vendor = Vendor()
    tokens = vendor.tokens(vault)
    assert tokens.current() == "access-1"
    vendor.time += LIFE - timedelta(minutes=5, seconds=1)
    assert tokens.current() == "access-1"
    vendor.time += timedelta(seconds=1)
    assert tokens.current() == "access-2"


def test_a_token_is_renewed_at_four_fifths_of_its_life_when_that_is_later(vault: Vault) -> None:
    vendor = Vendor()
    tokens = vendor.tokens(vault, ahead=timedelta(minutes=30))
    tokens.current()
    vendor.time += LIFE * 4 / 5 - timedelta(seconds=1)
    assert tokens.current() == "access-1"
    vendor.time += timedelta(seconds=1)
    assert tokens.current() == "access-2"


def test_I7_the_renewed_set_is_stored_before_the_token_is_handed_out(vault: Vault) -> None:
    token = Vendor().tokens(vault).current()
    stored, state = vault.get("alpha", "qbo")
    assert (stored.access_token, stored.refresh_token) == (token, "refresh-1")
    assert (stored.previous_refresh_token, state) == ("refresh-0", State.CONNECTED)


def test_another_process_uses_the_token_that_was_renewed_already(vault: Vault) -> None:
    vendor = Vendor()
    first, second = vendor.tokens(vault), vendor.tokens(vault)
    assert first.current() == second.current() == "access-1"
    assert first.renewed("access-1") == "access-2"
    assert second.renewed("access-1") == "access-2"
    assert vendor.renewals == 2


def test_I7_workers_that_meet_at_a_stale_token_renew_it_once(vault: Vault) -> None:
    vendor = Vendor()
    barrier = Barrier(6)
    got: list[str] = []

    def work() -> None:
        tokens = vendor.tokens(vault)
        barrier.wait()
        got.append(tokens.current())

    threads = [Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["access-1"] * 6
    assert vendor.renewals == 1


def test_F23_a_dead_grant_is_remembered_and_nobody_calls_again(vault: Vault) -> None:
    vendor = Vendor(trouble=ReconnectNeeded("invalid_grant", vendor="qbo"))
    for tokens in (vendor.tokens(vault), vendor.tokens(vault)):
        for _ in range(3):
            with pytest.raises(ReconnectNeeded):
                tokens.current()
    assert vendor.renewals == 1
    assert vault.get("alpha", "qbo") == (NEW, State.RECONNECT_NEEDED)


def test_a_new_consent_ends_the_dead_state_for_sources_that_are_open(vault: Vault) -> None:
    vendor = Vendor(trouble=ReconnectNeeded("invalid_grant", vendor="qbo"))
    tokens = vendor.tokens(vault)
    with pytest.raises(ReconnectNeeded):
        tokens.current()
    vendor.trouble = None
    vault.put("alpha", "qbo", replace(NEW, refresh_token="refresh-1"))
    assert tokens.current() == "access-2"


def test_F24_a_busy_token_endpoint_leaves_the_grant_connected_and_is_left_alone_for_a_minute(
    vault: Vault,
) -> None:
    vendor = Vendor(trouble=TransientError("HTTP 503", vendor="qbo"))
    tokens = vendor.tokens(vault)
    for _ in range(3):
        with pytest.raises(TransientError) as caught:
            tokens.current()
        assert caught.value.not_before == START + timedelta(seconds=60)
    assert vendor.renewals == 1
    assert vault.get("alpha", "qbo")[1] is State.CONNECTED
    vendor.time += timedelta(seconds=60)
    vendor.trouble, vendor.renewals = None, 0
    assert tokens.current() == "access-1"


REFUSE_COMMITS = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_terminate_backend(pg_backend_pid());
    RETURN NEW;
END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON ml_connector.vault
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def test_F22_a_token_whose_commit_fails_is_kept_in_a_sealed_file_and_adopted(
    vault: Vault, engine: Engine, tmp_path: Path
) -> None:
    vendor = Vendor()
    with engine.begin() as connection:
        connection.execute(text(REFUSE_COMMITS))
    tokens = vendor.tokens(vault)
    assert tokens.current() == "access-1"  # durable in the file, hence fit for use
    assert vendor.slept == [0.5, 2.0, 5.0]
    assert len(list((tmp_path / "rescue").iterdir())) == 1
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER refuse ON ml_connector.vault"))
    assert vendor.tokens(vault).current() == "access-1"
    assert vault.get("alpha", "qbo")[0].refresh_token == "refresh-1"
    assert vendor.renewals == 1


def test_F22_a_token_whose_commit_fails_once_is_stored_on_a_fresh_connection(
    vault: Vault, engine: Engine, tmp_path: Path
) -> None:
    vendor = Vendor()
    with engine.begin() as connection:
        connection.execute(text(REFUSE_COMMITS))

    def heal(seconds: float) -> None:
        with engine.begin() as connection:
            connection.execute(text("DROP TRIGGER IF EXISTS refuse ON ml_connector.vault"))

    tokens = StoredTokens(
        vault, "alpha", "qbo", Renewal(vendor.renew, timedelta(minutes=5)), now=vendor.now, pause=heal
    )
    assert tokens.current() == "access-1"
    assert not (tmp_path / "rescue").exists()
    assert vault.get("alpha", "qbo")[0].refresh_token == "refresh-1"


RENEWERS, SHORT_LIFE, FOR_SECONDS = 4, timedelta(seconds=0.5), 3.0


@pytest.mark.processes
def test_F20_processes_that_share_a_single_use_token_never_lose_it(
    vault: Vault, engine: Engine, database_url: str, tmp_path: Path
) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE used (token text PRIMARY KEY)"))
    with ProcessPoolExecutor(RENEWERS, multiprocessing.get_context("spawn")) as pool:
        reads = sum(pool.map(_renew_for_a_while, [database_url] * RENEWERS, [str(tmp_path)] * RENEWERS))
    with engine.connect() as connection:
        used = connection.execute(text("SELECT count(*) FROM used")).scalar_one()
    assert used >= 3
    assert reads > used
    assert vault.get("alpha", "qbo")[1] is State.CONNECTED


def _renew_for_a_while(url: str, folder: str) -> int:
    """How often a token was handed out. One that is used twice breaks the primary key, and so the test."""
    engine = open_engine(url)
    vault = Vault(engine, load_key_ring(Path(folder) / "ring.json"), rescue_folder=Path(folder) / "rescue")

    def renew(credentials: Credentials) -> Credentials:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO used VALUES (:token)"), {"token": credentials.refresh_token})
        now = datetime.now(UTC)
        return replace(
            credentials,
            refresh_token=f"{now.timestamp()}",
            access_token=f"access {now.timestamp()}",
            access_issued_at=now,
            access_expires_at=now + SHORT_LIFE,
        )

    tokens = StoredTokens(vault, "alpha", "qbo", Renewal(renew, timedelta(minutes=5)))
    ends, reads = time.monotonic() + FOR_SECONDS, 0
    while time.monotonic() < ends:
        tokens.current()
        reads += 1
        time.sleep(0.01)
    engine.dispose()
    return reads
