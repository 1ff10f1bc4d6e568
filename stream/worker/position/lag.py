"""The offsets of one partition, and the number of events that this group has still to commit in it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where this worker and its group stand in one partition.

    Attributes:
        begin: The first offset that is still in the log.
        end: The end of what may be read.
        committed: The group's offset; None before the first commit.
        fetched: The offset up to which records were fetched; None if it is not known.
        waiting: Does the delivery hold an event of it that is not acknowledged yet?
        handed_out: Records that were handed out, to Faust's buffer or further, and may not be committed yet.
        acknowledged: The offset after the last event that this process has acknowledged; None if there was none.
        settled: Has it been quiet for so long that every fetched record would have been handed out?
    """

    begin: int
    end: int
    committed: int | None
    fetched: int | None
    waiting: bool
    handed_out: int = 0
    acknowledged: int | None = None
    settled: bool = False

    @property
    def quiet(self) -> bool:
        """Was everything fetched up to the end, and is none of it waiting?"""
        return self.fetched is not None and self.fetched >= self.end and not self.handed_out and not self.waiting

    @property
    def done(self) -> int:
        """The offset up to which events were committed or acknowledged; 0 if none were."""
        return max(self.committed or 0, self.acknowledged or 0)

    @property
    def ends_short(self) -> bool:
        """Does the log end before the events that were already processed? Then it is another log than before."""
        return self.end < self.done

    @property
    def lag(self) -> int:
        """
        Events between the commit and the end.

        Offsets are not events: a transaction leaves markers in the log that are never handed out. In a quiet partition only the
        acknowledged events are still to be committed, and the markers after them do not count. If no event was ever acknowledged or
        committed, they count until the partition is settled, because a fetched record may not have been handed out yet.

        >>> Place(begin=0, end=10, committed=4, fetched=10, waiting=True).lag
        6
        >>> Place(begin=0, end=10, committed=9, fetched=10, waiting=False, acknowledged=9).lag
        0
        >>> Place(begin=0, end=10, committed=4, fetched=10, handed_out=1, waiting=False, acknowledged=4).lag
        6
        >>> Place(begin=3, end=10, committed=None, fetched=10, waiting=False).lag
        7
        >>> Place(begin=3, end=10, committed=None, fetched=10, waiting=False, settled=True).lag
        0
        """
        done = max((offset for offset in (self.committed, self.acknowledged) if offset is not None), default=None)
        if done is None and self.settled:
            done = self.begin
        end = min(done, self.end) if done is not None and self.quiet else self.end
        return max(0, end - (self.begin if self.committed is None else self.committed))
