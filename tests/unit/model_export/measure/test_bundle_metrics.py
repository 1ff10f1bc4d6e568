"""The metrics of a bundle: real titles and other calibration rows are measured together and apart."""

from collections.abc import Sequence

import pytest

from tagstream.model_export.bundle.model import NO_LIMITS, Prediction, predict
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.measure import bundle_metrics

LABELS = ("a", "b")


class Two:
    """Implements `Classifier`: it knows two labels, and is not asked."""

    labels = LABELS

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Refuse: all predictions are given."""
        raise AssertionError(texts)


def rows(*sources: str) -> tuple[Row, ...]:
    """Rows of these sources; the label of all is `a`."""
    return tuple(Row(text=f"text {place}", tag="a", source=source, topic="t") for place, source in enumerate(sources))


def predictions(*logits: float) -> list[Prediction]:
    """Predictions with these logits of `a`."""
    return [predict([logit, 0.0], labels=LABELS, temperature=1.0, tokens=3, truncated=False) for logit in logits]


@pytest.mark.parametrize(
    ("sources", "apart"),
    [
        (("real", "corpus", "real"), {"calibration_real": 2, "calibration_others": 1}),
        (("corpus", "plain", "own"), {}),
        (("real", "real", "real"), {}),
    ],
)
def test_calibration_rows_are_measured_by_origin(sources: tuple[str, ...], apart: dict[str, int]) -> None:
    """With rows of both kinds, either has figures of its own; with one kind, the figures of all rows are enough."""
    calibration = rows(*sources)
    parts = Splits(train=(), calibration=calibration, holdout=(), corpus_test=(), unlabelled=(), near_duplicates_removed=0)
    found = bundle_metrics.measure(
        Two(),
        parts,
        calibration=predictions(2.0, -1.0, 1.0),
        thresholds=dict.fromkeys(LABELS, 0.5),
        limits=NO_LIMITS,
    ).evaluations
    assert {part: evaluation.rows for part, evaluation in found.items()} == {"calibration": 3, **apart}
    if apart:
        assert (found["calibration_real"].accuracy, found["calibration_others"].accuracy) == (1.0, 0.0)
