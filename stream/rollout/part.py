"""
A worker's side of a rollout: it reads the topic, loads what is planned, says whether it is ready, and holds events until their models are known.

Without the topic `rollout` it looks for it now and then, and does nothing else.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, NoReturn

import msgspec
from aiokafka.errors import KafkaError

from tagstream.model_export.verify import GivenUpError
from tagstream.monitoring.metrics.rollout import RolloutMetrics
from tagstream.monitoring.vocabulary import PlanState
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.rollout import Partition, RolloutRecord, RolloutRecordError, WorkerState
from tagstream.stream.contract.typed import MAX_NOTE_CHARACTERS
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.deliver.fatal import DeliveryError, NotStartedError, die
from tagstream.stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError, TopicsRefusedError
from tagstream.stream.logs import logger
from tagstream.stream.rollout.deciders import NotReadyError, RolledDeciders
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.gate import Gate
from tagstream.stream.rollout.left_closing import FINISH_SECONDS, LeftClosing
from tagstream.stream.rollout.reach import SaidReach
from tagstream.stream.rollout.search import LOOK_SECONDS, SEARCH_SECONDS, seconds_to_begin, topics_of, within
from tagstream.stream.rollout.topic import RolloutReader, make_workers_topic, rollout_reader
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.part import Membership, WorkerPart

# From one line on events that were held to the next.
HELD_SECONDS = 60.0
LEAVE_SECONDS = 1.0

log = logger("tagstream.rollout")


class WorkerRollout(WorkerPart):
    """One worker's part. For one event loop; models are loaded in a thread beside."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        metrics: RolloutMetrics,
        membership: Membership,
        topic_ids: dict[str, str],
        *,
        works: bool = False,
        fail: Callable[[BaseException], NoReturn] = die,
    ) -> None:
        """
        Join the parts.

        Args:
            settings: Topics, bundles and bounds.
            pipeline: Is told which model decides.
            metrics: Show where it stands.
            membership: The worker's place in its group; the group's memory is told of each epoch.
            topic_ids: The ids of the topic and of the content topics by name, as they were found.
            works: Whether an event was let begin before the topic was there.
            fail: Ends the process.
        """
        self._settings = settings
        self._pipeline = pipeline
        self._metrics = metrics
        self._member = membership.member
        self._say = say = membership.sender(settings.rollout.workers_topic)
        self._memory = membership.memory
        self._fail = fail
        self._topic_ids = topic_ids
        self._reach = SaidReach(say, self._load, settings.produce_timeout_seconds)
        # Workers that hold the same events do not all begin to finish at once.
        self._left_closing = LeftClosing(FINISH_SECONDS * (1 + random.random()))  # noqa: S311 - no secret
        self._gate: Gate | None = None
        self._deciders: RolledDeciders | None = None
        self._error: BaseException | None = None
        self._ending = False
        # Set once it is known whether there is a rollout, and which models it has: until then no event may begin.
        self._known = asyncio.Event()
        # Whether an event was let begin: until then a model that cannot be loaded is a matter of this worker's settings.
        self._works = works
        # The epoch by whose champion the pipeline decides; None before the start.
        self._deciding: int | None = None
        # The last word to the controller, and its confirmation.
        self._said: WorkerState | None = None
        self._saying: asyncio.Future[Any] | None = None
        self._left = False
        # Events that were held since the log said so, with their seconds.
        self._held: list[tuple[int, float]] = []
        self._held_said = -HELD_SECONDS
        # The plan that was tried last, and why it was refused; empty if it is ready.
        self._tried: tuple[int, str] = (0, "")

    async def run(self) -> None:
        """Follow the topic until this is cancelled. An error is raised to the events that wait (`admit`)."""
        topic_ids = self._topic_ids
        try:
            async with rollout_reader(self._settings, self._taken) as reader:
                try:
                    await self._begin(reader, topic_ids)
                    await self._follow(reader, topic_ids)
                except asyncio.CancelledError:
                    # Before the reader ends, since events may wait for it.
                    self._ending = True
                    raise
        except NotStartedError as error:
            # No event need come for that.
            self._fail(error)
        except RolloutRecordError as error:
            if not self._works:
                self._fail(NotStartedError(f"this worker cannot begin: {error}"))
            self._give_up(error)
        except Exception as error:  # noqa: BLE001 - an agent that waits for its epoch ends the process with it
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._error = error
        self._known.set()
        log.critical("rollout_lost", why=f"{type(error).__name__}: {error}", consequence="no further event begins")

    async def _follow(self, reader: RolloutReader, topic_ids: dict[str, str]) -> None:
        looked = time.monotonic()
        while True:
            reader.check()
            self._show(reader.epochs)
            await self._prepare(reader.epochs)
            self._show(reader.epochs)
            await self._announce(reader.epochs)
            if self._left_closing.at(reader.epochs.closing, time.monotonic()):
                await self._finish()
            await asyncio.sleep(LOOK_SECONDS)
            if time.monotonic() - looked > SEARCH_SECONDS:
                looked = time.monotonic()
                self._check_topics(topic_ids, await asyncio.to_thread(topics_of, self._settings))

    async def _finish(self) -> None:
        """Write the marks that a controller has left out, where this worker's user may; the events that are held begin then."""
        # Once in the life of few workers.
        from tagstream.stream.rollout.control import controlling
        from tagstream.stream.rollout.controller import ControllerError

        try:
            async with controlling(self._settings, by=f"worker@{socket.gethostname()}") as control:
                epochs = await control.begin()
        except (ControllerError, BrokerUnreachableError, NotAuthorizedError, TopicsRefusedError) as error:
            log.warning(
                "rollout_not_finished", why=str(error), consequence="events are held until a controller writes the marks"
            )
        else:
            log.warning("rollout_finished", epoch=epochs.newest, why="its controller ended between close and marks")

    async def admit(self, taken: Sequence[Any], given_up: Callable[[], bool]) -> None:
        """
        Return once it is known, and loaded, which model decides each of these events, or once they are to be handed back.

        Args:
            taken: Events of the agent, all of them fetched.
            given_up: Whether they are to be handed back.

        Raises:
            DeliveryError: It did not become known within `rollout.hold_seconds`, or the topic cannot be read; no event is to blame.
            NotStartedError: No event has begun in this process, and a model that decides cannot be loaded.
        """
        rollout = self._settings.rollout
        # A model that is loaded first takes more time than a change.
        bound = rollout.hold_seconds if self._deciding is not None else seconds_to_begin(self._settings)
        started = time.monotonic()
        try:
            async with asyncio.timeout(bound):
                while not (self._known.is_set() or given_up()):
                    await within(LOOK_SECONDS, self._known)
                await self._admit(taken, given_up)
        except TimeoutError as error:
            msg = (
                f"it was not known within {bound:g} s (rollout.hold_seconds, rollout.fetch_seconds) which model decides {len(taken)} events: an "
                "epoch is closing and no controller marks it, a partition is in no record, or a model was not loaded in time. Next: "
                "`tagstream rollout status`; `tagstream rollout finish` begins what is closing, and lists new partitions."
            )
            raise DeliveryError(msg) from error
        except NotReadyError as error:
            raise self._lost(error) from error
        self._works = True
        self._say_held(len(taken), time.monotonic() - started)

    def _say_held(self, events: int, seconds: float) -> None:
        """Log once a minute what was held since the last line, and the longest time."""
        if seconds <= LOOK_SECONDS:
            return
        self._held.append((events, seconds))
        now = time.monotonic()
        if now - self._held_said >= HELD_SECONDS:
            longest = max(seconds for _, seconds in self._held)
            log.info(
                "rollout_held", times=len(self._held), events=sum(count for count, _ in self._held), seconds=round(longest, 3)
            )
            self._held, self._held_said = [], now

    async def _admit(self, taken: Sequence[Any], given_up: Callable[[], bool]) -> None:
        if self._error is not None:
            raise self._lost(self._error)
        deciders = self._deciders
        if self._gate is None or deciders is None:
            return
        with self._metrics.waiting(len(taken)):
            await self._hold(self._gate, deciders, taken, given_up)

    async def _hold(self, gate: Gate, deciders: RolledDeciders, taken: Sequence[Any], given_up: Callable[[], bool]) -> None:
        places = [(event.message.topic, event.message.partition, event.message.offset) for event in taken]
        ends: dict[Partition, int] = {}
        for topic, number, offset in places:
            place = deciders.partition(topic, number)
            ends[place] = max(ends.get(place, 0), offset + 1)
        try:
            epochs = await gate.admit(ends, given_up)
        except BrokerUnreachableError as error:
            if not self._ending:
                raise self._lost(error) from error
            # The reader ends with the application, and these events are about to be handed back.
            await self._given_up(given_up)
            return
        if epochs is None or not epochs.started:
            return
        if epochs.group != self._settings.group:
            msg = f"the topic {self._settings.rollout.topic} is that of the group {epochs.group!r}. Next: give each group a topic of its own by rollout.topic"
            raise DeliveryError(msg)
        # Another task does that too, and may have more to do first.
        if self._deciding is None:
            await self._decide_by(epochs.models(epochs.newest))
        for epoch in sorted(deciders.lacking(places)):
            await self._load(epochs.models(epoch))

    async def _given_up(self, given_up: Callable[[], bool]) -> None:
        """Wait until events are to be handed back; `admit` bounds it."""
        while True:
            if given_up():
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _begin(self, reader: RolloutReader, topic_ids: dict[str, str]) -> None:
        epochs = await reader.read_to(await reader.end())
        self._deciders = RolledDeciders(self._settings, self._pipeline.decider, epochs, topic_ids)
        self._gate = Gate(reader, self._reach)
        log.info("rollout_found", topic=self._settings.rollout.topic, epoch=epochs.newest if epochs.started else None)
        if epochs.started:
            await self._make_workers_topic()
            await self._decide_by(epochs.models(epochs.newest))
        else:
            self._metrics.decides_by(0)
        self._known.set()

    async def _make_workers_topic(self) -> None:
        """A worker begins no event of an epoch before the workers' topic has its word, and no controller need come again."""
        try:
            await asyncio.to_thread(make_workers_topic, self._settings)
        except (NotAuthorizedError, TopicsRefusedError) as error:
            msg = f"this worker cannot begin: the topic {self._settings.rollout.workers_topic} is not there. {error}"
            raise NotStartedError(msg) from error

    @staticmethod
    def _check_topics(before: dict[str, str], now: dict[str, str]) -> None:
        """A topic that was made again has other events at the offsets that the records speak of."""
        if now and now != before:
            msg = f"the topics were {before}, and are {now}: one of them was deleted or made again while this worker ran"
            raise DeliveryError(msg)

    def _taken(self, record: RolloutRecord, offset: int, counts: bool) -> None:  # noqa: FBT001 - a reader's callback
        log.info("rollout_record", kind=type(record).__name__.lower(), epoch=record.epoch, offset=offset, counts=counts)

    async def _prepare(self, epochs: Epochs) -> None:
        """Load a plan's models before it begins, and decide by the newest epoch once it has."""
        if epochs.started and self._deciding != epochs.newest:
            await self._decide_by(epochs.models(epochs.newest))
        planned = epochs.planned
        if planned is not None and self._tried[0] != planned.epoch:
            self._tried = (planned.epoch, await self._refusal(planned, lambda: epochs.planned == planned and not self._ending))

    def _show(self, epochs: Epochs) -> None:
        planned, (tried, why) = epochs.planned, self._tried
        if planned is None:
            self._metrics.planned(None, None, closing=epochs.closing)
        elif tried != planned.epoch:
            self._metrics.planned(planned.epoch, PlanState.LOADING, closing=epochs.closing)
        else:
            self._metrics.planned(planned.epoch, PlanState.REFUSED if why else PlanState.READY, closing=epochs.closing)

    async def _refusal(self, planned: Models, goes_on: Callable[[], bool]) -> str:
        """Why this worker cannot decide by a plan; empty if it is ready."""
        assert self._deciders is not None
        try:
            await asyncio.to_thread(self._deciders.prepare, planned, bounded=True, goes_on=goes_on)
        except GivenUpError:
            return "the plan was given up"
        # A refused bundle must cost its plan and not the worker: whatever the runtime raises for it is a refusal.
        except Exception as error:  # noqa: BLE001
            why = str(error) if isinstance(error, NotReadyError) else f"{type(error).__name__}: {error}"
            self._metrics.refused()
            log.warning("rollout_refused", epoch=planned.epoch, digest=planned.champion.digest, why=why)
            return why[:MAX_NOTE_CHARACTERS]
        log.info("rollout_ready", epoch=planned.epoch, digest=planned.champion.digest)
        return ""

    async def _load(self, models: Models) -> Decider:
        """The champion of an epoch that has begun."""
        assert self._deciders is not None
        try:
            champion, *_ = await asyncio.to_thread(self._deciders.prepare, models)
        except NotReadyError as error:
            if self._works:
                raise
            named = models.champion
            msg = (
                f"this worker cannot begin: in epoch {models.epoch} bundle {named.digest} ({named.name} {named.version}) decides, which "
                f"it looks for in {self._settings.rollout.bundles or 'no place, since rollout.bundles is not set'}. {error}"
            )
            raise NotStartedError(msg) from error
        return champion

    async def _decide_by(self, models: Models) -> None:
        assert self._deciders is not None
        champion = await self._load(models)
        self._pipeline.choose(self._deciders.decider_of)
        self._pipeline.replace(champion)
        self._deciding = models.epoch
        self._memory.decided_by(self._settings.rollout.topic, models.epoch)
        self._metrics.decides_by(models.epoch)
        log.info("epoch_began", epoch=models.epoch, digest=models.champion.digest, version=models.champion.version)

    async def _announce(self, epochs: Epochs) -> None:
        """Say to the controller what this worker has, whenever that or its name in the group has changed."""
        member = self._member()
        if not member or self._left:
            return
        state = self._state(member, epochs)
        said = msgspec.structs.replace(state, at="")
        if said == self._said or (self._saying is not None and not self._saying.done()):
            return
        try:
            if self._saying is not None:
                # Of the one before.
                self._saying.result()
            self._said, self._saying = said, asyncio.ensure_future(await self._say(member.encode(), msgspec.json.encode(state)))
        except KafkaError as error:
            self._said = self._saying = None
            # The controller takes this worker for silent, and gives a plan up.
            log.warning(
                "rollout_state_unsaid", why=f"{type(error).__name__}: {error}", consequence="the model cannot be changed"
            )

    async def leave(self) -> None:
        """Take the word back, since the worker ends in good order: the next process has another name in the group."""
        self._left = True
        if self._said is None:
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._say(self._said.member.encode(), None)
        except (KafkaError, TimeoutError) as error:
            # A controller removes it.
            log.warning("rollout_word_stays", why=f"{type(error).__name__}: {error}", member=self._said.member)

    def _state(self, member: str, epochs: Epochs) -> WorkerState:
        planned, model = epochs.planned, self._pipeline.decider.model
        found = WorkerState(
            member=member,
            host=socket.gethostname(),
            version=metadata.version("tagstream"),
            epoch=epochs.newest,
            state="decides",
            digest=model.digest,
            arithmetic=model.arithmetic,
            at=timestamp(int(time.time() * 1000)),
        )
        if planned is None or self._tried[0] != planned.epoch or self._deciders is None:
            return found
        why = self._tried[1]
        return msgspec.structs.replace(
            found,
            epoch=planned.epoch,
            state="refused" if why else "ready",
            digest=planned.champion.digest,
            arithmetic=None if why else self._deciders.arithmetic(planned.epoch),
            why=why,
        )

    @staticmethod
    def _lost(error: BaseException) -> DeliveryError:
        return DeliveryError(f"it cannot be known which model decides: {error}")
