"""A TCP proxy that spoils what passes through it, by Toxiproxy's eight toxics; between us and a sandbox or Postgres.

A toxic works on all connections, open ones included, from the moment it is added until `clear`.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

Kind = Literal[
    "latency",  # seconds before each piece
    "down",  # connects are refused, open connections cut
    "bandwidth",  # bytes_per_second
    "slow_close",  # seconds between the end of one side and telling the other
    "timeout",  # nothing passes; closed after `seconds`
    "reset_peer",  # nothing passes; reset after `seconds`
    "slicer",  # pieces of `size` bytes, `seconds` between them
    "limit_data",  # closed after `size` bytes of a connection
]
Way = Literal["up", "down"]  # towards the server, towards the client
Done = TypeVar("Done")
_PIECE = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PATIENCE = 10.0


@dataclass(frozen=True)
class Toxic:
    """One way in which a connection is spoiled; what an argument means stands at its kind."""

    kind: Kind
    way: Way = "down"
    seconds: float = 0.0
    size: int = 1
    bytes_per_second: int = 1


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to `target`: a port of this machine, or a Unix socket."""

    def __init__(self, target: int | Path) -> None:
        self._target = target
        self._toxics: list[Toxic] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-faults", daemon=True)
        self._thread.start()
        self.port = 0
        self.spoilt = 0  # how often a toxic has acted
        self._do(self._listen())

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`"""
        return f"http://127.0.0.1:{self.port}"

    def add(self, *toxics: Toxic) -> None:
        """Spoil from now on."""
        self._toxics = [*self._toxics, *toxics]
        if any(toxic.kind == "down" for toxic in toxics):
            self._do(self._refuse())

    def clear(self) -> None:
        """Pass everything on again; connections that a toxic has cut stay cut."""
        self._toxics = []
        self._do(self._listen())

    def cut(self) -> None:
        """Reset every open connection; new ones are taken."""
        self._do(self._cut())

    def close(self) -> None:
        """End the proxy."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    # -- in the loop ------------------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, Done]) -> Done:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        for writer in list(self._open):
            _reset(writer)
        await asyncio.sleep(0)  # what the resets set off is done

    async def _end(self) -> None:
        await self._refuse()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest, timeout=_PATIENCE / 2)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            far_reader, far_writer = await self._reach()
        except OSError:
            _reset(writer)
            self._open.discard(writer)
            return
        self._open.add(far_writer)
        try:
            await asyncio.gather(self._pump(reader, far_writer, "up"), self._pump(far_reader, writer, "down"))
        finally:
            for end in (writer, far_writer):
                end.close()
                self._open.discard(end)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(str(self._target))
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way) -> None:
        passed = 0
        with suppress(OSError):  # one side has gone: so does the other
            while piece := await source.read(_PIECE):
                for toxic in [one for one in self._toxics if one.way == way]:
                    if await self._spoils(toxic, piece, passed, sink):
                        return
                if not any(one.kind == "slicer" and one.way == way for one in self._toxics):
                    sink.write(piece)
                await sink.drain()
                passed += len(piece)
            for toxic in self._toxics:
                if toxic.kind == "slow_close" and toxic.way == way:
                    self.spoilt += 1
                    await asyncio.sleep(toxic.seconds)
        sink.close()

    async def _spoils(self, toxic: Toxic, piece: bytes, passed: int, sink: asyncio.StreamWriter) -> bool:
        """Whether the connection ends here."""
        if toxic.kind not in ("limit_data", "slow_close", "down"):
            self.spoilt += 1
        match toxic.kind:
            case "latency":
                await asyncio.sleep(toxic.seconds)
            case "bandwidth":
                await asyncio.sleep(len(piece) / toxic.bytes_per_second)
            case "slicer":
                for start in range(0, len(piece), toxic.size):
                    sink.write(piece[start : start + toxic.size])
                    await sink.drain()
                    await asyncio.sleep(toxic.seconds)
            case "limit_data":
                if passed + len(piece) > toxic.size:
                    self.spoilt += 1
                    sink.write(piece[: max(toxic.size - passed, 0)])
                    await sink.drain()
                    sink.close()
                    return True
            case "timeout" | "reset_peer":
                await asyncio.sleep(toxic.seconds)
                if toxic.kind == "reset_peer":
                    _reset(sink)
                sink.close()
                return True
            case "down" | "slow_close":
                pass
        return False


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other end sees ECONNRESET where the kind of socket knows it."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_INET:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
