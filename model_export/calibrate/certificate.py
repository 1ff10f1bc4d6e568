"""Certify that predictions above a confidence are right often enough: learn, then test (Angelopoulos et al. 2021).

From the strictest confidence of a fixed grid downward, the hypothesis "the share right of the rows above is below the
target" is tested with an exact binomial p-value. The walk ends at the first confidence where the hypothesis cannot be
rejected; the confidence before it is certified. Fixed-sequence testing spends a label's error level once, however long
the walk is. The level is split evenly over the labels, so that all certificates hold together.

The walk begins where there are enough rows (`first_rows`): with fewer, no outcome could pass, or one mistake would end
it. The start depends on the number of rows alone, not on how many of them are right, so the tests stay valid. Two
assumptions remain: rows are independent and like the traffic, and once the share right has fallen below the target it
does not rise above it again further down.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr
from scipy.stats import beta

from tagstream.model_export.bundle.manifest import MOST_LABELS
from tagstream.model_export.calibrate.temperature import Floats, Ints

Bools = npt.NDArray[np.bool_]

BOUND_LEVEL = 0.95
# Coarse: every step is one more chance to end the walk by bad luck.
GRID = (0.999, 0.995, *(cent / 100 for cent in range(99, 29, -1)))
# A walk begins at a fifth of the label's rows, or at as many rows as prove the target with three mistakes, if those are
# fewer. Simulated on the confidences of the calibration rows, this start certified about as often as the best one at
# every target and number of rows.
START_SHARE, START_MISTAKES = 0.2, 3
# A certificate speaks of confidences that its rows had, so no threshold lies below this quantile of theirs. Where the rows are easy, every
# confidence would pass down to 0, and a text about none of the labels has one that no row had.
LEAST_SEEN = 0.01


def lowest_seen(confidence: Floats, count: Ints | None = None) -> float:
    """
    The lowest confidence at which a threshold may lie: 99 % of the rows have it at least; 0 without rows.

    Args:
        confidence: Of the rows, in any order.
        count: How many rows are like each; 1 by default.

    >>> lowest_seen(np.array([0.3, 0.9, 0.8])), lowest_seen(np.array([0.3, 0.9, 0.8]), np.array([1, 100, 100]))
    (0.3, 0.8)
    """
    if not len(confidence):
        return 0.0
    order = np.argsort(confidence)
    below = np.cumsum(np.ones(len(order)) if count is None else count[order])
    return float(confidence[order][np.searchsorted(below, LEAST_SEEN * below[-1])])


def down_to(lowest: float, grid: Sequence[float]) -> tuple[float, ...]:
    """
    A grid of confidences, the strictest first, that ends at `lowest` and not below. It looks at no label, so tests along it stay valid.

    >>> down_to(0.93, (0.99, 0.95, 0.9, 0.8)), down_to(0.1, (0.99, 0.9))
    ((0.99, 0.95, 0.93), (0.99, 0.9))
    """
    last = max(lowest, grid[-1])
    return (*(confidence for confidence in grid if confidence > last), last)


def grid_counts(confidence: Floats, right: Bools, grid: Sequence[float] = GRID) -> tuple[Ints, Ints]:
    """
    Count the rows at each confidence of a grid.

    Args:
        confidence: The confidence of each row, 0 to 1, shape (rows,).
        right: Whether each row's label is right, shape (rows,).
        grid: The confidences to count at, 0 to 1.

    Returns:
        The rows at or above each confidence, and those of them that are wrong; both of shape (len(grid),).
    """
    kept = confidence[None, :] >= np.asarray(grid)[:, None]
    return kept.sum(axis=1), (kept & ~right[None, :]).sum(axis=1)


def lowest_certified(
    rows: Ints, wrong: Ints, label_rows: int, *, target: float, risk: float, grid: Sequence[float] = GRID
) -> float | None:
    """
    The lowest confidence of a grid that fixed-sequence testing reaches; None where it ends at once.

    Args:
        rows: Rows at or above each confidence of the grid.
        wrong: How many of them are wrong.
        label_rows: Rows of the label at any confidence.
        target: The share right that is to be proved.
        risk: The probability with which a confidence may be returned whose share right is below the target.
        grid: The confidences, the strictest first.
    """
    found = None
    start = float(first_rows(np.asarray(label_rows), target=target, risk=risk))
    for confidence, count, mistakes in zip(grid, rows.tolist(), wrong.tolist(), strict=True):
        if count < start:
            continue
        if p_value(mistakes, count, target) > risk:
            break
        found = confidence
    return found


def p_value(wrong: int, rows: int, target: float) -> float:
    """
    How probable so few mistakes are where the share right is no more than the target: exact, binomial.

    Args:
        wrong: Rows that are wrong.
        rows: All rows.
        target: The share right that is doubted, 0 to 1.

    >>> round(p_value(0, 59, 0.95), 4)
    0.0485
    """
    return float(bdtr(wrong, rows, 1.0 - target))


def least_rows(target: float, risk: float, mistakes: int = 0) -> float:
    """
    How many rows with so many mistakes prove the target; infinity for a target of 1, which no number of rows proves.

    Args:
        target: The share right that is to be proved, 0 to 1.
        risk: The probability of a false proof, over 0 and under 1.
        mistakes: Rows that are wrong.

    >>> least_rows(0.95, 0.05), least_rows(0.98, 0.0125), least_rows(0.98, 0.0125, 3)
    (59, 217, 484)
    """
    if target >= 1.0:
        return math.inf
    enough = mistakes + 1
    while p_value(mistakes, enough, target) > risk:
        enough *= 2
    return bisect_left(range(enough), -risk, key=lambda rows: -p_value(mistakes, rows, target), lo=enough // 2)


def first_rows(label_rows: Ints, *, target: float, risk: float) -> Floats:
    """
    How many rows the first test of a walk needs, by how many rows the label has.

    Args:
        label_rows: Rows of each label, of any shape.
        target: The share right that is to be proved, 0 to 1.
        risk: The probability of a false proof, over 0 and under 1.

    Returns:
        Rows of the first test, in the shape of `label_rows`.
    """
    share = np.minimum(START_SHARE * label_rows, least_rows(target, risk, START_MISTAKES))
    first: Floats = np.maximum(share, least_rows(target, risk))
    return first


def labels_needed(rows: Ints, wrong: Ints, label_rows: int, *, target: float, risk: float) -> int | None:
    """
    The number of further rows of a label with which its walk passes the first test.

    The further rows are taken to be as sure and as often wrong as the present ones; a label without mistakes stays
    without. With more rows the walk begins at a stricter confidence, and it is that test which must pass.

    Args:
        rows: Rows at or above each confidence of the grid.
        wrong: How many of them are wrong.
        label_rows: Rows of the label at any confidence.
        target: The share right that is to be proved.
        risk: As in `lowest_certified`.

    Returns:
        The number, or None where no number up to `MOST_LABELS` does.
    """
    least = least_rows(target, risk)
    if not label_rows or math.isinf(least):
        return None if math.isinf(least) else int(least)
    totals = np.arange(label_rows + 1, label_rows + MOST_LABELS + 1)
    waiting, passing = np.ones(len(totals), dtype=np.bool_), np.zeros(len(totals), dtype=np.bool_)
    enough = first_rows(totals, target=target, risk=risk)
    for count, mistakes in zip(rows.tolist(), wrong.tolist(), strict=True):
        kept = count * totals // label_rows
        begins = waiting & (kept >= enough)
        passing[begins] = bdtr(-(-mistakes * totals[begins] // label_rows), kept[begins], 1.0 - target) <= risk
        waiting &= ~begins
    return int(totals[passing.argmax()]) - label_rows if passing.any() else None


def lower_bound(hits: int, rows: int, level: float = BOUND_LEVEL) -> float:
    """
    One-sided Clopper-Pearson lower bound of a share: exact for any number of rows.

    Args:
        hits: Rows that are right.
        rows: All rows.
        level: The probability with which the share is at least the bound, 0 to 1.

    >>> round(lower_bound(100, 100), 4)
    0.9705
    """
    return float(beta.ppf(1.0 - level, hits, rows - hits + 1)) if hits else 0.0
