"""Known bad: a controller that asks for the ends of the partitions before it has written the close."""

import asyncio
from collections.abc import Mapping

from tagstream.stream.contract.rollout_records import Partition
from tagstream.stream.rollout.controller import Controller
from tests.faults.epochs.controller import main
from tests.faults.worker.faulty import in_a_sentence

# A controller may be stopped between any two steps, and for how long makes no difference to a right one.
STOPPED_SECONDS = 0.5
real_close = Controller._close


async def close(self: Controller, epoch: int) -> None:
    """Ask for the ends, and close later."""
    ends = await self._content.ends(self._epochs.partitions)

    async def mark(epoch: int) -> None:
        early: Mapping[Partition, int | None] = ends
        await self._write_marks(epoch, early)

    self._mark = mark  # type: ignore[method-assign]
    await asyncio.sleep(STOPPED_SECONDS)
    await real_close(self, epoch)


if __name__ == "__main__":
    Controller._close = close  # type: ignore[method-assign]
    in_a_sentence(main)
