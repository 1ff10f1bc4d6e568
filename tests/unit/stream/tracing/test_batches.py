"""A batch in traces: one span with a link to each event, and each outcome in the trace of its producer."""

import inspect
import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from structlog.testing import capture_logs

from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination, Reason, Stage
from tagstream.stream.contract.event import Headers, Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.pipeline import Draw, Pipeline
from tagstream.stream.deliver.hooks import UNTRACED
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tracing.batches import TracedDecide, TracedObservation, TracedObserver
from tagstream.stream.tracing.conventions import OPT_IN
from tagstream.stream.tracing.spans import Spans
from tagstream.stream.tracing.tracing import tracing_of
from tests.fakes import RecordingObserver
from tests.otlp.receiver import Receiver, attributes_of
from tests.replacing import replace

CLOSE_SECONDS = 60.0
NOW_MS = 1_700_000_000_000
CLIENT = Span.SPAN_KIND_CLIENT


def header(number: int, flags: int = 1) -> tuple[str, bytes]:
    """The context of a producer's span."""
    return "traceparent", b"00-%032x-%016x-%02x" % (number, number, flags)


def record(value: bytes, *headers: tuple[str, bytes], offset: int = 0) -> Record:
    """A record of `content`."""
    return Record(key=None, value=value, headers=headers, topic="content", partition=3, offset=offset)


def event(name: str, **more: object) -> bytes:
    """An event that the keyword classifier is sure of."""
    return json.dumps({"id": name, "title": "image", **more}).encode()


RECORDS = (
    record(event("sure"), ("x", b"1"), header(1), ("tracestate", b"a=1"), offset=10),
    record(event("unsure", title="maybe image"), header(2), offset=11),
    record(b"not json", header(3), ("y", b"2"), offset=12),
    record(event("unrecorded"), header(4, 0), offset=13),
    record(event("without"), ("z", b"3"), offset=14),
)


def decided(pipeline: Pipeline, records: Sequence[Record] = RECORDS) -> list[Publication]:
    """The publications of a traced pipeline at a fixed clock."""

    def at_a_time(records: Sequence[Record]) -> list[Publication]:
        return pipeline.publications(records, clock=lambda: NOW_MS / 1000)

    return TracedDecide(at_a_time, "content")(records)


def published(spans: Spans, publications: Sequence[Publication]) -> RecordingObserver:
    """An observer that was told of them behind a traced one."""
    observer = RecordingObserver()
    TracedObserver(observer, spans, group="g").published([one.observation for one in publications], NOW_MS)
    return observer


def traceparents(publications: Sequence[Publication]) -> list[bytes | None]:
    """The header of each."""
    return [dict(one.headers).get("traceparent") for one in publications]


def test_an_outcome_continues_its_producers_trace(pipeline: Pipeline) -> None:
    """The trace and its flag stay, the parent is the outcome's own span; what has no recorded trace is left as it is."""
    sure, unsure, dead, unrecorded, without = traceparents(decided(pipeline))
    for number, found in ((1, sure), (2, unsure)):
        assert found is not None
        version, trace, parent, flags = found.split(b"-")
        assert (version, trace, flags) == (b"00", b"%032x" % number, b"01")
        assert parent != b"%016x" % number
    assert (dead, unrecorded, without) == (header(3)[1], header(4, 0)[1], None)


def test_nothing_else_of_a_publication_changes(pipeline: Pipeline) -> None:
    """Traced or not, outcomes have the same bytes, keys, figures and other headers, and dead letters the same headers too."""
    plain = pipeline.publications(RECORDS, clock=lambda: NOW_MS / 1000)
    for ours, before in zip(decided(pipeline), plain, strict=True):
        assert (ours.destination, ours.key, ours.value, ours.outcome) == (
            before.destination,
            before.key,
            before.value,
            before.outcome,
        )
        assert [name for name, _ in ours.headers] == [name for name, _ in before.headers]
        assert without_trace(ours.headers) == without_trace(before.headers)
        assert figures(ours.observation) == figures(before.observation)
    assert decided(pipeline)[2].headers == plain[2].headers


def without_trace(headers: Headers) -> Headers:
    """All headers but `traceparent`."""
    return tuple(one for one in headers if one[0] != "traceparent")


def figures(observation: Observation) -> dict[str, Any]:
    """The fields of an observation that metrics and drift read."""
    return {name: getattr(observation, name) for name in Observation.__struct_fields__}


