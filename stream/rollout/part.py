"""A worker's side of a rollout: it follows the topic, says whether it is ready for a plan, and holds events until their models are known."""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, NoReturn

import msgspec
from aiokafka.errors import KafkaError

from tagstream.monitoring.metrics.rollout import RolloutMetrics
from tagstream.monitoring.vocabulary import PlanState
from tagstream.stream.contract.field_types import MAX_NOTE_CHARACTERS
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.rollout_records import RolloutRecord, WorkerState
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver.fatal import DeliveryError, NotStartedError, die
from tagstream.stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError, TopicsRefusedError
from tagstream.stream.logs import logger
from tagstream.stream.rollout.abandoned_close import FINISH_SECONDS, AbandonedClose
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.follower import EpochNotReadyError, RolloutFollower
from tagstream.stream.rollout.presence import LOOK_SECONDS
from tagstream.stream.rollout.reach import SaidReach
from tagstream.stream.rollout.search import RolloutPart, lost, seconds_to_begin, unknown
from tagstream.stream.rollout.topic import make_workers_topic, rollout_reader
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.part import Membership

# From one line on events that were held to the next.
HELD_SECONDS = 60.0
LEAVE_SECONDS = 1.0

log = logger("tagstream.rollout")


class WorkerRollout(RolloutPart):
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
        super().__init__(settings, fail, works=works)
        self._pipeline = pipeline
        self._metrics = metrics
        self._member = membership.member
        self._say = say = membership.sender(settings.rollout.workers_topic)
        self._memory = membership.memory
        self._topic_ids = topic_ids
        self._reach = SaidReach(say, self._load, settings.produce_timeout_seconds)
        # Workers that hold the same events do not all begin to finish at once.
        self._left_closing = AbandonedClose(FINISH_SECONDS * (1 + random.random()))  # noqa: S311 - no secret
        self._follower: RolloutFollower | None = None
        self._ending = False
        # The last word to the controller, and its confirmation.
        self._said: WorkerState | None = None
        self._saying: asyncio.Future[Any] | None = None
        self._left = False
        # Events that were held since the log said so, with their seconds.
        self._held: list[tuple[int, float]] = []
        self._held_said = -HELD_SECONDS

    async def follow(self) -> None:
        """Follow the topic until this is cancelled."""
        async with rollout_reader(self._settings, self._taken) as reader:
            own, reach = self._pipeline.decider, self._reach
            self._follower = RolloutFollower(self._settings, self._pipeline, reader, self._topic_ids, own=own, reach=reach)
            try:
                await self._begin(self._follower)
                await self._go_on(self._follower)
            except asyncio.CancelledError:
                # Before the reader ends, since events may wait for it.
                self._ending = True
                raise
            except EpochNotReadyError as error:
                if self._works:
                    raise
                raise self._not_started(error) from error

    async def _go_on(self, follower: RolloutFollower) -> None:
        while True:
            self._show(follower)
            await self._decide(follower)
            await self._prepare(follower)
            self._show(follower)
            await self._announce(follower)
            if self._left_closing.at(follower.epochs.closing, time.monotonic()):
                await self._finish()
            if await follower.wait():
                await self._check_topics(follower)

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
        # A model that is loaded first takes more time than a change.
        decides = self._follower is not None and self._follower.decides is not None
        bound = self._settings.rollout.hold_seconds if decides else seconds_to_begin(self._settings)
        started = time.monotonic()
        try:
            async with asyncio.timeout(bound):
                await self.until_known(given_up)
                if self._follower is not None:
                    with self._metrics.waiting(len(taken)):
                        await self._hold(self._follower, taken, given_up)
        except TimeoutError as error:
            msg = (
                f"it was not known within {bound:g} s (rollout.hold_seconds, rollout.fetch_seconds) which model decides {len(taken)} events: an "
                "epoch is closing and no controller marks it, a partition is in no record, or a model was not loaded in time. Next: "
                "`tagstream rollout status`; `tagstream rollout finish` begins what is closing, and lists new partitions."
            )
            raise DeliveryError(msg) from error
        except EpochNotReadyError as error:
            raise (lost(error) if self._works else self._not_started(error)) from error
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

    async def _hold(self, follower: RolloutFollower, taken: Sequence[Any], given_up: Callable[[], bool]) -> None:
        places = [(event.message.topic, event.message.partition, event.message.offset) for event in taken]
        try:
            epochs = await follower.hold(places, given_up)
        except BrokerUnreachableError as error:
            if not self._ending:
                raise lost(error) from error
            # The reader ends with the application, and these events are about to be handed back; `admit` bounds that.
            self._known.clear()
            await self.until_known(given_up)
            return
        if epochs is None or not epochs.started:
            return
        if epochs.group != self._settings.group:
            msg = f"the topic {self._settings.rollout.topic} is that of the group {epochs.group!r}. Next: give each group a topic of its own by rollout.topic"
            raise DeliveryError(msg)
        # Another task does that too, and may have more to do first.
        if follower.decides is None:
            await self._decide(follower)
        await follower.load_all(places)

    async def _begin(self, follower: RolloutFollower) -> None:
        epochs = follower.epochs
        log.info("rollout_found", topic=self._settings.rollout.topic, epoch=epochs.newest if epochs.started else None)
        if epochs.started:
            await self._make_workers_topic()
            await self._decide(follower)
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

    async def _check_topics(self, follower: RolloutFollower) -> None:
        """A topic that was made again has other events at the offsets that the records speak of."""
        try:
            now = await asyncio.to_thread(follower.other_topics)
        except BrokerUnreachableError as error:
            unknown(error)
            return
        if now:
            before = self._topic_ids
            msg = f"the topics were {before}, and are {now}: one of them was deleted or made again while this worker ran"
            raise DeliveryError(msg)

    def _taken(self, record: RolloutRecord, offset: int, counts: bool) -> None:  # noqa: FBT001 - a reader's callback
        log.info("rollout_record", kind=type(record).__name__.lower(), epoch=record.epoch, offset=offset, counts=counts)

    async def _decide(self, follower: RolloutFollower) -> None:
        """Decide by the newest epoch, once it has begun."""
        models = follower.new_epoch
        if models is None:
            return
        champion, _ = await asyncio.to_thread(follower.load, models)
        follower.decide_by(models, champion, follower.deciders.decider_of)
        self._memory.decided_by(self._settings.rollout.topic, models.epoch)
        self._metrics.decides_by(models.epoch)
        log.info("epoch_began", epoch=models.epoch, digest=models.champion.digest, version=models.champion.version)

    async def _prepare(self, follower: RolloutFollower) -> None:
        """Load a plan's models before it begins."""
        planned = follower.new_plan
        if planned is None:
            return

        def goes_on() -> bool:
            return follower.epochs.planned == planned and not self._ending

        why = await asyncio.to_thread(follower.try_plan, planned, goes_on)
        if why:
            self._metrics.refused()
            log.warning("rollout_refused", epoch=planned.epoch, digest=planned.champion.digest, why=why)
        elif why is not None:
            log.info("rollout_ready", epoch=planned.epoch, digest=planned.champion.digest)

    def _show(self, follower: RolloutFollower) -> None:
        planned, (_, why) = follower.epochs.planned, follower.tried
        if planned is None:
            state = None
        elif follower.new_plan is not None:
            state = PlanState.LOADING
        else:
            state = PlanState.REFUSED if why else PlanState.READY
        self._metrics.planned(None if planned is None else planned.epoch, state, closing=follower.epochs.closing)

    async def _load(self, models: Models) -> None:
        assert self._follower is not None
        await asyncio.to_thread(self._follower.load, models)

    async def _announce(self, follower: RolloutFollower) -> None:
        """Say to the controller what this worker has, whenever that or its name in the group has changed."""
        member = self._member()
        if not member or self._left:
            return
        state = self._state(member, follower)
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

    def _state(self, member: str, follower: RolloutFollower) -> WorkerState:
        planned, model = follower.epochs.planned, self._pipeline.decider.model
        found = WorkerState(
            member=member,
            host=socket.gethostname(),
            version=metadata.version("tagstream"),
            epoch=follower.epochs.newest,
            state="decides",
            digest=model.digest,
            arithmetic=model.arithmetic,
            at=timestamp(int(time.time() * 1000)),
        )
        tried, why = follower.tried
        if planned is None or tried != planned.epoch:
            return found
        return msgspec.structs.replace(
            found,
            epoch=planned.epoch,
            state="refused" if why else "ready",
            digest=planned.champion.digest,
            arithmetic=None if why else follower.deciders.arithmetic(planned.epoch),
            why=why[:MAX_NOTE_CHARACTERS],
        )

    def _not_started(self, error: EpochNotReadyError) -> NotStartedError:
        named, place = error.models.champion, self._settings.rollout.bundles or "no place, since rollout.bundles is not set"
        return NotStartedError(
            f"this worker cannot begin: in epoch {error.models.epoch} bundle {named.digest} ({named.name} {named.version}) decides, which "
            f"it looks for in {place}. {error}"
        )
