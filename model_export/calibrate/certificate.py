"""Certify that the predictions at or above a confidence reach a target precision: Learn Then Test (Angelopoulos et al. 2021).

A walk tests the confidences of a fixed grid, from the strictest down. At each confidence, an exact binomial test examines the null
hypothesis "the share right of the rows at or above this confidence is below the target". The walk ends at the first confidence where the
hypothesis cannot be rejected. The previous confidence is certified. Fixed-sequence testing spends the error level of a label once, for a
walk of any length. The level is split evenly over the labels, so all certificates hold simultaneously.

The walk begins at the first confidence with enough rows (`first_rows`). With fewer rows, no outcome could pass, or one mistake would
end the walk. The start depends only on the number of rows and not on their correctness, so the tests stay valid. Two assumptions remain.
First, the rows are independent and have the distribution of the stream. Second, the share right does not rise above the target again
after it has fallen below the target further up the walk.
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
# The grid is coarse: every further step can end the walk by chance.
GRID = (0.999, 0.995, *(cent / 100 for cent in range(99, 29, -1)))
# A walk begins at a fifth of the label's rows, or at the number of rows that proves the target with three mistakes, whichever is less. In
# simulations with the confidences of the calibration rows, this start certified about as often as the best start, for every target and
# number of rows.
START_SHARE, START_MISTAKES = 0.2, 3
# No threshold is below this quantile of the rows' confidences, because a certificate is only about confidences that occurred in its rows.
# If the rows are easy, every confidence down to 0 would pass, and a text of none of the labels has a confidence below all rows'.
LEAST_SEEN = 0.01


def risk_of(look: int) -> float:
    """
    Return the part of the error level for certificates that are made again from growing rows.

    A bundle that grows is certified anew from the same answers and more. The parts of all looks, without an end, sum to 1 - `BOUND_LEVEL`:
    so all certificates of all looks hold together, however often one looks.

    Args:
        look: The number of the look, from 1.

    >>> [round(risk_of(look), 5) for look in (1, 2, 3)]
    [0.025, 0.00833, 0.00417]
    """
    return (1.0 - BOUND_LEVEL) / (look * (look + 1))


def lowest_seen(confidence: Floats, count: Ints | None = None) -> float:
    """
    Return the lowest confidence that a threshold may have: 99 % of the rows have at least this confidence. 0 without rows.

    Args:
        confidence: The confidences of the rows, in any order.
        count: The number of rows that each confidence stands for; None: 1 each.

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
    Return a grid of confidences, the strictest first, cut off at `lowest`. The cut does not use labels, so tests along the grid stay valid.

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
        right: True for each row whose predicted label is right, shape (rows,).
        grid: The confidences to count at, 0 to 1.

    Returns:
        The number of rows at or above each confidence, and the number of wrong rows among them. Both have the shape (len(grid),).
    """
    kept = confidence[None, :] >= np.asarray(grid)[:, None]
    return kept.sum(axis=1), (kept & ~right[None, :]).sum(axis=1)


def lowest_certified(
    rows: Ints, wrong: Ints, label_rows: int, *, target: float, risk: float, grid: Sequence[float] = GRID
) -> float | None:
    """
    Return the lowest confidence of a grid that fixed-sequence testing reaches. None if the first test does not pass.

    Args:
        rows: The number of rows at or above each confidence of the grid.
        wrong: The number of wrong rows among `rows`.
        label_rows: The number of rows of the label at any confidence.
        target: The share right to prove, 0 to 1.
        risk: The largest probability that the share right at the returned confidence is below the target.
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
    Return the probability of at most `wrong` mistakes if the share right is the target: the exact binomial p-value.

    Args:
        wrong: The number of wrong rows.
        rows: The number of all rows.
        target: The share right of the null hypothesis, 0 to 1.

    >>> round(p_value(0, 59, 0.95), 4)
    0.0485
    """
    return float(bdtr(wrong, rows, 1.0 - target))


def least_rows(target: float, risk: float, mistakes: int = 0) -> float:
    """
    Return the least number of rows that prove the target with `mistakes` wrong rows. Infinity for a target of 1, which cannot be proved.

    Args:
        target: The share right to prove, 0 to 1.
        risk: The probability of a false proof, above 0 and below 1.
        mistakes: The number of wrong rows.

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
    Return the number of rows that the first test of a walk needs.

    Args:
        label_rows: The number of rows of each label, of any shape.
        target: The share right to prove, 0 to 1.
        risk: The probability of a false proof, above 0 and below 1.

    Returns:
        The number of rows of the first test, in the shape of `label_rows`.
    """
    share = np.minimum(START_SHARE * label_rows, least_rows(target, risk, START_MISTAKES))
    first: Floats = np.maximum(share, least_rows(target, risk))
    return first


def labels_needed(rows: Ints, wrong: Ints, label_rows: int, *, target: float, risk: float) -> int | None:
    """
    Return the number of further rows that a label needs for its walk to pass the first test.

    The further rows are assumed to have the confidences and the error rate of the present rows. A label without mistakes is assumed to stay
    without mistakes. With more rows, the walk begins at a stricter confidence, so the test at this confidence must pass.

    Args:
        rows: The number of rows at or above each confidence of the grid.
        wrong: The number of wrong rows among `rows`.
        label_rows: The number of rows of the label at any confidence.
        target: The share right to prove, 0 to 1.
        risk: As in `lowest_certified`.

    Returns:
        The number of further rows; None if `MOST_LABELS` further rows are not enough.
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
    Return the one-sided Clopper-Pearson lower bound of a share, which is exact for any number of rows.

    Args:
        hits: The number of rows that are right.
        rows: The number of all rows.
        level: The confidence level of the bound, 0 to 1.

    >>> round(lower_bound(100, 100), 4)
    0.9705
    """
    return float(beta.ppf(1.0 - level, hits, rows - hits + 1)) if hits else 0.0
