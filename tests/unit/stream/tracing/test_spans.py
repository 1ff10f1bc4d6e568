"""Spans reach a real receiver, and a receiver that is slow, away or refuses costs nothing but spans."""

from collections import Counter
from typing import Any

import pytest
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from structlog.testing import capture_logs

from tagstream.stream.settings.tracing import Tracing
from tagstream.stream.tracing.context import context_of
from tagstream.stream.tracing.spans import MOST_LINKS, MOST_PARTS, MOST_WAITING, Done, Spans
from tests.otlp.receiver import Receiver, attributes_of, receiving

CLOSE_SECONDS = 60.0
PARENT = context_of((("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),))
UNSAMPLED = context_of((("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),))


def done(**more: Any) -> Done:
    """A span."""
    return Done(
        **{"name": "work", "kind": SpanKind.CONSUMER, "began_ns": 10**18, "ended_ns": 10**18 + 5, "attributes": {}, **more}
    )


def flush(spans: Spans) -> None:
    """Send what waits, in this thread."""
    assert spans._provider.force_flush()


def test_a_span_arrives_as_it_was_made(spans: Spans, receiver: Receiver, counts: Counter[str]) -> None:
    """Ids, times, attributes, links, events and error are in the receiver's protobuf, with the service's name."""
    assert PARENT is not None
    context = spans.add(
        done(
            parent=PARENT,
            span_id=0xAB,
            attributes={"a": 1, "b": ["x", "y"]},
            links=[Link(PARENT, {"c": "d"})],
            error="empty",
            events={"decided": 10**18 + 2},
        )
    )
    spans.close(CLOSE_SECONDS)
    (span,) = receiver.spans
    assert (context.span_id, span.span_id, span.parent_span_id) == (0xAB, bytes(7) + b"\xab", bytes.fromhex("b7ad6b7169203331"))
    assert span.trace_id == bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (10**18, 10**18 + 5)
    assert attributes_of(span) == {"a": 1, "b": ["x", "y"], "error.type": "empty"}
    assert [(link.span_id, attributes_of(link)) for link in span.links] == [(span.parent_span_id, {"c": "d"})]
    assert [(event.name, event.time_unix_nano) for event in span.events] == [("decided", 10**18 + 2)]
    assert (span.status.code, span.status.message) == (2, "empty")
    assert receiver.requests == [("/v1/traces", "application/x-protobuf")]
    assert receiver.resources[0]["service.name"] == "test"
    assert counts == {"exported": 1}


def test_a_given_id_is_that_of_one_span_alone(spans: Spans) -> None:
    """The next span of the thread has a random one again, and so has one of another thread."""
    first, second = spans.add(done(span_id=7)), spans.add(done())
    assert first.span_id == 7
    assert second.span_id != 7
    assert first.trace_id != second.trace_id


def test_a_producer_that_records_nothing_is_followed(spans: Spans, receiver: Receiver, counts: Counter[str]) -> None:
    """A span below a context that is not recorded goes nowhere."""
    assert not spans.add(done(parent=UNSAMPLED)).trace_flags.sampled
    spans.close(CLOSE_SECONDS)
    assert receiver.spans == []
    assert counts == {}


def test_the_share_is_of_traces_that_begin_here(receiver: Receiver) -> None:
    """At 0 no trace begins here, and those of producers go on."""
    spans = Spans(Tracing(endpoint=receiver.endpoint, sample_ratio=0.0), service="test", counted=lambda *_: None)
    for _ in range(20):
        spans.add(done())
    spans.add(done(parent=PARENT, name="theirs"))
    spans.close(CLOSE_SECONDS)
    assert [span.name for span in receiver.spans] == ["theirs"]


def test_a_batch_of_the_largest_size_keeps_all_links(spans: Spans, receiver: Receiver) -> None:
    """The SDK's own limit, 128 links, is below the largest batch."""
    links = [Link(SpanContext(1, number + 1, is_remote=True, trace_flags=TraceFlags(1))) for number in range(MOST_LINKS)]
    spans.add(done(links=links))
    spans.close(CLOSE_SECONDS)
    assert len(receiver.spans[0].links) == MOST_LINKS


def test_the_names_of_the_environment_win(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS` are OpenTelemetry's own."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "tagger")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=night")
    spans = Spans(Tracing(endpoint=receiver.endpoint), service="test", counted=lambda *_: None)
    spans.add(done())
    spans.close(CLOSE_SECONDS)
    (sender,) = receiver.resources
    assert (sender["service.name"], sender["deployment.environment.name"]) == ("tagger", "night")


def test_a_receiver_that_stands_still_costs_spans_and_no_wait(receiver: Receiver, counts: Counter[str]) -> None:
    """While no request is answered, spans beyond the queue are dropped and counted; the rest is sent when it answers again."""
    receiver.answers.clear()
    spans = Spans(
        Tracing(endpoint=receiver.endpoint), service="test", counted=lambda result, n: counts.update({result.value: n})
    )
    for _ in range(MOST_WAITING + 100):
        spans.add(done())
    assert counts == {"dropped": 100}
    receiver.answers.set()
    spans.close(CLOSE_SECONDS)
    assert counts == {"dropped": 100, "exported": MOST_WAITING}
    assert len(receiver.spans) == MOST_WAITING


def test_a_receiver_that_refuses_is_told_of_once_and_found_again(
    spans: Spans, receiver: Receiver, counts: Counter[str]
) -> None:
    """Two refusals give one line of ours, and the first success after them another one; every span is counted."""
    receiver.status = 400
    with capture_logs() as told:
        for number in (1, 2):
            spans.add(done())
            flush(spans)
            assert counts["failed"] == number
        receiver.status = 200
        spans.add(done())
        flush(spans)
    assert counts == {"failed": 2, "exported": 1}
    assert [line["event"] for line in told] == ["traces_not_taken", "traces_taken_again"]


def test_the_end_waits_no_longer_than_it_is_told(receiver: Receiver) -> None:
    """A receiver that stands still at the end loses the last spans, which is said."""
    receiver.answers.clear()
    spans = Spans(Tracing(endpoint=receiver.endpoint), service="test", counted=lambda *_: None)
    spans.add(done())
    with capture_logs() as told:
        # The receiver answers only after the test: an end without a bound of its own would hang here.
        spans.close(0.2)
    assert [line["event"] for line in told] == ["traces_cut_short"]
    assert receiver.spans == []


def test_a_receiver_that_comes_later_gets_what_comes_then(counts: Counter[str]) -> None:
    """No collector listens at first: those spans fail, and later ones arrive."""
    with receiving() as gone:
        port = gone.port
    spans = Spans(
        Tracing(endpoint=f"http://127.0.0.1:{port}"),
        service="test",
        counted=lambda result, n: counts.update({result.value: n}),
        export_seconds=0.5,
    )
    spans.add(done(name="early"))
    flush(spans)
    assert counts == {"failed": 1}
    with receiving(port) as there:
        spans.add(done(name="late"))
        spans.close(CLOSE_SECONDS)
        assert [span.name for span in there.spans] == ["late"]
    assert counts == {"failed": 1, "exported": 1}


def test_the_links_that_wait_are_bounded_too(receiver: Receiver, counts: Counter[str]) -> None:
    """A batch has a link to each event: while a receiver stands still, large batches fill the queue before their number does."""
    receiver.answers.clear()
    spans = Spans(
        Tracing(endpoint=receiver.endpoint), service="test", counted=lambda result, n: counts.update({result.value: n})
    )
    links = [Link(SpanContext(1, number + 1, is_remote=True, trace_flags=TraceFlags(1))) for number in range(1000)]
    for _ in range(40):
        spans.add(done(links=links))
    room = MOST_PARTS // (1 + len(links))
    assert counts == {"dropped": 40 - room}
    receiver.answers.set()
    spans.close(CLOSE_SECONDS)
    assert counts == {"dropped": 40 - room, "exported": room}
