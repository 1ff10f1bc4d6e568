"""The seam for a worker's work beside the delivery: `cli` hands a worker its parts, and the core knows no part by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tagstream.monitoring.observer import Observation, Observer
from tagstream.stream.deliver.engine import Say
from tagstream.stream.kafka.group_memory import GroupMemory


class WorkerPart:
    """
    One part of a worker. By default it does nothing. All methods are called on the worker's event loop.

    An exception from `run` or `published` ends the worker with exit code 70. No event is lost.
    """

    async def run(self) -> None:
        """Work beside the delivery until this is cancelled."""

    async def admit(self, taken: Sequence[Any], given_up: Callable[[], bool]) -> None:
        """
        Wait until these events may begin. Return early once `given_up()` is true, because their partition is being revoked.

        Raises:
            DeliveryError: The events may not begin, and no event is to blame; the worker ends.
        """

    def assigned(self) -> None:
        """The group has assigned other partitions to the worker."""

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """The broker has acknowledged these outcomes; `now_ms` is Unix milliseconds. Must neither raise nor block."""

    async def leave(self) -> None:
        """The worker ends in good order; the producer is flushed after this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """
    A worker's place in its group, as a part sees it.

    Attributes:
        member: Gives the member id; empty outside the group.
        sender: Makes the function that sends records to a topic.
        memory: The notes that the group's commits carry from one worker to the next.
    """

    member: Callable[[], str]
    sender: Callable[[str], Say]
    memory: GroupMemory


MakePart = Callable[[Membership], WorkerPart]
"""Makes a part of a worker, before the group is joined."""


def told(observer: Observer, parts: Sequence[WorkerPart]) -> Observer:
    """An observer that also tells the parts what is published; the observer itself if no part listens."""
    listening = [part for part in parts if type(part).published is not WorkerPart.published]
    return _Told(observer, listening) if listening else observer


class _Told:
    """An observer that tells parts what is published."""

    def __init__(self, observer: Observer, parts: Sequence[WorkerPart]) -> None:
        self._observer = observer
        self._parts = parts
        self.received, self.stage = observer.received, observer.stage
        self.model_raised, self.remembered = observer.model_raised, observer.remembered

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        self._observer.published(observations, now_ms)
        for part in self._parts:
            part.published(observations, now_ms)
