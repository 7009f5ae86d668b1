"""Faults as a client meets them at the socket, and what the journal says about each."""

import gzip
import json
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from ml_connector_tests.sandbox.conftest import REALM, Books, account_line

BILLS = f"POST /v3/company/{REALM}/bill"
BODY = {"VendorRef": {"value": "56"}, "Line": [account_line("150")]}


def create(books: Books, **options: Any) -> requests.Response:
    return books.call("POST", "bill", json=BODY, **options)


def bills(books: Books) -> int:
    return len(books.control("GET", "records/Bill"))


def last(books: Books) -> tuple[Any, Any, Any]:
    entry = books.journal()[-1]
    return entry["status"], entry["processed"], entry["fault"]


def test_accept_then_drop_does_the_work_and_says_nothing(books: Books) -> None:
    books.fault(BILLS, "accept_then_drop", nth=1)
    with pytest.raises(requests.ConnectionError):
        create(books)
    assert (bills(books), last(books)) == (1, (None, True, "accept_then_drop"))
    assert create(books).status_code == 200


def test_drop_does_nothing(books: Books) -> None:
    books.fault(BILLS, "drop", nth=1)
    with pytest.raises(requests.ConnectionError):
        create(books)
    assert (bills(books), last(books)) == (0, (None, False, "drop"))


def test_work_after_disconnect_works_when_the_client_has_gone(books: Books) -> None:
    books.fault(BILLS, "work_after_disconnect", args={"seconds": 0.3})
    with pytest.raises(requests.ConnectionError):
        create(books)
    assert bills(books) == 0
    wait_for(lambda: bills(books) == 1)
    wait_for(lambda: last(books) == (None, True, "work_after_disconnect"))


def test_a_waiting_fault_does_not_hold_up_others(books: Books) -> None:
    books.fault("GET /v3/*/preferences", "delay", args={"seconds": 5})
    books.ask("GET", "vendor/56")
    slow = threading.Thread(target=lambda: _ignore_timeout(books))
    slow.start()
    assert books.call("GET", "vendor/56", timeout=3).status_code == 200
    slow.join()


def _ignore_timeout(books: Books) -> None:
    other = Books(books.url)
    other.token = books.token
    with pytest.raises(requests.ReadTimeout):
        other.call("GET", "preferences", timeout=1)
    other.session.close()


def test_status_is_answered_in_the_vendors_own_words_without_work(books: Books) -> None:
    books.fault(BILLS, "status", nth=[1, 2], args={"status": 503, "retry_after": 7})
    books.fault(BILLS, "status", nth=3, args={"status": 422, "body": {"odd": 1}, "processed": True})
    answers = [create(books) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 422, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert answers[0].json()["Fault"]["Error"][0]["code"] == "10000"
    assert (answers[2].json(), bills(books)) == ({"odd": 1}, 2)


@pytest.mark.parametrize(
    ("wait", "header"), [(30, "30"), ("absent", None), ({"date": 60}, "Wed, 20 May 2026 19:01:00 GMT")]
)
def test_retry_after_comes_in_each_form(books: Books, wait: Any, header: str | None) -> None:
    books.control("POST", "clock", {"frozen": "2026-05-20T12:00:00-07:00"})
    books.fault("GET /v3/*", "retry_after", args={"retry_after": wait})
    answer = books.call("GET", "preferences")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, header)


def test_rate_refuses_over_n_in_a_window_of_the_sandboxs_clock(books: Books) -> None:
    books.control("POST", "clock", {"frozen": "2026-05-20T12:00:00-07:00"})
    books.fault("GET /v3/*", "rate", args={"window": 10, "n": 2})
    statuses = [books.call("GET", "preferences").status_code for _ in range(3)]
    books.control("POST", "clock", {"frozen": "2026-05-20T12:00:10-07:00"})
    assert [*statuses, books.call("GET", "preferences").status_code] == [200, 200, 429, 200]


def test_down_closes_every_connection_between_two_moments(books: Books) -> None:
    books.ask("GET", "preferences")
    books.control("POST", "clock", {"frozen": "2026-05-20T12:00:00-07:00"})
    books.token = books.refresh().json()
    books.fault("* *", "down", args={"from": 60, "to": 120})
    assert books.call("GET", "preferences").status_code == 200
    books.control("POST", "clock", {"frozen": "2026-05-20T12:01:00-07:00"})
    with pytest.raises(requests.ConnectionError):
        books.call("GET", "preferences")
    books.control("POST", "clock", {"frozen": "2026-05-20T12:02:00-07:00"})
    assert books.call("GET", "preferences").status_code == 200


def test_truncate_promises_more_than_it_sends(books: Books) -> None:
    books.fault("GET /v3/*", "truncate", args={"bytes": 10})
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        books.call("GET", "vendor/56")


