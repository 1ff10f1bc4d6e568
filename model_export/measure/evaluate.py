"""The figures of a classifier on labelled rows, as one frozen record with a text form and a JSON form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import f1_score, precision_recall_fscore_support

from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.calibrate.certificate import Bools
from tagstream.model_export.calibrate.intervals import Interval, class_intervals
from tagstream.model_export.calibrate.temperature import Floats, Ints, calibration_error
from tagstream.model_export.measure.curves import risk_coverage

BOOTSTRAP_DRAWS = 1000
BOOTSTRAP_SEED = 7
INTERVAL = (2.5, 97.5)
# With more labels, the text names the most frequent mistakes of each label instead of the row of the confusion matrix.
MOST_COLUMNS, MISTAKES_NAMED = 12, 3
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """
    The figures of one label.

    Attributes:
        label: The label.
        precision: The precision, 0 to 1.
        recall: The recall, 0 to 1.
        f1: F1, 0 to 1.
        rows: The number of rows with this label.
        f1_interval: The 95 % bootstrap interval of F1.
        threshold: The least confidence of a published prediction.
        published: The number of rows with this predicted label at or above `threshold`.
        published_precision: The share right of the published rows, 0 to 1. None if no row is published.
    """

    label: str
    precision: float
    recall: float
    f1: float
    rows: int
    f1_interval: Interval
    threshold: float
    published: int
    published_precision: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsEvaluation:
    """
    The figures of a classifier on one set of rows.

    Attributes:
        rows: The number of rows.
        weighted_f1: The mean F1 of the labels, weighted by rows, 0 to 1.
        weighted_f1_interval: The 95 % bootstrap interval of `weighted_f1`, over rows.
        macro_f1: The unweighted mean F1 of the labels, 0 to 1.
        accuracy: The share right, 0 to 1.
        calibration_error: The expected calibration error, 0 to 1.
        precision_at_threshold: The share right of the rows whose confidence reaches the threshold of their predicted label.
        coverage: The share of the rows whose confidence reaches the threshold of their predicted label.
        precision_at_coverage: The share right of the most confident rows, by coverage in percent: `50` is the most confident half. Rows
            with equal published confidence are one group; if a coverage ends within a group, each of its rows counts with the group's
            share right.
        risk_area: The mean share wrong over all coverages (AURC, as in `curves.risk_coverage`), by published confidences.
        classes: The figures of each label.
        confusion: `confusion[i][j]` is the number of rows of label i with predicted label j.
    """

    rows: int
    weighted_f1: float
    weighted_f1_interval: tuple[float, float]
    macro_f1: float
    accuracy: float
    calibration_error: float
    precision_at_threshold: float
    coverage: float
    precision_at_coverage: dict[str, float]
    risk_area: float
    classes: tuple[ClassReport, ...]
    confusion: tuple[tuple[int, ...], ...]

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return asdict(self)

    def as_text(self, title: str) -> str:
        """Return the record as a few lines of text."""
        low, high = self.weighted_f1_interval
        curve = "  ".join(f"{coverage} % {precision:.4f}" for coverage, precision in self.precision_at_coverage.items())
        lines = [
            f"{title}: {self.rows} rows",
            f"  weighted F1 {self.weighted_f1:.4f} [{low:.4f}, {high:.4f}]   macro F1 {self.macro_f1:.4f}",
            f"  accuracy {self.accuracy:.4f}   ECE {self.calibration_error:.4f}",
            f"  published at its label's threshold or more: {self.coverage:.1%} of rows, {self.precision_at_threshold:.4f} of them right",
            f"  right among the surest: {curve}; area under the share wrong {self.risk_area:.4f}",
            f"  {'label':<28} {'precision':>9} {'recall':>7} {'F1':>7}  {'95 %':<16} {'rows':>5} {'from':>7} {'publ.':>5} {'right':>7}   given as",
        ]
        for report, given in zip(self.classes, self.confusion, strict=True):
            counts = self._given(report.label, given)
            least, most = report.f1_interval
            start = "never" if report.threshold > 1 else f"{report.threshold:.4f}"
            right = "-" if report.published_precision is None else f"{report.published_precision:.4f}"
            lines.append(
                f"  {report.label:<28} {report.precision:>9.4f} {report.recall:>7.4f} {report.f1:>7.4f}  [{least:.4f}, {most:.4f}] "
                f"{report.rows:>5} {start:>7} {report.published:>5} {right:>7}   {counts}"
            )
        return "\n".join(lines)

    def _given(self, label: str, given: Sequence[int]) -> str:
        names = [report.label for report in self.classes]
        if len(names) <= MOST_COLUMNS:
            return " ".join(f"{count:>4}" for count in given)
        return ", ".join(f"{other} {count}" for count, other in mistakes(label, names, given)[:MISTAKES_NAMED])


def mistakes(label: str, labels: Sequence[str], given: Sequence[int]) -> list[tuple[int, str]]:
    """
    Return the wrong predicted labels of the rows of `label`, each with its number of rows. The most frequent comes first.

    Args:
        label: The true label of the rows.
        labels: All labels.
        given: The number of rows for each predicted label, in the order of `labels`.

    >>> mistakes("b", ["a", "b", "c", "d"], [1, 9, 4, 0])
    [(4, 'c'), (1, 'a')]
    """
    found = [(count, other) for other, count in zip(labels, given, strict=True) if count and other != label]
    return sorted(found, key=lambda each: (-each[0], each[1]))


def evaluate(
    predictions: Sequence[Prediction], tags: Sequence[str], *, labels: Sequence[str], thresholds: Mapping[str, float]
) -> RowsEvaluation:
    """
    Evaluate predictions against the labels of people.

    Args:
        predictions: One prediction per row.
        tags: The right label of each row.
        labels: All labels, in the order of the bundle.
        thresholds: The least confidence of a published prediction, by predicted label.

    Raises:
        ValueError: There are no rows, or the numbers of tags and predictions differ.
    """
    if not tags or len(tags) != len(predictions):
        msg = f"{len(predictions)} predictions cannot be measured against {len(tags)} tags: give one tag a prediction"
        raise ValueError(msg)
    found = np.array([labels.index(prediction.label) for prediction in predictions])
    truth = np.array([labels.index(tag) for tag in tags])
    confidences = [prediction.confidence for prediction in predictions]
    right = found == truth
    kept = np.array(confidences) >= np.array([thresholds[prediction.label] for prediction in predictions])
    precisions = precision_by_rows(np.array(confidences), right)
    low, high = bootstrap_interval(truth, found)
    return RowsEvaluation(
        rows=len(tags),
        weighted_f1=round(_f1(truth, found, "weighted"), 6),
        weighted_f1_interval=(low, high),
        macro_f1=round(_f1(truth, found, "macro"), 6),
        accuracy=round(float(right.mean()), 6),
        calibration_error=round(calibration_error(confidences, right.tolist()), 6),
        precision_at_threshold=round(float(right[kept].mean()), 6) if kept.any() else 0.0,
        coverage=round(float(kept.mean()), 6),
        precision_at_coverage={
            f"{coverage:.0%}".removesuffix("%"): round(float(precisions[math.ceil(coverage * len(tags)) - 1]), 6)
            for coverage in COVERAGES
        },
        risk_area=risk_coverage(confidences, right.tolist()).area,
        classes=_classes(truth, found, kept, labels, thresholds),
        confusion=_confusion(truth, found, len(labels)),
    )


def precision_by_rows(confidence: Floats, right: Bools) -> Floats:
    """
    Return the share right of the n most confident rows, for n from 1 to all. Rows of equal confidence count with their mean.

    >>> precision_by_rows(np.array([0.5, 0.9, 0.5]), np.array([False, True, True])).round(4).tolist()
    [1.0, 0.75, 0.6667]
    """
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    share = np.bincount(group, weights=right) / sizes
    precisions: Floats = np.cumsum(share[group][np.argsort(-confidence)]) / np.arange(1, len(confidence) + 1)
    return precisions


def bootstrap_interval(truth: Ints, found: Ints) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the weighted F1, from seeded resamples of rows."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    draws = generator.integers(0, len(truth), size=(BOOTSTRAP_DRAWS, len(truth)))
    low, high = np.percentile([_weighted_f1(truth[rows], found[rows]) for rows in draws], INTERVAL)
    return round(float(low), 6), round(float(high), 6)


def _weighted_f1(truth: Ints, found: Ints) -> float:
    # scikit-learn's function takes milliseconds per call, which is too slow for a thousand resamples.
    labels = int(max(truth.max(), found.max())) + 1
    members, given = (np.bincount(each, minlength=labels) for each in (truth, found))
    hits = np.bincount(truth[truth == found], minlength=labels)
    f1 = 2 * hits / np.maximum(members + given, 1)
    return float((members * f1).sum()) / len(truth)


def _f1(truth: Ints, found: Ints, average: str) -> float:
    return float(f1_score(truth, found, average=average, zero_division=0))


def _classes(
    truth: Ints, found: Ints, kept: Bools, labels: Sequence[str], thresholds: Mapping[str, float]
) -> tuple[ClassReport, ...]:
    columns = precision_recall_fscore_support(truth, found, labels=range(len(labels)), zero_division=0)
    intervals = class_intervals(np.array(_confusion(truth, found, len(labels))))
    published = [(found == place) & kept for place in range(len(labels))]
    return tuple(
        ClassReport(
            label=label,
            precision=round(float(p), 6),
            recall=round(float(r), 6),
            f1=round(float(f), 6),
            rows=int(n),
            f1_interval=interval,
            threshold=thresholds[label],
            published=int(out.sum()),
            published_precision=round(float((truth == found)[out].mean()), 6) if out.any() else None,
        )
        for label, out, interval, p, r, f, n in zip(labels, published, intervals, *columns, strict=True)
    )


def _confusion(truth: Ints, found: Ints, labels: int) -> tuple[tuple[int, ...], ...]:
    counts = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(counts, (truth, found), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)
