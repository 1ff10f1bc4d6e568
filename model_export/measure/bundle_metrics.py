"""The metrics in a bundle's manifest: evaluations of the labelled parts and of the gate for foreign texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tagstream.model_export.bundle.model import NO_LIMITS, Classifier, OodLimits, Prediction
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.measure import gate
from tagstream.model_export.measure.evaluate import RowsEvaluation, evaluate
from tagstream.model_export.measure.gate import OodGate

PARTS = ("holdout", "corpus_test", "calibration")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleMetrics:
    """
    The metrics of a bundle.

    Attributes:
        evaluations: The evaluations of the parts that have rows, by part.
        gate: The evaluation of the gate for foreign texts; None if the bundle has no gate.
    """

    evaluations: dict[str, RowsEvaluation]
    gate: OodGate | None

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        parts: dict[str, object] = {part: found.as_json() for part, found in self.evaluations.items()}
        return parts if self.gate is None else parts | {"out_of_distribution": self.gate.as_json()}


def measure(
    classifier: Classifier,
    splits: Splits,
    *,
    calibration: Sequence[Prediction] | None = None,
    thresholds: Mapping[str, float],
    limits: OodLimits,
) -> BundleMetrics:
    """
    Evaluate a classifier on all rows of the labelled parts and on the rows that are not about machine learning.

    Args:
        classifier: The classifier of the bundle, as in production.
        splits: The rows.
        calibration: The predictions of the calibration rows; None: the classifier predicts them.
        thresholds: The least confidence of a published prediction, by predicted label.
        limits: The limits above which a text is out of distribution. If there are no limits, the bundle has no gate.
    """
    parts: dict[str, Sequence[Row]] = {part: getattr(splits, part) for part in PARTS if getattr(splits, part)}
    found = {
        part: calibration
        if part == "calibration" and calibration is not None
        else classifier.classify([row.text for row in rows])
        for part, rows in parts.items()
    }
    evaluations = {
        part: evaluate(found[part], [row.tag for row in rows], labels=classifier.labels, thresholds=thresholds)
        for part, rows in parts.items()
    }
    if limits == NO_LIMITS:
        return BundleMetrics(evaluations=evaluations, gate=None)
    strangers = classifier.classify([row.text for row in gate.foreign(splits)])
    return BundleMetrics(evaluations=evaluations, gate=gate.count(found, strangers, thresholds=thresholds, limits=limits))
