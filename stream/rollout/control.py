"""A controller on Kafka: the parts of the protocol, its two topics, and the result of a change."""

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

# The records of the rollout are kept for ever. Of each worker only the newest state is kept (`OPTIONS_OF_WORKERS`).
OPTIONS_OF_RECORDS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
# Records of a topic that is made here have the broker's time. So `rollout log --at` does not depend on the clock of a controller's machine.
BROKERS_TIME = {"message.timestamp.type": "LogAppendTime"}


async def to_its_end(work: Coroutine[Any, Any, Epochs]) -> Epochs:
    """Run `work` to its end, and raise a cancellation only after that. The work must bound its own time."""
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
        models: The models of the epoch.
        marks: Where the epoch begins.
        closed_seconds: The time from close to marks, when events could not begin.
        workers: The number of workers that were asked.
        by_another: True if a worker or a watch wrote the marks, because this command was too slow.
        ahead_seconds: How far this machine's clock is ahead of the brokers' clock; negative if it is behind, 0 if their clock is not known.
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
    A controller and its parts on Kafka.

    Attributes:
        controller: Begins, changes and ends epochs.
        workers: The workers of the group.
        reader: Reads the topic `rollout`.
        writer: Writes the topic `rollout` for this controller.
    """

    controller: Controller
    workers: WorkersOnKafka
    reader: RolloutReader
    writer: RolloutWriter

    async def begin(self) -> Epochs:
        """
        Run `Controller.begin`, then remove stale records: states of workers that have left the group (each process has a member id of its
        own), and reaches of earlier epochs.

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
            wanted: The epoch's models; their `epoch` is ignored.
            why: A note for people.
            goes_back: True if the epoch's champion has decided before.

        Raises:
            RolloutError: The newest epoch already decides this way.
            PlanGivenUpError: A worker refused, or did not answer in time; the model has not changed.
        """
        epochs = self.reader.epochs
        require_change(epochs, wanted)
        # The workers are counted before the change: a failure after the change would look like a failed change.
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
            # A signal after the close changes nothing: the epoch has begun, and the caller gets it.
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
        """Wait for another controller, which has fenced this one, to begin the epoch that this one closed. Return True if it has begun."""
        until = time.monotonic() + 2 * FINISH_SECONDS
        while self.reader.epochs.newest != epoch and time.monotonic() < until:
            await self.reader.wait_for_more()
        return self.reader.epochs.newest == epoch


def name_here() -> str:
    """Return the name under which this process writes: user@host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def require_change(epochs: Epochs, wanted: Models) -> None:
    """
    Require that the wanted models differ from the models of the newest epoch.

    Raises:
        RolloutError: The newest epoch already decides this way.
    """
    if epochs.models(epochs.newest).decides_as(wanted):
        champion = wanted.champion
        msg = f"bundle {champion.digest[:12]} ({champion.name} {champion.version}) decides so already, in epoch {epochs.newest}; nothing has changed."
        raise RolloutError(msg)


@contextlib.asynccontextmanager
async def controlling(settings: Settings, *, by: str) -> AsyncIterator[Control]:
    """
    Yield a controller that has not begun yet. Its two topics are made if they do not exist.

    Args:
        settings: Brokers, topics, group and bounds.
        by: The controller's name in the records.

    Raises:
        BrokerUnreachableError: No broker answered.
        NotAuthorizedError: This user lacks a right; the message names it.
        TopicsRefusedError: The brokers did not make the topics.
        NoGroupError: Neither the topic `rollout` nor the group exists.
        AbandonedCloseError: BrokerUnreachableError or NotAuthorizedError, between the close of an epoch and its marks.
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
    Return the epochs of the topic `rollout`; empty if there is no topic.

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
    """Make the two topics of a rollout if they do not exist."""
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
