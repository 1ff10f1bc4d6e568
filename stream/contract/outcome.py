"""The outcome of an event: the decision, the three forms that an outcome has, and the record that is published for it.

A decision depends only on the event, the bundle and the settings. A published value is the input's own fields, byte for byte, followed
by the decision; `tagged_at`, a clock reading, comes last. So a redelivered event repeats the same bytes up to `tagged_at`.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal, assert_never

import msgspec

from tagstream.monitoring.hiding import Hiding
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import Signals
from tagstream.monitoring.vocabulary import Arm, Destination, Reason, ReviewReason, Stage, TextFlag
from tagstream.stream.contract import dead_letter
from tagstream.stream.contract.event import (
    CLOUDEVENT_PREFIX,
    DEFAULT_LIMITS,
    ContentEvent,
    Fields,
    Headers,
    Limits,
    Record,
    weight,
)
from tagstream.stream.contract.field_types import Asked, Moment, Share, Uuid, Version
from tagstream.stream.contract.refusal import Refusal

CONTRACT_VERSION = 1
PREDICTION_NAMESPACE = uuid.UUID("6d0f7c3e-5b0a-5d57-9c53-4a7c1c0f5a1e")
_NAMESPACE_BYTES = PREDICTION_NAMESPACE.bytes


# The form in which a worker writes an epoch, at most `contract.rollout_records.MAX_EPOCH`.
_EPOCH = re.compile("[1-9][0-9]{0,9}")


# The field is ours only if the bundle gives it; otherwise a producer's field of this name passes through.
OPTIONAL_FIELD = "tags"
# The field is ours only on a decision that viewers are asked about; an event with a field of this name is never one.
ASK_FIELD = "ask"
_ARMS: dict[str | None, Arm] = {arm.value: arm for arm in Arm}


class ModelRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The bundle that decided, the rules, or the model of another program: name, version and SHA-256.

    `arithmetic` is there only if the worker's processor computes otherwise than the machine that made the bundle: the digest of the worker's
    own logits of the golden texts. The same event may then get other figures on this worker, so its decision has another id.

    `epoch` and `arm` are there only after the first change of the running stream's model. `epoch` is the number of the event's epoch. `arm` is
    `champion`, `challenger`, or `fallback`: the champion decided because the challenger raised, or may have ended a worker. The decision of a
    higher epoch holds.
    """

    name: str
    version: str
    digest: str
    arithmetic: str | None = None
    epoch: str | None = None
    arm: str | None = None

    @property
    def identity(self) -> str:
        """The digest, with the arithmetic if it differs. Two workers with the same identity make the same decisions."""
        return self.digest if self.arithmetic is None else f"{self.digest}+{self.arithmetic}"

    @property
    def in_epoch(self) -> str:
        """
        The identity, with the epoch after the first change of the model. A `prediction_id` is made of this text.

        If a producer sends an event again after a rollback to the first model, the new decision must have another id than the first decision.
        Otherwise a consumer that keeps each id once would stay with the decision of the model in between.
        """
        return f"{self.identity}@{self.epoch_number}" if self.epoch_number else self.identity

    @property
    def epoch_number(self) -> int:
        """
        The epoch as a number; 0 before the first change of the model, and for a text that another program wrote.

        >>> named = ModelRef(name="m", version="1", digest="0" * 64, epoch="12", arm="champion")
        >>> named.epoch_number, ModelRef(name="m", version="1", digest="0" * 64).epoch_number
        (12, 0)
        """
        return int(self.epoch) if self.epoch is not None and _EPOCH.fullmatch(self.epoch) else 0


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A decision of the model or of the rules: the fields that `tagged`, `review` and `audit` add to an event, in their order on the wire
    (before `tagged_at`).

    Attributes:
        tag: The label with the highest probability.
        tags: Every label that the text is about, `tag` included; only if the bundle gives it.
        confidence: The probability of `tag`.
        probabilities: The probability of each label of the model.
        prediction_id: Made of the event's id, the model and the contract's version; the same at every delivery.
        decider: The model, or the keyword rules.
        model: The bundle that decided, the rules, or the model of another program.
        threshold: The confidence below which a person is asked about this tag; above 1 a person is always asked.
        truncated: True if the text is longer than the model reads.
        reasons: Why a person is asked; only on `review`.
        inclusion_probability: The probability that a person is asked about such an event; on `review` and `audit`, None on `tagged`.
        text_flags: The kinds of hidden characters in the text; only on `review`.
    """

    tag: str
    tags: tuple[str, ...] = ()
    confidence: Share
    probabilities: dict[str, Share]
    prediction_id: Uuid
    decider: Literal["model", "rules", "reviewer"]
    model: ModelRef
    threshold: float
    truncated: bool
    reasons: tuple[str, ...] = ()
    inclusion_probability: Asked | None = None
    text_flags: tuple[str, ...] = ()


class ReviewerDecision(Decision, frozen=True, kw_only=True):
    """
    A person's decision on `tagged`, in the order of the wire; it has neither `tags` nor reasons.

    Attributes:
        tag: The person's tag: a label, or `off_subject`.
        confidence: The model's probability of that tag, 0 for `off_subject`.
        probabilities: The model's probability of each of its labels.
        prediction_id: The id of the answer.
        decider: A person.
        model: The bundle, the rules, or the model of another program, that had decided before.
        threshold: The confidence below which a person was asked about the model's tag.
        truncated: True if the model had read only the beginning of the text.
        model_tag: The tag of the model, or of the rules.
        version: 1 for the first answer on an event, one more for each correction.
        decided_at: When the person decided.
        supersedes: The `prediction_id` of the decision that this decision replaces.
        tagged_at: The time of publication.
    """

    decider: Literal["reviewer"]
    model_tag: str
    version: Version
    decided_at: Moment
    supersedes: Uuid
    tagged_at: Moment


ASKED_FIELDS = frozenset({OPTIONAL_FIELD, "reasons", "inclusion_probability", "text_flags"})
"""The fields that a person's decision never has."""


