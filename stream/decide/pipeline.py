"""Records to outcomes: the same length, the same order. Synchronous; runs in a thread; knows neither Kafka nor Faust.

The stream, the command line and the tests call this very object, so that they cannot disagree.
"""

import time
from collections.abc import Callable, Sequence

from model_export.bundle.prediction import Prediction
from model_export.bundle.text import Reading, read
from monitoring.observer import Observer
from stream.contract.decisions import NeedsReview, Outcome, Tagged
from stream.contract.events import ContentEvent, decode
from stream.contract.limits import DEFAULT_LIMITS, Limits
from stream.contract.publication import Publication, publish_all
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.decide.decider import Decider
from stream.decide.draw import Draw
from stream.decide.isolation import Isolation
from stream.decide.signals import signals_of

Unframe = Callable[[Sequence[Record]], Sequence[Record | Refusal]]
"""Each record with its value as JSON, or why it cannot be had; in order. Runs in several threads at once."""


class Pipeline:
    """
    Decode, classify, decide, and put the outcomes in their form on the topic.

    Attributes:
        decider: Decides the next batch. It may be replaced at any time, from any thread: a batch is decided, to its end, by the
            decider with which it began.
        limits: Bounds on one event. A worker lowers them before its first batch, where a topic takes less.
        draw: Draws the copies for `audit`; None for no copies. A worker sets it before its first batch.
    """

    def __init__(
        self,
        *,
        decider: Decider,
        observer: Observer,
        limits: Limits = DEFAULT_LIMITS,
        attempts: int = 2,
        unframe: Unframe | None = None,
    ) -> None:
        """
        Join the parts.

        Args:
            decider: See above.
            observer: Is told of stages, and of a model that raised.
            limits: See above.
            attempts: As in `Isolation`.
            unframe: Takes values out of the frames of a Schema Registry; None where none is set.
        """
        self.decider = decider
        self.limits = limits
        self.draw: Draw | None = None
        self._observer = observer
        self._attempts = attempts
        self._unframe = unframe

    def decide(self, records: Sequence[Record]) -> list[Outcome]:
        """
        One outcome a record, in order.

        A bad event is a `Refusal` among the others.

        Raises:
            Exception: The machine is broken and nothing was decided; see `Isolation.classify`, and `RegistryError`.
        """
        decider = self.decider
        isolation = Isolation(
            decider.classifier, attempts=self._attempts, probe=decider.probe, raised=self._observer.model_raised
        )
        started = time.perf_counter()
        # By the place of the record in the batch.
        outcomes: dict[int, Outcome] = {}
        events: dict[int, ContentEvent] = {}
        for place, record in enumerate(records if self._unframe is None else self._unframe(records)):
            found = record if isinstance(record, Refusal) else decode(record, self.limits)
            if isinstance(found, Refusal):
                outcomes[place] = found
            else:
                events[place] = found
        inference = time.perf_counter()
        readings = [read(event.title, event.description) for event in events.values()]
        answers = isolation.classify([reading.text for reading in readings])
        for (place, event), answer, reading in zip(events.items(), answers, readings, strict=True):
            outcomes[place] = answer if isinstance(answer, Refusal) else decided(decider, event, answer, reading)
        self._observer.stage("decode", inference - started)
        self._observer.stage("inference", time.perf_counter() - inference)
        return [outcomes[place] for place in range(len(records))]

    def publications(
        self, records: Sequence[Record], refusal: Refusal | None = None, *, clock: Callable[[], float] = time.time
    ) -> list[Publication]:
        """
        The records that must reach the broker for these, in order.

        Args:
            records: As they were read.
            refusal: Why none of them may be read; each becomes a dead letter without being decoded. None: they are decided.
            clock: Gives Unix seconds.
        """
        outcomes = self.decide(records) if refusal is None else [refusal] * len(records)
        started = time.perf_counter()
        publications = publish_all(records, outcomes, int(clock() * 1000), self.limits)
        if self.draw is not None:
            publications = [self.draw.with_copy(publication) for publication in publications]
        self._observer.stage("encode", time.perf_counter() - started)
        return publications


def decided(decider: Decider, event: ContentEvent, prediction: Prediction, reading: Reading) -> Tagged | NeedsReview:
    """The decider's outcome, with the signals in which drift is looked for."""
    strange = decider.is_strange(prediction)
    # No drift is looked for in the tags of the rules.
    by_model = decider.kind == "model"
    signals = signals_of(event, prediction, text=reading.text, out_of_distribution=strange) if by_model else None
    return decider.decide(event, prediction, reading, signals)
