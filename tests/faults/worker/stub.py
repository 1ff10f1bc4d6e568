"""The failing parts of a worker: a classifier, pipeline, observer and producer that fail where a signal has armed them.

The stub classifier decides from the text alone. A slow model leaves work in hand when a fault strikes; a deterministic
one makes conflicting outcomes visible.
"""

import asyncio
import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from tagstream.model_export.bundle.model import Classifier, Prediction, predict
from tagstream.model_export.bundle.text import MOST_CHARACTERS
from tagstream.monitoring.metrics.answers import AnswerMetrics
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import Observation, Observer
from tagstream.stream.contract.event import ContentEvent, Limits, Record
from tagstream.stream.contract.outcome import ModelRef, Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Decider, Draw
from tagstream.stream.decide.reviewer_answers import ReviewerAnswers
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.failpoints import Arms, Point
from tests.replacing import replace

SECONDS_VARIABLE = "TESTS_FAULTS_SECONDS_PER_BATCH"
# The same for answers; as slow as the model unless set.
ANSWER_SECONDS_VARIABLE = "TESTS_FAULTS_SECONDS_PER_BATCH_OF_ANSWERS"
# The model to wrap: "stub", "other-stub" with its own digest and decisions, "poisonable", or "bundle".
MODEL_VARIABLE = "TESTS_FAULTS_MODEL"
# How many texts take `seconds_per_batch`; a full batch unless set.
FULL_BATCH_VARIABLE = "TESTS_FAULTS_FULL_BATCH"
LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
MODEL = ModelRef(name="stub", version="1", digest=hashlib.sha256(b"stub").hexdigest())
OTHER_MODEL = ModelRef(name="stub", version="2", digest=hashlib.sha256(b"other stub").hexdigest())
THRESHOLD = 0.9
# A title that holds this word keeps the model busy for longer than any test waits.
HANG = "hang-the-model"
HANG_SECONDS = 3600.0
# Longer than the session timeout of the fault runs, and for SLOW_MODEL shorter than the watchdog's patience.
SLOW_SECONDS = 7.0
BLOCKED_SECONDS = 8.0
# No machine has so much: the allocation fails as it does on one that has run out.
UNHEARD_OF_BYTES = 1 << 46
KILL_AFTER_SECONDS = (0.0, 0.001, 0.002, 0.004, 0.008, 0.02)


class InjectedError(OSError):
    """Stands for a broken machine: an error that no event is blamed for."""


class InjectedModelError(Exception):
    """An error of the model that might be an event's fault."""


class StubClassifier:
    """Implements `Classifier`: the hash of the text decides; about a quarter of all texts is unsure."""

    labels = LABELS

    def __init__(self, model: ModelRef = MODEL) -> None:
        """Another model gives other decisions."""
        self._salt = "" if model is MODEL else model.digest

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text, in order."""
        if any(HANG in text for text in texts):
            time.sleep(HANG_SECONDS)
        return [decide(text, self._salt) for text in texts]


class FaultyClassifier:
    """Implements `Classifier`: wraps another one, takes the time that it is told, and breaks when armed."""

    def __init__(self, inner: Classifier, arms: Arms, seconds_per_batch: float, full_batch: int = 1) -> None:
        """
        A call with at least `full_batch` texts takes `seconds_per_batch` longer than `inner`, a smaller one its share.

        Otherwise a worker that decides a killed worker's suspects one by one would take half a minute of artificial delay.
        """
        self.labels = inner.labels
        self._inner = inner
        self._arms = arms
        self._seconds = seconds_per_batch
        self._full_batch = full_batch

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        The predictions of `inner`, after the time of a batch.

        Raises:
            InjectedModelError: When it is armed.
            MemoryError: Likewise.
        """
        # Under a clock that a test sets, no time at all is refused.
        if self._seconds and not self._arms.is_armed(Point.HURRY):
            time.sleep(self._seconds * min(1.0, len(texts) / self._full_batch))
        if self._arms.fires(Point.HANG):
            time.sleep(HANG_SECONDS)
        if self._arms.fires(Point.SLOW_MODEL):
            time.sleep(SLOW_SECONDS)
        if self._arms.fires(Point.ABORT):
            os.abort()
        if self._arms.fires(Point.OUT_OF_MEMORY):
            bytearray(UNHEARD_OF_BYTES)
        if self._arms.fires(Point.MODEL_FAILS_ONCE):
            msg = f"injected into a batch of {len(texts)}"
            raise InjectedModelError(msg)
        return self._inner.classify(texts)


