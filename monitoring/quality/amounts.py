"""Amounts with 95 % intervals, such as people's minutes: sums are taken in each plausible version of the stream.

An item of people's work counts the median time of an answer. In each version, the rank of the median is drawn from a binomial
distribution, as in the interval of the sign test.
"""

from dataclasses import dataclass

import numpy as np

from tagstream.monitoring.quality.estimate import DRAWS, LEVEL, SEED
from tagstream.monitoring.quality.sample import Floats, Ints

# With fewer times, not even the shortest and the longest are a 95 % interval of the median.
LEAST_TIMES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number of minutes, mistakes or money, and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """An estimate, and what it is in each plausible version, [DRAWS]. Sums are taken version by version."""

    value: float
    versions: Floats
    level: float = LEVEL

    def __add__(self, other: "Versions") -> "Versions":
        return Versions(
            value=self.value + other.value, versions=self.versions + other.versions, level=max(self.level, other.level)
        )

    def times(self, factor: float) -> "Versions":
        """Multiply the estimate and each version."""
        return Versions(value=factor * self.value, versions=factor * self.versions, level=self.level)

    @property
    def amount(self) -> Amount:
        """The estimate, and the interval that holds `level` of the versions."""
        low, high = np.quantile(self.versions, ((1 - self.level) / 2, (1 + self.level) / 2))
        return Amount(value=self.value, low=float(min(low, self.value)), high=float(max(high, self.value)))


def minute_of(times_ms: Ints) -> Versions | None:
    """
    Return the median time of an answer, in minutes; None if there are too few times.

    Args:
        times_ms: The time of each answer that has one, in milliseconds, in any order, [n].
    """
    count = len(times_ms)
    if count < LEAST_TIMES:
        return None
    generator = np.random.default_rng([SEED, count])
    minutes = np.sort(times_ms) / 60_000
    # The number of times below the median, and a place between the two times around it.
    rank = generator.binomial(count, 0.5, size=DRAWS)
    below, above = minutes[np.maximum(rank - 1, 0)], minutes[np.minimum(rank, count - 1)]
    versions: Floats = below + generator.random(DRAWS) * (above - below)
    return Versions(value=float(np.median(minutes)), versions=versions)
