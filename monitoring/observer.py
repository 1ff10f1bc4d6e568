"""What the stream tells of itself, in closed sets and plain numbers: the vocabulary that metrics, logs and headers share.

The pipeline fills an `Observation` for every outcome and hands a batch of them to an `Observer`; it knows nothing of
Prometheus. An observer must not raise and must not wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Destination(StrEnum):
    """The three doors. Every event leaves by exactly one."""

    TAGGED = "tagged"
    REVIEW = "review"
    DLQ = "dlq"


class Stage(StrEnum):
    """Where an event was when it failed."""

    DECODE = "decode"
    VALIDATE = "validate"
    INFER = "infer"
    PRODUCE = "produce"


class Reason(StrEnum):
    """Why an event was dead-lettered: the closed list of `x-dlq-code`."""

    TOMBSTONE = "tombstone"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_KEY = "duplicate_key"
    NON_FINITE_NUMBER = "non_finite_number"
    NUMBER_TOO_LONG = "number_too_long"
    TOO_DEEP = "too_deep"
    NUL_CHARACTER = "nul_character"
    LONE_SURROGATE = "lone_surrogate"
    INVALID_CLOUDEVENT = "invalid_cloudevent"
    MISSING_TITLE = "missing_title"
    WRONG_TYPE = "wrong_type"
    INVALID_ID = "invalid_id"


class ReviewReason(StrEnum):
    """Why a person is asked: the closed list of `reasons` on the topic `review`."""

    LOW_CONFIDENCE = "low_confidence"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    AUDIT_SAMPLE = "audit_sample"
    USER_REPORT = "user_report"
    MODEL_DISAGREEMENT = "model_disagreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """
    One outcome in numbers.

    Attributes:
        destination: The door.
        created_ms: When the record was written to `content`, Unix milliseconds.
        label: The predicted label; None for a dead letter.
        confidence: Calibrated, 0 to 1; None for a dead letter.
        truncated: The text did not fit into the network.
        rejection: Why it is a dead letter, else None.
        review_reasons: Why a person is asked, else empty.
    """

    destination: Destination
    created_ms: int
    label: str | None = None
    confidence: float | None = None
    truncated: bool = False
    rejection: Reason | None = None
    review_reasons: tuple[ReviewReason, ...] = ()


class Observer(Protocol):
    """Receives what happened, a batch at a time. Safe to call from any thread; never raises, never waits."""

    def received(self, events: int) -> None:
        """So many events were taken from Faust as one batch."""
        ...

    def stage(self, name: str, seconds: float) -> None:
        """One batch spent so long in `decode`, `inference` (tokenising included), `encode` or `publish`."""
        ...

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """The broker has acknowledged these outcomes."""
        ...


class NullObserver:
    """Nobody watches."""

    def received(self, events: int) -> None:
        """Do nothing."""

    def stage(self, name: str, seconds: float) -> None:
        """Do nothing."""

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Do nothing."""