class Tagged(msgspec.Struct, frozen=True, kw_only=True):
    """The model's confidence reaches the threshold, or a person has decided. `signals` is for monitoring alone and is not published."""

    event: ContentEvent
    decision: Decision
    signals: Signals | None = None


class NeedsReview(msgspec.Struct, frozen=True, kw_only=True):
    """A person is asked, because the decision is not promised to be right; it has one reason or more. `signals` are for monitoring alone."""

    event: ContentEvent
    decision: Decision
    signals: Signals | None = None


Outcome = Tagged | NeedsReview | Refusal
"""The topics `tagged`, `review` and `content.dlq`, in this order."""


def prediction_id(event_id: str, model_in_epoch: str) -> str:
    """
    The id of a decision. The same event under the same model and contract always has the same id.

    Args:
        event_id: The event's id.
        model_in_epoch: `ModelRef.in_epoch`. Before the first change of the model this is the bundle's digest, on every processor that
            computes like the machine that made the bundle.

    >>> prediction_id("a", "0" * 64) == prediction_id("a", "0" * 64)
    True
    """
    # This is `str(uuid.uuid5(...))` written out, since the library call takes a third of the time of a whole outcome. A test compares the two.
    name = f"{CONTRACT_VERSION}:{model_in_epoch}:{event_id}".encode()
    digest = bytearray(hashlib.sha1(_NAMESPACE_BYTES + name, usedforsecurity=False).digest())
    # RFC 4122: four bits state version 5, two bits state the variant, and all other bits are the hash.
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest[:16].hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# The names of our fields in an outcome. A producer's field of such a name goes into `overridden`.
DECISION_FIELDS = frozenset({*Decision.__struct_fields__, "tagged_at", "overridden", "destination"}) - {OPTIONAL_FIELD}


