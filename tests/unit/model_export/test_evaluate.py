"""The evaluation record on predictions whose figures can be counted by hand."""

import msgspec
import pytest

from model_export import evaluate
from model_export.prediction import Prediction

LABELS = ("one", "two", "three")


def given(label: str, confidence: float = 0.9) -> Prediction:
    """A prediction of `label`."""
    rest = (1 - confidence) / 2
    return Prediction(
        label=label,
        confidence=confidence,
        probabilities={name: confidence if name == label else rest for name in LABELS},
        energy=-1.0,
        tokens=5,
        truncated=False,
    )


@pytest.fixture
def found() -> evaluate.Evaluation:
    """Four rows: two right, one `two` taken for `one`, one unsure and right."""
    predictions = [given("one"), given("two"), given("one"), given("two", 0.5)]
    return evaluate.evaluate(predictions, ["one", "two", "two", "two"], labels=LABELS, threshold=0.8)


def test_figures_are_those_counted_by_hand(found: evaluate.Evaluation) -> None:
    """Accuracy, weighted F1, precision and coverage at the threshold."""
    assert found.accuracy == 0.75
    assert found.weighted_f1 == pytest.approx((1 * 2 / 3 + 3 * 0.8) / 4, abs=1e-6)
    assert (found.coverage, found.precision_at_threshold) == (0.75, pytest.approx(2 / 3, abs=1e-6))


def test_confusion_counts_truth_by_rows(found: evaluate.Evaluation) -> None:
    """The row is what is true, the column what was said."""
    assert found.confusion == ((1, 0, 0), (1, 2, 0), (0, 0, 0))


def test_label_without_rows_is_reported_as_such(found: evaluate.Evaluation) -> None:
    """A label that nothing carries has no rows, and no figure is made up for it."""
    assert (found.classes[2].rows, found.classes[2].f1) == (0, 0.0)


def test_interval_holds_the_figure_and_repeats(found: evaluate.Evaluation) -> None:
    """The interval is seeded, so that a figure printed twice is the same twice."""
    low, high = found.weighted_f1_interval
    assert low <= found.weighted_f1 <= high
    again = evaluate.evaluate(
        [given("one"), given("two"), given("one"), given("two", 0.5)],
        ["one", "two", "two", "two"],
        labels=LABELS,
        threshold=0.8,
    )
    assert again == found


def test_record_renders_to_text_and_to_json(found: evaluate.Evaluation) -> None:
    """People read the one, programs the other, and both carry the figure."""
    assert f"{found.weighted_f1:.4f}" in found.render("holdout")
    assert msgspec.json.decode(msgspec.json.encode(found.as_json()))["weighted_f1"] == found.weighted_f1


def test_unequal_lengths_are_an_error() -> None:
    """A figure over half the rows is no figure."""
    with pytest.raises(ValueError, match="one tag a prediction"):
        evaluate.evaluate([given("one")], [], labels=LABELS, threshold=0.5)
