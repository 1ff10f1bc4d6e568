"""A controller on the brokers: the protocol with its parts on Kafka, its two topics, and what is known of an epoch that it begins."""

import asyncio
import contextlib
import getpass
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import TopicAuthorizationFailedError

from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.rollout_records import Mark, Marks, RolloutRecord
from tagstream.stream.kafka.admin import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.kafka.rights import Role, missing, rights
from tagstream.stream.rollout.abandoned_close import FINISH_SECONDS
from tagstream.stream.rollout.content_ends import ContentOnKafka
from tagstream.stream.rollout.controller import AbandonedCloseError, Controller, FencedError
from tagstream.stream.rollout.controller_rights import denied, explained
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.errors import RolloutError
from tagstream.stream.rollout.members import WorkersOnKafka, require_known_group
from tagstream.stream.rollout.presence import require_never_begun, rollout_topic
from tagstream.stream.rollout.topic import OPTIONS_OF_WORKERS, RolloutReader, make_topic, rollout_reader
from tagstream.stream.rollout.writer import RolloutWriter
from tagstream.stream.settings.settings import Settings

# What was decided is kept for ever, and of each worker the last word.
OPTIONS_OF_RECORDS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
# Records of a topic that is made here have the broker's time: `rollout log --at` then depends on no clock of whoever changes the model.
BROKERS_TIME = {"message.timestamp.type": "LogAppendTime"}


async def to_its_end(work: Coroutine[Any, Any, Epochs]) -> Epochs:
    """Run a span that must not be parted: a cancellation is raised after its end. The span's own bounds hold."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: BLE001 - raised below, from the task
            break
    found = task.result()
    if cancelled is not None:
        raise cancelled
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """
    An epoch that has begun.

    Attributes:
        models: Its models.
        marks: Where it begins.
        closed_seconds: So long no event could begin anywhere.
        workers: How many were asked.
        by_another: A worker or a watch wrote the marks, since this command came late to them.
        ahead_seconds: So far this machine's clock is ahead of the brokers', negative behind it; 0 where their clock is not known.
    """

    models: Models
    marks: tuple[Mark, ...]
    closed_seconds: float
    workers: int
    by_another: bool = False
    ahead_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """
    A controller on the brokers, and what it asks.

    Attributes:
        controller: Begins, changes and ends epochs.
        workers: The group.
        reader: The topic.
        writer: The controller's own.
    """

    controller: Controller
    workers: WorkersOnKafka
    reader: RolloutReader
    writer: RolloutWriter

    async def begin(self) -> Epochs:
        """
        As `Controller.begin`; then words that mean nothing any more are removed: each process has another name in the group.

        Raises:
            FencedError: Another controller has begun.
            BrokerUnreachableError: No broker answered.
        """
        epochs = await self.controller.begin()
        if stale := await self.workers.stale(epochs.newest):
            await self.writer.forget(stale)
        return epochs

    async def change(self, wanted: Models, why: str, *, goes_back: bool = False) -> Begun:
        """
        Begin an epoch.

        Args:
            wanted: Its models; the number does not matter.
            why: For people.
            goes_back: Its champion has decided before.

        Raises:
            RolloutError: The newest epoch decides so already.
            PlanGivenUpError: A worker refused, or did not answer in time; nothing has changed.
        """
        epochs = self.reader.epochs
        require_change(epochs, wanted)
        # Before the change: a question that fails after it would look like a change that failed.
        asked = len(await self.workers.look())
        seen: list[tuple[RolloutRecord, float]] = []
        self.reader.follow(lambda record, _, __: seen.append((record, time.monotonic())))
        epoch = epochs.next_epoch
        by_another = False
        try:
            await self.controller.change(
                wanted.champion,
                wanted.challenger,
                asks_people=wanted.asks_people,
                guards=wanted.guards,
                goes_back=goes_back,
                why=why,
            )
        except asyncio.CancelledError:
            # A signal that comes after the close changes nothing: the epoch has begun, and this says so.
            if self.reader.epochs.newest != epoch:
                raise
        except FencedError:
            if self.controller.closing != epoch or not await self._is_begun(epoch):
                raise
            by_another = True
        # The worker that finishes an epoch lists new partitions after its marks.
        at = next(at for at, (record, _) in enumerate(seen) if isinstance(record, Marks) and record.epoch == epoch)
        (marks, marked), (_, closed) = seen[at], seen[at - 1]
        assert isinstance(marks, Marks)
        return Begun(
            models=epochs.models(epoch),
            marks=marks.marks,
            closed_seconds=marked - closed,
            workers=asked,
            by_another=by_another,
            ahead_seconds=self.writer.ahead_seconds,
        )

    async def _is_begun(self, epoch: int) -> bool:
        """Whether another controller begins an epoch that this one has closed; it fenced this one, and reads and writes meanwhile."""
        until = time.monotonic() + 2 * FINISH_SECONDS
        while self.reader.epochs.newest != epoch and time.monotonic() < until:
            await self.reader.wait_for_more()
        return self.reader.epochs.newest == epoch


def name_here() -> str:
    """The name under which this process writes: the user and the host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def require_change(epochs: Epochs, wanted: Models) -> None:
    """
    Would another epoch decide otherwise than the newest one?

    Raises:
        RolloutError: It would not.
    """
    if epochs.models(epochs.newest).decides_as(wanted):
        champion = wanted.champion
        msg = f"bundle {champion.digest[:12]} ({champion.name} {champion.version}) decides so already, in epoch {epochs.newest}; nothing was to be done."
        raise RolloutError(msg)


