"""
The controller, the only writer of `rollout`. It brings a plan to the point in the log from which the plan holds.

The controller reaches the brokers through three protocols only. So a test can stop it between any two steps, run a second controller beside
it, and let time pass.

The order of the controller's steps makes an epoch a point in the log:

1. The controller fences every earlier controller, and only then reads the topic to its end. No other process can write after that.
2. The controller reads each of its own records back: the brokers confirm a transaction before readers can see its records.
3. After the close was read back, the controller reads how far the workers may have begun the old epoch (their reach, `gate`). It also asks
   for the high watermarks of the content partitions. A worker that decided an event under the old epoch had fetched the event and
   written its reach; then it asked for the end of `rollout`, and found no close. So the event lies below the reach and below the high
   watermark.
4. The new epoch begins at the lower of the two, which is the first event that no worker can have begun. Events that wait in the log are
   decided by the new model. If no worker can load an epoch's model, that epoch leaves no events behind. Existing decisions stay. Before the
   first change workers write no reach, so the first epoch begins at the high watermarks.

A signal does not interrupt the steps from close to marks. If a controller is killed between them, the workers hold the stream. The next
controller writes the marks: a worker or a `rollout watch` that has seen the close for `FINISH_SECONDS` becomes that controller.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Protocol

from tagstream.stream.contract.field_types import MAX_NOTE_CHARACTERS
from tagstream.stream.contract.rollout_records import (
    Abort,
    BundleName,
    Challenger,
    Close,
    Guards,
    Mark,
    Marks,
    Partition,
    Plan,
    RolloutRecord,
    Start,
    Verdict,
    WorkerReach,
)
from tagstream.stream.rollout.epochs import Epochs, Models


class ControllerError(Exception):
    """The controller cannot continue: the message says why, and the next step."""

    exit_code = 1


class FencedError(ControllerError):
    """Another controller has begun. This controller can no longer write."""

    def __init__(self) -> None:
        """Write the message."""
        super().__init__(
            "another command has begun to change the model meanwhile: the plan of this command is given up, and this command can no longer write. "
            "Next: `tagstream rollout log` shows whose command it was."
        )


class NotCountedError(ControllerError):
    """A record of this controller does not count: the protocol does not allow it at that place in the topic."""


class NothingToDecideError(ControllerError):
    """No partition of the content topics is seen."""

    def __init__(self) -> None:
        """Write the message."""
        super().__init__(
            "no partition of the content topics is seen. Next: check topics.content, and that this user may DESCRIBE it."
        )


class AbandonedCloseError(ControllerError):
    """The controller failed between a close and its marks: workers hold the stream until a controller writes the marks."""

    def __init__(self, epoch: int, *, is_read: bool, error: Exception) -> None:
        """
        Write the message, with the next step.

        Args:
            epoch: The epoch that was being closed.
            is_read: True if the close was read back. False if it is unknown whether the brokers have the close.
            error: Why the controller failed. Its message has the next step after `Next: `.
        """
        self.exit_code = int(getattr(error, "exit_code", self.exit_code))
        why, _, advice = str(error).partition(" Next: ")
        super().__init__(
            f"{why} Epoch {epoch} {'is' if is_read else 'may be'} closing meanwhile: workers hold the events that they have not begun. A worker "
            f"or a `rollout watch` whose user may write to the topic finishes it after some seconds; else the workers end with 70 after "
            f"rollout.hold_seconds. Next: {advice} Then run `tagstream rollout finish`: it begins epoch {epoch} and changes nothing else."
        )


class PlanGivenUpError(ControllerError):
    """The plan was given up before it began; the message says why."""


class Readiness(Enum):
    """The workers' answer to a plan: all are ready, one refused, or one has not answered in time."""

    READY = "ready"
    REFUSED = "refused"
    SILENT = "silent"


class RolloutTopic(Protocol):
    """The topic `rollout` as its writer sees it. Every wait has a bound. The Kafka client's errors are raised too."""

    async def fence(self) -> None:
        """Become the only writer: the writer before can no longer write, and its open transaction is aborted."""
        ...

    async def read_to_end(self) -> Epochs:
        """Return the epochs of all records that are committed now."""
        ...

    async def append(self, record: RolloutRecord) -> int:
        """
        Write a record in a transaction of its own.

        Returns:
            The record's offset. The brokers have confirmed the record; readers may see it only later.

        Raises:
            FencedError: Another controller has begun.
        """
        ...

    async def read_past(self, offset: int) -> tuple[Epochs, bool]:
        """Wait until the record at this offset has been read. Return the epochs, and whether that record counts (`Epochs.take`)."""
        ...


