"""Dead letters as they lie on the topic: reading one back, choosing some, and what a replay of one sends. Pure.

A dead letter is the producer's own headers, then ours (stream/contract/outcomes.py). A producer may send headers of our names, so ours are
the block that begins with the last `__streams.errors.exception`; all before it is the producer's.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from stream.contract.events import CUT_HEADERS
from stream.contract.outcomes import ESCAPED_NAME, REPLAY_COUNT, replay_count
from stream.contract.record import Headers, Record

FIRST_OF_OURS = "__streams.errors.exception"
REPLAYED_FROM = "x-dlq-replayed-from"
MOST_REPLAYS = 3
_PLACE = re.compile(r"(\d{1,9})/(\d{1,18})", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class UsageError(Exception):
    """An argument cannot be read: the message says which, why, and what to write."""

    exit_code = 2


class Refusal(StrEnum):
    """Why a dead letter is not replayed."""

    NOT_OURS = "not_a_dead_letter"
    INCOMPLETE = "incomplete"
    TOO_OFTEN = "too_often"
    NULL_HEADER = "null_header"
    TOO_LARGE = "too_large"
    UNKNOWN = "unknown"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Where a record lies in its topic; written `partition/offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """
    One dead letter, its producer's part as it was on `content`.

    Attributes:
        topic: The dead letters' topic.
        place: Where it lies there.
        timestamp_ms: When it was written there, Unix milliseconds.
        key: The original key; None where there was none.
        value: The original bytes; None for a tombstone, and where `dropped` names them.
        headers: The original headers.
        origin_topic: Where the event was read.
        origin: Its place there; None if the headers do not say.
        code: Why, from a closed list.
        stage: Where in the worker, from a closed list.
        message: What was wrong, without a word of the event.
        attempts: How often the event was tried.
        replays: How often it was replayed before it came here.
        dropped: Which of `value`, `key`, `headers` were too large to be kept.
        sha256: Of the original value, if that was dropped.
        length: Its bytes.
    """

    topic: str
    place: Place
    timestamp_ms: int
    # Never in a repr, as in `Record`.
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)
    origin_topic: str
    origin: Place | None
    code: str
    stage: str
    message: str
    attempts: int
    replays: int
    dropped: tuple[str, ...] = ()
    sha256: str | None = None
    length: int | None = None

    @property
    def identity(self) -> str:
        """Names it for good: should the topic be made anew, another record at this place has another time."""
        return f"{self.topic}/{self.place}@{self.timestamp_ms}"

    @property
    def size_bytes(self) -> int:
        """Bytes of the original value."""
        return len(self.value or b"") if self.length is None else self.length


def read(record: Record) -> DeadLetter | None:
    """
    The dead letter in a record; None if the record is none of ours.

    >>> ours = ((FIRST_OF_OURS, b"tagstream.EMPTY"), ("x-dlq-code", b"empty"), ("x-dlq-stage", b"decode"))
    >>> read(Record(topic="d", key=None, value=b"", headers=(("x", b"1"), *ours))).headers
    (('x', b'1'),)
    >>> read(Record(topic="d", key=None, value=b"")) is None
    True
    """
    starts = [number for number, (name, _) in enumerate(record.headers) if name == FIRST_OF_OURS]
    if not starts:
        return None
    headers = record.headers[: starts[-1]]
    ours = {name: (content or b"").decode("utf-8", errors="replace") for name, content in record.headers[starts[-1] :]}
    if "x-dlq-code" not in ours or "x-dlq-stage" not in ours:
        return None
    return DeadLetter(
        topic=record.topic,
        place=Place(partition=record.partition, offset=record.offset),
        timestamp_ms=record.timestamp_ms,
        key=None if "x-dlq-null-key" in ours else record.key,
        value=record.value,
        headers=headers,
        origin_topic=ours.get("__streams.errors.topic", ""),
        origin=_origin(ours),
        code=ours["x-dlq-code"],
        stage=ours["x-dlq-stage"],
        message=ours.get("__streams.errors.message", ""),
        attempts=_number(ours.get("x-dlq-attempts")) or 1,
        replays=replay_count(headers),
        dropped=_dropped(headers, ours),
        sha256=ours.get("x-dlq-sha256"),
        length=_number(ours.get("x-dlq-length")),
    )


def _dropped(headers: Headers, ours: Mapping[str, str]) -> tuple[str, ...]:
    """What is not here as it was: too large for the topic, cut while it was read, or the name of a header that is not UTF-8."""
    parts = {part for part in ours.get("x-dlq-dropped", "").split(",") if part}
    names = {name for name, _ in headers}
    parts |= {"value"} if CUT_HEADERS[0] in names else set()
    parts |= {"headers"} if ESCAPED_NAME in names else set()
    return tuple(sorted(parts))


def _origin(ours: dict[str, str]) -> Place | None:
    partition, offset = _number(ours.get("__streams.errors.partition")), _number(ours.get("__streams.errors.offset"))
    return None if partition is None or offset is None else Place(partition=partition, offset=offset)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 18 else None  # noqa: PLR2004


def place(text: str) -> Place:
    """
    A place as people write it.

    Raises:
        UsageError: It is not PARTITION/OFFSET.

    >>> place("3/42")
    Place(partition=3, offset=42)
    """
    found = _PLACE.fullmatch(text.strip())
    if found is None:
        msg = (
            f"{text!r} is no place of a dead letter. Next: write PARTITION/OFFSET, as `tagstream dlq list` does, such as 3/42."
        )
        raise UsageError(msg)
    return Place(partition=int(found[1]), offset=int(found[2]))


def since_ms(text: str, now_ms: int) -> int:
    """
    A moment in Unix milliseconds: so long before `now_ms` (`90s`, `15m`, `2h`, `7d`), or an RFC 3339 time.

    Raises:
        UsageError: It is neither.

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
    # A time without an offset is another moment on every machine.
    if moment is None or moment.tzinfo is None:
        msg = f"{text!r} is neither a duration nor a time. Next: write 90s, 15m, 2h or 7d, or an RFC 3339 time such as 2026-03-01T03:00:00Z."
        raise UsageError(msg)
    return max(0, int(moment.timestamp() * 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    Which dead letters. `places`, if there are any, are all; else whatever is not asked for is not looked at.

    Attributes:
        code: Only of this code.
        stage: Only of this stage.
        since_ms: Only written at or after this moment, Unix milliseconds.
        partition: Only of this partition of the dead letters' topic.
        most: No more than so many, the first by partition and offset.
        places: Only these.
    """

    code: str | None = None
    stage: str | None = None
    since_ms: int | None = None
    partition: int | None = None
    most: int | None = None
    places: tuple[Place, ...] = ()

    def takes(self, letter: DeadLetter) -> bool:
        """Is this one of them? `most` is not counted here."""
        return (
            (self.code is None or letter.code == self.code)
            and (self.stage is None or letter.stage == self.stage)
            and (self.since_ms is None or letter.timestamp_ms >= self.since_ms)
            and (self.partition is None or letter.place.partition == self.partition)
            and (not self.places or letter.place in self.places)
        )


def replayed(letter: DeadLetter, target: str) -> Record:
    """
    What a replay sends: the original key, bytes and headers, and behind them how often and which dead letter this is of.

    Nothing is taken away, so an event that was replayed before says so twice; the last word counts. It goes to the partition that it
    came from, if it goes to where it came from: its neighbours of the same key are there, whoever chose the partition.
    """
    marks: Headers = (
        (REPLAY_COUNT, str(letter.replays + 1).encode()),
        (REPLAYED_FROM, f"{letter.topic}/{letter.place}".encode()),
    )
    home = letter.origin if letter.origin is not None and letter.origin_topic == target else None
    return Record(
        topic=target,
        key=letter.key,
        value=letter.value,
        headers=(*letter.headers, *marks),
        partition=-1 if home is None else home.partition,
    )


def refusal(letter: DeadLetter, *, most_replays: int) -> tuple[Refusal, str] | None:
    """Why this dead letter may not be replayed, with a sentence; None if it may."""
    if letter.dropped:
        parts = " and ".join(letter.dropped)
        return Refusal.INCOMPLETE, f"{parts} did not fit into the topic and could not be kept; the producer must send it again"
    if letter.replays >= most_replays:
        return Refusal.TOO_OFTEN, f"it was replayed {letter.replays} times already, the most is {most_replays}"
    nameless = [name for name, content in letter.headers if content is None]
    if nameless:
        return (
            Refusal.NULL_HEADER,
            f"{len(nameless)} of its headers have no value, which kafka-python cannot send; its producer can",
        )
    return None


def replayed_from(headers: Headers) -> Iterable[str]:
    """The dead letters that these headers say the record is of, newest last."""
    return [(content or b"").decode("utf-8", errors="replace") for name, content in headers if name == REPLAYED_FROM]
