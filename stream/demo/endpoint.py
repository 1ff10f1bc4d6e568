"""A scripted second model of known skill, behind an endpoint on loopback that speaks chat completions as `tagstream second` asks for them."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from tagstream.stream.demo.reviewer import said
from tagstream.stream.second.prompt import UNSURE

HOST, MODEL, SEED = "127.0.0.1", "scripted-second", "second"
RIGHT = 0.97
MOST_BYTES = 1024 * 1024
SECONDS = 10.0


class _Message(msgspec.Struct, frozen=True):
    content: str


class _Request(msgspec.Struct, frozen=True):
    messages: tuple[_Message, ...]


class _Item(msgspec.Struct, frozen=True):
    title: str = ""


def completion(body: bytes, known: Mapping[str, str], labels: Sequence[str]) -> bytes:
    """
    Return the answer to a request: the right label in `RIGHT` of the titles, always the same of one title.

    Args:
        body: The request's body.
        known: The right answer by title. Of other titles, and of titles for which no label is right, the script is unsure.
        labels: The labels.

    Raises:
        ValueError: The body is no request for an item.
    """
    try:
        begin, data, _ = msgspec.json.decode(body, type=_Request).messages[-1].content.split("\n")
        title = " ".join(msgspec.json.decode(data, type=_Item).title.split())
    except (msgspec.DecodeError, IndexError, ValueError) as error:
        msg = f"no request for an item: {error}"
        raise ValueError(msg) from error
    label = known.get(title)
    content: dict[str, object] = {"item": begin.removeprefix("BEGIN "), "label": UNSURE, "score": None}
    if label is not None and label in labels:
        content |= {"label": said(title, label, labels, right=RIGHT, seed=SEED), "score": RIGHT}
    message = {"role": "assistant", "content": msgspec.json.encode(content).decode()}
    return msgspec.json.encode(
        {"object": "chat.completion", "model": MODEL, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    )


@contextmanager
def endpoint(known: Mapping[str, str], labels: Sequence[str]) -> Iterator[str]:
    """Answer requests while the context lasts, in threads of this process, and yield the address for `second.endpoint`; see `completion`."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            try:
                if not (length.isascii() and length.isdigit() and int(length) <= MOST_BYTES):
                    msg = f"Content-Length is not a number up to {MOST_BYTES}"
                    raise ValueError(msg)  # noqa: TRY301 - answered as any other bad request
                status, content = HTTPStatus.OK, completion(self.rfile.read(int(length)), known, labels)
            except ValueError as error:
                status, content = HTTPStatus.BAD_REQUEST, msgspec.json.encode({"error": {"message": str(error)}})
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of http.server
            """Say nothing: the demo shows its own lines."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, name="demo-endpoint", daemon=True)
        serving.start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            serving.join(SECONDS)
