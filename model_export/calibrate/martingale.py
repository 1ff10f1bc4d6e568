"""A bet against "too few are right", on answers that were asked for with known probabilities (Waudby-Smith and Ramdas 2024).

A gambler who doubts the hypothesis bets on every answer. The answer pays `weight * (right - target)`: the weight is one over
the probability with which the event was asked about, so that a sampled answer speaks for all events like it. If the share
right of all events is no more than the target, the bets are not to the gambler's advantage, and the wealth grows to
`1 / risk` with a probability of at most `risk`, on however many days one looks (Ville's inequality). So a calibration may be
repeated every day without spending the level again, and the probabilities may change from day to day, as they do when a
calibration moves the thresholds: a weight only has to be fixed before its answer is known.

The best size of a bet depends on the truth. The gambler starts with equal money on each size of `BETS`; the sum is a fair game too.

The sizes are fixed before the first answer, so the wealth does not depend on the order of the answers. It is a function of their counts, and
`log_wealth_of` computes it from these, for one stream or for many at once. `stream/rollout/proof.py` judges a challenger by it.
"""

import math
from dataclasses import dataclass

import numpy as np

# Of a module without scipy, which whoever judges a rollout may lack.
from tagstream.monitoring.quality.sample import Bools, Floats, Ints

# Shares of the largest bet after which one bad answer of the largest weight does not ruin the gambler.
BETS = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
# A bound of a share is found to this, and a multiple of the answers to a hundredth.
PRECISE = 1e-6
MOST_TIMES = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedAnswers:
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


def log_wealth(answers: WeightedAnswers, *, target: float, places: Ints | None = None) -> Floats:
    """
    The logarithm of the wealth of a gambler who doubts that the share right is no more than the target.

    Args:
        answers: The answers to bet on.
        target: The share right that is to be proved, over 0 and under 1.
        places: Give the wealth after so many answers, shape (places,); after all unless given, shape (1,).

    >>> all_right = WeightedAnswers(right=np.ones(1, dtype=np.bool_), weight=np.ones(1), count=np.array([200]), largest=1.0)
    >>> bool(np.exp(log_wealth(all_right, target=0.95)[0]) > 80)
    True
    """
    gain = _gain(answers.right.astype(np.float64), answers.weight, target=target, largest=answers.largest)
    grown = np.zeros((len(gain) + 1, len(BETS)))
    np.cumsum(gain * answers.count[:, None], axis=0, out=grown[1:])
    return _log_mean(grown[-1:] if places is None else grown[places])


def log_wealth_against(answers: WeightedAnswers, *, target: float) -> float:
    """As `log_wealth`, for a gambler who doubts that the share right is the target or more; after all answers."""
    return float(
        log_wealth_of(
            (~answers.right).astype(np.float64),
            answers.weight,
            answers.count,
            target=np.float64(1.0 - target),
            largest=answers.largest,
        )
    )


def log_wealth_of(hit: Floats, weight: Floats, count: Ints, *, target: Floats | np.float64, largest: float) -> Floats:
    """
    The logarithm of the wealth of a gambler who doubts that the weighted mean of `hit` is no more than the target.

    Args:
        hit: The value of each kind of answer, 0 to 1, shape (kinds,).
        weight: One over the probability of each kind, shape (kinds,).
        count: How many answers are of each kind, shape (..., kinds).
        target: The mean that is doubted, over 0 and under 1, shape (...).
        largest: As in `WeightedAnswers`.

    Returns:
        Shape (...).

    >>> bool(log_wealth_of(np.array([1.0, 0.5]), np.ones(2), np.array([20, 10]), target=np.float64(0.5), largest=1.0) > np.log(80))
    True
    """
    gain = _gain(hit, weight, target=np.asarray(target)[..., None], largest=largest)
    return _log_mean(np.einsum("...k,...kb->...b", count.astype(np.float64), gain))


def share_at_least(answers: WeightedAnswers, *, risk: float) -> float:
    """
    The lower bound of the share right: the largest target that the bets disprove, rounded down; 0 where there is none.

    Args:
        answers: The answers to bet on.
        risk: The probability with which the bound may be too high on any day.
    """
    found = means_at_least(answers.right.astype(np.float64), answers.weight, answers.count, largest=answers.largest, risk=risk)
    return math.floor(float(found) / PRECISE) * PRECISE


def means_at_least(hit: Floats, weight: Floats, count: Ints, *, largest: float, risk: float) -> Floats:
    """
    The lower bound of the weighted mean of `hit`, within `PRECISE` below the largest target that the bets disprove; 0 where there is none.

    Args:
        hit: As in `log_wealth_of`.
        weight: As there.
        count: As there, shape (..., kinds).
        largest: As there.
        risk: The probability with which the bound may be too high on any day.

    Returns:
        Shape (...).
    """
    low, high = np.zeros(count.shape[:-1]), np.ones(count.shape[:-1])
    # Halving an interval of 1: after these steps it is no longer than PRECISE.
    for _ in range(math.ceil(-math.log2(PRECISE))):
        middle = (low + high) / 2
        disproved = log_wealth_of(hit, weight, count, target=middle, largest=largest) >= -math.log(risk)
        low, high = np.where(disproved, middle, low), np.where(disproved, high, middle)
    return low


def times_needed(answers: WeightedAnswers, *, target: float, risk: float) -> float | None:
    """
    How many times as many answers like these prove the target; None where `MOST_TIMES` would not.

    Args:
        answers: The answers to bet on.
        target: The share right that is to be proved.
        risk: The probability of a false proof.
    """
    gain = _gain(answers.right.astype(np.float64), answers.weight, target=target, largest=answers.largest)
    gains = (gain * answers.count[:, None]).sum(axis=0)

    def proves(times: float) -> bool:
        return bool(_log_mean(times * gains) >= -math.log(risk))

    low, high = 0.0, 1.0
    while not proves(high):
        low, high = high, high * 2
        if high > MOST_TIMES:
            return None
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return round(high, 2)


def _gain(hit: Floats, weight: Floats, *, target: Floats | float, largest: float) -> Floats:
    """The gain of the logarithm of the wealth by each answer, for every size of bet: shape (..., answers, bets)."""
    pays: Floats = weight * (hit - target)
    against = np.asarray(target * largest)
    found: Floats = np.log1p(BETS * pays[..., None] / against[..., None])
    return found


def _log_mean(logged: Floats) -> Floats:
    """The logarithm of the mean wealth over the sizes of bets, the last axis."""
    # As logaddexp.reduce, in a tenth of the time. Many streams are next to each other in memory then, and not the few bets of one.
    by_bet = np.ascontiguousarray(np.moveaxis(logged, -1, 0))
    top = by_bet.max(axis=0)
    found: Floats = top + np.log(np.exp(by_bet - top).mean(axis=0))
    return found
