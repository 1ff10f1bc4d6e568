"""
Which epoch an event belongs to: a fold over the records of the topic `rollout`, with the same result for every reader.

**The epoch of an event is the highest epoch, not given up, whose mark in the event's partition is at or below the event's offset.** The
epoch does not depend on a clock, a worker or the order of arrival. An event that is delivered again belongs to the same epoch.

The fold takes only records that the protocol allows at their place. All other records change nothing. So a late record, or a record of a
mistaken program, means the same to all readers:

- `start` counts only as the first record.
- `plan n` counts if n is above every earlier number, by at most `MOST_LEAP`, and no epoch is closing. Without that bound one plan could
  use up all numbers.
- `close n` counts for the newest plan, if the plan is neither marked nor given up and no other epoch is closing.
- `marks n` counts while n is closing, if it lists every known partition. A partition that is listed for the first time, in whatever epoch,
  begins at offset 0: its events are not decided yet. While no epoch is closing, `marks` of the newest epoch only adds new partitions.
- `abort n` counts while n is planned or closing. A later abort takes nothing back.
- `verdict n` counts for an epoch that has begun, and for the newest plan. A verdict changes no epoch.
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

# Controllers take the next number. A topic that was restored from its readable records may lack some numbers.
MOST_LEAP = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """
    The models of one epoch.

    Attributes:
        epoch: The epoch's number; 0 before the first change.
        champion: Decides all events but the challenger's.
        challenger: Decides its share of the events; None for no second model.
        asks_people: Every event goes to a person.
        guards: The guards by which the challenger is judged; None for the defaults.
    """

    epoch: int
    champion: BundleName
    challenger: Challenger | None = None
    asks_people: bool = False
    guards: Guards | None = None

    @classmethod
    def of(cls, plan: Plan) -> "Models":
        """Return the models of a plan."""
        return cls(
            epoch=plan.epoch,
            champion=plan.champion,
            challenger=plan.challenger,
            asks_people=plan.asks_people,
            guards=plan.guards,
        )

    def decides_as(self, other: "Models") -> bool:
        """Return True if both epochs decide every event alike. The number and the guards of an epoch decide no event."""
        return replace(self, epoch=other.epoch, guards=other.guards) == other


@dataclass(slots=True)
class Epochs:
    """
    The fold of the records of `rollout` up to some offset. One thread writes (`take`), and any thread may read.

    Attributes:
        started: True once there is a start record.
        group: The consumer group in the start record; empty before it.
        planned: The newest plan, while it is neither marked nor given up; None otherwise.
        closing: The epoch that has a close, but neither marks nor an abort; None if there is no such epoch.
        newest: The newest epoch that has marks; 0 before the first change.
    """

    started: bool = False
    group: str = ""
    planned: Models | None = None
    closing: int | None = None
    newest: int = 0
    _highest: int = 0
    _models: dict[int, Models] = field(default_factory=dict)
    # For each known partition: (first offset, epoch), the newest epoch last. The tuples are replaced, so a reading thread sees whole ones.
    _marks: dict[Partition, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    @property
    def partitions(self) -> frozenset[Partition]:
        """All partitions that a record lists."""
        return frozenset(self._marks)

    def begins(self, partition: Partition) -> tuple[tuple[int, int], ...]:
        """Return where epochs begin in a listed partition: (first offset, epoch), the newest epoch last."""
        return self._marks[partition]

    @property
    def next_epoch(self) -> int:
        """The number of the next plan."""
        return self._highest + 1

    def models(self, epoch: int) -> Models:
        """Return the models of an epoch that has begun."""
        return self._models[epoch]

    def begun(self) -> tuple[Models, ...]:
        """Return the models of each epoch that has begun, the newest last."""
        return tuple(self._models[epoch] for epoch in sorted(self._models))

    def may_begin(self, partitions: Iterable[Partition]) -> bool:
        """
        Return True if a worker may decide fetched events of these partitions.

        The worker must have asked for the end of the topic after it fetched the events, and read up to that end. False while an epoch is
        closing or a partition is not in a record: the events are held until a later record assigns them to an epoch. Before the start
        record the model of the settings decides all events.
        """
        return not self.started or (self.closing is None and all(partition in self._marks for partition in partitions))

    def epoch_of(self, partition: Partition, offset: int) -> int:
        """
        Return the epoch of an event for which `may_begin` has been true.

        Later records do not change the epoch of such an event: an epoch that closes later begins above it.

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
        Take the next record of the topic.

        Returns:
            True if the record counts. A record that the protocol does not allow at its place changes nothing.
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
            # The models are set before the marks: a thread that finds the epoch finds its models.
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
