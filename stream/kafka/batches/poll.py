"""Bounds what the worker takes from the fetched batches at once: in records, in bytes and in time."""

import time
from typing import Any

from aiokafka.consumer.fetcher import FetchResult

# Inflated records are held from here on, so they are counted by their own size and not by that of their batch.
POLL_BYTES = 4 * 1024 * 1024
# The group's heartbeats run on the same event loop.
POLL_SECONDS = 0.5


class BoundedFetchResult(FetchResult):  # type: ignore[misc]
    """Replaces aiokafka's: the rest of a batch stays compressed, or is not read yet, until the next call."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        """The next records: at least one if there is any, then as many as the bounds allow."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        found: list[Any] = []
        left, until = POLL_BYTES, time.monotonic() + POLL_SECONDS
        for record in self._partition_records:
            found.append(record)
            left -= max(0, record.serialized_key_size) + max(0, record.serialized_value_size)
            if left <= 0 or len(found) == max_records or time.monotonic() > until:
                self._update_position()
                return found
        self._update_position()
        self._partition_records = None
        return found
