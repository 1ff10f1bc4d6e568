"""Decisions for a program of yours: the pipeline of the worker, called from Python, without Kafka."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import msgspec

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, BundleError
from tagstream.stream.contract.event import Record, memory_bytes
from tagstream.stream.contract.outcome import ModelRef, Publication
from tagstream.stream.decide.from_settings import decider_of, draw_of, pipeline_of
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.deliver.batch import Inference
from tagstream.stream.deliver.fatal import InferenceTimeoutError
from tagstream.stream.gathering import Gathering
from tagstream.stream.library.program_settings import settings_of
from tagstream.stream.library.results import Decided, Event, Result, decided, in_batches, records_of, result_of
from tagstream.stream.registry.unframing import unframing_of
from tagstream.stream.settings.settings import Settings

if TYPE_CHECKING:
    from tagstream.stream.rollout.epochs import Models

Asked = tuple[Record, bool]
"""A record, and whether it has the form of those on the topic of events; else it has the names of the contract."""
# A pyarrow.Table or a pyarrow.RecordBatch. pyarrow is loaded by `tag_table` alone.
Table = TypeVar("Table")

# The settings that a tagger reads, beside some of `schema_registry`: another process makes the same tagger of them.
SENT = frozenset(
    {
        "bundle",
        "decider",
        "rules",
        "confidence_threshold",
        "model_attempts",
        "repeats_bytes",
        "max_event_bytes",
        "max_outcome_bytes",
        "max_dead_letter_bytes",
        "batch_max_events",
        "inference_timeout_seconds",
        "topics",
        "fields",
        "contents",
        "cloudevents_source",
        "audit_rate",
        "audit_rates",
        "audit_salt",
    }
)
# Where the champion's bundle is found, for a tagger with `as_of`.
SENT_OF_ROLLOUT = {"bundles", "bundle_keys", "cache", "cache_bytes", "fetch_seconds"}


class ModelTimeoutError(TimeoutError):
    """
    The model did not answer in time, and its thread cannot be taken out of it: nothing more is decided.

    End the process by `os._exit`, since any other exit waits for the thread.
    """


class OfBundle:
    """A model that is loaded, with its settings: what both taggers share."""

    def __init__(
        self,
        bundle: str | Path | None = None,
        *,
        as_of: str | int | datetime | None = None,
        settings: Mapping[str, Any] | None = None,
        environment: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Load the model.

        Args:
            bundle: Its folder; by default that of the settings, which is the bundle that comes with the package.
            as_of: Takes the champion of the stream's rollout instead: of `"now"`, of a time (text in ISO 8601, or datetime; UTC without a zone)
                or of an epoch (its number). Later changes of the model do not reach the tagger. Needs the extra `worker`.
            settings: Values by name, as on the page of settings: `{"confidence_threshold": 0.9, "topics.tagged": "news.tagged"}`.
            environment: Whether variables `TAGSTREAM_...` and the file `tagstream.toml` of the working directory hold below them.
            clock: Gives Unix seconds, published as `tagged_at`.

        Raises:
            SettingsError: A setting is unknown or cannot be used.
            BundleError: The bundle is refused.
            AsOfError: There is no such champion, the log or the brokers do not answer, or its bundle cannot be loaded.
            ValueError: Both `bundle` and `as_of` are given.
        """
        if bundle is not None and as_of is not None:
            msg = "as_of finds the bundle by the rollout's log: leave out bundle, or as_of"
            raise ValueError(msg)
        chosen = settings_of(settings, environment=environment, bundle=bundle)
        self._load(chosen, None if as_of is None else _models_as_of(chosen, as_of), clock)

    def _load(self, settings: Settings, models: "Models | None", clock: Callable[[], float]) -> None:
        """Load the champion of `models`, or the model of the settings if it is None."""
        self._settings, self._models, self._clock = settings, models, clock
        self._decider = decider_of(settings, of_stream=False) if models is None else _decider_as_of(settings, models)
        # Records have the shape of the topic, and may be in a Schema Registry's frame; fields that a program hands in have the contract's names.
        self._of_topic = pipeline_of(self._settings, decider=self._decider, unframe=unframing_of(self._settings))
        self._of_fields = pipeline_of(self._settings.with_columns, decider=self._decider)
        self._of_topic.draw = self._of_fields.draw = draw_of(self._settings, self._decider.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the bundle's order."""
        return self._decider.labels

    @property
    def model(self) -> ModelRef:
        """Name, version and digest of the bundle, as each decision bears them; with `as_of` its epoch too, after the first change."""
        return self._decider.model

    def asked_below(self, label: str) -> float:
        """
        The confidence below which a person is asked about an event that the model calls by this label.

        Raises:
            ValueError: The bundle has no such label.
        """
        if label not in self.labels:
            msg = f"{label!r} is no label of {self.model.name}, which has {', '.join(self.labels)}"
            raise ValueError(msg)
        return self._decider.asked_below(label)

    def _publications(self, batch: Sequence[Asked]) -> list[Publication]:
        """The publications of a batch, in order. What comes from a topic and what does not are read by a pipeline each."""
        found = {
            from_topic: iter(pipeline.publications([record for record, its in batch if its is from_topic], clock=self._clock))
            for from_topic, pipeline in ((True, self._of_topic), (False, self._of_fields))
        }
        return [next(found[from_topic]) for _, from_topic in batch]

    def _result(self, publication: Publication) -> Result:
        return result_of(publication, self._settings.topics)


class Tagger(OfBundle):
    """
    Decides events as a worker does: the same tags, confidences, ids and bytes, but for `tagged_at`.

    The model is loaded once and takes a core for each call that runs. Several threads may call at once. A tagger can be pickled: the network
    is not sent, and the other process loads the same bundle, once.

    >>> from tagstream import Tagger
    >>> tagger = Tagger()
    >>> found = tagger.tag("Feature stores in production", "How to serve the same features to training and inference.")
    >>> found.tag, found.confidence, found.needs_person
    ('mlops', 0.9982, False)
    >>> [one.tag for one in tagger.decide(["Real-time object detection on a phone", {"title": "Attention is all you need"}])]
    ['computer-vision', 'natural-language-processing']
    """

    def tag(self, title: str, description: str | None = None, *, id: str | None = None) -> Decided:  # noqa: A002 - the contract's name
        """
        The decision on one text.

        Args:
            title: Not blank.
            description: The text below it.
            id: The event's; made of title and description unless given.

        Raises:
            RejectedError: It is no event: the title is blank, for example.
            TypeError: One of them is no text.
        """
        return decided(self.decide([fields_of(title, description, id)])[0])

    def decide(self, events: Iterable[Event]) -> list[Result]:
        """
        The results of events, in their order. One that is no event is a `Rejected` among the others.

        Args:
            events: Titles, fields by name, or records as they lie on a topic.

        Raises:
            TypeError: One is none of these, or a field has no form in JSON; the message has its place.
            Exception: The machine is broken, and nothing was decided: memory or a file is missing, or the model raises for texts that it is known to decide.
        """
        return [
            self._result(one)
            for batch in in_batches(records_of(events), self._settings.batch_max_events)
            for one in self._publications(batch)
        ]

    def tag_table(
        self,
        table: Table,
        *,
        title: str | None = None,
        description: str | None = None,
        id: str | None = None,  # noqa: A002 - the contract's name
    ) -> Table:
        """
        The same rows with the columns of an answer behind their own: docs/cluster.md has them.

        A row that is no event has `destination` dlq and the reason in `error`.

        Args:
            table: A pyarrow.Table or RecordBatch.
            title: The column that has the title, if it is not `title`.
            description: The column that has the description.
            id: The column that has the event's id.

        Raises:
            TypeError: It is neither a table nor a record batch.
            RowsError: The columns cannot be read as events; no row is decided.
            Exception: As of `decide`.
        """
        from tagstream.model_export.data.reader import Columns
        from tagstream.stream.arrow import tag_table

        tagged: Table = tag_table(
            self._of_fields, table, Columns(title=title, description=description, id=id), clock=self._clock
        )
        return tagged

    def __reduce__(self) -> tuple[Callable[..., "Tagger"], tuple[str, ModelRef, Callable[[], float], "Models | None"]]:
        """
        Settings and name of the model: of these, another process makes the same tagger, without a look at the rollout's log.

        No user and no password is among them: a Schema Registry that asks for one refuses the other process, which is an error there.
        """
        # The bundle of the package lies in the package, wherever that is installed. With `as_of` the other process needs none but the champion's.
        kept = SENT - {"bundle"} if self._models is not None or self._settings.bundle == DEFAULT_BUNDLE else SENT
        sent: dict[str, bool | set[str]] = {
            **dict.fromkeys(kept, True),
            "schema_registry": {"url", "timeout_seconds", "cache_schemas", "ca_file"},
            **({} if self._models is None else {"rollout": SENT_OF_ROLLOUT}),
        }
        return _arrived, (self._settings.model_dump_json(include=sent), self.model, self._clock, self._models)


class AsyncTagger(OfBundle):
    """
    The same for asyncio. Calls that wait at the same time go to the model together, in threads beside the event loop, first come, first served.

    A result does not depend on the calls beside it, so that this changes the speed and nothing else. `batch_max_events` events go to the model
    at once, in `inference_threads` threads, within `inference_timeout_seconds`.

    >>> import asyncio
    >>> from tagstream import AsyncTagger
    >>> async def example():
    ...     async with AsyncTagger() as tagger:
    ...         return await asyncio.gather(*(tagger.tag(title) for title in ["Segmenting images of streets", "Serving models on Kubernetes"]))
    >>> [found.tag for found in asyncio.run(example())]
    ['computer-vision', 'mlops']
    """

    _gathering: Gathering[Asked, Publication] | None = None

    def __getstate__(self) -> NoReturn:
        """
        Refuse to be pickled, in words.

        Raises:
            TypeError: Always: threads cannot be sent to another process.
        """
        msg = "an AsyncTagger holds threads and cannot be sent to another process: make one in each"
        raise TypeError(msg)

    async def __aenter__(self) -> Self:
        """
        Start the threads of the model.

        Raises:
            RuntimeError: It is open already: one block for each, in one event loop.
        """
        if self._gathering is not None:
            msg = "this AsyncTagger is open already; its `async with` stands once, around all that uses it"
            raise RuntimeError(msg)
        settings = self._settings
        self._inference = Inference(self._publications, settings)
        self._gathering = Gathering(
            self._inference.publications,
            slots=settings.inference_threads,
            at_once=settings.batch_max_events,
            size=lambda asked: memory_bytes(asked[0].key, asked[0].value, asked[0].headers),
            fatal=InferenceTimeoutError,
            refusal=self._timed_out,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Decide no more. A batch that is in the model ends in its thread, which is not waited for."""
        if self._gathering is not None:
            self._gathering.stop(lambda: RuntimeError("the tagger was closed while this waited for the model"))
            self._inference.stop()
            self._gathering = None

    async def tag(self, title: str, description: str | None = None, *, id: str | None = None) -> Decided:  # noqa: A002 - the contract's name
        """The decision on one text; arguments and errors are those of `Tagger.tag`, and those of `decide`."""
        return decided((await self.decide([fields_of(title, description, id)]))[0])

    async def decide(self, events: Iterable[Event]) -> list[Result]:
        """
        The results of events, in their order.

        Raises:
            TypeError: As of `Tagger.decide`.
            RuntimeError: It is not inside `async with`, or its block ended meanwhile.
            ModelTimeoutError: The model did not answer within `inference_timeout_seconds`, now or before.
            Exception: As of `Tagger.decide`.
        """
        if self._gathering is None:
            msg = "an AsyncTagger decides inside `async with AsyncTagger(...) as tagger:` only"
            raise RuntimeError(msg)
        return [self._result(one) for one in await self._gathering.found(list(records_of(events)))]

    def _timed_out(self) -> ModelTimeoutError:
        seconds = self._settings.inference_timeout_seconds
        return ModelTimeoutError(
            f"the model did not answer within {seconds:g} s (inference_timeout_seconds). Next: end the process, by os._exit"
        )


@lru_cache(maxsize=4)
def _arrived(settings: str, model: ModelRef, clock: Callable[[], float], models: "Models | None") -> Tagger:
    """
    A tagger that was sent to this process, made at its first arrival: a model is not loaded for each task.

    Args:
        settings: Those of `SENT` as JSON. No setting of this machine counts.
        model: The model that must be found here.
        clock: As of `Tagger`.
        models: The models of the epoch of `as_of`; None for the bundle of the settings.

    Raises:
        BundleError: The bundle is refused, or is another one.
        AsOfError: The place of bundles does not answer here, or lacks the bundle.
    """
    tagger = Tagger.__new__(Tagger)
    tagger._load(settings_of(msgspec.json.decode(settings), environment=False), models, clock)  # noqa: SLF001 - a tagger of this module
    found = tagger.model
    # Not the arithmetic: it belongs to the machine, and a decision names it.
    if (found.name, found.version, found.digest) != (model.name, model.version, model.digest):
        msg = (
            f"the bundle of this process is {found.name} {found.version} ({found.digest[:12]}); the process that sent the tagger has "
            f"{model.name} {model.version} ({model.digest[:12]}). Next: install the same version of tagstream, or the same bundle "
            f"folder, on every machine."
        )
        raise BundleError(msg)
    return tagger


def _models_as_of(settings: Settings, as_of: str | int | datetime) -> "Models":
    # Imported here, since most taggers have no rollout.
    from tagstream.stream.rollout.as_of import champion_as_of

    # The challenger does not decide here, and another process does not need it.
    return replace(champion_as_of(settings, as_of).models, challenger=None, guards=None)


def _decider_as_of(settings: Settings, models: "Models") -> Decider:
    from tagstream.stream.rollout.as_of import decider_as_of

    return decider_as_of(settings, models)


def fields_of(title: str, description: str | None, event_id: str | None) -> dict[str, str]:
    """
    The fields of an event, without those that are not given.

    Raises:
        TypeError: One is no text.
    """
    given = {"id": event_id, "title": title, "description": description}
    for name, value in given.items():
        if not isinstance(value, str) and (value is not None or name == "title"):
            msg = f"{name} is a text, and this is {type(value).__name__}"
            raise TypeError(msg)
    return {name: value for name, value in given.items() if value is not None}
