"""Reliability (share right by confidence) and risk by coverage (share wrong if only the surest rows are answered)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tagstream.model_export.calibrate.intervals import DECIMALS, Floats, Interval, Ints, wilson

BINS = 10
# Points of a curve: the eye cannot tell more than one at every hundredth of coverage apart.
POINTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """
    Rows whose confidence is in [`low`, `high`), the last bin's in [`low`, 1]: their mean confidence and the share
    right.
    """

    low: float
    high: float
    rows: int
    confidence: float
    right: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The rows at or above `confidence` are answered: their share `coverage`, and the share `risk` of them that is wrong."""

    confidence: float
    coverage: float
    risk: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """
    Risk by coverage, from the surest rows to all rows.

    `area` is the mean risk over all coverages (Geifman and El-Yaniv's AURC): small where a model is right and knows
    when it is not.
    """

    points: tuple[Point, ...]
    area: float


def reliability(confidences: Sequence[float], correct: Sequence[bool], bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """
    Confidence against the share right, in bins of equal width; bins without rows are left out.

    Args:
        confidences: One a row, 0 to 1.
        correct: Whether each row's label is right.
        bins: The number of bins.

    >>> [(found.rows, found.right) for found in reliability([0.91, 0.99, 1.0, 0.35], [True, False, True, False])]
    [(1, 0.0), (3, 0.666667)]
    """
    confidence, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    # A published confidence has four decimals; the sum keeps 0.3 in the bin that begins there.
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
    Risk at every coverage that a threshold can give; rows of equal confidence are answered together or not at all.

    Args:
        confidences: One a row.
        correct: Whether each row's label was right.
        points: How many points to keep at most; `area` is of all of them.

    Raises:
        ValueError: There are no rows, or not one answer a row.

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
    # The first threshold that reaches each hundredth of coverage.
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
