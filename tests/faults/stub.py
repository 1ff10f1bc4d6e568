"""The classifier of the fault runs: decides from the text alone, as slowly as it is told, and breaks as often as it is told.

A slow stub is what makes faults strike a group that has work in hand; a deterministic one is what makes a conflict visible.
"""

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from prometheus_client import CollectorRegistry

from model_export.prediction import Prediction, predict
from monitoring.metrics import Metrics
from monitoring.observer import Observation, Observer
from stream.events import Limits, RawEvent
from stream.outcomes import ModelRef, Publication
from stream.pipeline import Pipeline
from stream.routing import Router
from stream.settings import Settings

VARIABLE = "TESTS_FAULTS_SECONDS_PER_BATCH"
LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
MODEL = ModelRef(name="stub", version="1", digest=hashlib.sha256(b"stub").hexdigest())
THRESHOLD = 0.9
# A title that holds this word keeps the model busy for longer than any test waits.
HANG = "hang-the-model"
HANG_SECONDS = 3600.0


class InjectedError(OSError):
    """What the stub raises in place of a broken machine; not what an event could be blamed for."""


class Point(Enum):
    """Where a process may be made to break: each is armed by a signal of its own and breaks once, at its next passing."""

    EXCEPTION = signal.SIGRTMIN + 1
    PRODUCE_FAILURE = signal.SIGRTMIN + 2
    KILL_BEFORE_DECIDING = signal.SIGRTMIN + 3
    KILL_BEFORE_SENDING = signal.SIGRTMIN + 4
    KILL_AMONG_SENDS = signal.SIGRTMIN + 5
    KILL_BEFORE_ACKNOWLEDGING = signal.SIGRTMIN + 6
    KILL_BEFORE_COMMITTING = signal.SIGRTMIN + 7


class Arms:
    """
    What is armed in this process.

    >>> arms = Arms()
    >>> arms.arm(Point.EXCEPTION)
    >>> arms.fires(Point.EXCEPTION), arms.fires(Point.EXCEPTION)
    (True, False)
    """

    def __init__(self) -> None:
        """Nothing is."""
        # Operations on a dict are atomic; a lock could be held by the very code that a signal interrupts.
        self._armed: dict[Point, bool] = {}

    def listen(self) -> None:
        """Let the signals arm."""
        for point in Point:
            signal.signal(point.value, lambda number, _: self.arm(Point(number)))

    def arm(self, point: Point) -> None:
        """Break at the next passing of this point."""
        self._armed[point] = True

    def fires(self, point: Point) -> bool:
        """Is it this passing? Disarms."""
        return self._armed.pop(point, False)

    def kill_at(self, point: Point) -> None:
        """SIGKILL this very process, if this is the passing."""
        if self.fires(point):
            os.kill(os.getpid(), signal.SIGKILL)


class StubClassifier:
    """Implements `Classifier`: the hash of the text decides; about a quarter of all texts is unsure."""

    labels = LABELS

    def __init__(self, arms: Arms, seconds_per_batch: float) -> None:
        """Every call takes `seconds_per_batch`."""
        self._arms = arms
        self._seconds = seconds_per_batch

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        One prediction a text, in order, after the time of a batch.

        Raises:
            InjectedError: When it is armed.
        """
        if any(HANG in text for text in texts):
            time.sleep(HANG_SECONDS)
        time.sleep(self._seconds)
        if self._arms.fires(Point.EXCEPTION):
            msg = f"injected into a batch of {len(texts)}"
            raise InjectedError(msg)
        return [decide(text) for text in texts]


def decide(text: str) -> Prediction:
    """
    The decision on one text.

    >>> decide("a") == decide("a")
    True
    """
    digest = hashlib.sha256(text.encode()).digest()
    logits = [byte / 256 for byte in digest[: len(LABELS)]]
    logits[digest[4] % len(LABELS)] += 1.0 if digest[5] < 64 else 6.0
    return predict(logits, labels=LABELS, temperature=1.0, tokens=len(text.split()), truncated=False)


class StubPipeline(Pipeline):
    """The real pipeline around the stub, with two places to be killed at."""

    def __init__(self, arms: Arms, settings: Settings, observer: Observer, *, seconds_per_batch: float) -> None:
        """Break where it is armed."""
        super().__init__(
            classifier=StubClassifier(arms, seconds_per_batch),
            router=Router(model=MODEL, threshold=THRESHOLD),
            observer=observer,
            limits=Limits(max_bytes=settings.max_event_bytes),
        )
        self._arms = arms

    def publications(self, events: Sequence[RawEvent], clock: Callable[[], float] = time.time) -> list[Publication]:
        """As the real one; it may not return."""
        self._arms.kill_at(Point.KILL_BEFORE_DECIDING)
        publications = super().publications(events, clock)
        self._arms.kill_at(Point.KILL_BEFORE_SENDING)
        return publications


class StubMetrics(Metrics):
    """The real metrics, with the two places to be killed at that only an observer sees."""

    def __init__(self, registry: CollectorRegistry, arms: Arms, topic: str) -> None:
        """Break where it is armed."""
        super().__init__(registry, labels=LABELS, topic=topic)
        self._arms = arms

    def stage(self, name: str, seconds: float) -> None:
        """The stage `publish` ends when the broker has confirmed, before anything is acknowledged."""
        super().stage(name, seconds)
        if name == "publish":
            self._arms.kill_at(Point.KILL_BEFORE_ACKNOWLEDGING)

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Outcomes are acknowledged to Faust, which has not committed them yet."""
        super().published(observations, now_ms)
        self._arms.kill_at(Point.KILL_BEFORE_COMMITTING)


def stub_producer(base: type[Any], arms: Arms) -> type[Any]:
    """A producer of Faust's whose confirmation of one record may fail late, and which may be killed between two records."""

    class StubProducer(base):  # type: ignore[misc]
        async def send(self, *args: Any, **options: Any) -> Any:
            arms.kill_at(Point.KILL_AMONG_SENDS)
            if not arms.fires(Point.PRODUCE_FAILURE):
                return await super().send(*args, **options)
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(InjectedError("the broker refused a record"))
            return failed

    return StubProducer
