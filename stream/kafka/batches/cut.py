"""Makes a record that fits from one that does not, or that has another offset."""

from typing import Any

from stream.contract.budget import Budget
from stream.contract.record import CUT_HEADERS
from stream.kafka.batches.parse import HEADER_OVERHEAD, FetchedRecord


def moved(record: Any, offset: int, budget: Budget | None = None) -> FetchedRecord:
    """The record at this offset, with the budget of its batch."""
    carried = budget or record.checksum
    return FetchedRecord(offset, record.timestamp, record.timestamp_type, record.key, record.value, record.headers, carried)


def cut(record: Any, most: int, beside: int, *, size: int, digest: str) -> FetchedRecord:
    """
    The beginning of a record.

    Args:
        record: One that is too large.
        most: The bytes of the value to keep.
        beside: The bytes of the key to keep, and as many of all headers together.
        size: Of the whole record.
        digest: The SHA-256 of its whole value.
    """
    headers: list[tuple[str, bytes | None]] = [(CUT_HEADERS[0], str(size).encode()), (CUT_HEADERS[1], digest.encode())]
    left = beside
    for name, value in record.headers:
        left -= len(name) + len(value or b"") + HEADER_OVERHEAD
        if left < 0:
            break
        headers.append((name, value))
    return FetchedRecord(
        offset=record.offset,
        timestamp=record.timestamp,
        timestamp_type=record.timestamp_type,
        key=None if record.key is None else record.key[:beside],
        value=None if record.value is None else record.value[:most],
        headers=headers,
    )
