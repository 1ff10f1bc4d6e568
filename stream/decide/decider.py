"""The decider: everything that turns a text into a decision, as one value. Pure but for the classifier: no clock, no I/O, no chance.

A pipeline reads its decider once for each batch, so that it can be replaced between two batches. Metrics, drift watch, circuit breaker
and `tagstream doctor` ask it for labels, thresholds and digest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal

from model_export.bundle.bundle import Bundle
from model_export.bundle.prediction import Classifier, Prediction
from model_export.bundle.strangeness import NO_LIMITS, OodLimits
from model_export.bundle.text import Reading
from monitoring.observer import Signals
from monitoring.vocabulary import ReviewReason
from stream.contract.decisions import Decision, ModelRef, NeedsReview, Tagged, prediction_id
from stream.contract.events import ContentEvent
from stream.decide.isolation import PROBE


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

    def is_strange(self, prediction: Prediction) -> bool:
        """Whether the text is unlike the texts that the model was trained on."""
        return self.ood.is_strange(prediction)

    def decide(
        self, event: ContentEvent, prediction: Prediction, reading: Reading, signals: Signals | None = None
    ) -> Tagged | NeedsReview:
        """
        NeedsReview if there is a reason to ask a person, else Tagged. The tag and all probabilities are published either way.

        The threshold of the predicted label is compared with the published (rounded) confidence, and published too: a consumer can
        recompute the outcome.

        Args:
            event: The event.
            prediction: Of its text.
            reading: That text.
            signals: For monitoring; passed on.
        """
        decision = Decision(
            tag=prediction.label,
            tags=prediction.tags,
            confidence=prediction.confidence,
            probabilities=prediction.probabilities,
            prediction_id=prediction_id(event.id, self.model.identity),
            decider=self.kind,
            model=self.model,
            threshold=self.asked_below(prediction.label),
            truncated=prediction.truncated or reading.cut,
        )
        reasons = self._reasons(prediction, reading)
        if not reasons:
            return Tagged(event=event, decision=decision, signals=signals)
        return NeedsReview(event=event, decision=decision, reasons=reasons, text_flags=reading.flags, signals=signals)

    def _reasons(self, prediction: Prediction, reading: Reading) -> tuple[ReviewReason, ...]:
        unsure = self.kind == "rules" or prediction.confidence < self.asked_below(prediction.label)
        # Ordinary traffic hides nothing in its text: the network's confidence in such a text is not relied on.
        strange = bool(reading.flags) or self.is_strange(prediction)
        return ((ReviewReason.LOW_CONFIDENCE,) if unsure else ()) + ((ReviewReason.OUT_OF_DISTRIBUTION,) if strange else ())


def release_of(digest: str) -> str:
    """The version of the program and this digest of a model."""
    return f"{metadata.version('tagstream')} {digest}"
