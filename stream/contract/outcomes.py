"""What leaves: one outcome an event, and its form on the topic. Owns the output contract.

A value is the input's own fields, byte for byte, followed by the decision. Everything before `tagged_at` depends only on the
event, the bundle and the settings, so that a redelivered event repeats the same bytes of decision; `tagged_at`, a clock
reading, comes last.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import msgspec

from monitoring.observer import Observation, Signals
from monitoring.vocabulary import Destination, Reason, ReviewReason, Stage, TextFlag
from stream.contract.events import CLOUDEVENT_PREFIX, DEFAULT_LIMITS, ContentEvent, Fields, Limits, Rejected
from stream.contract.record import Headers, Record

CONTRACT_VERSION = 1
PREDICTION_NAMESPACE = uuid.UUID("6d0f7c3e-5b0a-5d57-9c53-4a7c1c0f5a1e")
MAX_MESSAGE_CHARACTERS = 512
# Beside a header whose name had to be escaped: the name as it was.
ESCAPED_NAME = "x-dlq-header-name"
REPLAY_COUNT = "x-dlq-replay-count"
# A count has few digits; what a producer sends under this name is not ours.
MAX_COUNT_DIGITS = 4
# What a header-only record keeps of key and headers, each.
MAX_KEPT_BYTES = 64 * 1024
# The most that Kafka adds to a batch of one record, to the record, and to each of its headers (KIP-98, varints at their longest).
BATCH_BYTES, RECORD_BYTES, HEADER_BYTES = 61, 36, 10
# RFC 4122: four bits say version 5, two say which variant; all others are the hash's.
_UUID_KEPT = ~(0xF000 << 64 | 0xC000 << 48)
_UUID_VERSION_5 = 0x5000 << 64 | 0x8000 << 48


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which bundle decided, or which rules."""

    name: str
    version: str
    digest: str


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The fields that `tagged` adds to an event, in their order on the wire (before `tagged_at`).

    `tags` is there only where the bundle has the option `multilabel`: `tag` and what else the text is about.
    """

    tag: str
    tags: tuple[str, ...] = ()
    confidence: float
    probabilities: dict[str, float]
    prediction_id: str
    decider: Literal["model", "reviewer", "rules"]
    model: ModelRef
    threshold: float
    truncated: bool


class ReviewDecision(Decision, frozen=True, kw_only=True, omit_defaults=True):
    """
    The fields that `review` adds: a decision without the promise of being right, and why a person is asked.

    `text_flags` is there only where something is hidden in the text.
    """

    reasons: tuple[ReviewReason, ...]
    inclusion_probability: float
    text_flags: tuple[TextFlag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """The model is sure enough. `signals` is for monitoring alone and is not published."""

    event: ContentEvent
    decision: Decision
    signals: Signals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsReview:
    """A person is asked. `signals` as in `Tagged`."""

    event: ContentEvent
    decision: ReviewDecision
    signals: Signals | None = None


Outcome = Tagged | NeedsReview | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """An outcome ready for the broker, with what the metrics will say of it."""

    destination: Destination
    # Never in a repr, as in `Record`.
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)
    observation: Observation
    # Why it is a dead letter, else None; an outcome of the model may be one for its size.
    rejected: Rejected | None = None


# Ours only where the bundle gives it; else a producer's field of this name passes through, as ever.
OPTIONAL_FIELD = "tags"
DECISION_FIELDS = frozenset(name for struct in (Decision, ReviewDecision) for name in struct.__struct_fields__) - {
    OPTIONAL_FIELD
} | {
    "tagged_at",
    "overridden",
    "destination",
}


def prediction_id(event_id: str, bundle_digest: str) -> str:
    """
    The id of a decision: the same event under the same bundle and contract always has the same one.

    >>> prediction_id("a", "0" * 64) == prediction_id("a", "0" * 64)
    True
    """
    # `str(uuid.uuid5(...))` by hand, a test compares them: the library takes a third of what the rest of an outcome costs.
    name = f"{CONTRACT_VERSION}:{bundle_digest}:{event_id}".encode()
    number = int.from_bytes(hashlib.sha1(PREDICTION_NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16], "big")
    text = f"{number & _UUID_KEPT | _UUID_VERSION_5:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def publish_all(outcomes: Sequence[Outcome], now_ms: int, limits: Limits = DEFAULT_LIMITS) -> list[Publication]:
    """
    Every outcome in its form on the topic, in the same order. `now_ms` (Unix milliseconds) becomes `tagged_at`.

    What its topic would refuse for its size becomes a dead letter, and a dead letter that is too large a record without a value:
    either would be refused again at every delivery, and the worker would never come past it.
    """
    tail = b',"tagged_at":"%b"}' % timestamp(now_ms).encode()
    return [_dead_letter(o, limits) if isinstance(o, Rejected) else _fitting(o, tail, limits) for o in outcomes]


def weight(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """
    The most bytes that one record takes in a batch of its own, uncompressed: what a topic's `max.message.bytes` is compared with.

    >>> weight(b"k", b"{}", (("a", b"1"),))
    112
    """
    carried = sum(HEADER_BYTES + len(name.encode()) + len(content or b"") for name, content in headers)
    return BATCH_BYTES + RECORD_BYTES + len(key or b"") + len(value or b"") + carried


def replay_count(headers: Headers) -> int:
    """
    How often these headers say that their event was replayed: the last such header counts, what is not a small number is 0.

    >>> replay_count((("x-dlq-replay-count", b"2"), ("x-dlq-replay-count", b"3"))), replay_count(())
    (3, 0)
    """
    said = next((content or b"" for name, content in reversed(headers) if name == REPLAY_COUNT), b"")
    return int(said) if said.isdigit() and len(said) <= MAX_COUNT_DIGITS else 0


def timestamp(milliseconds: int) -> str:
    """
    RFC 3339 in UTC with milliseconds.

    >>> timestamp(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fitting(outcome: Tagged | NeedsReview, tail: bytes, limits: Limits) -> Publication:
    publication = _decided(outcome, tail)
    bytes_together = weight(publication.key, publication.value, publication.headers)
    if bytes_together <= limits.max_outcome_bytes:
        return publication
    return _dead_letter(
        Rejected(
            raw=outcome.event.raw,
            stage=Stage.PRODUCE,
            reason=Reason.OUTCOME_TOO_LARGE,
            message=f"event and decision weigh {bytes_together} bytes together, the limit is {limits.max_outcome_bytes}",
        ),
        limits,
    )


def _decided(outcome: Tagged | NeedsReview, tail: bytes) -> Publication:
    event, decision = outcome.event, outcome.decision
    review = decision if isinstance(decision, ReviewDecision) else None
    destination = Destination.REVIEW if isinstance(outcome, NeedsReview) else Destination.TAGGED
    return Publication(
        destination=destination,
        key=event.raw.key if event.raw.key is not None else event.id.encode(),
        value=value_without_clock(event, decision)[:-1] + tail,
        headers=tuple(header for header in event.raw.headers if _is_forwarded(header[0])),
        observation=Observation(
            destination=destination,
            created_ms=event.raw.timestamp_ms,
            label=decision.tag if decision.decider == "model" else None,
            confidence=decision.confidence if decision.decider == "model" else None,
            truncated=decision.truncated,
            review_reasons=review.reasons if review else (),
            text_flags=review.text_flags if review else (),
            signals=outcome.signals,
        ),
    )


def value_without_clock(event: ContentEvent, decision: Decision) -> bytes:
    """The JSON object of the input's fields and the decision: all of the value but `tagged_at`."""
    ours = DECISION_FIELDS | {OPTIONAL_FIELD} if decision.tags else DECISION_FIELDS
    kept = msgspec.json.encode(_without_collisions(event.fields, ours))
    return kept[:-1] + b"," + msgspec.json.encode(decision)[1:]


def _without_collisions(fields: Fields, ours: frozenset[str]) -> Fields | dict[str, object]:
    """
    The input's fields; those that bear a name of the decision's go into `overridden`.

    The holdout itself has a field `tag`. The decision must be found under the contract's name, and what the producer sent
    must not be lost.
    """
    colliding = ours & fields.keys()
    if not colliding:
        return fields
    kept: dict[str, object] = {name: raw for name, raw in fields.items() if name not in colliding}
    kept["overridden"] = {name: raw for name, raw in fields.items() if name in colliding}
    return kept


def _is_forwarded(name: str) -> bool:
    """Tracing and the producer's own headers go on; those that would call the outcome a CloudEvent of the producer's do not."""
    return not name.startswith(CLOUDEVENT_PREFIX) and name.lower() != "content-type"


def _dead_letter(outcome: Rejected, limits: Limits) -> Publication:
    raw = outcome.raw
    where: list[tuple[str, str]] = [
        ("__streams.errors.exception", f"tagstream.{outcome.reason.name}"),
        ("__streams.errors.message", outcome.message[:MAX_MESSAGE_CHARACTERS]),
        ("__streams.errors.topic", raw.topic),
        ("__streams.errors.partition", str(raw.partition)),
        ("__streams.errors.offset", str(raw.offset)),
        ("x-dlq-stage", outcome.stage.value),
        ("x-dlq-code", outcome.reason.value),
        ("x-dlq-attempts", str(replay_count(raw.headers) + outcome.attempts)),
    ]
    ours: Headers = tuple((name, text.encode()) for name, text in where)
    key, value, headers = _sendable(raw, _writable(raw.headers), ours)
    if weight(key, value, headers) > limits.max_dead_letter_bytes:
        key, value, headers = _without_value(raw, ours)
    return Publication(
        destination=Destination.DLQ,
        key=key,
        value=value,
        headers=headers,
        observation=Observation(destination=Destination.DLQ, created_ms=raw.timestamp_ms, rejection=outcome.reason),
        rejected=outcome,
    )


def _sendable(raw: Record, kept: Headers, ours: Headers) -> tuple[bytes | None, bytes | None, Headers]:
    if raw.key is None and raw.value is None:
        # The client cannot send a record that has neither; an empty key and a header that says so stand for it.
        return b"", None, (*kept, *ours, ("x-dlq-null-key", b"true"))
    return raw.key, raw.value, (*kept, *ours)


def _without_value(raw: Record, ours: Headers) -> tuple[bytes, None, Headers]:
    """A dead letter that its topic would refuse: where, why, the value's SHA-256 and length, and which parts are not here."""
    value, key = raw.value or b"", raw.key or b""
    small_key = len(key) <= MAX_KEPT_BYTES
    kept_headers = _writable(raw.headers)
    small_headers = weight(None, None, kept_headers) <= MAX_KEPT_BYTES
    parts = {"value": False, "key": small_key, "headers": small_headers}
    said: Headers = (
        ("x-dlq-sha256", hashlib.sha256(value).hexdigest().encode()),
        ("x-dlq-length", str(len(value)).encode()),
        ("x-dlq-dropped", ",".join(name for name, kept in parts.items() if not kept).encode()),
    )
    null_key: Headers = (("x-dlq-null-key", b"true"),) if raw.key is None else ()
    headers = (*(kept_headers if small_headers else ()), *ours, *null_key, *said)
    return key if small_key else b"", None, headers


def _writable(headers: Headers) -> Headers:
    r"""
    Headers that a client can send and another read: the name of one that is not UTF-8 is escaped, its bytes go into one beside it.

    >>> _writable((("a", b"1"), ("b\udcff", b"2")))
    (('a', b'1'), ('b\\xff', b'2'), ('x-dlq-header-name', b'b\xff'))
    """
    found: list[tuple[str, bytes]] = []
    for name, value in headers:
        raw = name.encode("utf-8", "surrogateescape")
        escaped = raw.decode("utf-8", "backslashreplace")
        found.append((escaped, value))
        if escaped != name:
            found.append((ESCAPED_NAME, raw))
    return tuple(found)