class Publication(Hiding, frozen=True, kw_only=True):
    """
    One outcome, ready for the broker.

    Attributes:
        destination: The topic, by its role.
        key: The key of the record to send.
        value: The value of the record to send.
        headers: The headers of the record to send.
        observation: The outcome's figures for metrics and drift detection.
        outcome: The final outcome of an event or of an answer. A decision that is too large for its topic is a refusal here.
        audit: The value of a copy for the topic `audit`, with the same key and headers; None if the decision was not drawn.
    """

    hidden = frozenset({"key", "value", "headers", "audit"})

    destination: Destination
    key: bytes | None
    value: bytes | None
    headers: Headers
    observation: Observation
    outcome: Outcome
    audit: bytes | None = None

    @property
    def records(self) -> tuple[tuple[str, bytes | None], ...]:
        """Topic (by its key in the settings) and value of each record to send. All records have the same key and headers."""
        outcome = (self.destination.value, self.value)
        return (outcome,) if self.audit is None else (outcome, ("audit", self.audit))


Decide = Callable[[Sequence[Record]], list[Publication]]
"""One publication for each record, in their order. Runs in several threads at once."""


def publish_all(
    records: Sequence[Record], outcomes: Sequence[Outcome], now_ms: int, limits: Limits = DEFAULT_LIMITS
) -> list[Publication]:
    """
    The publication of every outcome, in the same order.

    An outcome that is too large for its topic becomes a dead letter, and a dead letter that is too large loses its value. Otherwise the
    broker would refuse the record at every delivery, and the worker would never get past it.

    Args:
        records: The records as they were read.
        outcomes: Their outcomes, in the same order.
        now_ms: Unix milliseconds, published as `tagged_at`.
        limits: Have the largest records that the topics accept.
    """
    at = timestamp(now_ms).encode()
    return [
        rejected(record, outcome, limits) if isinstance(outcome, Refusal) else _fitting(record, outcome, at, limits)
        for record, outcome in zip(records, outcomes, strict=True)
    ]


def destination_of(outcome: Outcome) -> Destination:
    """The topic of an outcome."""
    match outcome:
        case Tagged():
            return Destination.TAGGED
        case NeedsReview():
            return Destination.REVIEW
        case Refusal():
            return Destination.DLQ
        case _:
            assert_never(outcome)


def timestamp(milliseconds: int) -> str:
    """
    RFC 3339 in UTC with milliseconds.

    >>> timestamp(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def audit_copy(value: bytes, inclusion_probability: float) -> bytes:
    """
    The value of a tagged decision's copy on `audit`: the same bytes, with `inclusion_probability` before `tagged_at`.

    >>> audit_copy(b'{"id":"a","tagged_at":"2026-01-01T00:00:00.000Z"}', 0.02)
    b'{"id":"a","inclusion_probability":0.02,"tagged_at":"2026-01-01T00:00:00.000Z"}'
    """
    decision, clock, at = value.rpartition(b',"tagged_at":')
    return b'%b,"inclusion_probability":%b%b%b' % (decision, msgspec.json.encode(inclusion_probability), clock, at)


def asked_value(value: bytes, token: str) -> bytes:
    """
    The value of a tagged decision that viewers are asked about: the same bytes, with `ask` before `tagged_at`.

    >>> asked_value(b'{"id":"a","tagged_at":"2026-01-01T00:00:00.000Z"}', "t")
    b'{"id":"a","ask":{"token":"t"},"tagged_at":"2026-01-01T00:00:00.000Z"}'
    """
    decision, clock, at = value.rpartition(b',"tagged_at":')
    return b'%b,"%b":{"token":"%b"}%b%b' % (decision, ASK_FIELD.encode(), token.encode(), clock, at)


def _fitting(record: Record, outcome: Tagged | NeedsReview, at: bytes, limits: Limits) -> Publication:
    publication = _decided(outcome, at, limits)
    bytes_together = weight(publication.key, publication.value, publication.headers)
    if bytes_together <= limits.max_outcome_bytes:
        return publication
    message = f"event and decision weigh {bytes_together} bytes together, the limit is {limits.max_outcome_bytes}"
    return rejected(record, Refusal(stage=Stage.PRODUCE, reason=Reason.OUTCOME_TOO_LARGE, message=message), limits)


def _decided(outcome: Tagged | NeedsReview, at: bytes, limits: Limits) -> Publication:
    event, decision = outcome.event, outcome.decision
    destination = destination_of(outcome)
    by_model = decision.decider == "model"
    return Publication(
        destination=destination,
        key=event.record.key if event.record.key is not None else event.id.encode(),
        value=b'%b,"tagged_at":"%b"}' % (value_without_clock(outcome)[:-1], at),
        headers=outcome_headers(event.record.headers, destination, decision.prediction_id, at, limits),
        observation=Observation(
            destination=destination,
            created_ms=event.record.timestamp_ms,
            label=decision.tag if by_model else None,
            confidence=decision.confidence if by_model else None,
            truncated=decision.truncated,
            review_reasons=tuple(map(ReviewReason, decision.reasons)),
            text_flags=tuple(map(TextFlag, decision.text_flags)),
            signals=outcome.signals,
            arm=_ARMS.get(decision.model.arm),
        ),
        outcome=outcome,
    )


def value_without_clock(outcome: Tagged | NeedsReview) -> bytes:
    """The JSON object of the input's fields and the decision, without `tagged_at`."""
    decision = outcome.decision
    ours = DECISION_FIELDS | {OPTIONAL_FIELD} if decision.tags else DECISION_FIELDS
    kept = msgspec.json.encode(without_collisions(outcome.event.fields, ours))
    return kept[:-1] + b"," + msgspec.json.encode(decision)[1:]


