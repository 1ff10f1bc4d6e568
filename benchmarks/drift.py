"""Measures the false alarms of the drift detectors, and their delay after a shift.

    python -m benchmarks.drift [--streams 100] [--stable 10000] [--workers 2] [--json FILE]

Every stream is seeded. It first gives 5,000 ordinary events (from which a worker learns its reference), then `--stable` more:
every report in those is a false alarm. Then, for each shift, another stream of the same seed learns, runs on for a random part
of a window, and shifts; the delay is counted from the first shifted event to the first report of each detector, at most 2,000
events later. Prints the table of docs/error-rates.md.
"""

import argparse
import json
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.drift_pooled import THRESHOLDS, PooledRules
from benchmarks.drift_streams import SHIFTS, Pool, Stream, pool
from tagstream.monitoring.drift.findings import Finding, Model
from tagstream.monitoring.drift.thresholds import DriftPlan
from tagstream.monitoring.drift.watch import DriftWatch
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import DriftSignal
from tagstream.monitoring.vocabulary import DriftKind

LEARNING_EVENTS = 5_000
WITHIN_EVENTS = 2_000
MOST_FALSE_ALARMS = 1.0
LEAST_FOUND = 0.95
WORKER_DETECTORS = (
    *(f"ADWIN of {signal.value}" for signal in DriftSignal),
    *(kind.value for kind in DriftKind if kind is not DriftKind.CHANGE),
)
DETECTORS = (*WORKER_DETECTORS, *THRESHOLDS)
PER_EVENTS = 10_000


@dataclass
class Results:
    """Results over all streams: false alarms by detector, delays by shift and detector."""

    streams: int = 0
    stable_events: int = 0
    false_alarms: Counter[str] = field(default_factory=Counter)
    delays: dict[str, list[dict[str, int]]] = field(default_factory=lambda: defaultdict(list))
    planted_among_first_five: list[bool] = field(default_factory=list)

    def add(self, other: "Results") -> None:
        """Add another's streams."""
        self.streams += other.streams
        self.stable_events += other.stable_events
        self.false_alarms.update(other.false_alarms)
        for shift, delays in other.delays.items():
            self.delays[shift] += delays
        self.planted_among_first_five += other.planted_among_first_five

    def false_alarms_per_10000(self, detector: str) -> float:
        """Reports a ten thousand stable events."""
        return self.false_alarms[detector] * PER_EVENTS / self.stable_events

    def found(self, shift: str, detectors: Iterable[str] = DETECTORS) -> float:
        """The share of streams in which one of these detectors reported the shift in time."""
        names = set(detectors)
        rows = self.delays[shift]
        return sum(bool(names & row.keys()) for row in rows) / len(rows)

    def delay(self, shift: str, detectors: Iterable[str]) -> float | None:
        """The median delay of the first of these detectors, in events, over the streams in which one reported."""
        names = set(detectors)
        firsts = [min(row[name] for name in names & row.keys()) for row in self.delays[shift] if names & row.keys()]
        return statistics.median(firsts) if firsts else None


class Watchers:
    """Every detector on one stream."""

    def __init__(self, pool: Pool, plan: DriftPlan) -> None:
        """The pool is the reference of the rules; the worker's detectors learn theirs from the stream."""
        manifest = pool.bundle.manifest
        self.watch = DriftWatch(
            model=Model(name=manifest.name, version=manifest.version, digest=pool.bundle.digest),
            worker="bench",
            plan=plan,
        )
        self.rules = PooledRules(pool.ordinary)
        self._firing: set[str] = set()

    def add(self, seen: Observation, at: int) -> tuple[list[str], list[Finding]]:
        """The detectors that begin to report with this event, and the worker's findings."""
        # One event a second: the worker says each thing once an hour.
        findings = self.watch.add([seen], at * 1_000).findings
        names = [f"ADWIN of {found.signal.value}" if found.signal else found.kind.value for found in findings]
        firing = self.rules.add(seen)
        names += [name for name in firing if name not in self._firing]
        # A rule that stays above its threshold is one alarm.
        if firing or at % 50 == 0:
            self._firing = set(firing)
        return names, findings


def stable(pool: Pool, seed: int, events: int, plan: DriftPlan) -> Results:
    """False alarms of one stream."""
    results = Results(streams=1, stable_events=events)
    watchers = Watchers(pool, plan)
    for at, seen in enumerate(Stream(pool, seed).ordinary(LEARNING_EVENTS + events)):
        names, _ = watchers.add(seen, at)
        if at >= LEARNING_EVENTS:
            results.false_alarms.update(names)
    return results


