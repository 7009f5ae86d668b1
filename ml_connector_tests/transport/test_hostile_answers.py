"""Answers that lie, drip, break off, swell or lead away: the fault matrix at the level of one session."""

import gzip
import socket
import threading
import tracemalloc

import pytest

from ml_connector.errors import OutcomeUnknown, PermanentError
from ml_connector.transport.call import Call
from ml_connector.transport.retry import Kind
from ml_connector.transport.session import Bounds
from ml_connector.transport.wire import Timeouts
from ml_connector_tests.transport.doubles import FakeTime, Tokens, session
from ml_connector_tests.transport.loopback import Reply, Request, answer, serving

READ = Call("GET", "/rest/v1.0/vendors", Kind.READ)
WRITE = Call("POST", "/rest/v1.0/vendors", Kind.WRITE, content=b"{}", content_type="application/json")
ONE_TRY = Bounds(Timeouts(connect=1.0, read=0.4, total=0.8), patience=0.0, body=100_000)


def silent(peer: socket.socket, _: Request) -> None:
    """Never answer; end when the client hangs up."""
    peer.recv(1)


def dripping(content: bytes) -> Reply:
    """Send byte by byte, each well within the read timeout; whole, the answer would be good."""

    def reply(peer: socket.socket, _: Request) -> None:
        for byte in content:
            peer.sendall(bytes([byte]))
            if threading.Event().wait(0.1):
                return

    return reply


def reset_after(content: bytes) -> Reply:
    """Send a part, then reset the connection."""

    def reply(peer: socket.socket, _: Request) -> None:
        peer.sendall(content)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    return reply


def half(body: bytes) -> bytes:
    """An answer whose body ends before its length."""
    return answer(200, body, length=len(body) * 2)


HEAD_ONLY = b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n"
NO_ANSWERS = {
    "F02 connected and no answer": silent,
    "F03 dripping head": dripping(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + b"x" * 300 + b"\r\n\r\n{}"
    ),
    "F03 dripping body": dripping(HEAD_ONLY + b"[" + b" " * 398 + b"]"),
    "F07 truncated body": half(b'[{"id":1}]'),
    "F07 reset in the body": reset_after(HEAD_ONLY + b'[{"id":'),
    "F07 reset instead of an answer": reset_after(b""),
    "F07 hung up instead of an answer": b"",
    "F07 chunked body without its end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n",
    "F07 body without length that just ends": b'HTTP/1.1 200 OK\r\n\r\n[{"id":1},',
}
BROKEN = {
    "F08 HTML with 200": answer(200, b"<html>down for maintenance</html>", {"Content-Type": "text/html"}),
    "F08 empty 200": answer(200, b""),
    "F08 malformed JSON": answer(200, b'{"entities":['),
    "F08 doubled keys": answer(200, b'{"id":1,"id":2}'),
    "F08 NaN": answer(200, b'{"amount":NaN}'),
    "F08 no gzip behind gzip": answer(200, b"plain text", {"Content-Encoding": "gzip"}),
}
UNCLEAR = {**NO_ANSWERS, **BROKEN}


@pytest.mark.parametrize("reply", UNCLEAR.values(), ids=UNCLEAR)
def test_an_unclear_answer_leaves_a_write_unknown_after_one_request(reply: Reply) -> None:
    with serving(reply) as server:
        with pytest.raises(OutcomeUnknown):
            session(server.origin, FakeTime(), bounds=ONE_TRY).send(WRITE)
        assert len(server.requests) == 1


@pytest.mark.parametrize("reply", UNCLEAR.values(), ids=UNCLEAR)
def test_an_unclear_answer_lets_a_read_be_repeated(reply: Reply) -> None:
    patient = Bounds(ONE_TRY.timeouts, patience=600.0, body=ONE_TRY.body)
    with serving(reply, answer(200, [{"id": 1}])) as server:
        assert session(server.origin, FakeTime(), bounds=patient).send(READ).body == [{"id": 1}]
        assert len(server.requests) == 2


def test_F02_a_peer_that_does_not_read_a_large_body_is_cut_at_the_total_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        big = Call("POST", "/rest", Kind.WRITE, content=b" " * 50_000_000)
        with pytest.raises(OutcomeUnknown):
            session(origin, FakeTime(), bounds=ONE_TRY).send(big)


def test_an_error_counts_by_its_status_even_when_its_body_breaks_off() -> None:
    with serving(answer(422, b'{"errors":', length=500)) as server, pytest.raises(PermanentError) as caught:
        session(server.origin, FakeTime(), bounds=ONE_TRY).send(WRITE)
    assert caught.value.status == 422


@pytest.mark.parametrize("kind", [READ, WRITE])
def test_F09_a_redirect_is_not_followed_and_the_token_stays_here(kind: Call) -> None:
    with (
        serving(answer(200, {})) as foreign,
        serving(answer(302, headers={"Location": f"{foreign.origin}/x"})) as server,
    ):
        with pytest.raises((PermanentError, OutcomeUnknown)):
            session(server.origin, FakeTime(), tokens=Tokens()).send(kind)
        assert len(server.requests) == 1
        assert foreign.requests == []


def test_F09_an_address_of_another_host_is_refused_before_any_byte_is_sent() -> None:
    with serving(answer(200, {})) as foreign, serving(answer(200, {})) as server:
        vendor = session(server.origin, FakeTime(), tokens=Tokens())
        with pytest.raises(PermanentError, match="another host"):
            vendor.send(Call("GET", f"{foreign.origin}/rest", Kind.READ))
        assert (foreign.requests, server.requests) == ([], [])
        vendor.send(Call("GET", f"{server.origin}/rest?page=2", Kind.READ))
        assert server.requests[0].target == "/rest?page=2"


def bomb(size: int) -> bytes:
    return answer(200, gzip.compress(b"[" + b"0," * (size // 2) + b"0]"), {"Content-Encoding": "gzip"})


def test_F10_a_gzip_bomb_is_cut_at_the_cap_and_memory_stays_bounded() -> None:
    reply = bomb(200_000_000)
    with serving(reply) as server:
        tracemalloc.start()
        with pytest.raises(PermanentError, match="too large"):
            session(server.origin, FakeTime(), bounds=Bounds(patience=600.0, body=1_000_000)).send(READ)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(server.requests) == 1
    assert peak < 20_000_000


def test_F10_an_answer_that_is_too_large_leaves_a_write_unknown() -> None:
    with serving(answer(200, b"[" + b"0," * 60_000 + b"0]")) as server, pytest.raises(OutcomeUnknown):
        session(server.origin, FakeTime(), bounds=ONE_TRY).send(WRITE)


def test_F10_a_compressed_answer_within_the_cap_is_read_whole() -> None:
    with serving(bomb(90_000)) as server:
        assert len(session(server.origin, FakeTime(), bounds=ONE_TRY).send(READ).body) == 45_001


def test_T7_a_netrc_of_the_user_does_not_replace_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serving(answer(200, {})) as server:
        session(server.origin, FakeTime(), tokens=Tokens()).send(READ)
        assert server.requests[0].headers["authorization"] == "Bearer token-0"


def test_T7_a_cookie_of_the_vendor_is_not_sent_back() -> None:
    with serving(answer(200, {}, {"Set-Cookie": "session=1; Path=/"})) as server:
        vendor = session(server.origin, FakeTime())
        vendor.send(READ)
        vendor.send(READ)
        assert "cookie" not in server.requests[1].headers
