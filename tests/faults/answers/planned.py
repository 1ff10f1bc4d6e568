"""Reviewers' answers for a fault run: first ones, corrections, answers out of order or twice, two people at once, and bad ones. Pure."""

import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tagstream.stream.contract.answers import OFF_SUBJECT, Answer, Said, answer_to, write_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tests.faults.inputs import Planted
from tests.faults.worker.stub import stub_decider

BAD_SHARE = 0.02
# Unix milliseconds of the first answer; each is given a second after the one before it.
FIRST_MS = 1_780_000_000_000
# An answer carries its event. Large events are no other case for an answer, and a thousand of them would be a gigabyte.
MOST_BYTES = 20_000
AT_ONCE = 256
REVIEWERS = ("ada", "grace", "Müller")
Case = Callable[[DecidedEvent, "ScriptedReviewer"], list[Answer]]


class ScriptedReviewer:
    """Gives answers, each at its own time; the seed fixes what they say."""

    def __init__(self, seed: str) -> None:
        """Begin at `FIRST_MS`."""
        self._chance = random.Random(f"answers:{seed}")  # noqa: S311 - repeatable, not secret
        self._times = itertools.count(FIRST_MS, 1000)

    def chance(self) -> random.Random:
        """The source of every choice."""
        return self._chance

    def answer(self, shown: DecidedEvent, previous: Answer | None = None, tag: str = "") -> Answer:
        """One person's answer to a decision."""
        labels = (*shown.decision.probabilities, OFF_SUBJECT)
        said = Said(
            tag=tag or self._chance.choice(labels),
            reviewer=self._chance.choice(REVIEWERS),
            blind=self._chance.random() < 0.5,
            asked_by="review",
            note=self._chance.choice((None, "It is said in the title.")),
        )
        return answer_to(shown, said, now_ms=next(self._times), previous=previous)


def _once(shown: DecidedEvent, reviewer: ScriptedReviewer) -> list[Answer]:
    return [reviewer.answer(shown)]


def _corrected(shown: DecidedEvent, reviewer: ScriptedReviewer) -> list[Answer]:
    first = reviewer.answer(shown)
    second = reviewer.answer(shown, first)
    return [first, second, reviewer.answer(shown, second)]


def _out_of_order(shown: DecidedEvent, reviewer: ScriptedReviewer) -> list[Answer]:
    return list(reversed(_corrected(shown, reviewer)))


def _written_twice(shown: DecidedEvent, reviewer: ScriptedReviewer) -> list[Answer]:
    answer = reviewer.answer(shown)
    return [answer, answer]


def _two_people(shown: DecidedEvent, reviewer: ScriptedReviewer) -> list[Answer]:
    return [reviewer.answer(shown, tag="mlops"), reviewer.answer(shown, tag=OFF_SUBJECT)]


CASES: tuple[Case, ...] = (_once, _once, _once, _corrected, _out_of_order, _written_twice, _two_people)

# Each spoils the JSON object of an answer in its own way.
BAD: tuple[Callable[[dict[str, Any]], bytes | None], ...] = (
    lambda _: None,
    lambda _: b"",
    lambda value: json.dumps(value).encode()[:-7],
    lambda value: json.dumps(value | {"tag": "cooking"}).encode(),
    lambda value: json.dumps(value | {"id": "of no event", "event_id": "of no event"}).encode(),
    lambda value: json.dumps(value | {"version": 0}).encode(),
    lambda value: json.dumps({name: content for name, content in value.items() if name != "before"}).encode(),
    lambda value: b"[%b]" % json.dumps(value).encode(),
)


def answers_to(planted: Sequence[Planted], count: int, *, settings: Settings, seed: str) -> list[Planted]:
    """
    `count` records for the topic `reviewed`, in an order that the seed fixes; `event_id` is None for those that are no answers.

    Args:
        planted: The events; answers are given to the decisions of the stub on them, one event after the other.
        count: How many records.
        settings: Of the workers.
        seed: Fixes every choice.

    Raises:
        ValueError: There are too few events.
    """
    reviewer = ScriptedReviewer(seed)
    made = list(itertools.islice(_records(decisions(planted, settings), reviewer), count))
    if len(made) < count:
        msg = f"{len(planted)} events give {len(made)} answers, {count} are wanted"
        raise ValueError(msg)
    return made


def _records(decisions: Iterator[DecidedEvent], reviewer: ScriptedReviewer) -> Iterator[Planted]:
    number = 0
    for shown in decisions:
        for answer in reviewer.chance().choice(CASES)(shown, reviewer):
            value = written(shown, answer)
            if reviewer.chance().random() < BAD_SHARE:
                spoilt = BAD[number % len(BAD)](json.loads(value))
                number += 1
                yield Planted(event_id=None, key=shown.event.record.key, value=spoilt, headers=(("spoilt", b"%d" % number),))
            yield Planted(event_id=shown.event.id, key=shown.event.record.key, value=value, headers=shown.event.record.headers)


def written(shown: DecidedEvent, answer: Answer) -> bytes:
    """The value of the record of `reviewed`."""
    return write_answer(shown.event.fields, answer)


def decisions(planted: Sequence[Planted], settings: Settings) -> Iterator[DecidedEvent]:
    """The stub's decisions on the good events, one for each id, as they lie on their topics."""
    pipeline = pipeline_of(settings, decider=stub_decider())
    seen: set[str] = set()
    for start in range(0, len(planted), AT_ONCE):
        events = [
            one
            for one in planted[start : start + AT_ONCE]
            if one.is_event and one.event_id and len(one.value or b"") < MOST_BYTES
        ]
        records = [
            Record(topic=settings.topics.content, partition=0, offset=0, key=one.key, value=one.value, headers=one.headers)
            for one in events
        ]
        for one, made in zip(events, pipeline.publications(records, clock=lambda: 1_700_000_000.0), strict=True):
            found = read_decision(Record(topic=made.destination.value, key=made.key, value=made.value, headers=made.headers))
            if isinstance(found, DecidedEvent) and one.event_id not in seen:
                seen.add(one.event_id or "")
                yield found
