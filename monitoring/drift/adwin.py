"""ADWIN: a window over a stream of numbers that forgets its older part once the mean has changed (Bifet and Gavaldà, 2007).

The window is kept as an exponential histogram: row `i` holds at most `MOST_IN_ROW` buckets of `2**i` values, each as
its sum and its variance, so a window of `n` values takes about `5 * log2(n)` buckets. The arithmetic equals the
kernel of `river.drift.ADWIN` (River, BSD-3-Clause), bucket for bucket; the tests compare both after each value. A
worker does not install River, because River needs SciPy (docs/decisions/0010-what-a-worker-installs.md).
"""

import math
from dataclasses import dataclass, field

# A row with more buckets merges its two oldest into one of the next row.
MOST_IN_ROW = 5
# Each side of a split holds at least `LEAST_SIDE` values, and a window is only split with more than `LEAST_WINDOW`.
LEAST_SIDE = 5
LEAST_WINDOW = 10


@dataclass(slots=True)
class _Row:
    """Buckets of one size, oldest first. Each has the sum of its values, and the sum of their squared distances from its mean."""

    sums: list[float] = field(default_factory=list)
    variances: list[float] = field(default_factory=list)


class AdaptiveWindow:
    """
    The values since the last change of their mean. Not thread-safe.

    >>> window = AdaptiveWindow(delta=0.002, check_every=32)
    >>> next(position for position in range(2_000) if window.update(0.2 if position < 1_000 else 0.8))
    1023
    """

    def __init__(self, *, delta: float, check_every: int) -> None:
        """
        Start with an empty window.

        Args:
            delta: The chance of a false alarm at one check, 0 to 1; smaller means fewer false alarms and later detections.
            check_every: Number of values between two searches for a change.
        """
        self.width = 0
        self.total = 0.0
        self._variance = 0.0
        self._delta = delta
        self._check_every = check_every
        self._seen = 0
        self._rows = [_Row()]

    @property
    def mean(self) -> float:
        """The mean of the window; 0 while it is empty."""
        return self.total / self.width if self.width else 0.0

    def update(self, value: float) -> bool:
        """Add a value between 0 and 1. Returns True if the mean has changed; the values before the change are then dropped."""
        self._insert(value)
        self._seen += 1
        if self._seen % self._check_every or self.width <= LEAST_WINDOW:
            return False
        changed = False
        while self._finds_a_cut():
            self._drop_oldest_bucket()
            changed = True
        return changed

    def _insert(self, value: float) -> None:
        first = self._rows[0]
        first.sums.append(value)
        first.variances.append(0.0)
        if self.width:
            distance = value - self.total / self.width
            self._variance += self.width * distance * distance / (self.width + 1)
        self.width += 1
        self.total += value
        if len(first.sums) > MOST_IN_ROW:
            self._compress()

    def _compress(self) -> None:
        size = 1
        for index, row in enumerate(self._rows):
            if len(row.sums) <= MOST_IN_ROW:
                return
            if index + 1 == len(self._rows):
                self._rows.append(_Row())
            after = self._rows[index + 1]
            distance = row.sums[0] / size - row.sums[1] / size
            between = size * size * distance * distance / (size + size)
            after.sums.append(row.sums[0] + row.sums[1])
            after.variances.append(row.variances[0] + row.variances[1] + between)
            del row.sums[:2], row.variances[:2]
            size *= 2

    def _drop_oldest_bucket(self) -> None:
        row = self._rows[-1]
        size = 2 ** (len(self._rows) - 1)
        total, variance = row.sums.pop(0), row.variances.pop(0)
        self.width -= size
        self.total -= total
        distance = total / size - self.total / self.width
        self._variance -= variance + size * self.width * distance * distance / (size + self.width)
        if not row.sums:
            self._rows.pop()

    def _finds_a_cut(self) -> bool:
        """True if at any split between two buckets the means of the older and the newer part differ beyond chance."""
        older, older_total = 0, 0.0
        newer, newer_total = self.width, self.total
        chance = math.log(2.0 * math.log(self.width) / self._delta)
        spread = 2.0 * max(0.0, self._variance) / self.width * chance
        for index in range(len(self._rows) - 1, -1, -1):
            size = 2**index
            for total in self._rows[index].sums:
                older += size
                newer -= size
                older_total += total
                newer_total -= total
                if older < LEAST_SIDE or newer < LEAST_SIDE:
                    continue
                weight = 1.0 / (older - LEAST_SIDE + 1) + 1.0 / (newer - LEAST_SIDE + 1)
                bound = math.sqrt(spread * weight) + 2.0 / 3.0 * chance * weight
                if abs(older_total / older - newer_total / newer) > bound:
                    return True
        return False
