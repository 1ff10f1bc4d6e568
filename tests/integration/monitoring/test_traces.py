"""Traces of a worker on Apache Kafka: outcomes in their producers' traces, and a stream that needs no receiver."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.answers import Said, answer_to, write_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.faust_app import CLIENT_ID
from tests.faults.answers.sending import send_answers
from tests.faults.cluster.topics import send
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.integration.running import SAME_MEMBER, Start, all_committed, all_written, ended
from tests.otlp.receiver import Receiver, attributes_of, receiving
from tests.waiting import until

pytestmark = pytest.mark.broker

EVENTS = 60
NOW_MS = 1_780_000_000_000
BY_CONVENTION = {"OTEL_SEMCONV_STABILITY_OPT_IN": "messaging"}
ENDPOINT, SOON = "TAGSTREAM_TRACING__ENDPOINT", "OTEL_BSP_SCHEDULE_DELAY"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with receiving() as found:
        yield found


def planted() -> list[Planted]:
    """Events, the first of which is malformed, each under a span of its producer whose trace id and span id are one number."""
    values = [b"not json"] + [
        json.dumps({"id": f"e{n}", "title": f"Vision transformers {n}"}).encode() for n in range(2, EVENTS + 1)
    ]
    return [
        Planted(
            event_id=None if number == 1 else f"e{number}",
            key=b"k%d" % number,
            value=value,
            headers=(("traceparent", b"00-%032x-%016x-01" % (number, number)), ("tenant", b"t")),
        )
        for number, value in enumerate(values, start=1)
    ]


def context(record: Record) -> tuple[int, int]:
    """Trace id and span id in the record's one `traceparent`."""
    (found,) = [value for name, value in record.headers if name == "traceparent"]
    _, trace, span, _ = found.split(b"-")
    return int(trace, 16), int(span, 16)


def ids(span: Any) -> tuple[int, int]:
    """Trace id and span id of a span."""
    return int.from_bytes(span.trace_id), int.from_bytes(span.span_id)


def below(receiver: Receiver, topic: str) -> list[Any]:
    """The spans of outcomes of this topic's records; those of batches have no parent."""
    return [span for span in receiver.named(f"process {topic}") if span.parent_span_id]


def decided(observer: TopicObserver) -> list[Record]:
    """All decisions."""
    outcomes = observer.outcomes()
    return [*outcomes[Destination.TAGGED], *outcomes[Destination.REVIEW]]


@pytest.mark.parametrize("delivery", ["at_least_once", pytest.param("exactly_once", marks=pytest.mark.slow)])
def test_each_outcome_and_each_answer_is_in_its_producers_trace(
    delivery: str, start: Start, settings: Settings, observer: TopicObserver, receiver: Receiver
) -> None:
    """The header of an outcome names a span that the receiver has, below the producer's; a person's answer goes on from there."""
    content, reviewed = settings.topics.content, settings.topics.reviewed
    send(settings, planted())
    worker = start(TAGSTREAM_DELIVERY=delivery, **BY_CONVENTION, **{ENDPOINT: receiver.endpoint, SOON: "100"})
    all_written(observer, EVENTS)
    until(lambda: len(below(receiver, content)) >= EVENTS, "all spans have come", state=lambda: len(receiver.spans))
    records = decided(observer)
    spans = {ids(span): span for span in below(receiver, content)}
    assert {context(record) for record in records} == spans.keys() - {ids(dead_span(receiver, content))}
    assert {(one[0], int.from_bytes(span.parent_span_id)) for one, span in spans.items()} == {
        (n, n) for n in range(1, EVENTS + 1)
    }
    for record in records:
        said, value = attributes_of(spans[context(record)]), json.loads(record.value or b"")
        assert (said["tagstream.tag"], said["tagstream.prediction_id"]) == (value["tag"], value["prediction_id"])
        assert said["messaging.consumer.group.name"] == settings.group
    (dead,) = observer.outcomes()[Destination.DLQ]
    assert context(dead) == (1, 1)

    batches = [span for span in receiver.named(f"process {content}") if not span.parent_span_id]
    assert sum(attributes_of(batch)["messaging.batch.message_count"] for batch in batches) == EVENTS
    assert sorted(int.from_bytes(link.trace_id) for batch in batches for link in batch.links) == list(range(1, EVENTS + 1))
    assert {sender["service.name"] for sender in receiver.resources} == {"tagstream-worker"}
    until(lambda: sent(receiver, settings) == EVENTS, "the spans of sends have come", state=lambda: sent(receiver, settings))
    host, _, port = settings.brokers.rpartition(":")
    assert {(attributes_of(span)["server.address"], attributes_of(span)["server.port"]) for span in receiver.spans} == {
        (host, int(port))
    }
    assert {attributes_of(span)["messaging.client.id"] for span in batches} == {CLIENT_ID}

    shown = read_decision(records[0])
    assert isinstance(shown, DecidedEvent)
    answer = answer_to(shown, Said(tag="mlops", reviewer="ada", blind=False, asked_by="review"), now_ms=NOW_MS, previous=None)
    value = write_answer(shown.event.fields, answer)
    send_answers(settings, [Planted(event_id=shown.event.id, key=b"k", value=value, headers=shown.event.record.headers)])
    until(lambda: below(receiver, reviewed), "the answer's span has come", state=lambda: len(receiver.spans))
    (span,) = below(receiver, reviewed)
    assert (int.from_bytes(span.trace_id), int.from_bytes(span.parent_span_id)) == context(records[0])
    (by_person,) = [record for record in decided(observer) if b'"decider":"reviewer"' in (record.value or b"")]
    assert context(by_person) == ids(span)
    assert worker.series("tagstream_trace_spans_total", "result")["dropped"] == 0
    assert worker.stop() == 0


