"""The events that were taken from Faust and are neither acknowledged nor handed back."""

import asyncio
import time
from collections import deque
from typing import Any

from monitoring.record_time import can_be_true


class Unacknowledged:
    """Events in the order in which they were taken, which is also the order of acknowledgement. For one event loop."""

    def __init__(self) -> None:
        """Begin with no events."""
        # When each event was written (Unix seconds), and its topic and partition.
        self._events: deque[tuple[float, tuple[str, int]]] = deque()
        # Events whose batch has begun and is not over.
        self.under_way = 0
        self._nothing_under_way = asyncio.Event()
        self._nothing_under_way.set()

    def clear(self) -> None:
        """Forget all events."""
        self._events.clear()
        self.under_way = 0
        self._nothing_under_way.set()

    def take(self, message: Any) -> None:
        """Add an event. If its record has no timestamp that can be true, its age counts from now."""
        written, now = message.timestamp or 0.0, time.time()
        known = can_be_true(written * 1000, now * 1000)
        self._events.append((written if known else now, (message.topic, message.partition)))

    def drop(self, count: int) -> None:
        """Forget the last `count` events: their batch has not begun, and they will be read again."""
        for _ in range(count):
            self._events.pop()

    def begin(self, count: int) -> None:
        """The batch of the next `count` events begins."""
        self.under_way += count
        self._nothing_under_way.clear()

    def end(self, count: int) -> None:
        """The batch of the first `count` events is over."""
        for _ in range(count):
            self._events.popleft()
        self.under_way -= count
        if not self.under_way:
            self._nothing_under_way.set()

    async def wait_until_nothing_is_under_way(self) -> None:
        """Wait until every batch that has begun is over."""
        await self._nothing_under_way.wait()

    def oldest_seconds(self, now: float) -> float:
        """The age of the oldest event at `now`, in Unix seconds; 0 if there is none."""
        return max(0.0, now - min(written for written, _ in self._events)) if self._events else 0.0

    def places(self) -> set[tuple[str, int]]:
        """Topic and partition of the events."""
        return {place for _, place in self._events}
