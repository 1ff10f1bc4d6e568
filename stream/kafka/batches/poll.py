"""Bounds the records that the worker takes from the fetched batches at once: in number, in bytes and in time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from aiokafka.consumer.fetcher import FetchResult

from tagstream.stream.contract.event import memory_bytes

# Bounds the size of the inflated records, which are held from here on, and not of their compressed batches.
POLL_BYTES = 4 * 1024 * 1024
# The group's heartbeats run on the same event loop.
POLL_SECONDS = 0.5


class Poll:
    """The bytes and the time that are left for the records of one poll. The time starts with `begin`."""

    def __init__(self) -> None:
        """All bytes and all time are left."""
        self._bytes_left = POLL_BYTES
        self._until: float | None = None

    @property
    def is_over(self) -> bool:
        """True if no more records may be taken."""
        return self._bytes_left <= 0 or (self._until is not None and time.monotonic() > self._until)

    def begin(self) -> None:
        """Start the clock, unless it runs."""
        self._until = self._until or time.monotonic() + POLL_SECONDS

    def take(self, record: Any) -> None:
        """Count a record."""
        self._bytes_left -= memory_bytes(record.key, record.value, record.headers)


# A context variable, because other consumers of this process, such as the reader of `rollout`, must not see the worker's poll: once over,
# it would be over for them for ever.
_POLL: ContextVar[Poll | None] = ContextVar("poll", default=None)


@contextmanager
def polling() -> Iterator[Poll]:
    """One poll for all partitions from which this task takes records during the block."""
    poll = Poll()
    token = _POLL.set(poll)
    try:
        yield poll
    finally:
        _POLL.reset(token)


class BoundedFetchResult(FetchResult):  # type: ignore[misc]
    """
    Replaces aiokafka's `FetchResult`: the rest of a batch stays compressed or unread until the next poll.

    Outside of `polling` each call is a poll of its own.
    """

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        """The next records within the bounds: at least one record, if there is one and the poll is not over."""
        poll = _POLL.get() or Poll()
        if poll.is_over or not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        poll.begin()
        found: list[Any] = []
        for record in self._partition_records:
            found.append(record)
            poll.take(record)
            if poll.is_over or len(found) == max_records:
                self._update_position()
                return found
        self._update_position()
        self._partition_records = None
        return found
