"""A group in memory: a log, its commits, and fake engines that share the partitions. Its hooks are what the bad engines break."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.engine import Say
from tests.contract.engine.checks import HEADERS, REFUSED_BYTES, TIMESTAMP_MS, Member, record
from tests.fakes import FakeBroker, FakeEngine, FakeEvent, FakeMessage, FakeStream

TOPIC = "content"
# Far above what a check needs, so a wait that ends here would not have ended.
MOST_PASSES = 3_000
NOW = 1_700_000_000.0


class RefusedError(Exception):
    """The broker in memory takes no record of this size, or none of a member that was fenced."""


@dataclass(frozen=True, slots=True)
class HandedOut(FakeMessage):
    """A record, and the number of the assignment by which it was handed out."""

    assignment: int = 0


@dataclass
class Log:
    """What the brokers keep."""

    lengths: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})
    commits: dict[int, int] = field(default_factory=dict)
    notes: dict[object, str] = field(default_factory=dict)
    topics: defaultdict[str, list[tuple[bytes | None, bytes | None]]] = field(default_factory=lambda: defaultdict(list))
    # The member that may transact a partition; another one is fenced.
    transacting: dict[int, object] = field(default_factory=dict)
    members: list["MemoryEngine"] = field(default_factory=list)
    ids: Any = field(default_factory=itertools.count)

    async def share(self) -> None:
        """Take all partitions back, then give them out again."""
        for member in self.members:
            await member.give_up()
        for number, member in enumerate(self.members):
            member.take_up([partition for partition in self.lengths if partition % len(self.members) == number])


class MemoryBroker(FakeBroker):
    """Takes each record a pass of the loop after it was sent, and confirms it then."""

    def __init__(self, log: Log) -> None:
        """On this log."""
        super().__init__(confirms=False)
        self.log = log

    def confirmed(self, topic: str, key: bytes | None, value: bytes | None) -> asyncio.Future[None]:
        """Send a record; its confirmation."""
        loop = asyncio.get_running_loop()
        confirmation: asyncio.Future[None] = loop.create_future()
        loop.call_soon(self.arrive, topic, key, value, confirmation)
        return confirmation

    def arrive(self, topic: str, key: bytes | None, value: bytes | None, confirmation: asyncio.Future[None]) -> None:
        """Append the record, or refuse it."""
        if len(value or b"") >= REFUSED_BYTES:
            confirmation.set_exception(RefusedError())
            return
        self.log.topics[topic].append((key, value))
        confirmation.set_result(None)

    async def send(self, publication: Publication) -> asyncio.Future[None]:
        """Queue one outcome, then give its confirmation."""
        await asyncio.sleep(0)
        return self.confirmed(publication.destination.value, publication.key, publication.value)


class MemoryEngine(FakeEngine):
    """The fake engine on a log."""

    broker_type = MemoryBroker

    def __init__(self, log: Log, *, transacts: bool) -> None:
        """A member that has not joined."""
        self.log = log
        super().__init__(FakeStream(), self.broker_type(log), self.deliver if transacts else None)
        self.id = f"member-{next(log.ids)}"
        self.assignment = 0
        self.next: dict[int, int] = {}
        self.marks: defaultdict[int, set[int]] = defaultdict(set)
        self.tasks: list[asyncio.Future[None]] = []

    async def start(self) -> None:
        """Join, read and commit."""
        self.log.members.append(self)
        await self.log.share()
        self.tasks = [asyncio.ensure_future(self.run(self.stream.events())), asyncio.create_task(self.work())]

    async def stop(self) -> None:
        """Commit and leave."""
        await self.commit()
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        self.log.members.remove(self)
        self.next.clear()
        await self.log.share()

    async def work(self) -> None:
        """Read and commit, again and again."""
        while True:
            self.read()
            await self.commit()
            await asyncio.sleep(0)

    def read(self) -> None:
        """Hand out what is new."""
        for partition, first in self.next.items():
            self.hand_out(partition, range(first, self.log.lengths[partition]))
            self.next[partition] = self.log.lengths[partition]

    def hand_out(self, partition: int, offsets: Sequence[int]) -> None:
        """Put records into the stream."""
        for offset in offsets:
            key, value = record(partition, offset)
            message = HandedOut(offset, value, key, TOPIC, partition, TIMESTAMP_MS / 1000, HEADERS, assignment=self.assignment)
            self.stream.coming.put_nowait(FakeEvent(message))

    async def give_up(self) -> None:
        """Let the holder hand back, commit, and drop what is queued."""
        assert self._holder is not None
        await self._holder.hand_back()
        await self.commit()
        self.next.clear()
        while not self.stream.coming.empty():
            self.stream.coming.get_nowait()

    def take_up(self, partitions: Sequence[int]) -> None:
        """Read these partitions from their commits."""
        assert self._holder is not None
        self.assignment += 1
        self.marks.clear()
        self.memory.learn(self.log.notes, now=NOW)
        self.next = {partition: self.begin(partition) for partition in partitions}
        if self.transacts:
            self.log.transacting |= dict.fromkeys(partitions, self)
        self._holder.take_again()

    def begin(self, partition: int) -> int:
        """The offset from which a partition is read."""
        return self.log.commits.get(partition, 0)

    def ack(self, events: Sequence[Any]) -> None:
        """Mark the events of the present assignment."""
        super().ack(events)
        for event in events:
            if event.message.assignment == self.assignment:
                self.marks[event.message.partition].add(event.message.offset)

    async def commit(self) -> None:
        """Commit what is marked, without gaps."""
        if self.transacts:
            return
        for partition in tuple(self.next):
            first = self.log.commits.get(partition, 0)
            behind = self.behind(partition, first)
            if behind > first:
                self.committed(partition, behind)

    def behind(self, partition: int, first: int) -> int:
        """The first offset from `first` that is not marked."""
        return next(offset for offset in itertools.count(first) if offset not in self.marks[partition])

    def committed(self, partition: int, offset: int) -> None:
        """Note a commit with the group's notes."""
        self.log.commits[partition] = offset
        self.log.notes[TOPIC, partition] = self.memory.metadata
        self.memory.noted([(TOPIC, partition)], self.memory.metadata)

    async def deliver(self, sources: Sequence[Any], publications: Sequence[Publication]) -> list[Publication]:
        """One transaction for all partitions."""
        await asyncio.sleep(0)
        partitions = {source.partition for source in sources}
        if self.fenced(partitions) or self.too_large(publications):
            raise RefusedError
        fresh = [one for source, one in zip(sources, publications, strict=True) if self.is_fresh(source)]
        for one in fresh:
            self.log.topics[one.destination.value].append((one.key, one.value))
        for partition in partitions:
            last = max(source.offset for source in sources if source.partition == partition)
            self.committed(partition, max(last + 1, self.log.commits.get(partition, 0)))
        return fresh

    def fenced(self, partitions: set[int]) -> bool:
        """Whether another member has taken one of these partitions over."""
        return any(self.log.transacting[partition] is not self for partition in partitions)

    def too_large(self, publications: Sequence[Publication]) -> bool:
        """Whether the broker refuses one of these."""
        return any(len(one.value or b"") >= REFUSED_BYTES for one in publications)

    def is_fresh(self, source: Any) -> bool:
        """Whether the event is not committed yet."""
        return bool(source.offset >= self.log.commits.get(source.partition, 0))

    def sender(self, topic: str) -> Say:
        """By the broker."""
        assert isinstance(self.broker, MemoryBroker)
        confirmed = self.broker.confirmed

        async def say(key: bytes, value: bytes | None) -> Awaitable[Any]:
            return confirmed(topic, key, value)

        return say

    def member(self) -> str:
        """The id in the group."""
        return self.id


