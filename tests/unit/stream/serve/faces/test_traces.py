"""The service in traces: a request's span below its client's, and the event that it publishes goes on from there."""

import json
from typing import Any

import httpx
import pytest

from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Headers
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.settings.tracing import Tracing
from tagstream.stream.tracing.batches import TracedDecide, TracedObserver
from tagstream.stream.tracing.requests import TracedRequests
from tagstream.stream.tracing.spans import Spans
from tests.fakes import deciding
from tests.otlp.receiver import Receiver, attributes_of, receiving
from tests.unit.stream.serve.conftest import Broker, Served, run

EVENT = b'{"id": "a", "title": "A translation of texts"}'
CLIENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "authorization": "Bearer x"}
CLOSE_SECONDS = 60.0


def asked(receiver: Receiver, path: str, content: bytes, *, stream: bool = False) -> tuple[httpx.Response, Broker, Headers]:
    """
    The answer of the traced service, its broker, and the headers of the last outcome.

    `stream`: the published event is decided by a traced pipeline, as a worker does it.
    """
    spans = Spans(Tracing(endpoint=receiver.endpoint), service="test", counted=lambda *_: None)

    async def scenario(service: Served) -> tuple[httpx.Response, Broker]:
        # As `stream/serve/run.py` puts it around the application.
        transport = httpx.ASGITransport(TracedRequests(service.app, spans))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8091") as client:
            return await client.post(path, content=content, headers=CLIENT), service.broker

    answer, broker = run(scenario)
    headers: Headers = ()
    if stream:
        pipeline = Pipeline(decider=deciding(), observer=NullObserver())
        (outcome,) = TracedDecide(pipeline.publications, "content")(broker.records)
        TracedObserver(NullObserver(), spans, group="g").published([outcome.observation], 1)
        headers = outcome.headers
    spans.close(CLOSE_SECONDS)
    return answer, broker, headers


def ids(span: Any) -> tuple[str, str]:
    """Span id and parent's id."""
    return span.span_id.hex(), span.parent_span_id.hex()


def test_a_published_event_is_in_one_trace_from_the_client_to_the_outcome() -> None:
    """Client, request, outcome: each is the parent of the next, and of the request's headers the event has its trace alone."""
    with receiving() as receiver:
        answer, broker, headers = asked(receiver, "/classify?publish=true", EVENT, stream=True)
        spans = {span.name: span for span in receiver.spans if span.trace_id.hex() == CLIENT["traceparent"][3:35]}
    assert answer.status_code == 200
    request, outcome = spans["POST /classify"], spans["process content"]
    (record,) = broker.records
    assert record.headers == (("traceparent", f"00-{request.trace_id.hex()}-{request.span_id.hex()}-01".encode()),)
    assert ids(request)[1] == CLIENT["traceparent"][36:52]
    assert ids(outcome)[1] == ids(request)[0]
    assert headers == (("traceparent", f"00-{outcome.trace_id.hex()}-{outcome.span_id.hex()}-01".encode()),)
    assert attributes_of(outcome)["tagstream.prediction_id"] == json.loads(answer.content)["prediction_id"]


@pytest.mark.parametrize(
    ("path", "content", "name", "status"),
    [
        ("/classify", EVENT, "POST /classify", 200),
        ("/classify", b'{"id": "a"}', "POST /classify", 422),
        ("/classify", b"[", "POST /classify", 400),
        ("/nowhere", b"", "POST", 404),
    ],
)
def test_a_request_is_named_by_its_route(path: str, content: bytes, name: str, status: int) -> None:
    """The names of spans are few, whatever clients ask; a client's mistake is no error of ours."""
    with receiving() as receiver:
        answer, _, _ = asked(receiver, path, content)
        (span,) = receiver.spans
    assert (answer.status_code, span.name) == (status, name)
    assert attributes_of(span)["http.response.status_code"] == status
    assert span.status.code == 0
