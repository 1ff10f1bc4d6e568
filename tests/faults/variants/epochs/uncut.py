"""Known bad: a worker that decides the events of a batch in each partition by the epoch of the first, also where a mark lies between them."""

import threading
from collections.abc import Sequence

from tagstream.stream.contract.event import ContentEvent, Record, Refusal
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.rollout.deciders import RolledDeciders
from tests.faults.worker.faulty import in_a_sentence, main
from tests.faults.worker.stub import FaultyPipeline

real_publications, real_decider_of = FaultyPipeline.publications, RolledDeciders.decider_of
# Of the batch of this thread: the decider by partition.
batch = threading.local()


def publications(self: FaultyPipeline, events: Sequence[Record], refusal: Refusal | None = None) -> list[Publication]:
    """Begin a batch."""
    batch.deciders = {}
    return real_publications(self, events, refusal)


def decider_of(self: RolledDeciders, event: ContentEvent) -> Decider:
    """The decider of the first event of its partition in this batch."""
    deciders: dict[int, Decider] = batch.__dict__.setdefault("deciders", {})
    return deciders.setdefault(event.record.partition, real_decider_of(self, event))


if __name__ == "__main__":
    FaultyPipeline.publications = publications  # type: ignore[method-assign]
    RolledDeciders.decider_of = decider_of  # type: ignore[method-assign]
    in_a_sentence(main)
