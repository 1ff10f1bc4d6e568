"""The records of the signals of drift: each number of a decision has one, and each record reads its own number."""

import itertools
from pathlib import Path
from typing import get_type_hints

from tagstream.monitoring.signals import DISTRIBUTIONS, JUDGED, SIGNALS, WATCHED, DriftSignal, Signals

PAGE = Path(__file__).parents[3] / "docs" / "drift.md"


def test_every_watched_signal_has_a_record() -> None:
    """A name of `DriftSignal` without a record would be a metric that no detector moves."""
    assert set(WATCHED) == set(DriftSignal)


def test_every_number_of_a_decision_has_a_record_that_reads_it() -> None:
    """A number that is measured for each event and in no record would cost its time for no detector."""
    numbers = {name for name, kind in get_type_hints(Signals).items() if kind in {int, float}}
    values = {name: number + 2.0 for number, name in enumerate(sorted(numbers))}
    seen = Signals(event_id="e", words=(), described=True, source=None, out_of_distribution=False, **values)  # type: ignore[arg-type]
    assert {signal.name: signal.read(0.5, seen) for signal in SIGNALS} == {"confidence": 0.5, "described": 1.0, **values}


def test_the_edges_ascend_and_the_scale_of_a_detector_holds_them() -> None:
    """Prometheus wants ascending edges; a distance is a share, and so is its limit."""
    assert all(low < high for one in DISTRIBUTIONS.values() for low, high in itertools.pairwise(one.edges))
    assert all(mean.low < mean.high and 0 < mean.least < mean.high - mean.low for _, mean in WATCHED.values())
    assert all(0 < limit < 1 for limit in JUDGED.values())


def test_the_page_names_every_signal() -> None:
    """A finding names a signal, and a person looks for that name on the page of drift."""
    page = PAGE.read_text(encoding="utf-8")
    assert [name.value for name in WATCHED if f"`{name.value}`" not in page] == []
