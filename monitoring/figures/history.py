"""The last minutes of one or several workers, kept in memory so that rates can be computed once somebody looks: `windows`."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tagstream.monitoring.figures.scrape import Scrape

# Least time between two kept looks, and the longest time that one is kept: about 120 of a few hundred figures each.
SPACING_SECONDS = 5.0
LONGEST_SECONDS = 600.0
MODEL = "tagstream_model_info"
# Its edges count where no value is below them, too: in a minute between two kept snapshots all outcomes may be late.
AGES = "tagstream_event_age_seconds_bucket"

# A time, and the metrics of each worker at that time.
Kept = tuple[float, Mapping[str, Scrape]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The workers' metrics of now, by worker, and the earlier ones, the oldest first."""

    now: Mapping[str, Scrape]
    earlier: Sequence[Kept]


class History:
    """
    Earlier metrics by worker. Every method may be called from any thread.

    The page, the terminal and each scrape fill it; without them it stays empty.
    """

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._kept: deque[Kept] = deque()

    def see(self, now: Mapping[str, Scrape]) -> Look:
        """
        Add the workers' metrics of now, by worker; the answer has the earlier ones too.

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
        # One look older than the longest span is kept as its beginning.
        while len(self._kept) > 1 and at - self._kept[1][0] >= LONGEST_SECONDS:
            self._kept.popleft()


def _lean(one: Scrape) -> Scrape:
    """The metrics without gauges and counters at 0, which a later difference does not need, but with its model and all edges of ages."""
    models = {MODEL: one.gauges[MODEL]} if MODEL in one.gauges else {}
    counters = {
        name: {key: value for key, value in series.items() if value or name == AGES} for name, series in one.counters.items()
    }
    return replace(one, counters={name: series for name, series in counters.items() if series}, gauges=models)
