"""Who decides: the model where it is sure enough, a person otherwise. Pure: no clock, no I/O, no chance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from model_export.bundle.prediction import Prediction
from model_export.bundle.text import Reading, is_described, tokens_per_word, words
from monitoring.observer import Signals
from monitoring.vocabulary import MAX_SOURCE_CHARACTERS, ReviewReason
from stream.contract.events import ContentEvent
from stream.contract.outcomes import Decision, ModelRef, NeedsReview, ReviewDecision, Tagged, prediction_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """
    The threshold of the predicted label is compared with the published (rounded) confidence: what a consumer can recompute is what was
    decided. It is the label's in `thresholds`, else `threshold`; the number that was applied is published.

    `ood_energy` is the energy above which a text is unlike what the model was made for; None where the bundle does not say.
    Where `decider` is `rules`, a person is asked about everything: what keywords say is a guess.
    """

    model: ModelRef
    threshold: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    ood_energy: float | None = None
    decider: Literal["model", "rules"] = "model"

    def asked_below(self, label: str) -> float:
        """The confidence below which a person is asked about what the model calls by this label."""
        return self.thresholds.get(label, self.threshold)

    def route(self, event: ContentEvent, prediction: Prediction, reading: Reading) -> Tagged | NeedsReview:
        """
        NeedsReview if there is a reason to ask, else Tagged. The tag and all probabilities are published either way.

        `reading` is the text that the prediction is of.
        """
        reasons = self._reasons(prediction, reading)
        decided = self._decision(event, prediction, reading)
        signals = self._signals(event, prediction, reading)
        if not reasons:
            return Tagged(event=event, decision=decided, signals=signals)
        review = ReviewDecision(
            tag=decided.tag,
            tags=decided.tags,
            confidence=decided.confidence,
            probabilities=decided.probabilities,
            prediction_id=decided.prediction_id,
            decider=decided.decider,
            model=decided.model,
            threshold=decided.threshold,
            truncated=decided.truncated,
            reasons=reasons,
            # Nothing is drawn by chance: whatever has a reason is asked about.
            inclusion_probability=1.0,
            text_flags=reading.flags,
        )
        return NeedsReview(event=event, decision=review, signals=signals)

    def _reasons(self, prediction: Prediction, reading: Reading) -> tuple[ReviewReason, ...]:
        found = {
            ReviewReason.LOW_CONFIDENCE: self.decider == "rules" or prediction.confidence < self.asked_below(prediction.label),
            # What is hidden in a text is no part of ordinary traffic, whatever the network makes of it.
            ReviewReason.OUT_OF_DISTRIBUTION: self._is_strange(prediction) or bool(reading.flags),
        }
        return tuple(reason for reason, holds in found.items() if holds)

    def _signals(self, event: ContentEvent, prediction: Prediction, reading: Reading) -> Signals | None:
        """None where no model decided: its drift cannot be looked for in what rules say."""
        if self.decider == "rules":
            return None
        return signals_of(event, prediction, text=reading.text, out_of_distribution=self._is_strange(prediction))

    def _is_strange(self, prediction: Prediction) -> bool:
        return self.ood_energy is not None and prediction.energy > self.ood_energy

    def _decision(self, event: ContentEvent, prediction: Prediction, reading: Reading) -> Decision:
        return Decision(
            tag=prediction.label,
            tags=prediction.tags,
            confidence=prediction.confidence,
            probabilities=prediction.probabilities,
            prediction_id=prediction_id(event.id, self.model.digest),
            decider=self.decider,
            model=self.model,
            threshold=self.asked_below(prediction.label),
            truncated=prediction.truncated or reading.cut,
        )


def signals_of(event: ContentEvent, prediction: Prediction, *, text: str, out_of_distribution: bool) -> Signals:
    """What monitoring may know of a decision: the words of the text that was read, its source, what the network made of it."""
    return Signals(
        event_id=event.id,
        energy=prediction.energy,
        tokens=prediction.tokens,
        tokens_per_word=tokens_per_word(text, prediction.tokens),
        words=words(text),
        described=is_described(event.description),
        source=(event.source or "").strip()[:MAX_SOURCE_CHARACTERS] or None,
        out_of_distribution=out_of_distribution,
    )
