"""The seam for what a worker does beside the delivery: `cli` hands a worker its parts, and the core knows none by name."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tagstream.stream.kafka.group_memory import GroupMemory

Say = Callable[[bytes, bytes | None], Awaitable[Awaitable[Any]]]
"""Queues key and value for a topic, None to remove the key; the second await is the broker's confirmation."""


class WorkerPart(Protocol):
    """One part. For the worker's event loop."""

    async def run(self) -> None:
        """Work beside the delivery until this is cancelled. An error is the part's own to report."""

    async def admit(self, taken: Sequence[Any], given_up: Callable[[], bool]) -> None:
        """
        Wait until these events may begin. Return early once `given_up()` is true, because their partition is being revoked.

        Raises:
            DeliveryError: They may not begin, and no event is to blame; the worker ends.
        """

    def assigned(self) -> None:
        """The worker has got other partitions."""

    async def leave(self, *_: Any, **__: Any) -> None:
        """The worker ends in good order; the producer is flushed after this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """
    A worker's place in its group, as a part sees it.

    Attributes:
        member: Gives the member id; empty outside the group.
        sender: Of a topic, that which sends records to it.
        memory: What the group's commits carry from one worker to the next.
    """

    member: Callable[[], str]
    sender: Callable[[str], Say]
    memory: GroupMemory


MakePart = Callable[[Membership], WorkerPart]
"""Makes a part of a worker, before the group is joined."""
