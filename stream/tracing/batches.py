"""
Traces of batches: a span for each batch, with a link to every event that has a trace, and a span for each outcome in its producer's trace.

Spans are made after the broker has confirmed the outcomes. Until then only the moments and the producers' contexts are kept, in the
observations of the outcomes, so the delivery knows nothing of traces.
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
from tagstream.stream.tracing.spans import Done, Spans

OPERATION = "process"
OURS = Observation.__struct_fields__

log = logger("tagstream.tracing")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedBatch:
    """A batch that was decided: its topic, or several by their names, its events, and the moments in Unix nanoseconds."""

    topic: str
    events: int
    began_ns: int
    decided_ns: int


class TracedObservation(Observation, frozen=True, kw_only=True):
    """
    An observation that knows its batch and its place in a trace.

    Attributes:
        batch: The batch of the event.
        topic: Of the event.
        partition: Of the event.
        offset: Of the event.
        name: The prediction id, or the reason of a dead letter.
        producer: The producer's context; None where the event has no trace.
        span_id: The outcome's own span; None where the event has no trace, or one that is not recorded.
    """

    batch: TracedBatch
    topic: str
    partition: int
    offset: int
    name: str
    producer: SpanContext | None
    span_id: int | None


class TracedDecide:
    """Decides, and continues the trace of each event in the headers of its outcome. For several threads at once."""

    def __init__(self, decide: Decide, topic: str) -> None:
        """`decide` decides records of `topic`, and perhaps of others that say theirs."""
        self._decide = decide
        self._topic = topic

    def __call__(self, records: Sequence[Record], /) -> list[Publication]:
        """As `decide`; raises what it raises."""
        began = time.time_ns()
        publications = self._decide(records)
        topics = ", ".join(dict.fromkeys(record.topic or self._topic for record in records))
        batch = TracedBatch(topic=topics, events=len(records), began_ns=began, decided_ns=time.time_ns())
        return [traced(record, publication, batch) for record, publication in zip(records, publications, strict=True)]


def traced(record: Record, publication: Publication, batch: TracedBatch) -> Publication:
    """
    The publication with the outcome's own span as the parent in its `traceparent`.

    Left as it is are the headers of an event without a trace, of one whose producer does not record its trace, which has no span here,
    and of a dead letter, which has to be the record that the producer sent.

    Args:
        record: The event.
        publication: Its outcome.
        batch: The batch in which it was decided.
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
    """Implements `Observer`: passes everything on, and hands over the spans of what the broker has confirmed."""

    def __init__(self, observer: Observer, spans: Spans, *, group: str) -> None:
        """
        Wrap an observer.

        Args:
            observer: Is told everything first.
            spans: Get the spans.
            group: The consumer group of the workers.
        """
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
        # A worker must not end because of a trace, and an observer never raises.
        except Exception as error:
            log.exception(
                "trace_failed", why=f"{type(error).__name__}: {error}", consequence="the spans of this batch are lost"
            )

    def _hand_over(self, observations: Sequence[TracedObservation]) -> None:
        batch, now = observations[0].batch, time.time_ns()
        whole = self._spans.add(
            Done(
                name=f"{OPERATION} {batch.topic}",
                kind=SpanKind.CONSUMER,
                began_ns=batch.began_ns,
                ended_ns=now,
                attributes={**self._common(batch.topic), "messaging.batch.message_count": batch.events},
                links=[Link(one.producer, _place(one)) for one in observations if one.producer is not None],
                events={"decided": batch.decided_ns},
            )
        )
        links = [Link(whole)] if whole.trace_flags.sampled else []
        for one in observations:
            if one.span_id is not None:
                self._spans.add(self._outcome(one, links, now))

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
            name=f"{OPERATION} {one.topic}",
            kind=SpanKind.CONSUMER,
            began_ns=one.batch.began_ns,
            ended_ns=now,
            attributes={**self._common(one.topic), **_place(one), **said},
            links=links,
            parent=one.producer,
            span_id=one.span_id,
            error=None if one.rejection is None else one.rejection.value,
            events={"decided": one.batch.decided_ns},
        )

    def _common(self, topic: str) -> dict[str, AttributeValue]:
        return {
            "messaging.system": "kafka",
            "messaging.operation.name": OPERATION,
            "messaging.operation.type": OPERATION,
            "messaging.destination.name": topic,
            "messaging.consumer.group.name": self._group,
        }


def _place(one: TracedObservation) -> dict[str, AttributeValue]:
    return {"messaging.destination.partition.id": str(one.partition), "messaging.kafka.offset": one.offset}
