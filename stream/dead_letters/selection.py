"""The dead letters that a command selects: parses its arguments, builds a filter, and reads the selected records from the topic."""

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract.dead_letter import DeadLetter, Place, read
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.reading.log import Log, log_of
from tagstream.stream.settings.settings import Settings

_PLACE = re.compile(r"(\d{1,9})/(\d{1,18})", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class DeadLetterArgumentError(Exception):
    """An argument cannot be used: the message names the argument, the reason, and a correct form."""

    exit_code = 2


class NoSuchLetterError(Exception):
    """A place has no record: the message says why."""

    exit_code = 1


def place(text: str) -> Place:
    """
    Parse PARTITION/OFFSET.

    Raises:
        DeadLetterArgumentError: The text has another form.

    >>> place("3/42")
    Place(partition=3, offset=42)
    """
    found = _PLACE.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is not the place of a dead letter. Next: write PARTITION/OFFSET as `tagstream dlq list` prints it, such as 3/42."
        raise DeadLetterArgumentError(msg)
    return Place(partition=int(found[1]), offset=int(found[2]))


def since_ms(text: str, now_ms: int) -> int:
    """
    Parse a duration before `now_ms` (`90s`, `15m`, `2h`, `7d`) or an RFC 3339 time, and return the moment in Unix milliseconds.

    Raises:
        DeadLetterArgumentError: The text is neither a duration nor a time.

    >>> since_ms("2h", 10_000_000), since_ms("1970-01-01T00:00:01Z", 0)
    (2800000, 1000)
    """
    duration = _DURATION.fullmatch(text.strip())
    try:
        if duration is not None:
            before = timedelta(**{_UNITS[duration[2]]: int(duration[1])})
            return max(0, now_ms - int(before.total_seconds() * 1000))
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        moment = None
    # A time without a UTC offset is refused, because its moment depends on the time zone.
    if moment is None or moment.tzinfo is None:
        msg = f"{text!r} is neither a duration nor a time. Next: write 90s, 15m, 2h or 7d, or an RFC 3339 time such as 2026-03-01T03:00:00Z."
        raise DeadLetterArgumentError(msg)
    return max(0, int(moment.timestamp() * 1000))


def check_filters(*, code: str | None, stage: str | None) -> None:
    """
    Refuse a code or a stage that this version does not write. A misspelt code would match no dead letter, and the empty list would look
    like good news.

    Raises:
        DeadLetterArgumentError: The code or stage is not in the closed list. The message has the list, and says how to find the codes of
            another version.
    """
    _check("code", code, [reason.value for reason in Reason])
    _check("stage", stage, [known.value for known in Stage])


def _check(field_name: str, given: str | None, known: Collection[str]) -> None:
    if given is None or given in known:
        return
    near = difflib.get_close_matches(given, known, n=1)
    msg = (
        f"{given!r} is not a {field_name} of a dead letter{f'; the nearest one is {near[0]}' if near else ''}. Next: write one of "
        f"{', '.join(known)}. (Another version may have written others: `tagstream dlq list --count` shows "
        f"every {field_name} in the topic, and `tagstream dlq replay` takes places.)"
    )
    raise DeadLetterArgumentError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    A filter of dead letters. A field that is None or empty does not filter.

    Attributes:
        code: Select dead letters with this code.
        stage: Select dead letters of this stage.
        since_ms: Select dead letters written at or after this moment, Unix milliseconds.
        partition: Select dead letters in this partition of their topic.
        most: Select at most this number of dead letters, the first by partition and offset.
        places: Select the dead letters at these places.
    """

    code: str | None = None
    stage: str | None = None
    since_ms: int | None = None
    partition: int | None = None
    most: int | None = None
    places: tuple[Place, ...] = ()

    def takes(self, letter: DeadLetter) -> bool:
        """Return True if the filter selects this dead letter. The caller applies `most`."""
        return (
            (self.code is None or letter.code == self.code)
            and (self.stage is None or letter.stage == self.stage)
            and (self.since_ms is None or letter.timestamp_ms >= self.since_ms)
            and (self.partition is None or letter.place.partition == self.partition)
            and (not self.places or letter.place in self.places)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRecord:
    """The record at a place, and the dead letter in that record. If the record or the letter is missing, `why` says why."""

    place: Place
    letter: DeadLetter | None
    record: Record | None = field(default=None, repr=False)
    why: str = ""


def select(settings: Settings, selection: Selection) -> Iterator[FoundRecord]:
    """
    Yield the selected dead letters that the topic holds now, by partition and offset.

    A record that is not a dead letter is yielded too, with `letter` None. A named place without a record is yielded with both None.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        TopicsMissingError: The dead letters' topic does not exist.
    """
    name = settings.topics.dlq
    admin.require(settings, {"dlq": name})
    with log_of(settings, name) as log:
        found = _named(log, selection.places) if selection.places else _all(log, selection)
        taken = 0
        for one in found:
            if one.letter is not None and not selection.takes(one.letter):
                continue
            yield one
            taken += one.letter is not None
            if selection.most is not None and taken >= selection.most:
                return


def at(settings: Settings, place: Place) -> FoundRecord:
    """
    Return the record at one place.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        TopicsMissingError: The dead letters' topic does not exist.
        NoSuchLetterError: The place has no record.
    """
    (found,) = select(settings, Selection(places=(place,)))
    if found.record is None:
        msg = f"{settings.topics.dlq} {place}: {found.why}. Next: `tagstream dlq list` shows what is there."
        raise NoSuchLetterError(msg)
    return found


def _all(log: Log, selection: Selection) -> Iterator[FoundRecord]:
    ends = log.ends()
    first = dict.fromkeys(ends, 0) if selection.since_ms is None else log.offsets_since(selection.since_ms)
    if selection.partition is not None:
        first = {number: offset for number, offset in first.items() if number == selection.partition}
    yield from map(_found, log.read(first, ends))


def _named(log: Log, places: tuple[Place, ...]) -> Iterator[FoundRecord]:
    starts, ends = log.starts(), log.ends()
    for place in sorted(set(places)):
        if place.partition not in ends:
            yield FoundRecord(place=place, letter=None, why=f"the topic has no partition {place.partition}")
        elif place.offset >= ends[place.partition]:
            yield FoundRecord(place=place, letter=None, why=f"the partition ends at {ends[place.partition]}")
        elif place.offset < starts[place.partition]:
            yield FoundRecord(
                place=place,
                letter=None,
                why=f"retention has deleted it: the partition begins at {starts[place.partition]}",
            )
        else:
            records = log.read({place.partition: place.offset}, {place.partition: place.offset + 1})
            record = next(records, None)
            yield FoundRecord(place=place, letter=None, why="there is no record") if record is None else _found(record)


def _found(record: Record) -> FoundRecord:
    place = Place(partition=record.partition, offset=record.offset)
    letter = read(record)
    why = "" if letter is not None else "it does not have the headers of a dead letter of tagstream"
    return FoundRecord(place=place, letter=letter, record=record, why=why)
