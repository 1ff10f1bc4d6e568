"""How a process follows the topic `rollout`. The worker, `serve` and a shadow decide for themselves what to do with a new epoch."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from tagstream.model_export.verify import GivenUpError
from tagstream.stream.contract.event import ContentEvent
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.rollout.deciders import NotReadyError, RolledDeciders
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.gate import EpochGate, Reach
from tagstream.stream.rollout.presence import LOOK_SECONDS, SEARCH_SECONDS, rollout_topic
from tagstream.stream.rollout.topic import RolloutReader
from tagstream.stream.settings.settings import Settings


class EpochNotReadyError(NotReadyError):
    """This process cannot load the models of an epoch that has begun."""

    def __init__(self, models: Models, error: NotReadyError) -> None:
        """Keep the models that cannot be loaded, and the message of `error`."""
        super().__init__(str(error))
        self.models = models


class RolloutFollower:
    """
    The epochs of one topic and their models, in one process. Methods that are not coroutines may take seconds: call them in a thread.

    Attributes:
        epochs: The epochs of the topic; this object grows.
        deciders: The deciders of the epochs.
        decides: The epoch by which the pipeline decides; None while the decider of the settings decides.
        tried: The number of the plan that was tried last, and why it was refused; empty if its models are loaded.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        reader: RolloutReader,
        topic_ids: Mapping[str, str],
        *,
        own: Decider,
        reach: Reach | None = None,
    ) -> None:
        """
        Follow the topic by a reader that has read it to its end.

        Args:
            settings: Brokers, group, bundles and bounds.
            pipeline: Gets the deciders of each new epoch.
            reader: The reader of the topic.
            topic_ids: The topic ids that `rollout_topic` found.
            own: The decider of the settings.
            reach: Written before events begin; None if decisions are not published.
        """
        self._settings = settings
        self._pipeline = pipeline
        self._reader = reader
        self._topic_ids = topic_ids
        self._gate = EpochGate(reader, reach)
        self._looked = time.monotonic()
        self.epochs = reader.epochs
        self.deciders = RolledDeciders(settings, own, reader.epochs, topic_ids)
        self.decides: Models | None = None
        self.tried: tuple[int, str] = (0, "")

    @property
    def new_epoch(self) -> Models | None:
        """The models of the newest epoch, if the pipeline does not decide by them yet; None otherwise."""
        newest = self.epochs.models(self.epochs.newest) if self.epochs.started else None
        return None if newest == self.decides else newest

    @property
    def new_plan(self) -> Models | None:
        """The models of the newest plan, if they were not tried yet; None otherwise."""
        planned = self.epochs.planned
        return None if planned is None or planned.epoch == self.tried[0] else planned

    def load(self, models: Models) -> tuple[Decider, Decider | None]:
        """
        Load and return champion and challenger of an epoch that has begun.

        Raises:
            EpochNotReadyError: The models cannot be loaded.
        """
        try:
            return self.deciders.prepare(models)
        except NotReadyError as error:
            raise EpochNotReadyError(models, error) from error

    def decide_by(self, models: Models, champion: Decider, choose: Callable[[ContentEvent], Decider]) -> None:
        """Decide by a loaded epoch from the next batch on. `choose` returns the decider of an event."""
        self._pipeline.choose(choose)
        self._pipeline.replace(champion)
        self.decides = models

    def try_plan(self, planned: Models, goes_on: Callable[[], bool]) -> str | None:
        """Load a plan's models before it begins. Return why they are refused; empty if they are ready, None if `goes_on` said no."""
        why: str | None = ""
        try:
            self.deciders.prepare(planned, bounded=True, goes_on=goes_on)
        except GivenUpError:
            why = None
        # Any error of the runtime refuses the plan: a bad bundle must not end the process.
        except Exception as error:  # noqa: BLE001
            why = str(error) if isinstance(error, NotReadyError) else f"{type(error).__name__}: {error}"
        self.tried = (planned.epoch, "the plan was given up" if why is None else why)
        return why

    async def hold(self, places: Sequence[tuple[str, int, int]], given_up: Callable[[], bool]) -> Epochs | None:
        """Wait at the gate (`EpochGate.admit`) with fetched events, each as (topic, partition, offset)."""
        ends = {self.deciders.partition(topic, number): offset + 1 for topic, number, offset in sorted(places)}
        return await self._gate.admit(ends, given_up)

    async def load_all(self, places: Sequence[tuple[str, int, int]]) -> None:
        """Load the models of these events, which `hold` has admitted. Raises as `load`."""
        for epoch in sorted(self.deciders.lacking(places)):
            await asyncio.to_thread(self.load, self.epochs.models(epoch))

    async def wait(self) -> bool:
        """
        Wait until there may be more records. Return True every `SEARCH_SECONDS`, when the caller is to call `other_topics`.

        Raises:
            RolloutRecordError: This version cannot read a record.
            BrokerUnreachableError: The reader of the topic has ended.
        """
        await self._reader.wait_for_more()
        await asyncio.sleep(LOOK_SECONDS)
        if time.monotonic() - self._looked <= SEARCH_SECONDS:
            return False
        self._looked = time.monotonic()
        return True

    def other_topics(self) -> Mapping[str, str] | None:
        """Return the new topic ids if a topic was made again, empty if the topic is gone, else None. Raises as `rollout_topic`."""
        now = rollout_topic(self._settings) or {}
        return None if now == self._topic_ids else now
