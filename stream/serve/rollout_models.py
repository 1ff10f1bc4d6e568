"""
`tagstream serve` under a rollout: it decides by the newest marks, as an event that comes now would be decided in the stream.

It follows the topic in a thread of its own, so that neither silent brokers nor a model that is loaded keep a request waiting. Whatever is
not known, decisions go on: by the models that are known, at first that of the settings. Each answer names its epoch.
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

# Brokers that refuse connections are known to be away within three seconds.
FIRST_SECONDS = 30.0
STOP_SECONDS = 5.0
log = logger("tagstream.serve")


class ServeRollout:
    """
    The models of a rollout in the service's pipeline.

    Attributes:
        unknown: Why it is not known, or not in force here, which models decide in the stream; None while all is well.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline, *, decides_by: Callable[[int], None]) -> None:
        """
        Follow nothing yet.

        Args:
            settings: Brokers, topics, group, and the place of bundles.
            pipeline: Decides the requests. Rules stay: a person has said that no model may decide.
            decides_by: Is told of each epoch by which the pipeline decides.
        """
        self.unknown: str | None = None
        self._settings = settings
        self._pipeline = pipeline
        self._decides_by = decides_by
        # Each rollout begins with it, whatever has decided since.
        self._own = pipeline.decider
        self._models: Models | None = None
        self._looked, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollout", daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        if self._pipeline.decider.kind == "model":
            self._thread.start()
        else:
            self._looked.set()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Look no more. A question to silent brokers is not waited for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def wait(self) -> None:
        """Return once the first look is over: the models of a rollout decide, there is none, or `unknown` says why that is not known."""
        if not self._looked.wait(FIRST_SECONDS):
            self._lost(f"the first look was not over within {FIRST_SECONDS:g} s")

    def _run(self) -> None:
        asyncio.run(self._look_again())

    async def _look_again(self) -> None:
        while not self._stopping.is_set():
            following = asyncio.ensure_future(self._follow())
            await asyncio.wait({following})
            # Of whatever kind: decisions go on, and it is tried again.
            if (error := following.exception()) is not None:
                self._lost(str(error) if isinstance(error, NotReadyError) else f"{type(error).__name__}: {error}")
            self._looked.set()
            self._stopping.wait(SEARCH_SECONDS)

    async def _follow(self) -> None:
        """Follow the topic as long as it is the same one, and can be read."""
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
        """Decide by the newest epoch, and load what is planned before it begins."""
        group = follower.epochs.group
        if follower.epochs.started and group != self._settings.group:
            msg = f"the topic {self._settings.rollout.topic} is that of the group {group!r}. Next: set TAGSTREAM_GROUP to the group of the workers."
            raise NotReadyError(msg)
        if (models := follower.new_epoch) is not None:
            pair = follower.load(models)
            # Not by the epochs as they grow: a request never waits for a model, nor does it fail for one.
            follower.decide_by(models, pair[0], lambda event: of_arm(models, pair, event))
            self._models = models
            self._decides_by(models.epoch)
            log.info("epoch_began", epoch=models.epoch, digest=models.champion.digest, version=models.champion.version)
        elif (planned := follower.new_plan) is not None:
            why = follower.try_plan(planned, lambda: not self._stopping.is_set())
            # A bundle that cannot be had decides nothing until its epoch begins, and then `unknown` says so.
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
