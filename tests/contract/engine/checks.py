"""
What every engine must keep: each check is one sentence, and drives members of a group by the verbs of `Engine` alone.

A second engine passes once it has a `Bench` of its own. `CHECKS` has them all.
"""

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, Protocol

import pytest

from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.engine import Engine
from tagstream.stream.deliver.fatal import DeliveryError
from tests.fakes import ANY_OUTCOME

TIMESTAMP_MS = 1_700_000_000_123
HEADERS = [("h", b"\x00\xff")]
# More than a topic of these tests takes, and less than a client sends.
REFUSED_BYTES = 2_000_000
ROLLOUT = "some.rollout"


class Member:
    """
    One member of the group: implements `Holder`, and keeps the events that its engine hands out.

    Attributes:
        engine: What is tested; set by the bench.
        taken: The events since the last assignment.
        dropped: The events that were handed back.
        finishing: The number of events of each partition that are acknowledged when the member hands back.
        broken_by: The errors for which the engine has ended the process.
    """

    engine: Engine
    bound_seconds = 600.0

    def __init__(self) -> None:
        """Hold nothing."""
        self.taken: list[Any] = []
        self.dropped: list[Any] = []
        self.finishing = 0
        self.broken_by: list[DeliveryError] = []
        self._handing_back = False

    async def run(self, events: Any) -> None:
        """Take events; what an engine hands out while it takes back is dropped."""
        async for event in events:
            if not self._handing_back:
                self.taken.append(event)

    async def hand_back(self) -> None:
        """Finish some events, and drop the others."""
        self._handing_back = True
        for partition in (0, 1):
            if events := self.of(partition)[: self.finishing]:
                self.engine.ack(events)
        self.dropped += self.taken
        self.taken = []

    def take_again(self) -> None:
        """Take events again."""
        self._handing_back = False

    def broken(self, error: DeliveryError) -> NoReturn:
        """The process would end here."""
        self.broken_by.append(error)
        raise error

    def of(self, partition: int) -> list[Any]:
        """The events of one partition that it holds."""
        return [event for event in self.taken if event.message.partition == partition]

    def offsets(self, partition: int) -> list[int]:
        """Their offsets."""
        return [event.message.offset for event in self.of(partition)]

    def held(self) -> set[int]:
        """The partitions of which it holds events."""
        return {event.message.partition for event in self.taken}


class Bench(Protocol):
    """A broker with a topic of events in two partitions, whose outcomes nobody else writes, and a group that only its members join."""

    said_topic: str

    async def produce(self, partition: int, count: int) -> None:
        """Append records made by `record`; returns once the broker has them."""

    async def committed(self) -> dict[int, int]:
        """The group's offset by partition; a partition without a commit is left out."""
        ...

    async def outcomes(self) -> list[bytes | None]:
        """The keys of all tagged outcomes, as a reader of committed records sees them now."""
        ...

    async def said(self) -> list[tuple[bytes | None, bytes | None]]:
        """Key and value of each record of `said_topic`."""
        ...

    async def join(self, *, transacts: bool = False) -> Member:
        """A new member, whose engine has started."""
        ...

    async def leave(self, member: Member) -> None:
        """Stop the member's engine in good order."""

    async def take_over(self, partition: int) -> None:
        """Do what another member does before it delivers a partition in transactions, behind the back of the group."""

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """
        Wait until something holds.

        Raises:
            AssertionError: It did not within a bound.
        """


def record(partition: int, offset: int) -> tuple[bytes, bytes]:
    """Key and value of the record at this place; it also has `HEADERS` and `TIMESTAMP_MS`."""
    return f"{partition}/{offset}".encode(), f"value {offset}".encode() + b"\x00\xff"


def outcome(event: Any, *, value: bytes = b"{}") -> Publication:
    """The event's outcome, with the event's key."""
    return Publication(
        destination=Destination.TAGGED,
        key=event.message.key,
        value=value,
        headers=(),
        observation=Observation(destination=Destination.TAGGED, created_ms=0, label="other", confidence=0.5),
        outcome=ANY_OUTCOME,
    )


