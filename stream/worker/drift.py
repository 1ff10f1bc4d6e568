"""Drift beside the delivery: an observer that lets a `DriftWatch` see every decision, and publishes what it finds.

The stream never waits for it. `published` only appends to a list; once a second what was appended is looked at in a thread of
its own, and findings are sent through the worker's producer. A finding that the broker does not take is logged, counted and
forgotten, a fault in here ends the watching (the time of the last evaluation stands still, which has an alert), and neither
touches an acknowledgement. What comes faster than it can be looked at is passed over, and said.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import msgspec

from model_export.bundle.bundle import Bundle
from monitoring.drift import baseline
from monitoring.drift.findings import Finding, Model
from monitoring.drift.thresholds import Thresholds
from monitoring.drift.watch import DriftWatch, Plan, Report
from monitoring.observer import DriftScore, Observation, Observer
from stream.logs import logger
from stream.settings.settings import Settings

TICK_SECONDS = 1.0
PUBLISH_SECONDS = 5.0
MOST_WAITING = 20_000
# A thread that computes keeps the event loop waiting for its turn; between two of these it does not.
EVENTS_AT_ONCE = 1_000

log = logger("tagstream.drift")

# Two awaits, as in delivery: the record is queued, the broker has it.
Send = Callable[[bytes, bytes], Awaitable[Awaitable[Any]]]


class Recorder(Observer, Protocol):
    """Where drift is counted; `Metrics` does it."""

    def drift_change(self, signal: str) -> None:
        """A sudden change of this signal was found."""
        ...

    def drift_evaluated(self, window_events: int, scores: Mapping[str, float], now: float) -> None:
        """A window was compared, at `now` (Unix seconds)."""
        ...

    def drift_finding(self, kind: str) -> None:
        """A finding of this kind was published."""
        ...

    def drift_unpublished(self, kind: str) -> None:
        """A finding of this kind was not: there is no topic `drift`, or the broker did not take it."""
        ...

    def drift_plan(self, window_events: int, thresholds: Mapping[str, float]) -> None:
        """So many decisions are a window of the watch, and from these scores on it is a finding."""
        ...


class DriftObserver:
    """
    Implements `Observer`: tells the recorder everything, and the watch every decision.

    `run` is a task of the worker's; without it nothing is looked at.
    """

    def __init__(self, watch: DriftWatch, *, recorder: Recorder, send: Send | None) -> None:
        """
        Join the parts.

        Args:
            watch: The detectors; only the task touches them.
            recorder: Where everything is counted.
            send: Queues one record (key, value) on the topic `drift`; None where there is no such topic: findings are logged.
        """
        self._watch = watch
        self._recorder = recorder
        self._send = send
        self._waiting: list[tuple[Sequence[Observation], int]] = []
        self._waiting_events = self._passed_over = 0
        self._partitions: frozenset[Any] | None = None
        self._reset_due = False
        self._broken = False
        self._learning = watch.learning
        # Known before the first window is full, so that who waits for one knows how long.
        thresholds = {score.value: watch.plan.thresholds.of(score) for score in DriftScore}
        recorder.drift_plan(watch.plan.window_events, thresholds)

    def received(self, events: int) -> None:
        """See `Observer`."""
        self._recorder.received(events)

    def redelivered(self, events: int) -> None:
        """See `Observer`."""
        self._recorder.redelivered(events)

    def stage(self, name: str, seconds: float) -> None:
        """See `Observer`."""
        self._recorder.stage(name, seconds)

    def model_raised(self) -> None:
        """See `Observer`."""
        self._recorder.model_raised()

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """See `Observer`; called on the event loop."""
        self._recorder.published(observations, now_ms)
        if self._broken:
            return
        if self._waiting_events >= MOST_WAITING:
            self._passed_over += len(observations)
            return
        self._waiting.append((observations, now_ms))
        self._waiting_events += len(observations)

    def assigned(self, partitions: Collection[Any]) -> None:
        """The group gave this worker these partitions; if they are others than before, what was seen of those is forgotten."""
        now = frozenset(partitions)
        if self._partitions is not None and now != self._partitions:
            self._reset_due = True
            self._waiting, self._waiting_events = [], 0
        self._partitions = now

    async def run(self) -> None:
        """Look at what was published, once a second, until cancelled or broken."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="drift")
        try:
            while not self._broken:
                await asyncio.sleep(TICK_SECONDS)
                await self.turn(executor)
        finally:
            # Not waited for: the thread has a thousand events in hand at most, some milliseconds.
            executor.shutdown(wait=False, cancel_futures=True)

    async def turn(self, executor: ThreadPoolExecutor) -> None:
        """Look at what waits; publish what is found."""
        waiting, self._waiting, self._waiting_events = self._waiting, [], 0
        if self._passed_over:
            log.warning("drift_events_passed_over", events=self._passed_over, why="they came faster than they can be looked at")
            self._passed_over = 0
        try:
            if self._reset_due:
                self._reset_due = False
                self._watch.reset()
            for observations, now_ms in _portions(waiting):
                report = await asyncio.get_running_loop().run_in_executor(executor, self._watch.add, observations, now_ms)
                await self._tell(report)
            self._say_when_learned()
        # Whatever is wrong in here, the stream goes on.
        except Exception:
            self._broken = True
            self._waiting, self._waiting_events = [], 0
            log.exception("drift_broken", consequence="drift is no longer watched by this worker; delivery goes on")

    def _say_when_learned(self) -> None:
        if self._learning and not self._watch.learning:
            log.info("drift_reference_learned", source="the first healthy windows of this worker's own stream")
        self._learning = self._watch.learning

    async def _tell(self, report: Report) -> None:
        for signal in report.changes:
            self._recorder.drift_change(signal.value)
        for done in report.evaluations:
            scores = {score.value: value for score, value in done.scores.items()}
            self._recorder.drift_evaluated(done.events, scores, done.at_ms / 1000)
        for finding in report.findings:
            # Not its words: they are of events, and logs do not hold those.
            log.info("drift_found", kind=finding.kind.value, signal=finding.signal, score=finding.score)
            await self._publish(finding)

    async def _publish(self, finding: Finding) -> None:
        if self._send is None:
            self._recorder.drift_unpublished(finding.kind.value)
            return
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await (await self._send(finding.kind.value.encode(), msgspec.json.encode(finding)))
        # Faust's, aiokafka's and asyncio's errors share no narrower type.
        except Exception as error:  # noqa: BLE001
            self._recorder.drift_unpublished(finding.kind.value)
            log.warning("drift_unpublished", kind=finding.kind.value, why=f"{type(error).__name__}: {error}")
        else:
            self._recorder.drift_finding(finding.kind.value)


