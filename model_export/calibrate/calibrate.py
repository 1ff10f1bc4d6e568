"""What a confidence means: the temperature that makes it a probability, and the thresholds below which a person is asked.

A label's threshold is certified by learning, then testing (Angelopoulos et al. 2021): from the strictest confidence of a fixed grid
downward, "the share right of what is surer than this is below the target" is tested with an exact binomial p-value, and the
walk ends at the first confidence at which it cannot be refuted. Fixed-sequence testing spends a label's level once, however long the
walk. The level is split evenly over the labels, so that all certificates hold together. A label without a certificate goes by the
threshold of all labels together, which more rows stand behind than behind any of its own.

The walk begins where there are rows enough (`first_rows`): before that no outcome could pass, or one mistake would end it, and how
many rows there are says nothing of how many are right. What this rests on: rows independent and like the traffic, and less sure
rows no more often right than the target once surer ones are less often right than it. Weights of sources are for the
temperature alone: the tests count the rows as they are.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import bdtr, log_softmax
from scipy.stats import beta

from model_export.bundle.bundle import ALWAYS_ASK, MOST_LABELS, LabelThreshold, Threshold

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TEMPERATURE_RANGE = (0.05, 20.0)
BOUND_LEVEL = 0.95
ECE_BINS = 15
# Coarse: every step is one more chance to end the walk by bad luck.
GRID = (0.999, 0.995, *(cent / 100 for cent in range(99, 29, -1)))
# Where a walk begins: a fifth of the label's rows, or so many as three mistakes need. Of the starts tried, on labels drawn from the
# calibration rows' confidences alone, it certified about as often as the best at every target and number of rows.
START_SHARE, START_MISTAKES = 0.2, 3
# How far short of the target a label may be seen to fall above the threshold of all labels together. Further, it would hide among them: the
# others' hits would publish its mistakes.
MOST_SHORT = 0.05


class CalibrationError(Exception):
    """The calibration rows do not support what was asked of them."""

    exit_code = 1


def fit_temperature(logits: Floats, targets: Ints, weights: Floats | None = None) -> float:
    """
    The temperature whose softmax(logits / temperature) has the smallest log loss (Guo et al. 2017), to four decimals.

    Args:
        logits: Shape (rows, labels).
        targets: The index of each row's label, shape (rows,).
        weights: What each row counts, shape (rows,); all alike by default.

    Raises:
        CalibrationError: There are no rows.
    """
    if not len(targets):
        msg = "no calibration rows: a temperature cannot be fitted. Next: give data whose calibration part is not empty."
        raise CalibrationError(msg)
    low, high = np.log(TEMPERATURE_RANGE)
    found = minimize_scalar(
        lambda log: log_loss(logits, targets, float(np.exp(log)), weights), bounds=(low, high), method="bounded"
    )
    return round(float(np.exp(found.x)), 4)


def log_loss(logits: Floats, targets: Ints, temperature: float, weights: Floats | None = None) -> float:
    """Mean negative log probability of the right label."""
    logged = log_softmax(logits / temperature, axis=1)
    return float(-np.average(logged[np.arange(len(targets)), targets], weights=weights))


def level_sources(sources: Sequence[str]) -> Floats:
    """
    Weights by which every source counts the same, however many rows it has; their mean is 1.

    >>> level_sources(["a", "a", "a", "b"]).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    _, places, counts = np.unique(np.asarray(sources), return_inverse=True, return_counts=True)
    weights: Floats = len(sources) / (len(counts) * counts[places].astype(np.float64))
    return weights


def calibration_error(confidences: Sequence[float], correct: Sequence[bool], bins: int = ECE_BINS) -> float:
    """
    Expected calibration error over bins of equal width: the mean gap between confidence and share right.

    >>> round(calibration_error([0.9, 0.9], [True, False]), 4)
    0.4
    """
    confidence, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = [abs(float((confidence[places == place] - right[places == place]).sum())) for place in np.unique(places)]
    return sum(gaps) / len(confidence)


def choose_threshold(confidences: Sequence[float], correct: Sequence[bool], *, target_precision: float) -> Threshold:
    """
    The smallest confidence at and above which the share right reaches the target, with its evidence.

    Args:
        confidences: Published, rounded confidences of the calibration rows.
        correct: Whether each row's label was right.
        target_precision: The share right that is asked for, 0 to 1.

    Raises:
        CalibrationError: No confidence reaches the target.
    """
    confidence, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    for candidate in np.unique(confidence):
        kept = confidence >= candidate
        rows, hits = int(kept.sum()), int(right[kept].sum())
        if hits >= target_precision * rows:
            return Threshold(
                confidence=float(candidate),
                target_precision=target_precision,
                precision=round(hits / rows, 6),
                precision_lower_bound=round(lower_bound(hits, rows), 6),
                bound_level=BOUND_LEVEL,
                coverage=round(rows / len(confidence), 6),
                rows=len(confidence),
            )
    msg = (
        f"no confidence reaches precision {target_precision} on {len(confidence)} calibration rows: the most confident "
        f"of them are wrong too often. Next: give more or cleaner labels, or ask for less (--target-precision)."
    )
    raise CalibrationError(msg)


