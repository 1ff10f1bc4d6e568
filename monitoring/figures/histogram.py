"""A histogram in the form of Prometheus, and its mean, quantiles and shares."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

INFINITY = "+Inf"
# A quantile is interpolated within a bucket whose upper edge is at most this multiple of the lower one. In a wider bucket, such as
# the one from 60 s to 300 s, that would be a guess.
WIDEST = 3.0


@dataclass(frozen=True, slots=True)
class Bin:
    """The share of a histogram's values above `low` and up to `high`."""

    low: float
    high: float
    share: float


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile; with `more`, only a lower bound of it is known."""

    value: float
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """
    Cumulative counts by upper edge.

    Attributes:
        below: By the text of each edge, ascending, the number of values up to it; the last edge is `+Inf`.
        total: The sum of all values.
    """

    below: Mapping[str, float]
    total: float

    @property
    def count(self) -> float:
        """Number of values."""
        return self.below.get(INFINITY, 0.0)

    @property
    def mean(self) -> float | None:
        """Mean of the values; None without values."""
        return self.total / self.count if self.count else None

    @property
    def cdf(self) -> dict[str, float]:
        """The share of values up to each edge; empty without values."""
        return {edge: below / self.count for edge, below in self.below.items()} if self.count else {}

    def quantile(self, q: float) -> Quantile | None:
        """
        Linear within a bucket, as `histogram_quantile` of PromQL; in a bucket wider than `WIDEST` its lower edge. None without values.

        >>> Histogram(below={"1": 50.0, "2": 100.0, "+Inf": 100.0}, total=1.0).quantile(0.75)
        Quantile(value=1.5, more=False)
        >>> Histogram(below={"60": 50.0, "300": 100.0, "+Inf": 100.0}, total=1.0).quantile(0.99)
        Quantile(value=60.0, more=True)
        """
        rank, low, before = q * self.count, 0.0, 0.0
        for edge, below in self.below.items():
            high = float(edge)
            if below >= rank and below > before:
                if math.isinf(high) or high > WIDEST * low > 0:
                    return Quantile(low, more=True)
                return Quantile(low + (high - low) * (rank - before) / (below - before))
            low, before = high, below
        return None

    def share_above(self, edge: float) -> float | None:
        """The share of values above an edge; None without values, or if there is no such edge."""
        for name, share in self.cdf.items():
            if float(name) == edge:
                return 1 - share
        return None


def bins(cdf: Mapping[str, float]) -> list[Bin]:
    """
    The shares between neighbouring edges of an ascending cdf, without an empty last bin up to infinity.

    >>> bins({"0.5": 0.25, "1.0": 1.0, "+Inf": 1.0})
    [Bin(low=-inf, high=0.5, share=0.25), Bin(low=0.5, high=1.0, share=0.75)]
    """
    found, low, before = [], -math.inf, 0.0
    for edge, below in cdf.items():
        found.append(Bin(low=low, high=float(edge), share=below - before))
        low, before = float(edge), below
    if found and math.isinf(found[-1].high) and found[-1].share == 0:
        del found[-1]
    return found