async def _holding(bench: Bench, counts: dict[int, int], *, transacts: bool = False) -> Member:
    """A member that has taken so many new events of each partition."""
    for partition, count in counts.items():
        await bench.produce(partition, count)
    member = await bench.join(transacts=transacts)
    await _until_held(bench, member, counts)
    return member


async def _until_held(bench: Bench, member: Member, counts: dict[int, int]) -> None:
    async def holds() -> bool:
        return all(len(member.of(partition)) >= count for partition, count in counts.items())

    await bench.until(holds, f"the member holds {counts}")


async def _shared(bench: Bench, first: Member, second: Member) -> tuple[int, int]:
    """The partition of each member, once each holds events of one."""

    async def holds() -> bool:
        return len(first.held()) == len(second.held()) == 1 and first.held() != second.held()

    await bench.until(holds, "each of two members holds events of one partition")
    (kept,), (moved,) = first.held(), second.held()
    return kept, moved


async def _until_committed(bench: Bench, partition: int, offset: int) -> None:
    async def holds() -> bool:
        return (await bench.committed()).get(partition) == offset

    await bench.until(holds, f"partition {partition} is committed up to {offset}")


async def _until_seen(bench: Bench, keys: set[bytes], committed: dict[int, int]) -> None:
    """Wait until the group has these commits and readers see these outcomes, each once."""

    async def holds() -> bool:
        return await bench.committed() == committed and keys <= set(await bench.outcomes())

    await bench.until(holds, f"{committed} is committed with {sorted(keys)}")
    assert sorted(await bench.outcomes(), key=str) == sorted(keys)


async def _transacted(member: Member, events: Sequence[Any], outcomes: Sequence[Publication]) -> list[Publication]:
    return await member.engine.transact([event.message for event in events], outcomes)


async def events_come_in_order_and_untouched(bench: Bench) -> None:
    """The events of a partition come from its beginning, once, in the order of their offsets, with the producer's bytes."""
    member = await _holding(bench, {0: 300, 1: 300})
    for partition in (0, 1):
        assert member.offsets(partition) == list(range(300))
    for message in (event.message for event in member.taken):
        assert (message.key, message.value) == record(message.partition, message.offset)
        assert list(message.headers) == HEADERS
        assert round(message.timestamp * 1000) == TIMESTAMP_MS


async def nothing_is_committed_before_it_is_acknowledged(bench: Bench) -> None:
    """A commit of one partition leaves out the other, whose events were taken and are not acknowledged."""
    member = await _holding(bench, {0: 5, 1: 5})
    member.engine.ack(member.of(1))
    await _until_committed(bench, 1, 5)
    assert 0 not in await bench.committed()


async def a_commit_ends_at_the_first_event_that_is_not_acknowledged(bench: Bench) -> None:
    """Acknowledgements may come out of order: the commit waits for the gap, and passes it once it is closed."""
    member = await _holding(bench, {0: 5, 1: 5})
    events = member.of(0)
    member.engine.ack([events[0], events[2], events[3]])
    await _until_committed(bench, 0, 1)
    member.engine.ack(member.of(1))
    await _until_committed(bench, 1, 5)
    assert (await bench.committed())[0] == 1
    member.engine.ack([events[1]])
    await _until_committed(bench, 0, 4)


async def a_commit_that_is_asked_for_is_made_at_once(bench: Bench) -> None:
    """When `commit` returns, what was acknowledged before is committed."""
    member = await _holding(bench, {0: 5})
    member.engine.ack(member.of(0)[:3])
    await member.engine.commit()
    assert await bench.committed() == {0: 3}


async def the_next_member_goes_on_behind_the_commit(bench: Bench) -> None:
    """Events that were not acknowledged come again, and those that were do not; a member that leaves commits first."""
    member = await _holding(bench, {0: 10})
    member.engine.ack(member.of(0)[:4])
    await bench.leave(member)
    assert await bench.committed() == {0: 4}
    successor = await bench.join()
    await _until_held(bench, successor, {0: 6})
    assert successor.offsets(0) == list(range(4, 10))


