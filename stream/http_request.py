"""One request over HTTP within bounds of time and of bytes. No redirect is followed, so that a secret goes to its own address alone."""

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
# Of the address that a redirect names, in a message.
MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """The status, the body, and the address that a redirect names; empty without one."""

    status: int
    body: bytes
    moved_to: str

    @property
    def is_passing(self) -> bool:
        """Does the status say that another answer may come later?"""
        return self.status in {REQUEST_TIMEOUT, MANY_REQUESTS} or self.status >= SERVER_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """
    The bounds of a request.

    Attributes:
        seconds: For the connection, and for each read from it.
        until: On `time.monotonic`: when the answer must have ended.
        most_bytes: Of the body. One that is larger is read a little further and then left.
    """

    seconds: float
    until: float
    most_bytes: int


def ask(
    url: str, headers: Mapping[str, str], bounds: Bounds, *, tls: ssl.SSLContext | None = None, body: bytes | None = None
) -> HttpAnswer:
    """
    The answer to a GET, or to a POST of a body.

    Args:
        url: Begins with http:// or https://, and has a host.
        headers: Of the request.
        bounds: Of time and bytes.
        tls: How an https address is verified.
        body: Sent by POST; None for a GET.

    Raises:
        OSError: The address does not answer in time.
        HTTPException: It answers, and not as HTTP has it, or breaks off.
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
            # `read1` does not say that an answer broke off.
            if response.length and len(received) <= bounds.most_bytes:
                raise IncompleteRead(received, response.length)
        moved_to = response.getheader("Location", "").partition("?")[0]
        return HttpAnswer(status=response.status, body=received, moved_to=moved_to[:MOST_CHARACTERS])


@contextlib.contextmanager
def _ended_at(until: float, connected: socket.socket) -> Iterator[None]:
    """
    End a connection at a time on `time.monotonic`. Its own bound begins anew with each byte, and an answer may send one a second for ever.

    Raises:
        TimeoutError: The time came.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        # It may have ended by itself meanwhile.
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(until - time.monotonic(), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException):
        # An end that we made looks like one of the other side.
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        msg = "the answer does not end"
        raise TimeoutError(msg)
