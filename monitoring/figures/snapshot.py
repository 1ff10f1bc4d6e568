"""The metrics of one or several workers at one moment. Pure: text or kept metrics in, figures out.

Counters and histograms are cumulative. `difference` gives the counts of a span; `pool` adds up the counts of several workers. A
series that an older worker does not have gives None or an empty result, not an error, and is shown as a dash.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from prometheus_client.parser import text_string_to_metric_families

from tagstream.monitoring.figures.scrape import Counts, Labels, Scrape, of_families

INFINITY = "+Inf"
# A quantile is interpolated within a bucket whose upper edge is at most this multiple of its lower edge. In a wider bucket, such as
# 60 s to 300 s, the quantile would be a guess.
WIDEST = 3.0


class NotMetricsError(ValueError):
    """A text is not the `/metrics` of a tagstream worker."""


@dataclass(frozen=True, slots=True)
class HistogramBin:
    """The share of a histogram's values above `low` and up to `high`."""

    low: float
    high: float
    share: float


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile. With `more`, `value` is only a lower bound."""

    value: float
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """
    Cumulative counts by upper edge.

    Attributes:
        below: By the text of each edge, ascending, the number of values up to the edge; the last edge is `+Inf`.
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
        Return a quantile, linear within a bucket as `histogram_quantile` of PromQL; None without values.

        In a bucket wider than `WIDEST`, the quantile is the bucket's lower edge.

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
        """Return the share of values above an edge; None without values or without this edge."""
        for name, share in self.cdf.items():
            if float(name) == edge:
                return 1 - share
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Scrape):
    """The metrics of one or several workers, with methods to look them up. `workers` is the number of workers."""

    workers: int

    def counter(self, name: str, **labels: str) -> float | None:
        """Return the sum of a counter's series with these labels; None without such a series."""
        selected = set(labels.items())
        found = [value for key, value in self.counters.get(name, {}).items() if selected <= set(key)]
        return sum(found) if found else None

    def counter_by(self, name: str, label: str) -> dict[str, float]:
        """Return the sums of a counter by the values of a label."""
        sums: defaultdict[str, float] = defaultdict(float)
        for key, value in self.counters.get(name, {}).items():
            sums[dict(key).get(label, "")] += value
        return dict(sums)

    def rate(self, name: str, **labels: str) -> float | None:
        """Return a counter's events per second; None without the counter or the length of the span."""
        count = self.counter(name, **labels)
        return None if count is None or not self.seconds else count / self.seconds

    def ratio(self, name: str, of: str) -> float | None:
        """Return the counter `name` as a share of the counter `of`; None without `name`, or if `of` is 0."""
        part, whole = self.counter(name), self.counter(of)
        return None if part is None or not whole else part / whole

    def histogram(self, name: str, **labels: str) -> Histogram | None:
        """Return the sum of a histogram's series with these labels; None without such a series."""
        selected = set(labels.items())
        below: defaultdict[str, float] = defaultdict(float)
        for key, value in self.counters.get(f"{name}_bucket", {}).items():
            if selected <= set(key):
                below[dict(key).get("le", INFINITY)] += value
        if not below:
            return None
        return Histogram(below=_ascending(below), total=self.counter(f"{name}_sum", **labels) or 0.0)

    def gauge(self, name: str, **labels: str) -> tuple[float, ...]:
        """Return all workers' values of a gauge's series with these labels; the caller adds up the values or takes the largest."""
        selected = set(labels.items())
        found = (values for key, values in self.gauges.get(name, {}).items() if selected <= set(key))
        return tuple(value for values in found for value in values if not math.isnan(value))

    def unknown(self, name: str) -> bool:
        """Whether one of the workers does not know this gauge's value: NaN in its metrics."""
        return any(math.isnan(value) for values in self.gauges.get(name, {}).values() for value in values)

    def gauge_by(self, name: str, label: str) -> dict[str, float]:
        """Return a gauge by the values of a label: the largest value over the workers, as `max by` in the recording rules."""
        largest: dict[str, float] = {}
        for key, values in self.gauges.get(name, {}).items():
            own = dict(key).get(label, "")
            for value in values:
                if not math.isnan(value):
                    largest[own] = max(value, largest.get(own, value))
        return largest

    def reference_cdf(self, name: str) -> dict[str, float]:
        """Return the reference's share of values up to each edge, by the edge's text, ascending."""
        return _ascending(self.gauge_by(name, "at_most"))

    def infos(self, name: str) -> list[dict[str, str]]:
        """Return the different label sets of a series whose value is always 1."""
        return [dict(key) for key in sorted(self.gauges.get(name, {}))]


