"""
Which epoch an event belongs to: a fold over the records of the topic `rollout`, the same for everyone who reads them.

**The epoch of an event is the highest one, not given up, whose mark in its partition lies at or below its offset.** It depends on no
clock, no worker and no order of arrival: an event that is delivered again, to whomever, belongs to the same epoch.

The fold obeys only what the protocol allows in its place; everything else in the topic is evidence and changes nothing. So a record that is
late, or that a mistaken program wrote, means the same to all:

- `start` counts as the first record alone.
- `plan n` counts if n is above every number before it, by `MOST_LEAP` at most, and no epoch is closing. Else one plan could use up all numbers.
- `close n` counts for the newest plan, if it is neither marked nor given up and no other epoch is closing.
- `marks n` counts while n is closing, if it lists every partition that is known. The first listing of a partition, in whatever epoch, is
  offset 0: nobody has decided an event of it. While nothing is closing, `marks` of the newest epoch adds partitions that are new, and nothing else.
- `abort n` counts while n is planned or closing. Later it takes nothing back.
- `verdict n` counts for an epoch that has begun, and for the newest plan. It is evidence and changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tagstream.stream.contract.rollout_records import (
    Abort,
    BundleName,
    Challenger,
    Close,
    Guards,
    Marks,
    Partition,
    Plan,
    RolloutRecord,
    Start,
    Verdict,
)

# Controllers take the next number. A topic that was put together again from its readable records may lack some.
MOST_LEAP = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """
    What decides in one epoch.

    Attributes:
        epoch: Its number; 0 is that of the start.
        champion: Decides every event that is not the challenger's.
        challenger: Decides its share; None without one.
        asks_people: Every event goes to a person.
        guards: By which the challenger is judged; None for the defaults.
    """

    epoch: int
    champion: BundleName
    challenger: Challenger | None = None
    asks_people: bool = False
    guards: Guards | None = None

    @classmethod
    def of(cls, plan: Plan) -> "Models":
        """Those of a plan."""
        return cls(
            epoch=plan.epoch,
            champion=plan.champion,
            challenger=plan.challenger,
            asks_people=plan.asks_people,
            guards=plan.guards,
        )

    def decides_as(self, other: "Models") -> bool:
        """Whether another epoch decides every event alike: its number and its guards decide none."""
        return replace(self, epoch=other.epoch, guards=other.guards) == other


@dataclass(slots=True)
class Epochs:
    """
    The records of `rollout` up to some place, folded. One thread writes (`take`), and any may ask.

    Attributes:
        started: There is a start record.
        group: The consumer group of the start; empty before it.
        planned: The newest plan, as long as it is neither marked nor given up.
        closing: The epoch that is closed and has neither marks nor an abort; None otherwise.
        newest: The newest epoch that has marks; 0 before the first change.
    """

    started: bool = False
    group: str = ""
    planned: Models | None = None
    closing: int | None = None
    newest: int = 0
    _highest: int = 0
    _models: dict[int, Models] = field(default_factory=dict)
    # Of each known partition: (first offset, epoch), the newest epoch last. Replaced and never changed, so that a reader sees one whole.
    _marks: dict[Partition, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    @property
    def partitions(self) -> frozenset[Partition]:
        """Every partition that a record lists."""
        return frozenset(self._marks)

    def begins(self, partition: Partition) -> tuple[tuple[int, int], ...]:
        """Where epochs begin in a partition that a record lists: (first offset, epoch), the newest epoch last."""
        return self._marks[partition]

    @property
    def next_epoch(self) -> int:
        """The number of the next plan."""
        return self._highest + 1

    def models(self, epoch: int) -> Models:
        """What decides in an epoch that has begun somewhere."""
        return self._models[epoch]

    def begun(self) -> tuple[Models, ...]:
        """What decides in each epoch that has begun, the newest last."""
        return tuple(self._models[epoch] for epoch in sorted(self._models))

    def may_begin(self, partitions: Iterable[Partition]) -> bool:
        """
        May events of these partitions be decided by whoever asked for the end of the topic after fetching them, and has read up to it?

        If not, an epoch is closing, or a partition is in no record yet: they are held until a later record says where they belong.
        Before the start all events are decided by the model of the settings.
        """
        return not self.started or (self.closing is None and all(partition in self._marks for partition in partitions))

    def epoch_of(self, partition: Partition, offset: int) -> int:
        """
        The epoch of an event for which `may_begin` was true, then or since.

        Records that came after do not change it: an epoch that closed later begins above every event that was fetched before.

        Raises:
            KeyError: No record lists the partition.
        """
        marks = self._marks[partition]
        for first, epoch in reversed(marks):
            if offset >= first:
                return epoch
        # The first mark of every partition is 0.
        return marks[0][1]

    def take(self, record: RolloutRecord) -> bool:
        """
        The next record of the topic.

        Returns:
            Whether it counts. One that the protocol does not allow in its place changes nothing.
        """
        match record:
            case Start():
                return self._start(record)
            case Plan():
                return self._plan(record)
            case Close():
                return self._close(record)
            case Marks():
                return self._mark(record)
            case Abort():
                return self._abort(record)
            case Verdict():
                return record.epoch in self._models or (self.planned is not None and record.epoch == self.planned.epoch)

    def _start(self, record: Start) -> bool:
        if self.started or record.epoch:
            return False
        self.started, self.group = True, record.group
        self._models[0] = Models(epoch=0, champion=record.champion)
        for partition in record.partitions:
            self._marks[partition] = ((0, 0),)
        return True

    def _plan(self, record: Plan) -> bool:
        if not self.started or self.closing is not None or not 0 < record.epoch - self._highest <= MOST_LEAP:
            return False
        self._highest = record.epoch
        self.planned = Models.of(record)
        return True

    def _close(self, record: Close) -> bool:
        if self.planned is None or self.closing is not None or record.epoch != self.planned.epoch:
            return False
        self.closing = record.epoch
        return True

    def _mark(self, record: Marks) -> bool:
        listed = {mark.at: mark.offset for mark in record.marks}
        new = listed.keys() - self._marks.keys()
        if self.closing is None:
            counts = self.started and record.epoch == self.newest and bool(new)
        else:
            counts = record.epoch == self.closing and self._marks.keys() <= listed.keys()
        if not counts:
            return False
        if self.closing is not None and self.planned is not None:
            # Before the marks: whoever finds the epoch finds its models.
            self._models[record.epoch] = self.planned
            for partition in self._marks.keys() & listed.keys():
                offset = listed[partition]
                if offset is not None:
                    self._marks[partition] += ((offset, record.epoch),)
            self.newest, self.planned, self.closing = record.epoch, None, None
        for partition in new:
            self._marks[partition] = ((0, record.epoch),)
        return True

    def _abort(self, record: Abort) -> bool:
        if self.planned is None or record.epoch != self.planned.epoch:
            return False
        self.planned = self.closing = None
        return True
