"""A worker's part of a rollout: it follows the topic, writes its state, and holds events until their models are known."""

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

# The least time between two log lines on held events.
HELD_SECONDS = 60.0
LEAVE_SECONDS = 1.0

log = logger("tagstream.rollout")


class WorkerRollout(RolloutPart):
    """One worker's part of a rollout. For one event loop; models are loaded in a thread."""

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
            pipeline: Gets the deciders of each new epoch.
            metrics: The metrics of the rollout.
            membership: The worker's membership in its group. The group's memory keeps the newest epoch.
            topic_ids: The ids of the topic `rollout` and of the content topics, by name.
            works: True if an event was admitted before the topic was found.
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
        # The random factor keeps workers from finishing an abandoned epoch all at once.
        self._left_closing = AbandonedClose(FINISH_SECONDS * (1 + random.random()))  # noqa: S311 - no secret
        self._follower: RolloutFollower | None = None
        self._ending = False
        # The last state that was written for the controller, and the broker's confirmation.
        self._said: WorkerState | None = None
        self._saying: asyncio.Future[Any] | None = None
        self._left = False
        # The holds since the last log line: number of events, and seconds.
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
                # Set before the reader ends, since events may be waiting for the reader.
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
        """Write the marks of an abandoned epoch, if this worker's user may write them. Then held events begin."""
        # Imported here, since few workers ever need it.
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
        Wait until the model of each of these events is known and loaded. Returns early once `given_up` returns True.

        Args:
            taken: Fetched events of the agent.
            given_up: Returns True once the events are to be handed back.

        Raises:
            DeliveryError: The model did not become known within `rollout.hold_seconds`, or the topic cannot be read. No event is to blame.
            NotStartedError: A deciding model cannot be loaded, and no event has begun in this process.
        """
        # The first model takes longer to load than a change of the model.
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
        """Log once a minute how many events were held since the last line, and the longest hold."""
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
            # The application is ending: wait until the events are handed back. `admit` bounds this wait.
            self._known.clear()
            await self.until_known(given_up)
            return
        if epochs is None or not epochs.started:
            return
        if epochs.group != self._settings.group:
            msg = f"the topic {self._settings.rollout.topic} belongs to the group {epochs.group!r}. Next: give each group a topic of its own by rollout.topic"
            raise DeliveryError(msg)
        # The task that follows the topic does that too, but it may have other work first.
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
        """Make the workers' topic if it is missing. A worker must write its reach there before it begins events of an epoch."""
        try:
            await asyncio.to_thread(make_workers_topic, self._settings)
        except (NotAuthorizedError, TopicsRefusedError) as error:
            msg = f"this worker cannot begin: the topic {self._settings.rollout.workers_topic} is not there. {error}"
            raise NotStartedError(msg) from error

    async def _check_topics(self, follower: RolloutFollower) -> None:
        """Raise if a topic was made again: it has other events at the offsets of the records."""
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
        """Decide by the newest epoch, if this worker does not do so yet."""
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
        """Write this worker's state for the controller, whenever the state or the member id has changed."""
        member = self._member()
        if not member or self._left:
            return
        state = self._state(member, follower)
        said = msgspec.structs.replace(state, at="")
        if said == self._said or (self._saying is not None and not self._saying.done()):
            return
        try:
            if self._saying is not None:
                # Raises if the broker did not confirm the state before.
                self._saying.result()
            self._said, self._saying = said, asyncio.ensure_future(await self._say(member.encode(), msgspec.json.encode(state)))
        except KafkaError as error:
            self._said = self._saying = None
            # The controller takes this worker for silent, and gives its plan up.
            log.warning(
                "rollout_state_unsaid", why=f"{type(error).__name__}: {error}", consequence="the model cannot be changed"
            )

    async def leave(self) -> None:
        """Remove this worker's state at a regular end. The next process has another member id."""
        self._left = True
        if self._said is None:
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._say(self._said.member.encode(), None)
        except (KafkaError, TimeoutError) as error:
            # A controller removes the state later.
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
