"""The metrics of the last minutes of one or several workers, kept in memory: `windows` computes rates from them on request."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tagstream.monitoring.figures.scrape import Scrape

# Least time between two kept looks, and the longest time that a look is kept: about 120 looks of a few hundred figures each.
SPACING_SECONDS = 5.0
LONGEST_SECONDS = 600.0
MODEL = "tagstream_model_info"
# The edges of this histogram are kept even with a count of 0: in a minute between two kept looks, all outcomes may be late.
AGES = "tagstream_event_age_seconds_bucket"

# A time, and the metrics of each worker at that time.
Kept = tuple[float, Mapping[str, Scrape]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The current metrics by worker, and the earlier metrics, the oldest first."""

    now: Mapping[str, Scrape]
    earlier: Sequence[Kept]


class History:
    """
    Earlier metrics by worker. Every method may be called from any thread.

    The page, the terminal and each scrape add to the history; without them, the history stays empty.
    """

    def __init__(self) -> None:
        """Start with an empty history."""
        self._lock = threading.Lock()
        self._kept: deque[Kept] = deque()

    def see(self, now: Mapping[str, Scrape]) -> Look:
        """
        Add the current metrics by worker, and return them with the earlier metrics.

        Raises:
            ValueError: `now` is empty.
        """
        at = max(one.at for one in now.values())
        with self._lock:
            if self._kept and at < self._kept[-1][0]:
                # The clock was set back: spans since the kept looks would be negative.
                self._kept.clear()
            earlier = list(self._kept)
            self._keep(at, now)
        return Look(now=now, earlier=earlier)

    def _keep(self, at: float, now: Mapping[str, Scrape]) -> None:
        if self._kept and at - self._kept[-1][0] < SPACING_SECONDS:
            return
        self._kept.append((at, {name: _lean(one) for name, one in now.items()}))
        # One look that is older than the longest span is kept as the beginning of this span.
        while len(self._kept) > 1 and at - self._kept[1][0] >= LONGEST_SECONDS:
            self._kept.popleft()


def _lean(one: Scrape) -> Scrape:
    """Drop what a later difference does not need: gauges, and counters at 0. Keep the model's gauge and all edges of the ages."""
    models = {MODEL: one.gauges[MODEL]} if MODEL in one.gauges else {}
    counters = {
        name: {key: value for key, value in series.items() if value or name == AGES} for name, series in one.counters.items()
    }
    return replace(one, counters={name: series for name, series in counters.items() if series}, gauges=models)
