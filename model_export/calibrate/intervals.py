"""Intervals of figures: Wilson's for a share, bootstrap intervals for F1 and for differences of F1 (Efron 1979).

A row drawn again with replacement only moves the counts of the confusion matrix, so redrawing n rows is the same as
drawing n times from its cells. A thousand redraws of any number of rows take milliseconds. Draws are seeded: the same
counts give the same interval.
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


def wilson(hits: int, rows: int, level: float = LEVEL) -> Interval:
    """
    Wilson's score interval of the share `hits / rows`; it is fair for few rows, and where all or none are right.

    Args:
        hits: Rows that are right.
        rows: All rows; for no rows the interval is (0, 1).
        level: The share of such intervals that hold the truth.

    Raises:
        ValueError: There are more hits than rows, or fewer than none.

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
    # At the ends the bound is exact, and only the arithmetic is a hair off.
    low = 0.0 if hits == 0 else max(0.0, (middle - reach) / scale)
    high = 1.0 if hits == rows else min(1.0, (middle + reach) / scale)
    return round(low, DECIMALS), round(high, DECIMALS)


def confusion(truth: Ints, found: Ints, labels: int) -> Ints:
    """
    Rows of label i that were given label j, [labels, labels].

    Args:
        truth: The index of each row's label, shape (rows,).
        found: The index of the label that each row was given, shape (rows,).
        labels: The number of labels.
    """
    counts = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(counts, (truth, found), 1)
    return counts


def class_f1(counts: Floats | Ints) -> Floats:
    """F1 of every label from confusion matrices [..., labels, labels]; 0 for a label without rows and without predictions."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    both = counts.sum(axis=-1) + counts.sum(axis=-2)
    found: Floats = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
    return found


def weighted_f1(counts: Floats | Ints) -> Floats:
    """The mean of `class_f1`, every label by the rows that carry it."""
    members = counts.sum(axis=-1)
    found: Floats = (class_f1(counts) * members).sum(axis=-1) / members.sum(axis=-1)
    return found


def bootstrap(cells: Ints, figure: Callable[[Ints], Floats]) -> Interval:
    """
    The 95 % percentile interval of a figure over redrawn rows.

    Args:
        cells: How many rows fell into each cell, of any shape; not all zero.
        figure: Maps redrawn cells [draws, *shape] to a figure a draw.
    """
    low, high = np.percentile(figure(redrawn(cells)), _percentiles())
    return round(float(low), DECIMALS), round(float(high), DECIMALS)


def class_intervals(counts: Ints) -> tuple[Interval, ...]:
    """The bootstrap interval of every label's F1."""
    bounds = np.percentile(class_f1(redrawn(counts)), _percentiles(), axis=0)
    return tuple((round(float(low), DECIMALS), round(float(high), DECIMALS)) for low, high in bounds.T)


def redrawn(cells: Ints) -> Ints:
    """
    The cells of `DRAWS` redraws of all rows, [draws, *shape].

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
    Holm's correction: the p-values of several tests on the same rows, corrected for their number, in the order given.

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
