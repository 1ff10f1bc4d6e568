"""The classifier of the fault runs: decides from the text alone, as slowly as it is told, and breaks as often as it is told.

A slow stub is what makes faults strike a group that has work in hand; a deterministic one is what makes a conflict visible.
"""

import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

import stream.app
from model_export.prediction import Prediction, predict
from monitoring.metrics import Metrics
from monitoring.observer import Observation
from stream.events import Limits, RawEvent
from stream.outcomes import ModelRef, Publication
from stream.pipeline import Pipeline
from stream.routing import Router
from stream.settings import Settings

VARIABLE = "TESTS_FAULTS_KNOBS"
LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
MODEL = ModelRef(name="stub", version="1", digest=hashlib.sha256(b"stub").hexdigest())
THRESHOLD = 0.9
# A title that holds this word keeps the model busy for longer than any test waits.
HANG = "hang-the-model"
HANG_SECONDS = 3600.0

# Where a process may be killed: around the model, when the broker has the outcomes, and when they are acknowledged to Faust.
KillPoint = Literal["before_decide", "after_decide", "after_confirm", "after_acknowledge"]


class InjectedError(Exception):
    """What the stub raises in place of a broken machine."""


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a worker of the harness misbehaves. Probabilities are per batch, for `produce_failure` per record.

    `seed` fixes which batch it is; every start of a process gets its own, or the same batch would break for ever.
    """

    seed: str = "0"
    seconds_per_batch: float = 0.0
    exception_probability: float = 0.0
    produce_failure_probability: float = 0.0
    kill_point: KillPoint | None = None
    kill_probability: float = 0.0

    def to_environment(self) -> dict[str, str]:
        """As the worker process reads it."""
        return {VARIABLE: msgspec.json.encode(self).decode()}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Knobs":
        """As `to_environment` wrote it; nothing misbehaves where it is missing."""
        return msgspec.json.decode(environ.get(VARIABLE, "{}"), type=cls)


class Chance:
    """Seeded coin tosses from any thread."""

    def __init__(self, seed: str) -> None:
        """The same seed, the same tosses."""
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._lock = threading.Lock()

    def strikes(self, probability: float) -> bool:
        """Toss once."""
        with self._lock:
            return self._random.random() < probability


class StubClassifier:
    """Implements `Classifier`: the hash of the text decides; about a quarter of all texts is unsure."""

    labels = LABELS

    def __init__(self, knobs: Knobs) -> None:
        """Misbehave like this."""
        self._knobs = knobs
        self._chance = Chance(f"exception {knobs.seed}")

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        One prediction a text, in order, after the time of a batch.

        Raises:
            InjectedError: As often as the knobs say.
        """
        if any(HANG in text for text in texts):
            time.sleep(HANG_SECONDS)
        time.sleep(self._knobs.seconds_per_batch)
        if self._chance.strikes(self._knobs.exception_probability):
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
    logits[digest[4] % len(LABELS)] += 1.0 if digest[5] < 64 else 6.0  # noqa: PLR2004 - a quarter of a byte
    return predict(logits, labels=LABELS, temperature=1.0, tokens=len(text.split()), truncated=False)


class StubPipeline(Pipeline):
    """The real pipeline around the stub, with two places to be killed at."""

    def __init__(self, knobs: Knobs, settings: Settings, metrics: Metrics) -> None:
        """Misbehave like this."""
        super().__init__(
            classifier=StubClassifier(knobs),
            router=Router(model=MODEL, threshold=THRESHOLD),
            observer=metrics,
            limits=Limits(max_bytes=settings.max_event_bytes),
        )
        self._knobs = knobs
        self._chance = Chance(f"kill {knobs.seed}")

    def publications(self, events: Sequence[RawEvent], clock: Any = time.time) -> list[Publication]:
        """As the real one; it may not return."""
        die_at("before_decide", self._knobs, self._chance)
        publications = super().publications(events, clock)
        die_at("after_decide", self._knobs, self._chance)
        return publications


class StubMetrics(Metrics):
    """The real metrics, with the two places to be killed at that only an observer sees."""

    def __init__(self, registry: Any, knobs: Knobs, topic: str) -> None:
        """Misbehave like this."""
        super().__init__(registry, labels=LABELS, topic=topic)
        self._knobs = knobs
        self._chance = Chance(f"kill {knobs.seed}")

    def stage(self, name: str, seconds: float) -> None:
        """The stage `publish` ends when the broker has confirmed, before anything is acknowledged."""
        super().stage(name, seconds)
        if name == "publish":
            die_at("after_confirm", self._knobs, self._chance)

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Outcomes are acknowledged to Faust, which has not committed them yet."""
        super().published(observations, now_ms)
        die_at("after_acknowledge", self._knobs, self._chance)


def die_at(point: KillPoint, knobs: Knobs, chance: Chance) -> None:
    """SIGKILL this very process, if its time has come."""
    if knobs.kill_point == point and chance.strikes(knobs.kill_probability):
        os.kill(os.getpid(), signal.SIGKILL)


def failing_producer(knobs: Knobs) -> type[stream.app.Producer]:
    """Our producer, whose confirmations fail late, as often as the knobs say: the record never reaches the broker."""
    chance = Chance(f"produce {knobs.seed}")

    class FailingProducer(stream.app.Producer):
        async def send(self, *args: Any, **options: Any) -> Any:
            if not chance.strikes(knobs.produce_failure_probability):
                return await super().send(*args, **options)
            import asyncio

            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(InjectedError("the broker refused a record"))
            return failed

    return FailingProducer
