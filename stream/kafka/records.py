"""aiokafka's record batches, read so that no producer can stop the stream.

Two inputs that a broker accepts would stop aiokafka:

- The name of a header that is not UTF-8: aiokafka raises, and the partition would stand still for ever.
- A compressed batch: the broker checks its compressed size, and aiokafka inflates all of it, so that 1 MB becomes 1 GB of memory.

Here such a name is kept as `os.fsdecode` keeps a file's, with a lone surrogate for each bad byte; `stream.contract` refuses the
event and writes the name out. A batch that inflates beyond `INFLATED_BYTES` is read as a stream, one record at a time, and a record
that no topic could hold is cut, with its size in a header. All other batches are read by aiokafka itself, in C.
"""

import gzip
import hashlib
import io
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import aiokafka.codec
import aiokafka.consumer.fetcher as aiokafka_fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from stream.contract.record import CUT_HEADERS

# More than a batch of events inflates to, and little enough for a worker to hold one for each partition.
INFLATED_BYTES = 8 * 1024 * 1024
# LZ4 and Zstandard cannot be read as a stream here: of a batch beyond this, records become dead letters without their bytes.
AT_ONCE_BYTES = 32 * 1024 * 1024
# A record that is cut keeps this much of its key, and of all its headers together.
KEPT_KEY_BYTES = 64 * 1024
KEPT_HEADERS_BYTES = 64 * 1024
_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_AT = 8
_OVERHEAD = 12
_MAGIC_AT = 16
_MAGIC = 2
_CODEC = 0x07
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_LOG_APPEND_TIME = 0x08
# The best ratio of DEFLATE: a batch that is smaller than the limit by this factor cannot exceed it.
_BEST_RATIO = 1032
_CHUNK = 256 * 1024
_VARINT_BITS = 63
_HEADER_OVERHEAD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedRecord:
    """A record with the attributes of aiokafka's `DefaultRecord`."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


def install(kept_value_bytes: int) -> None:
    """Make aiokafka's consumers in this process read with `Records`; a record beyond `kept_value_bytes` is cut to fit."""

    class Installed(Records):
        kept = kept_value_bytes

    aiokafka_fetcher.MemoryRecords = Installed


class Records:
    """Replaces aiokafka's `MemoryRecords`: the batches of one partition in a fetch response."""

    kept = 1024 * 1024

    def __init__(self, data: bytes) -> None:
        """Read the bytes of a fetch response."""
        self._data = data
        self._position = 0
        self._records = MemoryRecords(data)

    def size_in_bytes(self) -> int:
        """Size of all batches, compressed."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Is there another whole batch?"""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """The next batch; None after the last."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        start = self._position
        (length,) = struct.unpack_from(">i", self._data, start + _LENGTH_AT)
        self._position = start + _OVERHEAD + length
        raw = memoryview(self._data)[start : self._position]
        # Older formats have no headers; today's brokers do not send them.
        return Batch(batch, raw, self.kept) if raw[_MAGIC_AT] >= _MAGIC else batch


class Batch:
    """Replaces aiokafka's `DefaultRecordBatch`, and wraps it."""

    def __init__(self, batch: Any, raw: memoryview, kept: int) -> None:
        """Wrap a batch; `raw` is its bytes, and a record beyond `kept` bytes is cut."""
        self._batch = batch
        self._raw = raw
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        if _inflates_too_far(self._raw):
            yield from read(self._raw, self._kept)
            return
        # The broker checks the compressed size alone; an uncompressed record is no larger than the topic allows.
        kept = self._kept if self._batch.compression_type else sys.maxsize
        done = 0
        try:
            for record in self._batch:
                size = len(record.key or b"") + len(record.value or b"")
                yield record if size <= kept else _cut(record, kept, size, hashlib.sha256(record.value or b"").hexdigest())
                done += 1
        except (UnicodeDecodeError, CorruptRecordException):
            for number, record in enumerate(read(self._raw, self._kept)):
                if number >= done:
                    yield record


def read(raw: memoryview, kept: int) -> Iterator[FetchedRecord]:
    """
    The records of one batch, one at a time, each with at most about three times `kept` bytes in memory.

    Raises:
        CorruptRecordException: The batch is broken. No producer can cause that: the broker checks every record that it accepts.
    """
    base_offset, _, _, _, _, attributes, _, first, latest, _, _, _, count = _HEADER.unpack_from(raw)
    appended = bool(attributes & _LOG_APPEND_TIME)
    inflated = _inflated(raw[_HEADER.size :], attributes & _CODEC)
    if inflated is None:
        unknown: list[tuple[str, bytes | None]] = [(CUT_HEADERS[0], b"unknown")]
        for offset in range(base_offset, base_offset + count):
            yield FetchedRecord(
                offset=offset, timestamp=latest, timestamp_type=int(appended), key=None, value=None, headers=unknown
            )
        return
    source = _Source(inflated)
    for _ in range(count):
        source.varint()
        source.take(1)
        delta, offset = source.varint(), base_offset + source.varint()
        key, value = source.blob(kept), source.blob(kept)
        headers, headers_bytes = _headers(source, kept)
        record = FetchedRecord(
            offset=offset,
            timestamp=latest if appended else first + delta,
            timestamp_type=int(appended),
            key=key.head,
            value=value.head,
            headers=headers,
        )
        size = key.size + value.size + headers_bytes
        yield record if size <= kept else _cut(record, kept, size, value.digest)


