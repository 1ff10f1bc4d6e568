"""The metrics of `tagstream rollout shadow`: agreements of two bundles, and of the stream's decisions with the champion's in this process."""

from collections.abc import Sequence
from typing import Self

from prometheus_client import CollectorRegistry, Counter, ProcessCollector

from tagstream.monitoring.health import HealthVerdict
from tagstream.monitoring.vocabulary import Destination, ShadowFailure

# The number of series is the square of this number. Labels beyond it, at the end of the bundle's list, are counted as one label.
MOST_LABELS = 12
OTHER_LABELS = "(other)"
DOORS = (Destination.TAGGED.value, Destination.REVIEW.value)
RESULTS = ("agreed", "disagreed", "failed", "dead_letter")
PUBLISHED = ("equal", "different", "unchecked")
READING = HealthVerdict(ready=True, why="it follows the stream")
WAITING = HealthVerdict(
    ready=False, why="its group has not given it partitions; one follower of a group reads, and another one may have them"
)


class ShadowMetrics:
    """
    The series of one follower on one registry.

    Attributes:
        registry: The registry of the series.
    """

    def __init__(self, registry: CollectorRegistry, *, labels: Sequence[str]) -> None:
        """Register every metric and create every series."""
        self.registry = registry
        self._ready = WAITING
        self._labels = frozenset(labels[:MOST_LABELS])
        names = [*labels[:MOST_LABELS], *([OTHER_LABELS] if len(labels) > MOST_LABELS else [])]

        def counter(name: str, text: str, *of: str) -> Counter:
            return Counter(name, text, of, registry=registry)

        self._events = counter("tagstream_shadow_events", "Drawn events.", "result")
        self._tags = counter("tagstream_shadow_tags", "Compared events, by tag.", "old", "new")
        self._doors = counter("tagstream_shadow_doors", "Compared events, by door.", "old", "new")
        self._published = counter(
            "tagstream_shadow_published",
            "Decisions of the champion here, beside the published bytes; unchecked: not found.",
            "result",
        )
        self._failures = counter("tagstream_shadow_challenger_failures", "Events on which the challenger failed.", "kind")
        self._asked = counter("tagstream_shadow_asked", "Disagreements that were copied to audit, for people.")
        for result in RESULTS:
            self._events.labels(result)
        for old in names:
            for new in names:
                self._tags.labels(old, new)
        for old in DOORS:
            for new in DOORS:
                self._doors.labels(old, new)
        for result in PUBLISHED:
            self._published.labels(result)
        for kind in ShadowFailure:
            self._failures.labels(kind.value)

    @classmethod
    def alone(cls, labels: Sequence[str]) -> Self:
        """The series on a registry of their own, with the figures of the process."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        return cls(registry, labels=labels)

    def compared(self, tags: tuple[str, str], doors: tuple[str, str]) -> None:
        """
        Count an event on which both bundles decided.

        Args:
            tags: The tags of champion and challenger.
            doors: The doors of champion and challenger.
        """
        old, new = (tag if tag in self._labels else OTHER_LABELS for tag in tags)
        self._events.labels("agreed" if tags[0] == tags[1] else "disagreed").inc()
        self._tags.labels(old, new).inc()
        self._doors.labels(*doors).inc()

    def reads(self, *, partitions: bool) -> None:
        """A turn of reading has ended. `partitions` is true if the follower holds partitions."""
        self._ready = READING if partitions else WAITING

    def verdict(self) -> HealthVerdict:
        """Ready if the follower holds partitions, with the reason."""
        return self._ready

    def failed(self, kind: ShadowFailure) -> None:
        """Count an event on which the challenger failed."""
        self._events.labels("failed").inc()
        self._failures.labels(kind.value).inc()

    def asked(self, events: int) -> None:
        """Count disagreements about which people are asked."""
        self._asked.inc(events)

    def dead_letter(self) -> None:
        """Count an event that the champion refuses."""
        self._events.labels("dead_letter").inc()

    def published(self, result: str, events: int = 1) -> None:
        """Count decisions of the champion, by one of `PUBLISHED`."""
        self._published.labels(result).inc(events)
