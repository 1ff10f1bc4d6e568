"""Records to outcomes: the decider in force, and the one pipeline that stream, command line, HTTP and batch call.

The pipeline is synchronous, runs in a thread, and knows neither Kafka nor Faust. A `Decider` holds everything that turns a text into a
decision in one value: no clock, no I/O, no chance. A pipeline reads its decider once for each batch, so the decider can be replaced between
two batches.
"""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, Literal, TypeVar

import msgspec

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.model import NO_LIMITS, Classifier, OodLimits, Prediction
from tagstream.model_export.bundle.text import Reading, is_described, read, signals_of
from tagstream.monitoring.observer import Observer
from tagstream.monitoring.vocabulary import Reason, ReviewReason, Stage
from tagstream.stream.contract.event import DEFAULT_LIMITS, ContentEvent, Limits, Record, decode, weight
from tagstream.stream.contract.field_types import MAX_SOURCE_CHARACTERS
from tagstream.stream.contract.outcome import (
    Decision,
    ModelRef,
    NeedsReview,
    Outcome,
    Publication,
    Tagged,
    audit_copy,
    prediction_id,
    publish_all,
)
from tagstream.stream.contract.refusal import Refusal

# The probe of a classifier that brings no texts of its own.
PROBE = ("Detecting objects in images", "A walk along the river")
# Errors of a machine that has run out of a resource, whatever the text.
MACHINE = (MemoryError, OSError)
# If a challenger fails on this many texts at the start of a batch, the champion decides the rest of the batch: trying every text would hold
# up the stream.
HOPELESS = 3
_NUMBERS = 1 << 64

T = TypeVar("T")
Unframe = Callable[[Sequence[Record]], Sequence[Record | Refusal]]
"""Each record with its value as JSON, or the refusal of its frame; in order. Runs in several threads at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """
    A classifier, its name, and the figures by which its predictions become decisions.

    Attributes:
        classifier: Texts to predictions.
        model: The name, version and digest that each decision bears.
        threshold: The confidence below which a person is asked, for labels that `thresholds` does not name.
        thresholds: The confidence below which a person is asked, by label.
        ood: The figures above which a text is unlike the training texts.
        kind: `rules` for keyword rules; a person is then asked about every event, since their tag is a guess.
        probe: Texts that the classifier is known to decide, 1 or more.
        reference: The bundle's drift reference; empty if it has none.
        bundle: The bundle of the model; None for the rules.
        warm_up: Takes the memory that the largest batches need, for a number of threads.
        stand_in: Decides the texts for which this decider raises, with the same labels; None to refuse such an event.
    """

    classifier: Classifier
    model: ModelRef
    threshold: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    ood: OodLimits = NO_LIMITS
    kind: Literal["model", "rules"] = "model"
    probe: Sequence[str] = PROBE
    reference: Mapping[str, Any] = field(default_factory=dict)
    bundle: Bundle | None = None
    warm_up: Callable[[int], None] = lambda _: None
    stand_in: "Decider | None" = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the bundle's order."""
        return self.classifier.labels

    @property
    def release(self) -> str:
        """The version of the program and the digest of the model. Another release may decide the same event otherwise."""
        return release_of(self.model.digest)

    def asked_below(self, label: str) -> float:
        """The confidence below which a person is asked about an event of this predicted label."""
        return self.thresholds.get(label, self.threshold)

    def decide(self, event: ContentEvent, prediction: Prediction, reading: Reading) -> Tagged | NeedsReview:
        """
        NeedsReview if there is a reason to ask a person, else Tagged. The tag and all probabilities are published either way.

        The threshold of the predicted label is compared with the published (rounded) confidence, and published too, so a consumer can
        recompute the outcome.

        Args:
            event: The event.
            prediction: The prediction of the event's text.
            reading: The event's text.
        """
        asked_below = self.asked_below(prediction.label)
        strange = self.ood.is_strange(prediction)
        # The tags of the rules are not watched for drift.
        signals = (
            None
            if self.kind == "rules"
            else signals_of(
                reading.text,
                event_id=event.id,
                energy=prediction.energy,
                tokens=prediction.tokens,
                described=is_described(event.description),
                source=(event.source or "").strip()[:MAX_SOURCE_CHARACTERS] or None,
                out_of_distribution=strange,
            )
        )
        reasons: tuple[ReviewReason, ...] = ()
        if self.kind == "rules" or prediction.confidence < asked_below:
            reasons += (ReviewReason.LOW_CONFIDENCE,)
        # Ordinary texts have no hidden characters, so the network's confidence in a text that has them is not relied on.
        if reading.flags or strange:
            reasons += (ReviewReason.OUT_OF_DISTRIBUTION,)
        decision = Decision(
            tag=prediction.label,
            tags=prediction.tags,
            confidence=prediction.confidence,
            probabilities=prediction.probabilities,
            prediction_id=prediction_id(event.id, self.model.in_epoch),
            decider=self.kind,
            model=self.model,
            threshold=asked_below,
            truncated=prediction.truncated or reading.cut,
            reasons=reasons,
            inclusion_probability=1.0 if reasons else None,
            text_flags=reading.flags if reasons else (),
        )
        outcome = NeedsReview if reasons else Tagged
        return outcome(event=event, decision=decision, signals=signals)


