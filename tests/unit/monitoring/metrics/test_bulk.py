"""A batch that is observed at once is shown as if each value had been observed."""

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.values import ValueClass as MutexValue

from tagstream.monitoring.metrics.bulk import observe_all
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import Signals
from tagstream.monitoring.vocabulary import Destination

NOW_MS = 1_700_000_000_000
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


def test_a_batch_ten_times_as_large_moves_no_more_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """What metrics cost is a matter of the batch and not of its events."""
    moved = 0
    increase = MutexValue.inc

    def counted(value: MutexValue, amount: float) -> None:
        nonlocal moved
        moved += 1
        increase(value, amount)

    seen = Observation(
        destination=Destination.TAGGED,
        created_ms=NOW_MS - 40,
        label="a",
        confidence=0.9,
        signals=Signals(
            event_id="e",
            energy=-5.0,
            tokens=8,
            tokens_per_word=1.25,
            words=("word",),
            described=True,
            source="bench",
            out_of_distribution=False,
        ),
    )
    metrics = Metrics(CollectorRegistry(), labels=("a", "b"), topic="content")
    monkeypatch.setattr(MutexValue, "inc", counted)
    moves = []
    for events in (64, 640):
        moved = 0
        metrics.published([seen] * events, NOW_MS)
        moves.append(moved)
    assert moves[0] == moves[1] < 64
