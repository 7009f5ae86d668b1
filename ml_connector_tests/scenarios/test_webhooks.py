"""Webhooks on their whole way, from a real receiver to Procore: repeated, out of order, late, lost, without a database."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import requests
from psycopg import sql
from sqlalchemy.exc import OperationalError

from ml_connector.reading.inbox import waiting
from ml_connector.reading.windows import Mode
from ml_connector.store.postgres_server import PostgresServer
from ml_connector_tests.reading.desk import live_bills, raw_bill, reader, versions
from ml_connector_tests.receiver.conftest import Receiver, prepare, running_receiver, sign
from ml_connector_tests.rig import REALM, Rig, line

pytestmark = pytest.mark.processes

STRANGER = "9341450000000777"


@pytest.fixture
def receiver(rig: Rig, tmp_path: Path) -> Iterator[Receiver]:
    """A receiver of the rig's home."""
    prepare(rig.home.root)
    (rig.home.receiver / "realms.json").write_text(json.dumps({REALM: rig.name}))
    with running_receiver(rig.home.root, tmp_path / "receiver.log") as opened:
        yield opened


def event(qbo_id: str, verb: str = "updated", *, realm: str = REALM, second: int = 0) -> dict[str, object]:
    """One change of a bill."""
    return {
        "type": f"qbo.bill.{verb}.v1",
        "time": f"2026-11-22T08:00:{second:02}.000000000Z",
        "intuitentityid": qbo_id,
        "intuitaccountid": realm,
    }


def body(*events: dict[str, object]) -> bytes:
    return json.dumps(events).encode()


def repeat(receiver: Receiver, raw: bytes, times: int) -> None:
    """The same post so many times, in parallel; each is answered with 200."""
    local, headers = threading.local(), {"intuit-signature": sign(raw)}

    def post(_: int) -> int:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        answer = local.session.post(f"{receiver.url}/webhooks/qbo", data=raw, headers=headers, timeout=20)
        return int(answer.status_code)

    with ThreadPoolExecutor(16) as senders:
        assert set(senders.map(post, range(times))) == {200}


def work_off(rig: Rig) -> int:
    """What the sensors do until no hint is left; how many times QBO was asked."""
    mark = rig.qbo.mark()
    while waiting(rig.home, rig.name):
        rig.read()
    rig.settle()
    return len(rig.qbo.calls(mark))


def test_F30_T2_a_true_webhook_replayed_a_thousand_times_is_one_fetch_and_then_none(
    rig: Rig, receiver: Receiver, measured: Callable[[str], None]
) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    raw = body(event(bill["Id"]))
    repeat(receiver, raw, 1000)
    files = len(waiting(rig.home, rig.name))
    fetches = work_off(rig)
    assert (files, fetches) == (1, 1)
    assert rig.cost_of(bill["Id"])["grand_total"] == "1250.00"
    mark = rig.procore.mark()
    repeat(receiver, raw, 1000)
    assert work_off(rig) == 0
    assert rig.procore.calls(mark) == []
    measured(
        f"F30/T2 1000 replays: {files} file, {fetches} fetch; 1000 more when it was done: 0 fetches, 0 writes"
    )


