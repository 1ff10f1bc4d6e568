"""
A worker's rule: before a batch begins, it is known to which epochs its events belong.

After a batch is fetched the worker asks for the end of `rollout`, and reads up to it. If no epoch is closing there, and every partition of the
batch is in a record, the events belong to the epochs that are known, whatever is written later. Else the batch is held.

**After the fetch** is what matters. An answer from before it may be older than a close and the marks, and then the batch may hold events above
the marks.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Protocol

from tagstream.stream.contract.rollout import Partition
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


class Gate:
    """Where batches wait for their epochs. For one event loop."""

    def __init__(self, topic: RolloutEnd) -> None:
        """Ask this topic."""
        self._topic = topic

    async def admit(self, partitions: AbstractSet[Partition], given_up: Callable[[], bool] = lambda: False) -> Epochs | None:
        """
        Wait until events of these partitions, all of them fetched before this call, may begin.

        Args:
            partitions: Those of the events.
            given_up: Is asked now and then; true ends the wait.

        Returns:
            The epochs, by which the events are decided; None if the wait was given up.
        """
        epochs = await self._topic.read_to(await self._topic.end())
        while not epochs.may_begin(partitions):
            if given_up():
                return None
            await self._topic.wait_for_more()
        return epochs
