"""One Kafka record: the same type for what a worker reads, what a tool sends, and a row of a file that has no place in a topic."""

from dataclasses import dataclass, field

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """
    A record as its bytes came, or as they are to be sent.

    Attributes:
        key: The producer's key; None where there is none.
        value: The bytes of the event; None is a tombstone.
        headers: Name and bytes of each header, in order; a name may come more than once.
        topic: Where the record was read, or goes; empty for a row of a file or a request.
        partition: Likewise; -1 where the record has no place in a topic, or has none yet.
        offset: Likewise.
        timestamp_ms: The record's own time in Unix milliseconds; 0 where it has none.
    """

    # Never in a repr: an exception or a log line must not carry the text of an event.
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(default=(), repr=False)
    topic: str = ""
    partition: int = -1
    offset: int = -1
    timestamp_ms: int = 0