def test_a_redelivered_event_gets_the_same_headers(pipeline: Pipeline) -> None:
    """Alone, at another place of another batch, and after a restart: the headers are a function of event and bundle."""
    first = decided(pipeline)
    again = [decided(pipeline, [one])[0] for one in RECORDS]
    assert [one.headers for one in again if one.destination is not Destination.DLQ] == [
        one.headers for one in first if one.destination is not Destination.DLQ
    ]


def test_two_events_of_one_producers_span_have_spans_of_their_own(pipeline: Pipeline) -> None:
    """A producer that sends a list under one context gets one span for each of its events."""
    one, other = traceparents(decided(pipeline, [record(event("a"), header(1)), record(event("b"), header(1))]))
    assert one != other


def test_a_copy_for_audit_is_in_the_same_trace(pipeline: Pipeline) -> None:
    """The copy has the headers of the decision."""
    pipeline.draw = Draw(rate=1.0, rates={}, salt="s")
    (found,) = decided(pipeline, RECORDS[:1])
    assert found.audit is not None
    assert traceparents([found]) == traceparents(decided(pipeline, RECORDS[:1]))
    assert traceparents([found])[0] != header(1)[1]


def test_an_event_that_may_not_be_read_is_refused_as_before(pipeline: Pipeline) -> None:
    """Every dead letter that the crash guard asks for keeps its headers."""
    refusal = Refusal(stage=Stage.INFER, reason=Reason.MODEL_RAISED, message="m")
    found = TracedDecide(lambda records: pipeline.publications(records, refusal), "content")(RECORDS)
    assert [one.outcome for one in found] == [refusal] * len(RECORDS)
    assert [dict(one.headers).get("traceparent") for one in found] == [dict(one.headers).get("traceparent") for one in RECORDS]


def test_a_batch_has_one_span_with_a_link_to_each_event(pipeline: Pipeline, spans: Spans, receiver: Receiver) -> None:
    """The batch's span begins a trace; its links name the producers' spans and the places of their events."""
    published(spans, decided(pipeline))
    spans.close(CLOSE_SECONDS)
    (batch,) = [span for span in receiver.spans if not span.parent_span_id]
    assert batch.name == "process content"
    assert attributes_of(batch) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "content",
        "messaging.consumer.group.name": "g",
        "messaging.batch.message_count": len(RECORDS),
    }
    links = [(int.from_bytes(link.span_id), attributes_of(link)) for link in batch.links]
    assert links == [
        (number, {"messaging.destination.partition.id": "3", "messaging.kafka.offset": 9 + number}) for number in (1, 2, 3, 4)
    ]
    (moment,) = batch.events
    assert moment.name == "decided"
    assert batch.start_time_unix_nano <= moment.time_unix_nano <= batch.end_time_unix_nano


def test_spans_of_several_topics_name_them(pipeline: Pipeline, spans: Spans, receiver: Receiver) -> None:
    """The span of an outcome names the topic of its event, that of a batch all of them."""
    published(spans, decided(pipeline, [RECORDS[0], replace(RECORDS[1], topic="posts")]))
    spans.close(CLOSE_SECONDS)
    assert {span.name for span in receiver.spans} == {"process content, posts", "process content", "process posts"}


def test_each_outcome_has_a_span_below_its_producers(pipeline: Pipeline, spans: Spans, receiver: Receiver) -> None:
    """It says what was decided, links to the batch, and is the one that the outcome's header names."""
    publications = decided(pipeline)
    published(spans, publications)
    spans.close(CLOSE_SECONDS)
    (batch,) = [span for span in receiver.spans if not span.parent_span_id]
    below = {int.from_bytes(span.parent_span_id): span for span in receiver.spans if span.parent_span_id}
    assert set(below) == {1, 2, 3}
    for number, publication in zip((1, 2, 3), publications, strict=False):
        span = below[number]
        assert int.from_bytes(span.trace_id) == number
        assert [link.span_id for link in span.links] == [batch.span_id]
        if publication.destination is not Destination.DLQ:
            assert dict(publication.headers)["traceparent"].split(b"-")[2].decode() == span.span_id.hex()
    assert below[1].trace_state == "a=1"
    sure, unsure, dead = (attributes_of(below[number]) for number in (1, 2, 3))
    assert (sure["tagstream.destination"], sure["tagstream.tag"]) == ("tagged", "computer-vision")
    assert sure["tagstream.prediction_id"] == json.loads(publications[0].value or b"")["prediction_id"]
    assert sure["tagstream.confidence"] == pytest.approx(json.loads(publications[0].value or b"")["confidence"])
    assert unsure["tagstream.reasons"] == ["low_confidence"]
    assert (dead["tagstream.destination"], dead["error.type"]) == ("dlq", "invalid_json")
    assert (below[3].status.code, below[1].status.code) == (2, 0)


