"""The reading cursor and the claims around it."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from ml_connector.store import cursor
from ml_connector.store.claims import claim
from ml_connector.store.database import open_engine

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


def move(engine: Engine, to: datetime, connection: str = "acme") -> None:
    with engine.begin() as db:
        cursor.move(db, connection, to)


def stands(engine: Engine, connection: str = "acme") -> tuple[datetime | None, datetime | None]:
    with engine.connect() as db:
        return cursor.read_to(db, connection), cursor.went_live(db, connection)


def test_there_is_no_cursor_before_the_first_load(engine: Engine) -> None:
    assert stands(engine) == (None, None)


def test_the_cursor_moves_forward_only_and_the_go_live_stays(engine: Engine) -> None:
    move(engine, NOON)
    move(engine, NOON + timedelta(hours=1))
    move(engine, NOON - timedelta(hours=1))
    assert stands(engine) == (NOON + timedelta(hours=1), NOON)


def test_S117_each_connection_has_its_own_cursor(engine: Engine) -> None:
    move(engine, NOON)
    assert stands(engine, "other") == (None, None)


def test_a_cursor_keeps_its_microseconds(engine: Engine) -> None:
    exact = NOON + timedelta(microseconds=123456)
    move(engine, exact)
    assert stands(engine)[0] == exact


def test_S106_a_claim_is_held_by_one_and_the_next_waits_for_its_end(engine: Engine) -> None:
    order: list[str] = []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with claim(engine, "read:acme"):
            inside.set()
            assert leave.wait(30)
            order.append("first")

    def second() -> None:
        with claim(engine, "read:acme"):
            order.append("second")

    holder, waiter = threading.Thread(target=first), threading.Thread(target=second)
    holder.start()
    assert inside.wait(30)
    waiter.start()
    with claim(engine, "read:other"):
        order.append("another connection")
    leave.set()
    holder.join(30)
    waiter.join(30)
    assert order == ["another connection", "first", "second"]


def test_a_claim_ends_with_an_error(engine: Engine) -> None:
    with pytest.raises(RuntimeError), claim(engine, "read:acme"):
        raise RuntimeError("killed")
    with claim(engine, "read:acme"):
        pass