def choose_thresholds(
    said: Sequence[str],
    confidences: Sequence[float],
    correct: Sequence[bool],
    *,
    labels: Sequence[str],
    target_precision: float,
    pooled: float,
) -> dict[str, LabelThreshold]:
    """
    The threshold of every predicted label, certified where the rows allow it.

    Where they do not, the threshold is `pooled`, and says that it is not certified. Only where the label's rows at `pooled` or more are right
    less often than the target less `MOST_SHORT`, a person is asked about all of it.

    Args:
        said: The predicted label of each calibration row.
        confidences: Published, rounded confidences.
        correct: Whether each row's label was right.
        labels: All labels; each gets an equal part of what `BOUND_LEVEL` leaves.
        target_precision: The share right that is asked for, 0 to 1.
        pooled: The confidence that keeps the target on all labels together.
    """
    given, confidence, right = np.asarray(said), np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    risk = (1.0 - BOUND_LEVEL) / len(labels)
    return {
        label: _label_threshold(
            confidence[given == label], right[given == label], target=target_precision, risk=risk, pooled=pooled
        )
        for label in labels
    }


def _label_threshold(confidence: Floats, right: Bools, *, target: float, risk: float, pooled: float) -> LabelThreshold:
    rows, wrong = grid_counts(confidence, right)
    certified = lowest_certified(rows, wrong, len(confidence), target=target, risk=risk)
    chosen = certified if certified is not None else _uncertified(confidence, right, target=target, pooled=pooled)
    kept = confidence >= chosen
    count, hits = int(kept.sum()), int(right[kept].sum())
    return LabelThreshold(
        confidence=chosen,
        target_precision=target,
        precision=round(hits / count, 6) if count else None,
        precision_lower_bound=round(lower_bound(hits, count, 1.0 - risk), 6),
        bound_level=round(1.0 - risk, 6),
        rows=count,
        label_rows=len(confidence),
        certified=certified is not None,
        labels_needed=None if certified is not None else labels_needed(rows, wrong, len(confidence), target=target, risk=risk),
    )


def grid_counts(confidence: Floats, right: Bools) -> tuple[Ints, Ints]:
    """How many rows are at or above each confidence of `GRID`, and how many of them are wrong."""
    kept = confidence[None, :] >= np.asarray(GRID)[:, None]
    return kept.sum(axis=1), (kept & ~right[None, :]).sum(axis=1)


def lowest_certified(rows: Ints, wrong: Ints, label_rows: int, *, target: float, risk: float) -> float | None:
    """
    The lowest confidence of `GRID` that fixed-sequence testing reaches; None where it ends at once.

    Args:
        rows: Rows at or above each confidence of the grid.
        wrong: How many of them are wrong.
        label_rows: Rows of the label at any confidence.
        target: The share right that is to be proved.
        risk: The probability with which a confidence may be returned whose share right is below the target.
    """
    found = None
    start = float(first_rows(np.asarray(label_rows), target=target, risk=risk))
    for confidence, count, mistakes in zip(GRID, rows.tolist(), wrong.tolist(), strict=True):
        if count < start:
            continue
        if p_value(mistakes, count, target) > risk:
            break
        found = confidence
    return found


def p_value(wrong: int, rows: int, target: float) -> float:
    """
    How probable so few mistakes are where the share right is no more than the target: exact, binomial.

    >>> round(p_value(0, 59, 0.95), 4)
    0.0485
    """
    return float(bdtr(wrong, rows, 1.0 - target))


def least_rows(target: float, risk: float, mistakes: int = 0) -> float:
    """
    How many rows with so many mistakes prove the target; infinity for a target of 1, which nothing proves.

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
    """How many rows the first test of a walk needs, by how many rows the label has."""
    share = np.minimum(START_SHARE * label_rows, least_rows(target, risk, START_MISTAKES))
    first: Floats = np.maximum(share, least_rows(target, risk))
    return first


def labels_needed(rows: Ints, wrong: Ints, label_rows: int, *, target: float, risk: float) -> int | None:
    """
    How many more rows of a label certify something, if they are as sure and as often wrong as those that there are.

    A record without a mistake goes on without one. With more rows the walk begins at a stricter confidence; it must pass there.

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


def _uncertified(confidence: Floats, right: Bools, *, target: float, pooled: float) -> float:
    kept = confidence >= pooled
    # Rounded, so that 18 of 20 are not less than 0.95 less 0.05.
    hides = kept.any() and float(right[kept].mean()) < round(target - MOST_SHORT, 6)
    return ALWAYS_ASK if hides else pooled


def lower_bound(hits: int, rows: int, level: float = BOUND_LEVEL) -> float:
    """
    One-sided Clopper-Pearson lower bound of a share: exact, whatever the number of rows.

    >>> round(lower_bound(100, 100), 4)
    0.9705
    """
    return float(beta.ppf(1.0 - level, hits, rows - hits + 1)) if hits else 0.0