def watch_of(settings: Settings, bundle: Bundle) -> DriftWatch | None:
    """
    The detectors that the settings ask for; None where they switch them off.

    Raises:
        BaselineError: `drift_reference` is no drift reference.
    """
    if not settings.drift_window_events:
        return None
    manifest = bundle.manifest
    given = baseline.read(settings.drift_reference) if settings.drift_reference is not None else None
    if given is not None and given.model not in {"", bundle.digest}:
        log.warning("drift_reference_of_another_model", reference=given.model, bundle=bundle.digest)
    return DriftWatch(
        model=Model(name=manifest.name, version=manifest.version, digest=bundle.digest),
        worker=f"{socket.gethostname()}-{os.getpid()}",
        label_ratio=manifest.reference.get("label_ratio"),
        baseline=given,
        plan=plan_of(settings),
    )


def plan_of(settings: Settings) -> Plan:
    """Sizes and thresholds of the settings."""
    return Plan(
        window_events=settings.drift_window_events,
        reference_windows=settings.drift_reference_windows,
        change_delta=settings.drift_change_delta,
        thresholds=Thresholds(
            words=settings.drift_words_z, labels=settings.drift_labels_psi, sources=settings.drift_sources_ratio
        ),
    )


def _portions(waiting: Sequence[tuple[Sequence[Observation], int]]) -> list[tuple[list[Observation], int]]:
    """Batches joined into portions of about `EVENTS_AT_ONCE`, each with the time of its last batch."""
    portions: list[tuple[list[Observation], int]] = []
    for observations, now_ms in waiting:
        if portions and len(portions[-1][0]) < EVENTS_AT_ONCE:
            portions[-1] = (portions[-1][0] + list(observations), now_ms)
        else:
            portions.append((list(observations), now_ms))
    return portions
