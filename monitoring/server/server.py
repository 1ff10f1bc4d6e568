"""
Serves a WSGI application from a separate thread, within bounds that no client can exceed.

The thread has its own event loop, so it answers while the worker's event loop is blocked, and a connection costs a few kilobytes but
not a thread. A connection may take `SECONDS_PER_REQUEST` from its start to the last byte of its answer. With `MOST_CONNECTIONS` open, a
new connection closes the oldest one, so that slow clients cannot keep a probe out.
"""

import asyncio
import contextlib
import io
import logging
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("tagstream.metrics")

SECONDS_PER_REQUEST = 10.0
MOST_CONNECTIONS = 64
MOST_REQUEST_BYTES = 16 * 1024
# The length of the kernel's queue of connections that the thread has not accepted yet.
WAITING_CONNECTIONS = 128
TOO_LARGE = b"HTTP/1.0 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n"


class _Exchange(WSGIRequestHandler):
    """One request and its answer by the application: `rfile` has the request's bytes, `wfile` the answer's."""

    def setup(self) -> None:
        self.rfile, self.wfile = io.BytesIO(self.request), io.BytesIO()
        self.trace = io.StringIO()

    def get_stderr(self) -> io.StringIO:
        """Keep the traceback of a failing application for the log: a reader of standard error could block the thread."""
        return self.trace

    def finish(self) -> None:
        pass

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log requests: a scrape comes every few seconds."""


class _MetricsServer:
    """The connections of one listening socket, on the event loop that `run` runs on."""

    def __init__(self, app: "WSGIApplication", port: int) -> None:
        environ = {"SERVER_NAME": "", "SERVER_PORT": str(port), "SCRIPT_NAME": "", "REMOTE_HOST": "", "CONTENT_LENGTH": ""}
        self._site = SimpleNamespace(base_environ={"GATEWAY_INTERFACE": "CGI/1.1", **environ}, get_app=lambda: app)
        # The open connections, the oldest first.
        self._open: dict[asyncio.StreamWriter, None] = {}
        self._stopped = asyncio.Event()

    async def run(self, listener: socket.socket) -> None:
        """Serve until `stop`."""
        server = await asyncio.start_server(self._connected, sock=listener)
        async with server:
            await self._stopped.wait()
            server.close()
            for writer in self._open:
                writer.transport.abort()

    def stop(self) -> None:
        """End `run`. Call this on its event loop."""
        self._stopped.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = None
        # A slow client, or a client that closes the connection, is not an error of this server.
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(SECONDS_PER_REQUEST):
                await self._exchange(reader, writer)
        self._open.pop(writer, None)
        writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _request(reader)
        if not request:
            return
        writer.write(TOO_LARGE if len(request) > MOST_REQUEST_BYTES else self._answer(request, writer))
        writer.close()
        await writer.wait_closed()

    def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> bytes:
        client = writer.get_extra_info("peername") or ("",)
        exchange = _Exchange(request, client, self._site)  # type: ignore[arg-type]
        if trace := exchange.trace.getvalue():
            log.error("request_failed: %s", trace)
        answer: bytes = exchange.wfile.getvalue()  # type: ignore[attr-defined]
        return answer


async def _request(reader: asyncio.StreamReader) -> bytes:
    """Return the head of a request; empty if the client ended before its end, longer than `MOST_REQUEST_BYTES` if it is too long."""
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) <= MOST_REQUEST_BYTES:
        more = await reader.read(MOST_REQUEST_BYTES)
        if not more:
            return b""
        head += more
    return head


@contextlib.contextmanager
def serve(app: "WSGIApplication", *, host: str, port: int) -> Iterator[int]:
    """
    Serve from a daemon thread while the context lasts; yields the bound port.

    Args:
        app: Answers the requests, one at a time.
        host: The address to bind; empty for all addresses.
        port: The port to bind; 0 takes a free one.

    Raises:
        OSError: The address cannot be bound.
    """
    with contextlib.closing(_listening(host, port)) as listener, contextlib.closing(asyncio.new_event_loop()) as loop:
        bound: int = listener.getsockname()[1]
        server = _MetricsServer(app, bound)
        thread = threading.Thread(target=loop.run_until_complete, args=(server.run(listener),), name="metrics", daemon=True)
        thread.start()
        try:
            yield bound
        finally:
            loop.call_soon_threadsafe(server.stop)
            thread.join()


def _listening(host: str, port: int) -> socket.socket:
    # The protocol is given: asyncio switches Nagle's algorithm off only if the socket's protocol is TCP.
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # Not `socket.create_server`: for "::", it would refuse IPv4.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(WAITING_CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener
