"""A decider tags at its threshold and asks a person just below it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.model import OodLimits, Prediction
from tagstream.model_export.bundle.text import read
from tagstream.monitoring.signals import Signals
from tagstream.monitoring.vocabulary import ReviewReason
from tagstream.stream.contract.event import ContentEvent, decode
from tagstream.stream.contract.outcome import ModelRef, NeedsReview, Tagged, prediction_id, value_without_clock
from tagstream.stream.decide.pipeline import Decider
from tests.fakes import KeywordClassifier, raw
from tests.replacing import replace

MODEL = ModelRef(name="m", version="1", digest="d" * 64)
RATIOS = st.integers(0, 10_000).map(lambda parts: parts / 10_000)


def predicted(confidence: float, *, truncated: bool = False, energy: float = -1.0, unfamiliar: float = 0.0) -> Prediction:
    """A prediction of this confidence."""
    scores = {"mlops": confidence, "other": round(1 - confidence, 4)}
    return Prediction(
        label="mlops",
        confidence=confidence,
        probabilities=scores,
        energy=energy,
        tokens=3,
        truncated=truncated,
        unfamiliar=unfamiliar,
    )


def event() -> ContentEvent:
    """An event with a title."""
    decoded = decode(raw(b'{"id":"e-1","title":"Hello"}'))
    assert isinstance(decoded, ContentEvent)
    return decoded


def decider(**figures: Any) -> Decider:
    """A decider with these figures and a classifier that must not be called."""
    return replace(Decider(classifier=KeywordClassifier(), model=MODEL, threshold=0.5), **figures)


def outcome_of(by: Decider, decoded: ContentEvent, prediction: Prediction) -> Tagged | NeedsReview:
    """The outcome of an event whose text has this prediction."""
    return by.decide(decoded, prediction, read(decoded.title, decoded.description))


def route(confidence: float, threshold: float) -> Tagged | NeedsReview:
    """The outcome of an event with this confidence."""
    return outcome_of(decider(threshold=threshold), event(), predicted(confidence))


@pytest.mark.parametrize(
    ("confidence", "threshold", "kind"),
    [
        (0.9, 0.9, Tagged),
        (0.9001, 0.9, Tagged),
        (0.8999, 0.9, NeedsReview),
        (0.0, 0.0, Tagged),
        (1.0, 1.0, Tagged),
        (0.9999, 1.0, NeedsReview),
        # A consumer sees 0.9 and 0.89995 and must be able to recompute the decision.
        (0.9, 0.89995, Tagged),
        (0.9, 0.90005, NeedsReview),
    ],
)
def test_the_published_confidence_is_compared_with_the_threshold(confidence: float, threshold: float, kind: type) -> None:
    """The published confidence is compared with the threshold, and equality tags the event."""
    assert type(route(confidence, threshold)) is kind


@given(RATIOS, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_moves_review_to_tagged(confidence: float, one: float, other: float) -> None:
    """Raising the threshold never moves an event from review to tagged."""
    low, high = sorted((one, other))
    if isinstance(route(confidence, low), NeedsReview):
        assert isinstance(route(confidence, high), NeedsReview)


@given(RATIOS, st.floats(0, 1))
def test_tag_and_probabilities_do_not_depend_on_the_threshold(confidence: float, threshold: float) -> None:
    """An unsure event has the same tag and probabilities as a sure one."""
    outcome = route(confidence, threshold)
    found = msgspec.json.decode(value_without_clock(outcome))
    assert found["tag"] == "mlops"
    assert found["confidence"] == confidence
    assert found["probabilities"] == predicted(confidence).probabilities
    assert found["prediction_id"] == prediction_id("e-1", MODEL.digest)
    assert found["threshold"] == threshold
    assert ("reasons" in found) == isinstance(outcome, NeedsReview)


@pytest.mark.parametrize(
    ("own", "confidence", "kind", "applied"),
    [
        ({"mlops": 0.95}, 0.9, NeedsReview, 0.95),
        ({"mlops": 0.5}, 0.6, Tagged, 0.5),
        ({"other": 0.95}, 0.9, Tagged, 0.9),
        ({"mlops": ALWAYS_ASK}, 1.0, NeedsReview, ALWAYS_ASK),
    ],
)
def test_the_threshold_of_the_predicted_label_is_applied_and_published(
    own: dict[str, float], confidence: float, kind: type, applied: float
) -> None:
    """A label's own threshold is used, else the common one; a threshold above 1 always asks a person."""
    outcome = outcome_of(decider(threshold=0.9, thresholds=own), event(), predicted(confidence))
    assert type(outcome) is kind
    assert outcome.decision.threshold == applied
    assert (outcome.decision.confidence < outcome.decision.threshold) == (kind is NeedsReview)


def test_low_confidence_is_the_reason() -> None:
    """An event below the threshold has low confidence as its only reason."""
    outcome = route(0.5, 0.9)
    assert isinstance(outcome, NeedsReview)
    assert outcome.decision.reasons == (ReviewReason.LOW_CONFIDENCE,)
    assert outcome.decision.inclusion_probability == 1.0


def test_a_cut_text_is_flagged_and_decided_like_any_other() -> None:
    """A truncated text is flagged and is not sent to review for that."""
    outcome = outcome_of(decider(threshold=0.5), event(), predicted(0.9, truncated=True))
    assert isinstance(outcome, Tagged)
    assert outcome.decision.truncated


