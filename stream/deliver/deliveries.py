"""The deliveries of one worker, one for each topic that it reads, as the consumer and the position see them."""

import asyncio
from typing import NoReturn

from stream.deliver.delivery import Delivery
from stream.deliver.fatal import DeliveryError


class Deliveries:
    """
    Several deliveries that begin and end together. Each keeps its own order, batches and bounds.

    Attributes:
        content: That of the events.
        answers: That of reviewers' answers; None where the worker takes none.
    """

    def __init__(self, content: Delivery, answers: Delivery | None = None) -> None:
        """Join them."""
        self.content = content
        self.answers = answers
        self._all = [content] if answers is None else [content, answers]

    @property
    def acknowledged(self) -> dict[tuple[str, int], int]:
        """By topic and partition, the offset after the last record that was acknowledged."""
        return {place: offset for one in self._all for place, offset in one.acknowledged.items()}

    @property
    def inflight(self) -> int:
        """The number of events, answers left out, whose batch has begun and is not over."""
        return self.content.inflight

    def oldest_seconds(self, now: float) -> float:
        """The age, at `now` in Unix seconds, of the oldest event that was taken and is not acknowledged; 0 if there is none."""
        return self.content.oldest_seconds(now)

    @property
    def bound_seconds(self) -> float:
        """All batches that have begun are over within so long; they run beside each other. See `Delivery.bound_seconds`."""
        return max(one.bound_seconds for one in self._all)

    def holds(self) -> set[tuple[str, int]]:
        """Topic and partition of each record that was taken and is neither acknowledged nor handed back."""
        return {place for one in self._all for place in one.holds()}

    async def hand_back(self) -> None:
        """Begin no more batches of any topic, and return when all that have begun are acknowledged."""
        await asyncio.gather(*(one.hand_back() for one in self._all))

    def take_again(self) -> None:
        """Take records again: partitions are assigned, and will be read from their commits."""
        for one in self._all:
            one.take_again()

    def broken(self, error: DeliveryError) -> NoReturn:
        """End the process for an error outside the deliveries, for which no event is to blame."""
        self.content.broken(error)
