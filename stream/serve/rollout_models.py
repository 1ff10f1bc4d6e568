"""
`tagstream serve` under a rollout: the service decides by the newest marks, as the stream would decide an event that arrives now.

A thread of its own follows the rollout topic, so that neither silent brokers nor the loading of a model delay a request. If the topic
cannot be read, decisions continue with the last known models, at first with the model of the settings. Each answer names its epoch.
"""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.logs import logger
from tagstream.stream.rollout.deciders import NotReadyError, of_arm
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.follower import RolloutFollower
from tagstream.stream.rollout.presence import SEARCH_SECONDS, rollout_topic
from tagstream.stream.rollout.topic import rollout_reader
from tagstream.stream.settings.settings import Settings

# Connections that brokers refuse fail within three seconds, so this wait is long enough.
FIRST_SECONDS = 30.0
STOP_SECONDS = 5.0
log = logger("tagstream.serve")


class ServeRollout:
    """
    The models of a rollout in the service's pipeline.

    Attributes:
        unknown: Why the stream's models are not known, or not in force in this service; None if they are in force.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline, *, decides_by: Callable[[int], None]) -> None:
        """
        Store the parts; `__enter__` starts the thread.

        Args:
            settings: Brokers, topics, group, and the place of bundles.
            pipeline: Decides the requests. If it decides by rules, a rollout does not replace the rules: a person has set them.
            decides_by: Called with each epoch by which the pipeline decides.
        """
        self.unknown: str | None = None
        self._settings = settings
        self._pipeline = pipeline
        self._decides_by = decides_by
        # Each rollout begins with the decider of the settings, also after another rollout.
        self._own = pipeline.decider
        self._models: Models | None = None
        self._looked, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollout", daemon=True)

    def __enter__(self) -> Self:
        """Start to follow the rollout topic, if a model decides."""
        if self._pipeline.decider.kind == "model":
            self._thread.start()
        else:
            self._looked.set()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop following. Wait at most `STOP_SECONDS` for a request to silent brokers."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def wait(self) -> None:
        """Wait for the end of the first look: the rollout's models decide, there is no rollout, or `unknown` has the reason."""
        if not self._looked.wait(FIRST_SECONDS):
            self._lost(f"the first look was not over within {FIRST_SECONDS:g} s")

    def _run(self) -> None:
        asyncio.run(self._look_again())

    async def _look_again(self) -> None:
        while not self._stopping.is_set():
            following = asyncio.ensure_future(self._follow())
            await asyncio.wait({following})
            # After an error of any kind, decisions continue and the look is repeated.
            if (error := following.exception()) is not None:
                self._lost(str(error) if isinstance(error, NotReadyError) else f"{type(error).__name__}: {error}")
            self._looked.set()
            self._stopping.wait(SEARCH_SECONDS)

    async def _follow(self) -> None:
        """Follow the rollout topic until it is replaced by another one or cannot be read."""
        settings = self._settings
        topic_ids = rollout_topic(settings)
        if topic_ids is None:
            if self._models is not None:
                msg = (
                    f"the topic {settings.rollout.topic}, by which this service decides, is not there any more, or this user may not see it. Next: "
                    "`tagstream doctor` with this service's settings; restart it if the rollout has ended for good."
                )
                raise NotReadyError(msg)
            self.unknown = None
            return
        async with rollout_reader(settings) as reader:
            follower = RolloutFollower(settings, self._pipeline, reader, topic_ids, own=self._own)
            follower.decides = self._models
            while not self._stopping.is_set():
                self._take_over(follower)
                self.unknown = None
                self._looked.set()
                if await follower.wait() and follower.other_topics() is not None:
                    return

    def _take_over(self, follower: RolloutFollower) -> None:
        """Decide by the newest epoch, and load the planned models before their epoch begins."""
        group = follower.epochs.group
        if follower.epochs.started and group != self._settings.group:
            msg = f"the topic {self._settings.rollout.topic} belongs to the group {group!r}. Next: set TAGSTREAM_GROUP to the group of the workers."
            raise NotReadyError(msg)
        if (models := follower.new_epoch) is not None:
            pair = follower.load(models)
            # The decider is fixed to these loaded models, so that a request never waits for a model or fails because of one.
            follower.decide_by(models, pair[0], lambda event: of_arm(models, pair, event))
            self._models = models
            self._decides_by(models.epoch)
            log.info("epoch_began", epoch=models.epoch, digest=models.champion.digest, version=models.champion.version)
        elif (planned := follower.new_plan) is not None:
            why = follower.try_plan(planned, lambda: not self._stopping.is_set())
            # A planned bundle that is missing does no harm before its epoch begins. After that, `unknown` reports it.
            if why:
                log.warning("rollout_refused", epoch=planned.epoch, why=why)

    def _lost(self, why: str) -> None:
        if why != self.unknown:
            model = self._pipeline.decider.model
            log.warning(
                "rollout_unknown",
                why=why,
                consequence=f"{model.name} {model.version} goes on to decide",
                epoch=model.epoch,
                again_seconds=SEARCH_SECONDS,
            )
        self.unknown = why
