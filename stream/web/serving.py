"""A socket and its server, uvicorn, within bounds that no client can exceed: for the review console and for `tagstream serve`."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

# The names of ASGI.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_CONNECTIONS = 128
IDLE_SECONDS = 15
# The first line and the headers of a request, from the connection or from their first byte on.
HEAD_SECONDS = 10.0
# A client that takes nothing of its answer for so long has gone.
WRITE_SECONDS = 30.0
# An answer that is under way may wait for the brokers.
STOP_SECONDS = 30
MOST_HEADER_BYTES = 16 * 1024
WATCH_SECONDS = 1.0


class AddressError(Exception):
    """The address cannot be listened on: the message says why, and the next step."""

    exit_code = 2


def is_loopback(host: str) -> bool:
    """
    Can this address be reached from this machine alone?

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "review.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """
    A socket that listens; port 0 takes a free one.

    Raises:
        AddressError: The address is not this machine's, is taken, or may not be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        msg = f"this command cannot listen on {host}:{port} ({error.strerror or error}). Next: give another --port (0 takes a free one) or --host."
        raise AddressError(msg) from error


def url(listening: socket.socket) -> str:
    """The address for a browser on the same machine."""
    host, port = listening.getsockname()[:2]
    name = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def serve(
    app: ASGIApp,
    listening: socket.socket,
    watch: Callable[[], None],
    *,
    connections: int = MOST_CONNECTIONS,
    beside: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """
    Serve until SIGINT or SIGTERM; then finish what is under way, at most `STOP_SECONDS`.

    Args:
        app: The application.
        listening: Its socket.
        watch: Called once a second; what it raises ends the server.
        connections: The most at once; a further one is answered with 503.
        beside: Entered on the server's event loop before the first request, and left after the last one.
        stopping: Called when the stop begins, while requests are still answered.
    """
    asyncio.run(_serve(app, listening, watch, connections=connections, beside=beside, stopping=stopping))


class _Server(uvicorn.Server):
    """uvicorn raises the signal again when it has stopped, which would end the process before its parts are closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `_serve`."""
        yield


class _Bounded(H11Protocol):
    """uvicorn bounds the pause between two requests; this bounds the time for the head of one, and for the writing of an answer."""

    _head: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is before and (before is None or before.response_complete):
            # A part of a head. Its time began with its first byte.
            self._head = self._head or self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        else:
            self._disarm()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_at_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write is not None:
            self._write.cancel()
            self._write = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._write is not None:
            self._write.cancel()
        super().connection_lost(exc)

    def _look_at_reader(self, before: int | None = None) -> None:
        """Look again after `WRITE_SECONDS`, as long as the client has taken something of what `before` waited for it."""
        left = self.transport.get_write_buffer_size()
        if before is not None and left >= before:
            self.transport.abort()
        else:
            self._write = self.loop.call_later(WRITE_SECONDS, self._look_at_reader, left)

    def _disarm(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


async def _serve(
    app: ASGIApp,
    listening: socket.socket,
    watch: Callable[[], None],
    *,
    connections: int,
    beside: Callable[[], AbstractAsyncContextManager[None]],
    stopping: Callable[[], None],
) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            # The bounds are those of this protocol, whatever else is installed.
            http=_Bounded,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            limit_concurrency=connections,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        )
    )

    def stop() -> None:
        if not server.should_exit:
            stopping()
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with beside():
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            while not (await asyncio.wait({serving}, timeout=WATCH_SECONDS))[0]:
                watch()
        finally:
            stop()
            await serving
