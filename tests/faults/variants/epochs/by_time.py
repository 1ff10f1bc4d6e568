"""Known bad: a worker that decides each event by the newest epoch at that time, wherever the event lies in the log."""

from tagstream.stream.contract.rollout_records import Partition
from tagstream.stream.rollout.epochs import Epochs
from tests.faults.worker.faulty import in_a_sentence, main


def newest(self: Epochs, _: Partition, __: int) -> int:
    """The epoch of an event."""
    return self.newest


if __name__ == "__main__":
    Epochs.epoch_of = newest  # type: ignore[method-assign]
    in_a_sentence(main)
