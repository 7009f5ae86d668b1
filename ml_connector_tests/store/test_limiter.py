"""The limiter row: exact over processes, shared pauses, all limits of an account or none."""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from sqlalchemy import Engine, func, select, text

from ml_connector.store.database import open_engine
from ml_connector.store.limiter import Limit, PostgresLimiter
from ml_connector.store.tables import limiter as limiter_table

ACCOUNT = "procore:1"
SLOW = Limit("hour", 6, 3600.0, burst=3)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


def limited(engine: Engine, *limits: Limit) -> PostgresLimiter:
    return PostgresLimiter(engine, {ACCOUNT: limits})


def test_a_burst_goes_through_and_then_the_wait_is_the_time_of_one_call(engine: Engine) -> None:
    limiter = limited(engine, SLOW)
    assert [limiter.acquire(ACCOUNT) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert 1199.0 < limiter.acquire(ACCOUNT) <= 1200.0


def test_a_refused_call_costs_nothing(engine: Engine) -> None:
    limiter = limited(engine, SLOW, Limit("at_once", 1000, 1.0, burst=500))
    for _ in range(3):
        limiter.acquire(ACCOUNT)
    before = _rows(engine)
    for _ in range(5):
        assert limiter.acquire(ACCOUNT) > 0
    assert _rows(engine) == before


def test_a_pause_holds_all_processes_and_is_never_shortened(engine: Engine) -> None:
    limiter = limited(engine, SLOW)
    other = limited(engine, SLOW)
    limiter.pause(ACCOUNT, 500.0)
    other.pause(ACCOUNT, 5.0)
    assert 490.0 < other.acquire(ACCOUNT) <= 500.0


def test_one_account_does_not_wait_for_another(engine: Engine) -> None:
    limiter = PostgresLimiter(engine, {"qbo:1": [SLOW], "qbo:2": [SLOW]})
    limiter.pause("qbo:1", 500.0)
    assert limiter.acquire("qbo:2") == 0.0


def test_a_pause_ends(engine: Engine) -> None:
    limiter = limited(engine, SLOW)
    limiter.pause(ACCOUNT, 500.0)
    with engine.begin() as connection:
        connection.execute(
            limiter_table.update().values(paused_until=func.now() - text("interval '1 second'"))
        )
    assert limiter.acquire(ACCOUNT) == 0.0


@pytest.mark.parametrize(("count", "burst"), [(0, 1), (5, 0), (5, 5), (5, 6)])
def test_a_limit_needs_room_for_a_steady_rate(count: int, burst: int) -> None:
    with pytest.raises(ValueError, match="burst"):
        Limit("hour", count, 60.0, burst=burst)


def test_a_limit_of_one_call_is_possible(engine: Engine) -> None:
    limiter = limited(engine, Limit("hour", 1, 3600.0, burst=1))
    assert limiter.acquire(ACCOUNT) == 0.0
    assert 3599.0 < limiter.acquire(ACCOUNT) <= 3600.0


WINDOW = Limit("window", 20, 1.0, burst=10)
WORKERS, EACH = 4, 15
# The database itself notes each call that is let through, while it holds the row.
NOTE_CALLS = """
CREATE TABLE let_through (at timestamptz NOT NULL);
CREATE FUNCTION note_call() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO let_through VALUES (clock_timestamp()); RETURN NEW; END $$;
CREATE TRIGGER note_call AFTER INSERT OR UPDATE ON ml_connector.limiter
    FOR EACH ROW EXECUTE FUNCTION note_call();
"""


@pytest.mark.processes
def test_I9_several_processes_together_never_exceed_the_limit_in_any_window(
    engine: Engine, database_url: str
) -> None:
    with engine.begin() as connection:
        connection.execute(text(NOTE_CALLS))
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_take, [database_url] * WORKERS))
    with engine.connect() as connection:
        epochs = connection.execute(text("SELECT extract(epoch FROM at) FROM let_through ORDER BY at"))
        calls = [float(epoch) for epoch in epochs.scalars()]
    assert len(calls) == WORKERS * EACH
    # A twentieth of the window is left to the time between the decision and the note.
    assert max(sum(start <= call < start + 0.95 for call in calls) for start in calls) <= WINDOW.count


def _take(url: str) -> None:
    engine = open_engine(url)
    limiter = limited(engine, WINDOW)
    taken = 0
    while taken < EACH:
        wait = limiter.acquire(ACCOUNT)
        if wait > 0:
            time.sleep(wait)
        else:
            taken += 1
    engine.dispose()


def _rows(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [
            tuple(row) for row in connection.execute(select(limiter_table).order_by(limiter_table.c.name))
        ]


def test_a_limit_of_some_calls_counts_those_and_holds_no_other(engine: Engine) -> None:
    limiter = limited(engine, Limit("batches", 4, 60.0, burst=2, route="/batch"), SLOW)
    assert limiter.acquire(ACCOUNT, "GET /v3/company/{id}/cdc") == 0.0
    assert [limiter.acquire(ACCOUNT, "POST /v3/company/{id}/batch") for _ in range(2)] == [0.0, 0.0]
    assert 29 < limiter.acquire(ACCOUNT, "POST /v3/company/{id}/batch") <= 30
    assert limiter.acquire(ACCOUNT, "GET /v3/company/{id}/query") > 1199, "every call counts for the hour"
