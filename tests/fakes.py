"""Stand-ins for the seams: classifiers, observers, a clock, and an engine with its events and its broker."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tagstream.model_export.bundle.model import Classifier, Prediction, predict
from tagstream.monitoring.observer import NO_TOPICS, Observation
from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef, Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.deliver.engine import Holder, Say
from tagstream.stream.kafka.group_memory import GroupMemory

LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
KEYWORDS = {"translation": 0, "image": 1, "deployment": 2}
MAX_WORDS = 24


# For publications whose outcome is irrelevant.
ANY_OUTCOME = Refusal(stage=Stage.DECODE, reason=Reason.EMPTY, message="the value has no bytes")


class KeywordClassifier:
    """Implements `Classifier`: a keyword decides, `maybe` lowers the confidence, and each text is judged alone."""

    labels = LABELS

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text, in order."""
        return [self._one(text.lower().split()) for text in texts]

    def _one(self, words: list[str]) -> Prediction:
        read = words[:MAX_WORDS]
        winner = next((KEYWORDS[word] for word in read if word in KEYWORDS), LABELS.index("other"))
        logits = [0.0] * len(LABELS)
        logits[winner] = 0.5 if "maybe" in read else 6.0
        return predict(logits, labels=LABELS, temperature=1.0, tokens=len(read), truncated=len(words) > MAX_WORDS)


def deciding(classifier: Classifier | None = None, *, threshold: float = 0.7, **figures: Any) -> Decider:
    """A decider around this classifier, by default the keyword classifier."""
    model = ModelRef(name="m", version="1", digest="d" * 64)
    return Decider(classifier=classifier or KeywordClassifier(), **{"model": model, "threshold": threshold, **figures})


class BrokenClassifier(KeywordClassifier):
    """A classifier that always raises."""

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Raise."""
        raise MemoryError(len(texts))


class ShiftedClassifier(KeywordClassifier):
    """A classifier that returns the wrong number of predictions."""

    def __init__(self, by: int) -> None:
        """`by` is the surplus of predictions, negative for too few."""
        self._by = by

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """As many predictions as texts, plus `by`."""
        return super().classify([*texts, *["other"] * self._by][: len(texts) + self._by])


class RecordingObserver:
    """Implements `Observer`: keeps every call."""

    def __init__(self) -> None:
        """Start empty."""
        self.batches: list[int] = []
        self.topics: Counter[str] = Counter()
        self.repeated = 0
        self.stages: list[str] = []
        self.raised = 0
        self.observations: list[Observation] = []
        self.remembered_texts = 0

    def received(self, events: int, repeated: int = 0, topics: Mapping[str, int] = NO_TOPICS) -> None:
        """Keep the size of the batch and the counts of topics, and add to the count of repeated events."""
        self.batches.append(events)
        self.topics.update(topics)
        self.repeated += repeated

    def stage(self, name: str, seconds: float) -> None:
        """Keep the name; a negative duration is an error."""
        assert seconds >= 0
        self.stages.append(name)

    def model_raised(self) -> None:
        """Count."""
        self.raised += 1

    def remembered(self, texts: int, seconds: float) -> None:
        """Add to the counts."""
        assert seconds >= 0
        self.remembered_texts += texts

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Keep the observations."""
        assert now_ms > 0
        self.observations.extend(observations)


class Clock:
    """A clock in seconds that only the test advances."""

    def __init__(self, now: float = 1_000.0) -> None:
        """Start at `now`."""
        self.now = now

    def __call__(self) -> float:
        """Read the clock."""
        return self.now


@dataclass(frozen=True, slots=True)
class FakeMessage:
    """The parts of a Faust message that `inference.record_of` reads."""

    offset: int
    value: bytes | None = b'{"title":"a"}'
    key: bytes | None = None
    topic: str = "content"
    partition: int = 0
    timestamp: float | None = 1_700_000_000.123
    headers: Sequence[tuple[str, bytes]] | None = None


@dataclass(frozen=True, slots=True)
class FakeEvent:
    """An event of a Faust stream."""

    message: FakeMessage


class FakeStream:
    """The events of a `FakeEngine`, from a queue that the test fills. Remembers the order of acknowledgements."""

    def __init__(self) -> None:
        """Start without events."""
        self.coming: asyncio.Queue[FakeEvent | None] = asyncio.Queue()
        self.acknowledged: list[int] = []
        self.taken = 0

    def feed(self, *offsets: int) -> None:
        """Deliver events with these offsets."""
        for offset in offsets:
            self.coming.put_nowait(FakeEvent(FakeMessage(offset)))

    def end(self) -> None:
        """End the stream after the events fed so far."""
        self.coming.put_nowait(None)

    async def events(self) -> AsyncIterator[FakeEvent]:
        """Yield the events until `end`."""
        while (event := await self.coming.get()) is not None:
            self.taken += 1
            yield event

    def ack(self, events: Sequence[FakeEvent]) -> None:
        """Note the offsets."""
        self.acknowledged += [event.message.offset for event in events]


