"""Webhooks as a receiver on loopback gets them."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ml_connector.sandbox.webhooks import signature
from ml_connector_tests.sandbox.conftest import REALM, Books, Samples
from ml_connector_tests.sandbox.test_qbo_shapes import differences

TOKEN = "b5771f19b12ddb4bcdb9f08bdc50bc63878a"


class Receiver:
    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        receiver = self

        class Post(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Post)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/webhooks/qbo"

    def events(self) -> list[Any]:
        return [event for _, body in self.posts for event in json.loads(body)]


@pytest.fixture
def receiver(books: Books) -> Iterator[Receiver]:
    here = Receiver()
    # Changes wait for the flush, so that each test sees its posts at once.
    settings = {"target": here.url, "verifier_token": TOKEN, "delay_seconds": 600, "retry_seconds": [0.05]}
    books.control("POST", "webhooks", settings)
    yield here
    here.server.shutdown()
    here.server.server_close()


def flush(books: Books, **settings: Any) -> dict[str, Any]:
    if settings:
        books.control("POST", "webhooks", settings)
    return dict(books.control("POST", "webhooks/flush")["counters"])


def test_the_signature_is_that_of_the_vector(samples: Samples) -> None:
    vector = samples["webhook-signature-vector"]
    assert signature(vector["rawBody"].encode(), vector["verifierToken"]) == vector["intuitSignature"]


def test_changes_are_posted_signed_as_cloud_events(
    books: Books, receiver: Receiver, samples: Samples
) -> None:
    bill = books.bill("100")
    payment = books.pay("100", ("Bill", bill["Id"], "100"))
    books.save("BillPayment", {"Id": payment["Id"], "SyncToken": "0"}, operation="delete")
    counters = flush(books)
    headers, body = receiver.posts[0]
    assert headers["intuit-signature"] == signature(body, TOKEN)
    assert set(samples["webhook-request-headers"]) <= set(headers)
    events = receiver.events()
    assert differences(samples["webhook-cloudevents"], events) == []
    told = [(event["type"], event["intuitentityid"], event["intuitaccountid"]) for event in events]
    assert told == [
        ("qbo.bill.created.v1", bill["Id"], REALM),
        ("qbo.billpayment.created.v1", payment["Id"], REALM),
        ("qbo.bill.updated.v1", bill["Id"], REALM),
        ("qbo.billpayment.deleted.v1", payment["Id"], REALM),
        ("qbo.bill.updated.v1", bill["Id"], REALM),
    ]
    assert (counters["sent"], counters["posts"], counters["pending"]) == (5, 1, 0)


@pytest.mark.parametrize("verb", ["void", "voided"])
def test_a_void_has_the_verb_that_is_switched_on(books: Books, receiver: Receiver, verb: str) -> None:
    bill = books.bill("100")
    payment = books.pay("100", ("Bill", bill["Id"], "100"))
    sent = {"Id": payment["Id"], "SyncToken": "0", "sparse": True}
    books.save("BillPayment", sent, operation="update", include="void")
    flush(books, void_verb=verb)
    assert f"qbo.billpayment.{verb}.v1" in [event["type"] for event in receiver.events()]


def test_the_legacy_form_names_the_loser_of_a_merge(
    books: Books, receiver: Receiver, samples: Samples
) -> None:
    books.control("POST", "merge", {"loser": "46", "winner": "56"})
    flush(books, form="legacy")
    body = json.loads(receiver.posts[0][1])
    assert differences(samples["webhook-legacy-merge-composed"], body) == []
    entity = body["eventNotifications"][0]["dataChangeEvent"]["entities"][0]
    assert (entity["operation"], entity["id"], entity["deletedId"]) == ("Merge", "56", "46")


def test_duplicates_strangers_size_and_loss_come_on_demand(books: Books, receiver: Receiver) -> None:
    books.control("POST", "webhooks", {"duplicates": 2, "lose_every": 2})
    first = books.bill("1")
    books.bill("2")
    flush(books, extra_realms=["999"], size=5000)
    events = receiver.events()
    told = [(event["intuitaccountid"], event["intuitentityid"]) for event in events]
    assert told == [(REALM, first["Id"])] * 3 + [("999", "1")]
    assert len({event["id"] for event in events[:3]}) == 1
    assert len(receiver.posts[0][1]) == 5000


def test_shuffled_events_come_in_another_order_by_seed(books: Books, receiver: Receiver) -> None:
    ids = [books.bill("1")["Id"] for _ in range(8)]
    flush(books, shuffle=True, seed=3)
    got = [event["intuitentityid"] for event in receiver.events()]
    assert (got != ids, sorted(got)) == (True, sorted(ids))


@pytest.mark.parametrize("forge", ["bad_signature", "altered_body", "no_signature"])
def test_a_forged_post_does_not_match_its_signature(books: Books, receiver: Receiver, forge: str) -> None:
    books.bill("1")
    flush(books, forge=forge)
    headers, body = receiver.posts[0]
    assert headers.get("intuit-signature") != signature(body, TOKEN)
    assert ("intuit-signature" in headers) == (forge != "no_signature")


def test_a_refused_post_is_sent_again_and_then_given_up(books: Books, receiver: Receiver) -> None:
    receiver.statuses = [503]
    books.bill("1")
    assert flush(books)["statuses"] == {"503": 1, "200": 1}
    receiver.statuses = [503, 503]
    books.bill("2")
    counters = flush(books)
    assert (counters["sent"], counters["failed"], len(receiver.posts)) == (1, 1, 4)
    assert receiver.posts[2][1] == receiver.posts[3][1]


def test_paused_webhooks_wait(books: Books, receiver: Receiver) -> None:
    books.control("POST", "webhooks", {"paused": True})
    books.bill("1")
    assert flush(books)["pending"] == 1
    assert flush(books, paused=False)["pending"] == 0
    assert len(receiver.posts) == 1


def test_an_event_goes_out_by_itself_when_its_delay_is_over(books: Books, receiver: Receiver) -> None:
    books.control("POST", "webhooks", {"delay_seconds": 0.05})
    books.bill("1")
    assert _arrived(receiver)


def _arrived(receiver: Receiver) -> bool:
    for _ in range(500):
        if receiver.posts:
            return True
        time.sleep(0.02)
    return False