def without_collisions(fields: Fields, ours: frozenset[str]) -> Fields | dict[str, object]:
    """
    The input's fields. Fields that have a name of ours are moved into `overridden`.

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

    The headers of a CloudEvent are left out: they would declare the outcome an event of the producer.
    """
    return tuple(
        (name, value) for name, value in headers if not name.startswith(CLOUDEVENT_PREFIX) and name.lower() != "content-type"
    )


def outcome_headers(headers: Headers, destination: Destination, decision_id: str, at: bytes, limits: Limits) -> Headers:
    """
    The headers of a decision. All headers of decisions are made here.

    If the limits have a source, the record is a CloudEvent in binary mode: our attributes follow the producer's headers, and only
    `ce_time` differs at a second delivery.

    Args:
        headers: The event's headers.
        destination: The topic, by its role.
        decision_id: The `prediction_id`.
        at: The value of `tagged_at`.
        limits: Have the source, if there is one.

    >>> dict(outcome_headers((("CE_Id", b"7"),), Destination.TAGGED, "a", b"", Limits(cloudevents_source="/s")))["ce_id"]
    b'a'
    """
    kept = forwarded(headers)
    if limits.cloudevents_source is None:
        return kept
    return (
        # Readers of CloudEvents ignore the case of a name, so `CE_ID` of a producer would be a second id.
        *(one for one in kept if not one[0].lower().startswith(CLOUDEVENT_PREFIX)),
        ("ce_specversion", b"1.0"),
        ("ce_id", decision_id.encode()),
        ("ce_source", limits.cloudevents_source.encode()),
        ("ce_type", cloudevent_type(destination).encode()),
        ("ce_time", at),
        ("content-type", b"application/json"),
    )


def cloudevent_type(destination: Destination) -> str:
    """
    The `type` of a decision as a CloudEvent. It changes with the contract's version.

    >>> cloudevent_type(Destination.REVIEW)
    'tagstream.review.v1'
    """
    return f"tagstream.{destination.value}.v{CONTRACT_VERSION}"


def rejected(record: Record, refusal: Refusal, limits: Limits) -> Publication:
    """
    The dead letter of a record. All dead letters are made here.

    Args:
        record: A record of any topic that a worker reads.
        refusal: Why the record has no decision.
        limits: Have the largest dead letter that the topic accepts.
    """
    key, value, headers = dead_letter.write(record, refusal, limits)
    return Publication(
        destination=Destination.DLQ,
        key=key,
        value=value,
        headers=headers,
        observation=Observation(destination=Destination.DLQ, created_ms=record.timestamp_ms, rejection=refusal.reason),
        outcome=refusal,
    )