def decide(text: str, salt: str = "") -> Prediction:
    """
    The decision on one text, as far as it is read.

    >>> decide("a") == decide("a")
    True
    """
    read = text[:MOST_CHARACTERS]
    digest = hashlib.sha256((read + salt).encode()).digest()
    logits = [byte / 256 for byte in digest[: len(LABELS)]]
    logits[digest[4] % len(LABELS)] += 1.0 if digest[5] < 64 else 6.0
    truncated = len(text) > MOST_CHARACTERS
    return predict(logits, labels=LABELS, temperature=1.0, tokens=len(read.split()), truncated=truncated)


def stub_decider(model: ModelRef = MODEL) -> Decider:
    """The decider of a stub."""
    return Decider(classifier=StubClassifier(model), model=model, threshold=THRESHOLD)


class FaultyPipeline:
    """The real pipeline of these settings, which can be killed at two points and raise an error at one."""

    def __init__(
        self, arms: Arms, settings: Settings, observer: Observer, *, decider: Decider, seconds_per_batch: float
    ) -> None:
        """Break where it is armed."""
        full_batch = int(os.environ.get(FULL_BATCH_VARIABLE, settings.batch_max_events))
        self._arms = arms
        self._seconds, self._full_batch = seconds_per_batch, full_batch
        # By the identity of a decider, which is kept with it: a pipeline decides together what has one decider.
        self._faulty: dict[int, tuple[Decider, Decider]] = {}
        # A text that comes again would take no time, and all events would be decided before most faults strike.
        slow = settings.model_copy(update={"repeats_bytes": 0})
        self._real = pipeline_of(slow, decider=self._breaking(decider), observer=observer)

    def _breaking(self, decider: Decider) -> Decider:
        """The same decider with a classifier that breaks where it is armed."""
        if isinstance(decider.classifier, FaultyClassifier):
            return decider
        kept = self._faulty.get(id(decider))
        if kept is None:
            classifier = FaultyClassifier(decider.classifier, self._arms, self._seconds, self._full_batch)
            # Several threads may come here at once.
            kept = self._faulty.setdefault(id(decider), (decider, replace(decider, classifier=classifier)))
        return kept[1]

    @property
    def decider(self) -> Decider:
        """The decider of the real pipeline, from the next batch on."""
        return self._real.decider

    def follow(self, tell: Callable[[Decider], None], *, told: bool = False) -> None:
        """Follow the decider of the real pipeline."""
        self._real.follow(tell, told=told)

    def replace(self, decider: Decider) -> None:
        """Replace the decider of the real pipeline."""
        self._real.replace(self._breaking(decider))

    def choose(self, decider_of: Callable[[ContentEvent], Decider]) -> None:
        """Let the real pipeline ask for the decider of each event."""
        self._real.choose(lambda event: self._breaking(decider_of(event)))

    def decider_of(self, event: ContentEvent) -> Decider:
        """Which one of the real pipeline decides an event."""
        return self._real.decider_of(event)

    def decider_for(self, record: Record) -> Decider | None:
        """Which one of the real pipeline decides a record."""
        return self._real.decider_for(record)

    def distrust(self, record: Record) -> None:
        """Let the stand-in decide a record in the real pipeline."""
        self._real.distrust(record)

    @property
    def draw(self) -> Draw | None:
        """The draw of the real pipeline."""
        return self._real.draw

    @draw.setter
    def draw(self, draw: Draw | None) -> None:
        self._real.draw = draw

    @property
    def ask(self) -> Callable[[Publication], Publication] | None:
        """What puts viewers' tokens on decisions of the real pipeline."""
        return self._real.ask

    @ask.setter
    def ask(self, ask: Callable[[Publication], Publication] | None) -> None:
        self._real.ask = ask

    def publications(self, events: Sequence[Record], refusal: Refusal | None = None) -> list[Publication]:
        """Publications of the real pipeline, unless a point fires."""
        self._arms.kill_at(Point.KILL_BEFORE_DECIDING)
        publications = self._real.publications(events, refusal)
        self._arms.kill_at(Point.KILL_BEFORE_SENDING)
        if self._arms.fires(Point.EXCEPTION):
            msg = f"injected behind a batch of {len(events)}"
            raise InjectedError(msg)
        return publications


class StubPipeline(FaultyPipeline):
    """The faulty pipeline around the stub."""

    def __init__(
        self, arms: Arms, settings: Settings, observer: Observer, *, seconds_per_batch: float, model: ModelRef = MODEL
    ) -> None:
        """Break where it is armed."""
        super().__init__(arms, settings, observer, decider=stub_decider(model), seconds_per_batch=seconds_per_batch)


