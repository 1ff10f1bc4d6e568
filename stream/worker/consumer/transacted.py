"""Faust's consumer under exactly once: partitions are fenced before they are read, and offsets are committed in transactions."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from faust.types import TP
from faust.types.transports import SchedulingStrategyT

from stream.deliver.fatal import die
from stream.worker.consumer.consumer import Consumer


class PartitionByPartition(SchedulingStrategyT):  # type: ignore[misc]
    """
    Keeps the records of a partition together, so that a batch needs one transaction or two and not one for each partition.

    >>> list(PartitionByPartition().iterate({TP("content", 0): ["a", "b"], TP("content", 1): ["c"]}))[1:]
    [(TP(topic='content', partition=0), 'b'), (TP(topic='content', partition=1), 'c')]
    """

    def iterate(self, records: Mapping[TP, Any]) -> Iterator[tuple[TP, Any]]:
        """The records of each partition, one partition after the other."""
        return ((tp, record) for tp, taken in records.items() for record in taken)


class TransactedConsumer(Consumer):
    """Takes partitions over before it reads any record of them, and commits no offsets, since the transactions do."""

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Fence the previous owners; then as Faust does, which seeks to the offsets as they are after the fencing."""
        try:
            # A worker that stops reads no more records and need not fence anyone.
            if not self.app.should_stop:
                await self.app.transactions.hold(assigned)
        except Exception as error:  # noqa: BLE001 - Faust would stop gracefully, and go on until that is done
            die(error)
        await super().on_partitions_assigned(assigned, generation_id)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Report success, so that Faust clears its notes: under exactly once an acknowledged event is already committed."""
        self._thread.tp_last_committed_at.update(dict.fromkeys(offsets, time.monotonic()))
        return True
