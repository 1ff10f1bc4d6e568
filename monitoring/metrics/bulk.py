"""Observes the values of a whole batch at once."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from prometheus_client import Histogram


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """
    As `histogram.observe` of each value, none of which is NaN. That takes two locks for each value; this takes one for each bucket.

    prometheus-client has no public way to do so; `test_bulk.py` compares the two.
    """
    bounds, buckets = histogram._upper_bounds, histogram._buckets  # noqa: SLF001
    for place, count in Counter([bisect_left(bounds, value) for value in values]).items():
        buckets[place].inc(count)
    histogram._sum.inc(sum(values))  # noqa: SLF001