def shifted(pool: Pool, seed: int, shift: str, plan: DriftPlan) -> tuple[dict[str, int], list[Finding]]:
    """First report of each detector of one shifted stream, in events after the shift, and all findings."""
    watchers = Watchers(pool, plan)
    stream = Stream(pool, seed * len(SHIFTS) + SHIFTS.index(shift) + 1_000_003)
    before = LEARNING_EVENTS + 1_000 + (seed * 7_919 + SHIFTS.index(shift) * 104_729) % 1_000
    firsts: dict[str, int] = {}
    found: list[Finding] = []
    for at, seen in enumerate(stream.ordinary(before)):
        watchers.add(seen, at)
    for since, seen in enumerate(stream.shifted(shift, WITHIN_EVENTS), start=1):
        names, findings = watchers.add(seen, before + since)
        found += findings
        for name in names:
            firsts.setdefault(name, since)
    return firsts, found


def one(pool: Pool, seed: int, events: int, plan: DriftPlan) -> Results:
    """Everything of one seed."""
    results = stable(pool, seed, events, plan)
    for shift in SHIFTS:
        firsts, findings = shifted(pool, seed, shift, plan)
        results.delays[shift].append(firsts)
        if shift == "new topic":
            words = [finding.words[:5] for finding in findings if finding.kind is DriftKind.WORDS]
            results.planted_among_first_five.append(bool(words) and set(pool.planted) <= {word.word for word in words[-1]})
    return results


_POOL: list[Pool] = []


def _prepare() -> None:
    _POOL.append(pool())


def _some(seeds: Sequence[int], events: int, plan: DriftPlan) -> Results:
    results = Results()
    for seed in seeds:
        results.add(one(_POOL[0], seed, events, plan))
    return results


def run(*, streams: int, events: int, workers: int, plan: DriftPlan | None = None) -> Results:
    """All streams, in so many processes; each asks the model by itself."""
    plan = plan or DriftPlan()
    results = Results()
    with ProcessPoolExecutor(workers, initializer=_prepare) as executor:
        portions = [range(start, streams, workers * 4) for start in range(min(streams, workers * 4))]
        for done in executor.map(_some, portions, [events] * len(portions), [plan] * len(portions)):
            results.add(done)
            print(f"{results.streams} of {streams} streams", file=sys.stderr, flush=True)
    return results


def table(results: Results) -> str:
    """Markdown: a row per detector, a column per shift; the last rows combine the worker's and all detectors."""
    head = ["detector", "false alarms / 10,000", *SHIFTS]
    rows = [head, ["---", "---:", *["---:"] * len(SHIFTS)]]
    rows += [
        [name, f"{results.false_alarms_per_10000(name):.2f}", *(_cell(results, shift, [name]) for shift in SHIFTS)]
        for name in DETECTORS
    ]
    for title, names in (("**first of the worker's**", WORKER_DETECTORS), ("**first of all**", DETECTORS)):
        alarms = sum(results.false_alarms_per_10000(name) for name in names)
        rows.append([title, f"{alarms:.2f}", *(_cell(results, shift, names) for shift in SHIFTS)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(results: Results, shift: str, names: Iterable[str]) -> str:
    found, delay = results.found(shift, names), results.delay(shift, names)
    return f"{delay:.0f} ({found:.0%})" if delay is not None and found else "-"


def broken_promises(results: Results) -> list[str]:
    """The requirements that the results do not meet."""
    too_many = [
        f"{name}: {rate:.2f} false alarms per 10,000 stable events, at most {MOST_FALSE_ALARMS}"
        for name in DETECTORS
        if (rate := results.false_alarms_per_10000(name)) > MOST_FALSE_ALARMS
    ]
    missed = [
        f"{shift}: found in {share:.0%} of the streams within {WITHIN_EVENTS} events, at least {LEAST_FOUND:.0%}"
        for shift in SHIFTS
        if (share := results.found(shift)) < LEAST_FOUND
    ]
    return too_many + missed


def main() -> None:
    """Measure, print the table and the requirements that are not met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--stable", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    results = run(streams=options.streams, events=options.stable, workers=options.workers)
    print(table(results))
    named = statistics.mean(results.planted_among_first_five)
    print(
        f"\n{results.streams} streams, {results.stable_events} stable events; cells: median delay in events (share of streams found)."
    )
    print(
        f"The planted words of the new topic are among the first five of the last words finding in {named:.0%} of the streams."
    )
    if options.json:
        figures = {"false_alarms": results.false_alarms, "stable_events": results.stable_events, "delays": results.delays}
        options.json.write_text(json.dumps(figures) + "\n")
    broken = broken_promises(results)
    for line in broken:
        print(f"not held: {line}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
