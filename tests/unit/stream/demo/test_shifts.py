"""The samples that drift: the effect of each shift, and the fields that it keeps."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import msgspec
import pytest

from tagstream.stream.cli import options
from tagstream.stream.demo import samples
from tagstream.stream.demo.producer import produce
from tagstream.stream.demo.shifts import EVERYDAY, LANGUAGES, WORDS_LEFT, Drift, Shift, shifted
from tagstream.stream.settings.settings import Settings

EVENTS = samples.load_events()
REPLACING = (Shift.CLASS_MIX, Shift.NEW_TOPIC, Shift.LANGUAGE)


@pytest.mark.parametrize("shift", Shift)
def test_a_shift_changes_texts_and_nothing_else(shift: Shift) -> None:
    """Ids, sources and dates stay, so that one thing moves at a time."""
    kept = [{name: value for name, value in event.items() if name not in {"title", "description"}} for event in EVENTS]
    moved = shifted(EVENTS, shift)
    assert [{name: value for name, value in event.items() if name not in {"title", "description"}} for event in moved] == kept
    assert all(event["title"] for event in moved)


def test_no_shift_is_no_change() -> None:
    """The shift `none` leaves the demo's events as they are."""
    assert shifted(EVENTS, Shift.NONE) == EVENTS


@pytest.mark.parametrize("shift", REPLACING)
def test_every_second_event_is_replaced(shift: Shift) -> None:
    """A shift that replaces events keeps every other one."""
    changed = [before != after for before, after in zip(EVENTS, shifted(EVENTS, shift), strict=True)]
    assert changed == [bool(at % 2) for at in range(len(EVENTS))]


@pytest.mark.parametrize(("shift", "word"), [(Shift.LANGUAGE, "und"), (Shift.LANGUAGE, "de"), (Shift.NEW_TOPIC, "sunday")])
def test_the_new_texts_bring_new_words(shift: Shift, word: str) -> None:
    """The subjects and languages are still in the corpus under their names."""
    texts = [f"{event['title']} {event.get('description', '')}".lower() for event in shifted(EVENTS, shift)]
    before = [f"{event['title']} {event.get('description', '')}".lower() for event in EVENTS]
    assert sum(word in text.split() for text in texts) > 2 + sum(word in text.split() for text in before)


def test_without_descriptions_only_titles_are_left() -> None:
    """The shift `no-description` removes the field."""
    assert not any("description" in event for event in shifted(EVENTS, Shift.NO_DESCRIPTION))


def test_for_confidence_texts_break_off() -> None:
    """The shift `confidence` leaves two words of each text."""
    for event in shifted(EVENTS, Shift.CONFIDENCE):
        assert all(len(event[name].split()) <= WORDS_LEFT for name in ("title", "description") if name in event)


def test_the_command_line_knows_every_shift() -> None:
    """The options' own list, which keeps `--help` fast, has every shift."""
    assert set(get_args(get_args(options.DriftKind)[0])) == set(Shift)


def test_subjects_and_languages_do_not_overlap() -> None:
    """Each shift has one cause."""
    assert not EVERYDAY & LANGUAGES


class Recorder:
    """A sender that keeps its events, and signals the process after so many."""

    def __init__(self, enough: int) -> None:
        self.values: list[bytes] = []
        self.acknowledged = 0
        self._enough = enough

    def send(self, topic: str, *, key: bytes, value: bytes) -> None:
        """Keep it."""
        assert topic == "content"
        assert msgspec.json.decode(value)["id"].encode() == key
        self.values.append(value)
        if len(self.values) == self._enough:
            os.kill(os.getpid(), signal.SIGTERM)

    def flush(self) -> None:
        """Confirm everything."""
        self.acknowledged = len(self.values)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """In the place of a Kafka producer; ends after 60 events."""
    kept = Recorder(60)

    @contextmanager
    def sender(_: Settings) -> Iterator[Recorder]:
        yield kept

    monkeypatch.setattr("tagstream.stream.kafka.producer.sender", sender)
    return kept


def test_the_producer_drifts_from_the_given_second_on(recorder: Recorder) -> None:
    """Healthy events come first, then drifted ones; every id is new."""
    produce(
        Settings(),
        topic="content",
        rate=1000.0,
        drift=Drift(shift=Shift.NO_DESCRIPTION, after_seconds=0.03),
        say=lambda _: None,
    )
    events = [msgspec.json.decode(value) for value in recorder.values]
    assert any("description" in event for event in events[:30])
    assert not any("description" in event for event in events[30:])
    assert len({event["id"] for event in events}) == len(events)


def test_the_producer_ends_in_order_when_it_is_asked(recorder: Recorder) -> None:
    """A signal stops it between two events, and every sent event is confirmed."""
    said: list[str] = []
    sent = produce(
        Settings(), topic="content", rate=1000.0, drift=Drift(shift=Shift.LANGUAGE, after_seconds=0.0), say=said.append
    )
    assert sent == len(recorder.values) == 60
    assert said == ["sending 1000 sample events a second to content; they drift (language)"]
