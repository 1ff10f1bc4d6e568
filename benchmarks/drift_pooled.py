"""The recording rules' drift figures on a sliding window, as Prometheus computes them over an hour: for the drift bench.

Same buckets, same formulas, same thresholds and least count as monitoring/prometheus; the alerts' `for:` is left out, so that
false alarms here are an upper bound of theirs.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence

from tagstream.monitoring import limits
from tagstream.monitoring.comparison import psi_terms
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import DISTRIBUTIONS, JUDGED

WINDOW_EVENTS, LEAST_EVENTS, EVERY_EVENTS = 1_000, 500, 50
# As in the alerts.
THRESHOLDS: Mapping[str, float] = {
    f"rule: psi of labels > {limits.LABEL_PSI}": limits.LABEL_PSI,
    **{f"rule: ks of {DISTRIBUTIONS[signal].title} > {limit}": limit for signal, limit in JUDGED.items()},
    f"rule: without description > reference + {limits.WITHOUT_DESCRIPTION_MORE}": limits.WITHOUT_DESCRIPTION_MORE,
}
_LABELS, *_DISTRIBUTIONS, _BARE = THRESHOLDS
_COUNTED = [(signal, DISTRIBUTIONS[signal].edges) for signal in JUDGED]
# The label, the bucket of each distribution, and whether the event is a title alone.
_Row = tuple[str, tuple[int, ...], bool]


class PooledRules:
    """The recording rules on the last thousand events."""

    def __init__(self, reference: Sequence[Observation]) -> None:
        """`reference` is ordinary traffic, as `describe` would store it in a bundle."""
        self._window: deque[_Row] = deque()
        self._seen = 0
        self._labels: dict[str, int] = {}
        self._counts = [[0] * (len(edges) + 1) for _, edges in _COUNTED]
        self._bare = 0
        rows = [_row(seen) for seen in reference]
        for row in rows:
            self._count(row, 1)
        self._reference_labels = {label: count / len(rows) for label, count in self._labels.items()}
        self._reference_cdfs = [_cdf(counts) for counts in self._counts]
        self._reference_bare = self._bare / len(rows)
        for row in rows:
            self._count(row, -1)

    def add(self, seen: Observation) -> list[str]:
        """Take one decision; every fifty events, the rules that exceed their threshold."""
        row = _row(seen)
        self._window.append(row)
        self._count(row, 1)
        if len(self._window) > WINDOW_EVENTS:
            self._count(self._window.popleft(), -1)
        self._seen += 1
        if self._seen % EVERY_EVENTS or len(self._window) < LEAST_EVENTS:
            return []
        return [name for name, score in self.scores().items() if score > THRESHOLDS[name]]

    def scores(self) -> dict[str, float]:
        """The figures of the window."""
        events = len(self._window)
        # Every label of the reference, seen or not: a worker exports a counter for each from its start.
        shares = {label: self._labels.get(label, 0) / events for label in self._reference_labels}
        distances = [
            max(abs(now - before) for now, before in zip(_cdf(counts), reference, strict=True))
            for counts, reference in zip(self._counts, self._reference_cdfs, strict=True)
        ]
        return {
            _LABELS: math.fsum(psi_terms(shares, self._reference_labels).values()),
            **dict(zip(_DISTRIBUTIONS, distances, strict=True)),
            _BARE: self._bare / events - self._reference_bare,
        }

    def _count(self, row: _Row, by: int) -> None:
        label, places, bare = row
        self._labels[label] = self._labels.get(label, 0) + by
        for counts, place in zip(self._counts, places, strict=True):
            counts[place] += by
        self._bare += by * bare


def _row(seen: Observation) -> _Row:
    signals = seen.signals
    assert signals is not None
    assert seen.label is not None
    assert seen.confidence is not None
    return (
        seen.label,
        tuple(bisect_left(edges, signal.read(seen.confidence, signals)) for signal, edges in _COUNTED),
        not signals.described,
    )


def _cdf(counts: Sequence[int]) -> list[float]:
    total, below, shares = sum(counts) or 1, 0, []
    for count in counts:
        below += count
        shares.append(below / total)
    return shares
