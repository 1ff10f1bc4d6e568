"""The metrics of `tagstream rollout watch`: the controller's looks, its verdicts on the challenger, and its changes."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from tagstream.monitoring.health import HealthVerdict

LOOKS = ("judged", "no_challenger", "failed")
# By kind of event, the figure of the gate `answers` that counts such events.
EVIDENCE = {"compared": "events", "disagreed": "disagreements", "asked": "asked", "answered": "answers"}
STARTING = "it has not looked yet"


class ControllerMetrics:
    """
    The series of one controller on one registry. The task that watches writes; any thread may ask for the verdict.

    Attributes:
        registry: The registry of the series.
    """

    def __init__(
        self, registry: CollectorRegistry, *, decisions: Sequence[str], clock: Callable[[], float] = time.time
    ) -> None:
        """Register every metric and create every series. `decisions` are the verdicts on a challenger; `clock` gives Unix seconds."""
        self.registry = registry
        self._clock = clock
        self._decisions = tuple(decisions)
        self._ready = HealthVerdict(ready=False, why=STARTING)
        self._looks = Counter("tagstream_controller_looks", "Looks at the rollout.", ["result"], registry=registry)
        self._looked = Gauge(
            "tagstream_controller_look_timestamp_seconds",
            "Time of the last look that did not fail, 0 before the first.",
            registry=registry,
        )
        self._epoch = Gauge(
            "tagstream_controller_challenger_epoch",
            "Epoch with a challenger that is judged; 0 without one.",
            registry=registry,
        )
        self._verdict = Gauge(
            "tagstream_controller_verdict",
            "1 for the verdict of the last look; all 0 without a challenger.",
            ["decision"],
            registry=registry,
        )
        self._evidence = Gauge(
            "tagstream_controller_evidence_events",
            "Events on which the challenger is judged: compared in shadow; of these, with two tags, asked about, answered.",
            ["kind"],
            registry=registry,
        )
        self._changes = Counter("tagstream_controller_changes", "Epochs that it has begun.", ["decision"], registry=registry)
        self._failed_changes = Counter(
            "tagstream_controller_failed_changes",
            "Changes that did not come about.",
            registry=registry,
        )
        for result in LOOKS:
            self._looks.labels(result)
        for decision in self._decisions:
            self._verdict.labels(decision)
            self._changes.labels(decision)
        for kind in EVIDENCE:
            self._evidence.labels(kind)

    @classmethod
    def alone(cls, decisions: Sequence[str]) -> Self:
        """The series on a registry of their own, with the figures of the process."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        return cls(registry, decisions=decisions)

    def judged(self, epoch: int, decision: str, answers: Mapping[str, float]) -> None:
        """
        A look has come to a verdict.

        Args:
            epoch: The challenger's epoch.
            decision: The verdict, one of the `decisions` of the constructor.
            answers: The figures of the gate `answers`.
        """
        self._seen("judged", epoch, decision, answers)
        self._ready = HealthVerdict(ready=True, why=f"epoch {epoch}: {decision}")

    def no_challenger(self, why: str) -> None:
        """A look has found no challenger; `why` is a sentence."""
        self._seen("no_challenger", 0, None, {})
        self._ready = HealthVerdict(ready=True, why=why)

    def failed(self, why: str) -> None:
        """A look has failed. The figures of the previous look stay."""
        self._looks.labels("failed").inc()
        self._ready = HealthVerdict(ready=False, why=why)

    def changed(self, decision: str) -> None:
        """An epoch was begun by this verdict."""
        self._changes.labels(decision).inc()

    def change_failed(self, why: str) -> None:
        """A change of the model has failed."""
        self._failed_changes.inc()
        self._ready = HealthVerdict(ready=False, why=why)

    def verdict(self) -> HealthVerdict:
        """Ready if the last turn succeeded, with its result."""
        return self._ready

    def _seen(self, result: str, epoch: int, decision: str | None, answers: Mapping[str, float]) -> None:
        self._looks.labels(result).inc()
        self._looked.set(self._clock())
        self._epoch.set(epoch)
        for one in self._decisions:
            self._verdict.labels(one).set(one == decision)
        for kind, figure in EVIDENCE.items():
            self._evidence.labels(kind).set(answers.get(figure, 0))
