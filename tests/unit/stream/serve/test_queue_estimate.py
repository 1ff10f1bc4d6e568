"""The estimate of how long rows wait for the model."""

import pytest

from tagstream.stream.serve.micro_batches import LAST_ROWS, QueueEstimate


def test_nothing_is_estimated_from_a_few_rows() -> None:
    """One slow row at the start would refuse a thousand that take a second."""
    pace = QueueEstimate(threads=1, least_rows=64)
    for _ in range(32):
        pace.took(0.5, rows=1)
    assert pace.wait_seconds(1000) == 0.0


def test_small_batches_do_not_outweigh_large_ones() -> None:
    """Ten rows that were decided one by one at 100 ms, among 640 at 1 ms: a row takes about 2.5 ms, and not 40."""
    pace = QueueEstimate(threads=1, least_rows=64)
    for _ in range(10):
        pace.took(0.064, rows=64)
        pace.took(0.1, rows=1)
    assert 0.002 < pace.wait_seconds(1) < 0.003


def test_the_pace_follows_the_last_rows() -> None:
    """After some thousand rows at another pace the old one is forgotten."""
    pace = QueueEstimate(threads=2, least_rows=64)
    for seconds in (6.4, 0.64):
        for _ in range(8 * LAST_ROWS // 64):
            pace.took(seconds, rows=64)
    assert pace.wait_seconds(100) == pytest.approx(0.5, rel=0.05)