def test_no_word_of_an_event_is_in_a_span(pipeline: Pipeline, spans: Spans, receiver: Receiver) -> None:
    """Spans go to a third party: neither title nor id, key or value of an event is in them."""
    found = decided(
        pipeline,
        [record(event("the-id", title="image secretword", note="hidden"), header(1)), record(b"secretword", header(2))],
    )
    published(spans, found)
    spans.close(CLOSE_SECONDS)
    assert len(receiver.spans) == 3
    sent = "".join(map(str, receiver.spans))
    assert not [word for word in ("secretword", "hidden", "the-id") if word in sent]


def test_only_what_was_sent_has_a_span(pipeline: Pipeline, spans: Spans, receiver: Receiver) -> None:
    """Exactly once may leave out outcomes that were committed before; those had their spans then."""
    publications = decided(pipeline)
    observer = published(spans, publications[1:2])
    assert published(spans, []).observations == []
    spans.close(CLOSE_SECONDS)
    assert [int.from_bytes(span.parent_span_id) for span in receiver.spans] == [0, 2]
    assert observer.observations == [publications[1].observation]


def test_an_observer_behind_traces_is_told_everything(spans: Spans) -> None:
    """Counts of batches, stages and failures pass through."""
    observer = RecordingObserver()
    traced = TracedObserver(observer, spans, group="g")
    traced.received(3, 2)
    traced.stage("decode", 0.5)
    traced.model_raised()
    plain = [Observation(destination=Destination.TAGGED, created_ms=NOW_MS)]
    traced.published(plain, NOW_MS)
    assert (observer.batches, observer.repeated, observer.stages, observer.raised) == ([3], 2, ["decode"], 1)
    assert observer.observations == plain