def test_F31_events_out_of_order_and_days_late_end_with_what_quickbooks_says(
    rig: Rig, receiver: Receiver, measured: Callable[[str], None]
) -> None:
    rig.sync()
    edited = rig.bookkeeper.bill("edited", [line(100, item="101")])
    deleted = rig.bookkeeper.bill("deleted", [line(70, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", edited, Line=[line(300, item="101")])
    rig.bookkeeper.delete("Bill", deleted)
    told = [
        event(edited["Id"], "updated", second=9),
        event(edited["Id"], "created", second=1),
        event(deleted["Id"], "deleted", second=8),
        event(deleted["Id"], "updated", second=2),
        event(deleted["Id"], "created", second=1),
    ]
    random.Random(31).shuffle(told)
    for each in told:
        assert receiver.post(body(each)) == 200
        work_off(rig)
    mark = rig.procore.mark()
    for late in ("created", "updated"):  # another delivery of what was true days ago
        assert receiver.post(body(event(edited["Id"], late, second=3))) == 200
        assert receiver.post(body(event(deleted["Id"], late, second=3))) == 200
    work_off(rig)
    stale = rig.procore.writes(mark)
    assert stale == []
    assert rig.cost_of(edited["Id"])["grand_total"] == "300.00"
    assert rig.record("Bill", deleted["Id"]).state == "reversed"
    assert [row.sync_token for row in versions(rig, edited["Id"])] == [0, 1]
    measured(f"F31 5 events shuffled, 4 days late: {len(stale)} stale writes")


def test_F35_while_postgres_is_away_events_are_taken_and_arrive_afterwards(
    rig: Rig, receiver: Receiver, postgres: PostgresServer, measured: Callable[[str], None]
) -> None:
    rig.sync()
    bills = [rig.bookkeeper.bill(f"F35-{number}", [line(10, item="101")]) for number in range(20)]
    with without_database(rig, postgres):
        with pytest.raises(OperationalError):
            rig.read()
        for bill in bills:
            assert receiver.post(body(event(bill["Id"]))) == 200
    acknowledged = len(waiting(rig.home, rig.name))
    assert acknowledged == 20
    fetches = work_off(rig)
    stored = live_bills(rig) & {bill["Id"] for bill in bills}
    assert len(stored) == 20
    assert len(rig.direct_costs()) == 20
    measured(
        f"F35 database away: 20 of 20 taken, {20 - len(stored)} acknowledged and not stored; {fetches} fetch"
    )


def test_F36_what_happened_while_the_receiver_was_down_for_13_hours_is_brought_by_one_poll(
    rig: Rig, measured: Callable[[str], None]
) -> None:
    down = datetime.now(UTC) - timedelta(hours=13)
    rig.qbo.clock(frozen=down.isoformat())
    rig.qbo.load(Bill=[raw_bill(number, total=f"{number}00.00") for number in range(1, 4)])
    reader(rig, clock=lambda: down).read([down.date()])
    rig.settle()
    rig.qbo.clock(offset_seconds=0)
    for hour in range(1, 13):  # nobody is told of any of them
        at = (down + timedelta(hours=hour)).isoformat()
        rig.qbo.load(Bill=[raw_bill(100 + hour, at=at)])
    rig.bookkeeper.edit("Bill", {"Id": "1"}, Line=[line(150, item="101")])
    rig.bookkeeper.delete("Bill", {"Id": "2"})
    mark = rig.qbo.mark()
    reading = rig.read()
    answered = [entry["path"].rpartition("/")[2] for entry in rig.qbo.journal(mark) if entry["status"] == 200]
    assert (reading.mode, reading.files, answered.count("cdc")) == (Mode.CDC, 0, 1)
    assert answered.count("query") <= 1
    rig.settle()
    expected = {"1", "3", *(str(100 + hour) for hour in range(1, 13))}
    lost = expected - live_bills(rig)
    assert (lost, live_bills(rig) - expected) == (set(), set())
    assert rig.cost_of("1")["grand_total"] == "150.00"
    assert rig.record("Bill", "2").state == "reversed"
    measured(f"F36 13 hours without a receiver, 14 changes: {len(lost)} lost, 1 CDC call")


def test_F37_T9_of_a_post_for_two_companies_only_ours_is_read_and_the_other_is_kept(
    rig: Rig, receiver: Receiver
) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    assert receiver.post(body(event("1", realm=STRANGER), event(bill["Id"]))) == 200
    assert work_off(rig) == 1
    asked = {entry["path"].split("/")[3] for entry in rig.qbo.journal() if "/company/" in entry["path"]}
    assert asked == {REALM}
    (kept,) = waiting(rig.home, "unknown")
    assert json.loads((rig.home.inbox / kept).read_text())["realm_id"] == STRANGER
    assert rig.cost_of(bill["Id"])["grand_total"] == "1250.00"


def test_F54_our_own_writing_asks_for_nothing_more(rig: Rig, receiver: Receiver) -> None:
    rig.sync()
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    assert receiver.post(body(event(bill["Id"]))) == 200
    work_off(rig)
    mark = rig.procore.mark()
    assert receiver.post(body(event(bill["Id"], second=30))) == 200
    assert work_off(rig) == 1
    assert rig.procore.calls(mark) == []


@contextmanager
def without_database(rig: Rig, postgres: PostgresServer) -> Iterator[None]:
    """The rig's database takes nobody, and those that it had are cut off."""
    name = rig.engine.url.database or ""
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(
        postgres.url("psycopg", "postgres").replace("+psycopg", ""), autocommit=True
    ) as server:
        server.execute(allow.format(sql.Identifier(name), sql.Literal(False)))
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            server.execute(allow.format(sql.Identifier(name), sql.Literal(True)))
