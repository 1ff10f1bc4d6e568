"""The metrics of the worker's second reader: reviewers' answers on `reviewed`, which become decisions on `tagged`."""

import math
from collections import Counter as Tally
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.families import AnswerFamilies
from tagstream.monitoring.observer import NO_TOPICS, Observation
from tagstream.monitoring.record_time import can_be_true
from tagstream.monitoring.vocabulary import Destination


class AnswerMetrics:
    """Counts answers. Implements `Observer`; the figures of events are counted by `Metrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric and create every series."""
        self._answers = AnswerFamilies(registry)

    def taken(self) -> None:
        """This worker reads answers."""
        self._answers.active.set(1)

    def received(self, events: int, repeated: int = 0, topics: Mapping[str, int] = NO_TOPICS) -> None:
        """Do nothing: each answer is published, and counted by `published`. A repeated answer gives the same decision."""

    def stage(self, name: str, seconds: float) -> None:
        """Do nothing: a batch of answers takes milliseconds, and `published` measures its age."""

    def model_raised(self) -> None:
        """Do nothing: no model sees an answer."""

    def remembered(self, texts: int, seconds: float) -> None:
        """Do nothing: no model sees an answer."""

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Count answers whose decision or dead letter the broker has acknowledged."""
        destinations: Tally[Destination] = Tally(seen.destination for seen in observations)
        for destination, count in destinations.items():
            self._answers.published.labels(destination.value).inc(count)
        for seen in observations:
            if seen.rejection is not None:
                self._answers.dead.labels(seen.rejection.value).inc()
            if can_be_true(seen.created_ms, now_ms):
                self._answers.age.observe(max(0, now_ms - seen.created_ms) / 1000)

    def expired(self, answers: int) -> None:
        """The topic's retention deleted this many answers before they were read."""
        self._answers.expired.inc(answers)

    def position(self, *, lag: int | None) -> None:
        """Show the number of answers that wait; None if the brokers have not answered, exported as NaN."""
        self._answers.lag.set(math.nan if lag is None else lag)
