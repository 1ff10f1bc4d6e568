"""Shows whether what readers are shown holds on streams that are no ordinary ones, and how often it is shown.

`python -m benchmarks.quality.ways` prints a table of docs/error-rates.md and exits with 1 if a figure that is shown covers less than
93 %, or if the accuracy of 100 audits is shown in less than 80 % of ordinary streams.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.quality.estimators import NAMES, Intervals, anyway, shown_everything, shown_published, truths
from benchmarks.quality.streams import ORDINARY, Stream, Way, stream

STREAMS = 200
LEAST_COVERED, LEAST_SHOWN, ENOUGH = 0.93, 0.8, 100
# About so many audits are drawn of a hundred published decisions, which are about half of all.
EVENTS_AN_AUDIT = 96
WAYS: tuple[tuple[str, int, Way], ...] = (
    ("ordinary, 36 audits", 36, ORDINARY),
    ("ordinary, 100 audits", 100, ORDINARY),
    ("ordinary, 300 audits", 300, ORDINARY),
    ("ordinary, 1,000 audits", 1000, ORDINARY),
    ("a label of 0.3 %, slips of 5 %", 1000, Way(rare=0.003, slip=0.05)),
    ("all slips to one label", 1000, Way(slip=0.05, toward=3)),
    ("mistakes left out", 1000, Way(left_out=1.0)),
)
SCOPES: tuple[tuple[str, Callable[[Stream], Intervals], bool], ...] = (
    ("published", shown_published, False),
    ("both doors", shown_everything, True),
    ("published, whatever is unanswered", anyway, False),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=STREAMS, help="simulated months of each kind")
    parser.add_argument("--only", default="", help="kinds whose name has this")
    options = parser.parse_args()
    print("| stream | scope | accuracy shown | accuracy covered | figures of labels shown | covered | the least |")
    print("|---|---|---|---|---|---|---|")
    good = True
    for name, audits, way in WAYS:
        if options.only in name:
            good &= _rows(name, audits, way, options.streams)
    sys.exit(0 if good else 1)


def _rows(name: str, audits: int, way: Way, streams: int) -> bool:
    held: dict[str, dict[object, list[bool]]] = {scope: {one: [] for one in NAMES} for scope, _, _ in SCOPES}
    for seed in range(streams):
        one = stream(seed, audits * EVENTS_AN_AUDIT, way)
        for scope, estimator, everywhere in SCOPES:
            truth = truths(one, everywhere=everywhere)
            for figure, (low, high) in estimator(one).items():
                held[scope][figure].append(low <= truth[figure] <= high)
    good = True
    for scope, _, _ in SCOPES:
        accuracy = held[scope]["accuracy"]
        labels = [held[scope][one] for one in NAMES if one != "accuracy"]
        every = [one for figure in labels for one in figure]
        # A figure that is shown now and then has too few streams to say anything of it.
        often = [float(np.mean(figure)) for figure in labels if len(figure) >= streams / 4]
        print(
            f"| {name} | {scope} | {len(accuracy) / streams:.0%} | {_share(accuracy)} | {len(every) / streams / len(labels):.0%} "
            f"| {_share(every)} | {f'{min(often):.1%}' if often else '-'} |",
            flush=True,
        )
        error = 3 * np.sqrt(LEAST_COVERED * (1 - LEAST_COVERED) / streams)
        good &= not accuracy or float(np.mean(accuracy)) >= LEAST_COVERED - error
        if way is ORDINARY and audits >= ENOUGH:
            good &= len(accuracy) >= LEAST_SHOWN * streams
    return good


def _share(held: list[bool]) -> str:
    return f"{np.mean(held):.1%}" if held else "-"


if __name__ == "__main__":
    main()
