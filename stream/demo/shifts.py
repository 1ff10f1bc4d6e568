"""Five kinds of drift, applied to the sample events. Pure, except that the corpus is read.

A shift that replaces samples replaces every second one, so that the stream stays a mixture, as in real streams.
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tagstream.model_export.data.corpus import NOT_ML, CorpusLine
from tagstream.stream.demo import samples
from tagstream.stream.demo.samples import SampleRecord

Event = dict[str, str]

EVERYDAY = frozenset(
    {"cooking", "gardening", "travel", "football-and-sports", "home-repair-and-cars", "weather-and-timetables"}
)
LANGUAGES = frozenset({"german", "french", "spanish", "portuguese", "turkish"})
WORDS_LEFT = 2


class Shift(StrEnum):
    """The part of the stream that drifts."""

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
"""A description of each shift for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How the stream drifts, and after how many seconds the drift begins."""

    shift: Shift = Shift.LANGUAGE
    after_seconds: float = 75.0

    def mixed(
        self, events: Sequence[Event], malformed: Sequence[SampleRecord], *, rate: float, run: str = ""
    ) -> Iterator[SampleRecord]:
        """
        Yield samples without end: first ordinary samples, then samples that drift, which have ids of their own.

        Args:
            events: The sample events.
            malformed: Malformed samples to mix in; may be empty.
            rate: The number of events a second.
            run: Added to every id, for runs that share a broker.
        """
        ordinary = round(self.after_seconds * rate)
        yield from itertools.islice(samples.mix(events, malformed, run=run), ordinary)
        # After ordinary samples, the same events appear again, so their ids must differ.
        later = "-".join(part for part in (run, "later") if part) if ordinary else run
        yield from samples.mix(shifted(events, self.shift), malformed, run=later)


def shifted(events: Sequence[Event], shift: Shift) -> list[Event]:
    """Return the events in the same order, with the same ids and sources and with changed texts."""
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
    """Cut titles and descriptions after two words, so that the model is unsure."""
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
    return [row for row in samples.corpus_lines(f"{name}.jsonl") if not topics or row.topic in topics]


_SHIFTS: dict[Shift, Callable[[Sequence[Event]], list[Event]]] = {
    Shift.NONE: list,
    Shift.CLASS_MIX: _class_mix,
    Shift.NEW_TOPIC: _new_topic,
    Shift.LANGUAGE: _language,
    Shift.NO_DESCRIPTION: _no_description,
    Shift.CONFIDENCE: _confidence,
}
