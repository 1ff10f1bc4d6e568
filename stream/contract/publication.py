"""The output contract: turns an outcome into the record that is published.

A value is the input's own fields, byte for byte, followed by the decision. Everything before `tagged_at` depends only on the
event, the bundle and the settings, so that a redelivered event repeats the same bytes of decision; `tagged_at`, a clock
reading, comes last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from monitoring.observer import Observation
from monitoring.vocabulary import Destination, Reason, Stage
from stream.contract import dead_letter
from stream.contract.decisions import Decision, NeedsReview, Outcome, Tagged
from stream.contract.limits import DEFAULT_LIMITS, Limits
from stream.contract.parsing.cloudevents import CLOUDEVENT_PREFIX
from stream.contract.parsing.strict_json import Fields
from stream.contract.record import Headers, Record, weight
from stream.contract.refusal import Refusal

# A field of ours only where the bundle gives it; else a producer's field of this name passes through.
OPTIONAL_FIELD = "tags"
REVIEW_FIELDS = ("reasons", "inclusion_probability", "text_flags")
# The names under which an outcome has a field of ours; a producer's field of such a name goes into `overridden`.
DECISION_FIELDS = frozenset({*Decision.__struct_fields__, *REVIEW_FIELDS, "tagged_at", "overridden", "destination"}) - {
    OPTIONAL_FIELD
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """
    One outcome, ready for the broker.

    Attributes:
        destination: The topic, by its role.
        key: Of the record to send.
        value: Of the record to send.
        headers: Of the record to send.
        observation: The outcome's figures for metrics and drift detection.
        outcome: The final outcome; a decision that is too large for its topic is a refusal here.
        audit: The value of a copy for the topic `audit`, with this key and these headers; None where the decision was not drawn.
    """

    destination: Destination
    # Never in a repr, as in `Record`.
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)
    observation: Observation
    outcome: Outcome
    audit: bytes | None = field(default=None, repr=False)

    @property
    def records(self) -> tuple[tuple[str, bytes | None], ...]:
        """Topic, by its key in the settings, and value of each record to send; all of them have the same key and headers."""
        outcome = (self.destination.value, self.value)
        return (outcome,) if self.audit is None else (outcome, ("audit", self.audit))


Decide = Callable[[Sequence[Record]], list[Publication]]
"""One publication for each record, in their order. Runs in several threads at once."""


def publish_all(
    records: Sequence[Record], outcomes: Sequence[Outcome], now_ms: int, limits: Limits = DEFAULT_LIMITS
) -> list[Publication]:
    """
    Every outcome in its form on the topic, in the same order.

    An outcome that is too large for its topic becomes a dead letter, and a dead letter that is too large loses its value. Otherwise the
    broker would refuse the record at every delivery, and the worker would never get past it.

    Args:
        records: The records as they were read.
        outcomes: Their outcomes, in the same order.
        now_ms: Unix milliseconds, published as `tagged_at`.
        limits: The largest records that the topics take.
    """
    tail = b',"tagged_at":"%b"}' % timestamp(now_ms).encode()
    return [
        rejected(record, outcome, limits) if isinstance(outcome, Refusal) else _fitting(record, outcome, tail, limits)
        for record, outcome in zip(records, outcomes, strict=True)
    ]


def timestamp(milliseconds: int) -> str:
    """
    RFC 3339 in UTC with milliseconds.

    >>> timestamp(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def audit_copy(value: bytes, inclusion_probability: float) -> bytes:
    """
    The value of a tagged decision as it is copied to `audit`: the same bytes, with `inclusion_probability` before `tagged_at`.

    >>> audit_copy(b'{"id":"a","tagged_at":"2026-01-01T00:00:00.000Z"}', 0.02)
    b'{"id":"a","inclusion_probability":0.02,"tagged_at":"2026-01-01T00:00:00.000Z"}'
    """
    decision, clock, at = value.rpartition(b',"tagged_at":')
    return b'%b,"inclusion_probability":%b%b%b' % (decision, msgspec.json.encode(inclusion_probability), clock, at)


def _fitting(record: Record, outcome: Tagged | NeedsReview, tail: bytes, limits: Limits) -> Publication:
    publication = _decided(outcome, tail)
    bytes_together = weight(publication.key, publication.value, publication.headers)
    if bytes_together <= limits.max_outcome_bytes:
        return publication
    message = f"event and decision weigh {bytes_together} bytes together, the limit is {limits.max_outcome_bytes}"
    return rejected(record, Refusal(stage=Stage.PRODUCE, reason=Reason.OUTCOME_TOO_LARGE, message=message), limits)


def _decided(outcome: Tagged | NeedsReview, tail: bytes) -> Publication:
    event, decision = outcome.event, outcome.decision
    review = outcome if isinstance(outcome, NeedsReview) else None
    destination = Destination.TAGGED if review is None else Destination.REVIEW
    by_model = decision.decider == "model"
    return Publication(
        destination=destination,
        key=event.record.key if event.record.key is not None else event.id.encode(),
        value=value_without_clock(outcome)[:-1] + tail,
        headers=forwarded(event.record.headers),
        observation=Observation(
            destination=destination,
            created_ms=event.record.timestamp_ms,
            label=decision.tag if by_model else None,
            confidence=decision.confidence if by_model else None,
            truncated=decision.truncated,
            review_reasons=review.reasons if review else (),
            text_flags=review.text_flags if review else (),
            signals=outcome.signals,
        ),
        outcome=outcome,
    )


def value_without_clock(outcome: Tagged | NeedsReview) -> bytes:
    """The JSON object of the input's fields and the decision: all of the value but `tagged_at`."""
    decision = outcome.decision
    ours = DECISION_FIELDS | {OPTIONAL_FIELD} if decision.tags else DECISION_FIELDS
    kept = msgspec.json.encode(without_collisions(outcome.event.fields, ours))
    value = kept[:-1] + b"," + msgspec.json.encode(decision)[1:]
    return value[:-1] + b"," + _why_asked(outcome)[1:] if isinstance(outcome, NeedsReview) else value


def _why_asked(outcome: NeedsReview) -> bytes:
    asked: dict[str, object] = {"reasons": outcome.reasons, "inclusion_probability": outcome.inclusion_probability}
    return msgspec.json.encode(asked | {"text_flags": outcome.text_flags} if outcome.text_flags else asked)


def without_collisions(fields: Fields, ours: frozenset[str]) -> Fields | dict[str, object]:
    """
    The input's fields, those with a name of ours moved into `overridden`.

    The holdout itself has a field `tag`. A consumer must find the decision under the contract's name, and the producer's field must not
    be lost.
    """
    colliding = ours & fields.keys()
    if not colliding:
        return fields
    kept: dict[str, object] = {name: raw for name, raw in fields.items() if name not in colliding}
    kept["overridden"] = {name: raw for name, raw in fields.items() if name in colliding}
    return kept


def forwarded(headers: Headers) -> Headers:
    """
    The headers of an input that are published with its outcome.

    All are but those of a CloudEvent, which would declare the outcome an event of the producer.
    """
    return tuple(
        (name, value) for name, value in headers if not name.startswith(CLOUDEVENT_PREFIX) and name.lower() != "content-type"
    )


def rejected(record: Record, refusal: Refusal, limits: Limits) -> Publication:
    """The dead letter of a record, of any topic that a worker reads: the only place where one is made."""
    key, value, headers = dead_letter.write(record, refusal, limits)
    return Publication(
        destination=Destination.DLQ,
        key=key,
        value=value,
        headers=headers,
        observation=Observation(destination=Destination.DLQ, created_ms=record.timestamp_ms, rejection=refusal.reason),
        outcome=refusal,
    )
