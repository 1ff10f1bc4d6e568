"""Streams for the drift bench: real decisions of the default bundle on the authored corpus, resampled, and six ways to shift them.

The bundle is asked once for every text; a stream is then a seeded draw of whole decisions, so that confidence, energy, words and
length stay together as they are in life. The rows are those that the model was not trained on.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle, read
from tagstream.model_export.bundle.model import OnnxClassifier, Prediction, predict
from tagstream.model_export.bundle.text import compose, is_described, signals_of
from tagstream.model_export.data.corpus import CORPUS, NOT_ML, CorpusLine
from tagstream.model_export.data.splits import part_of_topic
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.decide.from_settings import decider_of_bundle

SHIFTS = ("class mix", "new topic", "another language", "empty descriptions", "confidence decay", "new producer")
SOURCES = {"papers": 0.3, "repositories": 0.2, "forum": 0.2, "blogs": 0.15, "announcements": 0.08, "courses": 0.05}
SILENT = 0.02  # the share of events without a source
NEW_SOURCE = "press-releases"
PLANTED = ("quantabyte", "lorvane", "zephyrnet")
LANGUAGES = frozenset({"german", "spanish"})
# The share of events that each shift replaces.
REPLACED = {
    "class mix": 0.35,
    "new topic": 0.15,
    "another language": 0.2,
    "empty descriptions": 0.6,
    "confidence decay": 1.0,
    "new producer": 0.1,
}
HELD_OUT_TOPICS = 6
# Logits lose a third of their size and gain noise, as with a model that no longer fits its input.
DECAY, NOISE = 0.65, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Decisions to draw from: of ordinary events, and of those that each shift puts in their place."""

    ordinary: tuple[Observation, ...]
    shifted: dict[str, tuple[Observation, ...]]
    planted: tuple[str, ...]
    bundle: Bundle
    # A row as it looks from each source: drawn a million times, made once.
    sent: dict[tuple[int, str | None], Observation] = field(default_factory=dict, repr=False)

    def send(self, seen: Observation, source: str | None) -> Observation:
        """The same decision on an event from this source; `seen` is one of the pool's own."""
        key = (id(seen), source)
        found = self.sent.get(key)
        if found is None:
            assert seen.signals is not None
            found = self.sent[key] = msgspec.structs.replace(seen, signals=msgspec.structs.replace(seen.signals, source=source))
        return found


@dataclass(frozen=True, slots=True)
class Text:
    """An event's text, and the subject that its id names."""

    title: str
    description: str | None
    topic: str

    @property
    def composed(self) -> str:
        """The text as the model reads it."""
        return compose(self.title, self.description)


