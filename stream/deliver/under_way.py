"""The batches that have begun and are not over, and how far each has come."""

import asyncio
from dataclasses import dataclass, field


class Turn:
    """How far one batch has come. The batch after it waits for these events, so that batches send and acknowledge in order."""

    def __init__(self) -> None:
        """Begin before the decision."""
        self.decided = asyncio.Event()
        self.sent = asyncio.Event()
        self.acknowledged = asyncio.Event()

    @classmethod
    def over(cls) -> "Turn":
        """The turn before the first batch."""
        turn = cls()
        turn.decided.set()
        turn.sent.set()
        turn.acknowledged.set()
        return turn


@dataclass(slots=True, kw_only=True)
class UnderWay:
    """
    The batches that have begun and are not over.

    Attributes:
        free: One permit for each further batch that may begin.
        before: The turn of the last batch that has begun.
        running: The tasks of the batches.
        deciding: The turns of those that were not decided when the last batch began.
    """

    free: asyncio.Semaphore
    before: Turn = field(default_factory=Turn.over)
    running: set[asyncio.Task[None]] = field(default_factory=set)
    deciding: list[Turn] = field(default_factory=list)

    async def all_decided(self) -> None:
        """Wait until every batch is decided, so that the model is free."""
        for turn in self.deciding:
            await turn.decided.wait()
