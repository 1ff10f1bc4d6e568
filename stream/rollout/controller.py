"""
The one writer of `rollout`: from a plan to the point in the log where it holds.

It knows the brokers through three seams alone, so a test can stop it between any two steps, run a second one beside it, and let time pass.

The order of its steps makes an epoch a point in the log:

1. It fences every controller before it, and only then reads the topic to its end. So what it has read stays true: nobody else can write.
2. It reads each of its records back. The brokers confirm a transaction before readers can see its records.
3. After the close was read back it reads how far the workers may have begun the old epoch (`gate`), and asks for the ends of the content
   partitions, as high watermarks. A worker that decided an event under the old epoch had fetched it and said so, then asked for the end of
   `rollout`, and found no close. So the event lies below both.
4. The new epoch begins at the lower of the two: at the first event that no worker can have begun. Events that wait in the log follow the new
   model, and an epoch whose model no worker could load leaves nothing behind. Decisions that exist stay. Before the first change workers say
   nothing, so the first epoch begins at the ends.

The steps from close to marks are one span, which a signal does not part. A controller that is killed within the span leaves the stream held. The
next one writes the marks: a worker or a `rollout watch` that has seen the close for `FINISH_SECONDS` is such a controller.
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
    """The controller cannot go on: the message says why, and the next step."""

    exit_code = 1


class FencedError(ControllerError):
    """Another controller has begun. This one can write no more."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(
            "another command has begun to change the model meanwhile: what this one had planned is given up, and it can write no more. "
            "Next: `tagstream rollout log` says whose command it was."
        )


class NotCountedError(ControllerError):
    """A record of this controller changes nothing, since the protocol does not allow it in its place."""


