"""Records that cannot be read from their batch, as records that the worker turns into dead letters."""

import hashlib
from collections.abc import Iterator

from aiokafka.errors import CorruptRecordException

from stream.contract.record import UNREADABLE_HEADERS
from stream.kafka.batches.parse import FetchedRecord


def records(raw: memoryview, offsets: range, timestamp_ms: int, error: Exception, kept: int) -> Iterator[FetchedRecord]:
    """
    One record for each offset that cannot be read; the first has the bytes of the batch for its value.

    Of a batch that compaction has thinned out, the offsets are those that follow the last record that was read.

    Args:
        raw: The batch.
        offsets: Those of its records that cannot be read.
        timestamp_ms: The time of the batch.
        error: Why; its text comes from our own code if it is a CorruptRecordException, and may quote the batch if not.
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
