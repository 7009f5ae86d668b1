"""Landing: which version is current, what costs nothing, what is kept for ever."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, Row, select

from ml_connector.store import landing
from ml_connector.store.database import open_engine
from ml_connector.store.landing import Landed, Sighting
from ml_connector.store.tables import landing as table

DAY = date(2026, 5, 4)
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


def version(token: int, content: str, *, qbo_id: str = "1", day: date = DAY, **facts: Any) -> Sighting:
    raw = {"Id": qbo_id, "content": content, **facts.pop("raw", {})}
    return Sighting(
        qbo_id=qbo_id,
        sync_token=token,
        tombstone=False,
        content_hash=content.encode().ljust(32),
        day=day,
        txn_date=facts.get("txn_date", DAY),
        vendor_id=facts.get("vendor_id", "21"),
        document=facts.get("document", "n1"),
        total=facts.get("total", Decimal("10.00")),
        raw=raw,
    )


def tombstone(qbo_id: str = "1", *, day: date = DAY) -> Sighting:
    raw = {"Id": qbo_id, "status": "Deleted"}
    return Sighting(qbo_id, 0, True, b"gone".ljust(32), day, None, None, None, None, raw)


def land(engine: Engine, *sightings: Sighting, at: int = 0, connection: str = "acme") -> Landed:
    """Land an answer that began `at` minutes after noon."""
    with engine.begin() as db:
        time = NOON + timedelta(minutes=at)
        return landing.land(db, connection, "Bill", sightings, server_time=time, run_id="run")


def rows(engine: Engine, connection: str = "acme") -> list[Row[*tuple[Any, ...]]]:
    with engine.connect() as db:
        return list(
            db.execute(select(table).where(table.c.connection == connection).order_by(table.c.number))
        )


def current(engine: Engine, qbo_id: str = "1") -> Any:
    with engine.connect() as db:
        return landing.newest(db, "acme", "Bill", [qbo_id])[qbo_id].raw.get("content", "gone")


def test_a_record_is_landed_once_and_seen_again_for_nothing(engine: Engine) -> None:
    first = land(engine, version(0, "A"))
    assert (first.new, first.deleted, first.unchanged, first.days) == (["1"], [], 0, {DAY})
    again = land(engine, version(0, "A"), at=1)
    assert (again.new, again.unchanged, again.days) == ([], 1, set())
    assert len(rows(engine)) == 1


def test_S93_an_older_version_that_arrives_later_never_becomes_current(engine: Engine) -> None:
    land(engine, version(3, "C"))
    late = land(engine, version(1, "A"), version(2, "B"), at=5)
    assert late.kept == []
    assert current(engine) == "C"


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_S93_the_newest_of_one_answer_wins_whatever_the_order(engine: Engine, order: tuple[int, ...]) -> None:
    landed = land(engine, *(version(token, f"v{token}") for token in order))
    assert (landed.new, landed.unchanged) == (["1"], 2)
    assert current(engine) == "v3"


def test_S93_in_one_answer_a_tombstone_wins_on_either_side(engine: Engine) -> None:
    for number, order in enumerate([(tombstone, None), (None, tombstone)]):
        qbo_id = str(number)
        land(engine, version(0, "A", qbo_id=qbo_id))
        both = [made(qbo_id) if made else version(4, "B", qbo_id=qbo_id) for made in order]
        assert land(engine, *both, at=1).deleted == [qbo_id]


def test_the_same_version_with_other_content_is_taken_from_the_later_answer(engine: Engine) -> None:
    land(engine, version(1, "A"), at=1)
    land(engine, version(1, "B"), at=0)
    assert current(engine) == "A"
    land(engine, version(1, "B"), at=2)
    assert current(engine) == "B"


def test_content_of_an_older_version_is_appended_again(engine: Engine) -> None:
    for minute, content in enumerate("ABA"):
        land(engine, version(minute, content), at=minute)
    assert [row.sync_token for row in rows(engine)] == [0, 1, 2]
    assert [row.is_current for row in rows(engine)] == [False, False, True]


def test_content_that_came_back_notes_the_higher_version(engine: Engine) -> None:
    land(engine, version(1, "A"))
    assert land(engine, version(3, "A"), at=1).kept == []
    assert land(engine, version(2, "B"), at=2).kept == []
    assert [(row.sync_token, row.is_current) for row in rows(engine)] == [(3, True)]


def test_a_supersession_marks_the_old_window_and_the_new_one(engine: Engine) -> None:
    land(engine, version(0, "A", day=DAY))
    later = DAY + timedelta(days=9)
    assert land(engine, version(1, "B", day=later), at=1).days == {DAY, later}


def test_a_tombstone_outranks_what_was_read_before_it_whatever_its_version(engine: Engine) -> None:
    land(engine, version(7, "A"))
    landed = land(engine, tombstone(), at=1)
    assert (landed.new, landed.deleted) == ([], ["1"])
    assert rows(engine)[-1].sync_token == 7, "it takes the place of the version that it ends"


def test_a_tombstone_that_was_reported_before_a_sighting_is_too_late(engine: Engine) -> None:
    land(engine, version(0, "A"), at=5)
    assert land(engine, tombstone(), at=4).kept == []
    assert current(engine) == "A"


def test_a_tombstone_is_outranked_by_a_later_sighting_even_of_the_same_content(engine: Engine) -> None:
    land(engine, version(0, "A"))
    land(engine, tombstone(), at=1)
    assert land(engine, version(0, "A"), at=1).kept == []
    assert land(engine, version(0, "A"), at=2).new == ["1"]
    assert current(engine) == "A"


def test_a_second_tombstone_costs_nothing(engine: Engine) -> None:
    land(engine, version(0, "A"))
    land(engine, tombstone(), at=1)
    assert land(engine, tombstone(), at=2).kept == []


def test_a_tombstone_before_the_first_sight_costs_nothing(engine: Engine) -> None:
    assert land(engine, tombstone(), version(0, "A", qbo_id="2"), tombstone("2")).kept == []
    assert rows(engine) == []


def test_S117_connections_do_not_see_each_other(engine: Engine) -> None:
    land(engine, version(5, "A"), connection="acme")
    land(engine, version(1, "B"), connection="other")
    assert current(engine) == "A"
    land(engine, tombstone(), at=1, connection="other")
    assert current(engine) == "A"
    with engine.connect() as db:
        assert landing.live_ids(db, "other", "Bill", from_date=DAY) == set()


def test_a_flood_larger_than_a_chunk_is_landed_whole(engine: Engine) -> None:
    flood = [version(0, "A", qbo_id=str(number)) for number in range(2500)]
    assert len(land(engine, *flood).new) == 2500
    assert land(engine, *flood, at=1).unchanged == 2500


def test_F49_any_body_comes_back_as_it_was(engine: Engine) -> None:
    odd = {
        "nul": "a\0b",
        "surrogate": "\ud800",
        "right to left": "\u202eabc \u05d0",
        "emoji": "\U0001f9f1",
        "formula": '=cmd|" /C calc"!A1',
        "minus zero": Decimal("-0.00"),
        "exact": Decimal("0.12345678901234567890123456789"),
        "long": int("9" * 400),
        "wide": Decimal("1E+999999999"),
        "memo": "x" * 1_000_000,
        "deep": [[[{"a": [None, True, False]}]]],
    }
    land(engine, version(0, "A", raw=odd))
    with engine.connect() as db:
        raw = landing.newest(db, "acme", "Bill", ["1"])["1"].raw
    assert {name: raw[name] for name in odd} == odd
    assert str(raw["minus zero"]) == "-0.00"


def test_the_last_living_version_of_a_deleted_record_stays(engine: Engine) -> None:
    land(engine, version(0, "A"))
    land(engine, version(1, "B"), at=1)
    land(engine, tombstone(), at=2)
    with engine.connect() as db:
        last = landing.last_alive(db, "acme", "Bill", "1")
        assert landing.last_alive(db, "acme", "Bill", "2") is None
    assert last is not None
    assert last.raw["content"] == "B"


def test_every_gives_the_living_newest_versions(engine: Engine) -> None:
    land(engine, version(0, "A"), version(0, "B", qbo_id="2"), version(0, "C", qbo_id="3"))
    land(engine, version(1, "A2"), tombstone("2"), at=1)
    with engine.connect() as db:
        assert sorted(found.raw["content"] for found in landing.every(db, "acme", "Bill")) == ["A2", "C"]


def test_live_ids_are_those_from_a_date_on_and_live_among_those_asked(engine: Engine) -> None:
    early = version(0, "A", qbo_id="1", txn_date=DAY - timedelta(days=1))
    odd = version(0, "A", qbo_id="3", txn_date=None)
    land(engine, early, version(0, "A", qbo_id="2"), odd, version(0, "A", qbo_id="4"))
    land(engine, tombstone("4"), at=1)
    with engine.connect() as db:
        assert landing.live_ids(db, "acme", "Bill", from_date=DAY) == {"2"}
        assert landing.live_among(db, "acme", "Bill", ["1", "3", "4", "5"]) == {"1", "3"}


def test_twins_share_vendor_and_number_and_are_alive(engine: Engine) -> None:
    land(
        engine,
        version(0, "A", qbo_id="1"),
        version(0, "A", qbo_id="2", total=Decimal("20.00")),
        version(0, "A", qbo_id="3", vendor_id="22"),
        version(0, "A", qbo_id="4", document="n2"),
        version(0, "A", qbo_id="5"),
    )
    land(engine, tombstone("5"), at=1)
    with engine.connect() as db:
        found = landing.same_documents(db, "acme", "Bill", [("21", "n1"), ("22", "n2")])
    assert {pair: sorted(twin.qbo_id for twin in twins) for pair, twins in found.items()} == {
        ("21", "n1"): ["1", "2"]
    }


def test_counts_of_days_are_of_living_newest_versions(engine: Engine) -> None:
    land(engine, version(0, "A"), version(0, "B", qbo_id="2", total=None), version(0, "C", qbo_id="3"))
    land(engine, version(1, "A2", total=Decimal("12.50")), tombstone("3"), at=1)
    with engine.connect() as db:
        assert landing.counts_of_days(db, "acme", [DAY]) == {(DAY, "Bill"): (2, Decimal("12.50"))}
        assert landing.days_of_bill_dates(db, "acme", first=DAY, last=DAY) == [DAY]
        assert landing.days_of_bill_dates(db, "acme", first=date(2026, 1, 1), last=date(2026, 1, 2)) == []
