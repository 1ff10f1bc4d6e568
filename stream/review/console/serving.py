"""The console's socket and its server, uvicorn, within bounds that no client can exceed."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from stream.review.console.doors.guard import ASGIApp

MOST_CONNECTIONS = 128
IDLE_SECONDS = 15
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
        msg = f"the console cannot listen on {host}:{port} ({error.strerror or error}). Next: give another --port (0 takes a free one) or --host."
        raise AddressError(msg) from error


def url(listening: socket.socket) -> str:
    """The address for a browser on the same machine."""
    host, port = listening.getsockname()[:2]
    name = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def serve(app: ASGIApp, listening: socket.socket, watch: Callable[[], None]) -> None:
    """
    Serve until SIGINT or SIGTERM; then finish what is under way, at most `STOP_SECONDS`.

    Args:
        app: The application.
        listening: Its socket.
        watch: Called once a second; what it raises ends the server.
    """
    asyncio.run(_serve(app, listening, watch))


class _Server(uvicorn.Server):
    """uvicorn raises the signal again when it has stopped, which would end the process before its parts are closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `_serve`."""
        yield


async def _serve(app: ASGIApp, listening: socket.socket, watch: Callable[[], None]) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        )
    )

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not (await asyncio.wait({serving}, timeout=WATCH_SECONDS))[0]:
            watch()
    finally:
        stop()
        await serving
