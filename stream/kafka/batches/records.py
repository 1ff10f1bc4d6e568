"""
aiokafka's record batches, read so that no batch that a broker accepts can stop the stream.

aiokafka inflates a batch as a whole, and raises on some batches that Java reads: junk behind the compressed data, another header version
of Snappy, a header whose name is not UTF-8, a record with a wrong length. The partition would then stand still for ever. And 1 MB may
inflate to 1 GB.

Here `inflate.py` inflates a batch, and three readers follow each other, each for the batches that the previous reader cannot read:

1. aiokafka's C reader takes apart up to `INFLATED_BYTES` of inflated records.
2. If it raises, or beyond that size, `parse.py` reads one record at a time.
3. Records that cannot be read at all become dead letters with the batch's bytes (`unreadable_records`).

In a batch without gaps the offsets are counted: a broker does not check the offsets in an uncompressed batch, and aiokafka drops a record
whose offset is not above the previous record's offset.
"""

import hashlib
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiokafka.consumer.fetcher as aiokafka_fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord

from tagstream.stream.contract.event import CUT_HEADERS, FACTOR, FIRST_BYTES, UNREADABLE_HEADERS, Budget
from tagstream.stream.kafka.batches.inflate import NONE, inflate, is_of_the_machine
from tagstream.stream.kafka.batches.parse import BATCH_HEADER, HEADER_OVERHEAD, FetchedRecord, batch_header, parse
from tagstream.stream.kafka.batches.poll import BoundedFetchResult
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

log = logger("tagstream.records")
# More than most batches inflate to. A worker holds one inflated batch for each partition. One record of that size may have half a million
# headers, which take 32 MiB once aiokafka has read them.
INFLATED_BYTES = 1024 * 1024
# A record that is cut keeps at most this much of its key, and of all its headers together.
KEPT_KEY_BYTES = 64 * 1024
_LENGTH_AT, _OVERHEAD, _MAGIC_AT = 8, 12, 16
_MAGIC = 2
_CODEC_AT, _CODEC = 22, 0x07
# Room in a dead letter beside the event's bytes: the key, and the headers of the record and of ours.
DEAD_LETTER_ADDED_BYTES = 256 * 1024


def install(settings: Settings) -> None:
    """
    Make aiokafka's consumers in this process read with `Records`, a bounded number of bytes at a time.

    Args:
        settings: A record beyond the size of a dead letter is cut to fit. An event beyond its own limit will be refused, so its bytes
            count against its batch's budget at once.
    """

    class Installed(Records):
        # A dead letter fits into its topic with all that it keeps, and is larger than an event may be.
        kept = max(settings.max_dead_letter_bytes - DEAD_LETTER_ADDED_BYTES, settings.max_event_bytes + 1)
        event = settings.max_event_bytes

    aiokafka_fetcher.MemoryRecords = Installed
    aiokafka_fetcher.PartitionRecords = BudgetedRecords
    aiokafka_fetcher.FetchResult = BoundedFetchResult


@dataclass
class BudgetedRecord(ConsumerRecord):  # type: ignore[misc]
    """aiokafka's record, with the budget that bounds the dead letters of its batch."""

    budget: Budget | None = None


class BudgetedRecords(PartitionRecords):  # type: ignore[misc]
    """Replaces aiokafka's `PartitionRecords`: passes the budget of a record on."""

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        made = super()._consumer_record(tp, record)
        budget = getattr(record, "budget", None)
        return made if budget is None else BudgetedRecord(**vars(made), budget=budget)