async def what_has_begun_is_committed_before_its_partition_goes(bench: Bench) -> None:
    """A member hands back before it loses a partition, what it finishes then is committed, and all else comes again, to either owner."""
    first = await _holding(bench, {0: 10, 1: 10})
    first.finishing = 3
    second = await bench.join()
    kept, moved = await _shared(bench, first, second)
    await _until_held(bench, first, {kept: 7})
    await _until_held(bench, second, {moved: 7})
    assert first.offsets(kept) == second.offsets(moved) == list(range(3, 10))
    assert await bench.committed() == {0: 3, 1: 3}


async def a_late_acknowledgement_of_a_lost_partition_commits_nothing(bench: Bench) -> None:
    """The partition belongs to its new owner, who commits."""
    first = await _holding(bench, {0: 10, 1: 10})
    second = await bench.join()
    kept, moved = await _shared(bench, first, second)
    first.engine.ack([event for event in first.dropped if event.message.partition == moved])
    await _until_held(bench, first, {kept: 10})
    first.engine.ack(first.of(kept))
    await _until_committed(bench, kept, 10)
    assert moved not in await bench.committed()
    await _until_held(bench, second, {moved: 10})
    second.engine.ack(second.of(moved)[:2])
    await _until_committed(bench, moved, 2)


async def the_second_await_is_the_brokers_confirmation(bench: Bench) -> None:
    """Once it returns, a reader sees the outcomes, in the order in which they were sent."""
    member = await _holding(bench, {0: 20})
    confirmations = [await member.engine.send(outcome(event)) for event in member.of(0)]
    for confirmation in confirmations:
        await confirmation
    assert sorted(await bench.outcomes(), key=str) == sorted((event.message.key for event in member.of(0)), key=str)
    again = [outcome(member.of(0)[0], value=str(number).encode()) for number in range(5)]
    for confirmation in [await member.engine.send(one) for one in again]:
        await confirmation
    assert (await bench.outcomes()).count(b"0/0") == 6


async def a_refused_outcome_raises(bench: Bench) -> None:
    """One of the two awaits raises, and no reader sees the outcome."""
    member = await _holding(bench, {0: 1})
    with pytest.raises(Exception, match=r".*") as raised:
        await (await member.engine.send(outcome(member.of(0)[0], value=b"x" * REFUSED_BYTES)))
    assert not isinstance(raised.value, (AssertionError, TimeoutError))
    assert await bench.outcomes() == []


async def a_record_of_a_part_is_confirmed_as_an_outcome_is(bench: Bench) -> None:
    """The second await of `sender` is the confirmation too, and None is a tombstone."""
    member = await _holding(bench, {0: 1})
    say = member.engine.sender(bench.said_topic)
    await (await say(b"k", b"v"))
    assert await bench.said() == [(b"k", b"v")]
    await (await say(b"k", None))
    assert await bench.said() == [(b"k", b"v"), (b"k", None)]


async def the_groups_notes_go_with_its_commits(bench: Bench) -> None:
    """A later member knows the newest epoch by which the group has decided, and when the group began."""
    member = await _holding(bench, {0: 1})
    member.engine.memory.decided_by(ROLLOUT, 7)
    member.engine.ack(member.of(0))
    await _until_committed(bench, 0, 1)
    await bench.leave(member)
    successor = await _holding(bench, {0: 1})
    assert successor.engine.memory.metadata == member.engine.memory.metadata
    assert f"epoch 7 of {ROLLOUT}" in member.engine.memory.metadata


async def a_member_has_an_id_of_its_own_inside_the_group(bench: Bench) -> None:
    """Two members of the group have two ids."""
    first = await _holding(bench, {0: 1, 1: 1})
    second = await bench.join()
    await _shared(bench, first, second)
    assert first.engine.member()
    assert second.engine.member()
    assert first.engine.member() != second.engine.member()


