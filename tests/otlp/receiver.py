"""A receiver of OTLP/HTTP in this process: it reads spans by OpenTelemetry's own protobuf, and answers as it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from tests.waiting import HANG_SECONDS


class Receiver:
    """
    The requests that a receiver got.

    Attributes:
        status: The status of its answers.
        spans: The spans, as protobuf, in the order in which they came.
        resources: The attributes of each request's senders.
        requests: Path and content type of each request.
    """

    def __init__(self) -> None:
        self.status = 200
        self.spans: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.port = 0
        # Cleared, no request is answered until it is set again.
        self.answers = threading.Event()
        self.answers.set()

    @property
    def endpoint(self) -> str:
        """Its address, as the setting `tracing.endpoint` wants it."""
        return f"http://127.0.0.1:{self.port}"

    def named(self, name: str) -> list[Any]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]

    def take(self, path: str, content_type: str, body: bytes) -> None:
        """Read one request."""
        self.requests.append((path, content_type))
        for sender in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes_of(sender.resource))
            self.spans += [span for scope in sender.scope_spans for span in scope.spans]


def attributes_of(holder: Any) -> dict[str, Any]:
    """The attributes of a span, link or resource, as Python values."""
    return {pair.key: _value(pair.value) for pair in holder.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_value(one) for one in found.values] if kind == "array_value" else found


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """A receiver on loopback, on a free port unless one is given."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"  # type: ignore[misc]

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.answers.wait(HANG_SECONDS)
            if found.status == 200:
                found.take(self.path, self.headers["content-type"], body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(found.status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            found.answers.set()
            server.shutdown()
            thread.join(10)
