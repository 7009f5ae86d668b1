"""The fault proxy does what its toxics say; a rig that spoils nothing would prove nothing."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from ml_connector_tests.tcp_faults import FaultProxy, Toxic
from ml_connector_tests.transport.loopback import Server, answer, serving

BODY = b"x" * 1000


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(answer(200, BODY)) as behind:
        yield behind


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    with closing(FaultProxy(int(server.origin.rpartition(":")[2]))) as made:
        yield made


def ask(proxy: FaultProxy) -> bytes:
    """Everything that comes back for a request."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = b""
        while piece := sock.recv(65_536):
            got += piece
        return got


@pytest.mark.parametrize(
    "toxic",
    [
        Toxic("latency", seconds=0.1),
        Toxic("bandwidth", bytes_per_second=10_000),
        Toxic("slow_close", seconds=0.1),
    ],
    ids=lambda toxic: toxic.kind,
)
def test_a_slow_way_gives_the_whole_answer_later(proxy: FaultProxy, toxic: Toxic) -> None:
    whole = ask(proxy)
    assert whole.endswith(BODY)
    proxy.add(toxic)
    began = time.monotonic()
    assert ask(proxy) == whole
    assert time.monotonic() - began >= 0.1
    assert proxy.spoilt > 0


def test_a_sliced_request_arrives_whole(proxy: FaultProxy, server: Server) -> None:
    proxy.add(Toxic("slicer", "up", size=3))
    assert ask(proxy).endswith(BODY)
    assert server.requests[-1].headers == {"host": "localhost"}


def test_limited_data_end_where_they_are_limited(proxy: FaultProxy) -> None:
    proxy.add(Toxic("limit_data", size=100))
    assert len(ask(proxy)) == 100


def test_a_way_that_is_down_refuses_and_is_there_again_at_the_same_port(proxy: FaultProxy) -> None:
    proxy.add(Toxic("down"))
    with pytest.raises(ConnectionRefusedError):
        ask(proxy)
    proxy.clear()
    assert ask(proxy).endswith(BODY)


def test_a_timeout_passes_nothing_and_a_reset_is_one(proxy: FaultProxy, server: Server) -> None:
    proxy.add(Toxic("timeout", "up", seconds=0.05))
    assert ask(proxy) == b""
    assert server.requests == []
    proxy.clear()
    proxy.add(Toxic("reset_peer"))
    with pytest.raises(ConnectionResetError):
        ask(proxy)
