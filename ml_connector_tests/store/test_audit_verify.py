"""S115: whoever changes, removes, inserts or cuts off an entry of the audit trail, past all rights, is found by number."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from ml_connector.errors import SetupError
from ml_connector.proving import trail
from ml_connector.store import audit
from ml_connector.store.audit import FIRST_HASH, Entry, Head
from ml_connector.store.database import open_engine
from ml_connector.store.migrate import upgrade

ROLE_SQL = Path(__file__).parents[2] / "deploy" / "postgres" / "application-role.sql"
ENTRIES = 20


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A trail of 20 entries of one connection, and 3 of another."""
    opened = open_engine(database_url)
    add(opened, ENTRIES)
    add(opened, 3, connection="other")
    yield opened
    opened.dispose()


def add(engine: Engine, count: int, *, connection: str = "acme") -> None:
    with engine.begin() as db:
        told = [Entry("seen", "Bill", str(number), {"total": "10.00"}) for number in range(count)]
        audit.append(db, connection, told, run_id="run", actor="tester")


def tamper(engine: Engine, *statements: str, **values: Any) -> None:
    """What somebody with all rights over the database does."""
    with engine.begin() as db:
        db.execute(text("set local session_replication_role = replica"))  # no trigger fires
        for statement in statements:
            db.execute(text(statement), values)


def head(engine: Engine) -> Head:
    with engine.connect() as db:
        return audit.head(db, "acme")


def noted(engine: Engine) -> trail.Noted:
    return trail.head_from(str(head(engine)), where="noted on paper")


def faults(engine: Engine, *heads: trail.Noted) -> list[tuple[int, str]]:
    return [(fault.number, fault.sentence) for fault in trail.verify(engine, "acme", heads).faults]


def rewrite(engine: Engine, first: int) -> None:
    """Compute all hashes from entry `first` on again, and the head, as a careful forger would."""
    with engine.begin() as db:
        db.execute(text("set local session_replication_role = replica"))
        stored = list(audit.rows(db, "acme"))
        previous = FIRST_HASH
        for row in stored:
            if row.number >= first:
                told = Entry(row.event, row.entity, row.qbo_id, json.loads(row.detail))
                words = {"run_id": row.run_id, "actor": row.actor}
                made = audit.link(previous, "acme", row.number, row.at, told, **words)
                db.execute(
                    text(
                        "update ml_connector.audit set previous_hash = :previous, hash = :hash "
                        "where connection = 'acme' and number = :number"
                    ),
                    {"previous": previous, "hash": made, "number": row.number},
                )
                previous = made
            else:
                previous = bytes(row.hash)
        db.execute(
            text(
                "update ml_connector.audit_head set number = :number, hash = :hash where connection = 'acme'"
            ),
            {"number": stored[-1].number, "hash": previous},
        )


def test_a_trail_that_nobody_touched_is_whole(engine: Engine) -> None:
    verdict = trail.verify(engine, "acme", [noted(engine)])
    assert (verdict.faults, verdict.entries, verdict.compared) == ([], ENTRIES, 1)
    assert verdict.head == head(engine)
    empty = trail.verify(engine, "nobody", [])
    assert (empty.faults, empty.entries, empty.head.number) == ([], 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        "event = 'held'",
        "entity = 'Vendor'",
        "qbo_id = '8'",
        "actor = 'somebody else'",
        "run_id = 'another'",
        "at = at + interval '1 microsecond'",
        """detail = '{"total":"11.00"}'""",
        """detail = '{"total": "10.00"}'""",
    ],
)
def test_S115_a_changed_entry_is_named(engine: Engine, change: str) -> None:
    tamper(engine, f"update ml_connector.audit set {change} where connection = 'acme' and number = 7")
    assert faults(engine) == [(7, "entry 7 was changed: its hash is not that of what it says")]
    assert trail.verify(engine, "other", []).faults == []


def test_S115_a_changed_entry_with_a_new_hash_breaks_the_link_of_the_next(engine: Engine) -> None:
    tamper(
        engine,
        "update ml_connector.audit set hash = decode(repeat('ab', 32), 'hex') "
        "where connection = 'acme' and number = 7",
    )
    assert [number for number, _ in faults(engine)] == [7, 8]


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [(1, 1, "entry 1 was removed"), (7, 7, "entry 7 was removed"), (7, 9, "entries 7 to 9 were removed")],
)
def test_S115_removed_entries_are_named(engine: Engine, first: int, last: int, words: str) -> None:
    gone = f"delete from ml_connector.audit where connection = 'acme' and number between {first} and {last}"
    tamper(engine, gone)
    assert faults(engine) == [(first, words)]


