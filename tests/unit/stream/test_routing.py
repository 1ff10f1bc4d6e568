"""Who decides: at the threshold the model, just below it a person."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.prediction import Prediction
from monitoring.observer import ReviewReason
from stream.events import ContentEvent, decode
from stream.outcomes import ModelRef, NeedsReview, Tagged, prediction_id
from stream.routing import Router
from tests.fakes import raw

MODEL = ModelRef(name="m", version="1", digest="d" * 64)
RATIOS = st.integers(0, 10_000).map(lambda parts: parts / 10_000)


def predicted(confidence: float, *, truncated: bool = False) -> Prediction:
    """A prediction of this confidence."""
    scores = {"mlops": confidence, "other": round(1 - confidence, 4)}
    return Prediction(label="mlops", confidence=confidence, probabilities=scores, energy=-1.0, tokens=3, truncated=truncated)


def event() -> ContentEvent:
    """Some event."""
    decoded = decode(raw(b'{"id":"e-1","title":"Hello"}'))
    assert isinstance(decoded, ContentEvent)
    return decoded


def route(confidence: float, threshold: float) -> Tagged | NeedsReview:
    """What becomes of some event."""
    return Router(model=MODEL, threshold=threshold).route(event(), predicted(confidence))


@pytest.mark.parametrize(
    ("confidence", "threshold", "kind"),
    [
        (0.9, 0.9, Tagged),
        (0.9001, 0.9, Tagged),
        (0.8999, 0.9, NeedsReview),
        (0.0, 0.0, Tagged),
        (1.0, 1.0, Tagged),
        (0.9999, 1.0, NeedsReview),
        # A consumer sees 0.9 and 0.89995, and must be able to recompute the decision.
        (0.9, 0.89995, Tagged),
        (0.9, 0.90005, NeedsReview),
    ],
)
def test_the_published_confidence_is_what_is_compared(confidence: float, threshold: float, kind: type) -> None:
    """At or above the threshold the model decides."""
    assert type(route(confidence, threshold)) is kind


@given(RATIOS, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_moves_review_to_tagged(confidence: float, one: float, other: float) -> None:
    """Caution is monotonous."""
    low, high = sorted((one, other))
    if isinstance(route(confidence, low), NeedsReview):
        assert isinstance(route(confidence, high), NeedsReview)


@given(RATIOS, st.floats(0, 1))
def test_the_decision_is_the_same_whoever_is_asked(confidence: float, threshold: float) -> None:
    """Unsure is not `other`: the tag and all probabilities are published either way."""
    outcome = route(confidence, threshold)
    found = msgspec.to_builtins(outcome.decision)
    assert found["tag"] == "mlops"
    assert found["confidence"] == confidence
    assert found["probabilities"] == predicted(confidence).probabilities
    assert found["prediction_id"] == prediction_id("e-1", MODEL.digest)
    assert found["threshold"] == threshold
    assert ("reasons" in found) == isinstance(outcome, NeedsReview)


def test_low_confidence_is_the_reason() -> None:
    """One reason, and nothing was drawn by chance."""
    outcome = route(0.5, 0.9)
    assert isinstance(outcome, NeedsReview)
    assert outcome.decision.reasons == (ReviewReason.LOW_CONFIDENCE,)
    assert outcome.decision.inclusion_probability == 1.0


def test_a_cut_text_is_flagged_and_decided_like_any_other() -> None:
    """`truncated` reaches the consumer, and is no reason for review."""
    outcome = Router(model=MODEL, threshold=0.5).route(event(), predicted(0.9, truncated=True))
    assert isinstance(outcome, Tagged)
    assert outcome.decision.truncated
