"""Five ways in which a stream drifts, done to the sample events. Pure but for reading the corpus.

A shift that replaces samples replaces every second one, so that the stream stays a mixture, as in life.
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum

import msgspec

from model_export.data.corpus import CORPUS, NOT_ML, CorpusLine

Event = dict[str, str]

EVERYDAY = frozenset(
    {"cooking", "gardening", "travel", "football-and-sports", "home-repair-and-cars", "weather-and-timetables"}
)
LANGUAGES = frozenset({"german", "french", "spanish", "portuguese", "turkish"})
WORDS_LEFT = 2


class Shift(StrEnum):
    """What moves."""

    NONE = "none"
    CLASS_MIX = "class-mix"
    NEW_TOPIC = "new-topic"
    LANGUAGE = "language"
    NO_DESCRIPTION = "no-description"
    CONFIDENCE = "confidence"


ABOUT = {
    Shift.NONE: "nothing moves",
    Shift.CLASS_MIX: "half of the events are about computer vision",
    Shift.NEW_TOPIC: "half of the events are about everyday life",
    Shift.LANGUAGE: "half of the events are in other languages",
    Shift.NO_DESCRIPTION: "all events are titles alone",
    Shift.CONFIDENCE: "all texts break off after two words",
}
"""What a reader of the events sees."""


def shifted(events: Sequence[Event], shift: Shift) -> list[Event]:
    """The same events in the same order under the same ids and sources, with other texts."""
    return _SHIFTS[shift](events)


def _class_mix(events: Sequence[Event]) -> list[Event]:
    return _every_second(events, _corpus("computer-vision"))


def _new_topic(events: Sequence[Event]) -> list[Event]:
    return _every_second(events, _corpus(NOT_ML, topics=EVERYDAY))


def _language(events: Sequence[Event]) -> list[Event]:
    return _every_second(events, _corpus(NOT_ML, topics=LANGUAGES))


def _no_description(events: Sequence[Event]) -> list[Event]:
    return [{name: value for name, value in event.items() if name != "description"} for event in events]


def _confidence(events: Sequence[Event]) -> list[Event]:
    """Titles and descriptions that break off after two words: too little to be sure of."""
    cut = ("title", "description")
    return [{name: _first_words(value) if name in cut else value for name, value in event.items()} for event in events]


def _first_words(text: str) -> str:
    return " ".join(text.split()[:WORDS_LEFT])


def _every_second(events: Sequence[Event], lines: Sequence[CorpusLine]) -> list[Event]:
    turns = itertools.cycle(lines)
    return [_replaced(event, next(turns)) if at % 2 else event for at, event in enumerate(events)]


def _replaced(event: Event, line: CorpusLine) -> Event:
    kept = {name: value for name, value in event.items() if name != "description"}
    return {**kept, "title": line.title, **({"description": line.description} if line.description else {})}


def _corpus(name: str, topics: Collection[str] = ()) -> list[CorpusLine]:
    rows = (msgspec.json.decode(line, type=CorpusLine) for line in (CORPUS / f"{name}.jsonl").read_bytes().splitlines())
    return [row for row in rows if not topics or row.topic in topics]


_SHIFTS: dict[Shift, Callable[[Sequence[Event]], list[Event]]] = {
    Shift.NONE: list,
    Shift.CLASS_MIX: _class_mix,
    Shift.NEW_TOPIC: _new_topic,
    Shift.LANGUAGE: _language,
    Shift.NO_DESCRIPTION: _no_description,
    Shift.CONFIDENCE: _confidence,
}
