"""One window against the reference: what is a score, what is chance, and which words, labels and producers are named."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.thresholds import Thresholds
from tagstream.monitoring.drift.window_comparison import (
    LEAST_COUNT,
    LEAST_RATIO,
    LEAST_SHARE,
    compare,
    examples_of_words,
    surprise,
)
from tagstream.monitoring.vocabulary import DriftScore
from tests.unit.monitoring.drift.drift_cases import LABEL_RATIO, dead_letter, decision, ordinary

REFERENCE = baseline.of(list(ordinary(5_000)))
COUNTS = st.integers(0, 2_000)


def test_an_ordinary_window_exceeds_no_threshold() -> None:
    """Words of one event each, which the reference has never seen, are no finding."""
    found = compare(list(ordinary(1_000)), baseline=REFERENCE, label_ratio=LABEL_RATIO)
    assert found.events == 1_000
    assert {score: value < Thresholds().of(score) for score, value in found.scores.items()} == dict.fromkeys(DriftScore, True)
    assert found.words == ()
    assert found.sources == ()


def test_planted_words_are_the_strongest_with_their_shares() -> None:
    """In three of a hundred events, and never before."""
    window = [
        decision(("the", "quantabyte", "lorvane")) if number % 33 == 0 else seen for number, seen in enumerate(ordinary(1_000))
    ]
    found = compare(window, baseline=REFERENCE, label_ratio=None)
    assert [word.word for word in found.words] == ["lorvane", "quantabyte"]
    assert found.words[0].share == pytest.approx(0.031)
    assert found.words[0].reference_share == 0.0
    assert found.scores[DriftScore.WORDS] == found.words[0].z > 6
    planted = {seen.signals.event_id for seen in window if seen.signals and "lorvane" in seen.signals.words}
    assert set(examples_of_words(window, found.words)) < planted


def test_a_word_needs_count_share_and_ratio() -> None:
    """However small its p-value."""
    few = [decision(("new",)) for _ in range(LEAST_COUNT - 1)] + [decision(("the",)) for _ in range(91)]
    assert compare(few, baseline=REFERENCE, label_ratio=None).words == ()
    known = baseline.of([decision(("half",)) if number % 2 else decision(("no",)) for number in range(10_000)])
    more = [decision(("half",)) if number % 4 else decision(("no",)) for number in range(4_000)]
    assert surprise(3_000, 4_000, 5_000, 10_000) > 20
    assert compare(more, baseline=known, label_ratio=None).words == ()
    assert LEAST_RATIO * 0.5 > 0.75 > LEAST_SHARE


def test_the_index_of_labels_is_the_recording_rules() -> None:
    """The terms add up to it, and the label that grew comes first."""
    window = [decision(label="mlops") for _ in range(800)] + [decision(label="other") for _ in range(200)]
    found = compare(window, baseline=None, label_ratio=LABEL_RATIO)
    expected = 0.3 * math.log(0.8001 / 0.5001) - 0.3 * math.log(0.2001 / 0.5001)
    assert found.scores == {DriftScore.LABELS: pytest.approx(expected, abs=1e-4)}
    assert [(label.label, label.share, label.reference_share) for label in found.labels] == [
        ("other", 0.2, 0.5),
        ("mlops", 0.8, 0.5),
    ]


def test_a_label_that_the_reference_does_not_have_counts() -> None:
    """And one that no longer comes."""
    found = compare([decision(label="new")] * 200, baseline=None, label_ratio=LABEL_RATIO)
    assert found.labels[0].label == "new"
    assert {label.label for label in found.labels} == {"new", "mlops", "other"}
    assert found.scores[DriftScore.LABELS] > 5


def test_a_new_producer_is_named_and_old_ones_are_not() -> None:
    """In one event of twenty."""
    window = [decision(source="press") if number % 20 == 0 else seen for number, seen in enumerate(ordinary(1_000))]
    found = compare(window, baseline=REFERENCE, label_ratio=None)
    assert [(source.source, source.share, source.seen_before) for source in found.sources] == [("press", 0.05, False)]
    assert found.scores[DriftScore.SOURCES] == 0.05


def test_producers_that_fall_silent_are_named() -> None:
    """A field that a producer no longer fills."""
    window = [decision(source=None) if number % 4 == 0 else seen for number, seen in enumerate(ordinary(1_000))]
    found = compare(window, baseline=REFERENCE, label_ratio=None)
    assert [(source.source, source.seen_before) for source in found.sources] == [(None, False)]
    assert found.scores[DriftScore.SOURCES] > 0.2


def test_a_stream_of_ever_new_producers_is_not_drift() -> None:
    """Where one event of ten came from a producer of its own, another tenth is what to expect."""
    known = baseline.of([decision(source=f"one-{number}" if number % 10 == 0 else "papers") for number in range(5_000)])
    window = [decision(source=f"other-{number}" if number % 10 == 0 else "papers") for number in range(1_000)]
    found = compare(window, baseline=known, label_ratio=None)
    assert found.scores[DriftScore.SOURCES] == 0.0
    assert found.sources == ()


def test_dead_letters_are_no_decisions() -> None:
    """They have no words; a window of nothing else has no scores."""
    assert compare([dead_letter()] * 9, baseline=REFERENCE, label_ratio=LABEL_RATIO).scores == {}
    assert compare([dead_letter(), decision()], baseline=REFERENCE, label_ratio=LABEL_RATIO).events == 1


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_surprise_is_zero_for_equal_shares_and_grows_with_the_count(count: int, more: int, before: int, rest: int) -> None:
    """Its sign is that of the difference."""
    events, reference_events = count + more + 1, before + rest + 1
    z = surprise(count, events, before, reference_events)
    assert math.isfinite(z)
    assert surprise(count, events, count, events) == pytest.approx(0, abs=1e-5)
    difference = count * reference_events - before * events
    assert z * difference >= 0
    assume(difference > 0)
    assert surprise(count + 1, events, before, reference_events) >= z
