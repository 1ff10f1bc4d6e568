"""A bet against "too few are right", on answers that were asked for with known probabilities (Waudby-Smith and Ramdas 2024).

A gambler who doubts the hypothesis bets on every answer. The answer pays `weight * (right - target)`: the weight is one over
the probability with which the event was asked about, so that a sampled answer speaks for all events like it. If the share
right of all events is no more than the target, the bets are not to the gambler's advantage, and the wealth grows to
`1 / risk` with a probability of at most `risk`, on however many days one looks (Ville's inequality). So a calibration may be
repeated every day without spending the level again, and the probabilities may change from day to day, as they do when a
calibration moves the thresholds: a weight only has to be fixed before its answer is known.

The best size of a bet depends on the truth. The gambler starts with equal money on each size of `BETS`; the sum is a fair game too.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_export.calibrate.certificate import Bools
from model_export.calibrate.temperature import Floats, Ints

# Shares of the largest bet after which one bad answer of the largest weight does not ruin the gambler.
BETS = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
# A bound of a share is found to this, and a multiple of the answers to a hundredth.
PRECISE = 1e-6
MOST_TIMES = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """
    Answers about one kind of decision; the arrays have one length.

    Attributes:
        right: The answer agrees with the model.
        weight: One over the probability with which the event was asked about, 1 or more.
        count: How many answers are like this one.
        largest: The largest weight that an answer of this stream can have: the bets keep clear of ruin by it, so it is of the
            design and no matter of chance.
    """

    right: Bools
    weight: Floats
    count: Ints
    largest: float


def log_wealth(answers: Answers, *, target: float, places: Ints | None = None) -> Floats:
    """
    The logarithm of the wealth of a gambler who doubts that the share right is no more than the target.

    Args:
        answers: What is bet on.
        target: The share right that is to be proved, over 0 and under 1.
        places: Give the wealth after so many answers, shape (places,); after all unless given, shape (1,).

    >>> all_right = Answers(right=np.ones(1, dtype=np.bool_), weight=np.ones(1), count=np.array([200]), largest=1.0)
    >>> bool(np.exp(log_wealth(all_right, target=0.95)[0]) > 80)
    True
    """
    return _wealth(_gain(answers, answers.right, target=target), answers.count, places)


def log_wealth_against(answers: Answers, *, target: float) -> float:
    """As `log_wealth`, for a gambler who doubts that the share right is the target or more; after all answers."""
    return float(_wealth(_gain(answers, ~answers.right, target=1.0 - target), answers.count, None)[0])


def share_at_least(answers: Answers, *, risk: float) -> float:
    """
    The lower bound of the share right: the largest target that the bets disprove, rounded down; 0 where there is none.

    Args:
        answers: What is bet on.
        risk: The probability with which the bound may be too high on any day.
    """
    low, high = 0.0, 1.0
    while high - low > PRECISE:
        middle = (low + high) / 2
        if log_wealth(answers, target=middle)[0] >= -math.log(risk):
            low = middle
        else:
            high = middle
    return math.floor(low / PRECISE) * PRECISE


def times_needed(answers: Answers, *, target: float, risk: float) -> float | None:
    """
    How many times as many answers like these prove the target; None where `MOST_TIMES` would not.

    Args:
        answers: What is bet on.
        target: The share right that is to be proved.
        risk: The probability of a false proof.
    """
    gains = (_gain(answers, answers.right, target=target) * answers.count[:, None]).sum(axis=0)

    def proves(times: float) -> bool:
        return bool(_together(times * gains) >= -math.log(risk))

    low, high = 0.0, 1.0
    while not proves(high):
        low, high = high, high * 2
        if high > MOST_TIMES:
            return None
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return round(high, 2)


def _gain(answers: Answers, hit: Bools, *, target: float) -> Floats:
    """What one answer does to the logarithm of the wealth, for every size of bet: shape (answers, bets)."""
    pays: Floats = answers.weight * (hit.astype(np.float64) - target)
    return np.log1p(BETS[None, :] * pays[:, None] / (target * answers.largest))


def _wealth(gain: Floats, count: Ints, places: Ints | None) -> Floats:
    grown: npt.NDArray[np.float64] = np.zeros((len(gain) + 1, len(BETS)))
    np.cumsum(gain * count[:, None], axis=0, out=grown[1:])
    at = grown[-1:] if places is None else grown[places]
    return _together(at)


def _together(logged: Floats) -> Floats:
    """The logarithm of the mean wealth over the sizes of bets, the last axis."""
    found: Floats = np.logaddexp.reduce(logged, axis=-1) - math.log(len(BETS))
    return found
