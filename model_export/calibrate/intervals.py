"""Intervals of figures: Wilson intervals for shares, bootstrap intervals for F1 and for differences of F1 (Efron 1979).

F1 depends on the rows only by the counts of the confusion matrix. So resampling n rows with replacement equals n draws from the cells of
the matrix, and a thousand resamples of any number of rows take milliseconds. The draws are seeded, so the same counts give the same
interval.
"""

from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Interval = tuple[float, float]

LEVEL = 0.95
DRAWS = 2000
SEED = 7
DECIMALS = 6


def wilson(hits: float, rows: float, level: float = LEVEL) -> Interval:
    """
    Return the Wilson score interval of the share `hits / rows`. It is accurate for few rows, and for shares of 0 or 1.

    Args:
        hits: The number of rows that are right; a fraction where rows have weights.
        rows: The number of all rows, with weights their effective number. For 0 rows, the interval is (0, 1).
        level: The confidence level, 0 to 1.

    Raises:
        ValueError: `hits` is negative or larger than `rows`.

    >>> [round(bound, 3) for bound in wilson(9, 10)]
    [0.596, 0.982]
    """
    if not 0 <= hits <= rows:
        msg = f"{hits} hits of {rows} rows are no share: give 0 to {rows} hits"
        raise ValueError(msg)
    if not rows:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / rows
    middle = share + z * z / (2 * rows)
    reach = z * float(np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)))
    scale = 1 + z * z / rows
    # For 0 hits or all hits, the bound is exactly 0 or 1, but the arithmetic has a rounding error.
    low = 0.0 if hits == 0 else max(0.0, (middle - reach) / scale)
    high = 1.0 if hits == rows else min(1.0, (middle + reach) / scale)
    return round(low, DECIMALS), round(high, DECIMALS)


def confusion(truth: Ints, found: Ints, labels: int) -> Ints:
    """
    Return the confusion matrix, shape (labels, labels): the number of rows of label i with predicted label j.

    Args:
        truth: The index of each row's label, shape (rows,).
        found: The index of each row's predicted label, shape (rows,).
        labels: The number of labels.
    """
    counts = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(counts, (truth, found), 1)
    return counts


def class_f1(counts: Floats | Ints) -> Floats:
    """Return F1 of every label from confusion matrices [..., labels, labels]. F1 of a label without rows and predictions is 0."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    both = counts.sum(axis=-1) + counts.sum(axis=-2)
    found: Floats = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
    return found


def weighted_f1(counts: Floats | Ints) -> Floats:
    """Return the mean of `class_f1`. Each label is weighted by its number of rows."""
    members = counts.sum(axis=-1)
    found: Floats = (class_f1(counts) * members).sum(axis=-1) / members.sum(axis=-1)
    return found


def bootstrap(cells: Ints, figure: Callable[[Ints], Floats]) -> Interval:
    """
    Return the 95 % bootstrap percentile interval of a figure.

    Args:
        cells: The number of rows in each cell, of any shape; not all zero.
        figure: Maps resampled cells [draws, *shape] to one figure per draw.
    """
    low, high = np.percentile(figure(redrawn(cells)), _percentiles())
    return round(float(low), DECIMALS), round(float(high), DECIMALS)


def class_intervals(counts: Ints) -> tuple[Interval, ...]:
    """Return the bootstrap interval of every label's F1."""
    bounds = np.percentile(class_f1(redrawn(counts)), _percentiles(), axis=0)
    return tuple((round(float(low), DECIMALS), round(float(high), DECIMALS)) for low, high in bounds.T)


def redrawn(cells: Ints) -> Ints:
    """
    Return the cells of `DRAWS` resamples of all rows, shape [draws, *shape].

    Raises:
        ValueError: There are no rows.
    """
    rows = int(cells.sum())
    if not rows:
        msg = "an interval needs rows: every cell is empty"
        raise ValueError(msg)
    generator = np.random.default_rng(SEED)
    drawn: Ints = generator.multinomial(rows, cells.ravel() / rows, size=DRAWS).reshape(DRAWS, *cells.shape)
    return drawn


def holm(p_values: Sequence[float]) -> list[float]:
    """
    Return the p-values of several tests on the same rows after Holm's correction, in the given order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    floor = 0.0
    for asked, place in enumerate(order):
        floor = max(floor, min(1.0, p_values[place] * (len(p_values) - asked)))
        corrected[place] = round(floor, DECIMALS)
    return corrected


def _percentiles() -> tuple[float, float]:
    return 50 * (1 - LEVEL), 50 * (1 + LEVEL)