def pool(bundle: Bundle | None = None, *, most: int | None = None) -> Pool:
    """Ask the bundle once for every text; `most` bounds the ordinary rows, for a quick look."""
    bundle = bundle or read(DEFAULT_BUNDLE)
    rows = [row for row in _rows("*.jsonl") if row.tag != NOT_ML and part_of_topic(row.topic) in {"calibration", "corpus_test"}]
    topics = sorted({row.topic for row in rows})
    chance = random.Random(5)  # noqa: S311 - a draw that repeats
    held_out = set(chance.sample(topics, min(HELD_OUT_TOPICS, len(topics) // 4)))
    chance.shuffle(rows)
    ordinary = [Text(row.title, row.description or None, row.topic) for row in rows if row.topic not in held_out][:most]
    new_topic = [
        Text(f"{row.title} {' '.join(PLANTED)}", row.description or None, row.topic) for row in rows if row.topic in held_out
    ]
    foreign = [Text(row.title, row.description or None, row.topic) for row in _rows("not-ml.jsonl") if row.topic in LANGUAGES]
    return pool_of(bundle, ordinary=ordinary, new_topic=new_topic, foreign=foreign)


def pool_of(bundle: Bundle, *, ordinary: Sequence[Text], new_topic: Sequence[Text], foreign: Sequence[Text]) -> Pool:
    """A pool of these texts; those of the new topic hold the planted words."""
    classifier = OnnxClassifier(bundle)
    strange = decider_of_bundle(bundle, classifier).ood.is_strange
    chance = random.Random(6)  # noqa: S311 - a draw that repeats
    bare = [Text(text.title, None, text.topic) for text in ordinary]
    predictions = classifier.classify([text.composed for text in ordinary])
    base = _observations(ordinary, predictions, strange)

    def decided(texts: Sequence[Text]) -> tuple[Observation, ...]:
        return _observations(texts, classifier.classify([text.composed for text in texts]), strange)

    return Pool(
        ordinary=base,
        shifted={
            "class mix": tuple(seen for seen in base if seen.label == "computer-vision"),
            "new topic": decided(new_topic),
            "another language": decided(foreign),
            "empty descriptions": decided(bare),
            "confidence decay": _observations(
                ordinary, [decayed(found, bundle.manifest.temperature, chance) for found in predictions], strange
            ),
            "new producer": base,
        },
        planted=PLANTED,
        bundle=bundle,
    )


class Stream:
    """An endless seeded stream: ordinary, until it is told to shift."""

    def __init__(self, pool: Pool, seed: int) -> None:
        """Two streams of one seed are the same."""
        self._pool = pool
        self._chance = random.Random(seed)  # noqa: S311 - it must repeat
        self._names: list[str | None] = [*SOURCES, None]
        self._weights = [*SOURCES.values(), SILENT]

    def ordinary(self, events: int) -> Iterator[Observation]:
        """So many ordinary decisions."""
        return (self._pool.send(seen, source) for seen, source in self._drawn(events))

    def shifted(self, shift: str, events: int) -> Iterator[Observation]:
        """So many decisions of which the share `REPLACED` is another's."""
        chance, share, others = self._chance, REPLACED[shift], self._pool.shifted[shift]
        for seen, source in self._drawn(events):
            if chance.random() >= share:
                yield self._pool.send(seen, source)
            elif shift == "new producer":
                yield self._pool.send(seen, NEW_SOURCE)
            else:
                yield self._pool.send(chance.choice(others), source)

    def _drawn(self, events: int) -> Iterator[tuple[Observation, str | None]]:
        rows = self._chance.choices(self._pool.ordinary, k=events)
        return zip(rows, self._chance.choices(self._names, self._weights, k=events), strict=True)


def _rows(pattern: str) -> list[CorpusLine]:
    return [
        msgspec.json.decode(line, type=CorpusLine)
        for path in sorted(CORPUS.glob(pattern))
        for line in path.read_bytes().splitlines()
    ]


def _observation(text: Text, prediction: Prediction, at: int, *, strange: bool) -> Observation:
    return Observation(
        destination=Destination.TAGGED,
        created_ms=0,
        label=prediction.label,
        confidence=prediction.confidence,
        truncated=prediction.truncated,
        signals=signals_of(
            text.composed,
            event_id=f"{text.topic}-{at}",
            energy=prediction.energy,
            tokens=prediction.tokens,
            described=is_described(text.description),
            source=None,
            out_of_distribution=strange,
        ),
    )


def _observations(
    texts: Sequence[Text], predictions: Sequence[Prediction], strange: Callable[[Prediction], bool]
) -> tuple[Observation, ...]:
    return tuple(
        _observation(text, found, at, strange=strange(found))
        for at, (text, found) in enumerate(zip(texts, predictions, strict=True))
    )


def decayed(prediction: Prediction, temperature: float, chance: random.Random) -> Prediction:
    """The prediction of a model that no longer fits its input."""
    return predict(
        [value * DECAY + chance.gauss(0, NOISE) for value in logits(prediction, temperature)],
        labels=tuple(prediction.probabilities),
        temperature=temperature,
        tokens=prediction.tokens,
        truncated=prediction.truncated,
    )


def logits(prediction: Prediction, temperature: float) -> list[float]:
    """The logits behind a prediction, to the precision of its rounded probabilities: the energy gives their level."""
    scaled = [temperature * math.log(max(probability, 5e-5)) for probability in prediction.probabilities.values()]
    top = max(scaled)
    level = -prediction.energy - top - math.log(math.fsum(math.exp(value - top) for value in scaled))
    return [value + level for value in scaled]