class NothingToDecideError(ControllerError):
    """No partition of the content topics is seen."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(
            "no partition of the content topics is seen. Next: check topics.content, and that this user may DESCRIBE it."
        )


class AbandonedCloseError(ControllerError):
    """The controller could not go on between a close and its marks: the stream is held until a controller writes them."""

    def __init__(self, epoch: int, *, is_read: bool, error: Exception) -> None:
        """
        Say so, with the next step.

        Args:
            epoch: The one that was being closed.
            is_read: Its close was read back; else it is not known whether the brokers have it.
            error: Why the controller could not go on; its message has the next step behind `Next: `.
        """
        self.exit_code = int(getattr(error, "exit_code", self.exit_code))
        why, _, advice = str(error).partition(" Next: ")
        super().__init__(
            f"{why} Epoch {epoch} {'is' if is_read else 'may be'} closing meanwhile: workers hold the events that they have not begun. A worker "
            f"or a `rollout watch` whose user may write to the topic finishes it after some seconds; else the workers end with 70 after "
            f"rollout.hold_seconds. Next: {advice} Then run `tagstream rollout finish`: it begins epoch {epoch} and changes nothing else."
        )


class PlanGivenUpError(ControllerError):
    """The plan is given up before it began; the message says why."""


class Readiness(Enum):
    """What the workers say of a plan: all are ready, one refused, or one has not answered in time."""

    READY = "ready"
    REFUSED = "refused"
    SILENT = "silent"


class RolloutTopic(Protocol):
    """The topic `rollout` as its writer sees it. Every wait has a bound; whatever else goes wrong is an exception of the client."""

    async def fence(self) -> None:
        """Be the only writer: whoever was it before can write no more, and its open transaction is over."""
        ...

    async def read_to_end(self) -> Epochs:
        """The records that are committed now, folded."""
        ...

    async def append(self, record: RolloutRecord) -> int:
        """
        Write a record in a transaction of its own.

        Returns:
            Its offset. The brokers have confirmed it, and readers may not see it yet.

        Raises:
            FencedError: Another controller has begun.
        """
        ...

    async def read_past(self, offset: int) -> tuple[Epochs, bool]:
        """The records, once the one at this offset has been read; folded. And whether that one counts (`Epochs.take`)."""
        ...


class Workers(Protocol):
    """The workers of the group as the controller sees them."""

    async def readiness(self, models: Models, *, goes_back: bool) -> tuple[Readiness, str]:
        """
        Ask all workers about a plan, and wait as long as it may.

        Args:
            models: The plan.
            goes_back: A model that has decided before decides again. A worker that does not work under the present one is not waited for.

        Returns:
            What they say, and their words.
        """
        ...

    async def begun(self, epochs: Epochs) -> Mapping[Partition, int]:
        """
        How far events of the newest epoch may have been begun, by all that the workers have said until now.

        Returns:
            For a partition the first offset that nobody can have begun; no entry where that is not known.
        """
        ...


class ContentTopics(Protocol):
    """The content topics as the controller sees them."""

    async def partitions(self) -> AbstractSet[Partition]:
        """Their partitions. A new one may be missing for a while."""
        ...

    async def ends(self, partitions: AbstractSet[Partition]) -> Mapping[Partition, int | None]:
        """The high watermark of each, open transactions included; None for a partition that is not there any more."""
        ...


class Controller:
    """
    Begins, changes and ends epochs. One task uses it.

    Attributes:
        closing: The epoch whose close this controller has found or begun to write, and whose marks it has not read back; None otherwise.
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
            topic: Where it writes.
            content: What it asks for ends.
            workers: Whom it asks.
            by: Its name in the records.
            clock: The time of a record, RFC 3339 in UTC with milliseconds.
            whole: Runs a span to its end, also where this task is cancelled meanwhile, and raises the cancellation then.
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
        Be the only writer, and finish an epoch that the controller before left closed.

        Returns:
            What the topic says.
        """
        await self._topic.fence()
        self._epochs = await self._topic.read_to_end()
        if self._epochs.closing is not None:
            await self._mark(self._epochs.closing)
        elif self._epochs.planned is not None:
            # Whoever planned it is gone; workers must not load it at each start.
            await self._abort(self._epochs.planned.epoch, "the controller that planned it has ended")
        return await self.list_new_partitions() if self._epochs.started else self._epochs

    async def start(self, champion: BundleName, group: str, why: str = "") -> Epochs:
        """
        Write the first record: this model has decided everything so far, in every partition that there is.

        Args:
            champion: The model of the workers' settings.
            group: The consumer group.
            why: For people.

        Raises:
            NothingToDecideError: No partition is seen; what is written cannot be taken back.
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
        Begin an epoch: plan it, wait until all workers are ready, close the one before, and mark where it begins.

        Where the champion stays and a challenger goes, nobody is waited for: whoever decides has that champion already, and a worker that hangs must not
        keep a challenger that does harm. A cancellation before the close gives the plan up; a later one changes nothing, and is raised at the end.

        Args:
            champion: Decides what is not the challenger's.
            challenger: Decides a share; None for no second model.
            asks_people: Every event goes to a person.
            guards: By which the challenger is judged; None for the defaults.
            goes_back: The champion has decided before: workers that do not answer do not keep it from deciding again.
            why: For people.

        Raises:
            PlanGivenUpError: A worker refused, or did not answer in time. The epoch before goes on.
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
        """Write what the evidence comes to; it changes no epoch."""
        return await self._write(verdict)

    async def list_new_partitions(self) -> Epochs:
        """Add partitions that are in no record yet to the newest epoch. Their events are held until then."""
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
        """The first offset of the epoch before that nobody can have begun; no entry where the epoch is the start's, or nothing is known."""
        return await self._workers.begun(self._epochs) if self._epochs.newest else {}

    async def _write_marks(self, epoch: int, offsets: Mapping[Partition, int | None]) -> None:
        marks = tuple(Mark(at=partition, offset=offsets[partition]) for partition in sorted(offsets, key=_order))
        await self._write(Marks(epoch=epoch, at=self._clock(), by=self._by, marks=marks))

    async def _write(self, record: RolloutRecord) -> Epochs:
        """Append a record, read the topic until it is there, and see that it counts: else the topic has a record that was not read before."""
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
    How far events of the newest epoch may have been begun.

    Args:
        epochs: The records of the topic, the close of the next epoch among them.
        said: What every worker has said, read to an end that was asked for after the close was read back.
        commits: The group's offsets by topic and partition.

    Returns:
        For a partition the first offset that nobody can have begun. No entry where that is not known: the group has committed within the epoch, and
        no worker has said so; its word was lost, or another tool has committed.
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
