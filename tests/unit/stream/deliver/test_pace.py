"""Fetches wait only while the model's threads do not get enough processor time."""

import asyncio
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.batch import Inference
from tagstream.stream.deliver.pace import FALL, MOST_SECONDS, Pace
from tagstream.stream.settings.settings import Settings

SECONDS = st.floats(0, 60, allow_nan=False)


class Clock:
    """A clock that only the test advances."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS)))
def test_no_fetch_ever_waits_longer_than_the_most(batches: list[tuple[float, float, float]]) -> None:
    """The bound holds for all durations of batches and all steps of the clock."""
    clock = Clock()
    pace = Pace(monotonic=clock)
    for took, had, later in batches:
        clock.now += later
        pace.decided(took, had)
        assert 0 <= pace.seconds <= MOST_SECONDS


@given(st.lists(SECONDS))
def test_threads_that_have_a_processor_make_no_fetch_wait(batches: list[float]) -> None:
    """Each batch's wall time equals its processor time. So large batches of the worker itself cause no wait."""
    pace = Pace()
    for took in batches:
        pace.decided(took, took)
        assert pace.seconds == 0


def test_the_wait_rises_at_once_and_is_forgotten_within_seconds() -> None:
    """The wait falls to 0 after the other program on the machine has stopped using the processor."""
    clock = Clock()
    pace = Pace(monotonic=clock)
    pace.decided(0.040, 0.020)
    assert pace.seconds == MOST_SECONDS
    for _ in range(50):
        pace.decided(0.040, 0.040)
    assert pace.seconds == MOST_SECONDS
    clock.now = MOST_SECONDS / FALL / 2
    pace.decided(0.040, 0.040)
    assert abs(pace.seconds - MOST_SECONDS / 2) < 1e-9
    clock.now *= 2.1
    assert pace.seconds == 0


def test_the_pace_is_told_how_long_a_batch_took_and_how_much_of_it_the_thread_computed() -> None:
    """A sleeping thread uses no processor time, like a thread that waits for a processor."""

    def decide(records: Any) -> list[Publication]:
        time.sleep(0.02)
        return [None for _ in records]  # type: ignore[misc]

    async def scenario() -> float:
        pace = Pace()
        inference = Inference(decide, Settings(inference_threads=1), pace=pace)
        try:
            await inference.publications([None])  # type: ignore[list-item]
        finally:
            inference.stop()
        return pace.seconds

    assert asyncio.run(scenario()) > 0
