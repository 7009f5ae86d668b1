"""A loopback server that answers each request with the next scripted reply, and remembers requests."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = bytes | Callable[[socket.socket, Request], None]


@dataclass
class Server:
    """`replies` are used in order; the last one serves all further requests."""

    origin: str
    replies: list[Reply]
    requests: list[Request] = field(default_factory=list)

    def next_reply(self) -> Reply:
        return self.replies[min(len(self.requests), len(self.replies)) - 1]


def answer(
    status: int = 200,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
) -> bytes:
    """A whole HTTP answer; anything but bytes goes as JSON. `length` overrides the honest Content-Length."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(content) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + content


@contextmanager
def serving(*replies: Reply) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1 for the length of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}", list(replies))
        ended = threading.Event()
        thread = threading.Thread(target=_accept, args=(listener, server, ended))
        thread.start()
        try:
            yield server
        finally:
            ended.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join()


def closed_port() -> str:
    """An origin that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _accept(listener: socket.socket, server: Server, ended: threading.Event) -> None:
    workers: list[threading.Thread] = []
    while True:
        peer, _ = listener.accept()
        if ended.is_set():
            peer.close()
            break
        worker = threading.Thread(target=_serve, args=(peer, server))
        worker.start()
        workers.append(worker)
    for worker in workers:
        worker.join()


def _serve(peer: socket.socket, server: Server) -> None:
    with peer:
        try:
            request = _read(peer)
            if request is None:
                return
            server.requests.append(request)
            reply = server.next_reply()
            if isinstance(reply, bytes):
                peer.sendall(reply)
            else:
                reply(peer, request)
        except OSError:  # the client hung up, which is what some tests are about
            return


def _read(peer: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = peer.recv(65_536)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    while len(body) < int(headers.get("content-length", "0")):
        body += peer.recv(65_536)
    method, target, _ = first.split(" ")
    return Request(method, target, headers, body)