def test_S115_a_removed_entry_whose_gap_was_closed_is_found(engine: Engine) -> None:
    tamper(
        engine,
        "delete from ml_connector.audit where connection = 'acme' and number = 7",
        "update ml_connector.audit set number = number + 1000 where connection = 'acme' and number > 7",
        "update ml_connector.audit set number = number - 1001 where connection = 'acme' and number > 1000",
        "update ml_connector.audit_head set number = number - 1 where connection = 'acme'",
    )
    verdict = trail.verify(engine, "acme", [])
    assert verdict.faults[0].number == 7
    assert verdict.more_faults == 0


def test_S115_the_last_ten_cut_off_are_named(engine: Engine) -> None:
    tamper(engine, "delete from ml_connector.audit where connection = 'acme' and number > 10")
    assert faults(engine) == [(11, "entries 11 to 20 were cut off at the end")]


def test_S115_a_cut_that_took_the_head_along_shows_against_a_head_kept_elsewhere(engine: Engine) -> None:
    kept = noted(engine)
    tamper(
        engine,
        "delete from ml_connector.audit where connection = 'acme' and number > 10",
        "update ml_connector.audit_head set number = 10, hash = (select hash from ml_connector.audit "
        "where connection = 'acme' and number = 10) where connection = 'acme'",
    )
    assert faults(engine) == []
    sentence = "entries 11 to 20 were cut off at the end: the head 20 was noted on paper"
    assert faults(engine, kept) == [(11, sentence)]
    ((number, told),) = faults(engine, trail.head_from(kept.hash, where="given by --head"))
    assert number == 11
    assert told.startswith(f"no entry has the hash {kept.hash[:16]}")
    add(engine, 15)  # later entries take the numbers of those that were cut off
    ((number, told),) = faults(engine, kept)
    assert (number, "entries 1 to 20 one was changed or removed" in told) == (1, True)


def test_S115_everything_removed_shows_against_a_head_kept_elsewhere(engine: Engine) -> None:
    kept = noted(engine)
    gone = ("delete from ml_connector.audit", "delete from ml_connector.audit_head")
    tamper(engine, *gone)
    assert faults(engine, kept)[0][0] == 1


def test_S115_an_inserted_entry_is_found_inside_and_behind_the_end(engine: Engine) -> None:
    copied = (
        "insert into ml_connector.audit select connection, {}, at, event, entity, '99', run_id, actor, detail, "
        "previous_hash, hash from ml_connector.audit where connection = 'acme' and number = {}"
    )
    tamper(engine, copied.format(21, 20))
    found = faults(engine)
    assert found[0] == (
        21,
        "entry 21 does not follow the entry before it: one of them was exchanged or inserted",
    )
    assert (21, "entry 21 was inserted behind the head") in found
    tamper(engine, "delete from ml_connector.audit where number = 21", copied.format(0, 1))
    assert (0, "entry 0 was inserted before the first one") in faults(engine)


def test_S115_a_rewritten_trail_shows_between_two_heads_kept_elsewhere(engine: Engine) -> None:
    heads = [noted(engine)]
    add(engine, 5)
    heads.append(noted(engine))
    tamper(engine, "update ml_connector.audit set actor = 'x' where connection = 'acme' and number = 23")
    rewrite(engine, 23)
    assert faults(engine) == []
    ((number, sentence),) = faults(engine, *heads)
    assert number == 21
    assert sentence.startswith("of entries 21 to 25 one was changed or removed and the trail rewritten")


def test_S115_the_trail_of_another_connection_is_not_taken_for_this_one(engine: Engine) -> None:
    tamper(
        engine,
        "delete from ml_connector.audit where connection = 'acme'",
        "delete from ml_connector.audit_head where connection = 'acme'",
        "update ml_connector.audit set connection = 'acme'",
        "update ml_connector.audit_head set connection = 'acme'",
    )
    assert [number for number, _ in faults(engine)] == [1, 2, 3]


