"""
A worker's rule: before a batch begins, it is known to which epochs its events belong.

After a batch is fetched the worker asks for the end of `rollout`, and reads up to it. If no epoch is closing there, and every partition of the
batch is in a record, the events belong to the epochs that are known, whatever is written later. Else the batch is held.

**After the fetch** is what matters. An answer from before it may be older than a close and the marks, and then the batch may hold events above
the marks.

**What it begins of the newest epoch, a worker says before**, and then asks for the end again. A controller that has closed the next epoch reads what
the workers said: every event that a worker began without seeing the close lies below. So the next epoch may begin at the first event that nobody
has begun, and the events that wait in the log follow the next model (`controller`).
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from tagstream.stream.contract.rollout_records import Partition
from tagstream.stream.rollout.epochs import Epochs


class RolloutEnd(Protocol):
    """The topic `rollout` as a worker sees it; its reader takes the records beside."""

    async def end(self) -> int:
        """Ask the broker for the end of what is committed: the offset after the last record."""
        ...

    async def read_to(self, end: int) -> Epochs:
        """The records, once all before this offset have been read; folded. The same object grows."""
        ...

    async def wait_for_more(self) -> None:
        """Return when a record was read since the last call, or after a while."""
        ...


class Reach(Protocol):
    """How far this worker may have begun events, which it says before it begins them."""

    def lacking(self, epochs: Epochs, ends: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """
        The partitions in which events below these offsets may begin only after more was said.

        Args:
            epochs: The records of the topic that the worker has read.
            ends: For each partition, the offset after the last event.
        """
        ...

    async def extend(self, epochs: Epochs, ends: Mapping[Partition, int]) -> None:
        """Load what decides in the newest epoch, and say that its events below these offsets may begin; returns once the broker has that."""
        ...


class EpochGate:
    """Where batches wait for their epochs. For one event loop."""

    def __init__(self, topic: RolloutEnd, reach: Reach | None = None) -> None:
        """
        Ask this topic.

        Args:
            topic: The records of the rollout.
            reach: Is said before events begin; None for a reader whose decisions are not published.
        """
        self._topic = topic
        self._reach = reach

    async def admit(self, ends: Mapping[Partition, int], given_up: Callable[[], bool] = lambda: False) -> Epochs | None:
        """
        Wait until events of these partitions, all of them fetched before this call, may begin.

        Args:
            ends: For each partition of the events, the offset after the last of them.
            given_up: Is asked now and then; true ends the wait.

        Returns:
            The epochs, by which the events are decided; None if the wait was given up.
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
