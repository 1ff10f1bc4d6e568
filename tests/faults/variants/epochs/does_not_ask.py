"""Known bad: a worker that takes over new models as it learns of them, and does not ask whether an epoch is closing."""

from collections.abc import Callable, Sequence
from typing import Any

from tagstream.stream.rollout.part import WorkerRollout
from tests.faults.worker.faulty import in_a_sentence, main


async def admit(_: WorkerRollout, __: Sequence[Any], ___: Callable[[], bool]) -> None:
    """Let every batch begin."""


if __name__ == "__main__":
    WorkerRollout.admit = admit  # type: ignore[method-assign]
    in_a_sentence(main)
