"""One outcome in numbers, and the protocol through which the stream reports it; Prometheus is not known here."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from monitoring.vocabulary import Destination, Reason, ReviewReason, TextFlag


# Structs and no dataclasses: one of each is made for every event, at an eighth of the time.
class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """
    The inputs of drift detection for one decision.

    Attributes:
        event_id: The event's id.
        energy: `-logsumexp(logits)`; higher means a text less like the training text.
        tokens: Tokens that the network read, special tokens included.
        tokens_per_word: Tokens without the special ones divided by the words of the text, split at white space. Too low for
            a text that was cut.
        words: The first words of the text, lower-cased, in order.
        described: The event has a description; false if the decision rests on its title alone.
        source: The name that the producer gives itself, cut to `MAX_SOURCE_CHARACTERS`; None without one.
        out_of_distribution: The text is unlike the training texts, by the bundle's limits.
    """

    event_id: str
    energy: float
    tokens: int
    tokens_per_word: float
    words: tuple[str, ...]
    described: bool
    source: str | None
    out_of_distribution: bool

    def __repr__(self) -> str:
        """All but the words: an exception or a log line must not carry the text of an event."""
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "words")
        return f"Signals({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """As `__repr__`, for the tracebacks that Rich prints."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name != "words"]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """
    One outcome in numbers.

    Attributes:
        destination: Where the outcome went.
        created_ms: When the record was written to `content`, Unix milliseconds.
        label: The predicted label; None for a dead letter, and where no model decided.
        confidence: Calibrated probability of the label, 0 to 1; None where `label` is None.
        truncated: The text did not fit into the network.
        rejection: The reason of a dead letter, else None.
        review_reasons: Why a person is asked; empty otherwise.
        text_flags: Hidden or misleading characters in the text; empty for a dead letter.
        signals: Inputs of drift detection; None for a dead letter, and where no model decided.
        audited: A copy of the decision went to `audit`.
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
    audited: bool = False


class Observer(Protocol):
    """Receives counts and outcomes of batches. Methods may be called from any thread; they never raise or block."""

    def received(self, events: int) -> None:
        """The stream has taken this many events as one batch."""
        ...

    def redelivered(self, events: int) -> None:
        """This many of the events taken had been taken by the same process before."""
        ...

    def stage(self, name: str, seconds: float) -> None:
        """One batch took `seconds` in `decode`, `inference` (tokenising included), `encode` or `publish`."""
        ...

    def model_raised(self) -> None:
        """A call of the model raised an exception, for a batch or for part of one."""
        ...

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """The broker has acknowledged these outcomes; `now_ms` is Unix milliseconds."""
        ...


class NullObserver:
    """Ignores everything: monitoring is off."""

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
