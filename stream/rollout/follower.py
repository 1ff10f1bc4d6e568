"""How a process follows the topic `rollout`: the worker, `serve` and a shadow each say by themselves what an epoch means to them, and when."""

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
    """This process cannot have the models of an epoch that has begun."""

    def __init__(self, models: Models, error: NotReadyError) -> None:
        """Say of these models what the error says."""
        super().__init__(str(error))
        self.models = models


class RolloutFollower:
    """
    The epochs of one topic, and their models, in one process. What is no coroutine may take seconds: an event loop leaves it to a thread.

    Attributes:
        epochs: The records of the topic, folded; they grow.
        deciders: Those of the epochs.
        decides: The epoch by which the pipeline decides; None while it is the decider of the settings.
        tried: The plan that was tried last, and why it was refused; empty if its models are loaded.
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
        Follow by a reader, which has read the topic to its end.

        Args:
            settings: Brokers, group, bundles and bounds.
            pipeline: Is told which models decide.
            reader: Of the topic.
            topic_ids: As `rollout_topic` found them.
            own: The decider of the settings.
            reach: Is said before events begin; None where decisions are not published.
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
        """The newest epoch, if the pipeline does not decide by it yet."""
        newest = self.epochs.models(self.epochs.newest) if self.epochs.started else None
        return None if newest == self.decides else newest

    @property
    def new_plan(self) -> Models | None:
        """The newest plan, if it was not tried yet."""
        planned = self.epochs.planned
        return None if planned is None or planned.epoch == self.tried[0] else planned

    def load(self, models: Models) -> tuple[Decider, Decider | None]:
        """
        Champion and challenger of an epoch that has begun.

        Raises:
            EpochNotReadyError: They cannot be had.
        """
        try:
            return self.deciders.prepare(models)
        except NotReadyError as error:
            raise EpochNotReadyError(models, error) from error

    def decide_by(self, models: Models, champion: Decider, choose: Callable[[ContentEvent], Decider]) -> None:
        """From the next batch on, decide by an epoch that is loaded; `choose` gives the decider of an event."""
        self._pipeline.choose(choose)
        self._pipeline.replace(champion)
        self.decides = models

    def try_plan(self, planned: Models, goes_on: Callable[[], bool]) -> str | None:
        """Load a plan's models before it begins. Returns why it is refused; empty if it is not, None once `goes_on` says no."""
        why: str | None = ""
        try:
            self.deciders.prepare(planned, bounded=True, goes_on=goes_on)
        except GivenUpError:
            why = None
        # A refused bundle must cost its plan and not the process: whatever the runtime raises for it is a refusal.
        except Exception as error:  # noqa: BLE001
            why = str(error) if isinstance(error, NotReadyError) else f"{type(error).__name__}: {error}"
        self.tried = (planned.epoch, "the plan was given up" if why is None else why)
        return why

    async def hold(self, places: Sequence[tuple[str, int, int]], given_up: Callable[[], bool]) -> Epochs | None:
        """Wait at the gate (`EpochGate.admit`) with events (topic, partition, offset), all of them fetched before."""
        ends = {self.deciders.partition(topic, number): offset + 1 for topic, number, offset in sorted(places)}
        return await self._gate.admit(ends, given_up)

    async def load_all(self, places: Sequence[tuple[str, int, int]]) -> None:
        """Load what decides these events, which `hold` let begin. Raises as `load`."""
        for epoch in sorted(self.deciders.lacking(places)):
            await asyncio.to_thread(self.load, self.epochs.models(epoch))

    async def wait(self) -> bool:
        """
        Return when there may be more records; says whether `other_topics` is to be asked, every `SEARCH_SECONDS`.

        Raises:
            RolloutRecordError: A record cannot be read by this version.
            BrokerUnreachableError: The topic is not read any more.
        """
        await self._reader.wait_for_more()
        await asyncio.sleep(LOOK_SECONDS)
        if time.monotonic() - self._looked <= SEARCH_SECONDS:
            return False
        self._looked = time.monotonic()
        return True

    def other_topics(self) -> Mapping[str, str] | None:
        """The ids of the topics, if one was made again since; empty if there is no topic. Raises as `rollout_topic`."""
        now = rollout_topic(self._settings) or {}
        return None if now == self._topic_ids else now
