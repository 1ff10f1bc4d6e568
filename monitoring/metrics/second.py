"""The metrics of `tagstream second`: opinions and why there was none, what was settled, what it cost, and what is certified."""

import math
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from tagstream.monitoring.health import HealthVerdict
from tagstream.monitoring.vocabulary import NoOpinion

LABEL = "label"
READING = HealthVerdict(ready=False, why="it reads the topics")
ASKING = HealthVerdict(ready=True, why="it asks the second model")


class SecondMetrics:
    """
    The series of one process on one registry.

    Attributes:
        registry: The registry of the series.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric and create every series."""
        self.registry = registry
        self._ready = READING
        self._opinions = Counter(
            "tagstream_second_opinions",
            "Opinions that were written, with a label or by the reason for none.",
            ["result"],
            registry=registry,
        )
        self._settled = Counter(
            "tagstream_second_settled", "Items whose decision was published without waiting for a person.", registry=registry
        )
        self._audits = Counter(
            "tagstream_second_audits", "Of these, drawn for a person, who sees neither opinion.", registry=registry
        )
        self._calls = Counter("tagstream_second_calls", "Requests to the endpoint, failed ones included.", registry=registry)
        self._cost = Counter(
            "tagstream_second_cost", "What they cost, in the currency of the settings' prices.", registry=registry
        )
        self._waiting = Gauge(
            "tagstream_second_waiting_items", "Items that the second model was not asked about yet.", registry=registry
        )
        self._certified = Gauge(
            "tagstream_second_certified_kinds",
            "Kinds of items that the second model may settle: a label, as the model or unlike it, at a band of scores.",
            registry=registry,
        )
        self._withdrawn = Gauge(
            "tagstream_second_withdrawn_certificates",
            "Certificates that audits have withdrawn, of the second model that answers now.",
            registry=registry,
        )
        self._generation = Gauge(
            "tagstream_second_generation",
            "How often the endpoint has begun to answer the same items otherwise.",
            registry=registry,
        )
        # Not known before the topics are read: a zero would look like a change of what the process before had said.
        self.stands(waiting=math.nan, certified=math.nan, withdrawn=math.nan, generation=math.nan)
        for result in (LABEL, *NoOpinion):
            self._opinions.labels(str(result))

    @classmethod
    def alone(cls) -> Self:
        """The series on a registry of their own, with the figures of the process."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        return cls(registry)

    def begun(self) -> None:
        """The topics are read; the process asks from now on."""
        self._ready = ASKING

    def opinion(self, reason: str | None, *, calls: int, cost: float) -> None:
        """
        Count an opinion that was written.

        Args:
            reason: Why it has no label; None if it has one.
            calls: Its requests.
            cost: What they cost.
        """
        self._opinions.labels(reason or LABEL).inc()
        self._calls.inc(calls)
        self._cost.inc(cost)

    def settled(self, *, audited: bool) -> None:
        """Count a decision that was published."""
        self._settled.inc()
        self._audits.inc(audited)

    def stands(self, *, waiting: float, certified: float, withdrawn: float, generation: float) -> None:
        """Set what is known now."""
        self._waiting.set(waiting)
        self._certified.set(certified)
        self._withdrawn.set(withdrawn)
        self._generation.set(generation)

    def verdict(self) -> HealthVerdict:
        """Ready once the topics are read."""
        return self._ready
