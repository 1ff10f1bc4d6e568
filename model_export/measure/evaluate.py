"""The figures of a classifier on labelled rows: one frozen record, as text and as JSON."""

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
# A row of more counts is not read: the most frequent mistakes of each label are named in its place.
MOST_COLUMNS, MISTAKES_NAMED = 12, 3
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """
    One label: precision, recall, F1 with its 95 % bootstrap interval, and how many rows carry it.

    `published` counts the rows that were given the label with at least its `threshold`; `published_precision` is the
    share of them that is right, None if there are none.
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

    `weighted_f1_interval` is a 95 % bootstrap interval over rows. `confusion[i][j]` counts rows of label i that were
    given label j. `precision_at_threshold` and `coverage` are of the rows whose confidence reaches the threshold of
    their predicted label. `precision_at_coverage` is the share right of the surest half of the rows, and so on, by
    coverage in percent; `risk_area` the mean, over all coverages, of the share wrong (AURC, as `curves.risk_coverage`
    has it). Both go by published confidences, and rows that tie are one group; where a share of the rows ends within
    one, a part of it counts as that part of its hits.
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
        """The record as a few lines of text."""
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
    The labels that rows of `label` were given in error, with how many, the most frequent first.

    Args:
        label: The rows' own label.
        labels: All labels.
        given: How many of the rows were given each label, in the order of `labels`.

    >>> mistakes("b", ["a", "b", "c", "d"], [1, 9, 4, 0])
    [(4, 'c'), (1, 'a')]
    """
    found = [(count, other) for other, count in zip(labels, given, strict=True) if count and other != label]
    return sorted(found, key=lambda each: (-each[0], each[1]))


def evaluate(
    predictions: Sequence[Prediction], tags: Sequence[str], *, labels: Sequence[str], thresholds: Mapping[str, float]
) -> RowsEvaluation:
    """
    Measure predictions against labels given by people.

    Args:
        predictions: One a row.
        tags: The right label of each row.
        labels: All labels, in the bundle's order.
        thresholds: By predicted label, the confidence from which a prediction is published without asking.

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
    The share right of the surest row, of the surest two, and so on to all; a row of a tie counts as the mean of the tie.

    >>> precision_by_rows(np.array([0.5, 0.9, 0.5]), np.array([False, True, True])).round(4).tolist()
    [1.0, 0.75, 0.6667]
    """
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    share = np.bincount(group, weights=right) / sizes
    precisions: Floats = np.cumsum(share[group][np.argsort(-confidence)]) / np.arange(1, len(confidence) + 1)
    return precisions


def bootstrap_interval(truth: Ints, found: Ints) -> tuple[float, float]:
    """The 95 % bootstrap interval of the weighted F1, from seeded redraws of rows."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    draws = generator.integers(0, len(truth), size=(BOOTSTRAP_DRAWS, len(truth)))
    low, high = np.percentile([_weighted_f1(truth[rows], found[rows]) for rows in draws], INTERVAL)
    return round(float(low), 6), round(float(high), 6)


def _weighted_f1(truth: Ints, found: Ints) -> float:
    # scikit-learn's own costs milliseconds a call, too much for a thousand redraws.
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
