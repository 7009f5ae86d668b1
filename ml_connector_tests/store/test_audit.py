"""The audit trail: no gap, no change, a chain that shows every tampering, one writer at a time."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, Row, delete, insert, select, text, update
from sqlalchemy.exc import DatabaseError

from ml_connector.store import audit
from ml_connector.store.audit import FIRST_HASH, Entry
from ml_connector.store.database import open_engine
from ml_connector.store.tables import audit as table
from ml_connector.store.tables import audit_head


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


def entry(event: str = "seen", qbo_id: str = "1", **detail: Any) -> Entry:
    return Entry(event, "Bill", qbo_id, detail)


def append(engine: Engine, *entries: Entry, connection: str = "acme") -> None:
    with engine.begin() as db:
        audit.append(db, connection, entries, run_id="run", actor="tester")


def rows(engine: Engine, connection: str = "acme") -> list[Row[*tuple[Any, ...]]]:
    with engine.connect() as db:
        return list(
            db.execute(select(table).where(table.c.connection == connection).order_by(table.c.number))
        )


def recomputed(row: Row[*tuple[Any, ...]]) -> bytes:
    told = Entry(row.event, row.entity, row.qbo_id, json.loads(row.detail))
    words = {"run_id": row.run_id, "actor": row.actor}
    return audit.link(bytes(row.previous_hash), row.connection, row.number, row.at, told, **words)


def test_entries_are_numbered_without_gaps_and_each_carries_the_hash_before_it(engine: Engine) -> None:
    append(engine, entry(), entry("mapped"))
    append(engine, entry("posted"))
    found = rows(engine)
    assert [row.number for row in found] == [1, 2, 3]
    assert [bytes(row.previous_hash) for row in found] == [
        FIRST_HASH,
        *(bytes(row.hash) for row in found[:2]),
    ]
    with engine.connect() as db:
        head = db.execute(select(audit_head)).one()
    assert (head.number, bytes(head.hash)) == (3, bytes(found[-1].hash))


def test_what_is_stored_gives_the_hash_again(engine: Engine) -> None:
    append(
        engine,
        entry(
            money=Decimal("10.10"), day=date(2026, 5, 4), at=datetime(2026, 5, 4, tzinfo=UTC), odd="\0\ud800é"
        ),
    )
    append(engine, entry("posted", nested={"b": [1, None, True], "a": "x"}))
    assert [recomputed(row) == bytes(row.hash) for row in rows(engine)] == [True, True]


@pytest.mark.parametrize("field", ["event", "entity", "qbo_id", "run_id", "actor"])
def test_S115_the_hash_covers_every_word_of_an_entry(engine: Engine, field: str) -> None:
    append(engine, entry(total=Decimal("10.00")))
    (row,) = rows(engine)
    words = {name: getattr(row, name) for name in ("event", "entity", "qbo_id", "run_id", "actor")}
    words[field] += "x"
    told = Entry(words["event"], words["entity"], words["qbo_id"], json.loads(row.detail))
    words_of_it = {"run_id": words["run_id"], "actor": words["actor"]}
    changed = audit.link(FIRST_HASH, "acme", row.number, row.at, told, **words_of_it)
    assert changed != bytes(row.hash)


def test_S115_the_hash_covers_number_time_and_connection(engine: Engine) -> None:
    append(engine, entry())
    (row,) = rows(engine)
    told = Entry(row.event, row.entity, row.qbo_id, {})
    words = {"run_id": row.run_id, "actor": row.actor}
    assert audit.link(FIRST_HASH, "acme", 1, row.at, told, **words) == bytes(row.hash)
    assert audit.link(FIRST_HASH, "other", 1, row.at, told, **words) != bytes(row.hash)
    assert audit.link(FIRST_HASH, "acme", 2, row.at, told, **words) != bytes(row.hash)
    later = row.at + timedelta(microseconds=1)
    assert audit.link(FIRST_HASH, "acme", 1, later, told, **words) != bytes(row.hash)
    elsewhere = row.at.astimezone(ZoneInfo("America/Denver"))
    assert audit.link(FIRST_HASH, "acme", 1, elsewhere, told, **words) == bytes(row.hash)


def test_S115_no_entry_is_changed_or_removed(engine: Engine) -> None:
    append(engine, entry())
    for statement in (
        update(table).values(actor="somebody else"),
        delete(table),
        text("truncate ml_connector.audit"),
    ):
        with pytest.raises(DatabaseError, match="never changed or removed"), engine.begin() as db:
            db.execute(statement)
    assert len(rows(engine)) == 1


def test_S115_the_head_never_goes_back_or_away(engine: Engine) -> None:
    append(engine, entry(), entry())
    for statement in (
        update(audit_head).values(number=1),
        delete(audit_head),
        text("truncate ml_connector.audit_head"),
    ):
        with pytest.raises(DatabaseError, match="never"), engine.begin() as db:
            db.execute(statement)
    with engine.connect() as db:
        assert audit.head(db, "acme").number == 2


def test_S115_no_number_is_given_twice(engine: Engine) -> None:
    append(engine, entry())
    (row,) = rows(engine)
    with pytest.raises(DatabaseError, match="duplicate key"), engine.begin() as db:
        db.execute(insert(table).values(dict(row._mapping)))


def test_S117_connections_have_trails_of_their_own(engine: Engine) -> None:
    append(engine, entry(), entry())
    append(engine, entry(), connection="other")
    assert [row.number for row in rows(engine, "other")] == [1]
    with engine.connect() as db:
        assert len(audit.story(db, "other", "Bill", "1")) == 1


def test_a_rolled_back_entry_leaves_no_gap(engine: Engine) -> None:
    append(engine, entry())
    with pytest.raises(RuntimeError), engine.begin() as db:
        audit.append(db, "acme", [entry("mapped")], run_id="run", actor="tester")
        raise RuntimeError("killed")
    append(engine, entry("posted"))
    assert [(row.number, row.event) for row in rows(engine)] == [(1, "seen"), (2, "posted")]


def test_many_writers_make_one_chain(engine: Engine) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            append(engine, entry(qbo_id=f"{writer}"), entry("mapped", qbo_id=f"{writer}", number=number))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = rows(engine)
    assert [row.number for row in found] == list(range(1, 81))
    hashes = [FIRST_HASH, *(bytes(row.hash) for row in found)]
    assert [bytes(row.previous_hash) for row in found] == hashes[:-1]


def test_a_story_is_of_one_record_and_in_order(engine: Engine) -> None:
    append(
        engine, entry(), entry("mapped"), entry("seen", qbo_id="2"), entry("posted", total=Decimal("1.50"))
    )
    with engine.connect() as db:
        story = audit.story(db, "acme", "Bill", "1")
    assert [told.event for told in story] == ["seen", "mapped", "posted"]
    assert story[-1].detail == {"total": "1.50"}
    assert story[-1].at.tzinfo is not None


def test_nothing_to_tell_makes_no_entry(engine: Engine) -> None:
    append(engine)
    assert rows(engine) == []


def test_what_has_no_plain_form_is_refused(engine: Engine) -> None:
    with pytest.raises(TypeError, match="does not belong"):
        append(engine, entry(body=b"bytes"))
