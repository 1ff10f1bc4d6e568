"""Records to outcomes: the decider in force, and the one pipeline that stream, command line, HTTP and batch call.

Synchronous; runs in a thread; knows neither Kafka nor Faust. `Decider` is all that turns a text into a decision, as one value: no
clock, no I/O, no chance. A pipeline reads its decider once for each batch, so that it can be replaced between two batches.
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

# For a classifier that brings no texts of its own.
PROBE = ("Detecting objects in images", "A walk along the river")
# Raised when the machine has run out of something, whichever text was asked about.
MACHINE = (MemoryError, OSError)
# A challenger that fails on the first so many texts of a batch is spared the others: taking it apart would hold the stream, and the champion decides them.
HOPELESS = 3
_NUMBERS = 1 << 64

T = TypeVar("T")
Unframe = Callable[[Sequence[Record]], Sequence[Record | Refusal]]
"""Each record with its value as JSON, or why it cannot be had; in order. Runs in several threads at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """
    A classifier, its name, and the figures by which its predictions become decisions.

    Attributes:
        classifier: Texts to predictions.
        model: The name, version and digest that each decision bears.
        threshold: The confidence below which a person is asked, for labels that `thresholds` does not name.
        thresholds: The same, by label.
        ood: The figures above which a text is unlike the training texts.
        kind: `rules` for keyword rules; a person is then asked about every event, since their tag is a guess.
        probe: Texts that the classifier is known to decide, 1 or more.
        reference: The bundle's drift reference; empty where there is none.
        bundle: The bundle of the model; None for the rules.
        warm_up: Takes the memory that the largest batches need, for a number of threads.
        stand_in: Decides the texts for which this one raises, with the same labels; None: such an event is refused.
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
        """The version of the program and the digest of the model, between which a decision on the same event may change."""
        return release_of(self.model.digest)

    def asked_below(self, label: str) -> float:
        """The confidence below which a person is asked about an event that the model calls by this label."""
        return self.thresholds.get(label, self.threshold)

    def decide(self, event: ContentEvent, prediction: Prediction, reading: Reading) -> Tagged | NeedsReview:
        """
        NeedsReview if there is a reason to ask a person, else Tagged. The tag and all probabilities are published either way.

        The threshold of the predicted label is compared with the published (rounded) confidence, and published too: a consumer can
        recompute the outcome.

        Args:
            event: The event.
            prediction: Of its text.
            reading: That text.
        """
        asked_below = self.asked_below(prediction.label)
        strange = self.ood.is_strange(prediction)
        # No drift is looked for in the tags of the rules.
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
        # Ordinary traffic hides nothing in its text: the network's confidence in such a text is not relied on.
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
"""The events of a batch whose texts share a call of one decider's model, each with its place. Unless the model is being changed there is one turn."""


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def release_of(digest: str) -> str:
    """The version of the program and this digest of a model."""
    return f"{metadata.version('tagstream')} {digest}"


