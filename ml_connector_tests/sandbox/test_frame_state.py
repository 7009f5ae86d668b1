"""Journal, clock, records and control routes, and that they outlive a kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_connector.sandbox.assembly import open_qbo
from ml_connector.sandbox.journal import Journal
from ml_connector.sandbox.records import Records
from ml_connector.sandbox.wire import Request, Response, parse_json, write_json
from ml_connector_tests.sandbox.conftest import STARTING_BOOKS, Books


def test_money_keeps_its_digits_through_json() -> None:
    text = '{"a":900.0,"b":103.55,"c":205,"d":0.1,"e":12345678901234567.89,"f":"9.0","g":-1E+2}'
    assert write_json(parse_json(text)) == text


def test_the_journal_tells_of_every_request(books: Books) -> None:
    books.bill("150")
    books.call("GET", "query", params={"query": "select * from Bill"})
    books.call("GET", "bill/999")
    entries = books.journal()
    told = [(entry["n"], entry["method"], entry["status"], entry["records"]) for entry in entries]
    assert told == [(1, "POST", 200, 0), (2, "POST", 200, 1), (3, "GET", 200, 1), (4, "GET", 400, 0)]
    assert [entry["outcome"] for entry in entries] == [
        "token issued",
        "created Bill 1",
        "query Bill: 1 rows",
        "fault 610",
    ]
    assert entries[2]["query"] == "query=select+%2A+from+Bill"
    assert books.control("GET", "journal?since=3") == entries[3:]
    calls = books.control("GET", "calls")
    assert (calls["total"], calls["token"]) == (3, 1)
    assert calls["by_route"]["POST /v3/company/{id}/bill"] == 1


def test_the_journal_lists_origin_ids_of_a_body(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl", vendor="procore")
    body = b'{"updates":[{"origin_id":"a","lines":[{"origin_id":"b"}]},{"origin_id":null}]}'
    journal.add(Request("PATCH", "/x", body=body), Response(200), at="now", processed=True, fault=None)
    journal.add(Request("POST", "/x", body=b"origin_id"), Response(0), at="now", processed=True, fault=None)
    assert [(entry["origin_ids"], entry["status"]) for entry in journal.since(0)] == [
        (["a", "b"], 200),
        ([], None),
    ]
    journal.close()


def test_a_line_of_the_journal_that_a_kill_cut_off_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text('{"n": 1}\n{"n": 2, "met')
    journal = Journal(path, vendor="qbo")
    journal.add(Request("GET", "/x"), Response(200), at="now", processed=True, fault=None)
    journal.close()
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [1, 2]


def test_records_keep_order_sequences_and_views_across_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    records = Records(path)
    for number in (3, 1, 2):
        records.put("k", str(number), {"Id": str(number), "even": number % 2 == 0})
    assert (records.next_id("s", 5), records.next_id("s", 5)) == (5, 6)
    records.commit()
    records.drop("k", "1")
    records.commit()
    records.put("k", "9", {"Id": "9", "even": True})
    records.close()

    again = Records(path)
    index = again.index("k", lambda doc: doc["even"])
    order = again.order("k", lambda doc: float(doc["Id"]))
    assert [doc["Id"] for doc in again.all("k")] == ["3", "2"]
    assert again.next_id("s", 5) == 7
    again.put("k", "3", {"Id": "3", "even": True})
    again.put("k", "7", {"Id": "7", "even": False})
    assert [doc["Id"] for doc in index.find(True)] == ["2", "3"]
    assert [doc["Id"] for doc in order.between(3, 7)] == ["3", "7"]
    again.clear()
    assert (index.find(True), order.between(0, 9), again.count("k")) == ([], [], 0)
    again.close()


def test_state_journal_clock_and_switches_survive_a_stop(tmp_path: Path) -> None:
    def opened() -> tuple[Any, Books]:
        server = open_qbo(directory=tmp_path)
        server.start()
        return server, Books(server.url)

    server, books = opened()
    books.control("POST", "load", STARTING_BOOKS)
    bill = books.bill("103.55")
    books.control("POST", "switches", {"token": "single_use"})
    books.control("POST", "clock", {"frozen": "2026-05-20T12:00:00-07:00"})
    books.session.close()
    server.stop()

    server, again = opened()
    again.token = books.token
    assert again.read("Bill", bill["Id"]) == bill
    assert again.control("GET", "switches")["token"] == "single_use"
    assert again.control("GET", "health")["now"] == "2026-05-20T19:00:00+00:00"
    assert [entry["n"] for entry in again.journal()] == [1, 2, 3]
    again.session.close()
    server.stop()


@pytest.mark.parametrize(
    ("order", "now"),
    [({"frozen": "2026-05-20T12:00:00-07:00"}, "2026-05-20T19:00:00+00:00")],
)
def test_the_clock_is_frozen_until_told_otherwise(books: Books, order: dict[str, str], now: str) -> None:
    assert books.control("POST", "clock", order)["now"] == now
    assert books.control("GET", "clock")["now"] == now
    assert books.control("POST", "clock", {"frozen": None})["now"] != now
    shifted = books.control("POST", "clock", {"at": "2030-01-01T00:00:00Z"})
    assert shifted["now"].startswith("2030-01-01T00:00:0")


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("clock", {"at": "2030-01-01T00:00:00"}),
        ("clock", {}),
        ("switches", {"no_such": 1}),
        ("switches", {"token": "sometimes"}),
        ("load", {"Bills": []}),
        ("load", {"App": [{"client_id": "x"}]}),
        ("reset", {"seed": "full"}),
        ("webhooks", {"target": "http://example.com/"}),
        ("webhooks", {"forge": "perfectly"}),
        ("merge", {"loser": "1", "winner": "2"}),
    ],
)
def test_a_control_order_that_is_not_understood_is_refused(
    books: Books, route: str, body: dict[str, Any]
) -> None:
    answer = books.session.post(f"{books.url}/_control/{route}", json=body, timeout=10)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert books.session.get(f"{books.url}/_control/nothing", timeout=10).status_code == 404


def test_reset_forgets_all_but_the_journal(books: Books) -> None:
    books.bill("1")
    books.fault("* *", "drop")
    books.control("POST", "reset", {"seed": "empty"})
    assert books.control("GET", "records/Bill") == []
    assert books.control("GET", "faults") == []
    assert len(books.journal()) == 2


class Sandbox:
    """The command line in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "ml_connector.sandbox.main", "--journal", str(folder)]
        root = Path(__file__).resolve().parents[2]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True)
        assert self.process.stdout is not None
        self.urls = json.loads(self.process.stdout.readline())

    def end(self, number: signal.Signals) -> int:
        os.kill(self.process.pid, number)
        return self.process.wait(20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Opener = Callable[[Path], Sandbox]


@pytest.fixture
def sandboxes() -> Iterator[Opener]:
    """Starts sandboxes and ends those that a test has left running."""
    opened: list[Sandbox] = []

    def opener(folder: Path) -> Sandbox:
        opened.append(Sandbox(folder))
        return opened[-1]

    yield opener
    for sandbox in opened:
        sandbox.close()


@pytest.mark.processes
def test_records_and_journal_survive_kill_9_of_the_process(tmp_path: Path, sandboxes: Opener) -> None:
    sandbox = sandboxes(tmp_path)
    books = Books(sandbox.urls["qbo"])
    books.control("POST", "load", STARTING_BOOKS)
    bills = [books.bill(f"{number}.05") for number in range(1, 6)]
    assert sandbox.end(signal.SIGKILL) == -signal.SIGKILL
    books.session.close()

    sandbox = sandboxes(tmp_path)
    again = Books(sandbox.urls["qbo"])
    again.token = books.token
    assert again.control("GET", "records/Bill") == bills
    assert [entry["n"] for entry in again.journal()] == [1, 2, 3, 4, 5, 6]
    assert again.bill("9")["Id"] == str(int(bills[-1]["Id"]) + 1)
    assert again.journal()[-1]["n"] == 7
    again.session.close()
    assert sandbox.end(signal.SIGTERM) == 0


@pytest.mark.processes
def test_both_vendors_answer_on_their_own_ports(tmp_path: Path, sandboxes: Opener) -> None:
    sandbox = sandboxes(tmp_path)
    for name, url in sandbox.urls.items():
        books = Books(url)
        assert books.control("GET", "health")["vendor"] == name
        books.session.close()
    assert books.session.get(f"{sandbox.urls['procore']}/_control/webhooks", timeout=10).status_code == 404
    books.session.close()
    assert sandbox.end(signal.SIGINT) == 0
