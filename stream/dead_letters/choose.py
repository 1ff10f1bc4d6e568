"""Reads the dead letters of a selection from their topic, in the order of partition and offset."""

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from monitoring.vocabulary import Reason, Stage
from stream.contract.dead_letter import DeadLetter, Place, read
from stream.contract.record import Record
from stream.dead_letters.selection import Selection, UsageError
from stream.kafka import admin
from stream.kafka.reading.log import Log, log_of
from stream.settings.settings import Settings


class NoSuchLetterError(Exception):
    """There is no record at a place: the message says why."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The record at a place and the dead letter in it; where one of them is missing, `why` says why."""

    place: Place
    letter: DeadLetter | None
    record: Record | None = field(default=None, repr=False)
    why: str = ""


def check_filters(*, code: str | None, stage: str | None) -> None:
    """
    Refuse a code or a stage that this version does not write: a misspelt one would match no dead letter, and look like good news.

    Raises:
        UsageError: It is not in the closed list; the message has the list, and how to find the codes of another version.
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
    raise UsageError(msg)


def select(settings: Settings, selection: Selection) -> Iterator[Found]:
    """
    What the topic holds now of a selection, by partition and offset.

    Records that are no dead letters are given too, without a letter, and a named place without a record is given without both.

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


def at(settings: Settings, place: Place) -> Found:
    """
    The record at one place.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        TopicsMissingError: The dead letters' topic does not exist.
        NoSuchLetterError: There is no record at this place.
    """
    (found,) = select(settings, Selection(places=(place,)))
    if found.record is None:
        msg = f"{settings.topics.dlq} {place}: {found.why}. Next: `tagstream dlq list` shows what is there."
        raise NoSuchLetterError(msg)
    return found


def _all(log: Log, selection: Selection) -> Iterator[Found]:
    ends = log.ends()
    first = dict.fromkeys(ends, 0) if selection.since_ms is None else log.offsets_since(selection.since_ms)
    if selection.partition is not None:
        first = {number: offset for number, offset in first.items() if number == selection.partition}
    yield from map(_found, log.read(first, ends))


def _named(log: Log, places: tuple[Place, ...]) -> Iterator[Found]:
    starts, ends = log.starts(), log.ends()
    for place in sorted(set(places)):
        if place.partition not in ends:
            yield Found(place=place, letter=None, why=f"the topic has no partition {place.partition}")
        elif place.offset >= ends[place.partition]:
            yield Found(place=place, letter=None, why=f"the partition ends at {ends[place.partition]}")
        elif place.offset < starts[place.partition]:
            yield Found(
                place=place,
                letter=None,
                why=f"retention has deleted it: the partition begins at {starts[place.partition]}",
            )
        else:
            records = log.read({place.partition: place.offset}, {place.partition: place.offset + 1})
            record = next(records, None)
            yield Found(place=place, letter=None, why="there is no record") if record is None else _found(record)


def _found(record: Record) -> Found:
    place = Place(partition=record.partition, offset=record.offset)
    letter = read(record)
    why = "" if letter is not None else "it does not have the headers of a dead letter of tagstream"
    return Found(place=place, letter=letter, record=record, why=why)
