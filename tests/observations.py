"""Seeded observations of a stream that can drift, on a clock of its own: for tests of what people look at."""

import functools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.utils import floatToGoString

from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import DISTRIBUTIONS, Signals
from tagstream.monitoring.vocabulary import Destination, Reason, ReviewReason

LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
MIX = {"natural-language-processing": 0.42, "computer-vision": 0.31, "mlops": 0.12, "other": 0.15}
DRIFTED = {"natural-language-processing": 0.2, "computer-vision": 0.16, "mlops": 0.09, "other": 0.55}
THRESHOLD = 0.7
DIGEST = "3f9c2a17d08b"
OOD_ENERGY = -1.0
REFERENCE_ROWS = 4000


class Stream:
    """
    A worker's metrics, fed by hand.

    Attributes:
        registry: Where they live.
        metrics: Themselves.
        now: The stream's clock, Unix seconds; it stands still except in `run`.
        published: All outcomes so far.
    """

    def __init__(
        self, *, seed: int = 7, digest: str = DIGEST, start: float = 1_764_000_000.0, labels: Sequence[str] = LABELS
    ) -> None:
        """A worker that has just loaded its bundle. The first of other labels are the most frequent."""
        self.registry = CollectorRegistry()
        self._labels = labels
        self.metrics = Metrics(self.registry, labels=labels, topic="content", known_sources=("arxiv",))
        self.now = start
        self.published: list[Observation] = []
        self._random = random.Random(seed)  # noqa: S311
        self.metrics.model_loaded(
            name="tagstream-default",
            version="1.2.0",
            digest=digest,
            now=start,
            thresholds=dict.fromkeys(labels, THRESHOLD),
            reference=reference(labels),
        )
        self.metrics.position(partitions=6, lag=0, inflight=0, last_commit=None, oldest_seconds=0.0)

    def run(self, seconds: float, *, rate: float = 20.0, drift: float = 0.0, dead: float = 0.004) -> None:
        """So many seconds pass, with events at this rate; `drift` is the share of them that is of another kind."""
        self.now += seconds
        events = round(seconds * rate)
        self.metrics.received(events)
        seen = [
            self._dead() if self._random.random() < dead else self._decided(drifted=self._random.random() < drift)
            for _ in range(events)
        ]
        self.metrics.published(seen, int(self.now * 1000))
        self.published += seen
        self.metrics.position(
            partitions=6, lag=self._random.randint(0, 30), inflight=4, last_commit=self.now, oldest_seconds=0.2
        )

    def _created(self) -> int:
        return int((self.now - self._random.lognormvariate(-3.2, 0.7)) * 1000)

    def _dead(self) -> Observation:
        reason = self._random.choice((Reason.INVALID_JSON, Reason.MISSING_TITLE))
        return Observation(destination=Destination.DLQ, created_ms=self._created(), rejection=reason)

    def _decided(self, *, drifted: bool) -> Observation:
        label, confidence, signals = decision(self._random, drifted=drifted, labels=self._labels)
        sure = confidence >= THRESHOLD
        return Observation(
            destination=Destination.TAGGED if sure else Destination.REVIEW,
            created_ms=self._created(),
            label=label,
            confidence=confidence,
            review_reasons=() if sure else (ReviewReason.LOW_CONFIDENCE,),
            signals=signals,
        )


def decision(random_: random.Random, *, drifted: bool = False, labels: Sequence[str] = LABELS) -> tuple[str, float, Signals]:
    """Label, confidence and signals of one event."""
    mix = DRIFTED if drifted else MIX
    weights = [mix[one] for one in LABELS] if labels == LABELS else [1 / place for place in range(1, len(labels) + 1)]
    label = random_.choices(labels, weights)[0]
    confidence = random_.betavariate(*((3.2, 1.9) if drifted else (9, 1.1)))
    energy = random_.gauss(-2.4 if drifted else -5.5, 1.1)
    per_word = max(1.0, random_.gauss(1.9 if drifted else 1.38, 0.2))
    return (
        label,
        0.25 + 0.75 * confidence,
        Signals(
            event_id="e",
            energy=energy,
            tokens=random_.randint(8, 90),
            tokens_per_word=per_word,
            words=(),
            described=random_.random() < (0.5 if drifted else 0.9),
            source="arxiv" if random_.random() < (0.8 if drifted else 0.99) else "scraper",
            out_of_distribution=energy > OOD_ENERGY,
        ),
    )


def reference(labels: Sequence[str] = LABELS) -> Mapping[str, Any]:
    """A bundle's reference, of the stream before it drifts."""
    return _reference(tuple(labels))


@functools.cache
def _reference(labels: tuple[str, ...]) -> Mapping[str, Any]:
    random_ = random.Random(1)  # noqa: S311
    rows = [decision(random_, labels=labels) for _ in range(REFERENCE_ROWS)]
    signals = [one for _, _, one in rows]
    return {
        "rows": len(rows),
        "label_ratio": {label: sum(found == label for found, _, _ in rows) / len(rows) for label in labels},
        **{
            signal.cdf: cdf([signal.read(confidence, one) for _, confidence, one in rows], counted.edges)
            for signal, counted in DISTRIBUTIONS.items()
        },
        "ood_ratio": sum(one.out_of_distribution for one in signals) / len(rows),
        "without_description_ratio": sum(not one.described for one in signals) / len(rows),
        "truncated_ratio": 0.0,
    }


def cdf(values: list[float], cuts: tuple[float, ...]) -> dict[str, float]:
    """The share of values at most each edge, keyed as a bundle keys it."""
    return {str(edge): sum(value <= edge for value in values) / len(values) for edge in cuts}


def go(cdf_: dict[str, float]) -> dict[str, float]:
    """The same, keyed as Prometheus keys it."""
    return {floatToGoString(float(edge)): value for edge, value in cdf_.items()} | {"+Inf": 1.0}
