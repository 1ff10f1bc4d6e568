"""Decisions for a program of yours: the pipeline of the worker, called from Python, without Kafka."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef, Publication
from tagstream.stream.decide.from_settings import draw_of, pipeline_of
from tagstream.stream.library.gathering import Gathering
from tagstream.stream.library.results import Decided, Event, Result, decided, in_batches, record_of, result_of
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings


def settings_of(given: Mapping[str, Any] | None, **more: Any) -> Settings:
    """
    The environment's settings, with these above them.

    Args:
        given: Values by name; those of a table are a mapping themselves.
        more: Further ones; None: not given.

    Raises:
        SettingsError: One is unknown or cannot be used.
    """
    return load(os.environ, {**(given or {}), **{name: value for name, value in more.items() if value is not None}}).settings


Asked = tuple[Record, bool]
"""A record, and whether it has the form of those on the topic of events; else it has the names of the contract."""


def asked_of(event: Event) -> Asked:
    """
    The record of an event, and where it comes from.

    Raises:
        TypeError: As of `record_of`.
    """
    return record_of(event), isinstance(event, Record)


class Pipelines:
    """The settings and the model of a tagger, and the pipelines that share it."""

    def __init__(self, bundle: str | Path | None, settings: Mapping[str, Any] | None, clock: Callable[[], float]) -> None:
        """
        Load the model; arguments and errors are those of `Tagger`.

        Args:
            bundle: Its folder.
            settings: Values by name.
            clock: Gives Unix seconds.
        """
        self.settings = settings_of(settings, bundle=None if bundle is None else Path(bundle))
        self._clock = clock
        # Records have the shape of the topic, and may be in a Schema Registry's frame; fields that a program hands in have the contract's names.
        self._of_topic = pipeline_of(self.settings, framed=True)
        self.decider = self._of_topic.decider
        self._of_fields = pipeline_of(self.settings.with_columns, decider=self.decider)
        self._of_topic.draw = self._of_fields.draw = draw_of(self.settings, self.decider.labels)

    def publications(self, batch: Sequence[Asked]) -> list[Publication]:
        """The publications of a batch, in order. What comes from a topic and what does not are read by a pipeline each."""
        found = {
            from_topic: iter(pipeline.publications([record for record, its in batch if its is from_topic], clock=self._clock))
            for from_topic, pipeline in ((True, self._of_topic), (False, self._of_fields))
        }
        return [next(found[from_topic]) for _, from_topic in batch]

    def result(self, publication: Publication) -> Result:
        """The result of a publication, for the topics of the settings."""
        return result_of(publication, self.settings.topics)


class Tagger:
    """
    Decides events as a worker does: the same tags, confidences, ids and bytes, but for `tagged_at`.

    The model is loaded once, takes a core for each call that runs, and may be called from several threads at once.

    >>> from tagstream import Tagger
    >>> tagger = Tagger()
    >>> found = tagger.tag("Feature stores in production", "How to serve the same features to training and inference.")
    >>> found.tag, found.confidence, found.needs_person
    ('mlops', 0.9998, False)
    >>> [one.tag for one in tagger.decide(["Real-time object detection on a phone", {"title": "Attention is all you need"}])]
    ['computer-vision', 'natural-language-processing']
    """

    def __init__(
        self,
        bundle: str | Path | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Load the model.

        Args:
            bundle: Its folder; by default that of the settings, which is the bundle that comes with the package.
            settings: Values by name, as on the page of settings, above those of the environment (`TAGSTREAM_...`) and of `tagstream.toml`:
                `{"confidence_threshold": 0.9, "topics": {"tagged": "news.tagged"}}`.
            clock: Gives Unix seconds, published as `tagged_at`.

        Raises:
            SettingsError: A setting is unknown or cannot be used.
            BundleError: The bundle is refused.
        """
        self._pipelines = Pipelines(bundle, settings, clock)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the bundle's order."""
        return self._pipelines.decider.labels

    @property
    def model(self) -> ModelRef:
        """Name, version and digest of the bundle, as each decision bears them."""
        return self._pipelines.decider.model

    def asked_below(self, label: str) -> float:
        """The confidence below which a person is asked about an event that the model calls by this label."""
        return self._pipelines.decider.asked_below(label)

    def tag(self, title: str, description: str | None = None, *, id: str | None = None) -> Decided:  # noqa: A002 - the contract's name
        """
        The decision on one text.

        Args:
            title: Not blank.
            description: The text below it.
            id: The event's; made of title and description unless given.

        Raises:
            RejectedError: It is no event: the title is blank, for example.
        """
        return decided(self.decide([fields_of(title, description, id)])[0])

    def decide(self, events: Iterable[Event]) -> list[Result]:
        """
        The results of events, in their order. One that is no event is a `Rejected` among the others.

        Args:
            events: Titles, fields by name, or records as they lie on a topic.

        Raises:
            TypeError: One is none of these, or a field has no form in JSON.
            Exception: The machine is broken, and nothing was decided: memory or a file is missing, or the model raises for texts that it is known to decide.
        """
        return [
            self._pipelines.result(one)
            for batch in in_batches(map(asked_of, events), self._pipelines.settings.batch_max_events)
            for one in self._pipelines.publications(batch)
        ]


