"""An endpoint on loopback that speaks OpenAI's chat completions: each connection is answered by the next of a list of replies."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.waiting import HANG_SECONDS

Reply = Callable[["Call"], None]


class Call:
    """
    One request, and the connection to answer it on.

    Attributes:
        headers: The request's head.
        body: The request's body, parsed.
        over: Is set when the endpoint closes.
    """

    def __init__(self, connection: socket.socket, head: str, body: Any, over: threading.Event) -> None:
        """Take a request that was read whole."""
        self.headers, self.body, self.over = head, body, over
        self._connection = connection

    @property
    def mark(self) -> str:
        """The mark around the item."""
        return str(self.body["messages"][1]["content"].split("\n")[0].removeprefix("BEGIN "))

    def send(self, content: bytes) -> None:
        """Send bytes; the client may be gone."""
        self._connection.sendall(content)


class Endpoint:
    """
    The server.

    Attributes:
        url: The address for `second.endpoint`.
        calls: The requests in the order of their arrival.
    """

    def __init__(self, replies: Sequence[Reply], tls: ssl.SSLContext | None = None) -> None:
        """Listen. The last reply is given to all further requests."""
        self.calls: list[Call] = []
        self._replies, self._tls, self._over = replies, tls, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._threads: list[threading.Thread] = []
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Stop, and wait for the threads."""
        self._over.set()
        for thread in (self._accepting, *self._threads):
            thread.join(HANG_SECONDS)
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, raw: socket.socket) -> None:
        # A client that has what it wants, or does not trust the certificate, closes.
        with raw, contextlib.suppress(OSError, ssl.SSLError):
            raw.settimeout(HANG_SECONDS)
            connection = raw if self._tls is None else self._tls.wrap_socket(raw, server_side=True)
            with connection:
                received = b""
                while b"\r\n\r\n" not in received:
                    received += _some(connection)
                head, _, body = received.partition(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
                )
                while len(body) < length:
                    body += _some(connection)
                call = Call(connection, head.decode("latin-1"), json.loads(body), self._over)
                self.calls.append(call)
                self._replies[min(len(self.calls), len(self._replies)) - 1](call)


def _some(connection: socket.socket) -> bytes:
    """The next bytes; a ConnectionError at their end."""
    found = connection.recv(65536)
    if not found:
        msg = "the client has closed"
        raise ConnectionError(msg)
    return found


@contextlib.contextmanager
def answering(*replies: Reply, tls: ssl.SSLContext | None = None) -> Iterator[Endpoint]:
    """An endpoint with these replies."""
    found = Endpoint(replies, tls)
    try:
        yield found
    finally:
        found.close()


def http(status: int, body: bytes, **headers: str) -> bytes:
    """An answer in HTTP."""
    lines = [
        f"HTTP/1.1 {status} Status",
        f"Content-Length: {len(body)}",
        *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def completion(content: str | None, **changes: Any) -> dict[str, Any]:
    """A chat completion, in the form that OpenAI documents."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764670000,
        "model": "large",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220},
    } | changes


def says(label: str, *, item: str | None = None, score: Any = 0.9, **changes: Any) -> Reply:
    """Answers as it was asked to, with this label; for another item, or in another form, if that is given."""

    def reply(call: Call) -> None:
        content = json.dumps({"item": call.mark if item is None else item, "label": label, "score": score})
        call.send(http(200, json.dumps(completion(content, **changes)).encode()))

    return reply


def sends(content: bytes) -> Reply:
    """Sends these bytes."""
    return lambda call: call.send(content)


def hangs(call: Call) -> None:
    """Never answers."""
    call.over.wait(HANG_SECONDS)


def drips(call: Call) -> None:
    """Sends an answer byte by byte, each before any timeout of a read."""
    for byte in http(200, b" " * 100_000):
        if call.over.is_set():
            return
        call.send(bytes([byte]))
        time.sleep(0.05)


def floods(call: Call) -> None:
    """Sends 10 MB, unless the client closes before."""
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
    for _ in range(1000):
        call.send(b" " * 10_000)
