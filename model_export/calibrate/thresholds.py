"""The confidence below which a person is asked: one for all labels together, and one of each label's own.

Confidences depend on the temperature, whose fit weighs the sources of rows; here every row counts once.
"""

from collections.abc import Sequence

import numpy as np

from model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold, Threshold
from model_export.calibrate.certificate import BOUND_LEVEL, Bools, grid_counts, labels_needed, lower_bound, lowest_certified
from model_export.calibrate.errors import CalibrationError
from model_export.calibrate.temperature import Floats

# A label without a certificate goes by the threshold of all labels together, unless its own share right there is short
# of the target by more than this: the other labels' hits would hide its mistakes.
MOST_SHORT = 0.05


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

    A label that cannot be certified gets `pooled`, marked as not certified. If even its rows at `pooled` or more fall
    short of the target by more than `MOST_SHORT`, a person is asked about every event of the label.

    Args:
        said: The predicted label of each calibration row.
        confidences: Published, rounded confidences.
        correct: Whether each row's label was right.
        labels: All labels; each gets an equal part of the error level, 1 - `BOUND_LEVEL`.
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


def _uncertified(confidence: Floats, right: Bools, *, target: float, pooled: float) -> float:
    kept = confidence >= pooled
    # Rounded, so that 18 of 20 are not less than 0.95 less 0.05.
    hides = kept.any() and float(right[kept].mean()) < round(target - MOST_SHORT, 6)
    return ALWAYS_ASK if hides else pooled