def test_a_trace_that_fails_costs_no_event(pipeline: Pipeline, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the making of a span is logged with its reason, after everything else was told."""

    def broken(*_: object) -> None:
        msg = "no more spans"
        raise RuntimeError(msg)

    monkeypatch.setattr(spans, "add", broken)
    with capture_logs() as told:
        observer = published(spans, decided(pipeline))
    assert len(observer.observations) == len(RECORDS)
    assert [(line["event"], line["why"]) for line in told] == [("trace_failed", "RuntimeError: no more spans")]


def test_without_a_receiver_every_part_stays_as_it_is(pipeline: Pipeline) -> None:
    """Off, nothing stands around deciding, observing and answering: not one call more for an event."""
    observer = RecordingObserver()
    decide = pipeline.publications
    with tracing_of(Settings(), service="test") as tracing:
        assert tracing is UNTRACED
        assert tracing.deciding(decide, "content") is decide
        assert tracing.observing(observer) is observer
        assert tracing.requests(len) is len  # type: ignore[arg-type, comparison-overlap]
    assert not [one for one in pipeline.publications(RECORDS) if isinstance(one.observation, TracedObservation)]


def test_with_a_receiver_the_parts_are_traced_and_the_end_sends(pipeline: Pipeline, receiver: Receiver) -> None:
    """Spans that wait at the end of the door are sent before it closes."""
    settings = Settings.model_validate({"tracing": {"endpoint": receiver.endpoint}, "group": "night"})
    with tracing_of(settings, service="a-door") as tracing:
        found = tracing.deciding(pipeline.publications, "content")(RECORDS)
        tracing.observing(RecordingObserver()).published([one.observation for one in found], NOW_MS)
    assert len(receiver.spans) == 4
    assert receiver.resources[0]["service.name"] == "a-door"
    assert {attributes_of(span)["messaging.consumer.group.name"] for span in receiver.spans} == {"night"}


DEVELOPMENT = {"messaging.client.id": "the-client", "server.address": "::1", "server.port": 9094}


def by_convention(receiver: Receiver, pipeline: Pipeline, **settings: object) -> list[Any]:
    """The spans of a batch by the settings, with a broker of one address and a client of this name."""
    given = {"tracing": {"endpoint": receiver.endpoint}, "brokers": "[::1]:9094", **settings}
    with tracing_of(Settings.model_validate(given), service="test", client_id="the-client") as tracing:
        found = tracing.deciding(pipeline.publications, "content")(RECORDS)
        tracing.observing(RecordingObserver()).published([one.observation for one in found], NOW_MS)
    return receiver.spans


@pytest.mark.parametrize("asked", ["messaging", "http, messaging/dup"])
def test_who_asks_for_the_conventions_gets_a_span_of_each_send(
    asked: str, pipeline: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch has a span `send TOPIC` for each topic, below the batch, with a link to what each record names as its parent."""
    monkeypatch.setenv(OPT_IN, asked)
    pipeline.draw = Draw(rate=1.0, rates={}, salt="s")
    spans = by_convention(receiver, pipeline, topics={"tagged": "decisions"})
    (batch,) = [span for span in spans if not span.parent_span_id]
    sends = {span.name: span for span in spans if span.name.startswith("send ")}
    assert {name: attributes_of(span)["messaging.batch.message_count"] for name, span in sends.items()} == {
        "send decisions": 3,
        "send audit": 3,
        "send review": 1,
        "send content.dlq": 1,
    }
    expected = decided(pipeline)
    for name, destination in (
        ("decisions", Destination.TAGGED),
        ("review", Destination.REVIEW),
        ("content.dlq", Destination.DLQ),
    ):
        span = sends[f"send {name}"]
        assert (span.trace_id, span.parent_span_id, span.kind) == (batch.trace_id, batch.span_id, CLIENT)
        assert attributes_of(span) == {
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": name,
            "messaging.batch.message_count": attributes_of(span)["messaging.batch.message_count"],
            **DEVELOPMENT,
        }
        named = [found for found in traceparents([one for one in expected if one.destination is destination]) if found]
        links = [b"%b-%b" % (link.trace_id.hex().encode(), link.span_id.hex().encode()) for link in span.links]
        assert links == [found[3:-3] for found in named]
    assert [moment.time_unix_nano for moment in batch.events] == [sends["send review"].start_time_unix_nano]
    assert all(attributes_of(span).items() >= DEVELOPMENT.items() for span in spans)


@pytest.mark.parametrize("asked", [None, "", "http", "messages"])
def test_without_the_variable_the_spans_stay_as_they_are(
    asked: str | None, pipeline: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No `send` span, no address and no client: what is in development must not come unasked."""
    if asked is None:
        monkeypatch.delenv(OPT_IN, raising=False)
    else:
        monkeypatch.setenv(OPT_IN, asked)
    spans = by_convention(receiver, pipeline)
    assert {span.name for span in spans} == {"process content"}
    assert not [name for span in spans for name in attributes_of(span) if name in DEVELOPMENT]


def test_several_brokers_and_several_producers_have_no_name(
    pipeline: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker of a partition is not known among several, and in exactly-once mode each partition has its producer."""
    monkeypatch.setenv(OPT_IN, "messaging")
    spans = by_convention(receiver, pipeline, brokers="a:1,b:2", delivery="exactly_once")
    found = {span.name: attributes_of(span).keys() & DEVELOPMENT.keys() for span in spans}
    assert found.pop("process content") == {"messaging.client.id"}
    assert found == {"send tagged": set(), "send review": set(), "send content.dlq": set()}


def test_every_name_is_one_of_the_published_conventions(
    pipeline: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attributes and operations stand in OpenTelemetry's package, and none of them is deprecated there; the rest is ours."""
    monkeypatch.setenv(OPT_IN, "messaging")
    spans = by_convention(receiver, pipeline)
    known = {
        value: published_at(module, name)
        for module in (messaging_attributes, server_attributes, error_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    held = [*spans, *(link for span in spans for link in span.links)]
    used = {name for one in held for name in attributes_of(one) if not name.startswith("tagstream.")}
    assert used >= DEVELOPMENT.keys() | {"error.type", "messaging.kafka.offset"}
    assert used <= known.keys()
    assert not [name for name in used if "Deprecated" in known[name]]
    assert "Deprecated" in known["messaging.kafka.message.offset"]
    operations = {attributes_of(span)["messaging.operation.type"] for span in spans}
    assert operations <= {value.value for value in messaging_attributes.MessagingOperationTypeValues}


def published_at(module: ModuleType, name: str) -> str:
    """The text below a name in a module of the conventions."""
    _, _, rest = inspect.getsource(module).partition(f"\n{name}: Final")
    return rest.partition("\n\n")[0]
