"""
Compares the means of two arms, at any moment and as often as one looks.

**The sequence.** `d` is the difference of the arms' means and `se` its standard error after `n` units of both arms. For many units the
sum `n * d` moves like a Brownian motion (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and
asymptotic confidence sequences"). A gambler who bets on drifts from a normal distribution has, if the true difference is 0, the wealth
`exp(z^2 / 2 * t / (1 + t)) / sqrt(1 + t)` with `z = d / se` and `t = n / TUNED`. It ever reaches `1 / risk` with a probability of at
most `risk`. Solved for `z` that is the interval, here two-sided. If the gambler bets on drifts above 0 alone, the wealth is at least
`(2 * exp(z^2 / 2 * t / (1 + t)) - 1) / sqrt(1 + t)` for a `z` above 0: the one-sided evidence.

**Relative differences.** "The challenger's mean is `q` times the champion's" is the difference `challenger - q * champion = 0`, with a
standard error of its own. So each `q` has a valid test, and the interval has every `q` that its test does not refuse (Fieller).

**Many units.** Bounds and variances of the values are not known, so all this holds for many units. `least_units` asks for
`LEAST_UNITS` in each arm, and for `SKEWED` times the square of the skewness. Cochran's rule for one look is 25 times the square; with
that, looks at skewed values in a small arm alarm too often (`benchmarks/outcomes.py`).

All functions work for one canary or for many at once: arrays have the shape (canaries,) or any other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from tagstream.monitoring.quality.sample import Bools, Floats

# The interval is narrowest, relative to its width for a fixed number, at about eight times as many units of both arms.
TUNED = 1_000.0
LEAST_UNITS = 100
LEAST_VARIANCE = 1e-200
SKEWED = 100.0
# Where the expected `z` is at its limit, more than half of all canaries have crossed the limit: some were above it before. At so much less it
# is half of them (a Brownian motion against the limit's tangent, for limits from 3 to 4).
BEFORE = 0.28
# More units than any stream has: beyond these a difference counts as never seen.
MOST_UNITS = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmMean:
    """
    What one arm's values come to; all arrays have one shape.

    Attributes:
        units: The number of units, each with one value.
        mean: Their mean; 0 without a unit.
        variance: Their variance; 0 with fewer than two units.
        skewness: Their skewness; 0 if all values are alike.
    """

    units: Floats
    mean: Floats
    variance: Floats
    skewness: Floats

    @classmethod
    def of(cls, units: Floats, first: Floats, second: Floats, third: Floats, *, origin: float = 0.0) -> Self:
        """
        The mean of values by their powers' sums: of `x - origin`, of its square and of its cube.

        Args:
            units: The number of values, shape (...).
            first: The sum, shape (...).
            second: The sum of the squares, shape (...).
            third: The sum of the cubes, shape (...).
            origin: Subtracted from each value; near the mean it keeps the sums exact.

        >>> found = ArmMean.of(*(np.array([one]) for one in (4.0, 2.0, 2.0, 2.0)))
        >>> found.mean.tolist(), found.variance.round(3).tolist(), found.skewness.tolist()
        ([0.5], [0.333], [0.0])
        """
        some = np.maximum(units, 1.0)
        mean, square = first / some, second / some
        variance = np.maximum(square - mean**2, 0.0)
        # Below the first, a variance is a rounding error of the sums; below the second, its power of 1.5 is 0.
        spread = (variance > 1e-12 * square) & (variance > LEAST_VARIANCE)
        cube = third / some - 3 * mean * square + 2 * mean**3
        skewness = np.divide(cube, variance**1.5, out=np.zeros_like(cube), where=spread)
        unbiased = np.where(spread & (units > 1), variance * units / np.maximum(units - 1, 1.0), 0.0)
        return cls(units=units, mean=origin + mean, variance=unbiased, skewness=skewness)

    @property
    def least_units(self) -> Floats:
        """The number of units from which the arm's mean is as good as normal."""
        return np.maximum(LEAST_UNITS, SKEWED * self.skewness**2)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoMeans:
    """The arms of one outcome."""

    challenger: ArmMean
    champion: ArmMean

    @property
    def units(self) -> Floats:
        """The units of both arms."""
        return self.challenger.units + self.champion.units

    @property
    def enough(self) -> Bools:
        """Whether each arm has the units that a proof needs, and values that differ."""
        arms = self.challenger, self.champion
        found = [(arm.units >= arm.least_units) & (arm.variance > 0) for arm in arms]
        both: Bools = found[0] & found[1]
        return both

    def evidence(self, ratio: Floats | float, *, above: bool) -> Floats:
        """
        Return the logarithm of the evidence that the challenger's mean is above `ratio` times the champion's, or below.

        Where there are not `enough` units, it is 0.
        """
        apart = self.challenger.mean - ratio * self.champion.mean
        ok = self.enough
        z = np.divide(apart if above else -apart, np.sqrt(self._variance(ratio)), out=np.zeros_like(apart), where=ok)
        t = self.units / TUNED
        half = np.maximum(z, 0.0) ** 2 / 2 * t / (1 + t)
        # log(2 * exp(half) - 1), for any size of `half`.
        found = half + np.log(2.0 - np.exp(-half)) - np.log1p(t) / 2
        return np.where(ok, found, 0.0)

    def interval(self, risk: float) -> tuple[Floats, Floats]:
        """
        Return the bounds of the challenger's mean divided by the champion's. Their risk of ever being wrong is at most `risk`.

        Where there are not `enough` units, or the champion's mean may be 0, they are minus infinity and infinity.
        """
        t = self.units / TUNED
        square = _two_sided(t, risk)
        one, other = self.challenger, self.champion
        with np.errstate(divide="ignore", invalid="ignore"):
            a = other.mean**2 - square * other.variance / other.units
            c = one.mean**2 - square * one.variance / one.units
            b = one.mean * other.mean
            root = np.sqrt(b**2 - a * c)
            low, high = (b - root) / a, (b + root) / a
        ok = self.enough & (a > 0)
        return np.where(ok, low, -np.inf), np.where(ok, high, np.inf)

    def units_to_see(self, difference: float, risk: float) -> Floats:
        """
        Return about how many units of both arms half of all canaries need until `interval` shows a relative difference.

        Args:
            difference: The difference, as a share of the champion's mean.
            risk: The risk of the interval.
        """
        return self._units(difference, 1.0, partial(_two_sided, risk=risk))

    def units_to_prove(self, ratio: float, risk: float) -> Floats:
        """Return about how many units half of all canaries with equal means need for the `evidence` of a ratio: its proof with `risk`."""
        return self._units(1.0 - ratio, ratio, partial(_one_sided, risk=risk))

    def _units(self, difference: float, ratio: float, critical: Callable[[Floats], Floats]) -> Floats:
        """Return the number of units at which half of all canaries have crossed the limit of `z`, by bisection on a scale of logarithms."""
        with np.errstate(divide="ignore", invalid="ignore"):
            per_unit = (difference * self.champion.mean) ** 2 / (self._variance(ratio) * self.units)
        low, high = np.zeros_like(self.units), np.full_like(self.units, np.log(MOST_UNITS))
        for _ in range(60):
            middle = (low + high) / 2
            units = np.exp(middle)
            reached = np.sqrt(units * per_unit) >= np.sqrt(critical(units / TUNED)) - BEFORE
            low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        return np.exp(high)

    def _variance(self, ratio: Floats | float) -> Floats:
        """Return the square of the standard error of `challenger - ratio * champion`."""
        one, other = self.challenger, self.champion
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = one.variance / one.units + ratio**2 * other.variance / other.units
        return found


def _two_sided(t: Floats, risk: float) -> Floats:
    """Return the square of `z` at which the two-sided wealth is `1 / risk`."""
    found: Floats = (1 + t) / t * np.log((1 + t) / risk**2)
    return found


def _one_sided(t: Floats, risk: float) -> Floats:
    """Return the square of `z` at which the one-sided wealth is `1 / risk`."""
    found: Floats = (1 + t) / t * 2 * np.log((np.sqrt(1 + t) / risk + 1) / 2)
    return found
