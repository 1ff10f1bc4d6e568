"""The format of a dead letter: written, read back, and sent again by a replay. Pure.

A dead letter is the producer's record, then headers of ours. A producer may send headers of the same names, so ours are the block that
begins with the last `__streams.errors.exception`; all before it is the producer's. The names are those of Kafka Streams (KIP-1034) where
it has one.
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
# Beside a header whose name had to be escaped: the name as it was.
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
        message: The fault, without any text of the event.
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
        """Names it for good: in a topic that was deleted and created again, the record at this place has another time."""
        return f"{self.topic}/{self.place}@{self.timestamp_ms}"

    @property
    def size_bytes(self) -> int:
        """Bytes of the original value."""
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
    """The parts that are not as the producer sent them: too large for the topic, cut while they were read, or a header name not in UTF-8."""
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
    Key, value and headers of the dead letter; without the value where the topic would refuse it for its size.

    Args:
        record: The record, of any topic that a worker reads.
        refusal: The reason why it has no decision.
        limits: The largest dead letter that the topic takes.
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
    """Whether the budget of the record's batch, if it has one, allows a dead letter of so many bytes; a tiny one is always allowed."""
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

    Key and headers are kept if they have at most `most` bytes each.
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
    Headers that any client can send and read: a name that is not UTF-8 is escaped, and its bytes go into a second header.

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
    The number of replays in these headers. The last such header counts; a value that is not a small number counts as 0.

    >>> replay_count((("x-dlq-replay-count", b"2"), ("x-dlq-replay-count", b"3"))), replay_count(())
    (3, 0)
    """
    said = next((content or b"" for name, content in reversed(headers) if name == REPLAY_COUNT), b"")
    return int(said) if said.isdigit() and len(said) <= MAX_COUNT_DIGITS else 0


def replayed(letter: DeadLetter, target: str) -> Record:
    """
    The record that a replay sends: the original key, bytes and headers, then the number of replays and the place of the dead letter.

    Headers of earlier replays are kept; the last one counts. A record that goes back to its own topic goes to its own partition, where the other events of its key are.
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