Turn = tuple[Decider, list[tuple[int, ContentEvent, Reading]]]
"""
The events of a batch that share one call of a decider's model, each with its place in the batch.

A batch has several turns only while the model is being changed.
"""


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def release_of(digest: str) -> str:
    """The version of the program and this digest of a model."""
    return f"{metadata.version('tagstream')} {digest}"


class Isolation:
    """
    Finds the text for which the model raises, so that only this text is refused and the rest of its batch is decided.

    A batch for which the model raised is halved until one text is left that still raises. Then the model gets a probe: texts that it is
    known to decide (the bundle's golden texts, which this process decided when it loaded the bundle). If the model raises for the probe too,
    the machine is broken, and the exception is raised. Otherwise the text is to blame, and becomes a `Refusal`. A text is blamed only after
    `attempts` failures, each followed by a probe that works, so a model that fails for a moment costs no event.

    A prediction does not depend on its neighbours, so taking a batch apart changes no decision.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        attempts: int = 2,
        probe: Sequence[str] = PROBE,
        hopeless: float = math.inf,
        raised: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Keep the arguments.

        Args:
            classifier: The model.
            attempts: The number of failures of a single text after which it is refused, 1 or more.
            probe: Texts that this classifier is known to decide, 1 or more.
            hopeless: If this many texts at the start of a batch are refused, the other texts are refused too, without being tried.
            raised: Called after every call of the model that raised; must not raise itself.
        """
        self._classifier = classifier
        self._attempts = attempts
        self._probe = probe
        self._hopeless = hopeless
        self._raised = raised

    def take_apart(self, texts: Sequence[str], failure: str) -> list[Prediction | Refusal]:
        """
        A prediction or a refusal for each text, in order.

        If b of n texts make the model raise, with k attempts, the model is called at most `1 + b * (2 * ceil(log2(n)) + 2 * k - 1)` times.

        Args:
            texts: A batch, 1 or more, for which the model has just raised.
            failure: The class of that exception.

        Raises:
            Exception: The machine is broken, and no text is decided: the model's own exception for the probe, a MemoryError or
                OSError, or RuntimeError if the number of predictions is not the number of texts.
        """
        self._raised()
        answers: list[Prediction | Refusal] = []
        # The parts of the batch that are still to be decided, the next part last. The whole batch has failed once.
        parts, failed = [texts], failure
        failures = 0
        while parts:
            part = parts.pop()
            found = failed or self._attempt(part)
            failed = ""
            if not isinstance(found, str):
                answers += found
                failures = 0
            elif len(part) > 1:
                if part is texts:
                    self._check_machine()
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            else:
                self._check_machine()
                failures += 1
                if failures < self._attempts:
                    parts.append(part)
                else:
                    answers.append(_blamed(found, failures))
                    failures = 0
                    if len(answers) >= self._hopeless and all(isinstance(answer, Refusal) for answer in answers):
                        return answers + [_blamed(found, 1)] * (len(texts) - len(answers))
        return answers

    def _attempt(self, texts: Sequence[str]) -> Sequence[Prediction] | str:
        """The predictions, or the class of the exception that the model raised."""
        try:
            predictions = self._classifier.classify(texts)
        except MACHINE:
            raise
        # onnxruntime and tokenizers raise exceptions of any class. The probe tells an event's fault from the machine's fault.
        except Exception as error:  # noqa: BLE001
            self._raised()
            return type(error).__name__
        return one_for_each(texts, predictions)

    def _check_machine(self) -> None:
        """
        Call the model for the probe.

        Raises:
            Exception: The model raised this for the probe.
        """
        try:
            predictions = self._classifier.classify(self._probe)
        except MACHINE:
            raise
        except Exception as error:
            self._raised()
            error.add_note("The model raised this for texts that it is known to decide: the machine is broken, not an event.")
            raise
        one_for_each(self._probe, predictions)


