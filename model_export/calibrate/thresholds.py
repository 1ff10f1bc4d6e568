"""Thresholds (the confidence below which a person is asked): one for all labels together, and one for each label.

The fit of the temperature weighs rows by source. The thresholds weigh rows by the expected share of their label; a row has weight 1 if
the rows have the expected shares.
"""

import math
from collections.abc import Sequence

import numpy as np

from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold, Threshold
from tagstream.model_export.calibrate import martingale
from tagstream.model_export.calibrate.certificate import (
    BOUND_LEVEL,
    GRID,
    down_to,
    first_rows,
    grid_counts,
    labels_needed,
    lowest_certified,
    lowest_seen,
)
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.joint import DecidedRows, proofs
from tagstream.model_export.calibrate.temperature import Floats

# A label without a certificate has the threshold of all labels together. But if its own share right at this threshold is below the target
# by more than this, a person is always asked: otherwise the other labels would hide its mistakes.
MOST_SHORT = 0.05


def choose_threshold(
    confidences: Sequence[float], correct: Sequence[bool], *, target_precision: float, weights: Floats | None = None
) -> Threshold:
    """
    Return the lowest row confidence from which on the share right reaches the target, with its evidence.

    Args:
        confidences: The published, rounded confidences of the calibration rows.
        correct: True for each row whose predicted label is right.
        target_precision: The requested share right, 0 to 1.
        weights: The weight of each row; None: all equal.

    Raises:
        CalibrationError: No confidence reaches the target.
    """
    decided = _decided(None, confidences, correct, weights)
    total = float(decided.weight.sum())
    every = np.unique(decided.confidence)
    for candidate in every[every >= lowest_seen(decided.confidence)]:
        kept = decided.take(decided.confidence >= candidate)
        mass, hits = float(kept.weight.sum()), float(kept.weight[kept.right].sum())
        if hits >= target_precision * mass:
            return Threshold(
                confidence=float(candidate),
                target_precision=target_precision,
                precision=round(hits / mass, 6),
                precision_lower_bound=round(kept.bound(1.0 - BOUND_LEVEL), 6),
                bound_level=BOUND_LEVEL,
                coverage=round(mass / total, 6),
                rows=len(decided.confidence),
            )
    msg = (
        f"no confidence reaches precision {target_precision} on {len(decided.confidence)} calibration rows: the most confident "
        f"of them are wrong too often. Next: give more or cleaner labels, or ask for less (--precision)."
    )
    raise CalibrationError(msg)


def choose_thresholds(  # noqa: PLR0913 - evidence, rules and level, each by its name
    said: Sequence[str],
    confidences: Sequence[float],
    correct: Sequence[bool],
    *,
    labels: Sequence[str],
    target_precision: float,
    pooled: float,
    weights: Floats | None = None,
    risk: float = 1.0 - BOUND_LEVEL,
) -> dict[str, LabelThreshold]:
    """
    Return the threshold of every predicted label, certified if the rows suffice.

    A label that cannot be certified has the threshold `pooled`, marked as not certified. But if the share right of its rows at or above
    `pooled` is below the target by more than `MOST_SHORT`, a person is asked about every event of the label.

    Args:
        said: The predicted label of each calibration row.
        confidences: The published, rounded confidences.
        correct: True for each row whose predicted label is right.
        labels: All labels. Each label gets an equal part of the error level.
        target_precision: The requested share right, 0 to 1.
        pooled: The threshold that reaches the target for all labels together.
        weights: The weight of each row; None: all equal. Weighted rows have a test by bets (`martingale`), other rows an exact test.
        risk: The error level of all labels together.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    decided = _decided([numbers[label] for label in said], confidences, correct, weights)
    return {
        label: _label_threshold(
            decided.take(decided.said == number), target=target_precision, risk=risk / len(labels), pooled=pooled
        )
        for label, number in numbers.items()
    }


def label_threshold(own: DecidedRows, confidence: float, *, target: float, risk: float, certified: bool) -> LabelThreshold:
    """
    Return the record of a label's threshold with its evidence.

    Args:
        own: The calibration rows with this predicted label.
        confidence: The threshold.
        target: The requested share right, 0 to 1.
        risk: The probability that the bound is too high.
        certified: True if the rows prove the target at the threshold.
    """
    kept = own.take(own.confidence >= confidence)
    seen = kept.precision()
    bound = kept.bound(risk)
    needed = None if certified else _needed(own, kept, target=target, risk=risk)
    return LabelThreshold(
        confidence=confidence,
        target_precision=target,
        precision=None if seen is None else round(seen, 6),
        # The search for a bound by bets is rounded down, so it may end just below a target that is proved.
        precision_lower_bound=round(max(bound, target) if certified else bound, 6),
        bound_level=round(1.0 - risk, 6),
        rows=len(kept.right),
        label_rows=len(own.right),
        certified=certified,
        labels_needed=needed,
    )


def _label_threshold(own: DecidedRows, *, target: float, risk: float, pooled: float) -> LabelThreshold:
    found = _lowest(own, target=target, risk=risk)
    chosen = found if found is not None else _uncertified(own, target=target, pooled=pooled)
    return label_threshold(own, chosen, target=target, risk=risk, certified=found is not None)


def _needed(own: DecidedRows, kept: DecidedRows, *, target: float, risk: float) -> int | None:
    """Return the number of further rows that would certify the label, if they are like the present rows. None if out of reach."""
    if own.weighted and len(kept.right):
        times = martingale.times_needed(kept.answers(), target=target, risk=risk)
        return None if times is None else max(1, math.ceil((times - 1.0) * len(own.right)))
    rows, wrong = grid_counts(own.confidence, own.right, down_to(lowest_seen(own.confidence), GRID))
    return labels_needed(rows, wrong, len(own.right), target=target, risk=risk)


def _lowest(own: DecidedRows, *, target: float, risk: float) -> float | None:
    """Return the lowest confidence that the label's walk reaches, at least `lowest_seen` of its rows. None if the first test fails."""
    grid = down_to(lowest_seen(own.confidence), GRID)
    rows, wrong = grid_counts(own.confidence, own.right, grid)
    if not own.weighted:
        return lowest_certified(rows, wrong, len(own.right), target=target, risk=risk, grid=grid)
    proof = proofs(own.take(np.argsort(-own.confidence, kind="stable")), rows, target=target)
    start = int((rows >= float(first_rows(np.asarray(len(own.right)), target=target, risk=risk))).argmax())
    steps = int(np.append(proof[start:] >= -math.log(risk), False).argmin())
    return grid[start + steps - 1] if steps else None


def _uncertified(own: DecidedRows, *, target: float, pooled: float) -> float:
    seen = own.take(own.confidence >= pooled).precision()
    # Round, so that 18 of 20 is not below 0.95 - 0.05.
    hides = seen is not None and seen < round(target - MOST_SHORT, 6)
    return ALWAYS_ASK if hides else pooled


def _decided(
    said: Sequence[int] | None, confidences: Sequence[float], correct: Sequence[bool], weights: Floats | None
) -> DecidedRows:
    rows = len(confidences)
    return DecidedRows(
        said=np.asarray(said if said is not None else np.zeros(rows), dtype=np.int64),
        confidence=np.asarray(confidences, dtype=np.float64),
        right=np.asarray(correct, dtype=np.bool_),
        weight=weights if weights is not None else np.ones(rows),
    )
