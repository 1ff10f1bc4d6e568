"""
Traces of batches: a span for each batch, with a link to every event that has a trace, and a span for each outcome in its producer's trace.

Spans are made after the broker has confirmed the outcomes. Until then the observations of the outcomes keep the times and the producers'
contexts, so the delivery does not need to know about traces.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from opentelemetry.trace import Link, SpanContext, SpanKind
from opentelemetry.util.types import AttributeValue

from tagstream.monitoring.observer import NO_TOPICS, Observation, Observer
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Decide, Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.logs import logger
from tagstream.stream.tracing.context import child_id, context_of, continued
from tagstream.stream.tracing.conventions import Development
from tagstream.stream.tracing.spans import Done, Spans

PROCESS, SEND = "process", "send"
OURS = Observation.__struct_fields__

log = logger("tagstream.tracing")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedBatch:
    """A decided batch: its topic (several are joined by commas), its number of events, and its times in Unix nanoseconds."""

    topic: str
    events: int
    began_ns: int
    decided_ns: int


class TracedObservation(Observation, frozen=True, kw_only=True):
    """
    An observation with its batch and its place in a trace.

    Attributes:
        batch: The batch of the event.
        topic: The event's topic.
        partition: The event's partition.
        offset: The event's offset.
        name: The prediction id, or the reason of a dead letter.
        producer: The producer's context; None if the event has no trace.
        span_id: The id of the outcome's own span; None if the event has no trace or its trace is not sampled.
    """

    batch: TracedBatch
    topic: str
    partition: int
    offset: int
    name: str
    producer: SpanContext | None
    span_id: int | None


class TracedDecide:
    """Decides records, and continues the trace of each event in the headers of its outcome. Safe for several threads."""

    def __init__(self, decide: Decide, topic: str) -> None:
        """`decide` decides records. `topic` is the topic of records that do not name theirs."""
        self._decide = decide
        self._topic = topic

    def __call__(self, records: Sequence[Record], /) -> list[Publication]:
        """Call `decide`, and raise its exceptions."""
        began = time.time_ns()
        publications = self._decide(records)
        topics = ", ".join(dict.fromkeys(record.topic or self._topic for record in records))
        batch = TracedBatch(topic=topics, events=len(records), began_ns=began, decided_ns=time.time_ns())
        return [traced(record, publication, batch) for record, publication in zip(records, publications, strict=True)]


def traced(record: Record, publication: Publication, batch: TracedBatch) -> Publication:
    """
    Return the publication with the outcome's own span as the parent in `traceparent`.

    The headers are not changed if the event has no trace, or if its trace is not sampled (then there is no span here). The headers of a
    dead letter are not changed either, since a dead letter must equal the record that the producer sent.

    Args:
        record: The event's record.
        publication: The event's outcome.
        batch: The batch of the event.
    """
    producer = context_of(record.headers)
    outcome = publication.outcome
    name = outcome.reason.value if isinstance(outcome, Refusal) else outcome.decision.prediction_id
    span_id = child_id(producer, name) if producer is not None and producer.trace_flags.sampled else None
    seen = publication.observation
    return msgspec.structs.replace(
        publication,
        headers=publication.headers
        if producer is None or span_id is None or publication.destination is Destination.DLQ
        else continued(publication.headers, producer, span_id),
        observation=TracedObservation(
            **{field: getattr(seen, field) for field in OURS},
            batch=batch,
            topic=record.topic or batch.topic,
            partition=record.partition,
            offset=record.offset,
            name=name,
            producer=producer,
            span_id=span_id,
        ),
    )


class TracedObserver:
    """An `Observer` that passes everything on to another observer, and makes the spans of confirmed outcomes."""

    def __init__(self, observer: Observer, spans: Spans, *, group: str, development: Development | None = None) -> None:
        """
        Wrap an observer.

        Args:
            observer: Gets every call first.
            spans: Gets the spans.
            group: The consumer group of the workers.
            development: What the conventions in development add; None for nothing.
        """
        self._development = development
        self._observer = observer
        self._spans = spans
        self._group = group

    def received(self, events: int, repeated: int = 0, topics: Mapping[str, int] = NO_TOPICS) -> None:
        """See `Observer`."""
        self._observer.received(events, repeated, topics)

    def stage(self, name: str, seconds: float) -> None:
        """See `Observer`."""
        self._observer.stage(name, seconds)

    def model_raised(self) -> None:
        """See `Observer`."""
        self._observer.model_raised()

    def remembered(self, texts: int, seconds: float) -> None:
        """See `Observer`."""
        self._observer.remembered(texts, seconds)

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """See `Observer`."""
        self._observer.published(observations, now_ms)
        found = [one for one in observations if isinstance(one, TracedObservation)]
        if not found:
            return
        try:
            self._hand_over(found)
        # A trace must not end a worker, and an observer must not raise.
        except Exception as error:
            log.exception(
                "trace_failed", why=f"{type(error).__name__}: {error}", consequence="the spans of this batch are lost"
            )

    def _hand_over(self, observations: Sequence[TracedObservation]) -> None:
        batch, now = observations[0].batch, time.time_ns()
        whole = self._spans.add(
            Done(
                name=f"{PROCESS} {batch.topic}",
                kind=SpanKind.CONSUMER,
                began_ns=batch.began_ns,
                ended_ns=now,
                attributes={**self._processing(batch.topic), "messaging.batch.message_count": batch.events},
                links=[Link(one.producer, _place(one)) for one in observations if one.producer is not None],
                events={"decided": batch.decided_ns},
            )
        )
        links = [Link(whole)] if whole.trace_flags.sampled else []
        for one in observations:
            if one.span_id is not None:
                self._spans.add(self._outcome(one, links, now))
        if self._development is not None:
            for topic, sent in self._development.sent(observations):
                self._spans.add(_sending(topic, sent, self._development.sending, parent=whole, ended_ns=now))

    def _outcome(self, one: TracedObservation, links: Sequence[Link], now: int) -> Done:
        said: dict[str, AttributeValue] = {"tagstream.destination": one.destination.value}
        if one.rejection is None:
            said["tagstream.prediction_id"] = one.name
        if one.label is not None:
            said["tagstream.tag"] = one.label
        if one.confidence is not None:
            said["tagstream.confidence"] = one.confidence
        if one.review_reasons:
            said["tagstream.reasons"] = [reason.value for reason in one.review_reasons]
        return Done(
            name=f"{PROCESS} {one.topic}",
            kind=SpanKind.CONSUMER,
            began_ns=one.batch.began_ns,
            ended_ns=now,
            attributes={**self._processing(one.topic), **_place(one), **said},
            links=links,
            parent=one.producer,
            span_id=one.span_id,
            error=None if one.rejection is None else one.rejection.value,
            events={"decided": one.batch.decided_ns},
        )

    def _processing(self, topic: str) -> dict[str, AttributeValue]:
        more = {} if self._development is None else self._development.processing
        return {**_common(PROCESS, topic), "messaging.consumer.group.name": self._group, **more}


def _sending(
    topic: str,
    sent: Sequence[TracedObservation],
    more: Mapping[str, AttributeValue],
    *,
    parent: SpanContext,
    ended_ns: int,
) -> Done:
    """The span of a batch's records for one topic, from the decision to the broker's confirmation."""
    links = [Link(carried) for one in sent if (carried := _carried(one)) is not None]
    return Done(
        name=f"{SEND} {topic}",
        # By the convention, a producer's span is one that the records name as their parent.
        kind=SpanKind.CLIENT,
        began_ns=sent[0].batch.decided_ns,
        ended_ns=ended_ns,
        attributes={**_common(SEND, topic), "messaging.batch.message_count": len(sent), **more},
        links=links,
        parent=parent,
    )


def _carried(one: TracedObservation) -> SpanContext | None:
    """The context that the outcome's record has in `traceparent`, as `traced` leaves it; None for a record without a trace."""
    producer = one.producer
    if producer is None or one.span_id is None or one.destination is Destination.DLQ:
        return producer
    return SpanContext(producer.trace_id, one.span_id, False, producer.trace_flags, producer.trace_state)  # noqa: FBT003


def _common(operation: str, topic: str) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def _place(one: TracedObservation) -> dict[str, AttributeValue]:
    return {"messaging.destination.partition.id": str(one.partition), "messaging.kafka.offset": one.offset}
