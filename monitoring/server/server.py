"""
Serves a WSGI application from one thread of its own, within bounds that no client can exceed.

The thread is not that of the worker's event loop, so it answers while that is blocked. It has an event loop of its own: a connection
costs a few kilobytes and no thread. Each has `SECONDS_PER_REQUEST` from its first byte to the last of its answer, and when there are
`MOST_CONNECTIONS` the oldest makes room for a new one, so that slow clients do not keep a probe out.
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
# Connections that the kernel keeps until the thread takes them.
WAITING_CONNECTIONS = 128
TOO_LARGE = b"HTTP/1.0 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n"


class _Exchange(WSGIRequestHandler):
    """The answer of the application to one request: bytes in `rfile`, bytes out in `wfile`."""

    def setup(self) -> None:
        self.rfile, self.wfile = io.BytesIO(self.request), io.BytesIO()
        self.trace = io.StringIO()

    def get_stderr(self) -> io.StringIO:
        """Keep the traceback of a failing application for the log, which no reader can hold up as standard error."""
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
        # The oldest first.
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
        # A client that is too slow, or goes away, is no error of ours.
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
    """The head of a request; empty if the client ended before that, and more than `MOST_REQUEST_BYTES` if it is longer."""
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
    Serve from a daemon thread while the context lasts; yields the port that was bound.

    Args:
        app: Answers the requests, one at a time.
        host: The address to bind; empty: all of them.
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
    # The protocol is named, because asyncio switches Nagle's algorithm off only where it is TCP.
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # Not `socket.create_server`: for "::" that would refuse IPv4.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(WAITING_CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener
