"""Holding partitions and delivering in transactions: the order of the steps, the events that are not sent, and the errors."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import IllegalOperation, ProducerFenced
from aiokafka.structs import TopicPartition

from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.kafka import transactions
from tagstream.stream.kafka.rights import Operation, Resource, Role, lines, rights
from tagstream.stream.kafka.transactions import EventPlace, LostError, NotHeldError, TakenOverError, Transactions
from tagstream.stream.settings.settings import Settings
from tests.fakes import ANY_OUTCOME
from tests.replacing import replace

SEEN: list[tuple[Any, ...]] = []


class _Producer:
    """Implements the part of aiokafka's producer that is used, and notes each call in `SEEN`."""

    refuses = False
    # After so many records the transaction is no more.
    ends_after: int | None = None

    def __init__(self, *, transactional_id: str, **_: Any) -> None:
        """Connect to no broker."""
        self.name = transactional_id
        self.offsets: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        SEEN.append(("start", self.name))

    async def stop(self) -> None:
        SEEN.append(("stop", self.name))

    async def begin_transaction(self) -> None:
        SEEN.append(("begin", self.name))

    async def send(self, topic: str, *, key: bytes | None, **_: Any) -> asyncio.Future[None]:
        if self.ends_after is not None and kinds().count("send") >= self.ends_after:
            raise IllegalOperation
        SEEN.append(("send", self.name, topic, key))
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.refuses:
            answer.set_exception(ProducerFenced())
        else:
            answer.set_result(None)
        return answer

    async def send_offsets_to_transaction(self, offsets: dict[TopicPartition, tuple[int, str]], group: str) -> None:
        SEEN.append(("offsets", self.name, {partition: offset for partition, (offset, _) in offsets.items()}, group))

    async def commit_transaction(self) -> None:
        SEEN.append(("commit", self.name))


