"""How good a classifier is on labelled rows: one frozen record, as text for people and as JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import f1_score, precision_recall_fscore_support

from model_export.calibrate import Ints, calibration_error
from model_export.intervals import Interval, class_intervals
from model_export.prediction import Prediction

BOOTSTRAP_DRAWS = 1000
BOOTSTRAP_SEED = 7
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """One label: precision, recall, F1 with its 95 % bootstrap interval, and how many rows carry it."""

    label: str
    precision: float
    recall: float
    f1: float
    rows: int
    f1_interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """
    What was measured on one set of rows.

    `weighted_f1_interval` is a 95 % bootstrap interval over rows. `confusion[i][j]` counts rows of label i that were
    given label j. `precision_at_threshold` and `coverage` are of the rows whose confidence reaches `threshold`.
    """

    rows: int
    weighted_f1: float
    weighted_f1_interval: tuple[float, float]
    macro_f1: float
    accuracy: float
    calibration_error: float
    threshold: float
    precision_at_threshold: float
    coverage: float
    classes: tuple[ClassReport, ...]
    confusion: tuple[tuple[int, ...], ...]

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return asdict(self)

    def render(self, title: str) -> str:
        """The record as a few lines of text."""
        low, high = self.weighted_f1_interval
        lines = [
            f"{title}: {self.rows} rows",
            f"  weighted F1 {self.weighted_f1:.4f} [{low:.4f}, {high:.4f}]   macro F1 {self.macro_f1:.4f}",
            f"  accuracy {self.accuracy:.4f}   ECE {self.calibration_error:.4f}",
            f"  at confidence >= {self.threshold:.4f}: {self.coverage:.1%} of rows, {self.precision_at_threshold:.4f} of them right",
            f"  {'label':<28} {'precision':>9} {'recall':>7} {'F1':>7}  {'95 %':<16} {'rows':>5}   given as",
        ]
        for report, given in zip(self.classes, self.confusion, strict=True):
            counts = " ".join(f"{count:>4}" for count in given)
            least, most = report.f1_interval
            lines.append(
                f"  {report.label:<28} {report.precision:>9.4f} {report.recall:>7.4f} {report.f1:>7.4f}  [{least:.4f}, {most:.4f}] "
                f"{report.rows:>5}   {counts}"
            )
        return "\n".join(lines)


def evaluate(predictions: Sequence[Prediction], tags: Sequence[str], *, labels: Sequence[str], threshold: float) -> Evaluation:
    """
    Measure predictions against the labels that people gave.

    Args:
        predictions: One a row.
        tags: The right label of each row.
        labels: All labels, in the bundle's order.
        threshold: The confidence from which a prediction is published without asking.

    Raises:
        ValueError: There are no rows, or not one tag a prediction.
    """
    if not tags or len(tags) != len(predictions):
        msg = f"{len(predictions)} predictions cannot be measured against {len(tags)} tags: give one tag a prediction"
        raise ValueError(msg)
    found = np.array([labels.index(prediction.label) for prediction in predictions])
    truth = np.array([labels.index(tag) for tag in tags])
    confidences = [prediction.confidence for prediction in predictions]
    right = found == truth
    kept = np.array(confidences) >= threshold
    low, high = bootstrap_interval(truth, found)
    return Evaluation(
        rows=len(tags),
        weighted_f1=round(_f1(truth, found, "weighted"), 6),
        weighted_f1_interval=(low, high),
        macro_f1=round(_f1(truth, found, "macro"), 6),
        accuracy=round(float(right.mean()), 6),
        calibration_error=round(calibration_error(confidences, right.tolist()), 6),
        threshold=threshold,
        precision_at_threshold=round(float(right[kept].mean()), 6) if kept.any() else 0.0,
        coverage=round(float(kept.mean()), 6),
        classes=_classes(truth, found, labels),
        confusion=_confusion(truth, found, len(labels)),
    )


def bootstrap_interval(truth: Ints, found: Ints) -> tuple[float, float]:
    """A 95 % interval of the weighted F1 over redrawn rows, the same each time."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    draws = generator.integers(0, len(truth), size=(BOOTSTRAP_DRAWS, len(truth)))
    low, high = np.percentile([_weighted_f1(truth[rows], found[rows]) for rows in draws], INTERVAL)
    return round(float(low), 6), round(float(high), 6)


def _weighted_f1(truth: Ints, found: Ints) -> float:
    # scikit-learn's own costs milliseconds a call, too much for a thousand redraws.
    total = 0.0
    for label in np.unique(truth):
        hits = float(((truth == label) & (found == label)).sum())
        members = float((truth == label).sum())
        total += members * 2 * hits / (members + float((found == label).sum()))
    return total / len(truth)


def _f1(truth: Ints, found: Ints, average: str) -> float:
    return float(f1_score(truth, found, average=average, zero_division=0))


def _classes(truth: Ints, found: Ints, labels: Sequence[str]) -> tuple[ClassReport, ...]:
    columns = precision_recall_fscore_support(truth, found, labels=range(len(labels)), zero_division=0)
    intervals = class_intervals(np.array(_confusion(truth, found, len(labels))))
    return tuple(
        ClassReport(
            label=label,
            precision=round(float(p), 6),
            recall=round(float(r), 6),
            f1=round(float(f), 6),
            rows=int(n),
            f1_interval=interval,
        )
        for label, interval, p, r, f, n in zip(labels, intervals, *columns, strict=True)
    )


def _confusion(truth: Ints, found: Ints, labels: int) -> tuple[tuple[int, ...], ...]:
    counts = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(counts, (truth, found), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)