class MemoryBench:
    """Implements `Bench` with engines of one type."""

    said_topic = "said"

    def __init__(self, engine: type[MemoryEngine] = MemoryEngine) -> None:
        """On an empty log."""
        self._engine, self.log = engine, Log()

    async def produce(self, partition: int, count: int) -> None:
        """Records are made as they are read."""
        self.log.lengths[partition] += count

    async def committed(self) -> dict[int, int]:
        """As the log has it."""
        return dict(self.log.commits)

    async def outcomes(self) -> list[bytes | None]:
        """As the log has them."""
        return [key for key, _ in self.log.topics["tagged"]]

    async def said(self) -> list[tuple[bytes | None, bytes | None]]:
        """As the log has them."""
        return self.log.topics[self.said_topic]

    async def join(self, *, transacts: bool = False) -> Member:
        """A member on the log."""
        member = Member()
        engine = self._engine(self.log, transacts=transacts)
        member.engine = engine
        engine.subscribe("classify", [TOPIC], member.run)
        engine.held_by(member)
        await engine.start()
        return member

    async def leave(self, member: Member) -> None:
        """In good order."""
        assert isinstance(member.engine, MemoryEngine)
        await member.engine.stop()

    async def take_over(self, partition: int) -> None:
        """Nobody that is known holds it now."""
        self.log.transacting[partition] = None

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Let the loop pass."""
        for _ in range(MOST_PASSES):
            if await holds():
                return
            await asyncio.sleep(0)
        raise AssertionError(what)
