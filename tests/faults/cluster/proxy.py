"""A TCP proxy on loopback between workers and brokers that fails as networks fail.

One `Network` has a gate in front of each broker. A gate listens on a port of its own; the broker advertises that port to the
clients of its proxied listener, so that all of their traffic goes through. The harness itself talks past the gates.
"""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from enum import StrEnum
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 65_536
DELAY_SECONDS = 0.3
TRICKLE_BYTES_PER_SECOND = 64 * 1024
START_SECONDS = 10.0


class Weather(StrEnum):
    """How the network treats bytes."""

    FAIR = "passes them on"
    CUT = "refuses connections and has closed those there were"
    SILENT = "keeps connections open and passes nothing on"
    DEAF = "passes requests on, and no answers"
    SLOW = "passes everything on late"
    NARROW = "passes on little at a time"


class Network:
    """
    Gates to `targets`, ports on loopback. Use as a context manager; runs in a thread of its own.

    >>> with Network([9]) as network:
    ...     network.turn(Weather.SILENT)
    ...     len(network.ports)
    1
    """

    def __init__(self, targets: Sequence[int], ports: Sequence[int] | None = None) -> None:
        """`ports` are the gates' own; free ones unless given."""
        self._targets = list(targets)
        self._wanted = list(ports) if ports is not None else [0] * len(targets)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._links: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        # Set while bytes pass.
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self.weather = Weather.FAIR
        self.ports: list[int] = []
        self.cut_connections = 0

    def reset(self) -> None:
        """Close every connection now, rudely; new ones are let through as the weather has it."""
        self._run(self._reset())

    def turn(self, weather: Weather) -> None:
        """Change the weather from now on; CUT also closes the open connections."""
        self._run(self._turn(weather))

    def __enter__(self) -> Self:
        """Open the gates."""
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close them."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    def _run(self, work: "asyncio._CoroutineLike[None]") -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    async def _open(self) -> None:
        await self._turn(Weather.FAIR)
        for target, port in zip(self._targets, self._wanted, strict=True):
            server = await asyncio.start_server(lambda r, w, to=target: self._accept(r, w, to), LOOPBACK, port)
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        await self._reset()

    async def _turn(self, weather: Weather) -> None:
        self.weather = weather
        for flow, stopped in ((self._requests, {Weather.SILENT}), (self._answers, {Weather.SILENT, Weather.DEAF})):
            if weather in stopped:
                flow.clear()
            else:
                flow.set()
        if weather is Weather.CUT:
            await self._reset()

    async def _reset(self) -> None:
        links = list(self._links)
        self.cut_connections += len(links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        self._links.add(task)
        try:
            if self.weather is not Weather.CUT:
                # A client that goes, or a broker that is down, ends the connection, as without a proxy.
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await self._serve(reader, writer, target)
        finally:
            writer.transport.abort()
            self._links.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        broker_reader, broker_writer = await asyncio.open_connection(LOOPBACK, target)
        there = asyncio.create_task(self._pump(reader, broker_writer, answers=False))
        back = asyncio.create_task(self._pump(broker_reader, writer, answers=True))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First: a second cancellation may end the wait for the pumps.
            broker_writer.transport.abort()
            for pump in (there, back):
                pump.cancel()
            await asyncio.gather(there, back, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await source.read(CHUNK_BYTES):
            await (self._answers if answers else self._requests).wait()
            if self.weather is Weather.SLOW:
                await asyncio.sleep(DELAY_SECONDS)
            elif self.weather is Weather.NARROW:
                await asyncio.sleep(len(data) / TRICKLE_BYTES_PER_SECOND)
            sink.write(data)
            await sink.drain()