def sent(receiver: Receiver, settings: Settings) -> int:
    """The number of records that the spans of sends to the topics of outcomes count."""
    topics = [settings.topics.tagged, settings.topics.review, settings.topics.dlq]
    return sum(
        attributes_of(span)["messaging.batch.message_count"] for topic in topics for span in receiver.named(f"send {topic}")
    )


def dead_span(receiver: Receiver, topic: str) -> Any:
    """The span of the one dead letter, which is an error."""
    (found,) = [span for span in below(receiver, topic) if span.status.code == 2]
    assert attributes_of(found)["error.type"] == "invalid_json"
    return found


@pytest.mark.slow
def test_an_event_that_is_delivered_again_has_the_same_headers(
    start: Start, settings: Settings, observer: TopicObserver, receiver: Receiver
) -> None:
    """A worker is killed before its first commit, and the next one decides all events again: each pair has one trace, span and decision."""
    send(settings, planted())
    first = start(TAGSTREAM_COMMIT_INTERVAL_SECONDS="3600", **{ENDPOINT: receiver.endpoint}, **SAME_MEMBER)
    all_written(observer, EVENTS)
    first.process.kill()
    ended(first.process)
    start(TAGSTREAM_BATCH_MAX_EVENTS="7", **{ENDPOINT: receiver.endpoint}, **SAME_MEMBER)
    all_written(observer, 2 * EVENTS)
    all_committed(observer)
    found: dict[bytes | None, list[Record]] = {}
    for record in decided(observer):
        found.setdefault(record.key, []).append(record)
    assert {len(pair) for pair in found.values()} == {2}
    for one, other in found.values():
        assert one.headers == other.headers
        assert without_clock(one) == without_clock(other)
        assert context(one)[0] != context(one)[1]


def without_clock(record: Record) -> bytes:
    """The bytes of a decision."""
    return (record.value or b"").partition(b',"tagged_at"')[0]


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["away", "stands still", "refuses"])
def test_the_stream_needs_no_receiver(
    trouble: str, start: Start, settings: Settings, observer: TopicObserver, receiver: Receiver, closed_port: int
) -> None:
    """With a receiver that is away, stands still or refuses, every event gets its outcome, all is committed, and the worker ends well."""
    if trouble == "stands still":
        receiver.answers.clear()
    receiver.status = 503 if trouble == "refuses" else 200
    endpoint = f"http://127.0.0.1:{closed_port}" if trouble == "away" else receiver.endpoint
    inputs: Sequence[Planted] = planted()
    send(settings, list(inputs))
    worker = start(**{ENDPOINT: endpoint, SOON: "100", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    all_written(observer, EVENTS)
    all_committed(observer)
    assert len(decided(observer)) == EVENTS - 1
    if trouble != "stands still":
        until(
            lambda: worker.series("tagstream_trace_spans_total", "result")["failed"] > 0,
            "lost spans are counted",
            process=worker.process,
        )
    worker.until_ready()
    assert worker.stop() == 0
    assert receiver.spans == []


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with receiving() as gone:
        return gone.port
