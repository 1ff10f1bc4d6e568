"""Temperature scaling, which calibrates confidences (Guo et al. 2017), and the calibration error of confidences."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from tagstream.model_export.calibrate.errors import CalibrationError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TEMPERATURE_RANGE = (0.05, 20.0)
ECE_BINS = 15


def fit_temperature(logits: Floats, targets: Ints, weights: Floats | None = None, offsets: Floats | None = None) -> float:
    """
    Return the temperature with the least log loss of softmax(logits / temperature + offsets) (Guo et al. 2017), to four decimals.

    Args:
        logits: The logits, shape (rows, labels).
        targets: The index of each row's label, shape (rows,).
        weights: The weight of each row, shape (rows,); None: all equal.
        offsets: The offsets of a prior (`prior.Prior`), shape (labels,); None: all 0.

    Raises:
        CalibrationError: There are no rows.
    """
    if not len(targets):
        msg = "no calibration rows: a temperature cannot be fitted. Next: give data whose calibration part is not empty."
        raise CalibrationError(msg)
    low, high = np.log(TEMPERATURE_RANGE)
    found = minimize_scalar(
        lambda log: log_loss(logits, targets, float(np.exp(log)), weights, offsets), bounds=(low, high), method="bounded"
    )
    return round(float(np.exp(found.x)), 4)


def log_loss(
    logits: Floats, targets: Ints, temperature: float, weights: Floats | None = None, offsets: Floats | None = None
) -> float:
    """
    Return the mean negative log probability of the right label.

    Args:
        logits: The logits, shape (rows, labels).
        targets: The index of each row's label, shape (rows,).
        temperature: The divisor of the logits, above 0.
        weights: The weight of each row, shape (rows,); None: all equal.
        offsets: The offsets of a prior, shape (labels,), added to the scaled logits; None: all 0.
    """
    logged = log_softmax(logits / temperature + (0.0 if offsets is None else offsets), axis=1)
    return float(-np.average(logged[np.arange(len(targets)), targets], weights=weights))


def level_sources(sources: Sequence[str]) -> Floats:
    """
    Return row weights with which every source has the same total weight. The mean weight is 1.

    >>> level_sources(["a", "a", "a", "b"]).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    _, places, counts = np.unique(np.asarray(sources), return_inverse=True, return_counts=True)
    weights: Floats = len(sources) / (len(counts) * counts[places].astype(np.float64))
    return weights


def calibration_error(confidences: Sequence[float], correct: Sequence[bool], bins: int = ECE_BINS) -> float:
    """
    Return the expected calibration error: the mean difference between confidence and share right, over bins of equal width.

    Args:
        confidences: One confidence per row, 0 to 1.
        correct: True for each row whose predicted label is right.
        bins: The number of bins.

    >>> round(calibration_error([0.9, 0.9], [True, False]), 4)
    0.4
    """
    confidence, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = [abs(float((confidence[places == place] - right[places == place]).sum())) for place in np.unique(places)]
    return sum(gaps) / len(confidence)
