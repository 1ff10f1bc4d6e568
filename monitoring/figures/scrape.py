"""The metrics of one worker at one moment. A worker keeps them for its page and loads no more until the page is requested."""

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
    Metrics as they were read. `Snapshot` adds the ways to look them up.

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
    """Return the metrics of one worker, from its registry or from a parsed text."""
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
            # The load time of the model is 0 until the model is loaded. It may lie in the future if the clocks of two machines differ.
            if 0 < values[0] < at:
                return at - values[0]
    return None
