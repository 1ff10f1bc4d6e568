"""The format of a dead letter: written, read back, and sent again by a replay. Pure.

A dead letter is the producer's record with headers of ours at the end. A producer may send headers of the same names, so our block begins
with the last `__streams.errors.exception`; all headers before it are the producer's. The names are Kafka Streams' names (KIP-1034) where
Kafka Streams has one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from tagstream.stream.contract.event import (
    BATCH_BYTES,
    CUT_HEADERS,
    FIRST_BYTES,
    RECORD_BYTES,
    UNREADABLE_HEADERS,
    Headers,
    Limits,
    Record,
    weight,
)
from tagstream.stream.contract.refusal import Refusal

FIRST_OF_OURS = "__streams.errors.exception"
# The original name of a header whose name had to be escaped.
ESCAPED_NAME = "x-dlq-header-name"
REPLAY_COUNT = "x-dlq-replay-count"
REPLAYED_FROM = "x-dlq-replayed-from"
MAX_MESSAGE_CHARACTERS = 512
# tagstream never writes a longer count.
MAX_COUNT_DIGITS = 4
# The most of a key, and of all headers, that a dead letter without a value keeps.
MAX_KEPT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A record's place in its topic; written `partition/offset`."""

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
        place: The dead letter's place in that topic.
        timestamp_ms: When the dead letter was written, Unix milliseconds.
        key: The original key; None if the event had no key.
        value: The original bytes; None for a tombstone, or if `dropped` names the value.
        headers: The original headers.
        origin_topic: The topic on which the event was read.
        origin: The event's place in that topic; None if the headers do not have it.
        code: The reason, from a closed list.
        stage: The step of the worker at which the event failed, from a closed list.
        message: The fault, without any text of the event.
        attempts: The number of attempts to decide the event.
        replays: The number of replays before this dead letter.
        dropped: The parts (`value`, `key`, `headers`) that were too large to be kept.
        sha256: The SHA-256 of the original value, if the value was dropped.
        length: The original value's length in bytes, if the value was dropped.
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
        """A lasting name. It has the record's time, since a topic that was deleted and created again reuses places."""
        return f"{self.topic}/{self.place}@{self.timestamp_ms}"

    @property
    def size_bytes(self) -> int:
        """The size of the original value in bytes."""
        return len(self.value or b"") if self.length is None else self.length


def read(record: Record) -> DeadLetter | None:
    """
    The dead letter in a record; None if tagstream did not write the record.

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
    """The parts that differ from the producer's: too large for the topic, cut while they were read, or a header name not in UTF-8."""
    parts = {part for part in ours.get("x-dlq-dropped", "").split(",") if part}
    names = {name for name, _ in headers}
    parts |= {"value"} if names & {CUT_HEADERS[0], UNREADABLE_HEADERS[0]} else set()
    parts |= {"headers"} if ESCAPED_NAME in names else set()
    return tuple(sorted(parts))


def _origin(ours: dict[str, str]) -> Place | None:
    partition, offset = _number(ours.get("__streams.errors.partition")), _number(ours.get("__streams.errors.offset"))
    return None if partition is None or offset is None else Place(partition=partition, offset=offset)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 18 else None  # noqa: PLR2004


def write(record: Record, refusal: Refusal, limits: Limits) -> tuple[bytes | None, bytes | None, Headers]:
    """
    Key, value and headers of the dead letter. The value is left out if the topic would refuse the record for its size.

    Args:
        record: A record of any topic that a worker reads.
        refusal: Why the record has no decision.
        limits: Have the largest dead letter that the topic accepts.
    """
    where: list[tuple[str, str]] = [
        (FIRST_OF_OURS, f"tagstream.{refusal.reason.name}"),
        ("__streams.errors.message", refusal.message[:MAX_MESSAGE_CHARACTERS]),
        ("__streams.errors.topic", record.topic),
        ("__streams.errors.partition", str(record.partition)),
        ("__streams.errors.offset", str(record.offset)),
        ("x-dlq-stage", refusal.stage.value),
        ("x-dlq-code", refusal.reason.value),
        ("x-dlq-attempts", str(replay_count(record.headers) + refusal.attempts)),
    ]
    ours: Headers = tuple((name, text.encode()) for name, text in where)
    key, value, headers = _sendable(record, _writable(record.headers), ours)
    if weight(key, value, headers) > limits.max_dead_letter_bytes:
        reference = _reference(record, ours, MAX_KEPT_BYTES)
        fits = weight(*reference) <= limits.max_dead_letter_bytes
        return reference if fits else _reference(record, ours, FIRST_BYTES)
    if not _is_affordable(record, weight(key, value, headers)):
        return _reference(record, ours, FIRST_BYTES)
    return key, value, headers


