"""What the stream tells of itself, in closed sets and plain numbers: the vocabulary that metrics, logs and headers share.

The pipeline fills an `Observation` for every outcome and hands a batch of them to an `Observer`; it knows nothing of
Prometheus. An observer must not raise and must not wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

# Enough to tell producers apart; what is longer is compared by its beginning.
MAX_SOURCE_CHARACTERS = 100


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
    OUTCOME_TOO_LARGE = "outcome_too_large"
    MODEL_RAISED = "model_raised"
    CRASHES_WORKER = "crashes_worker"


class ReviewReason(StrEnum):
    """Why a person is asked: the closed list of `reasons` on the topic `review`."""

    LOW_CONFIDENCE = "low_confidence"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    AUDIT_SAMPLE = "audit_sample"
    USER_REPORT = "user_report"
    MODEL_DISAGREEMENT = "model_disagreement"


class TextFlag(StrEnum):
    """What a text holds that its reader does not see: the closed list of `text_flags` on the topic `review`."""

    CONTROL_CHARACTERS = "control_characters"
    INVISIBLE_CHARACTERS = "invisible_characters"
    BIDIRECTIONAL_CONTROLS = "bidirectional_controls"
    MIXED_SCRIPTS = "mixed_scripts"
    EXCESSIVE_COMBINING_MARKS = "excessive_combining_marks"


class SourceKind(StrEnum):
    """Whether a producer is one that the settings name: all that the metrics say of it."""

    KNOWN = "known"
    UNSEEN = "unseen"
    MISSING = "missing"


class DriftSignal(StrEnum):
    """What a worker watches for sudden changes."""

    CONFIDENCE = "confidence"
    ENERGY = "energy"
    TOKENS_PER_WORD = "tokens_per_word"
    DESCRIBED = "described"


class DriftScore(StrEnum):
    """What is compared with the reference, window by window."""

    WORDS = "words"
    LABELS = "labels"
    SOURCES = "sources"


class DriftKind(StrEnum):
    """What was found: a sudden change, or a window that is not like the reference."""

    CHANGE = "change"
    WORDS = "words"
    LABELS = "labels"
    SOURCES = "sources"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """
    What drift is looked for in, and what a finding points to.

    Attributes:
        event_id: The event's id.
        energy: `-logsumexp(logits)`; higher is stranger.
        tokens: Tokens that the network read, special ones included.
        tokens_per_word: Tokens without the special ones, for each word between white space. Too low for a text that was cut.
        words: The first words of the text, lower-cased, in order.
        described: The event has a description; else the decision was made on its title alone.
        source: What the producer calls itself, cut; None where it is silent.
        out_of_distribution: The energy is above what the bundle calls ordinary.
    """

    event_id: str
    energy: float
    tokens: int
    tokens_per_word: float
    # Never in a repr: an exception or a log line must not carry the text of an event.
    words: tuple[str, ...] = field(repr=False)
    described: bool
    source: str | None
    out_of_distribution: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """
    One outcome in numbers.

    Attributes:
        destination: The door.
        created_ms: When the record was written to `content`, Unix milliseconds.
        label: The predicted label; None for a dead letter, and where no model decided.
        confidence: Calibrated, 0 to 1; None likewise.
        truncated: The text did not fit into the network.
        rejection: Why it is a dead letter, else None.
        review_reasons: Why a person is asked, else empty.
        text_flags: What the text holds that its reader does not see; empty for a dead letter.
        signals: What drift is looked for in; None for a dead letter, and where no model decided.
    """

    destination: Destination
    created_ms: int
    label: str | None = None
    confidence: float | None = None
    truncated: bool = False
    rejection: Reason | None = None
    review_reasons: tuple[ReviewReason, ...] = ()
    text_flags: tuple[TextFlag, ...] = ()
    signals: Signals | None = None


class Observer(Protocol):
    """Receives what happened, a batch at a time. Safe to call from any thread; never raises, never waits."""

    def received(self, events: int) -> None:
        """So many events were taken from Faust as one batch."""
        ...

    def redelivered(self, events: int) -> None:
        """Of these, so many had been taken by this process before."""
        ...

    def stage(self, name: str, seconds: float) -> None:
        """One batch spent so long in `decode`, `inference` (tokenising included), `encode` or `publish`."""
        ...

    def model_raised(self) -> None:
        """A call of the model raised, for a batch or for a part of one."""
        ...

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """The broker has acknowledged these outcomes."""
        ...


class NullObserver:
    """Nobody watches."""

    def received(self, events: int) -> None:
        """Do nothing."""

    def redelivered(self, events: int) -> None:
        """Do nothing."""

    def stage(self, name: str, seconds: float) -> None:
        """Do nothing."""

    def model_raised(self) -> None:
        """Do nothing."""

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Do nothing."""
