"""A worker's reach: how far the worker may have begun events of the newest epoch. It is written to the workers' topic beforehand."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiokafka.errors import KafkaError

from tagstream.stream.contract.rollout_records import Mark, Partition, WorkerReach
from tagstream.stream.deliver.engine import Say
from tagstream.stream.deliver.fatal import DeliveryError
from tagstream.stream.rollout.epochs import Epochs, Models

# A worker extends its reach by the events of about this many seconds, so that it writes its reach about once in that time.
AHEAD_SECONDS = 1.0
MOST_AHEAD_EVENTS = 256
LEAST_SECONDS = 0.01


class SaidReach:
    """
    One process's reach (`tagstream.stream.rollout.gate.Reach`). For one event loop.

    A killed worker leaves events within its reach that it did not begin: about one second's events, at most 256 per partition. These
    events stay in their epoch.
    """

    def __init__(self, say: Say, load: Callable[[Models], Awaitable[object]], seconds: float) -> None:
        """
        Begin with an empty reach.

        Args:
            say: Sends a record to the workers' topic.
            load: Loads the models of an epoch, or raises. So this worker never begins an epoch whose models it cannot load.
            seconds: The longest wait for the broker's confirmation of a record.
        """
        self._say = say
        self._load = load
        self._seconds = seconds
        self._worker = uuid.uuid4().hex
        self._saying = asyncio.Lock()
        self._epoch = 0
        # In that epoch, by partition: the offset that the broker has confirmed (`_said`), and end and time of the last batch (`_asked`).
        self._said: dict[Partition, int] = {}
        self._asked: dict[Partition, tuple[int, float]] = {}

    def lacking(self, epochs: Epochs, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """See the protocol. Only events of the newest epoch can move to a later epoch. Events of epoch 0 need no reach."""
        newest = epochs.newest
        said = self._said if self._epoch == newest else {}
        return {
            place: end
            for place, end in ends.items()
            if newest and epochs.epoch_of(place, end - 1) == newest and said.get(place, 0) < end
        }

    async def extend(self, epochs: Epochs, ends: Mapping[Partition, int]) -> None:
        """
        See the protocol.

        Raises:
            DeliveryError: The broker did not confirm the record in time.
        """
        async with self._saying:
            epoch = epochs.newest
            await self._load(epochs.models(epoch))
            if epoch != self._epoch:
                self._epoch, self._said, self._asked = epoch, {}, {}
            # Another batch may have extended the reach while this batch waited.
            wanted = {place: self._further(place, end) for place, end in self.lacking(epochs, ends).items()}
            if not wanted:
                return
            reach = self._said | wanted
            record = WorkerReach(
                worker=self._worker, epoch=epoch, reach=tuple(Mark(at=at, offset=below) for at, below in reach.items())
            )
            try:
                async with asyncio.timeout(self._seconds):
                    await (await self._say(record.key, msgspec.json.encode(record)))
            except (KafkaError, TimeoutError) as error:
                msg = (
                    f"the brokers did not confirm within {self._seconds:g} s that this worker begins events of epoch {epoch} "
                    f"({type(error).__name__}: {error}). Next: `tagstream doctor`, and see that this user may WRITE to rollout.workers_topic."
                )
                raise DeliveryError(msg) from error
            self._said = reach

    def _further(self, place: Partition, end: int) -> int:
        """Return the end of the batch, plus the number of events that came in the last second before it."""
        now = time.monotonic()
        before, at = self._asked.get(place, (end, now))
        self._asked[place] = end, now
        return end + min(MOST_AHEAD_EVENTS, max(0, int((end - before) * AHEAD_SECONDS / max(now - at, LEAST_SECONDS))))
