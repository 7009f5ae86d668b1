"""Dirty windows: a mark that rises while it is worked on stays, whatever is cleared."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine

from ml_connector.store import windows
from ml_connector.store.database import open_engine

FIRST, SECOND, THIRD = (date(2026, 5, day) for day in (4, 5, 6))
LATER = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


def mark(engine: Engine, *days: date, reason: str = "changed", connection: str = "acme") -> dict[date, int]:
    with engine.begin() as db:
        windows.mark(db, connection, days, reason=reason)
        return windows.seen_marks(db, connection, days)


def dirty(engine: Engine, connection: str = "acme") -> list[windows.DirtyWindow]:
    with engine.connect() as db:
        return windows.dirty(db, connection)


def clear(engine: Engine, seen: dict[date, int]) -> None:
    with engine.begin() as db:
        windows.clear(db, "acme", seen)


def test_marked_days_are_dirty_oldest_first_and_clean_when_cleared(engine: Engine) -> None:
    seen = mark(engine, THIRD, FIRST)
    assert [window.day for window in dirty(engine)] == [FIRST, THIRD]
    clear(engine, {FIRST: seen[FIRST]})
    assert [window.day for window in dirty(engine)] == [THIRD]


def test_a_day_that_was_marked_again_while_it_was_worked_on_stays_dirty(engine: Engine) -> None:
    seen = mark(engine, FIRST)
    mark(engine, FIRST, reason="changed again")
    clear(engine, seen)
    assert [window.reason for window in dirty(engine)] == ["changed again"]


def test_marks_rise_over_all_connections(engine: Engine) -> None:
    first = mark(engine, FIRST)[FIRST]
    other = mark(engine, FIRST, connection="other")[FIRST]
    assert first < other < mark(engine, FIRST)[FIRST]


def test_S117_connections_do_not_clear_each_other(engine: Engine) -> None:
    mark(engine, FIRST)
    seen = mark(engine, FIRST, connection="other")
    clear(engine, seen)
    assert len(dirty(engine)) == 1
    assert len(dirty(engine, "other")) == 1


def test_a_postponed_day_waits_and_counts_until_it_is_marked_anew(engine: Engine) -> None:
    for _ in range(2):
        with engine.begin() as db:
            windows.postpone(db, "acme", FIRST, not_before=LATER, reason="procore did not answer")
    (held,) = dirty(engine)
    assert (held.not_before, held.attempts) == (LATER, 2)
    mark(engine, FIRST)
    (fresh,) = dirty(engine)
    assert (fresh.not_before, fresh.attempts) == (None, 0)


def test_a_run_holds_back_only_the_marks_that_it_saw(engine: Engine) -> None:
    seen = mark(engine, FIRST, SECOND)
    mark(engine, SECOND)
    with engine.begin() as db:
        windows.begin(db, "acme", seen, not_before=LATER)
    first, second = dirty(engine)
    assert (first.not_before, first.attempts) == (LATER, 1)
    assert (second.not_before, second.attempts) == (None, 0)


def test_marks_that_are_rolled_back_were_never_made(engine: Engine) -> None:
    with pytest.raises(RuntimeError), engine.begin() as db:
        windows.mark(db, "acme", [FIRST], reason="changed")
        raise RuntimeError("killed")
    assert dirty(engine) == []


def test_nothing_to_mark_or_clear_is_no_fault(engine: Engine) -> None:
    assert mark(engine) == {}
    clear(engine, {})
    assert dirty(engine) == []
