"""Engines that break the contract, each in one way that a second engine could, with the check that finds it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tagstream.stream.contract.outcome import Publication
from tests.contract.engine import checks
from tests.contract.engine.checks import REFUSED_BYTES, Check
from tests.contract.engine.memory import MemoryBroker, MemoryEngine


class CommitsWhatIsHandedOut(MemoryEngine):
    """As a client with automatic commits."""

    def hand_out(self, partition: int, offsets: Sequence[int]) -> None:
        super().hand_out(partition, offsets)
        self.marks[partition].update(offsets)


class CommitsOverGaps(MemoryEngine):
    """As a client that commits the highest offset that it was told."""

    def behind(self, partition: int, first: int) -> int:
        return max(self.marks[partition], default=first - 1) + 1


class CommitsLater(MemoryEngine):
    """The request is left to the next round."""

    async def commit(self) -> None:
        task = asyncio.create_task(super().commit())
        self.tasks.append(task)


class Reorders(MemoryEngine):
    """Two fetches of one partition overtake each other."""

    def hand_out(self, partition: int, offsets: Sequence[int]) -> None:
        super().hand_out(partition, [*offsets[len(offsets) // 2 :], *offsets[: len(offsets) // 2]])


class ReadsTwice(MemoryEngine):
    """A member reads from the beginning again."""

    def begin(self, partition: int) -> int:  # noqa: ARG002
        return 0


class ReadsWhatIsNew(MemoryEngine):
    """A partition without a commit is read from its end, which is the default of several clients."""

    def begin(self, partition: int) -> int:
        return self.log.commits.get(partition, self.log.lengths[partition])


class LeavesWithoutACommit(MemoryEngine):
    """What was acknowledged since the last commit is read again."""

    async def stop(self) -> None:
        self.marks.clear()
        await super().stop()


class GivesUpAtOnce(MemoryEngine):
    """A partition goes before what has begun is finished."""

    async def give_up(self) -> None:
        holder, self._holder = self._holder, checks.Member()
        await super().give_up()
        self._holder = holder


class KeepsOnReading(MemoryEngine):
    """A partition that stays is not read again, as in an incremental rebalance, though its events were handed back."""

    def begin(self, partition: int) -> int:
        return self.log.commits.get(partition, 0) if self.assignment == 1 else self.log.lengths[partition]


class CommitsForOthers(MemoryEngine):
    """An acknowledgement counts whoever owns the partition."""

    def ack(self, events: Sequence[Any]) -> None:
        super().ack(events)
        for event in events:
            place = event.message.partition
            if place not in self.next:
                self.log.commits[place] = max(self.log.commits.get(place, 0), event.message.offset + 1)


class EarlyBroker(MemoryBroker):
    """Confirms before the record has arrived."""

    def confirmed(self, topic: str, key: bytes | None, value: bytes | None) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        loop.call_soon(self.arrive, topic, key, value, loop.create_future())
        confirmation: asyncio.Future[None] = loop.create_future()
        confirmation.set_result(None)
        return confirmation


class ConfirmsEarly(MemoryEngine):
    """A record that is queued counts as written."""

    broker_type = EarlyBroker


class ForgivingBroker(MemoryBroker):
    """Forgets that a record was refused."""

    def arrive(self, topic: str, key: bytes | None, value: bytes | None, confirmation: asyncio.Future[None]) -> None:
        if len(value or b"") < REFUSED_BYTES:
            self.log.topics[topic].append((key, value))
        confirmation.set_result(None)


class ForgivesRefusals(MemoryEngine):
    """A refused record counts as written."""

    broker_type = ForgivingBroker


class DropsTombstones(MemoryBroker):
    """Takes None for nothing to send."""

    def confirmed(self, topic: str, key: bytes | None, value: bytes | None) -> asyncio.Future[None]:
        return super().confirmed(topic, key, b"" if value is None else value)


class RemovesNoKey(MemoryEngine):
    """A part's record with None is written with empty bytes, which remove no key."""

    broker_type = DropsTombstones


class ForgetsNotes(MemoryEngine):
    """Commits carry no metadata."""

    def committed(self, partition: int, offset: int) -> None:
        self.log.commits[partition] = offset


class HasNoName(MemoryEngine):
    """All members have the name of the group."""

    def member(self) -> str:
        return "group"


class CommitsOffsetsAlone(MemoryEngine):
    """The offsets of a transaction that fails are committed all the same."""

    async def deliver(self, sources: Sequence[Any], publications: Sequence[Publication]) -> list[Publication]:
        try:
            return await super().deliver(sources, publications)
        finally:
            for source in sources:
                self.committed(source.partition, source.offset + 1)


class CommitsNoOffsets(MemoryEngine):
    """The outcomes are committed, and the offsets are left to the acknowledgements."""

    def committed(self, partition: int, offset: int) -> None:
        if not self.transacts:
            super().committed(partition, offset)


class SendsTwice(MemoryEngine):
    """An event that comes again gets a second outcome."""

    def is_fresh(self, source: Any) -> bool:  # noqa: ARG002
        return True


class IsNotFenced(MemoryEngine):
    """Each member has transactional ids of its own."""

    def fenced(self, partitions: set[int]) -> bool:  # noqa: ARG002
        return False


class CommitsMarksToo(MemoryEngine):
    """Acknowledgements commit beside the transactions."""

    async def commit(self) -> None:
        self.transacts, before = False, self.transacts
        await super().commit()
        self.transacts = before


BAD: tuple[tuple[type[MemoryEngine], Check], ...] = (
    (Reorders, checks.events_come_in_order_and_untouched),
    (ReadsWhatIsNew, checks.events_come_in_order_and_untouched),
    (CommitsWhatIsHandedOut, checks.nothing_is_committed_before_it_is_acknowledged),
    (CommitsOverGaps, checks.a_commit_ends_at_the_first_event_that_is_not_acknowledged),
    (CommitsLater, checks.a_commit_that_is_asked_for_is_made_at_once),
    (ReadsTwice, checks.the_next_member_goes_on_behind_the_commit),
    (LeavesWithoutACommit, checks.the_next_member_goes_on_behind_the_commit),
    (GivesUpAtOnce, checks.what_has_begun_is_committed_before_its_partition_goes),
    (KeepsOnReading, checks.what_has_begun_is_committed_before_its_partition_goes),
    (CommitsForOthers, checks.a_late_acknowledgement_of_a_lost_partition_commits_nothing),
    (ConfirmsEarly, checks.the_second_await_is_the_brokers_confirmation),
    (ForgivesRefusals, checks.a_refused_outcome_raises),
    (RemovesNoKey, checks.a_record_of_a_part_is_confirmed_as_an_outcome_is),
    (ForgetsNotes, checks.the_groups_notes_go_with_its_commits),
    (HasNoName, checks.a_member_has_an_id_of_its_own_inside_the_group),
    (CommitsNoOffsets, checks.a_transaction_commits_outcomes_and_offsets_together),
    (SendsTwice, checks.outcomes_that_were_committed_before_are_left_out),
    (CommitsOffsetsAlone, checks.a_transaction_with_a_refused_outcome_commits_nothing),
    (IsNotFenced, checks.a_member_whose_partition_was_taken_over_commits_nothing),
    (CommitsMarksToo, checks.a_mark_commits_nothing_where_transactions_do),
)