def _headers(source: "_Source", kept: int) -> tuple[list[tuple[str, bytes | None]], int]:
    """The first headers, up to `kept` bytes, and the size of all of them."""
    found: list[tuple[str, bytes | None]] = []
    size = 0
    for _ in range(source.varint()):
        left = max(0, kept - size)
        name, value = source.blob(left), source.blob(left)
        # An empty header has a size as well, so that a flood of them reaches the limit.
        size += name.size + value.size + _HEADER_OVERHEAD
        if size <= kept:
            found.append(((name.head or b"").decode("utf-8", "surrogateescape"), value.head))
    return found, size


def _cut(record: Any, kept: int, size: int, digest: str) -> FetchedRecord:
    """A record of `size` bytes cut to fit, with headers that have its size and the SHA-256 of its value, `digest`."""
    left = KEPT_HEADERS_BYTES
    headers: list[tuple[str, bytes | None]] = [(CUT_HEADERS[0], str(size).encode()), (CUT_HEADERS[1], digest.encode())]
    for name, value in record.headers:
        left -= len(name) + len(value or b"") + _HEADER_OVERHEAD
        if left < 0:
            break
        headers.append((name, value))
    return FetchedRecord(
        offset=record.offset,
        timestamp=record.timestamp,
        timestamp_type=record.timestamp_type,
        key=None if record.key is None else record.key[:KEPT_KEY_BYTES],
        value=None if record.value is None else record.value[: max(0, kept - KEPT_KEY_BYTES - KEPT_HEADERS_BYTES)],
        headers=headers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blob:
    """The beginning of a field, its full size, and the SHA-256 of all its bytes; `head` is None for a field that is null."""

    head: bytes | None
    size: int
    digest: str


class _Source:
    """Reads the fields of records from a file, without reading ahead."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def take(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) != count:
            msg = f"a batch ends {count - len(found)} bytes before its last record"
            raise CorruptRecordException(msg)
        return found

    def varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return (value >> 1) ^ -(value & 1)
            shift += 7
            if shift > _VARINT_BITS:
                msg = "a number of a record has no end"
                raise CorruptRecordException(msg)

    def blob(self, kept: int) -> _Blob:
        """A field with its length before it; at most `kept` of its bytes stay in memory."""
        size = self.varint()
        head = self.take(min(size, kept)) if size >= 0 else None
        digest = hashlib.sha256(head or b"")
        left = size - len(head or b"")
        while left > 0:
            chunk = self.take(min(left, _CHUNK))
            digest.update(chunk)
            left -= len(chunk)
        return _Blob(head=head, size=max(0, size), digest=digest.hexdigest())


def _inflated(data: memoryview, codec: int) -> BinaryIO | None:
    """The records of a batch as a file; None if it can only be inflated as a whole and exceeds `AT_ONCE_BYTES`."""
    if not codec:
        return io.BytesIO(data)
    if codec == _GZIP:
        # Inflates as it is read.
        return gzip.GzipFile(fileobj=io.BytesIO(data))  # type: ignore[return-value]
    if codec == _SNAPPY:
        return io.BytesIO(aiokafka.codec.snappy_decode(bytes(data)))
    whole = _at_once(data, codec, AT_ONCE_BYTES)
    return None if whole is None else io.BytesIO(whole)


def _at_once(data: memoryview, codec: int, most: int) -> memoryview | None:
    """Inflate LZ4 or Zstandard as a whole; None if that exceeds `most` bytes."""
    cramjam = aiokafka.codec.cramjam
    buffer = bytearray(most)
    try:
        size = (cramjam.lz4 if codec == _LZ4 else cramjam.zstd).decompress_into(bytes(data), buffer)
    except cramjam.DecompressionError:
        # The broker inflated the batch when it accepted it, so it is valid: only the buffer can be too small.
        return None
    return memoryview(buffer)[:size]


def _inflates_too_far(raw: memoryview) -> bool:
    codec = _HEADER.unpack_from(raw)[5] & _CODEC
    data = raw[_HEADER.size :]
    if codec in {_LZ4, _ZSTD}:
        # Without cramjam, aiokafka refuses the batch with an error that names the missing library.
        return aiokafka.codec.cramjam is not None and _at_once(data, codec, INFLATED_BYTES) is None
    # Snappy inflates 22 times at most.
    if codec != _GZIP or len(data) * _BEST_RATIO <= INFLATED_BYTES:
        return False
    source = gzip.GzipFile(fileobj=io.BytesIO(data))
    seen = 0
    while chunk := source.read(_CHUNK):
        seen += len(chunk)
        if seen > INFLATED_BYTES:
            return True
    return False


def missing_codecs() -> list[str]:
    """Codecs that producers may use and this installation cannot read; a worker stops at such a batch."""
    return [] if aiokafka.codec.cramjam is not None else ["snappy", "lz4", "zstd"]