class Isolation:
    """
    Finds the text for which the model raises, so that only this text is refused and the rest of its batch is decided.

    A batch that raised is halved until one text is left that still raises. Then a probe is asked: texts that the model is known to
    decide (the bundle's golden texts, which this process decided when it loaded the bundle). If the model raises for the probe too, the
    machine is broken, and the exception is raised. If it does not, the text is to blame, and becomes a `Refusal`. A text is blamed only
    after `attempts` failures, each followed by a probe that works: a model that fails for a moment costs no event.

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
        Keep the classifier and the rules for it.

        Args:
            classifier: The model.
            attempts: How often a text on its own must fail before it is refused, 1 or more.
            probe: Texts that this classifier is known to decide, 1 or more.
            hopeless: Where the first so many texts of a batch are refused, the others are too, and not tried.
            raised: Called after every call of the model that raised; must not raise.
        """
        self._classifier = classifier
        self._attempts = attempts
        self._probe = probe
        self._hopeless = hopeless
        self._raised = raised

    def take_apart(self, texts: Sequence[str], failure: str) -> list[Prediction | Refusal]:
        """
        A prediction or a refusal for each text, in order.

        For n texts of which b make the model raise, and k attempts, the model is called at most
        `1 + b * (2 * ceil(log2(n)) + 2 * k - 1)` times.

        Args:
            texts: A batch, 1 or more, for which the model has just raised.
            failure: The class of that exception.

        Raises:
            Exception: The machine is broken, and no text is decided: the model's own exception for the probe, a MemoryError or
                OSError, or RuntimeError if the number of predictions is not the number of texts.
        """
        self._raised()
        answers: list[Prediction | Refusal] = []
        # Parts of the batch that are still to be decided, the next one last; the whole has failed once.
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
        # onnxruntime and tokenizers raise exceptions of any class; the probe tells an event's fault from the machine's.
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
    The predictions.

    Raises:
        RuntimeError: There are not as many as texts.
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
    Which tagged decisions are copied to the topic `audit`, for a person who does not see the prediction.

    A hash of the event's id decides, so that a redelivered event is drawn again or not drawn again, by every worker. The rate belongs to
    the predicted label: a rare label may be drawn more often, and an estimate weights each copy by the rate with which it was drawn.

    >>> draw = Draw(rate=0.5, rates={"mlops": 1.0}, salt="s")
    >>> draw.inclusion_probability("event-1", "mlops"), draw.inclusion_probability("event-1", "other")
    (1.0, None)

    Attributes:
        rate: The share of the tagged decisions that is copied, 0 to 1, for labels that `rates` does not name.
        rates: The same, by predicted label.
        salt: Hashed with the id, so that a producer cannot choose ids that are never drawn.
        most_bytes: The largest record that the topic `audit` takes; a decision whose copy is larger is not drawn.
    """

    rate: float
    rates: Mapping[str, float] = field(default_factory=dict)
    salt: str = ""
    most_bytes: int = 1_048_588

    def at_least(self, share: float) -> "Draw":
        """
        The draw that gives each label this probability at least. It has all that this one draws, and the greater probability is that of both together.

        >>> draw = Draw(rate=0.02, rates={"mlops": 0.5}).at_least(0.1)
        >>> draw.rate, draw.rates["mlops"]
        (0.1, 0.5)
        """
        return replace(self, rate=max(self.rate, share), rates={label: max(rate, share) for label, rate in self.rates.items()})

    @property
    def is_on(self) -> bool:
        """Whether any decision can be drawn."""
        return any(rate > 0 for rate in (self.rate, *self.rates.values()))

    def inclusion_probability(self, event_id: str, label: str) -> float | None:
        """The probability with which an event of this predicted label is drawn, if this one is; else None."""
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

    The decider in force is held here and nowhere else. All that depends on it (metrics, breaker, drift, draw, announcements)
    follows it.

    Attributes:
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
        self._decider = decider
        self._followers: list[Callable[[Decider], None]] = []
        self._replacing = threading.Lock()
        self.limits = limits
        self.draw: Draw | None = None
        self._choose: Callable[[ContentEvent], Decider] | None = None
        # Places of events that ended a process in the hands of a decider that has a stand-in.
        self._distrusted: set[tuple[str, int, int]] = set()
        self._observer = observer
        self._attempts = attempts
        self._unframe = unframe

    @property
    def decider(self) -> Decider:
        """Decides the next batch, but for events that `choose` gives to another one."""
        return self._decider

    def follow(self, tell: Callable[[Decider], None], *, told: bool = False) -> None:
        """
        Call `tell` with the decider in force, and with each that comes into force later.

        Args:
            tell: May raise, which refuses a decider.
            told: It knows the decider in force, and is told of later ones alone.
        """
        with self._replacing:
            if not told:
                tell(self._decider)
            self._followers.append(tell)

    def replace(self, decider: Decider) -> None:
        """
        Decide the next batch, and all after it, by another decider. A batch that has begun is decided to its end by the one before.

        Those who follow are told first, so that metrics know its labels before it has decided. For any thread.

        Raises:
            ValueError: It is of another kind: rules take the place of a model at a start, when a person has said so.
            Exception: One of those who follow refused it. The decider in force stays, and who was told is told of that again.
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
        From the next batch on, ask for the decider of each event, instead of the one in force.

        Args:
            decider_of: Gives the decider of an event, of this kind and with these labels; does not wait. Called from several threads.
        """
        self._choose = decider_of

    def decider_of(self, event: ContentEvent) -> Decider:
        """Which one decides an event now."""
        return self._deciders()(event)

    def decider_for(self, record: Record) -> Decider | None:
        """Which one decides a record now; None where none has to, since it is no event."""
        found = record if self._unframe is None else next(iter(self._unframe([record])))
        event = found if isinstance(found, Refusal) else decode(found, self.limits)
        return None if isinstance(event, Refusal) else self.decider_of(event)

    def distrust(self, record: Record) -> None:
        """From now on the stand-in of its decider decides this record: a challenger that ends a process at an event would end it at each delivery."""
        self._distrusted.add(_place(record))

    def _deciders(self) -> Callable[[ContentEvent], Decider]:
        """Gives the decider of each event of a batch, by what is in force as it begins."""
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
        One outcome a record, in order.

        A bad event is a `Refusal` among the others.

        Raises:
            Exception: The machine is broken and nothing was decided; see `Isolation.take_apart`, and `RegistryError`.
        """
        started = time.perf_counter()
        outcomes, turns = self._read(records)
        inference = time.perf_counter()
        # Grows by the events that a stand-in decides.
        for decider, events in turns:
            texts = [reading.text for _, _, reading in events]
            answers: Sequence[Prediction | Refusal]
            failure = ""
            try:
                answers = one_for_each(texts, decider.classifier.classify(texts))
            except MACHINE:
                raise
            # The class alone: the message may quote the text of an event. The failure is dealt with after this block, since an
            # exception that is raised within it would carry this one, message included, into the log.
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
        """By the place of the record in the batch, the refusals of what is no event; and the turns of the others."""
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

    def _taken_apart(self, decider: Decider, texts: Sequence[str], failure: str) -> Sequence[Prediction | Refusal]:
        isolation = Isolation(
            decider.classifier,
            attempts=self._attempts,
            probe=decider.probe,
            hopeless=math.inf if decider.stand_in is None else HOPELESS,
            raised=self._observer.model_raised,
        )
        # A text that comes twice is asked once.
        distinct = list(dict.fromkeys(texts))
        try:
            answers = isolation.take_apart(distinct, failure)
        except MACHINE:
            raise
        except Exception as error:
            if decider.stand_in is None:
                raise
            # A model that raises for its own probe is broken, and the stand-in tells whether the machine is.
            return [_blamed(type(error).__name__, 1)] * len(texts)
        by_text = dict(zip(distinct, answers, strict=True))
        return [by_text[text] for text in texts]