class FakeBroker:
    """The broker of a `FakeEngine`: takes every publication at once and confirms it at once or when the test says so."""

    def __init__(self, *, confirms: bool = True) -> None:
        """With `confirms` every record is confirmed as it is taken; otherwise the test calls `confirm`."""
        self.confirms = confirms
        self.sent: list[int] = []
        self.pending: dict[int, asyncio.Future[None]] = {}

    async def send(self, publication: Publication) -> asyncio.Future[None]:
        """Queue one record, then give its confirmation."""
        await asyncio.sleep(0)
        offset = offset_of(publication)
        self.sent.append(offset)
        confirmation = self.pending[offset] = asyncio.get_running_loop().create_future()
        if self.confirms:
            confirmation.set_result(None)
        return confirmation

    def confirm(self, *offsets: int) -> None:
        """Confirm these offsets."""
        for offset in offsets:
            self.pending[offset].set_result(None)


Transact = Callable[[Sequence[Any], Sequence[Publication]], Awaitable[list[Publication]]]
"""`Engine.transact`."""


class FakeEngine:
    """Implements `Engine` for one delivery: the test feeds its stream, confirms by its broker, and commits transactions by a function."""

    def __init__(
        self, stream: FakeStream | None = None, broker: FakeBroker | None = None, transact: Transact | None = None
    ) -> None:
        """Join the parts; without `transact` the engine does not transact."""
        self.stream, self.broker = stream or FakeStream(), broker or FakeBroker()
        self.transacts = transact is not None
        self.memory = GroupMemory()
        self._transact = transact
        self._holder: Holder | None = None

    def subscribe(self, name: str, topics: Sequence[str], run: Callable[[AsyncIterator[Any]], Awaitable[None]]) -> None:
        """Keep the function that takes the events."""
        self.name, self.topics, self.run = name, topics, run

    def held_by(self, holder: Holder) -> None:
        """Keep the holder."""
        self._holder = holder

    def ack(self, events: Sequence[Any]) -> None:
        """By the stream."""
        self.stream.ack(events)

    async def commit(self) -> None:
        """Nothing is kept that could be committed."""

    async def send(self, publication: Publication) -> Awaitable[Any]:
        """By the broker."""
        return await self.broker.send(publication)

    async def transact(self, sources: Sequence[Any], publications: Sequence[Publication]) -> list[Publication]:
        """By the function."""
        assert self._transact is not None
        return await self._transact(sources, publications)

    def sender(self, topic: str) -> Say:
        """No topic is there."""
        raise KeyError(topic)

    def member(self) -> str:
        """It is in no group."""
        return ""


class Died(BaseException):
    """Raised where the real worker would end its process; no `Exception`, so that no handler catches it by accident."""


@dataclass
class Death:
    """Implements `fail`: keeps the error that ended the process."""

    causes: list[BaseException] = field(default_factory=list)

    def __call__(self, error: BaseException) -> NoReturn:
        """End this task."""
        self.causes.append(error)
        raise Died


class Gate:
    """Implements `decide`: a batch whose first offset is held waits in its thread until the test opens it."""

    def __init__(self, decide: Callable[[Sequence[Record]], list[Publication]], *held: int) -> None:
        """`held` are the first offsets of the batches that wait."""
        self._decide = decide
        self._gates = {offset: threading.Event() for offset in held}
        self.batches: list[list[int]] = []

    def __call__(self, events: Sequence[Record]) -> list[Publication]:
        """Wait if the batch is held, then decide."""
        offsets = [event.offset for event in events]
        self.batches.append(offsets)
        gate = self._gates.get(offsets[0])
        if gate is not None and not gate.wait(timeout=300):
            raise AssertionError(offsets)
        return self._decide(events)

    def open(self, *offsets: int) -> None:
        """Release these batches, or all of them."""
        for offset in offsets or tuple(self._gates):
            self._gates[offset].set()


def offset_of(publication: Publication) -> int:
    """The offset that `decided` wrote into a publication."""
    assert publication.key is not None
    return int(publication.key)


def raw(value: bytes | None, *, key: bytes | None = None, headers: Any = (), offset: int = 7) -> Record:
    """A record on `content`."""
    return Record(
        topic="content",
        partition=3,
        offset=offset,
        timestamp_ms=1_700_000_000_000,
        key=key,
        value=value,
        headers=tuple(headers),
    )
