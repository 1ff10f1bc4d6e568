"""The evaluation record on predictions whose figures can be counted by hand."""

import msgspec
import numpy as np
import pytest
from hypothesis import given as any_of
from hypothesis import strategies as st

from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.measure import evaluate

LABELS = ("one", "two", "three")
AT_08 = dict.fromkeys(LABELS, 0.8)


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
def found() -> evaluate.RowsEvaluation:
    """Four rows: two right, one `two` taken for `one`, one unsure and right."""
    predictions = [given("one"), given("two"), given("one"), given("two", 0.5)]
    return evaluate.evaluate(predictions, ["one", "two", "two", "two"], labels=LABELS, thresholds=AT_08)


def test_figures_are_those_counted_by_hand(found: evaluate.RowsEvaluation) -> None:
    """Accuracy, weighted F1, precision and coverage at the threshold."""
    assert found.accuracy == 0.75
    assert found.weighted_f1 == pytest.approx((1 * 2 / 3 + 3 * 0.8) / 4, abs=1e-6)
    assert (found.coverage, found.precision_at_threshold) == (0.75, pytest.approx(2 / 3, abs=1e-6))


def test_confusion_counts_truth_by_rows(found: evaluate.RowsEvaluation) -> None:
    """Rows of the matrix are true labels, columns are given ones."""
    assert found.confusion == ((1, 0, 0), (1, 2, 0), (0, 0, 0))


def test_label_without_rows_is_reported_as_such(found: evaluate.RowsEvaluation) -> None:
    """A label without rows is reported with zero rows and F1 0."""
    assert (found.classes[2].rows, found.classes[2].f1) == (0, 0.0)


def test_interval_holds_the_figure_and_repeats(found: evaluate.RowsEvaluation) -> None:
    """The interval holds the figure, and the same rows give the same interval."""
    low, high = found.weighted_f1_interval
    assert low <= found.weighted_f1 <= high
    again = evaluate.evaluate(
        [given("one"), given("two"), given("one"), given("two", 0.5)],
        ["one", "two", "two", "two"],
        labels=LABELS,
        thresholds=AT_08,
    )
    assert again == found


def test_record_renders_to_text_and_to_json(found: evaluate.RowsEvaluation) -> None:
    """People read the one, programs the other, and both carry the figure."""
    assert f"{found.weighted_f1:.4f}" in found.as_text("holdout")
    assert msgspec.json.decode(msgspec.json.encode(found.as_json()))["weighted_f1"] == found.weighted_f1


def test_unequal_lengths_are_an_error() -> None:
    """Predictions for only some of the rows are refused."""
    with pytest.raises(ValueError, match="one tag a prediction"):
        evaluate.evaluate([given("one")], [], labels=LABELS, thresholds=AT_08)


def test_every_label_is_published_from_its_own_threshold_on() -> None:
    """The same confidence is enough for one label and not for the other; a label that is never published has no precision."""
    predictions = [given("one", 0.7), given("one", 0.7), given("two", 0.7), given("two", 0.95)]
    thresholds = {"one": 0.7, "two": 0.9, "three": 1.0001}
    found = evaluate.evaluate(predictions, ["one", "two", "two", "two"], labels=LABELS, thresholds=thresholds)
    assert (found.coverage, found.precision_at_threshold) == (0.75, pytest.approx(2 / 3, abs=1e-6))
    seen = [(report.threshold, report.published, report.published_precision) for report in found.classes]
    assert seen == [(0.7, 2, 0.5), (0.9, 1, 1.0), (1.0001, 0, None)]
    assert found.as_text("holdout").splitlines()[-1].split()[7:10] == ["never", "0", "-"]


def test_the_curve_is_that_of_the_surest_rows() -> None:
    """Ten rows, the surest five right, then one wrong, two right, two wrong: counted by hand."""
    confidences = [0.95, 0.94, 0.93, 0.92, 0.91, 0.8, 0.7, 0.6, 0.5, 0.4]
    right = [True] * 5 + [False, True, True, False, False]
    tags = ["one" if hit else "two" for hit in right]
    found = evaluate.evaluate([given("one", one) for one in confidences], tags, labels=LABELS, thresholds=AT_08)
    assert found.precision_at_coverage == {
        "50": 1.0,
        "60": pytest.approx(5 / 6, abs=1e-6),
        "70": pytest.approx(6 / 7, abs=1e-6),
        "80": 0.875,
        "90": pytest.approx(7 / 9, abs=1e-6),
        "100": 0.7,
    }
    wrong = [0, 0, 0, 0, 0, 1 / 6, 1 / 7, 1 / 8, 2 / 9, 3 / 10]
    assert found.risk_area == pytest.approx(sum(wrong) / 10, abs=1e-6)
    assert "100 % 0.7000" in found.as_text("holdout")


@any_of(st.lists(st.tuples(st.integers(25, 100), st.booleans()), min_size=1, max_size=30), st.randoms())
def test_the_curve_does_not_depend_on_the_order_of_the_rows(pairs: list[tuple[int, bool]], random_: object) -> None:
    """Rows that tie may come in any order without changing a figure, and the point of all rows is the accuracy."""
    shuffled = list(pairs)
    random_.shuffle(shuffled)  # type: ignore[attr-defined]
    curves = [
        evaluate.precision_by_rows(np.array([cent / 100 for cent, _ in rows]), np.array([hit for _, hit in rows]))
        for rows in (pairs, shuffled)
    ]
    assert curves[0].tolist() == pytest.approx(curves[1].tolist())
    assert curves[0][-1] == pytest.approx(sum(hit for _, hit in pairs) / len(pairs))


def test_of_many_labels_the_most_frequent_mistakes_are_named() -> None:
    """A row of 77 counts cannot be read; of 12 it can."""
    labels = [f"label {number}" for number in range(77)]
    predictions = [given(label) for label in ["label 1", "label 2", "label 2", "label 3", "label 4", "label 0"]]
    found = evaluate.evaluate(predictions, ["label 0"] * 6, labels=labels, thresholds=dict.fromkeys(labels, 0.5))
    line = next(line for line in found.as_text("gold").splitlines() if line.startswith("  label 0 "))
    assert line.endswith("   label 2 2, label 1 1, label 3 1")
    assert max(map(len, found.as_text("gold").splitlines())) < 180
    few = evaluate.evaluate(predictions, ["label 0"] * 6, labels=labels[:12], thresholds=dict.fromkeys(labels, 0.5))
    assert "   1    1    2    1    1    0 " in few.as_text("gold")
