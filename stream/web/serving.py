"""A socket and its uvicorn server, with bounds that no client can exceed. For the review console and for `tagstream serve`."""

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
# The number of connections that are reserved for health requests.
HEALTH_CONNECTIONS = 16
# The longest wait for requests under way at a stop: an answer may wait for the brokers.
STOP_SECONDS = 30
# The most bytes of one connection that the system keeps before they are sent.
MOST_UNSENT_BYTES = 64 * 1024
WATCH_SECONDS = 1.0


class ListenError(Exception):
    """The server cannot listen on the address. The message gives the reason and the next step."""

    exit_code = 2


def is_loopback(host: str) -> bool:
    """
    Return True if only this machine can reach the address.

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
    Return a listening socket. Port 0 takes a free port.

    Raises:
        ListenError: The address is not this machine's, is in use, or is not permitted.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # The socket is made again from its descriptor, so that it knows its protocol. asyncio switches Nagle's algorithm off only if the
        # protocol is TCP. With the algorithm, each answer on a kept connection waits some 40 ms for the client's delayed acknowledgement.
        listening = socket.socket(fileno=socket.create_server((host, port), family=family).detach())
    except OSError as error:
        msg = f"this command cannot listen on {host}:{port} ({error.strerror or error}). Next: give another --port (0 takes a free one) or --host."
        raise ListenError(msg) from error
    # The connections inherit this option. Without it the system would keep 4 MiB of an untaken answer, which no bound here could count.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT_BYTES)
    return listening


def url(listening: socket.socket) -> str:
    """Return the address for a browser on the same machine."""
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
    Serve until SIGINT or SIGTERM. Then finish the requests under way, within `STOP_SECONDS`.

    Args:
        app: The application.
        listening: The listening socket.
        watch: Called once a second. An exception from it ends the server.
        connections: The most connections at once. A further connection replaces an idle one.
        lifespan: Entered on the server's event loop before the first request, and left after the last request.
        stopping: Called when the stop begins, while requests are still answered.
    """
    asyncio.run(_serve(app, listening, watch, connections=connections, lifespan=lifespan, stopping=stopping))


class _SignalFreeServer(uvicorn.Server):
    """A server without signal handlers. uvicorn's own handler would raise the signal again and end the process before its parts close."""

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
            # This protocol has the bounds, so it is used whatever else is installed.
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
