"""
A worker's rule: a batch begins only when the epochs of its events are known.

After a batch is fetched, the worker asks for the end of `rollout` and reads up to that end. If no epoch is closing there, and every
partition of the batch is in a record, the events belong to the epochs that are known; later records do not change that. Otherwise the
worker holds the batch.

**The worker must ask after the fetch.** An end from before the fetch may be older than a close and its marks, and then the batch may
contain events above the marks.

**Before a worker begins events of the newest epoch, it writes its reach**: an offset above these events. Then it asks for the end of
`rollout` again. A controller that has closed the next epoch reads the reaches of all workers: every event that a worker began without
seeing the close lies below that worker's reach. So the next epoch may begin at the first event that no worker has begun, and the events
that wait in the log follow the next model (`controller`).
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from tagstream.stream.contract.rollout_records import Partition
from tagstream.stream.rollout.epochs import Epochs


class RolloutEnd(Protocol):
    """The topic `rollout` as a worker sees it. Its reader takes the records in a task of its own."""

    async def end(self) -> int:
        """Ask the broker for the offset after the last committed record."""
        ...

    async def read_to(self, end: int) -> Epochs:
        """Wait until all records before this offset have been read. Return the epochs; this object grows."""
        ...

    async def wait_for_more(self) -> None:
        """Wait until a record is read, for a bounded time."""
        ...


class Reach(Protocol):
    """How far this worker may have begun events. The worker writes its reach before it begins them."""

    def lacking(self, epochs: Epochs, ends: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """
        Return the partitions (with their offsets) for which the reach must be extended before events below these offsets begin.

        Args:
            epochs: The epochs of the topic, as far as the worker has read.
            ends: For each partition, the offset after the last event.
        """
        ...

    async def extend(self, epochs: Epochs, ends: Mapping[Partition, int]) -> None:
        """Load the newest epoch's models, extend the reach to these offsets, and wait for the broker's confirmation."""
        ...


class EpochGate:
    """The gate where batches wait until their epochs are known. For one event loop."""

    def __init__(self, topic: RolloutEnd, reach: Reach | None = None) -> None:
        """
        Keep the topic.

        Args:
            topic: The topic `rollout`.
            reach: Written before events begin; None if decisions are not published.
        """
        self._topic = topic
        self._reach = reach

    async def admit(self, ends: Mapping[Partition, int], given_up: Callable[[], bool] = lambda: False) -> Epochs | None:
        """
        Wait until fetched events of these partitions may begin.

        Args:
            ends: For each partition of the events, the offset after its last event. All these events were fetched before this call.
            given_up: Called now and then; True ends the wait.

        Returns:
            The epochs that decide the events; None if the wait was given up.
        """
        while True:
            epochs = await self._topic.read_to(await self._topic.end())
            while not epochs.may_begin(ends):
                if given_up():
                    return None
                await self._topic.wait_for_more()
            lacking = {} if self._reach is None else self._reach.lacking(epochs, ends)
            if self._reach is None or not lacking:
                return epochs
            await self._reach.extend(epochs, lacking)
