"""A batch that is observed at once is shown as if each value had been observed."""

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from monitoring.metrics.bulk import observe_all

BOUNDS = (-2.0, 0.0, 0.5, 1.0, 8.0)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="none"),
        pytest.param([*BOUNDS, 9.0, -3.0, float("inf")], id="on the bounds and beyond them"),
        # Quarters, whose sum is the same in any order.
        pytest.param([(37 * number % 60 - 20) / 4 for number in range(200)], id="many"),
    ],
)
def test_all_values_at_once_are_shown_as_one_by_one(values: list[float]) -> None:
    """Buckets, count and sum."""
    shown = []
    for at_once in (True, False):
        registry = CollectorRegistry()
        histogram = Histogram("h", "a histogram", registry=registry, buckets=BOUNDS)
        if at_once:
            observe_all(histogram, values)
        else:
            for value in values:
                histogram.observe(value)
        shown.append(generate_latest(registry))
    assert shown[0] == shown[1]