@pytest.mark.parametrize(
    ("confidence", "energy", "reasons"),
    [
        (0.9, -2.0, ()),
        (0.9, -1.9999, (ReviewReason.OUT_OF_DISTRIBUTION,)),
        (0.5, -1.9999, (ReviewReason.LOW_CONFIDENCE, ReviewReason.OUT_OF_DISTRIBUTION)),
        (0.5, -2.0, (ReviewReason.LOW_CONFIDENCE,)),
    ],
)
def test_an_out_of_distribution_text_has_its_own_reason(
    confidence: float, energy: float, reasons: tuple[ReviewReason, ...]
) -> None:
    """A text unlike the training data goes to review at any confidence, with all reasons in a fixed order."""
    found = outcome_of(decider(threshold=0.9, ood=OodLimits(energy=-2.0)), event(), predicted(confidence, energy=energy))
    assert found.decision.reasons == reasons
    assert found.signals is not None
    assert found.signals.out_of_distribution == (ReviewReason.OUT_OF_DISTRIBUTION in reasons)


@pytest.mark.parametrize(("unfamiliar", "kind"), [(0.4, Tagged), (0.4001, NeedsReview)])
def test_a_text_of_unfamiliar_words_goes_to_a_person_at_any_confidence(unfamiliar: float, kind: type) -> None:
    """A network may be sure of a text that it cannot read; the share of unfamiliar words alone is a reason for review."""
    limits = OodLimits(energy=0.0, unfamiliar=0.4)
    found = outcome_of(decider(threshold=0.5, ood=limits), event(), predicted(1.0, unfamiliar=unfamiliar))
    assert type(found) is kind
    assert found.signals is not None
    assert found.signals.out_of_distribution == (kind is NeedsReview)


def test_a_bundle_without_limits_finds_no_text_unusual() -> None:
    """It sends no text to review as unusual."""
    found = outcome_of(decider(threshold=0.5), event(), predicted(0.9, energy=99.0))
    assert isinstance(found, Tagged)
    assert found.signals is not None
    assert not found.signals.out_of_distribution


def signals(**fields: object) -> Signals:
    """The signals of an event with these fields."""
    decoded = decode(raw(json.dumps({"id": "e-1", "title": "Hello", **fields}).encode()))
    assert isinstance(decoded, ContentEvent)
    found = outcome_of(decider(threshold=0.5), decoded, predicted(0.9, energy=-3.5)).signals
    assert found is not None
    return found


def test_signals_are_of_the_text_that_the_model_reads() -> None:
    """Signals count the words and tokens of title and description as the model reads them."""
    assert signals(title="Hello, GPU", description="two words", source="posts") == Signals(
        event_id="e-1",
        energy=-3.5,
        tokens=3,
        tokens_per_word=0.25,
        words=("hello", "gpu", "two", "words"),
        described=True,
        source="posts",
        out_of_distribution=False,
    )


@pytest.mark.parametrize("description", [None, "", " \n"])
def test_a_title_alone_is_not_described(description: str | None) -> None:
    """A blank description counts as none."""
    assert not signals(description=description).described


@pytest.mark.parametrize(
    ("source", "expected"), [(None, None), ("", None), ("  ", None), (" posts ", "posts"), ("x" * 101, "x" * 100)]
)
def test_a_source_is_cut_and_a_blank_one_is_none(source: str | None, expected: str | None) -> None:
    """A source is cut to its limit, so that a producer cannot fill memory with its name."""
    assert signals(source=source).source == expected


@pytest.mark.parametrize("own", [{}, {"source": ""}])
def test_an_envelope_names_the_source_where_the_event_does_not(own: dict[str, str]) -> None:
    """A CloudEvent's source is used where the event names none."""
    data = {"title": "Hello", **own}
    header = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_type", b"t"), ("ce_source", b"/forum")]
    whole = {"specversion": "1.0", "id": "1", "type": "t", "source": "/forum", "data": data}
    for decoded in (decode(raw(json.dumps(data).encode(), headers=header)), decode(raw(json.dumps(whole).encode()))):
        assert isinstance(decoded, ContentEvent)
        found = outcome_of(decider(threshold=0.5), decoded, predicted(0.9)).signals
        assert found is not None
        assert found.source == "/forum"


def test_signals_do_not_show_event_text_in_their_repr() -> None:
    """The repr of signals holds no event text, since an outcome may appear in a traceback."""
    assert "hello" not in repr(signals()).lower()
    assert "hello" not in pretty_repr(signals()).lower()


@pytest.mark.parametrize("threshold", [0.0, 0.99])
def test_tags_are_published_with_tagged_and_review(threshold: float) -> None:
    """Both kinds of outcome carry the prediction's tags."""
    prediction = msgspec.structs.replace(predicted(0.9), tags=("mlops", "other"))
    assert outcome_of(decider(threshold=threshold), event(), prediction).decision.tags == ("mlops", "other")


def test_the_rules_ask_a_person_at_any_confidence() -> None:
    """Under the rules an event goes to review at any confidence and threshold, without signals of a model."""
    outcome = outcome_of(decider(threshold=0.0, kind="rules"), event(), predicted(1.0))
    assert isinstance(outcome, NeedsReview)
    assert (outcome.decision.reasons, outcome.decision.decider) == ((ReviewReason.LOW_CONFIDENCE,), "rules")
    assert outcome.signals is None
