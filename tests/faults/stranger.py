"""The records of a stranger who may write to every topic: they are meant to end, to bloat or to fool whoever reads them. Pure.

Each carries a header of the stranger's, which outcomes keep. Whether a worker takes an answer of such a record for one depends on the
worker's settings; it takes it, or refuses it, and never both.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tagstream.stream.contract.published import PublishedDecision
from tagstream.stream.settings.settings import Settings
from tests.faults.answers.planned import ScriptedReviewer, decisions, written
from tests.faults.inputs import STRANGER, Planted, plant
from tests.replacing import replace

MANY_LABELS = 30_000
LARGE = 850_000
NEAR_BYTES = 300_000
FAR = "9999-12-31T23:59:59.999Z"
# Ids of ghosts and of near-duplicates meet no event's.
FIRST = 10**9
Object = dict[str, Any]
Spoiling = Callable[[Object, int], Object]


def _as_it_is(value: Object, _: int) -> Object:
    return value


def _least_probability(decision: Object, _: int) -> Object:
    return decision | {"inclusion_probability": 5e-324}


def _many_labels(decision: Object, _: int) -> Object:
    return decision | {"probabilities": decision["probabilities"] | {f"label {n}": 0.0 for n in range(MANY_LABELS)}}


def _other_label(decision: Object, _: int) -> Object:
    return decision | {"probabilities": decision["probabilities"] | {"pwned": 1.0}}


def _far_time(decision: Object, _: int) -> Object:
    return decision | {"tagged_at": FAR}


def _wrong_types(decision: Object, number: int) -> Object:
    return (
        decision
        | ({"confidence": "high"}, {"probabilities": []}, {"model": 7}, {"tagged_at": number}, {"inclusion_probability": 2})[
            number % 5
        ]
    )


def _deep(decision: Object, _: int) -> Object:
    nested: Any = 0
    for _ in range(500):
        nested = [nested]
    return decision | {"model": nested}


# Each spoils what a decision says; `before` of an answer is such a part too.
OF_DECISIONS: tuple[Spoiling, ...] = (
    _as_it_is,
    _least_probability,
    _many_labels,
    _other_label,
    _far_time,
    _wrong_types,
    _deep,
)
OF_ANSWERS: tuple[Spoiling, ...] = (
    *(lambda value, number, spoil=spoil: value | {"before": spoil(value["before"], number)} for spoil in OF_DECISIONS),  # type: ignore[misc]
    lambda value, number: value | {"before": _other_label(value["before"], number), "tag": "pwned"},
    lambda value, number: value | {"before": _least_probability(value["before"], number), "asked_by": "audit"},
    lambda value, _: value | {"note": "n" * LARGE},
    lambda value, _: value | {"decided_at": FAR},
    lambda value, number: value | ({"version": "1"}, {"reviewer": []}, {"tag": None}, {"blind": 0}, {"before": []})[number % 5],
)
OF_REPORTS: tuple[Spoiling, ...] = (
    _as_it_is,
    lambda value, _: value | {"note": "n" * LARGE},
    lambda value, _: value | {"suggested_tag": "pwned"},
    lambda value, _: value | {"reported_at": FAR},
    lambda value, number: value | ({"event_id": 7}, {"note": {}}, {"reporter": ""}, {"reported_at": None})[number % 4],
)


class Stranger:
    """Writes about events that nobody has sent; the seed fixes every choice."""

    def __init__(self, settings: Settings, seed: str) -> None:
        """Settings are those of the workers whose decisions the stranger imitates."""
        self._seed = seed
        self._reviewer = ScriptedReviewer(f"stranger:{seed}")
        self._ghosts = self._imitated(settings)
        self._numbers = itertools.count()

    def _imitated(self, settings: Settings) -> Iterator[PublishedDecision]:
        for first in itertools.count(FIRST, 100):
            yield from decisions(plant(100, malformed=0, seed=self._seed, first=first), settings)

    def answers(self, count: int) -> list[Planted]:
        """Records for `reviewed`, one of each kind in turn."""
        made = []
        for spoil in itertools.islice(itertools.cycle(OF_ANSWERS), count):
            ghost = next(self._ghosts)
            made.append(
                self._planted(ghost, spoil(json.loads(written(ghost, self._reviewer.answer(ghost))), next(self._numbers)))
            )
        return made

    def correction(self, value: bytes) -> bytes:
        """Another person's answer, with the greatest version: no correction can follow it."""
        answer = json.loads(value)
        return json.dumps(
            answer | {"version": 1_000_000, "tag": "off_subject", "reviewer": "stranger", "supersedes": answer["prediction_id"]}
        ).encode()

    def audits(self, count: int) -> list[Planted]:
        """Records for `audit`: copies of decisions that nobody has made."""
        made = []
        for spoil in itertools.islice(itertools.cycle(OF_DECISIONS), count):
            ghost = next(self._ghosts)
            copy = json.loads(ghost.event.record.value or b"") | {"inclusion_probability": 0.02}
            copy.pop("reasons", None)
            made.append(self._planted(ghost, spoil(copy, next(self._numbers))))
        return made

    def reports(self, count: int, about: Sequence[str]) -> list[Planted]:
        """Records for `reports`, about these events and about ghosts."""
        made = []
        for number, spoil in enumerate(itertools.islice(itertools.cycle(OF_REPORTS), count)):
            ghost = next(self._ghosts)
            event_id = about[number % len(about)] if about and number % 2 else ghost.event.id
            value = {"event_id": event_id, "note": "It is wrong.", "reported_at": "2026-11-28T12:00:00.000Z"}
            made.append(replace(self._planted(ghost, spoil(value, number)), event_id=event_id))
        return made

    def events(self, count: int) -> list[Planted]:
        """Events for `content` whose long texts are nearly alike."""
        chance = random.Random(f"near:{self._seed}")  # noqa: S311 - repeatable, not secret
        text = " ".join(f"word{chance.randrange(10_000)}" for _ in range(200))
        made = []
        for _ in range(count):
            event_id = f"near-{FIRST + next(self._numbers)}"
            body = f"{event_id} {text * (NEAR_BYTES // len(text))}"
            value = json.dumps({"id": event_id, "title": "A text that comes again", "description": body}).encode()
            made.append(Planted(event_id=event_id, key=event_id.encode(), value=value, headers=(STRANGER,)))
        return made

    def _planted(self, ghost: PublishedDecision, value: Object) -> Planted:
        return Planted(
            event_id=ghost.event.id, key=ghost.event.id.encode(), value=json.dumps(value).encode(), headers=(STRANGER,)
        )


def mingled(planted: Sequence[Planted], of_stranger: Sequence[Planted], seed: str) -> list[Planted]:
    """The stranger's records among the others, whose order stays."""
    chance = random.Random(f"mingled:{seed}")  # noqa: S311 - repeatable, not secret
    places = sorted(chance.randrange(len(planted) + 1) for _ in of_stranger)
    made: list[Planted] = []
    start = 0
    for place, one in zip(places, of_stranger, strict=True):
        made += [*planted[start:place], one]
        start = place
    return [*made, *planted[start:]]
