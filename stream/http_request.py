"""One HTTP request with bounds on time and size. Redirects are not followed, so that a secret is sent only to its own address."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from urllib.parse import urlsplit, urlunsplit

OK, MANY_REQUESTS, REQUEST_TIMEOUT, SERVER_ERROR = 200, 429, 408, 500
REDIRECTS = range(300, 400)
# The maximum length of a redirect's address in a message.
MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """
    The answer to a request.

    Attributes:
        status: The HTTP status.
        body: The body, in bytes.
        moved_to: The address that a redirect names, without its query; empty if there is no redirect.
    """

    status: int
    body: bytes
    moved_to: str

    @property
    def is_passing(self) -> bool:
        """True if the status means that the same request may succeed later."""
        return self.status in {REQUEST_TIMEOUT, MANY_REQUESTS} or self.status >= SERVER_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """
    The bounds of a request.

    Attributes:
        seconds: The timeout of the connection attempt and of each read, in seconds.
        until: The deadline for the whole answer, as a time of `time.monotonic`.
        most_bytes: The maximum size of the body. Of a larger body, up to 64 KiB more are read, and the rest is not.
    """

    seconds: float
    until: float
    most_bytes: int


def ask(
    url: str, headers: Mapping[str, str], bounds: Bounds, *, tls: ssl.SSLContext | None = None, body: bytes | None = None
) -> HttpAnswer:
    """
    Send a GET, or a POST if there is a body, and return the answer.

    Args:
        url: An address that begins with http:// or https:// and has a host.
        headers: The headers of the request.
        bounds: The bounds on time and size.
        tls: The TLS context for an https address.
        body: The body of a POST; None for a GET.

    Raises:
        OSError: The address does not answer in time.
        HTTPException: The answer is not valid HTTP, or ends too early.
    """
    address = urlsplit(url)
    assert address.hostname is not None, "the settings refuse an address without a host"
    connection = (
        HTTPConnection(address.hostname, address.port, timeout=bounds.seconds)
        if tls is None or address.scheme == "http"
        else HTTPSConnection(address.hostname, address.port, timeout=bounds.seconds, context=tls)
    )
    with contextlib.closing(connection):
        connection.connect()
        with _ended_at(bounds.until, connection.sock):
            target = urlunsplit(("", "", address.path or "/", address.query, ""))
            connection.request("GET" if body is None else "POST", target, body=body, headers=dict(headers))
            response = connection.getresponse()
            received = b""
            while len(received) <= bounds.most_bytes and (part := response.read1(64 * 1024)):
                received += part
            # `read1` does not report that an answer ended too early.
            if response.length and len(received) <= bounds.most_bytes:
                raise IncompleteRead(received, response.length)
        moved_to = response.getheader("Location", "").partition("?")[0]
        return HttpAnswer(status=response.status, body=received, moved_to=moved_to[:MOST_CHARACTERS])


@contextlib.contextmanager
def _ended_at(until: float, connected: socket.socket) -> Iterator[None]:
    """
    Shut a connection down at a time of `time.monotonic`.

    The socket's timeout restarts with each byte, so a slow answer of one byte a second would never time out.

    Raises:
        TimeoutError: The connection was still open at `until`.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        # The connection may already be closed.
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(until - time.monotonic(), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException):
        # After our own shutdown, the read fails as if the server had closed the connection.
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        msg = "the answer does not end"
        raise TimeoutError(msg)
