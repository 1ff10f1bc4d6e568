"""One outcome in numbers, and the protocol through which the stream reports it; Prometheus is not known here."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import msgspec

from tagstream.monitoring.signals import Signals
from tagstream.monitoring.vocabulary import Arm, Destination, Reason, ReviewReason, TextFlag

NO_TOPICS: Mapping[str, int] = MappingProxyType({})


# A struct and no dataclass: one is made for every event, at an eighth of the time.
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
        arm: The model of its epoch that decided; None before the first change of the model.
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
    arm: Arm | None = None


class Observer(Protocol):
    """Receives counts and outcomes of batches. Methods may be called from any thread; they never raise or block."""

    def received(self, events: int, repeated: int = 0, topics: Mapping[str, int] = NO_TOPICS) -> None:
        """
        The stream has taken a batch.

        Args:
            events: How many events are in it.
            repeated: So many of them had been taken by the same process before.
            topics: How many are of which topic; empty where one topic of events is read.
        """
        ...

    def stage(self, name: str, seconds: float) -> None:
        """One batch took `seconds` in `decode`, `inference` (tokenising included), `encode` or `publish`."""
        ...

    def model_raised(self) -> None:
        """A call of the model raised an exception, for a batch or for part of one."""
        ...

    def remembered(self, texts: int, seconds: float) -> None:
        """So many texts of a batch had come before and cost no call of the model, which would have taken about so many seconds."""
        ...

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """The broker has acknowledged these outcomes; `now_ms` is Unix milliseconds."""
        ...


class NullObserver:
    """Ignores everything: monitoring is off."""

    def received(self, events: int, repeated: int = 0, topics: Mapping[str, int] = NO_TOPICS) -> None:
        """Do nothing."""

    def stage(self, name: str, seconds: float) -> None:
        """Do nothing."""

    def model_raised(self) -> None:
        """Do nothing."""

    def remembered(self, texts: int, seconds: float) -> None:
        """Do nothing."""

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Do nothing."""
