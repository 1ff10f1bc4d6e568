"""A test by betting on the share right, from answers that were sampled with known probabilities (Waudby-Smith and Ramdas 2024).

The null hypothesis is that the share right of all events is at most the target. A gambler bets on every answer against the hypothesis.
An answer pays `weight * (right - target)`. The weight is the inverse of the sampling probability, so a sampled answer represents all
events like it. If the hypothesis is true, the bets are not to the gambler's advantage. Then the probability that the wealth ever reaches
`1 / risk` is at most `risk`, for any number of looks (Ville's inequality). So a calibration may be repeated every day without spending
the level again. The sampling probabilities may change from day to day, for example when a calibration moves the thresholds. A weight only
has to be fixed before its answer is known.

The best size of a bet depends on the true share. So the gambler starts with equal wealth on each size of `BETS`. The mean over the sizes
is a fair game too.

The sizes are fixed before the first answer, so the wealth does not depend on the order of the answers. The wealth is a function of their
counts. `log_wealth_of` computes the wealth from the counts, for one stream or for many streams at once. `stream/rollout/proof.py` uses it
to judge a challenger, and `stream/second/warranty.py` to certify a second opinion.
"""

import math
from dataclasses import dataclass

import numpy as np

# These types come from a module without scipy, because a process that judges a rollout may not have scipy.
from tagstream.monitoring.quality.sample import Bools, Floats, Ints

# The sizes of bets, as shares of the bet with which one wrong answer of the largest weight would take all wealth.
BETS = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
# The absolute precision of a bound. (`times_needed` has a relative precision of 0.01.)
PRECISE = 1e-6
MOST_TIMES = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedAnswers:
    """
    Answers about one kind of decision. All arrays have the same length.

    Attributes:
        right: True if the answer agrees with the model.
        weight: The inverse of the event's sampling probability, 1 or more.
        count: The number of identical answers.
        largest: The largest weight that an answer of this stream can have. The sizes of the bets depend on it, so that no answer takes all
            wealth. So it must be a constant of the sampling design and not the largest weight that occurred.
    """

    right: Bools
    weight: Floats
    count: Ints
    largest: float


def log_wealth(answers: WeightedAnswers, *, target: float, places: Ints | None = None) -> Floats:
    """
    Return the log wealth of a gambler who bets against the hypothesis "the share right is at most the target".

    Args:
        answers: The answers to bet on.
        target: The share right to prove, above 0 and below 1.
        places: Return the wealth after these numbers of array entries, shape (places,). None: after all entries, shape (1,).

    >>> all_right = WeightedAnswers(right=np.ones(1, dtype=np.bool_), weight=np.ones(1), count=np.array([200]), largest=1.0)
    >>> bool(np.exp(log_wealth(all_right, target=0.95)[0]) > 80)
    True
    """
    gain = gains_of(answers.right.astype(np.float64), answers.weight, target=target, largest=answers.largest)
    grown = np.zeros((len(gain) + 1, len(BETS)))
    np.cumsum(gain * answers.count[:, None], axis=0, out=grown[1:])
    return log_mean(grown[-1:] if places is None else grown[places])


def log_wealth_against(answers: WeightedAnswers, *, target: float) -> float:
    """Return the log wealth after all answers, for bets against the hypothesis "the share right is at least the target"."""
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
    Return the log wealth of a gambler who bets against the hypothesis "the weighted mean of `hit` is at most the target".

    Args:
        hit: The value of each kind of answer, 0 to 1, shape (kinds,).
        weight: The inverse of the sampling probability of each kind, shape (kinds,).
        count: The number of answers of each kind, shape (..., kinds).
        target: The mean of the null hypothesis, above 0 and below 1, shape (...).
        largest: As in `WeightedAnswers`.

    Returns:
        The log wealth, shape (...).

    >>> bool(log_wealth_of(np.array([1.0, 0.5]), np.ones(2), np.array([20, 10]), target=np.float64(0.5), largest=1.0) > np.log(80))
    True
    """
    gain = gains_of(hit, weight, target=np.asarray(target)[..., None], largest=largest)
    return log_mean(np.einsum("...k,...kb->...b", count.astype(np.float64), gain))


def share_at_least(answers: WeightedAnswers, *, risk: float) -> float:
    """
    Return the lower bound of the share right: the largest target that the bets reject, rounded down. 0 if the bets reject no target.

    Args:
        answers: The answers to bet on.
        risk: The largest probability that the bound is ever too high, on any day.
    """
    found = means_at_least(answers.right.astype(np.float64), answers.weight, answers.count, largest=answers.largest, risk=risk)
    return math.floor(float(found) / PRECISE) * PRECISE


def means_at_least(hit: Floats, weight: Floats, count: Ints, *, largest: float, risk: float) -> Floats:
    """
    Return the lower bound of the weighted mean of `hit`. It is at most `PRECISE` below the largest target that the bets reject.

    Args:
        hit: As in `log_wealth_of`.
        weight: As in `log_wealth_of`.
        count: As in `log_wealth_of`, shape (..., kinds).
        largest: As in `log_wealth_of`.
        risk: The largest probability that the bound is ever too high, on any day.

    Returns:
        The bound, shape (...). 0 if the bets reject no target.
    """
    low, high = np.zeros(count.shape[:-1]), np.ones(count.shape[:-1])
    # Bisect an interval of length 1. After these steps, the interval is at most PRECISE long.
    for _ in range(math.ceil(-math.log2(PRECISE))):
        middle = (low + high) / 2
        disproved = log_wealth_of(hit, weight, count, target=middle, largest=largest) >= -math.log(risk)
        low, high = np.where(disproved, middle, low), np.where(disproved, high, middle)
    return low


def times_needed(answers: WeightedAnswers, *, target: float, risk: float) -> float | None:
    """
    Return the factor by which the number of answers must grow to prove the target. None if a factor of `MOST_TIMES` is not enough.

    Args:
        answers: The answers to bet on. Further answers are assumed to be like these.
        target: The share right to prove, above 0 and below 1.
        risk: The probability of a false proof.
    """
    gain = gains_of(answers.right.astype(np.float64), answers.weight, target=target, largest=answers.largest)
    gains = (gain * answers.count[:, None]).sum(axis=0)

    def proves(times: float) -> bool:
        return bool(log_mean(times * gains) >= -math.log(risk))

    low, high = 0.0, 1.0
    while not proves(high):
        low, high = high, high * 2
        if high > MOST_TIMES:
            return None
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return round(high, 2)


def gains_of(hit: Floats, weight: Floats, *, target: Floats | float, largest: float) -> Floats:
    """
    Return the gain in log wealth by each answer, for each size of bet, shape (..., answers, bets).

    Args:
        hit: The value of each answer, 0 to 1, shape (..., answers).
        weight: The inverse of the sampling probability of each answer, shape (..., answers).
        target: As in `log_wealth_of`.
        largest: As in `WeightedAnswers`.
    """
    pays: Floats = weight * (hit - target)
    against = np.asarray(target * largest)
    found: Floats = np.log1p(BETS * pays[..., None] / against[..., None])
    return found


def log_mean(logged: Floats) -> Floats:
    """Return the log of the mean wealth over the sizes of bets, which are the last axis."""
    # The result equals logaddexp.reduce, in a tenth of the time: with the bets as first axis, the streams are contiguous in memory.
    by_bet = np.ascontiguousarray(np.moveaxis(logged, -1, 0))
    top = by_bet.max(axis=0)
    found: Floats = top + np.log(np.exp(by_bet - top).mean(axis=0))
    return found
