"""What a worker says on the topic of the workers' words before it begins events of the newest epoch: how far it may have come."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiokafka.errors import KafkaError

from tagstream.stream.contract.rollout_records import Mark, Partition, WorkerReach
from tagstream.stream.deliver.fatal import DeliveryError
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.worker.part import Say

# A worker says that it may begin the events of about so many seconds more than it has, so that it says it about once in that time.
AHEAD_SECONDS = 1.0
MOST_AHEAD_EVENTS = 256
LEAST_SECONDS = 0.01


class SaidReach:
    """
    One process's reach (`tagstream.stream.rollout.gate.Reach`). For one event loop.

    A worker that is killed leaves events that it said and did not begin, about a second's worth and 256 of a partition at most: these stay with their epoch.
    """

    def __init__(self, say: Say, load: Callable[[Models], Awaitable[object]], seconds: float) -> None:
        """
        Begin with nothing said.

        Args:
            say: Sends a record to the workers' topic.
            load: Loads the models of an epoch, or raises: an epoch whose models this worker cannot load is never begun by it.
            seconds: Most seconds until the broker confirms a record.
        """
        self._say = say
        self._load = load
        self._seconds = seconds
        self._worker = uuid.uuid4().hex
        self._saying = asyncio.Lock()
        self._epoch = 0
        # Of that epoch, for each partition: the offset that the broker has, and the end of the batch for which it was said, with the time.
        self._said: dict[Partition, int] = {}
        self._asked: dict[Partition, tuple[int, float]] = {}

    def lacking(self, epochs: Epochs, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """See the protocol. Only events of the newest epoch can be given to a later one; those of the start begin with nothing said."""
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
            # Another batch may have said so while this one waited.
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
        """The end of the batch, and as many events more as came in the last second before it."""
        now = time.monotonic()
        before, at = self._asked.get(place, (end, now))
        self._asked[place] = end, now
        return end + min(MOST_AHEAD_EVENTS, max(0, int((end - before) * AHEAD_SECONDS / max(now - at, LEAST_SECONDS))))
