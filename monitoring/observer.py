"""One outcome in numbers, and the protocol through which the stream reports it. This module does not depend on Prometheus."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import msgspec

from tagstream.monitoring.signals import Signals
from tagstream.monitoring.vocabulary import Arm, Destination, Reason, ReviewReason, TextFlag

NO_TOPICS: Mapping[str, int] = MappingProxyType({})


# A struct and not a dataclass: an observation is made for every event, and a struct takes an eighth of the time.
class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """
    One outcome in numbers.

    Attributes:
        destination: The destination of the outcome.
        created_ms: When the record was written to `content`, Unix milliseconds.
        label: The predicted label; None for a dead letter, and if no model decided.
        confidence: Calibrated probability of the label, 0 to 1; None if `label` is None.
        truncated: The text did not fit into the network.
        rejection: The reason of a dead letter, else None.
        review_reasons: The reasons to ask a person; empty if no person is asked.
        text_flags: Hidden or misleading characters in the text; empty for a dead letter.
        signals: Inputs of drift detection; None for a dead letter, and if no model decided.
        audited: A copy of the decision went to `audit`.
        arm: The arm of the epoch that decided; None before the first change of the model.
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
        The stream has received a batch.

        Args:
            events: The number of events in the batch.
            repeated: The number of these events that this process had received before.
            topics: The number of events by topic; empty if only one topic of events is read.
        """
        ...

    def stage(self, name: str, seconds: float) -> None:
        """A batch took `seconds` in the stage `name`: `decode`, `inference` (tokenising included), `encode` or `publish`."""
        ...

    def model_raised(self) -> None:
        """A call of the model raised an exception, for a batch or for part of one."""
        ...

    def remembered(self, texts: int, seconds: float) -> None:
        """`texts` of a batch had come before and needed no call of the model; the call would have taken about `seconds`."""
        ...

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """The broker has acknowledged these outcomes; `now_ms` is Unix milliseconds."""
        ...


class NullObserver:
    """An observer that ignores everything: monitoring is off."""

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
