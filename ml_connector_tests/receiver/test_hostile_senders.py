"""Floods, giants and slow senders against a real receiver (F33, F34, F38, T3): true events are answered meanwhile."""

import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest
import requests

from ml_connector_tests.receiver.conftest import Receiver, sign

pytestmark = pytest.mark.processes

QBO_WAITS = 3.0  # seconds, then it counts as not delivered (qbo-api 10)
HEAD = b"POST /webhooks/qbo HTTP/1.1\r\nHost: x\r\n"
LARGEST = 1024 * 1024
_numbers = count(1)


def event() -> bytes:
    """A post of one bill that no other post has."""
    return json.dumps(
        [
            {
                "type": "qbo.bill.updated.v1",
                "intuitentityid": str(next(_numbers)),
                "intuitaccountid": "1185883450",
            }
        ]
    ).encode()


def percentile(seconds: Sequence[float], share: float) -> float:
    return sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)]


def said(seconds: Sequence[float]) -> str:
    p50, p99 = (percentile(seconds, share) * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {max(seconds) * 1000:.0f} ms"


def answered(receiver: Receiver, number: int, *, at_once: int = 4) -> list[float]:
    """How long true events took; each was answered with 200."""

    def post(_: int) -> float:
        began = time.monotonic()
        assert receiver.post(event()) == 200
        return time.monotonic() - began

    with ThreadPoolExecutor(at_once) as senders:
        return list(senders.map(post, range(number)))


@contextmanager
def attack(receiver: Receiver, number: int, sends: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that send this much and then nothing."""
    peers = [socket.create_connection(("127.0.0.1", receiver.port), timeout=60) for _ in range(number)]

    def send() -> None:
        for peer in peers:
            try:
                peer.sendall(sends)
            except OSError:  # refused in the middle
                continue

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield peers
    finally:
        for peer in peers:
            peer.close()
        sender.join()


def closed_after(peers: Sequence[socket.socket], began: float) -> list[float]:
    """Seconds from `began` until the receiver closed each connection; gives up after 30."""
    seconds = []
    with selectors.DefaultSelector() as waiting:
        for peer in peers:
            waiting.register(peer, selectors.EVENT_READ)
        while waiting.get_map() and time.monotonic() < began + 30:
            for key, _ in waiting.select(timeout=1):
                try:
                    open_still = bool(key.fileobj.recv(65_536))  # type: ignore[union-attr]
                except OSError:
                    open_still = False
                if not open_still:
                    waiting.unregister(key.fileobj)
                    seconds.append(time.monotonic() - began)
    return seconds


SLOW = {
    "half a head": (400, b"POST /webhooks/qbo HTTP/1.1\r\nHost:"),
    "one byte of a body": (100, HEAD + b"Content-Length: 100\r\n\r\nx"),
    "nothing": (100, b""),
    "nothing after a request": (100, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"),
}


def test_F34_T3_700_slow_senders_are_closed_and_true_events_are_answered_meanwhile(
    receiver: Receiver, measured: Callable[[str], None]
) -> None:
    began = time.monotonic()
    with ExitStack() as attacks:
        peers = [
            peer
            for number, sends in SLOW.values()
            for peer in attacks.enter_context(attack(receiver, number, sends))
        ]
        taken = answered(receiver, 100)
        closed = closed_after(peers, began)
    assert len(closed) == len(peers) == 700, "open after 30 s"
    assert max(taken) < QBO_WAITS
    closing = f"closed after {min(closed):.1f} to {max(closed):.1f} s"
    measured(f"F34 400 half heads and 300 more slow senders: {closing}; true events {said(taken)}")


def test_F33_T3_a_flood_of_large_unsigned_bodies_takes_bounded_memory_and_delays_nobody(
    receiver: Receiver, measured: Callable[[str], None]
) -> None:
    before = receiver.peak()
    flood = HEAD + b"intuit-signature: x\r\nContent-Length: %d\r\n\r\n" % LARGEST + b"x" * (LARGEST - 1)
    with attack(receiver, 200, flood):
        taken = answered(receiver, 100)
        began = time.monotonic()
        assert requests.get(f"{receiver.url}/health", timeout=QBO_WAITS).status_code == 200
        health = time.monotonic() - began
    assert max(taken) < QBO_WAITS
    grown = receiver.peak() - before
    assert grown < 100, "200 MiB were sent"
    measured(
        f"F33/T3 flood of 200 MiB: memory +{grown} MiB; true events {said(taken)}; health {health * 1000:.0f} ms"
    )


def test_F33_T3_forged_posts_without_end_delay_nobody(
    receiver: Receiver, measured: Callable[[str], None]
) -> None:
    ended = threading.Event()

    def forge() -> int:
        number = 0
        with requests.Session() as session:
            while not ended.is_set():
                answer = session.post(
                    f"{receiver.url}/webhooks/qbo",
                    data=event(),
                    headers={"intuit-signature": "x"},
                    timeout=20,
                )
                assert answer.status_code == 401
                number += 1
        return number

    with ThreadPoolExecutor(4) as forgers:
        forged = [forgers.submit(forge) for _ in range(4)]
        try:
            taken = answered(receiver, 100, at_once=1)
        finally:
            ended.set()
    assert max(taken) < QBO_WAITS
    assert len(receiver.names()) == 100, "true ones alone"
    assert receiver.log.read_text().count("webhook_refused") <= 40
    measured(f"T3 {sum(each.result() for each in forged)} forged posts meanwhile: true events {said(taken)}")


def raw_answer(receiver: Receiver, *sends: bytes) -> bytes:
    """What comes back before the connection ends."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as sender:
        try:
            for part in sends:
                sender.sendall(part)
        except OSError:  # cut off while it was still sending
            pass
        try:
            return sender.recv(65_536)
        except ConnectionResetError:
            return b""


def events(number: int) -> bytes:
    """One true post of so many changes in the short form."""
    entities = [{"name": "Bill", "id": str(n), "operation": "Update"} for n in range(number)]
    change = {"realmId": "1185883450", "dataChangeEvent": {"entities": entities}}
    return json.dumps({"eventNotifications": [change]}, separators=(",", ":")).encode()


def test_F33_giants_are_refused_in_bounded_memory_and_a_true_big_batch_is_taken(
    receiver: Receiver, measured: Callable[[str], None]
) -> None:
    big = events(10_000)
    assert len(big) < LARGEST
    assert receiver.post(big) == 200
    assert len(receiver.parts()[0]["events"]) == 10_000
    before = receiver.peak()
    declared = HEAD + b"Content-Length: 10000000\r\n\r\n"
    assert raw_answer(receiver, declared).startswith(b"HTTP/1.1 413"), "before a byte of it came"
    assert receiver.post(events(100_000)) == 413
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    endless = raw_answer(receiver, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[piece] * 160)
    assert endless.startswith(b"HTTP/1.1 413") or not endless
    for deep in (b"[" * LARGEST, b'{"eventNotifications":' * 40_000, b'[{"type":' + b"[" * 500_000):
        assert receiver.post(deep) == 200, "it is signed: kept for a person"
    assert [name.partition("__")[0] for name in receiver.names()] == ["acme", "unknown", "unknown", "unknown"]
    assert raw_answer(receiver, HEAD + b"X: " + b"x" * 500_000).startswith((b"HTTP/1.1 4", b""))
    grown = receiver.peak() - before
    assert grown < 100
    measured(f"F33 10 MB, endless chunks, 100,000 events, deep JSON: memory +{grown} MiB")


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: x\r\n",
    ],
    ids=lambda framing: framing.decode().replace("\r\n", " "),
)
def test_F33_two_opinions_on_the_length_never_make_a_second_request(
    receiver: Receiver, framing: bytes
) -> None:
    hidden = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as sender:
        sender.sendall(HEAD + framing + b"Connection: close\r\n\r\n0\r\n\r\n" + hidden)
        answer = b"".join(iter(lambda: sender.recv(4096), b""))
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 413"))
    assert answer.count(b"HTTP/1.1") == 1
    assert receiver.names() == []


