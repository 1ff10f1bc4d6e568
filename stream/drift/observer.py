"""
Watches for drift beside the delivery: an observer that shows every decision to a `DriftWatch` and publishes its findings.

Worker and `serve` share it, and neither waits for it. `published` only appends to a list. Once a second a thread of its own looks at that
list, and findings are sent through the owner's producer. A finding that the broker does not take is logged, counted and dropped. An exception in here ends
the watching, and an alert fires because the time of the last evaluation stands still. Neither affects an acknowledgement. Events that
come faster than they can be looked at are skipped, and their number is logged.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.findings import Finding, Model
from tagstream.monitoring.drift.learning import ReferenceNote
from tagstream.monitoring.drift.watch import DriftWatch, Noticed
from tagstream.monitoring.observer import NO_TOPICS, Observation, Observer
from tagstream.monitoring.vocabulary import DriftScore
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.drift.references import References
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

TICK_SECONDS = 1.0
PUBLISH_SECONDS = 5.0
MOST_WAITING = 20_000
# The event loop waits while the thread computes, and gets its turn after this many events.
EVENTS_AT_ONCE = 1_000

NO_FLOODS: Mapping[str, float] = MappingProxyType({})

log = logger("tagstream.drift")

# Two awaits, as in delivery: after the first the record is queued, after the second the broker has confirmed it.
Send = Callable[[bytes, bytes], Awaitable[Awaitable[Any]]]


class Recorder(Observer, Protocol):
    """Counts drift; `Metrics` implements it."""

    def drift_change(self, signal: str, now: float) -> None:
        """A sudden change of this signal was found, at `now` (Unix seconds)."""
        ...

    def drift_evaluated(
        self, window_events: int, scores: Mapping[str, float], now: float, floods: Mapping[str, float] = NO_FLOODS
    ) -> None:
        """
        A window was compared.

        Args:
            window_events: The decisions in it.
            scores: By name, the distance of each figure from the reference.
            now: Unix seconds.
            floods: By name of a score that is a finding of one producer alone, that producer's share of the window.
        """
        ...

    def drift_finding(self, kind: str) -> None:
        """A finding of this kind was published."""
        ...

    def drift_unpublished(self, kind: str) -> None:
        """A finding of this kind was not published: there is no topic `drift`, or the broker did not take it."""
        ...

    def drift_plan(self, window_events: int, thresholds: Mapping[str, float]) -> None:
        """The size of a window in decisions, and by score the threshold from which a window is a finding."""
        ...

    def drift_reference(self, reference: Mapping[str, Any]) -> None:
        """The reference with which windows are compared from now on; empty while the group learns it."""
        ...

    def drift_learned(self, ratio: float) -> None:
        """The share of the reference that the group has learned, 0 to 1."""
        ...


class DriftObserver:
    """
    Implements `Observer`: passes everything on to the recorder, and every decision to the watch.

    Its owner, a worker or `serve`, runs `run` as a task. Without that task, no decision is looked at.
    """

    def __init__(
        self,
        watch: DriftWatch,
        *,
        recorder: Recorder,
        send: Send | None,
        note: Send | None = None,
        references: References | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Join the parts.

        Args:
            watch: The detectors; only the task touches them.
            recorder: Counts decisions and drift.
            send: Queues one record (key, value) on the topic `drift`; None if there is no such topic, and findings are then only logged.
            note: Queues one record (key, value) on the topic `references`; None if this process keeps its notes to itself.
            references: Reads the topic `references`.
            clock: Gives Unix seconds.
        """
        self._watch = watch
        self._recorder = recorder
        self._send = send
        self._waiting: list[tuple[Sequence[Observation], int]] = []
        self._waiting_events = self._passed_over = 0
        self._partitions: frozenset[Any] | None = None
        self._reset_due = False
        self._broken = False
        self._note, self._references = note, references
        self._clock = clock
        self._renewed: DriftWatch | None = None
        self._begin()

    def _begin(self) -> None:
        """Report the watch's reference and plan at once, so that people can see how long the first window takes."""
        watch = self._watch
        self._baseline = watch.baseline
        self._recorder.drift_reference(self._reference())
        self._recorder.drift_learned(watch.progress(int(self._clock() * 1000)))
        thresholds = {score.value: watch.plan.thresholds.of(score) for score in DriftScore}
        self._recorder.drift_plan(watch.plan.window_events, thresholds)

    def renew(self, watch: DriftWatch | None) -> None:
        """Replace the detectors at the next turn, because another decider decides; None keeps them. Any thread may call this."""
        if watch is not None:
            self._renewed = watch

    def received(self, events: int, repeated: int = 0, topics: Mapping[str, int] = NO_TOPICS) -> None:
        """Pass the call on to the recorder."""
        self._recorder.received(events, repeated, topics)

    def stage(self, name: str, seconds: float) -> None:
        """Pass the call on to the recorder."""
        self._recorder.stage(name, seconds)

    def model_raised(self) -> None:
        """Pass the call on to the recorder."""
        self._recorder.model_raised()

    def remembered(self, texts: int, seconds: float) -> None:
        """Pass the call on to the recorder."""
        self._recorder.remembered(texts, seconds)

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Pass the call on to the recorder, and keep the decisions for the next turn. Called on the event loop."""
        self._recorder.published(observations, now_ms)
        if self._broken:
            return
        if self._waiting_events >= MOST_WAITING:
            self._passed_over += len(observations)
            return
        self._waiting.append((observations, now_ms))
        self._waiting_events += len(observations)

    def assigned(self, partitions: Collection[Any]) -> None:
        """The group has assigned these partitions to this worker. If the assignment has changed, the detectors begin anew."""
        now = frozenset(partitions)
        if self._partitions is not None and now != self._partitions:
            self._reset_due = True
            self._waiting, self._waiting_events = [], 0
        self._partitions = now

    async def run(self) -> None:
        """Look at the published decisions once a second, until cancelled or until an exception ends the watching."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="drift")
        try:
            while not self._broken:
                await asyncio.sleep(TICK_SECONDS)
                await self.turn(executor)
        finally:
            # Closed in the drift thread, which may be reading.
            if self._references is not None:
                executor.submit(self._references.close)
            # No wait: the thread has at most a thousand events in hand, which take milliseconds, or waits for a broker.
            executor.shutdown(wait=False)

    async def turn(self, executor: ThreadPoolExecutor) -> None:
        """Look at the decisions since the last turn, and publish the findings."""
        waiting, self._waiting, self._waiting_events = self._waiting, [], 0
        if self._passed_over:
            log.warning("drift_events_passed_over", events=self._passed_over, why="they came faster than they can be looked at")
            self._passed_over = 0
        try:
            if self._renewed is not None:
                # The waiting decisions are the old model's, and say nothing of the new model.
                waiting, self._watch, self._renewed = [], self._renewed, None
                if self._references is not None:
                    self._references.again()
                self._begin()
            if self._reset_due:
                self._reset_due = False
                self._watch.reset()
            if self._references is not None:
                await asyncio.get_running_loop().run_in_executor(executor, self._references.read, self._watch.read)
            for observations, now_ms in _portions(waiting):
                report = await asyncio.get_running_loop().run_in_executor(executor, self._watch.add, observations, now_ms)
                await self._tell(report)
            self._say_what_is_learned()
        # No error in here may stop the stream, or the requests.
        except Exception:
            self._broken = True
            self._waiting, self._waiting_events = [], 0
            log.exception("drift_broken", consequence="drift is no longer watched by this process; it decides on")

    def _say_what_is_learned(self) -> None:
        self._recorder.drift_learned(self._watch.progress(int(self._clock() * 1000)))
        baseline = self._watch.baseline
        if baseline is self._baseline:
            return
        self._baseline = baseline
        self._recorder.drift_reference(self._reference())
        if baseline is None:
            log.info("drift_learning", why="a person asked for it: tagstream drift --learn")
        else:
            log.info("drift_reference_learned", source="the first healthy windows of the group", events=baseline.events)

    def _reference(self) -> Mapping[str, Any]:
        """The reference of the baseline; empty while there is no baseline."""
        return {} if self._baseline is None else self._baseline.reference

    async def _tell(self, report: Noticed) -> None:
        for signal in report.changes:
            self._recorder.drift_change(signal.value, self._clock())
        for done in report.evaluations:
            scores = {score.value: value for score, value in done.scores.items()}
            floods = {score.value: share for score, share in done.floods.items()}
            self._recorder.drift_evaluated(done.events, scores, done.at_ms / 1000, floods)
        for note in report.notes:
            await self._keep(note)
        for finding in report.findings:
            # The finding's words are not logged: they come from the text of events.
            flood = {} if finding.flood is None else {"flood_of_one_source": finding.flood.source}
            log.info("drift_found", kind=finding.kind.value, signal=finding.signal, score=finding.score, **flood)
            await self._publish(finding)

    async def _keep(self, note: ReferenceNote) -> None:
        if self._note is None:
            return
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await (await self._note(note.key, msgspec.json.encode(note)))
        # Any class of error, as in `_publish`. This worker has the note; other workers, and this one after a restart, lack it.
        except Exception as error:  # noqa: BLE001
            log.warning("drift_note_unpublished", why=f"{type(error).__name__}: {error}")

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


def watch_of(settings: Settings, decider: Decider) -> DriftWatch | None:
    """
    The detectors of the settings; None if the settings switch drift off, or if rules decide, because rules do not drift.

    Args:
        settings: Have the group that learns a reference together, windows and thresholds.
        decider: Decides what is watched.

    Raises:
        BaselineError: The file `drift_reference` is not a drift reference.
    """
    if not settings.drift_window_events or decider.kind == "rules":
        return None
    model = decider.model
    given = baseline.read(settings.drift_reference) if settings.drift_reference is not None else None
    if given is not None and given.model not in {"", model.digest}:
        log.warning("drift_reference_of_another_model", reference=given.model, bundle=model.digest)
    return DriftWatch(
        model=Model(name=model.name, version=model.version, digest=model.digest),
        worker=f"{socket.gethostname()}-{os.getpid()}",
        group=settings.group,
        baseline=given,
        plan=settings.drift_plan,
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
