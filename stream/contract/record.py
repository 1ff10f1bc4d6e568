"""One Kafka record: the same type for a record that a worker reads, one that a tool sends, and a row of a file without a place in a topic."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from stream.contract.budget import Budget

Headers = tuple[tuple[str, bytes], ...]

# Headers of a record that did not fit into the worker's memory and was cut: its size in bytes, and the SHA-256 of its whole value.
CUT_HEADERS = ("x-dlq-original-bytes", "x-dlq-original-sha256")
# Headers of a record that could not be read from its batch: why, the offsets of such records, and the SHA-256 of the batch.
UNREADABLE_HEADERS = ("x-dlq-unreadable", "x-dlq-unreadable-offsets", "x-dlq-batch-sha256")
# The most that Kafka adds to a batch of one record, to the record, and to each of its headers (KIP-98, varints at their longest).
BATCH_BYTES, RECORD_BYTES, HEADER_BYTES = 61, 36, 10
# What a record takes in memory beside its bytes, from the poll to its acknowledgement, and each of its headers: objects of CPython.
RECORD_MEMORY_BYTES, HEADER_MEMORY_BYTES = 1024, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """
    A record as its bytes came, or as they are to be sent.

    Attributes:
        key: The producer's key; None where there is none.
        value: The bytes of the event; None is a tombstone.
        headers: Name and bytes of each header, in order; a name may come more than once.
        topic: Where the record was read, or where it goes; empty for a row of a file or a request.
        partition: The partition of that topic; -1 where the record has no place in a topic, or has none yet.
        offset: The offset in that partition; -1 likewise.
        timestamp_ms: The record's own time in Unix milliseconds; 0 where it has none.
        budget: Bounds the dead letters of the record's batch; None where nothing has to be bounded.
    """

    # Never in a repr: an exception or a log line must not carry the text of an event.
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(default=(), repr=False)
    topic: str = ""
    partition: int = -1
    offset: int = -1
    timestamp_ms: int = 0
    budget: Budget | None = field(default=None, repr=False, compare=False)


def weight(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """
    The most bytes that one record takes in a batch of its own, uncompressed. A topic's `max.message.bytes` is compared with this size.

    >>> weight(b"k", b"{}", (("a", b"1"),))
    112
    """
    carried = sum(HEADER_BYTES + len(name.encode()) + len(content or b"") for name, content in headers)
    return BATCH_BYTES + RECORD_BYTES + len(key or b"") + len(value or b"") + carried


def memory_bytes(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]] | None) -> int:
    """
    About the memory that one record takes; one without key and value takes memory too.

    >>> memory_bytes(None, b"four", [("h", b"1")]), memory_bytes(None, None, None)
    (1158, 1024)
    """
    carried = sum(HEADER_MEMORY_BYTES + len(name) + len(content or b"") for name, content in headers) if headers else 0
    return RECORD_MEMORY_BYTES + len(key or b"") + len(value or b"") + carried
