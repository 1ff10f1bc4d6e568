"""Decisions for the tests of drift: made by hand, without a model."""

from collections.abc import Iterator, Sequence
from itertools import count

from tagstream.monitoring.drift.findings import Model
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import Signals
from tagstream.monitoring.vocabulary import Destination, Reason

MODEL = Model(name="m", version="1", digest="d" * 64)
LABEL_RATIO = {"mlops": 0.5, "other": 0.5}
_numbers = count()


def decision(
    words: Sequence[str] = ("a", "model"),
    *,
    label: str = "mlops",
    confidence: float = 0.8,
    energy: float = -3.0,
    tokens_per_word: float = 1.4,
    source: str | None = "papers",
    event_id: str | None = None,
) -> Observation:
    """One decision in numbers."""
    return Observation(
        destination=Destination.TAGGED,
        created_ms=0,
        label=label,
        confidence=confidence,
        signals=Signals(
            event_id=event_id or f"event-{next(_numbers)}",
            energy=energy,
            tokens=12,
            tokens_per_word=tokens_per_word,
            words=tuple(words),
            described=True,
            source=source,
            out_of_distribution=False,
        ),
    )


def dead_letter() -> Observation:
    """An outcome that has neither words nor label."""
    return Observation(destination=Destination.DLQ, created_ms=0, rejection=Reason.EMPTY)


def ordinary(events: int) -> Iterator[Observation]:
    """A steady stream: two labels in turn, ten topics of words, three producers, numbers that wobble."""
    for number in range(events):
        yield decision(
            ("the", f"topic{number % 10}", f"rare{number}"),
            label=("mlops", "other")[number % 2],
            confidence=(0.7, 0.8, 0.9)[number % 3],
            energy=(-2.5, -3.0, -3.5)[number % 3],
            tokens_per_word=(1.3, 1.4, 1.5)[number % 3],
            source=("papers", "forum", "blogs")[number % 3],
        )
