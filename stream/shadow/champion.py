"""The stream's model in a follower beside the workers: the model that decides at each event's place in the log."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tagstream.stream.contract.event import ContentEvent, Record
from tagstream.stream.contract.outcome import ModelRef, Publication
from tagstream.stream.contract.rollout_records import Guards
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.registry.unframing import unframing_of
from tagstream.stream.rollout.follower import RolloutFollower
from tagstream.stream.rollout.history import require_group
from tagstream.stream.rollout.presence import SEARCH_SECONDS, rollout_topic
from tagstream.stream.rollout.topic import rollout_reader
from tagstream.stream.settings.settings import Settings
from tagstream.stream.shadow.decision_sources import DecisionSourceError


class ShadowError(Exception):
    """The follower cannot go on. The message gives the reason and the next step. Uncommitted events are read again."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The publications of a batch, in the order of its records, and the seconds that deciding took."""

    publications: list[Publication]
    seconds: float


class Champion:
    """The model that decides the stream, at each event's place in the log."""

    def __init__(self, settings: Settings, opened: contextlib.AsyncExitStack) -> None:
        """
        Load the bundle of the settings.

        Args:
            settings: The settings of a worker.
            opened: Closes the reader of the rollout, if there is a rollout.

        Raises:
            BundleError: The bundle is refused.
            DecisionSourceError: The settings name the keyword rules.
        """
        if settings.decider == "rules":
            msg = "the stream decides by the keyword rules (decider), and a bundle cannot be compared with them. Next: set TAGSTREAM_DECIDER=model."
            raise DecisionSourceError(msg)
        self._settings = settings
        self._opened = opened
        self._pipeline = pipeline_of(settings, unframe=unframing_of(settings))
        self._follower: RolloutFollower | None = None
        self._looked = float("-inf")

    @property
    def decider(self) -> Decider:
        """The decider of the settings. Once there is a rollout, the pipeline looks up the decider of each event instead."""
        return self._pipeline.decider

    async def admit(self, records: Sequence[Record], stop: threading.Event) -> bool:
        """
        Wait until it is known which model decides each of these fetched records.

        Returns:
            True when the models are known; False if `stop` was set meanwhile.

        Raises:
            ShadowError: The models were not known within `rollout.hold_seconds`.
            NotReadyError: A deciding bundle cannot be fetched or loaded.
            RolloutError: The rollout belongs to another group.
        """
        await self._look()
        follower = self._follower
        if follower is None:
            return True
        places = [(record.topic, record.partition, record.offset) for record in records]
        seconds = self._settings.rollout.hold_seconds
        try:
            async with asyncio.timeout(seconds):
                epochs = await follower.hold(places, stop.is_set)
        except TimeoutError as error:
            msg = f"it was not known within {seconds:g} s which model decides {len(records)} events. Next: `tagstream rollout status`."
            raise ShadowError(msg) from error
        if epochs is not None and epochs.started:
            require_group(self._settings, epochs)
            await follower.load_all(places)
            self._pipeline.choose(follower.deciders.decider_of)
        return epochs is not None

    def decide(self, records: Sequence[Record]) -> Batch:
        """Return the publications of a worker for these records, which were admitted."""
        return timed(self._pipeline, records)

    def digest_of(self, event: ContentEvent) -> str:
        """Return the digest of the bundle that decides an admitted event."""
        return self._pipeline.decider_of(event).model.digest

    def asked_at_least(self, decided_by: ModelRef, challenger: str) -> float:
        """Return `asked_at_least` (a share of disagreements) in the plan of the decision's epoch; 0 if it does not plan this challenger."""
        if self._follower is None or not decided_by.epoch_number:
            return 0.0
        models = self._follower.epochs.models(decided_by.epoch_number)
        planned = models.challenger is not None and models.challenger.bundle.digest == challenger
        return (models.guards or Guards()).asked_at_least if planned else 0.0

    async def _look(self) -> None:
        """Look for the topic `rollout`, which the first change of the model creates."""
        if self._follower is not None or time.monotonic() - self._looked < SEARCH_SECONDS:
            return
        self._looked = time.monotonic()
        topic_ids = await asyncio.to_thread(rollout_topic, self._settings)
        if topic_ids is not None:
            reader = await self._opened.enter_async_context(rollout_reader(self._settings))
            self._follower = RolloutFollower(self._settings, self._pipeline, reader, topic_ids, own=self._pipeline.decider)


def timed(pipeline: Pipeline, records: Sequence[Record]) -> Batch:
    """Decide records, and measure how long that took."""
    started = time.perf_counter()
    publications = pipeline.publications(records)
    return Batch(publications=publications, seconds=time.perf_counter() - started)
