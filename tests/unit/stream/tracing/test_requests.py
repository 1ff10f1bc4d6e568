"""A request in traces: a span below the client's, which the application sees as its context."""

import asyncio
from typing import Any

import pytest

from tagstream.stream.tracing.requests import UNTRACED_PATHS, TracedRequests
from tagstream.stream.tracing.spans import Spans
from tagstream.stream.tracing.trace_headers import carried
from tests.otlp.receiver import Receiver, attributes_of

CLOSE_SECONDS = 60.0
CLIENT = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


class Route:
    """A route, as Starlette leaves it in the scope."""

    path = "/things/{name}"


class Service:
    """An application that answers with a status, or raises, and keeps the scope that it saw."""

    def __init__(self, status: int = 200, *, route: bool = True, raises: BaseException | None = None) -> None:
        self.status = status
        self.route = route
        self.raises = raises
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        """Answer."""
        self.scopes.append(scope)
        if self.route:
            scope["route"] = Route()
        if self.raises is not None:
            raise self.raises
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def ask(
    service: Service, spans: Spans, *headers: tuple[bytes, bytes], path: str = "/things/m", kind: str = "http"
) -> list[Any]:
    """The messages with which a traced service answers."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": kind, "method": "POST", "path": path, "scheme": "http", "headers": list(headers)}
    asyncio.run(TracedRequests(service, spans)(scope, receive, send))
    return sent


def test_a_request_has_a_span_below_the_clients(spans: Spans, receiver: Receiver) -> None:
    """Method, route and status are its attributes, and the answer is untouched."""
    sent = ask(Service(), spans, (b"host", b"h"), CLIENT)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    spans.close(CLOSE_SECONDS)
    (span,) = receiver.spans
    assert (span.name, span.kind) == ("POST /things/{name}", 2)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert attributes_of(span) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/things/{name}",
        "url.path": "/things/m",
        "url.scheme": "http",
    }
    assert span.status.code == 0


@pytest.mark.parametrize("client", [(), (CLIENT,), (CLIENT, CLIENT), ((b"traceparent", b"00-1"),)])
def test_what_the_service_sends_on_continues_the_trace(
    spans: Spans, receiver: Receiver, client: tuple[tuple[bytes, bytes], ...]
) -> None:
    """The one `traceparent` that the application finds names the request's span, whatever the client sent."""
    service = Service()
    ask(service, spans, *client, (b"x", b"1"))
    spans.close(CLOSE_SECONDS)
    (span,) = receiver.spans
    (name, value), *more = carried(service.scopes[0]["headers"])
    assert (name, more) == ("traceparent", [])
    assert value == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-".encode() + value[-2:]
    assert int(value[-2:], 16) & 1
    assert (b"x", b"1") in service.scopes[0]["headers"]


def test_a_client_that_records_nothing_is_followed(spans: Spans, receiver: Receiver) -> None:
    """The record of its event is in the same trace with the same flag, and no span is sent."""
    service = Service()
    ask(service, spans, (b"traceparent", CLIENT[1][:-2] + b"00"), (b"tracestate", b"a=1"))
    spans.close(CLOSE_SECONDS)
    assert receiver.spans == []
    found = dict(carried(service.scopes[0]["headers"]))
    assert found["traceparent"].startswith(b"00-0af7651916cd43dd8448eb211c80319c-")
    assert found["traceparent"].endswith(b"-00")
    assert found["tracestate"] == b"a=1"


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (500, True), (503, True)])
def test_only_our_own_faults_are_errors(spans: Spans, receiver: Receiver, status: int, failed: bool) -> None:
    """A client's mistake is no error of the server, by OpenTelemetry's conventions."""
    ask(Service(status, route=False), spans)
    spans.close(CLOSE_SECONDS)
    (span,) = receiver.spans
    assert span.name == "POST"
    assert (span.status.code == 2) is failed
    assert ("error.type" in attributes_of(span)) is failed


@pytest.mark.parametrize("error", [RuntimeError("x"), asyncio.CancelledError()])
def test_an_application_that_raises_has_a_span_that_says_so(spans: Spans, receiver: Receiver, error: BaseException) -> None:
    """The error goes on to the server, and the client that has left is one too."""
    with pytest.raises(type(error)):
        ask(Service(raises=error), spans)
    spans.close(CLOSE_SECONDS)
    (span,) = receiver.spans
    assert attributes_of(span)["error.type"] == type(error).__name__
    assert span.status.code == 2


@pytest.mark.parametrize("path", sorted(UNTRACED_PATHS))
def test_the_questions_of_machines_have_no_span(spans: Spans, receiver: Receiver, path: str) -> None:
    """Scrapes and probes come every few seconds."""
    service = Service()
    ask(service, spans, CLIENT, path=path)
    ask(service, spans, kind="lifespan")
    spans.close(CLOSE_SECONDS)
    assert receiver.spans == []
    assert service.scopes[0]["headers"] == [CLIENT]