def test_F38_a_burst_of_500_events_is_answered_in_time_and_stored(
    receiver: Receiver, measured: Callable[[str], None]
) -> None:
    done = receiver.home / "done"
    for number in range(20_000):  # what lies there of the last weeks must not be searched for every event
        (done / f"acme__20260501T000000Z__{number:016x}.json").touch()
    began = time.monotonic()
    taken = answered(receiver, 500, at_once=20)
    lasted = time.monotonic() - began
    assert len(receiver.names()) == 500
    assert percentile(taken, 0.99) < QBO_WAITS
    measured(f"F38 burst of 500 events, 20 at a time, {lasted:.1f} s: {said(taken)}")


def test_F30_the_same_event_a_thousand_times_at_once_is_one_file(
    receiver: Receiver, measured: Callable[[str], None]
) -> None:
    raw, local = event(), threading.local()
    headers = {"intuit-signature": sign(raw)}

    def post(_: int) -> int:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        with local.session.post(
            f"{receiver.url}/webhooks/qbo", data=raw, headers=headers, timeout=20
        ) as answer:
            return int(answer.status_code)

    with ThreadPoolExecutor(32) as senders:
        answers = list(senders.map(post, range(1000)))
    assert set(answers) == {200}
    assert len(receiver.names()) == 1
    measured("F30 one event 1000 times, 32 at a time: 1000 answered 200, 1 file")