class Records:
    """Replaces aiokafka's `MemoryRecords`: the batches of one partition in a fetch response."""

    kept = 1024 * 1024
    event = 900_000

    def __init__(self, data: bytes) -> None:
        """`data` is the bytes of a fetch response."""
        self._data = data
        self._position = 0
        self._records = MemoryRecords(data)

    def size_in_bytes(self) -> int:
        """The compressed size of all batches."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """True if there is another whole batch."""
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
        if raw[_MAGIC_AT] < _MAGIC:
            return OldBatch(batch, raw, self.kept)
        return Batch(batch, raw, kept=self.kept, event=self.event)


class OldBatch:
    """Replaces aiokafka's `LegacyRecordBatch`: formats 0 and 1, which brokers before Kafka 4 accepted and newer brokers still hand out."""

    def __init__(self, batch: Any, raw: memoryview, kept: int) -> None:
        """
        Wrap a batch.

        Args:
            batch: aiokafka's reader of the batch.
            raw: The batch's bytes.
            kept: The most bytes of the batch that a dead letter keeps.
        """
        self._batch = batch
        self._raw = raw
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        last, latest = self._batch.next_offset - 1, -1
        try:
            for record in self._batch:
                yield record
                latest = record.offset
        # An error is a property of the batch, and the next reader would meet it again.
        except Exception as error:
            if is_of_the_machine(error):
                raise
            # The number of records in the wrapper is not known. The wrapper's offset is the offset of its last record.
            if latest < last:
                yield from unreadable_records(self._raw, range(last, last + 1), 0, error, self._kept)


class Batch:
    """Replaces aiokafka's `DefaultRecordBatch`, and wraps it."""

    def __init__(self, batch: Any, raw: memoryview, *, kept: int, event: int) -> None:
        """
        Wrap a batch.

        Args:
            batch: aiokafka's reader of the batch.
            raw: The batch's bytes.
            kept: The size in bytes beyond which a record of a compressed batch is cut.
            event: The size in bytes beyond which an event becomes a dead letter.
        """
        self._batch = batch
        self._raw = raw
        self._header = batch_header(raw)
        # The broker checks only the compressed size of a batch. An uncompressed record is never larger than the topic allows.
        self._kept = kept
        self._event = event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        header = self._header
        following, ends = header.base_offset, header.base_offset + header.last_delta + 1
        left = header.count
        try:
            for record in self._read():
                offset = following if header.gapless else record.offset
                if not following <= offset < ends:
                    msg = "the offsets of a batch are out of order"
                    raise CorruptRecordException(msg)  # noqa: TRY301 - handled below like any other error of the batch
                yield record if record.offset == offset else moved(record, offset)
                following, left = offset + 1, left - 1
        # An error is a property of the batch, and the next reader would meet it again.
        except Exception as error:
            if is_of_the_machine(error):
                raise
            offsets = range(following, min(following + left, ends))
            yield from unreadable_records(self._raw, offsets, header.latest_ms, error, self._kept)

    def _read(self) -> Iterator[Any]:
        """The records with their stated offsets; a record that is too large is cut."""
        done = 0
        whole, budget = self._inflated()
        if whole is not None:
            try:
                for record in itertools.islice(whole, self._header.count):
                    yield self._fitting(record, budget)
                    done += 1
            # `parse` shows whether the error lies in the batch or in aiokafka.
            except Exception as error:  # noqa: BLE001
                log.debug("batch_read_slowly", base_offset=self._header.base_offset, why=type(error).__name__)
            else:
                return
        chunks = inflate(self._raw[BATCH_HEADER.size :], self._header.codec)
        for parsed in itertools.islice(parse(chunks, self._header, self._kept), done, None):
            yield self._bounded(parsed.record, parsed.size, budget, parsed.digest)

    def _inflated(self) -> tuple[Any, Budget | None]:
        """
        The inflated batch for aiokafka's reader, and a budget if the batch needs one.

        The batch is None if it inflates too far, or if the data breaks off: the records before the break can be read one at a time.
        """
        if self._header.codec == NONE:
            return self._batch, None
        inflated = bytearray(self._raw[: BATCH_HEADER.size])
        inflated[_CODEC_AT] &= ~_CODEC
        try:
            for chunk in inflate(self._raw[BATCH_HEADER.size :], self._header.codec):
                if len(inflated) + len(chunk) > INFLATED_BYTES:
                    return None, Budget(len(self._raw))
                inflated += chunk
        except CorruptRecordException:
            return None, Budget(len(self._raw))
        needs_budget = len(inflated) > FACTOR * len(self._raw)
        return DefaultRecordBatch(inflated), Budget(len(self._raw)) if needs_budget else None

    def _fitting(self, record: Any, budget: Budget | None) -> Any:
        """Bound a record of aiokafka's. Its headers do not count: they are within `INFLATED_BYTES`, and must not cut a valid event."""
        if self._header.codec == NONE:
            return record
        return self._bounded(record, len(record.key or b"") + len(record.value or b""), budget)

    def _bounded(self, record: Any, size: int, budget: Budget | None, digest: str | None = None) -> Any:
        """The record if it may be kept whole, else its beginning; with the budget if it may become a dead letter."""
        if size <= FIRST_BYTES or (size <= self._kept and budget is None):
            return record
        if size <= self._kept and budget is not None and len(record.value or b"") <= self._event:
            return moved(record, record.offset, budget)
        if size <= self._kept and budget is not None and budget.take(size):
            return record
        digest = digest or hashlib.sha256(record.value or b"").hexdigest()
        if budget is None or (size > self._kept and budget.take(self._kept)):
            return cut(record, max(0, self._kept - 2 * KEPT_KEY_BYTES), KEPT_KEY_BYTES, size=size, digest=digest)
        return cut(record, FIRST_BYTES, FIRST_BYTES, size=size, digest=digest)


