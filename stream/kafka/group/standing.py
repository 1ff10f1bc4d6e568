"""Where a consumer group stands in its topic: members, and for each partition how many events wait and since when. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from monitoring.record_time import can_be_true


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of the group: its client's name, its host, and the partitions of the topic that it holds."""

    client: str
    host: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    One partition.

    Attributes:
        partition: Its number.
        begin: The first offset that is still in the log.
        committed: The group's offset; None before the first commit.
        end: The end of what may be read: the last stable offset.
        high: The end of the log.
        oldest_ms: When the first event that waits was written, by its producer, Unix milliseconds; None if none waits, or it is not known.
        last_ms: When the last committed event was written; None if it is not in the log any more, or it is not known.
        open_since_ms: When the first record of the oldest open transaction was written; None if none is open, or it is not known.
        drained: Was the log read to its end without an event? Then only markers of transactions follow the commit.
    """

    partition: int
    begin: int
    committed: int | None
    end: int
    high: int = 0
    oldest_ms: int | None = None
    last_ms: int | None = None
    open_since_ms: int | None = None
    drained: bool = False

    @property
    def next(self) -> int:
        """The first offset that a worker would read now: a group without a commit begins at the first event."""
        return max(self.begin, self.committed or 0)

    @property
    def waiting(self) -> int:
        """
        Events between the commit and the end; markers of transactions among them are counted too.

        >>> Place(partition=0, begin=3, committed=None, end=10).waiting
        7
        >>> Place(partition=0, begin=0, committed=9, end=10, drained=True).waiting
        0
        """
        return 0 if self.drained else max(0, self.end - self.next)

    @property
    def behind(self) -> int:
        """Events behind an open transaction, which no consumer of committed records may read; markers are counted too."""
        return max(0, self.high - self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A group and its topic. `state` is the coordinator's word: Stable, Empty, PreparingRebalance and so on."""

    group: str
    topic: str
    state: str
    members: tuple[Member, ...]
    places: tuple[Place, ...]

    @property
    def waiting(self) -> int:
        """Events that wait, in all partitions."""
        return sum(place.waiting for place in self.places)

    @property
    def has_committed(self) -> bool:
        """Has the group an offset in any partition?"""
        return any(place.committed is not None for place in self.places)

    @property
    def held(self) -> int:
        """How many partitions of the topic a member holds."""
        return len({number for member in self.members for number in member.partitions})

    @property
    def deserted(self) -> bool:
        """Is there no member, or does no member hold a partition, though the group is not about to share them out?"""
        return not self.members or (self.state == "Stable" and not self.held)

    def oldest_ms(self, now_ms: float) -> int | None:
        """When the oldest event that waits was written, Unix milliseconds; None if no timestamp is known that can be true."""
        return min(_known((place.oldest_ms for place in self.places), now_ms), default=None)

    def last_ms(self, now_ms: float) -> int | None:
        """When the newest committed event was written, likewise: it was committed then or later."""
        return max(_known((place.last_ms for place in self.places), now_ms), default=None)


def without_a_commit(before: Standing, after: Standing, written_before_ms: float) -> tuple[Member, ...]:
    """
    The members that held the same partitions at both looks and committed in none of them, though old events wait there.

    Kafka counts a member that died until its session ends. A worker that catches up has old events too, and it commits.

    Args:
        before: The first look.
        after: A later one.
        written_before_ms: Events that were written before this moment (Unix milliseconds) are old.
    """
    committed = {place.partition: place.committed for place in before.places}
    places = {place.partition: place for place in after.places}

    def stands_still(member: Member) -> bool:
        held = [places[number] for number in member.partitions if number in places]
        old = any(
            place.waiting and moment < written_before_ms for place in held for moment in _known([place.oldest_ms], math.inf)
        )
        return old and all(place.committed == committed.get(place.partition) for place in held)

    return tuple(member for member in after.members if member in before.members and stands_still(member))


def _known(moments: Iterable[int | None], now_ms: float) -> list[int]:
    return [moment for moment in moments if moment is not None and can_be_true(moment, now_ms)]
