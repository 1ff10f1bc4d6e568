"""The metrics of one worker at one moment, as they are kept: all that a worker needs for its page before somebody looks at it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Metric

PREFIX = "tagstream_"
# The start of the process; its counters cover the time since then.
STARTED = ("process_start_time_seconds", "tagstream_model_loaded_timestamp_seconds")
CUMULATIVE = frozenset({"counter", "histogram"})

Labels = tuple[tuple[str, str], ...]
Counts = Mapping[str, Mapping[Labels, float]]
# A tuple has one value for each worker that has the series.
Gauges = Mapping[str, Mapping[Labels, tuple[float, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """
    Metrics, without a way to read them.

    Attributes:
        at: Time of reading, Unix seconds.
        seconds: Length of the span that the counters cover; None if a worker does not export its start.
        counters: Counters and the parts of histograms, by sample name and labels.
        gauges: The other series, with one value per worker.
    """

    at: float
    seconds: float | None
    counters: Counts
    gauges: Gauges


def of_families(families: Iterable[Metric], *, at: float) -> Scrape:
    """The metrics of one worker, from its registry or from a parsed text."""
    counters: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    gauges: defaultdict[str, dict[Labels, tuple[float, ...]]] = defaultdict(dict)
    for family in families:
        if not family.name.startswith(PREFIX) and family.name not in STARTED:
            continue
        for sample in family.samples:
            key = tuple(sorted(sample.labels.items()))
            if family.type in CUMULATIVE:
                counters[sample.name][key] = float(sample.value)
            else:
                gauges[sample.name][key] = (float(sample.value),)
    return Scrape(at=at, seconds=_running(gauges, at), counters=dict(counters), gauges=dict(gauges))


def _running(gauges: Gauges, at: float) -> float | None:
    for name in STARTED:
        for values in gauges.get(name, {}).values():
            # The time of the model is 0 until it is loaded, and may lie ahead if the clocks of two machines differ.
            if 0 < values[0] < at:
                return at - values[0]
    return None
