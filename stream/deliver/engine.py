"""What the core asks of a broker's client, and what the client calls in return. docs/engines.md says what a second client would need."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.fatal import DeliveryError

if TYPE_CHECKING:
    # It loads kafka-python, which delivering does without.
    from tagstream.stream.kafka.group_memory import GroupMemory

Say = Callable[[bytes, bytes | None], Awaitable[Awaitable[Any]]]
"""Queues key and value for a topic, None to remove the key; the second await is the broker's confirmation."""


class Holder(Protocol):
    """Holds the events that an engine has handed out. The engine calls it on the event loop."""

    @property
    def bound_seconds(self) -> float:
        """The time within which `hand_back` returns. If the broker confirms slowly, it may take longer."""
        ...

    async def hand_back(self) -> None:
        """
        Finish what has begun, acknowledge it, and drop all other events, of all partitions.

        The engine stops reading and calls this before it loses a partition. Then it commits what is acknowledged, and only then gives
        the partition up. After the next assignment it reads each partition from its commit, one that it has kept too.
        """

    def take_again(self) -> None:
        """Take events again. The engine calls this after each assignment, before it hands out an event of it."""

    def broken(self, error: DeliveryError) -> NoReturn:
        """End the process. The engine calls this if it cannot go on: no event is read any more, a commit or a seek has failed."""


class Engine(Protocol):
    """
    A broker's client, as one member of a consumer group. All methods are called on one event loop.

    An event is an object with the attribute `message`. A message has `topic`, `partition`, `offset`, `timestamp` (Unix seconds; None if
    the record has none), `key`, `value` and `headers` (pairs of a name and bytes; None if there are none), untouched. The attribute
    `budget` is optional (`Record.budget`).

    Attributes:
        transacts: True if events are delivered by `transact`; otherwise by `send`, then `ack`.
        memory: The group's notes. At each assignment it learns the metadata of all commits of the topics. Each commit carries its metadata.
    """

    transacts: bool
    memory: "GroupMemory"

    def subscribe(self, name: str, topics: Sequence[str], run: Callable[[AsyncIterator[Any]], Awaitable[None]]) -> None:
        """
        Read these topics once the engine starts, and call `run` with their events.

        The events of a partition come in the order of their offsets, from the group's commit; without a commit from the beginning. No
        record is left out, except those that the log no longer has. `run` ends only with the engine, which commits what is acknowledged
        before it leaves the group.
        """

    def held_by(self, holder: Holder) -> None:
        """Call this holder from now on. Called once, before the start."""

    def ack(self, events: Sequence[Any]) -> None:
        """
        Mark events as done, in the order of their offsets.

        An event may be committed once it and all events before it in its partition are marked, and within the commit interval it is. The
        mark of an event whose partition was given up since it was handed out has no effect. If `transacts`, marks commit nothing.
        """

    async def commit(self) -> None:
        """Commit what is acknowledged, within seconds. A failure is logged: its events are read again."""

    def send(self, publication: Publication) -> Awaitable[Awaitable[Any]]:
        """
        Queue an outcome, and its copy for `audit`. Await the result once for room in the queue, and a second time for the confirmation.

        The records of a partition are written in the order of the calls. The confirmation comes once all in-sync replicas have the
        records.

        Raises:
            Exception: One of the two awaits raises if a record was refused or may not have been written.
        """
        ...

    async def transact(self, sources: Sequence[Any], publications: Sequence[Publication]) -> list[Publication]:
        """
        Commit outcomes and the offsets after their events together: readers of committed records see all of a partition's, or none.

        Once this returns, the brokers will not undo it; readers and the group may see it a moment later.

        Args:
            sources: The messages of the events, in the order of offsets within a partition.
            publications: Their outcomes, in the same order.

        Returns:
            The outcomes that were committed now. Outcomes of events that were committed before are left out.

        Raises:
            Exception: Nothing of a partition was committed: another member has taken it over, or the brokers refused.
        """
        ...

    def sender(self, topic: str) -> Say:
        """A function that sends records to this topic; a caller that stops waiting for a confirmation does not disturb others."""
        ...

    def member(self) -> str:
        """The id of this member, which each join may change; empty outside the group."""
        ...
