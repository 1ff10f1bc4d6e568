"""Reliability (the share right by confidence) and risk by coverage (the share wrong among the most confident rows)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tagstream.model_export.calibrate.intervals import DECIMALS, Floats, Interval, Ints, wilson

BINS = 10
# The points of a curve, one per hundredth of coverage. In a plot, more points are not distinguishable.
POINTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """
    The rows with a confidence in [`low`, `high`); in the last bin, in [`low`, 1].

    Attributes:
        low: The lower end of the bin.
        high: The upper end of the bin.
        rows: The number of rows.
        confidence: The mean confidence, 0 to 1.
        right: The share right, 0 to 1.
        interval: Wilson's 95 % interval of the share right.
    """

    low: float
    high: float
    rows: int
    confidence: float
    right: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """
    A point of a risk-coverage curve. The model decides the rows at or above `confidence`.

    Attributes:
        confidence: The threshold, 0 to 1.
        coverage: The share of the rows that the model decides, 0 to 1.
        risk: The share of wrong rows among the decided rows, 0 to 1.
        interval: Wilson's 95 % interval of the risk.
    """

    confidence: float
    coverage: float
    risk: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """
    A risk-coverage curve, from the most confident rows to all rows.

    `area` is the mean risk over all coverages (AURC of Geifman and El-Yaniv). The area is small if a model is mostly right and its mistakes
    have low confidence.
    """

    points: tuple[Point, ...]
    area: float


def reliability(confidences: Sequence[float], correct: Sequence[bool], bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """
    Return the mean confidence and the share right in bins of equal width. Bins without rows are left out.

    Args:
        confidences: One confidence per row, 0 to 1.
        correct: True for each row whose predicted label is right.
        bins: The number of bins.

    >>> [(found.rows, found.right) for found in reliability([0.91, 0.99, 1.0, 0.35], [True, False, True, False])]
    [(1, 0.0), (3, 0.666667)]
    """
    confidence, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    # The small constant keeps a confidence of 0.3 in the bin that begins at 0.3. Published confidences have only four decimals.
    places = np.minimum((confidence * bins + 1e-9).astype(np.int64), bins - 1)
    found = []
    for place in np.unique(places):
        inside = places == place
        rows, hits = int(inside.sum()), int(right[inside].sum())
        found.append(
            ReliabilityBin(
                low=round(int(place) / bins, DECIMALS),
                high=round((int(place) + 1) / bins, DECIMALS),
                rows=rows,
                confidence=round(float(confidence[inside].mean()), DECIMALS),
                right=round(hits / rows, DECIMALS),
                interval=wilson(hits, rows),
            )
        )
    return tuple(found)


def risk_coverage(confidences: Sequence[float], correct: Sequence[bool], points: int = POINTS) -> RiskCoverage:
    """
    Return the risk at every coverage that a threshold can have. Rows of equal confidence are decided together.

    Args:
        confidences: One confidence per row, 0 to 1.
        correct: True for each row whose predicted label is right.
        points: The most points to return. `area` is computed from all coverages.

    Raises:
        ValueError: There are no rows, or the numbers of confidences and rows differ.

    >>> curve = risk_coverage([0.9, 0.8, 0.7, 0.7], [True, False, True, True])
    >>> [(point.coverage, point.risk) for point in curve.points]
    [(0.25, 0.0), (0.5, 0.5), (1.0, 0.25)]
    >>> curve.area
    0.25
    """
    if not len(confidences) or len(confidences) != len(correct):
        msg = f"{len(confidences)} confidences of {len(correct)} rows make no curve: give one a row"
        raise ValueError(msg)
    confidence, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    order = np.argsort(-confidence, kind="stable")
    confidence, wrong = confidence[order], np.cumsum((~right[order]).astype(np.int64))
    rows = len(confidence)
    last = np.append(np.flatnonzero(np.diff(confidence)), rows - 1)
    kept = last + 1
    shares = np.diff(np.concatenate(([0], kept))) / rows
    area = float((shares * wrong[last] / kept).sum())
    # Keep the first threshold that reaches each hundredth of coverage.
    shown = np.unique(np.searchsorted(kept, np.linspace(1, rows, points)))
    return RiskCoverage(
        points=tuple(_point(confidence, wrong, int(last[place])) for place in shown), area=round(area, DECIMALS)
    )


def _point(confidence: Floats, wrong: Ints, last: int) -> Point:
    errors, kept = int(wrong[last]), last + 1
    return Point(
        confidence=round(float(confidence[last]), DECIMALS),
        coverage=round(kept / len(confidence), DECIMALS),
        risk=round(errors / kept, DECIMALS),
        interval=wilson(errors, kept),
    )