@contextlib.asynccontextmanager
async def controlling(settings: Settings, *, by: str) -> AsyncIterator[Control]:
    """
    A controller, which has not begun yet; its two topics are made if they are not there.

    Args:
        settings: Brokers, topics, group and bounds.
        by: Its name in the records.

    Raises:
        BrokerUnreachableError: No broker answered.
        NotAuthorizedError: This user lacks a right; the message names it.
        TopicsRefusedError: The brokers did not make the topics.
        NoGroupError: There is neither a topic of a rollout nor such a group.
        AbandonedCloseError: One of the first two, between the close of an epoch and its marks.
    """
    one: Controller | None = None
    try:
        await asyncio.to_thread(_make_topics, settings)
        async with rollout_reader(settings) as reader:
            writer = RolloutWriter(settings, reader)
            with admin(settings) as client, log_of(settings, settings.rollout.workers_topic) as states:
                workers = WorkersOnKafka(settings, client, states, epochs=lambda: reader.epochs)
                content = ContentOnKafka(settings, client)
                one = Controller(
                    writer, content, workers, by=by, clock=lambda: timestamp(int(time.time() * 1000)), whole=to_its_end
                )
                try:
                    yield Control(controller=one, workers=workers, reader=reader, writer=writer)
                finally:
                    await writer.stop()
    except BrokerUnreachableError as error:
        why = await asyncio.to_thread(explained, settings, error)
        if one is not None and one.closing is not None:
            raise AbandonedCloseError(one.closing, is_read=reader.epochs.closing == one.closing, error=why) from error
        raise why from error.__cause__


async def epochs_now(settings: Settings) -> Epochs:
    """
    The records of the topic `rollout`, folded; none where there is no topic.

    Raises:
        BrokerUnreachableError: No broker answered.
        NotAuthorizedError: This user lacks a right of a controller; the message names it.
    """
    try:
        if await asyncio.to_thread(rollout_topic, settings) is None:
            return Epochs()
        async with rollout_reader(settings) as reader:
            return await reader.read_to(await reader.end())
    except BrokerUnreachableError as error:
        raise await asyncio.to_thread(explained, settings, error) from error.__cause__


def _make_topics(settings: Settings) -> None:
    """The two topics of a rollout, where they are not there."""
    wanted = {settings.rollout.topic: OPTIONS_OF_RECORDS | BROKERS_TIME, settings.rollout.workers_topic: OPTIONS_OF_WORKERS}
    with admin(settings) as client:
        described = client.describe_topics(list(wanted))
        for topic in described:
            if topic["error_code"] == TopicAuthorizationFailedError.errno:
                right = next(right for right in rights(settings, Role.CONTROLLER) if right.name == topic["name"])
                raise denied(settings, str(missing(settings, right, ())))
        absent = [topic["name"] for topic in described if topic["error_code"]]
        if settings.rollout.topic in absent:
            require_never_begun(settings, client)
            require_known_group(settings)
        for name in absent:
            make_topic(settings, client, name, wanted[name])
