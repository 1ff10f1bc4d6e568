"""Known bad: a controller that begins an epoch where the group has committed, as the owners of the partitions would."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from tagstream.stream.contract.rollout_records import Partition
from tagstream.stream.kafka.consumer_group import look
from tagstream.stream.rollout.content_ends import ContentOnKafka
from tests.faults.epochs.controller import main
from tests.faults.worker.faulty import in_a_sentence


def ends(self: ContentOnKafka, partitions: AbstractSet[Partition]) -> Mapping[Partition, int | None]:
    """The positions of the group."""
    positions = {place.partition: place.next for place in look(self._settings).places}
    return {at: positions[at.partition] for at in partitions}


if __name__ == "__main__":
    ContentOnKafka._ends = ends  # type: ignore[method-assign,assignment]
    in_a_sentence(main)
