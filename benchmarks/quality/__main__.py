"""Shows whether the intervals of live quality hold: 1,000 simulated months with a known truth.

`python -m benchmarks.quality` prints the tables of docs/error-rates.md and exits with 1 if ours do not cover 95 +- 2 %, or if a
known-bad estimator does.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.quality.estimators import KNOWN_BAD, NAMES, Intervals, Name, ours_everything, ours_published, truths
from benchmarks.quality.streams import LABELS, Stream, stream

STREAMS = 1000
LEVEL = 0.95
BAND = 0.02
# Coverage of n streams is itself a count: with few of them the band is wider by three standard errors.
FULL = 1000
REPORTED = 50


class Coverage:
    """How often the intervals of one estimator hold the truth, and how wide they are."""

    def __init__(self, name: str) -> None:
        """Begin with no stream."""
        self.name = name
        self._held: dict[Name, list[bool]] = {one: [] for one in NAMES}
        self._widths: dict[Name, list[float]] = {one: [] for one in NAMES}

    def add(self, found: Intervals, truth: dict[Name, float]) -> None:
        """Count one stream."""
        for name, (low, high) in found.items():
            self._held[name].append(low <= truth[name] <= high)
            self._widths[name].append(high - low)

    def share(self, name: Name) -> float:
        """The share of streams whose interval holds the truth."""
        return float(np.mean(self._held[name]))

    def width(self, name: Name) -> float:
        """The mean width of the intervals."""
        return float(np.mean(self._widths[name]))

    def holds(self, band: float) -> bool:
        """Whether every figure is covered as promised."""
        return all(abs(self.share(name) - LEVEL) <= band for name in NAMES)


def measure(streams: int, events: int) -> tuple[list[Coverage], list[Coverage]]:
    """The coverage of ours and of the known-bad estimators over this many streams."""
    ours: list[tuple[Coverage, Callable[[Stream], Intervals], bool]] = [
        (Coverage("published"), ours_published, False),
        (Coverage("both doors"), ours_everything, True),
    ]
    bad = [(Coverage(one.__name__.replace("_", " ")), one, False) for one in KNOWN_BAD]
    for seed in range(streams):
        one = stream(seed, events)
        of_published, of_all = truths(one), truths(one, everywhere=True)
        for coverage, estimator, everywhere in (*ours, *bad):
            coverage.add(estimator(one), of_all if everywhere else of_published)
        if (seed + 1) % REPORTED == 0:
            shares = ", ".join(
                f"{one.name} {min(map(one.share, NAMES)):.1%} to {max(map(one.share, NAMES)):.1%}" for one, _, _ in ours
            )
            print(f"{seed + 1} of {streams} streams; covered so far: {shares}", file=sys.stderr, flush=True)
    return [one for one, _, _ in ours], [one for one, _, _ in bad]


def table(found: list[Coverage], *, widths: bool) -> str:
    """Coverage, and the mean width where it is asked for, of each figure."""
    heads = [f"{one.name}{what}" for one in found for what in ((", covered", ", mean width") if widths else ("",))]
    lines = [f"| figure | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name in NAMES:
        shown = name if isinstance(name, str) else f"{name[0]} of {LABELS[name[1]]}"
        cells = []
        for one in found:
            cells.append(f"{100 * one.share(name):.1f} %")
            if widths:
                cells.append(f"{100 * one.width(name):.1f} points")
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=STREAMS, help="simulated months")
    parser.add_argument("--events", type=int, default=100_000, help="decisions in a month")
    options = parser.parse_args()
    started = time.perf_counter()
    ours, bad = measure(options.streams, options.events)
    band = BAND if options.streams >= FULL else BAND + 3 * float(np.sqrt(LEVEL * (1 - LEVEL) / options.streams))
    print(table(ours, widths=True))
    print()
    print(table(bad, widths=False))
    kept = [one.holds(band) for one in ours]
    caught = [not one.holds(band) for one in bad]
    print(f"\n{options.streams} streams of {options.events} decisions in {time.perf_counter() - started:.0f} s")
    print(f"ours cover {100 * LEVEL:.0f} +- {100 * band:.1f} %: {'yes' if all(kept) else 'NO'}")
    print(f"known-bad estimators that fail: {sum(caught)} of {len(bad)}")
    sys.exit(0 if all(kept) and all(caught) else 1)


if __name__ == "__main__":
    main()