async def a_transaction_commits_outcomes_and_offsets_together(bench: Bench) -> None:
    """After `transact`, readers of committed records see its outcomes, and the group's offset is behind its events."""
    member = await _holding(bench, {0: 5, 1: 5}, transacts=True)
    assert member.engine.transacts
    part = [*member.of(0)[:3], *member.of(1)[:2]]
    outcomes = [outcome(event) for event in part]
    assert await _transacted(member, part, outcomes) == outcomes
    await _until_seen(bench, {b"0/0", b"0/1", b"0/2", b"1/0", b"1/1"}, {0: 3, 1: 2})


async def outcomes_that_were_committed_before_are_left_out(bench: Bench) -> None:
    """An event that comes twice has one outcome."""
    member = await _holding(bench, {0: 5}, transacts=True)
    events = member.of(0)
    await _transacted(member, events[:3], [outcome(event) for event in events[:3]])
    rest = [outcome(event) for event in events[2:]]
    assert await _transacted(member, events[2:], rest) == rest[1:]
    await _until_seen(bench, {b"0/0", b"0/1", b"0/2", b"0/3", b"0/4"}, {0: 5})


async def a_transaction_with_a_refused_outcome_commits_nothing(bench: Bench) -> None:
    """It raises; readers of committed records see none of its outcomes, and the offset stays."""
    member = await _holding(bench, {0: 5}, transacts=True)
    events = member.of(0)
    await _transacted(member, events[:1], [outcome(events[0])])
    await _until_seen(bench, {b"0/0"}, {0: 1})
    sizes = itertools.chain([2, 2], itertools.repeat(REFUSED_BYTES))
    with pytest.raises(Exception, match=r".*") as raised:
        await _transacted(member, events[1:], [outcome(event, value=b"x" * next(sizes)) for event in events[1:]])
    assert not isinstance(raised.value, (AssertionError, TimeoutError))
    assert await bench.outcomes() == [b"0/0"]
    assert await bench.committed() == {0: 1}


async def a_member_whose_partition_was_taken_over_commits_nothing(bench: Bench) -> None:
    """Its transaction raises, though it still believes that it holds the partition."""
    member = await _holding(bench, {0: 5}, transacts=True)
    events = member.of(0)
    await _transacted(member, events[:1], [outcome(events[0])])
    await _until_seen(bench, {b"0/0"}, {0: 1})
    await bench.take_over(0)
    with pytest.raises(Exception, match=r".*") as raised:
        await _transacted(member, events[1:], [outcome(event) for event in events[1:]])
    assert not isinstance(raised.value, (AssertionError, TimeoutError))
    assert await bench.outcomes() == [b"0/0"]
    assert await bench.committed() == {0: 1}


async def a_mark_commits_nothing_where_transactions_do(bench: Bench) -> None:
    """An acknowledgement without its transaction moves no offset, not even when a commit is asked for."""
    member = await _holding(bench, {0: 5, 1: 5}, transacts=True)
    member.engine.ack(member.of(0))
    await _transacted(member, member.of(1), [outcome(event) for event in member.of(1)])
    await member.engine.commit()
    await _until_seen(bench, {f"1/{offset}".encode() for offset in range(5)}, {1: 5})


Check = Callable[[Bench], Awaitable[None]]
CHECKS: tuple[Check, ...] = (
    events_come_in_order_and_untouched,
    nothing_is_committed_before_it_is_acknowledged,
    a_commit_ends_at_the_first_event_that_is_not_acknowledged,
    a_commit_that_is_asked_for_is_made_at_once,
    the_next_member_goes_on_behind_the_commit,
    what_has_begun_is_committed_before_its_partition_goes,
    a_late_acknowledgement_of_a_lost_partition_commits_nothing,
    the_second_await_is_the_brokers_confirmation,
    a_refused_outcome_raises,
    a_record_of_a_part_is_confirmed_as_an_outcome_is,
    the_groups_notes_go_with_its_commits,
    a_member_has_an_id_of_its_own_inside_the_group,
    a_transaction_commits_outcomes_and_offsets_together,
    outcomes_that_were_committed_before_are_left_out,
    a_transaction_with_a_refused_outcome_commits_nothing,
    a_member_whose_partition_was_taken_over_commits_nothing,
    a_mark_commits_nothing_where_transactions_do,
)
