"""Our ADWIN keeps the same window as river's after every value."""

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river._river_rust.drift import AdaptiveWindowing
from river.drift import ADWIN

from tagstream.monitoring.drift.adwin import AdaptiveWindow


def stream(seed: int, values: int) -> Iterator[float]:
    """Values between 0 and 1 whose mean jumps about every five hundred values; each third stream is of zeros and ones."""
    chance = random.Random(seed)  # noqa: S311 - it must repeat
    mean = 0.5
    for _ in range(values):
        if chance.random() < 1 / 500:
            mean = chance.random()
        yield float(chance.random() < mean) if seed % 3 == 0 else min(1.0, max(0.0, chance.gauss(mean, 0.1)))


@pytest.mark.parametrize("delta", [0.5, 0.1, 0.002, 1e-6])
@pytest.mark.parametrize("seed", range(6))
def test_it_detects_where_river_detects_and_keeps_the_same_window(seed: int, delta: float) -> None:
    """Detections, widths and sums are those of river's kernel after each of 4,000 values, to the last bit."""
    oracle, ours = AdaptiveWindowing(delta, 32), AdaptiveWindow(delta=delta, check_every=32)
    detections = 0
    for value in stream(seed, 4_000):
        assert ours.update(value) == oracle.update(value)
        assert (ours.width, ours.total) == (oracle.get_width(), oracle.get_total())
        detections += oracle.get_n_detections()
    assert detections


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.floats(1e-6, 0.5), st.integers(1, 64))
def test_random_values_and_settings_do_not_part_it_from_river(values: list[float], delta: float, check_every: int) -> None:
    """The window is that of river's kernel for other settings than ours too."""
    oracle, ours = AdaptiveWindowing(delta, check_every), AdaptiveWindow(delta=delta, check_every=check_every)
    for value in values * 3:
        assert ours.update(value) == oracle.update(value)
        assert ours.width == oracle.get_width()


def test_the_first_detection_is_that_of_rivers_public_class() -> None:
    """`river.drift.ADWIN` forgets everything after a detection, where its kernel and ours keep the newer part; the first one is the same."""
    public, ours = ADWIN(delta=0.002, clock=32), AdaptiveWindow(delta=0.002, check_every=32)
    for value in (0.8 + 0.1 * math.sin(number) - 0.3 * (number >= 2_000) for number in range(3_000)):
        public.update(value)
        assert ours.update(value) == public.drift_detected
        if public.drift_detected:
            break
    assert public.drift_detected


def test_an_empty_window_has_a_mean() -> None:
    """Before the first value the mean is 0, and no division fails."""
    assert AdaptiveWindow(delta=0.002, check_every=32).mean == 0
