"""The metrics of a worker that follows a rollout: the epoch in force, the planned epoch, and the events that it holds."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.families import RolloutFamilies
from tagstream.monitoring.vocabulary import Arm, PlanState

# Each batch waits for an answer of the brokers. A wait longer than this is a hold.
HELD_SECONDS = 0.1


class RolloutMetrics:
    """One worker's part in a rollout. Without a rollout its series stay at zero."""

    def __init__(self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Register every metric and create every series. `clock` gives monotonic seconds."""
        self._clock = clock
        self._rollout = RolloutFamilies(registry)
        # For each waiting batch, since when it waits (monotonic seconds), and the number of its events. Read when the metrics are read.
        self._waiting: dict[object, tuple[float, int]] = {}
        self._rollout.held_events.set_function(lambda: sum(events for _, events in self._held()))
        self._rollout.held_seconds.set_function(lambda: max((seconds for seconds, _ in self._held()), default=0.0))

    def decides_by(self, epoch: int) -> None:
        """A rollout is followed, and the champion of this epoch decides the newest events."""
        self._rollout.followed.set(1)
        self._rollout.epoch.set(epoch)

    def planned(self, epoch: int | None, state: PlanState | None, *, closing: int | None) -> None:
        """
        Show the planned epoch.

        Args:
            epoch: The planned epoch; None without a plan.
            state: This worker's state before the planned epoch; None without a plan.
            closing: The epoch for which events are held; None if no events are held.
        """
        for one in PlanState:
            self._rollout.planned.labels(one.value).set(epoch if epoch is not None and one is state else 0)
        self._rollout.closing.set(closing or 0)

    def refused(self) -> None:
        """This worker has refused a plan."""
        self._rollout.refusals.inc()

    def decided(self, arms: Mapping[Arm, int]) -> None:
        """Count the published decisions of each arm."""
        for arm, count in arms.items():
            self._rollout.arms.labels(arm.value).inc(count)

    @contextmanager
    def waiting(self, events: int) -> Iterator[None]:
        """During the block, a batch of `events` waits until its models are known."""
        batch, since = object(), self._clock()
        self._waiting[batch] = (since, events)
        try:
            yield
        finally:
            del self._waiting[batch]
            self._rollout.holds.observe(self._clock() - since)

    def _held(self) -> list[tuple[float, int]]:
        now = self._clock()
        return [(now - since, events) for since, events in tuple(self._waiting.values()) if now - since > HELD_SECONDS]