class AsyncTagger:
    """
    The same for asyncio. Calls that wait at the same time go to the model together, in threads beside the event loop.

    A result does not depend on the calls beside it, so that this changes the speed and nothing else.

    >>> import asyncio
    >>> from tagstream import AsyncTagger
    >>> async def example():
    ...     async with AsyncTagger() as tagger:
    ...         return await asyncio.gather(*(tagger.tag(title) for title in ["Segmenting images of streets", "Serving models on Kubernetes"]))
    >>> [found.tag for found in asyncio.run(example())]
    ['computer-vision', 'mlops']
    """

    def __init__(
        self,
        bundle: str | Path | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Load the model; arguments and errors are those of `Tagger`.

        `batch_max_events` events go to the model at once, in `inference_threads` threads, within `inference_timeout_seconds`.
        """
        self._pipelines = Pipelines(bundle, settings, clock)
        self._gathering: Gathering[Asked] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """As of `Tagger`."""
        return self._pipelines.decider.labels

    @property
    def model(self) -> ModelRef:
        """As of `Tagger`."""
        return self._pipelines.decider.model

    async def __aenter__(self) -> Self:
        """Start the threads of the model."""
        settings = self._pipelines.settings
        self._gathering = Gathering(
            self._pipelines.publications,
            threads=settings.inference_threads,
            at_once=settings.batch_max_events,
            seconds=settings.inference_timeout_seconds,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Decide no more. A batch that is in the model ends in its thread, which is not waited for."""
        if self._gathering is not None:
            self._gathering.stop()
            self._gathering = None

    async def tag(self, title: str, description: str | None = None, *, id: str | None = None) -> Decided:  # noqa: A002 - the contract's name
        """The decision on one text; arguments and errors are those of `Tagger.tag`, and those of `decide`."""
        return decided((await self.decide([fields_of(title, description, id)]))[0])

    async def decide(self, events: Iterable[Event]) -> list[Result]:
        """
        The results of events, in their order.

        Raises:
            TypeError: One is no event by its type, or a field has no form in JSON.
            RuntimeError: It is not inside `async with`.
            TimeoutError: The model did not answer within `inference_timeout_seconds`. It cannot be taken out of its thread: end the process.
            Exception: As of `Tagger.decide`.
        """
        if self._gathering is None:
            msg = "an AsyncTagger decides inside `async with AsyncTagger(...) as tagger:` only"
            raise RuntimeError(msg)
        asked = [asked_of(event) for event in events]
        return [self._pipelines.result(one) for one in await self._gathering.found(asked)]


def fields_of(title: str, description: str | None, event_id: str | None) -> dict[str, str]:
    """The fields of an event, without those that are not given."""
    given = {"id": event_id, "title": title, "description": description}
    return {name: value for name, value in given.items() if value is not None}