class FaultyAnswering:
    """The real function from answers to decisions, as slow as it is told, which can be killed at two points and raise an error at one."""

    def __init__(self, arms: Arms, limits: Limits, *, seconds_per_batch: float, full_batch: int) -> None:
        """Break where it is armed; a call with at least `full_batch` answers takes `seconds_per_batch`, a smaller one its share."""
        self._real = ReviewerAnswers(limits)
        self._arms = arms
        self._seconds = seconds_per_batch
        self._full_batch = full_batch

    def publications(self, events: Sequence[Record]) -> list[Publication]:
        """Those of the real one, unless a point fires."""
        self._arms.kill_at(Point.KILL_BEFORE_DECIDING)
        if self._seconds and not self._arms.is_armed(Point.HURRY):
            time.sleep(self._seconds * min(1.0, len(events) / self._full_batch))
        publications = self._real.publications(events)
        self._arms.kill_at(Point.KILL_BEFORE_SENDING)
        if self._arms.fires(Point.EXCEPTION):
            msg = f"injected behind a batch of {len(events)} answers"
            raise InjectedError(msg)
        return publications


class FaultyAnswerMetrics(AnswerMetrics):
    """The real metrics of answers, with the points that only an observer reaches."""

    def __init__(self, registry: CollectorRegistry, arms: Arms) -> None:
        """Break where it is armed."""
        super().__init__(registry)
        self._arms = arms

    def stage(self, name: str, seconds: float) -> None:
        """As in `FaultyMetrics`."""
        super().stage(name, seconds)
        if name == "publish":
            self._arms.kill_at(Point.KILL_BEFORE_ACKNOWLEDGING)
            if self._arms.fires(Point.BLOCKED_LOOP):
                time.sleep(BLOCKED_SECONDS)

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """As in `FaultyMetrics`."""
        super().published(observations, now_ms)
        self._arms.kill_at(Point.KILL_BEFORE_COMMITTING)


class FaultyMetrics(Metrics):
    """The real metrics, with the points that only an observer reaches."""

    def __init__(self, registry: CollectorRegistry, arms: Arms, topic: str, labels: Sequence[str] = LABELS) -> None:
        """Break where it is armed."""
        super().__init__(registry, labels=tuple(labels), topic=topic, answers=FaultyAnswerMetrics(registry, arms))
        self._arms = arms

    def stage(self, name: str, seconds: float) -> None:
        """The stage `publish` ends on the event loop, after the broker's confirmation and before any acknowledgement."""
        super().stage(name, seconds)
        if name == "publish":
            self._arms.kill_at(Point.KILL_BEFORE_ACKNOWLEDGING)
            if self._arms.fires(Point.NO_MORE_THREADS):
                threading._start_new_thread = no_thread  # type: ignore[attr-defined]
            if self._arms.fires(Point.BLOCKED_LOOP):
                time.sleep(BLOCKED_SECONDS)
            if self._arms.fires(Point.BLOCKED_FOR_EVER):
                time.sleep(HANG_SECONDS)

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Outcomes are acknowledged to Faust, which has not committed them yet."""
        super().published(observations, now_ms)
        self._arms.kill_at(Point.KILL_BEFORE_COMMITTING)


def no_thread(*_: object) -> None:
    """Refuse a thread, as Python does at the limit of a user or a container."""
    msg = "can't start new thread"
    raise RuntimeError(msg)


def faulty_producer(base: type[Any], arms: Arms, spared: str = "") -> type[Any]:
    """A producer of Faust's that refuses a record, fails late, never answers, or is stopped between two records; `spared`: not of this topic."""

    class FaultyProducer(base):  # type: ignore[misc]
        async def send(self, topic: str, *args: Any, **options: Any) -> Any:
            if topic == spared:
                return await super().send(topic, *args, **options)
            arms.kill_at(Point.KILL_AMONG_SENDS)
            arms.freeze_at(Point.FREEZE_AMONG_SENDS)
            if arms.fires(Point.PRODUCE_REFUSED):
                msg = "the producer refused a record"
                raise InjectedError(msg)
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if arms.fires(Point.PRODUCE_SILENCE):
                return answer
            if not arms.fires(Point.PRODUCE_FAILURE):
                return await super().send(topic, *args, **options)
            answer.set_exception(InjectedError("the broker refused a record"))
            return answer

    return FaultyProducer


def faulty_transactions(base: type[Any], arms: Arms) -> type[Any]:
    """The same for the producer of a transaction, which is also killed before, during and after the commit request."""

    class FaultyTransactions(faulty_producer(base, arms)):  # type: ignore[misc]
        async def commit_transaction(self) -> None:
            if arms.fires(Point.KILL_BEFORE_COMMITTING):
                # At once the coordinator has not been asked; some milliseconds later it may have answered.
                after = random.choice(KILL_AFTER_SECONDS)  # noqa: S311 - no secret
                asyncio.get_running_loop().call_later(after, os.kill, os.getpid(), signal.SIGKILL)
            await super().commit_transaction()

    return FaultyTransactions
