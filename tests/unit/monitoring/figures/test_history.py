"""The spans of a look: seconds for flow, at least a minute for drift, else the time since the start."""

import pytest

from tagstream.monitoring.figures import history as module
from tagstream.monitoring.figures.history import History
from tagstream.monitoring.figures.scrape import of_families
from tagstream.monitoring.figures.windows import Windows, windows
from tests.observations import Stream


def look(kept: History, *streams: Stream) -> Windows:
    """All of these workers, now."""
    now = {str(number): of_families(one.registry.collect(), at=one.now) for number, one in enumerate(streams)}
    return windows(kept.see(now))


def test_the_first_look_knows_everything_since_the_start_and_no_flow() -> None:
    """The first look covers the time since the start and has no flow, because a rate needs two looks."""
    stream = Stream()
    stream.run(30)
    found = look(History(), stream)
    assert found.flow is None
    assert found.since_start
    assert found.judged == found.total
    assert found.total.seconds == pytest.approx(30)


def test_flow_is_that_of_the_last_seconds() -> None:
    """Flow covers the last ten seconds only."""
    stream, kept = Stream(), History()
    for _ in range(20):
        stream.run(5, rate=40)
        look(kept, stream)
    for _ in range(3):
        stream.run(5, rate=2)
        found = look(kept, stream)
    assert found.flow is not None
    assert found.flow.seconds == pytest.approx(10)
    assert found.flow.rate("tagstream_events_received_total") == pytest.approx(2)


@pytest.mark.parametrize(("rate", "seconds"), [(100, 60), (10, 100), (1, 600)])
def test_drift_is_judged_on_as_few_minutes_as_hold_enough_decisions(rate: float, seconds: float) -> None:
    """Drift is judged on a minute of a busy stream and up to ten minutes of a quiet one."""
    stream, kept = Stream(), History()
    for _ in range(150):
        stream.run(5, rate=rate, dead=0.0)
        found = look(kept, stream)
    assert found.judged.seconds == pytest.approx(seconds)
    assert not found.since_start


def test_a_worker_that_runs_for_less_is_judged_since_its_start() -> None:
    """A worker that has just started is judged on the time since its start."""
    stream, kept = Stream(), History()
    for _ in range(5):
        stream.run(5)
        found = look(kept, stream)
    assert found.since_start
    assert found.judged.seconds == pytest.approx(25)


@pytest.mark.slow
def test_memory_has_a_bound() -> None:
    """At most ten minutes of snapshots are kept, five seconds apart, for any number of looks."""
    stream, kept = Stream(), History()
    for _ in range(1500):
        stream.run(1, rate=1)
        look(kept, stream)
    assert len(kept._kept) <= module.LONGEST_SECONDS / module.SPACING_SECONDS + 2
    assert all(snapshot.gauges.keys() <= {module.MODEL} for _, workers in kept._kept for snapshot in workers.values())


def test_a_span_in_which_the_model_was_changed_has_both() -> None:
    """The counters of the span are of two models, and of no reference; a later span has the newer one alone."""
    stream, kept = Stream(), History()
    digests = []
    for turn in range(40):
        if turn in {0, 20}:
            stream.metrics.model_loaded(name="m", version="1", digest=f"digest-{turn}", now=stream.now)
        stream.run(5, rate=100)
        digests.append({info["digest"] for info in look(kept, stream).judged.infos(module.MODEL)})
    assert (digests[19], digests[21], digests[39]) == ({"digest-0"}, {"digest-0", "digest-20"}, {"digest-20"})


def test_a_worker_seen_for_the_first_time_adds_nothing_to_a_span_that_it_is_older_than() -> None:
    """The earlier counters of a newly seen worker do not count in the current span."""
    first, second, kept = Stream(), Stream(seed=8), History()
    first.run(1000)
    second.run(1000)
    look(kept, first)
    for _ in range(3):
        first.run(5, rate=4)
        look(kept, first)
    first.run(5, rate=4)
    second.run(20, rate=4)
    found = look(kept, first, second)
    assert found.flow is not None
    assert found.flow.rate("tagstream_events_received_total") == pytest.approx(4)


def test_a_worker_that_began_within_a_span_counts_in_it() -> None:
    """All events of a worker that started within a span count in it."""
    first, second, kept = Stream(), Stream(start=1_764_000_097.0), History()
    for seconds in (80, 10, 5):
        first.run(seconds, rate=4)
        look(kept, first)
    first.run(5, rate=4)
    second.run(3, rate=10)
    found = look(kept, first, second)
    assert found.flow is not None
    assert found.flow.counter("tagstream_events_received_total") == 10 * 4 + 30


def test_a_worker_that_is_gone_leaves_with_its_past() -> None:
    """A worker that is gone does not make later figures negative."""
    first, second, kept = Stream(), Stream(seed=8), History()
    for _ in range(4):
        first.run(5, rate=4)
        second.run(5, rate=50)
        look(kept, first, second)
    first.run(5, rate=4)
    found = look(kept, first)
    assert found.flow is not None
    assert found.flow.rate("tagstream_events_received_total") == pytest.approx(4)


def test_a_clock_that_is_set_back_costs_the_past_and_not_the_minutes_to_come() -> None:
    """After the clock is set back, the kept snapshots are dropped and the next looks have a flow again."""
    stream, kept = Stream(), History()
    for _ in range(4):
        stream.run(5, rate=4)
        look(kept, stream)
    stream.now -= 3600
    assert look(kept, stream).flow is None
    for _ in range(3):
        stream.run(5, rate=4)
        found = look(kept, stream)
    assert found.flow is not None
    assert found.flow.rate("tagstream_events_received_total") == pytest.approx(4)