def moved(record: Any, offset: int, budget: Budget | None = None) -> FetchedRecord:
    """
    The record at another offset.

    Args:
        record: A record of `parse` or of aiokafka.
        offset: The new offset.
        budget: Bounds the dead letters of the record's batch; None to keep the record's own budget.
    """
    return FetchedRecord(
        offset=offset,
        timestamp=record.timestamp,
        timestamp_type=record.timestamp_type,
        key=record.key,
        value=record.value,
        headers=record.headers,
        budget=budget or getattr(record, "budget", None),
    )


def cut(record: Any, value_bytes: int, key_bytes: int, *, size: int, digest: str) -> FetchedRecord:
    """
    The beginning of a record.

    Args:
        record: A record that is too large.
        value_bytes: The number of bytes to keep of the value.
        key_bytes: The number of bytes to keep of the key, and of all headers together.
        size: The size of the whole record in bytes.
        digest: The SHA-256 of the whole value.
    """
    headers: list[tuple[str, bytes | None]] = [(CUT_HEADERS[0], str(size).encode()), (CUT_HEADERS[1], digest.encode())]
    left = key_bytes
    for name, value in record.headers:
        left -= len(name) + len(value or b"") + HEADER_OVERHEAD
        if left < 0:
            break
        headers.append((name, value))
    return FetchedRecord(
        offset=record.offset,
        timestamp=record.timestamp,
        timestamp_type=record.timestamp_type,
        key=None if record.key is None else record.key[:key_bytes],
        value=None if record.value is None else record.value[:value_bytes],
        headers=headers,
    )


def unreadable_records(
    raw: memoryview, offsets: range, timestamp_ms: int, error: Exception, kept: int
) -> Iterator[FetchedRecord]:
    """
    One record for each offset that cannot be read. The value of the first record is the bytes of the batch.

    If compaction has removed records from the batch, the offsets are the ones after the last record that was read.

    Args:
        raw: The batch.
        offsets: The offsets of the records that cannot be read.
        timestamp_ms: The time of the batch in Unix milliseconds.
        error: The cause. The text of a CorruptRecordException is our own; the text of any other error may quote the batch.
        kept: The most bytes of the batch that fit into a dead letter.
    """
    why = str(error.args[0]) if isinstance(error, CorruptRecordException) and error.args else type(error).__name__
    said = (why, f"{offsets.start} to {offsets.stop - 1}", hashlib.sha256(raw).hexdigest())
    headers: list[tuple[str, bytes | None]] = [
        (name, text.encode()) for name, text in zip(UNREADABLE_HEADERS, said, strict=True)
    ]
    for offset in offsets:
        value = bytes(raw[:kept]) if offset == offsets.start else None
        yield FetchedRecord(offset=offset, timestamp=timestamp_ms, timestamp_type=0, key=None, value=value, headers=headers)