class Offline(Transactions):
    """Transactions whose group has the commits of the test."""

    def __init__(self, **committed: int) -> None:
        """The commits by partition, as in `p0=5`."""
        super().__init__(Settings(group="g"))
        self._offsets = committed

    def _committed(self, partitions: Sequence[TopicPartition]) -> list[int | None]:
        SEEN.append(("committed", [partition.partition for partition in partitions]))
        return [self._offsets.get(f"p{partition.partition}") for partition in partitions]


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put stand-ins in the place of the clients."""
    SEEN.clear()
    monkeypatch.setattr(transactions, "PartitionProducer", _Producer)
    monkeypatch.setattr(_Producer, "refuses", False)
    monkeypatch.setattr(_Producer, "ends_after", None)


def partitions(*numbers: int) -> set[TopicPartition]:
    """Of `content`."""
    return {TopicPartition("content", number) for number in numbers}


def sources(partition: int, *offsets: int) -> list[EventPlace]:
    """Of `content`."""
    return [EventPlace("content", partition, offset) for offset in offsets]


def publications(*keys: int) -> list[Publication]:
    """With these keys."""
    observation = Observation(destination=Destination.TAGGED, created_ms=0, label="other", confidence=0.5)
    return [
        Publication(
            destination=Destination.TAGGED,
            key=str(key).encode(),
            value=b"{}",
            headers=(),
            observation=observation,
            outcome=ANY_OUTCOME,
        )
        for key in keys
    ]


def kinds() -> list[str]:
    """The calls without their details."""
    return [seen[0] for seen in SEEN]


def test_the_offset_is_read_after_every_predecessor_is_fenced() -> None:
    """Before the fencing, a previous owner could still commit, and its events would be processed again."""
    asyncio.run(Offline().hold(partitions(0, 1)))
    assert SEEN == [("start", "g-content-0"), ("start", "g-content-1"), ("committed", [0, 1])]


def test_outcomes_and_the_offset_behind_them_are_one_transaction() -> None:
    """All sends and the offset lie between the beginning and the commit."""

    async def scenario() -> None:
        held = Offline()
        await held.hold(partitions(0))
        assert await held.deliver(sources(0, 7, 8), publications(7, 8)) == publications(7, 8)

    asyncio.run(scenario())
    assert SEEN[2:] == [
        ("begin", "g-content-0"),
        ("send", "g-content-0", "tagged", b"7"),
        ("send", "g-content-0", "tagged", b"8"),
        ("offsets", "g-content-0", {TopicPartition("content", 0): 9}, "g"),
        ("commit", "g-content-0"),
    ]


def test_a_copy_for_audit_is_in_the_transaction_of_its_decision() -> None:
    """Behind its decision, and before the next one."""
    first, second = publications(7, 8)

    async def scenario() -> None:
        held = Offline()
        await held.hold(partitions(0))
        await held.deliver(sources(0, 7, 8), [replace(first, audit=b"{}"), second])

    asyncio.run(scenario())
    assert [(topic, key) for _, _, topic, key in [one for one in SEEN if one[0] == "send"]] == [
        ("tagged", b"7"),
        ("audit", b"7"),
        ("tagged", b"8"),
    ]
    assert kinds()[-2:] == ["offsets", "commit"]


def test_what_was_committed_before_is_not_sent_again() -> None:
    """Events that another worker or this one has committed are not sent again, even if Faust hands them over again."""

    async def scenario() -> None:
        held = Offline(p0=8)
        await held.hold(partitions(0))
        assert await held.deliver(sources(0, 6, 7, 8, 9), publications(6, 7, 8, 9)) == publications(8, 9)
        assert await held.deliver(sources(0, 8, 9), publications(8, 9)) == []
        assert await held.deliver(sources(0, 9, 10), publications(9, 10)) == publications(10)

    asyncio.run(scenario())
    assert [seen[3] for seen in SEEN if seen[0] == "send"] == [b"8", b"9", b"10"]
    assert kinds().count("commit") == 2


def test_each_partition_has_a_transaction_of_its_own() -> None:
    """A transactional id belongs to one partition, so that two workers can hold two partitions."""

    async def scenario() -> None:
        held = Offline()
        await held.hold(partitions(0, 1))
        await held.deliver([*sources(0, 3), *sources(1, 5), *sources(0, 4)], publications(3, 5, 4))

    asyncio.run(scenario())
    assert sorted(seen[1:3] for seen in SEEN if seen[0] == "offsets") == [
        ("g-content-0", {TopicPartition("content", 0): 5}),
        ("g-content-1", {TopicPartition("content", 1): 6}),
    ]


def test_a_record_that_is_refused_is_not_committed() -> None:
    """A commit waits for all records but does not fail if one of them was refused."""

    async def scenario() -> None:
        held = Offline()
        await held.hold(partitions(0))
        _Producer.refuses = True
        with pytest.raises(ProducerFenced):
            await held.deliver(sources(0, 1), publications(1))

    asyncio.run(scenario())
    assert "commit" not in kinds()


def test_a_partition_that_stays_keeps_its_producer_and_one_that_comes_back_gets_a_new_one() -> None:
    """Another worker that held the partition in between has fenced the old producer."""

    async def scenario() -> None:
        held = Offline()
        await held.hold(partitions(0, 1))
        await held.hold(partitions(0))
        await held.hold(partitions(0, 1))

    asyncio.run(scenario())
    assert [seen for seen in SEEN if seen[0] in {"start", "stop"}] == [
        ("start", "g-content-0"),
        ("start", "g-content-1"),
        ("stop", "g-content-1"),
        ("start", "g-content-1"),
    ]


def test_an_event_of_a_partition_that_is_not_held_is_not_delivered() -> None:
    """Its partition belongs to another worker."""

    async def scenario() -> None:
        held = Offline()
        await held.hold(partitions(0))
        await held.hold(partitions())
        with pytest.raises(NotHeldError):
            await held.deliver(sources(0, 1), publications(1))

    asyncio.run(scenario())
    assert "begin" not in kinds()


@pytest.mark.parametrize(
    ("ends_after", "fenced", "raises"), [(1, True, ProducerFenced), (1, False, TakenOverError), (0, False, TakenOverError)]
)
def test_whose_transaction_ends_while_it_is_filled_says_who_may_have_ended_it(
    ends_after: int, fenced: bool, raises: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client only says that there is no transaction; the failed record has the cause."""
    monkeypatch.setattr(_Producer, "ends_after", ends_after)
    monkeypatch.setattr(_Producer, "refuses", fenced)

    async def scenario() -> None:
        held = Offline(p0=5)
        await held.hold(partitions(0))
        with pytest.raises(raises) as raised:
            await held.deliver(sources(0, 5, 6), publications(1, 2))
        assert "ProducerFenced" in f"{type(raised.value).__name__}: {raised.value}"

    asyncio.run(scenario())
    assert "commit" not in kinds()


def test_no_offset_is_committed_behind_a_record_that_was_taken_and_is_not_here() -> None:
    """Faust can drop a queued event, and after the commit it would never be read again."""
    asked: list[tuple[int, int | None, list[int]]] = []

    def lost(partition: TopicPartition, after: int | None, offsets: Sequence[int]) -> int | None:
        asked.append((partition.partition, after, list(offsets)))
        return 6 if offsets[-1] > 6 else None

    async def scenario() -> None:
        held = Offline(p0=5)
        held._lost = lost
        await held.hold(partitions(0))
        await held.deliver(sources(0, 5), publications(1))
        begun = kinds().count("begin")
        with pytest.raises(LostError, match="content/0: offset 6 was taken and never delivered"):
            await held.deliver(sources(0, 7, 8), publications(2, 3))
        assert kinds().count("begin") == begun == 1

    asyncio.run(scenario())
    assert asked == [(0, 5, [5]), (0, 6, [7, 8])]


def test_the_right_to_the_ids_is_asked_for_only_where_they_are_used() -> None:
    """The right is for a prefix, because partitions may be added."""
    once = Settings(group="g", delivery="exactly_once")
    assert all(right.resource is not Resource.TRANSACTIONAL_ID for right in rights(Settings(), Role.WORKER))
    found = rights(once, Role.WORKER)[-2:]
    assert [(right.name, right.operations[0]) for right in found] == [
        ("g-content-", Operation.WRITE),
        ("g-reviewed-", Operation.WRITE),
    ]
    ids = "--transactional-id g-content- --transactional-id g-reviewed- --resource-pattern-type prefixed"
    assert lines(once, Role.WORKER, "u")[-1].endswith(ids)
