"""The breaker row: shared by processes, one probe a minute, closed by any answer."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text, update

from ml_connector.store.breaker import ATTEMPTS, PostgresBreaker, outages
from ml_connector.store.database import open_engine
from ml_connector.store.tables import breaker as breaker_table


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


def breaker(engine: Engine, connection: str = "acme", system: str = "procore") -> PostgresBreaker:
    return PostgresBreaker(engine, connection, system)


def opened(engine: Engine) -> PostgresBreaker:
    """A breaker after an outage of five calls."""
    found = breaker(engine)
    assert [found.silent("HTTP 503", first=True) for _ in range(ATTEMPTS)] == [False] * 4 + [True]
    return found


def minute_passes(engine: Engine) -> None:
    with engine.begin() as db:
        back = breaker_table.c.open_until - timedelta(seconds=60)
        db.execute(update(breaker_table).values(open_until=back))


def test_five_calls_in_a_row_without_an_answer_stop_every_process(engine: Engine) -> None:
    opened(engine)
    assert 55 < breaker(engine).wait() <= 60
    with engine.connect() as db:
        (outage,) = outages(db, "acme")
    assert (outage.system, outage.reason) == ("procore", "HTTP 503")


def test_one_call_that_is_tried_often_is_no_outage(engine: Engine) -> None:
    found = breaker(engine)
    for attempt in range(20):
        assert not found.silent("no answer", first=attempt in (0, 10))
    assert found.wait() == 0.0
    assert found.silent("no answer", first=True), "the third call that finds nobody"


def test_any_answer_in_between_begins_the_count_anew(engine: Engine) -> None:
    found = breaker(engine)
    for _ in range(3):
        for _ in range(ATTEMPTS - 1):
            assert not found.silent("HTTP 500", first=True)
        assert found.wait() == 0.0
        found.answered()
    with engine.connect() as db:
        assert outages(db, "acme") == []


def test_an_answer_closes_it_for_all_even_one_that_comes_from_another_process(engine: Engine) -> None:
    opened(engine)
    other = breaker(engine)
    assert other.wait() > 0
    other.answered()
    assert breaker(engine).wait() == 0.0


def test_a_probe_that_finds_nobody_keeps_it_open_for_another_minute(engine: Engine) -> None:
    found = opened(engine)
    minute_passes(engine)
    assert found.wait() == 0.0
    assert found.silent("HTTP 503", first=True)
    assert 55 < found.wait() <= 60


def test_a_probe_that_died_is_followed_by_another_when_no_call_can_last_so_long(engine: Engine) -> None:
    found = opened(engine)
    minute_passes(engine)
    assert found.wait() == 0.0
    assert 110 < found.wait() <= 120
    minute_passes(engine)
    assert found.wait() > 0
    minute_passes(engine)
    assert found.wait() == 0.0


@pytest.mark.parametrize(("connection", "system"), [("acme", "qbo"), ("borealis", "procore")])
def test_other_vendors_and_connections_go_on(engine: Engine, connection: str, system: str) -> None:
    opened(engine)
    assert breaker(engine, connection, system).wait() == 0.0
    with engine.connect() as db:
        assert outages(db, "borealis") == []


def test_of_two_that_see_the_wait_end_at_once_one_may_probe(engine: Engine) -> None:
    opened(engine)
    minute_passes(engine)
    with ThreadPoolExecutor(1) as pool, engine.begin() as first:
        taken = breaker_table.c.open_until + timedelta(seconds=120)
        first.execute(update(breaker_table).values(open_until=taken))
        second = pool.submit(breaker(engine).wait)
        blocked = text("select count(*) from pg_locks where not granted")
        while not second.done():
            with engine.connect() as looking:
                if looking.scalar(blocked):
                    break
        first.commit()
        assert second.result() > 0


def _ask(url: str) -> float:
    engine = open_engine(url)
    try:
        return PostgresBreaker(engine, "acme", "procore").wait()
    finally:
        engine.dispose()


@pytest.mark.processes
def test_of_eight_processes_one_may_probe(engine: Engine, database_url: str) -> None:
    opened(engine)
    minute_passes(engine)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        waits = list(pool.map(_ask, [database_url] * 8))
    assert waits.count(0.0) == 1