class Workers(Protocol):
    """The workers of the group as the controller sees them."""

    async def readiness(self, models: Models, *, goes_back: bool) -> tuple[Readiness, str]:
        """
        Ask all workers whether they are ready for a plan, and wait for the answers up to a bound.

        Args:
            models: The models of the plan.
            goes_back: True if an earlier model decides again. Then a worker that cannot work under the present model is not waited for.

        Returns:
            The workers' answer, and its reasons for people.
        """
        ...

    async def begun(self, epochs: Epochs) -> Mapping[Partition, int]:
        """
        Return how far the workers may have begun events of the newest epoch, by their reaches until now.

        Returns:
            For a partition, the first offset that no worker can have begun. A partition is absent if that is not known.
        """
        ...


class ContentTopics(Protocol):
    """The content topics as the controller sees them."""

    async def partitions(self) -> AbstractSet[Partition]:
        """Return the partitions. A new partition may be missing for a while."""
        ...

    async def ends(self, partitions: AbstractSet[Partition]) -> Mapping[Partition, int | None]:
        """Return the high watermark of each partition, open transactions included; None for a partition that no longer exists."""
        ...


class Controller:
    """
    Begins, changes and ends epochs. One task uses it.

    Attributes:
        closing: The epoch between close and marks. This controller has found or begun to write its close, and has not read its marks back.
            None if there is no such epoch.
    """

    def __init__(
        self,
        topic: RolloutTopic,
        content: ContentTopics,
        workers: Workers,
        *,
        by: str,
        clock: Callable[[], str],
        whole: Callable[[Coroutine[Any, Any, Epochs]], Awaitable[Epochs]] = lambda work: work,
    ) -> None:
        """
        Join the parts.

        Args:
            topic: The topic `rollout`.
            content: Returns the partitions and ends of the content topics.
            workers: The workers of the group.
            by: This controller's name in the records.
            clock: Returns the time for a record, RFC 3339 in UTC with milliseconds.
            whole: Runs a coroutine to its end, even if this task is cancelled meanwhile; then raises the cancellation.
        """
        self._topic = topic
        self._content = content
        self._workers = workers
        self._by = by
        self._clock = clock
        self._whole = whole
        self._epochs = Epochs()
        self.closing: int | None = None

    async def begin(self) -> Epochs:
        """
        Become the only writer, and finish an epoch that the controller before left closing.

        Returns:
            The epochs of the topic.
        """
        await self._topic.fence()
        self._epochs = await self._topic.read_to_end()
        if self._epochs.closing is not None:
            await self._mark(self._epochs.closing)
        elif self._epochs.planned is not None:
            # The controller of this plan has ended. Without an abort, workers would load the plan's models at each start.
            await self._abort(self._epochs.planned.epoch, "the controller that planned it has ended")
        return await self.list_new_partitions() if self._epochs.started else self._epochs

    async def start(self, champion: BundleName, group: str, why: str = "") -> Epochs:
        """
        Write the first record: this model has decided all events so far, in every existing partition.

        Args:
            champion: The model of the workers' settings.
            group: The consumer group.
            why: A note for people.

        Raises:
            NothingToDecideError: No partition is seen. The record is not written, since a record cannot be taken back.
        """
        partitions = tuple(sorted(await self._content.partitions(), key=_order))
        if not partitions:
            raise NothingToDecideError
        start = Start(epoch=0, at=self._clock(), by=self._by, why=why, group=group, champion=champion, partitions=partitions)
        return await self._write(start)

    async def change(
        self,
        champion: BundleName,
        challenger: Challenger | None = None,
        *,
        asks_people: bool = False,
        guards: Guards | None = None,
        goes_back: bool = False,
        why: str = "",
    ) -> Epochs:
        """
        Begin an epoch: plan it, wait until all workers are ready, close the epoch before, and mark where the new epoch begins.

        If the champion stays and the challenger is removed, workers are not waited for: every worker has that champion already, and a
        worker that hangs must not keep a harmful challenger alive. A cancellation before the close gives the plan up. A later
        cancellation is raised after the marks, when the epoch has begun.

        Args:
            champion: Decides all events but the challenger's.
            challenger: Decides a share of the events; None for no second model.
            asks_people: Every event goes to a person.
            guards: The guards by which the challenger is judged; None for the defaults.
            goes_back: True if the champion has decided before. Then workers that do not answer do not block the change.
            why: A note for people.

        Raises:
            PlanGivenUpError: A worker refused, or did not answer in time. The epoch before continues.
        """
        epoch = self._epochs.next_epoch
        plan = Plan(
            epoch=epoch,
            at=self._clock(),
            by=self._by,
            why=why,
            champion=champion,
            challenger=challenger,
            asks_people=asks_people,
            guards=guards,
        )
        now = self._epochs.models(self._epochs.newest)
        challenger_goes = challenger is None and now.challenger is not None and now.champion == champion
        said, words = Readiness.READY, ""
        try:
            await self._write(plan)
            if not challenger_goes:
                said, words = await self._workers.readiness(Models.of(plan), goes_back=goes_back)
        except asyncio.CancelledError:
            if self._epochs.planned is not None:
                await self._abort(epoch, "its command was ended by a signal")
            raise
        if said is Readiness.REFUSED or (said is Readiness.SILENT and not goes_back):
            await self._abort(epoch, words)
            told, _, advice = words.partition(" Next: ")
            msg = (
                f"nothing has changed, since not all workers are ready: {told.rstrip('.')}. Next: {advice.rstrip('.') or 'correct that'}; then try again. "
                "`tagstream rollout log` keeps this."
            )
            raise PlanGivenUpError(msg)
        await self._whole(self._begin(epoch))
        return self._epochs

    async def say(self, verdict: Verdict) -> Epochs:
        """Write a verdict on the evidence. A verdict changes no epoch."""
        return await self._write(verdict)

    async def list_new_partitions(self) -> Epochs:
        """Add partitions that are not yet in a record to the newest epoch. Workers hold the events of such partitions."""
        new = await self._content.partitions() - self._epochs.partitions
        if new:
            await self._write_marks(self._epochs.newest, dict.fromkeys(new, 0))
        return self._epochs

    async def _abort(self, epoch: int, why: str) -> None:
        await self._write(Abort(epoch=epoch, at=self._clock(), by=self._by, why=why[:MAX_NOTE_CHARACTERS]))

    async def _begin(self, epoch: int) -> Epochs:
        await self._close(epoch)
        await self._mark(epoch)
        return self._epochs

    async def _close(self, epoch: int) -> None:
        self.closing = epoch
        await self._write(Close(epoch=epoch, at=self._clock(), by=self._by))

    async def _mark(self, epoch: int) -> None:
        self.closing = epoch
        known = self._epochs.partitions
        new = await self._content.partitions() - known
        ends = await self._content.ends(known)
        begun = await self._begun()
        first = {place: end if end is None else min(end, begun.get(place, end)) for place, end in ends.items()}
        await self._write_marks(epoch, {**first, **dict.fromkeys(new, 0)})
        self.closing = None

    async def _begun(self) -> Mapping[Partition, int]:
        """Return, for each partition, the first offset of the present epoch that no worker can have begun; empty in epoch 0."""
        return await self._workers.begun(self._epochs) if self._epochs.newest else {}

    async def _write_marks(self, epoch: int, offsets: Mapping[Partition, int | None]) -> None:
        marks = tuple(Mark(at=partition, offset=offsets[partition]) for partition in sorted(offsets, key=_order))
        await self._write(Marks(epoch=epoch, at=self._clock(), by=self._by, marks=marks))

    async def _write(self, record: RolloutRecord) -> Epochs:
        """Append a record, read the topic up to it, and require that it counts. Only a foreign writer to the topic can prevent that."""
        return await self._whole(self._written(record))

    async def _written(self, record: RolloutRecord) -> Epochs:
        self._epochs, counts = await self._topic.read_past(await self._topic.append(record))
        if not counts:
            msg = (
                f"`{type(record).__name__.lower()} {record.epoch}` was written to the topic rollout, and does not count there: another "
                "program has written to it. Next: see `tagstream rollout log`, and who has WRITE on the topic."
            )
            raise NotCountedError(msg)
        return self._epochs


def unbegun(epochs: Epochs, said: Iterable[WorkerReach], commits: Mapping[tuple[str, int], int]) -> dict[Partition, int]:
    """
    Return how far the workers may have begun events of the newest epoch.

    Args:
        epochs: The epochs of the topic, with the close of the next epoch.
        said: The reach of every worker, read up to an end that was asked for after the close was read back.
        commits: The group's committed offsets by topic and partition.

    Returns:
        For a partition, the first offset that no worker can have begun. A partition is absent if that is not known: the group has committed
        within the epoch without a worker's reach, because the reach was lost or another tool has committed.
    """
    reached: dict[Partition, int] = {}
    for one in said:
        if one.epoch == epochs.newest:
            for mark in one.reach:
                reached[mark.at] = max(reached.get(mark.at, 0), mark.offset or 0)
    found: dict[Partition, int] = {}
    for place in epochs.partitions:
        first, epoch = epochs.begins(place)[-1]
        commit = commits.get((place.topic, place.partition), 0)
        if epoch == epochs.newest and (place in reached or commit <= first):
            found[place] = max(first, commit, reached.get(place, 0))
    return found


def _order(partition: Partition) -> tuple[str, str, int]:
    return partition.topic, partition.topic_id, partition.partition