def test_reset_is_a_real_connection_reset(books: Books) -> None:
    books.ask("GET", "vendor/56")
    books.fault("GET /v3/*", "reset", args={"when": "after"})
    host = urlsplit(books.url)
    with socket.create_connection((str(host.hostname), int(host.port or 0)), timeout=5) as raw:
        raw.sendall(f"GET /v3/company/{REALM}/vendor/56 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            raw.recv(100)


def test_a_reset_in_the_middle_of_the_answer_follows_the_work(books: Books) -> None:
    books.fault(BILLS, "reset", nth=1)
    with pytest.raises(requests.RequestException):
        create(books)
    assert bills(books) == 1


def test_drip_is_slow_and_whole(books: Books) -> None:
    books.ask("GET", "preferences")
    whole = books.call("GET", "vendor/56").content
    books.fault("GET /v3/*", "drip", args={"bytes_per_second": 2000})
    began = time.monotonic()
    assert len(books.call("GET", "vendor/56").content) == len(whole)
    assert time.monotonic() - began >= len(whole) / 2000


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("malformed", lambda text: not _parses(text)),
        ("html", lambda text: text.startswith("<!DOCTYPE html>")),
        ("empty", lambda text: text == ""),
        ("nan", lambda text: '"TotalAmt":NaN' in text),
        ("dupkeys", lambda text: '"TotalAmt":0,"TotalAmt":150' in text),
        ("xml", lambda text: "<TotalAmt>150</TotalAmt>" in text),
        ("huge", lambda text: len(text) > 1_000_000 and _parses(text)),
    ],
)
def test_a_body_is_spoiled_after_the_work(books: Books, kind: str, expected: Any) -> None:
    books.fault(BILLS, "body", args={"kind": kind, "megabytes": 1})
    answer = create(books)
    assert (answer.status_code, bills(books)) == (200, 1)
    assert expected(answer.text)


def test_a_gzip_bomb_is_small_on_the_wire(books: Books) -> None:
    books.fault("GET /v3/*", "body", args={"kind": "gzipbomb", "megabytes": 20})
    answer = books.call("GET", "vendor/56", stream=True)
    raw = answer.raw.read(decode_content=False)
    assert len(raw) < 100_000
    assert len(gzip.decompress(raw)) > 20_000_000


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_redirect_and_headers_lead_elsewhere_without_work(books: Books) -> None:
    books.fault(BILLS, "redirect", nth=1, args={"url": "http://127.0.0.1:1/"})
    books.fault(BILLS, "header", nth=2, args={"headers": {"Link": '<http://127.0.0.1:1/>; rel="next"'}})
    moved = create(books, allow_redirects=False)
    assert (moved.status_code, moved.headers["Location"], bills(books)) == (302, "http://127.0.0.1:1/", 0)
    assert create(books).headers["Link"].startswith("<http://127.0.0.1:1/>")


def test_rules_choose_by_every_probability_times_and_content(books: Books) -> None:
    books.fault("GET /v3/*/vendor/*", "status", every=2, times=1, args={"status": 500})
    books.fault("GET /v3/*/query", "status", contains="from Bill", args={"status": 500})
    seen = [books.call("GET", "vendor/56").status_code for _ in range(4)]
    assert seen == [200, 500, 200, 200]
    statements = ["select * from Bill", "select * from Vendor"]
    found = [books.call("GET", "query", params={"query": text}).status_code for text in statements]
    assert found == [500, 200]
    listed = books.control("GET", "faults")
    assert [(rule["seen"], rule["hits"]) for rule in listed] == [(4, 1), (1, 1)]
    books.control("DELETE", "faults")
    assert books.control("GET", "faults") == []


def test_probability_comes_back_with_its_seed(books: Books) -> None:
    def run() -> list[int]:
        books.control("DELETE", "faults")
        books.fault("GET /v3/*", "status", probability=0.5, seed=7, args={"status": 500})
        return [books.call("GET", "vendor/56").status_code for _ in range(20)]

    first = run()
    assert (first == run(), len(set(first))) == (True, 2)


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "gremlins"},
        {"fault": "delay"},
        {"fault": "body", "args": {"kind": "odd"}},
        {"fault": "drop", "nth": 1, "every": 2},
        {"fault": "drop", "probability": 0.5},
        {"fault": "drop", "when": "now"},
    ],
)
def test_a_rule_that_cannot_be_carried_out_is_refused_when_it_is_given(
    books: Books, rule: dict[str, Any]
) -> None:
    answer = books.session.post(f"{books.url}/_control/faults", json=[rule], timeout=10)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def wait_for(reached: Any) -> None:
    until = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < until, "it did not come about in ten seconds"
        time.sleep(0.02)