def _is_affordable(record: Record, whole: int) -> bool:
    """True if the budget of the record's batch, if there is one, allows a dead letter of `whole` bytes. A tiny event is always allowed."""
    if record.budget is None or weight(record.key, record.value, record.headers) <= BATCH_BYTES + RECORD_BYTES + FIRST_BYTES:
        return True
    return record.budget.take(whole)


def _sendable(record: Record, kept: Headers, ours: Headers) -> tuple[bytes | None, bytes | None, Headers]:
    if record.key is None and record.value is None:
        # The client cannot send a record without key and value: send an empty key, and a header that says so.
        return b"", None, (*kept, *ours, ("x-dlq-null-key", b"true"))
    return record.key, record.value, (*kept, *ours)


def _reference(record: Record, ours: Headers, most: int) -> tuple[bytes, None, Headers]:
    """
    A dead letter without its value: place, reason, SHA-256, length and first bytes of the value, and the names of the dropped parts.

    The key is kept if it has at most `most` bytes, and so are the headers.
    """
    value, key = record.value or b"", record.key or b""
    small_key = len(key) <= most
    kept_headers = _writable(record.headers)
    small_headers = weight(None, None, kept_headers) <= BATCH_BYTES + RECORD_BYTES + most
    parts = {"value": False, "key": small_key, "headers": small_headers}
    said: Headers = (
        ("x-dlq-sha256", hashlib.sha256(value).hexdigest().encode()),
        ("x-dlq-length", str(len(value)).encode()),
        ("x-dlq-first-bytes", value[:FIRST_BYTES]),
        ("x-dlq-dropped", ",".join(name for name, kept in parts.items() if not kept).encode()),
    )
    null_key: Headers = (("x-dlq-null-key", b"true"),) if record.key is None else ()
    headers = (*(kept_headers if small_headers else ()), *ours, *null_key, *said)
    return key if small_key else b"", None, headers


def _writable(headers: Headers) -> Headers:
    r"""
    Headers that any client can send and read. A name that is not UTF-8 is escaped, and its bytes go into a second header.

    >>> _writable((("a", b"1"), ("b\udcff", b"2")))
    (('a', b'1'), ('b\\xff', b'2'), ('x-dlq-header-name', b'b\xff'))
    """
    found: list[tuple[str, bytes]] = []
    for name, value in headers:
        unescaped = name.encode("utf-8", "surrogateescape")
        escaped = unescaped.decode("utf-8", "backslashreplace")
        found.append((escaped, value))
        if escaped != name:
            found.append((ESCAPED_NAME, unescaped))
    return tuple(found)


def replay_count(headers: Headers) -> int:
    """
    The number of replays in these headers. The last header of replays counts. A value that is not a small number counts as 0.

    >>> replay_count((("x-dlq-replay-count", b"2"), ("x-dlq-replay-count", b"3"))), replay_count(())
    (3, 0)
    """
    said = next((content or b"" for name, content in reversed(headers) if name == REPLAY_COUNT), b"")
    return int(said) if said.isdigit() and len(said) <= MAX_COUNT_DIGITS else 0


def replayed(letter: DeadLetter, target: str) -> Record:
    """
    The record that a replay sends: the original key, bytes and headers, then the number of replays and the place of the dead letter.

    Headers of earlier replays are kept; the last header counts. A record that goes back to its own topic goes to its own partition, where the
    other events of its key are.
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
