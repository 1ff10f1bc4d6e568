"""Who decides: the model where it is sure enough, a person otherwise. Pure: no clock, no I/O, no chance."""

from dataclasses import dataclass

from model_export.prediction import Prediction
from monitoring.observer import ReviewReason
from stream.events import ContentEvent
from stream.outcomes import Decision, ModelRef, NeedsReview, ReviewDecision, Tagged, prediction_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """`threshold` is compared with the published (rounded) confidence: what a consumer can recompute is what was decided."""

    model: ModelRef
    threshold: float

    def route(self, event: ContentEvent, prediction: Prediction) -> Tagged | NeedsReview:
        """Tagged at or above the threshold, NeedsReview below. The tag and all probabilities are published either way."""
        reasons = self._reasons(prediction)
        if not reasons:
            return Tagged(event=event, decision=self._decision(event, prediction))
        decided = self._decision(event, prediction)
        review = ReviewDecision(
            tag=decided.tag,
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
        )
        return NeedsReview(event=event, decision=review)

    def _reasons(self, prediction: Prediction) -> tuple[ReviewReason, ...]:
        return (ReviewReason.LOW_CONFIDENCE,) if prediction.confidence < self.threshold else ()

    def _decision(self, event: ContentEvent, prediction: Prediction) -> Decision:
        return Decision(
            tag=prediction.label,
            confidence=prediction.confidence,
            probabilities=prediction.probabilities,
            prediction_id=prediction_id(event.id, self.model.digest),
            decider="model",
            model=self.model,
            threshold=self.threshold,
            truncated=prediction.truncated,
        )
