"""
The records of a batch, read one after the other from its inflated chunks, as Apache Kafka's broker reads them.

The format is message format 2 (KIP-98). Numbers are cut to 32 and 64 bits as in Java. The length before a record is not compared with the
record: the broker does not compare it either if the batch is compressed.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import CorruptRecordException

from tagstream.stream.contract.event import Budget

BATCH_HEADER = struct.Struct(">qiibIhiqqqhii")
# The memory of a header beside its bytes; it counts, so that a flood of empty headers reaches the limit.
HEADER_OVERHEAD = 32
_CODEC, _LOG_APPEND_TIME = 0x07, 0x08
_INT_BYTES, _LONG_BYTES = 5, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHeader:
    """The fields of a batch's header that its records depend on; times in Unix milliseconds."""

    base_offset: int
    codec: int
    appended: bool
    first_ms: int
    latest_ms: int
    last_delta: int
    count: int

    @property
    def gapless(self) -> bool:
        """True if each offset of the batch has a record. A batch has gaps only if compaction has removed records from it."""
        return self.count == self.last_delta + 1


def batch_header(raw: memoryview) -> BatchHeader:
    """The header of a batch of format 2."""
    base_offset, _, _, _, _, attributes, last_delta, first, latest, _, _, _, count = BATCH_HEADER.unpack_from(raw)
    return BatchHeader(
        base_offset=base_offset,
        codec=attributes & _CODEC,
        appended=bool(attributes & _LOG_APPEND_TIME),
        first_ms=first,
        latest_ms=latest,
        last_delta=last_delta,
        count=count,
    )


@dataclass(slots=True)
class FetchedRecord:
    """
    A record with the attributes of aiokafka's `DefaultRecord`.

    Attributes:
        checksum: Format 2 has none.
        budget: Bounds the dead letters of the record's batch; None if no bound is needed.
    """

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None
    budget: Budget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A record whose fields are cut to `kept` bytes. `size` is the full size of key, value and headers, `digest` the value's SHA-256."""

    record: FetchedRecord
    size: int
    digest: str


def parse(chunks: Iterable[bytes | memoryview], header: BatchHeader, kept: int) -> Iterator[Parsed]:
    """
    The records of a batch, exactly as many as its header states. Bytes after them are ignored.

    Args:
        chunks: The inflated records.
        header: The batch's header.
        kept: The most bytes of a key, of a value, and of all headers together that are kept in memory.

    Raises:
        CorruptRecordException: The chunks end too early or are not records.
    """
    source = _Source(chunks)
    for _ in range(header.count):
        length = source.int32()
        ends = source.position + length
        source.take(1)
        delta, offset_delta = source.int64(), source.int32()
        key, value = source.blob(kept), source.blob(kept)
        headers, headers_size = _headers(source, kept, ends)
        record = FetchedRecord(
            offset=header.base_offset + offset_delta,
            timestamp=header.latest_ms if header.appended else _signed(header.first_ms + delta, 64),
            timestamp_type=int(header.appended),
            key=key.head,
            value=value.head,
            headers=headers,
        )
        yield Parsed(record=record, size=key.size + value.size + headers_size, digest=value.digest)


def _headers(source: "_Source", kept: int, ends: int) -> tuple[list[tuple[str, bytes | None]], int]:
    """The first headers, up to `kept` bytes, and the size of all headers that were read. Headers beyond `kept` bytes are skipped."""
    found: list[tuple[str, bytes | None]] = []
    size = 0
    for _ in range(source.int32()):
        name, value = source.blob(kept - size), source.blob(kept - size)
        size += name.size + value.size + HEADER_OVERHEAD
        if size > kept:
            source.skip_to(ends)
            return found, size
        found.append(((name.head or b"").decode("utf-8", "surrogateescape"), value.head))
    return found, size


@dataclass(frozen=True, slots=True)
class _Blob:
    """The beginning of a field and its full size. `head` is None for null. If the field was cut, `cut` has hashed all its bytes."""

    head: bytes | None
    size: int
    cut: Any = None

    @property
    def digest(self) -> str:
        """The SHA-256 of all bytes of the field."""
        return str((self.cut or hashlib.sha256(self.head or b"")).hexdigest())


class _Source:
    """Reads the fields of records from chunks, without reading ahead."""

    def __init__(self, chunks: Iterable[bytes | memoryview]) -> None:
        self._chunks = iter(chunks)
        self._chunk = memoryview(b"")
        self._at = 0
        # The number of bytes in the chunks before this one.
        self._before = 0

    @property
    def position(self) -> int:
        """The number of bytes that were read."""
        return self._before + self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        ends = self._at + count
        if ends <= len(self._chunk):
            found = bytes(self._chunk[self._at : ends])
            self._at = ends
            return found
        return b"".join(self._parts(count))

    def _parts(self, count: int) -> Iterator[memoryview]:
        while count:
            if self._at == len(self._chunk):
                self._next_chunk()
            part = self._chunk[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            yield part

    def _next_chunk(self) -> None:
        self._before += len(self._chunk)
        self._at = 0
        chunk = next(self._chunks, None)
        if chunk is None:
            self._chunk = memoryview(b"")
            msg = "a batch ends before its last record"
            raise CorruptRecordException(msg)
        self._chunk = memoryview(chunk)

    def skip_to(self, position: int) -> None:
        """Go on to `position`, which must not lie before the current position."""
        if position < self.position:
            msg = "a record is longer than it says"
            raise CorruptRecordException(msg)
        for _ in self._parts(position - self.position):
            pass

    def int32(self) -> int:
        """A zigzag varint of 32 bits."""
        return self._varint(_INT_BYTES, 32)

    def int64(self) -> int:
        """A zigzag varint of 64 bits."""
        return self._varint(_LONG_BYTES, 64)

    def _varint(self, most: int, bits: int) -> int:
        value = 0
        for number in range(most):
            if self._at == len(self._chunk):
                (byte,) = self.take(1)
            else:
                byte = self._chunk[self._at]
                self._at += 1
            value |= (byte & 0x7F) << 7 * number
            if not byte & 0x80:
                value &= (1 << bits) - 1
                return (value >> 1) ^ -(value & 1)
        msg = "a number of a record has no end"
        raise CorruptRecordException(msg)

    def blob(self, kept: int) -> _Blob:
        """A field with its length before it; at most `kept` of its bytes stay in memory. A negative length is null, as in Java."""
        size = self.int32()
        if size < 0:
            return _Blob(None, 0)
        if size <= kept:
            return _Blob(self.take(size), size)
        head = self.take(kept)
        hashed = hashlib.sha256(head)
        for part in self._parts(size - kept):
            hashed.update(part)
        return _Blob(head, size, hashed)


def _signed(number: int, bits: int) -> int:
    """
    The number as Java computes it after an overflow.

    >>> _signed(2**63, 64) == -(2**63), _signed(-1, 64)
    (True, -1)
    """
    half = 1 << bits - 1
    return (number + half) % (2 * half) - half
