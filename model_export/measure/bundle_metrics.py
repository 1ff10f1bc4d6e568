"""The metrics in a bundle's manifest: evaluations of the labelled parts and of the gate for foreign texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tagstream.model_export.bundle.model import NO_LIMITS, Classifier, OodLimits, Prediction
from tagstream.model_export.data.real import REAL
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.measure import gate
from tagstream.model_export.measure.evaluate import RowsEvaluation, evaluate
from tagstream.model_export.measure.gate import OodGate
from tagstream.model_export.measure.parts import CALIBRATION, CALIBRATION_OTHERS, CALIBRATION_REAL, PARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleMetrics:
    """
    The metrics of a bundle.

    Attributes:
        evaluations: The evaluations of the parts that have rows, by part. If real titles and other rows calibrate, either has an evaluation
            of its own, too.
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
        if part == CALIBRATION and calibration is not None
        else classifier.classify([row.text for row in rows])
        for part, rows in parts.items()
    }
    judged = {part: list(zip(rows, found[part], strict=True)) for part, rows in parts.items()}
    judged |= _by_origin(judged.get(CALIBRATION, []))
    evaluations = {
        part: evaluate(
            [said for _, said in pairs], [row.tag for row, _ in pairs], labels=classifier.labels, thresholds=thresholds
        )
        for part, pairs in judged.items()
    }
    if limits == NO_LIMITS:
        return BundleMetrics(evaluations=evaluations, gate=None)
    strangers = classifier.classify([row.text for row in gate.foreign(splits)])
    return BundleMetrics(evaluations=evaluations, gate=gate.count(found, strangers, thresholds=thresholds, limits=limits))


def _by_origin(calibration: Sequence[tuple[Row, Prediction]]) -> dict[str, list[tuple[Row, Prediction]]]:
    """Return the calibration rows that are real titles and the others, with their predictions; nothing if there are only rows of one kind."""
    real = [pair for pair in calibration if pair[0].source == REAL]
    others = [pair for pair in calibration if pair[0].source != REAL]
    return {CALIBRATION_REAL: real, CALIBRATION_OTHERS: others} if real and others else {}