def one_for_each(texts: Sequence[str], predictions: Sequence[T]) -> Sequence[T]:
    """
    The predictions, if there is one for each text.

    Raises:
        RuntimeError: The number of predictions is not the number of texts.
    """
    if len(predictions) != len(texts):
        msg = f"{len(texts)} texts became {len(predictions)} predictions; an event would get its neighbour's decision"
        raise RuntimeError(msg)
    return predictions


def _blamed(failure: str, attempts: int) -> Refusal:
    message = f"the model raised {failure} for this event alone, each time, and for no other text"
    return Refusal(stage=Stage.INFER, reason=Reason.MODEL_RAISED, message=message, attempts=attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """
    Draws the tagged decisions that are copied to the topic `audit`, for a person who does not see the prediction.

    A hash of the event's id decides, so every worker draws the same events, and a redelivered event gets the same draw. Each predicted label
    has its rate: a rare label may be drawn more often. An estimate weights each copy by the rate with which it was drawn.

    >>> draw = Draw(rate=0.5, rates={"mlops": 1.0}, salt="s")
    >>> draw.inclusion_probability("event-1", "mlops"), draw.inclusion_probability("event-1", "other")
    (1.0, None)

    Attributes:
        rate: The share of the tagged decisions that is copied, 0 to 1, for labels that `rates` does not name.
        rates: The share of the tagged decisions that is copied, 0 to 1, by predicted label.
        salt: Hashed with the id, so that a producer cannot choose ids that are never drawn.
        most_bytes: The largest record that the topic `audit` takes; a decision whose copy is larger is not drawn.
    """

    rate: float
    rates: Mapping[str, float] = field(default_factory=dict)
    salt: str = ""
    most_bytes: int = 1_048_588

    def at_least(self, share: float) -> "Draw":
        """
        A draw with at least this probability for each label. It draws every event that this draw does, and its probability covers both draws.

        >>> draw = Draw(rate=0.02, rates={"mlops": 0.5}).at_least(0.1)
        >>> draw.rate, draw.rates["mlops"]
        (0.1, 0.5)
        """
        return replace(self, rate=max(self.rate, share), rates={label: max(rate, share) for label, rate in self.rates.items()})

    @property
    def is_on(self) -> bool:
        """True if any decision can be drawn."""
        return any(rate > 0 for rate in (self.rate, *self.rates.values()))

    def inclusion_probability(self, event_id: str, label: str) -> float | None:
        """The probability with which events of this label are drawn, if this event is drawn; None if it is not drawn."""
        rate = self.rates.get(label, self.rate)
        digest = hashlib.sha256(f"{self.salt}:{event_id}".encode()).digest()
        return rate if int.from_bytes(digest[:8], "big") < rate * _NUMBERS else None

    def with_copy(self, publication: Publication) -> Publication:
        """The publication, with a copy for `audit` if it is a tagged decision of the model and is drawn."""
        outcome = publication.outcome
        if not isinstance(outcome, Tagged) or outcome.decision.decider != "model":
            return publication
        probability = self.inclusion_probability(outcome.event.id, outcome.decision.tag)
        if probability is None:
            return publication
        copy = audit_copy(publication.value or b"", probability)
        if weight(publication.key, copy, publication.headers) > self.most_bytes:
            return publication
        return msgspec.structs.replace(
            publication, audit=copy, observation=msgspec.structs.replace(publication.observation, audited=True)
        )


class Pipeline:
    """
    Decode, classify, decide, and put the outcomes in their form on the topic.

    Only the pipeline holds the decider in force. Everything that depends on the decider (metrics, breaker, drift, draw, announcements)
    follows it by `follow`.

    Attributes:
        limits: Bounds on one event. A worker lowers them before its first batch if a topic accepts less.
        draw: Draws the copies for `audit`; None for no copies. A worker sets it before its first batch.
        ask: Puts viewers' tokens on drawn decisions; None for no tokens. A worker sets it before its first batch.
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
            decider: The first decider in force.
            observer: Is told of stages, and of a model that raised.
            limits: Bounds on one event.
            attempts: The number of failures of a single text after which its event is refused, 1 or more.
            unframe: Takes values out of the frames of a Schema Registry; None if no registry is set.
        """
        self._decider = decider
        self._followers: list[Callable[[Decider], None]] = []
        self._replacing = threading.Lock()
        self.limits = limits
        self.draw: Draw | None = None
        self.ask: Callable[[Publication], Publication] | None = None
        self._choose: Callable[[ContentEvent], Decider] | None = None
        # The places of events that ended a process while a decider with a stand-in decided them.
        self._distrusted: set[tuple[str, int, int]] = set()
        self._observer = observer
        self._attempts = attempts
        self._unframe = unframe

    @property
    def decider(self) -> Decider:
        """The decider in force. It decides the next batch, except the events that `choose` gives to another decider."""
        return self._decider

    def follow(self, tell: Callable[[Decider], None], *, told: bool = False) -> None:
        """
        Call `tell` with the decider in force, and with each decider that comes into force later.

        Args:
            tell: An exception of `tell` refuses a decider.
            told: True if the follower knows the decider in force, and `tell` is called only with later deciders.
        """
        with self._replacing:
            if not told:
                tell(self._decider)
            self._followers.append(tell)

    def replace(self, decider: Decider) -> None:
        """
        Decide the next batch, and all later batches, by another decider. The old decider finishes the batches that have begun.

        The followers are told first, so that metrics know the new decider's labels before it decides. Any thread may call this.

        Raises:
            ValueError: The new decider has another kind. Rules replace a model only at a start, if a person says so.
            Exception: A follower refused the new decider. The old one stays in force, and the followers that had switched are told to
                switch back.
        """
        with self._replacing:
            if decider.kind != self._decider.kind:
                msg = f"{self._decider.kind} decides here, and {decider.kind} cannot take its place in a running pipeline"
                raise ValueError(msg)
            for place, tell in enumerate(self._followers):
                try:
                    tell(decider)
                except Exception:
                    for earlier in self._followers[:place]:
                        earlier(self._decider)
                    raise
            self._decider = decider

    def choose(self, decider_of: Callable[[ContentEvent], Decider]) -> None:
        """
        From the next batch on, ask for the decider of each event, instead of taking the decider in force.

        Args:
            decider_of: Gives the decider of an event, with the kind and labels of the decider in force. It must not wait. Several threads
                call it.
        """
        self._choose = decider_of

    def decider_of(self, event: ContentEvent) -> Decider:
        """The decider of an event now."""
        return self._deciders()(event)

    def decider_for(self, record: Record) -> Decider | None:
        """The decider of a record now; None if the record is not an event, and so is not decided."""
        found = record if self._unframe is None else next(iter(self._unframe([record])))
        event = found if isinstance(found, Refusal) else decode(found, self.limits)
        return None if isinstance(event, Refusal) else self.decider_of(event)

    def distrust(self, record: Record) -> None:
        """
        Let the stand-in of its decider decide this record from now on.

        A challenger that has ended a process at an event would end a process at each delivery of it.
        """
        self._distrusted.add(_place(record))

    def _deciders(self) -> Callable[[ContentEvent], Decider]:
        """The function that gives each event's decider, fixed as a batch begins."""
        in_force, choose = self._decider, self._choose
        if choose is None:
            return lambda _: in_force

        def of(event: ContentEvent) -> Decider:
            chosen = choose(event)
            stand_in = chosen.stand_in
            return chosen if stand_in is None or _place(event.record) not in self._distrusted else stand_in

        return of

    def decide(self, records: Sequence[Record]) -> list[Outcome]:
        """
        One outcome for each record, in order. The outcome of a bad event is a `Refusal`.

        Raises:
            Exception: The machine is broken and nothing was decided: an error of `Isolation.take_apart`, or `RegistryError`.
        """
        started = time.perf_counter()
        outcomes, turns = self._read(records)
        inference = time.perf_counter()
        # `turns` grows by the events that a stand-in must decide.
        for decider, events in turns:
            texts = [reading.text for _, _, reading in events]
            answers: Sequence[Prediction | Refusal]
            failure = ""
            try:
                answers = one_for_each(texts, decider.classifier.classify(texts))
            except MACHINE:
                raise
            # Only the class is kept: the message may quote the text of an event. The failure is handled after this block, since an
            # exception raised inside it would carry this exception, with its message, into the log.
            except Exception as error:  # noqa: BLE001
                failure = type(error).__name__
            if failure:
                answers = self._taken_apart(decider, texts, failure)
            for (place, event, reading), answer in zip(events, answers, strict=True):
                outcomes[place] = answer if isinstance(answer, Refusal) else decider.decide(event, answer, reading)
            if decider.stand_in is not None:
                left = [one for one in events if isinstance(outcomes[one[0]], Refusal)]
                turns += [(decider.stand_in, left)] if left else []
        self._observer.stage("decode", inference - started)
        self._observer.stage("inference", time.perf_counter() - inference)
        return [outcomes[place] for place in range(len(records))]

    def _read(self, records: Sequence[Record]) -> tuple[dict[int, Outcome], list[Turn]]:
        """The refusals of records that are not events, by their place in the batch; and the turns of the events."""
        decider_of = self._deciders()
        refused: dict[int, Outcome] = {}
        turns: dict[int, Turn] = {}
        for place, record in enumerate(records if self._unframe is None else self._unframe(records)):
            found = record if isinstance(record, Refusal) else decode(record, self.limits)
            if isinstance(found, Refusal):
                refused[place] = found
            else:
                decider = decider_of(found)
                reading = read(found.title, found.description)
                turns.setdefault(id(decider), (decider, []))[1].append((place, found, reading))
        return refused, list(turns.values())

    def publications(
        self, records: Sequence[Record], refusal: Refusal | None = None, *, clock: Callable[[], float] = time.time
    ) -> list[Publication]:
        """
        One publication for each record, in order.

        Args:
            records: The records as they were read.
            refusal: Why no record may be read; each record then becomes a dead letter without being decoded. None to decide the records.
            clock: Gives Unix seconds.
        """
        outcomes = self.decide(records) if refusal is None else [refusal] * len(records)
        started = time.perf_counter()
        publications = publish_all(records, outcomes, int(clock() * 1000), self.limits)
        if self.draw is not None:
            publications = [self.draw.with_copy(publication) for publication in publications]
        if self.ask is not None:
            publications = list(map(self.ask, publications))
        self._observer.stage("encode", time.perf_counter() - started)
        return publications

    def _taken_apart(self, decider: Decider, texts: Sequence[str], failure: str) -> Sequence[Prediction | Refusal]:
        isolation = Isolation(
            decider.classifier,
            attempts=self._attempts,
            probe=decider.probe,
            hopeless=math.inf if decider.stand_in is None else HOPELESS,
            raised=self._observer.model_raised,
        )
        # A text that comes twice goes to the model once.
        distinct = list(dict.fromkeys(texts))
        try:
            answers = isolation.take_apart(distinct, failure)
        except MACHINE:
            raise
        except Exception as error:
            if decider.stand_in is None:
                raise
            # A model that raises for its own probe is broken. The stand-in shows whether the machine is broken, too.
            return [_blamed(type(error).__name__, 1)] * len(texts)
        by_text = dict(zip(distinct, answers, strict=True))
        return [by_text[text] for text in texts]