def test_many_faults_are_counted_and_the_first_ones_told(engine: Engine) -> None:
    add(engine, 30)
    tamper(engine, "update ml_connector.audit set actor = 'x' where connection = 'acme'")
    verdict = trail.verify(engine, "acme", [])
    assert [fault.number for fault in verdict.faults] == list(range(1, trail.MOST + 1))
    assert verdict.more_faults == 50 - trail.MOST


def test_a_head_is_noted_once_and_read_back(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "audit" / "acme.heads"
    assert trail.noted_heads(path) == []
    for _ in range(2):
        trail.note_head(head(engine), path, run_id="run-1")
    add(engine, 1)
    trail.note_head(head(engine), path, run_id="run-2")
    heads = trail.noted_heads(path)
    assert [one.number for one in heads] == [20, 21]
    assert heads[1].where.endswith("by run run-2")
    assert path.stat().st_mode & 0o777 == 0o600
    assert faults(engine, *heads) == []


def test_what_a_power_cut_left_of_a_line_is_no_head_and_is_written_over(
    engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "acme.heads"
    trail.note_head(head(engine), path, run_id="run-1")
    with path.open("ab") as file:
        file.write(b"2026-01-01T00:00:00Z 21:\0\0\xff")
    assert [one.number for one in trail.noted_heads(path)] == [20]
    add(engine, 1)
    trail.note_head(head(engine), path, run_id="run-2")
    assert [one.number for one in trail.noted_heads(path)] == [20, 21]


def test_an_empty_trail_has_no_head_to_note(tmp_path: Path) -> None:
    trail.note_head(Head(0, FIRST_HASH), tmp_path / "heads", run_id="run")
    assert not (tmp_path / "heads").exists()


@pytest.mark.parametrize(
    "line", ["", "nonsense", "2026-01-01T00:00:00Z 12:xyz run", "at abcdefabcdefabcdef run"]
)
def test_a_file_of_heads_that_was_changed_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "acme.heads"
    path.write_text(f"2026-01-01T00:00:00Z 12:{'ab' * 32} run\n{line}\n")
    with pytest.raises(SetupError, match="line 2, is no head"):
        trail.noted_heads(path)


@pytest.mark.parametrize(
    "text_", ["", "12", "12:", "abc", "x" * 64, "12:" + "a" * 15, "-1:" + "a" * 64, "a" * 65]
)
def test_what_is_no_head_is_refused(text_: str) -> None:
    with pytest.raises(SetupError, match="no head of an audit trail"):
        trail.head_from(text_, where="")


APP = "ml_connector_app"


@pytest.fixture
def application(database_url: str, engine: Engine) -> Iterator[Engine]:
    """The database as the role of production sees it."""
    with engine.begin() as db:
        db.exec_driver_sql(ROLE_SQL.read_text())
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "update ml_connector.audit set actor = 'x'",
        "delete from ml_connector.audit",
        "truncate ml_connector.audit",
        "delete from ml_connector.audit_head",
        "update ml_connector.sheet_version set published_by = 'x'",
        "delete from ml_connector.decision",
        "alter table ml_connector.audit disable trigger all",
        "drop trigger audit_is_append_only on ml_connector.audit",
        "drop table ml_connector.audit",
        "set session_replication_role = replica",
    ],
)
def test_S115_the_role_of_production_has_no_right_to_change_the_trail(
    application: Engine, statement: str
) -> None:
    with application.connect() as db:
        db.execute(text(f"set role {APP}"))
        with pytest.raises(DatabaseError, match=r"permission denied|must be owner"):
            db.execute(text(statement))


def test_the_role_of_production_adds_to_the_trail_and_reads_it(application: Engine) -> None:
    with application.begin() as db:
        db.execute(text(f"set local role {APP}"))
        audit.append(db, "acme", [Entry("seen", "Bill", "1", {})], run_id="run", actor="tester")
        audit.append(db, "third", [Entry("seen", "Bill", "1", {})], run_id="run", actor="tester")
        assert len(audit.story(db, "acme", "Bill", "1")) == 2


def test_the_role_of_production_starts_on_tables_that_are_up_to_date(
    database_url: str, application: Engine
) -> None:
    with application.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        name = db.scalar(text("select current_database()"))
        db.execute(text(f"alter database {name} set role = {APP}"))
    application.dispose()
    with application.connect() as db:
        assert db.scalar(text("select current_user")) == APP
    upgrade(database_url)
    assert trail.verify(application, "acme", []).entries == ENTRIES
