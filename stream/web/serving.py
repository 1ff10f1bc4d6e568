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

from tagstream.stream.web.connection import MOST_HEAD_BYTES, Bounded, Connections

# The names of ASGI.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_CONNECTIONS = 128
IDLE_SECONDS = 15
# Of the connections, so many are for health when all others have a request under way.
HEALTH_CONNECTIONS = 16
# An answer that is under way may wait for the brokers.
STOP_SECONDS = 30
# Of one answer, kept by the system before it is sent.
MOST_UNSENT_BYTES = 64 * 1024
WATCH_SECONDS = 1.0


class ListenError(Exception):
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
        ListenError: The address is not this machine's, is taken, or may not be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Made anew of the descriptor, it knows its protocol. asyncio switches Nagle's algorithm off where that is TCP, and else each answer
        # on a connection that is kept waits for the client's delayed acknowledgement, some 40 ms.
        listening = socket.socket(fileno=socket.create_server((host, port), family=family).detach())
    except OSError as error:
        msg = f"this command cannot listen on {host}:{port} ({error.strerror or error}). Next: give another --port (0 takes a free one) or --host."
        raise ListenError(msg) from error
    # For its connections too: the system would keep 4 MiB of an answer that a client does not take, which no budget here could count.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT_BYTES)
    return listening


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
    lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """
    Serve until SIGINT or SIGTERM; then finish what is under way, at most `STOP_SECONDS`.

    Args:
        app: The application.
        listening: Its socket.
        watch: Called once a second; what it raises ends the server.
        connections: The most at once; for a further one, one without a request under way makes room.
        lifespan: Entered on the server's event loop before the first request, and left after the last one.
        stopping: Called when the stop begins, while requests are still answered.
    """
    asyncio.run(_serve(app, listening, watch, connections=connections, lifespan=lifespan, stopping=stopping))


class _SignalFreeServer(uvicorn.Server):
    """uvicorn raises the signal again when it has stopped, which would end the process before its parts are closed."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.server_state = connections

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `_serve`."""
        yield


async def _serve(
    app: ASGIApp,
    listening: socket.socket,
    watch: Callable[[], None],
    *,
    connections: int,
    lifespan: Callable[[], AbstractAsyncContextManager[None]],
    stopping: Callable[[], None],
) -> None:
    server = _SignalFreeServer(
        uvicorn.Config(
            app,
            # The bounds are those of this protocol, whatever else is installed.
            http=Bounded,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        ),
        Connections(connections),
    )

    def stop() -> None:
        if not server.should_exit:
            stopping()
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with lifespan():
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            while not (await asyncio.wait({serving}, timeout=WATCH_SECONDS))[0]:
                watch()
        finally:
            stop()
            await serving
