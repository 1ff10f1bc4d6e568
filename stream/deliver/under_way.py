"""The batches that have begun and are not over, and how far each has come."""

import asyncio
from dataclasses import dataclass, field


class Turn:
    """
    How far one batch has come. The batch after it waits for these events, so that batches send and acknowledge in order.

    Attributes:
        share: How much of a full batch it is, in events or in bytes; 1 for a full one.
    """

    def __init__(self, share: float) -> None:
        """Begin before the decision."""
        self.share = share
        self.decided = asyncio.Event()
        self.sent = asyncio.Event()
        self.acknowledged = asyncio.Event()

    @classmethod
    def over(cls) -> "Turn":
        """The turn before the first batch."""
        turn = cls(0)
        turn.decided.set()
        turn.sent.set()
        turn.acknowledged.set()
        return turn


@dataclass(slots=True, kw_only=True)
class UnderWay:
    """
    The batches that have begun and are not over.

    Attributes:
        threads: So many batches are decided at once.
        before: The turn of the last batch that has begun.
        running: The tasks of the batches, in their order, with their turns.
    """

    threads: int
    before: Turn = field(default_factory=Turn.over)
    running: dict[asyncio.Task[None], Turn] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self) -> None:
        """Look again whether there is room: a batch was decided or is over."""
        self._changed.set()

    async def room(self, *, transacted: bool) -> None:
        """
        Wait until a further batch may begin: a thread is free for it, and at most `threads` full batches, or as much in smaller ones, are
        under way.

        Args:
            transacted: Each batch is a transaction, whose cost does not depend on its size. So small ones do not wait for the broker in
                numbers: a batch begins when at most `threads` of any size are under way, whether or not a thread is free.
        """
        while len(self.running) > self.threads if transacted else self._full():
            self._changed.clear()
            await self._changed.wait()

    def _full(self) -> bool:
        turns = self.running.values()
        return len(self._undecided()) >= self.threads or sum(turn.share for turn in turns) > self.threads

    def _undecided(self) -> list[Turn]:
        return [turn for turn in self.running.values() if not turn.decided.is_set()]

    async def all_decided(self) -> None:
        """Wait until every batch is decided, so that the model is free."""
        for turn in self._undecided():
            await turn.decided.wait()