def bins(cdf: Mapping[str, float]) -> list[HistogramBin]:
    """
    Return the shares between adjacent edges of an ascending cdf, without an empty last bin up to infinity.

    >>> bins({"0.5": 0.25, "1.0": 1.0, "+Inf": 1.0})
    [HistogramBin(low=-inf, high=0.5, share=0.25), HistogramBin(low=0.5, high=1.0, share=0.75)]
    """
    found, low, before = [], -math.inf, 0.0
    for edge, below in cdf.items():
        found.append(HistogramBin(low=low, high=float(edge), share=below - before))
        low, before = float(edge), below
    if found and math.isinf(found[-1].high) and found[-1].share == 0:
        del found[-1]
    return found


def parse(text: str, *, at: float) -> Scrape:
    """
    Read the `/metrics` of one worker.

    Raises:
        NotMetricsError: The text is not in Prometheus' format, or has no series of tagstream.
    """
    try:
        found = of_families(text_string_to_metric_families(text), at=at)
    # The parser raises any of these on a broken line.
    except (ValueError, IndexError, KeyError, TypeError) as error:
        msg = f"it is not Prometheus' text format ({error or type(error).__name__})"
        raise NotMetricsError(msg) from error
    if not found.counters:
        msg = "none of its series is tagstream's"
        raise NotMetricsError(msg)
    return found


def difference(after: Scrape, before: Scrape | None) -> Scrape:
    """
    Return one worker's counters over the span between two snapshots; without `before`, the counters since the start.

    If a counter has fallen, the process was restarted within the span. Then the counters since the restart are returned.
    """
    if before is None:
        return after
    if any(
        value < before.counters.get(name, {}).get(key, 0.0) for name, key, value in _flat(after.counters) if _only_grows(name)
    ):
        return after
    return replace(
        after,
        seconds=after.at - before.at,
        counters={
            name: {key: value - before.counters.get(name, {}).get(key, 0.0) for key, value in series.items()}
            for name, series in after.counters.items()
        },
    )


def pool(scrapes: Sequence[Scrape]) -> Snapshot:
    """
    Combine workers: counters are added up, and gauges are kept side by side. The span is the longest span of the workers.

    Raises:
        ValueError: `scrapes` is empty.
    """
    if not scrapes:
        msg = "there is no snapshot to pool"
        raise ValueError(msg)
    counters: defaultdict[str, defaultdict[Labels, float]] = defaultdict(lambda: defaultdict(float))
    gauges: defaultdict[str, defaultdict[Labels, tuple[float, ...]]] = defaultdict(lambda: defaultdict(tuple))
    for one in scrapes:
        for name, key, value in _flat(one.counters):
            counters[name][key] += value
        for name, series in one.gauges.items():
            for key, values in series.items():
                gauges[name][key] += values
    return Snapshot(
        at=max(one.at for one in scrapes),
        seconds=max((one.seconds for one in scrapes if one.seconds is not None), default=None),
        workers=len(scrapes),
        counters={name: dict(series) for name, series in counters.items()},
        gauges={name: dict(series) for name, series in gauges.items()},
    )


def _flat(series: Counts) -> Iterable[tuple[str, Labels, float]]:
    return ((name, key, value) for name, values in series.items() for key, value in values.items())


def _only_grows(name: str) -> bool:
    # A sum of values below 0 falls.
    return not name.endswith("_sum")


def _ascending(by_edge: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(by_edge.items(), key=lambda item: float(item[0])))
