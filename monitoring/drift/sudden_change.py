"""Sudden changes of a signal's mean: ADWIN (Bifet and Gavaldà, 2007), with a least effect and one report for each change.

ADWIN alone detects changes of any size, and detects the same change several times while its window drops old values. Here a change is
reported once, when the mean has moved far enough to matter, and no further change is reported for `QUIET_EVENTS` events.
"""

from collections import deque
from dataclasses import dataclass

from tagstream.monitoring.drift.adwin import AdaptiveWindow
from tagstream.monitoring.signals import WATCHED, DriftSignal

CHECK_EVERY_EVENTS = 32
QUIET_EVENTS = 1_000
# The mean after a change is taken from this many events, because ADWIN's window still holds older values.
CONFIRMING_EVENTS = 64
# The number of events after which a detection with too small an effect is measured again.
SETTLING_EVENTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SuddenChange:
    """The mean of `signal` moved from `before` to `after`, in the signal's own unit."""

    signal: DriftSignal
    before: float
    after: float


class ChangeDetector:
    """
    The detector of one signal in one worker.

    Changes within `QUIET_EVENTS` of a report belong to the same incident and are not reported. A shift in steps smaller than
    `least` is reported when the steps add up to `least`.

    >>> detector = ChangeDetector(DriftSignal.CONFIDENCE, delta=1e-4)
    >>> values = [0.8, 0.9] * 500 + [0.5, 0.6] * 500
    >>> [change] = [found for value in values if (found := detector.update(value))]
    >>> change.before > 0.8 > 0.7 > change.after
    True
    """

    def __init__(self, signal: DriftSignal, *, delta: float, quiet_events: int = QUIET_EVENTS) -> None:
        """
        No value has been added yet.

        Args:
            signal: The signal. Its record has the parameters of the watch.
            delta: ADWIN's delta: smaller means fewer false alarms and later detections.
            quiet_events: The number of events after a report without a further report.
        """
        self.signal = signal
        record, self._watched = WATCHED[signal]
        self.read = record.read
        self._delta = delta
        self._quiet_events = quiet_events
        self.reset()

    def reset(self) -> None:
        """Start again: another model decides, or other partitions are read."""
        self._window = AdaptiveWindow(delta=self._delta, check_every=CHECK_EVERY_EVENTS)
        self._recent: deque[float] = deque(maxlen=CONFIRMING_EVENTS)
        self._quiet = 0
        # The mean before the earliest detection that was not reported, and the number of events since the last detection.
        self._anchor: float | None = None
        self._since = 0

    def update(self, value: float) -> SuddenChange | None:
        """Add a value. Returns a change if this value completes its report."""
        scaled = self._scaled(value)
        width, total = self._window.width + 1, self._window.total + scaled
        detected = self._window.update(scaled)
        self._recent.append(value)
        if self._quiet:
            self._quiet -= 1
            return None
        if detected:
            dropped = width - self._window.width
            if self._anchor is None:
                self._anchor = self._unscaled((total - self._window.total) / max(1, dropped))
                self._since = 0
            elif self._since > CONFIRMING_EVENTS:
                self._since = 0
            return None
        if self._anchor is None:
            return None
        self._since += 1
        if self._since == CONFIRMING_EVENTS:
            return self._report(sum(self._recent) / len(self._recent))
        if self._since % SETTLING_EVENTS == 0:
            return self._report(self._unscaled(self._window.mean))
        return None

    def _scaled(self, value: float) -> float:
        scaled = (value - self._watched.low) / (self._watched.high - self._watched.low)
        return min(scaled, 1.0) if scaled > 0.0 else 0.0

    def _unscaled(self, value: float) -> float:
        return self._watched.low + (self._watched.high - self._watched.low) * value

    def _report(self, after: float) -> SuddenChange | None:
        before = self._anchor
        if before is None or abs(after - before) < self._watched.least:
            return None
        self._anchor, self._quiet = None, self._quiet_events
        # The old window still holds values from before the change. Dropping them later would look like a second change.
        self._window = AdaptiveWindow(delta=self._delta, check_every=CHECK_EVERY_EVENTS)
        for value in self._recent:
            self._window.update(self._scaled(value))
        return SuddenChange(signal=self.signal, before=before, after=after)
