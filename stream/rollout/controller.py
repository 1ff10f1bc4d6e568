"""
The one writer of `rollout`: from a plan to the point in the log where it holds.

It knows the brokers through three seams alone, so a test can stop it between any two steps, run a second one beside it, and let time pass.

The order of its steps makes an epoch a point in the log:

1. It fences every controller before it, and only then reads the topic to its end. So what it has read stays true: nobody else can write.
2. It reads each of its records back. The brokers confirm a transaction before readers can see its records.
3. After the close was read back it asks for the ends of the content partitions, as high watermarks. A worker that decided an event under the
   old epoch had fetched it, then asked for the end of `rollout`, and found no close. So the event lies below these ends.

A controller that ends between close and marks leaves the stream held. The next one writes the marks.
"""

from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Protocol

from tagstream.stream.contract.rollout import (
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
)
from tagstream.stream.contract.typed import MAX_NOTE_CHARACTERS
from tagstream.stream.rollout.epochs import Epochs, Models


class ControllerError(Exception):
    """The controller cannot go on: the message says why, and the next step."""

    exit_code = 1


class FencedError(ControllerError):
    """Another controller has begun. This one can write no more."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(
            "another controller has begun meanwhile, and this one can write no more. Next: `tagstream rollout status`."
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


class LeftClosingError(ControllerError):
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
            f"{why} Epoch {epoch} {'is' if is_read else 'may be'} closing meanwhile: workers hold the events that they have not begun, and "
            f"end with 70 after rollout.hold_seconds, until a controller writes from where on it holds. Next: {advice} Then run "
            f"`tagstream rollout finish`: it begins epoch {epoch} and changes nothing else. `tagstream rollout status` says for how long it has been closing."
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
        readiness: Callable[[Models], Awaitable[tuple[Readiness, str]]],
        *,
        by: str,
        clock: Callable[[], str],
    ) -> None:
        """
        Join the parts.

        Args:
            topic: Where it writes.
            content: What it asks for ends.
            readiness: Asks all workers about what is planned, and waits as long as it may. Returns what they say, and their words.
            by: Its name in the records.
            clock: The time of a record, RFC 3339 in UTC with milliseconds.
        """
        self._topic = topic
        self._content = content
        self._readiness = readiness
        self._by = by
        self._clock = clock
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
        why: str = "",
    ) -> Epochs:
        """
        Begin an epoch: plan it, wait until all workers are ready, close the one before, and mark where it begins.

        Where the champion stays and a challenger goes, nobody is waited for: whoever decides has that champion already, and a worker that hangs must not
        keep a challenger that does harm.

        Args:
            champion: Decides what is not the challenger's.
            challenger: Decides a share; None for no second model.
            asks_people: Every event goes to a person.
            guards: By which the challenger is judged; None for the defaults.
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
        await self._write(plan)
        now = self._epochs.models(self._epochs.newest)
        going_back = challenger is None and now.challenger is not None and now.champion == champion
        said, words = (Readiness.READY, "") if going_back else await self._readiness(Models.of(plan))
        if said is not Readiness.READY:
            await self._abort(epoch, words)
            told, _, advice = words.partition(" Next: ")
            msg = (
                f"nothing has changed, since not all workers are ready: {told.rstrip('.')}. Next: {advice.rstrip('.') or 'correct that'}; then try again. "
                "`tagstream rollout log` keeps this."
            )
            raise PlanGivenUpError(msg)
        await self._close(epoch)
        await self._mark(epoch)
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

    async def _close(self, epoch: int) -> None:
        self.closing = epoch
        await self._write(Close(epoch=epoch, at=self._clock(), by=self._by))

    async def _mark(self, epoch: int) -> None:
        self.closing = epoch
        new = await self._content.partitions() - self._epochs.partitions
        ends = await self._content.ends(self._epochs.partitions)
        await self._write_marks(epoch, {**ends, **dict.fromkeys(new, 0)})
        self.closing = None

    async def _write_marks(self, epoch: int, offsets: Mapping[Partition, int | None]) -> None:
        marks = tuple(Mark(at=partition, offset=offsets[partition]) for partition in sorted(offsets, key=_order))
        await self._write(Marks(epoch=epoch, at=self._clock(), by=self._by, marks=marks))

    async def _write(self, record: RolloutRecord) -> Epochs:
        """Append a record, read the topic until it is there, and see that it counts: else the topic has a record that was not read before."""
        self._epochs, counts = await self._topic.read_past(await self._topic.append(record))
        if not counts:
            msg = (
                f"`{type(record).__name__.lower()} {record.epoch}` was written to the topic rollout, and does not count there: another "
                "program has written to it. Next: see `tagstream rollout log`, and who has WRITE on the topic."
            )
            raise NotCountedError(msg)
        return self._epochs


def _order(partition: Partition) -> tuple[str, str, int]:
    return partition.topic, partition.topic_id, partition.partition
