"""Growth and start: the cost of an event by partitions and backlog, two workers beside one, and the time to the first tag."""

import os
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.peers import figures, running, saturation
from benchmarks.peers.saturation import BASELINE, Backlog, Run, Trial

SCALING_PARTITIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The processor time of one event, microseconds, for a topic of so many partitions with so many events before the worker."""

    partitions: int
    backlog: int
    cpu_us: float
    per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Events a second of one worker on its cores, and of two workers, each on as many cores of its own."""

    cores: int
    one: float
    two: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds from the start of a worker's process to its first outcome, and its memory after the backlog, MiB."""

    first_seconds: float
    peak_mib: float
    resident_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """All that was measured, and the reasons why it is void."""

    by_partitions: list[Cost]
    by_backlog: list[Cost]
    scaling: Scaling | None
    faults: list[str]


def halves(cores: Sequence[int]) -> tuple[list[int], list[int]] | None:
    """
    The cores of two workers, as many for each; None where there are not two.

    >>> halves([0, 1, 2, 3]), halves([0])
    (([0, 1], [2, 3]), None)
    """
    half = len(cores) // 2
    return (list(cores[:half]), list(cores[half : 2 * half])) if half else None


def run(trial: Trial, *, partitions: Sequence[int], backlogs: Sequence[int], events: int, rounds: int) -> Growth:
    """
    Cost by partitions, cost by backlog, then two workers.

    Args:
        trial: Broker, texts and labels.
        partitions: Of the topic that is read, with a backlog of `events`.
        backlogs: Events before a worker, which is stopped after `events` of them.
        events: Outcomes that are measured.
        rounds: How often, in turn; medians.
    """
    topics: dict[tuple[int, int], Backlog] = {}
    for key in dict.fromkeys([*((count, events) for count in partitions), *((4, count) for count in backlogs)]):
        trial.say(f"writing a backlog of {key[1]} events in {key[0]} partitions")
        topics[key] = saturation.backlog(trial, key[1], f"growth-{key[0]}-{key[1]}", partitions=key[0])
    runs: dict[tuple[int, int], list[Run]] = {key: [] for key in topics}
    for number in range(rounds):
        for key, found in topics.items():
            one = _run(trial, found, f"growth-{key[0]}-{key[1]}-{number}", events)
            runs[key].append(one)
            trial.say(
                f"round {number}  {key[0]} partitions, backlog {key[1]}: {one.cpu_us:.0f} us CPU an event, {one.per_second:.0f} events/s"
            )
    costs = {key: _cost(*key, found) for key, found in runs.items()}
    scaling, more = _scaling(trial, events, rounds)
    every = [one for found in runs.values() for one in found]
    return Growth(
        by_partitions=[costs[count, events] for count in partitions],
        by_backlog=[costs[4, count] for count in backlogs],
        scaling=scaling,
        faults=[*saturation.faults(every), *more],
    )


def _run(trial: Trial, found: Backlog, name: str, events: int) -> Run:
    expected = found.expected(trial.references, "bundle")
    with trial.bench.running(BASELINE, found.topic, name) as arm:
        whole = events >= len(found.texts)
        records = running.written([arm], events, seconds=20 * running.QUIET_SECONDS, whole=whole)
        work = saturation.work_of(records, found, expected, whole=whole)
        return saturation.measured(arm, records, work, counted=True)


def _cost(partitions: int, backlog: int, runs: Sequence[Run]) -> Cost:
    return Cost(
        partitions=partitions,
        backlog=backlog,
        cpu_us=statistics.median(one.cpu_us for one in runs),
        per_second=statistics.median(one.per_second for one in runs),
    )


def _scaling(trial: Trial, events: int, rounds: int) -> tuple[Scaling | None, list[str]]:
    """
    One worker on half of the cores, then two, by rounds; None where there is one core.

    The events are written once the workers hold their partitions, so that sharing them out is not measured.
    """
    cores = halves(sorted(os.sched_getaffinity(0)))
    if cores is None:
        return None, []
    rates: dict[int, list[float]] = {1: [], 2: []}
    reasons: list[str] = []
    for number in range(rounds):
        for workers in (1, 2):
            found = Backlog.of(trial.material, workers * events, f"growth-{workers}-workers-{number}")
            expected = found.expected(trial.references, "bundle")
            filling = trial.bench.topic(found.topic, SCALING_PARTITIONS)
            environ = trial.bench.environment(found.topic, found.topic)
            with ExitStack() as stack:
                settings = stack.enter_context(trial.bench.outputs(found.topic, found.topic))
                arms = [
                    stack.enter_context(trial.bench.process(BASELINE, settings, environ, ",".join(map(str, half))))
                    for half in cores[:workers]
                ]
                running.share_partitions(arms)
                running.fill(filling, found.events())
                records = running.written(arms, len(expected), seconds=20 * running.QUIET_SECONDS)
            work = saturation.work_of(records, found, expected)
            reasons += [f"{workers} workers: {reason}" for reason in work.faults(1.0)]
            rates[workers].append(figures.span_of([record.timestamp_ms for record in records]).per_second)
            trial.say(f"round {number}  {workers} workers, {len(cores[0])} cores each: {rates[workers][-1]:.0f} events/s")
    return Scaling(cores=len(cores[0]), one=statistics.median(rates[1]), two=statistics.median(rates[2])), reasons


def start(trial: Trial, *, events: int, rounds: int) -> tuple[Start, list[str]]:
    """Start a worker on a small backlog, again and again; medians, and the reasons why they are void."""
    found = saturation.backlog(trial, events, "start")
    expected = found.expected(trial.references, "bundle")
    starts: list[Start] = []
    runs: list[Run] = []
    for number in range(rounds):
        with trial.bench.running(BASELINE, "start", f"start-{number}") as arm:
            records = running.written([arm], events, seconds=running.QUIET_SECONDS)
            work = saturation.work_of(records, found, expected)
            runs.append(saturation.measured(arm, records, work, counted=True))
            starts.append(Start(first_seconds=runs[-1].first_seconds, peak_mib=arm.peak_mib, resident_mib=arm.resident_mib))
        trial.say(
            f"start {number}: first outcome after {starts[-1].first_seconds:.2f} s, {starts[-1].peak_mib:.0f} MiB at its peak"
        )
    middle = {name: statistics.median(getattr(one, name) for one in starts) for name in Start.__dataclass_fields__}
    return Start(**middle), saturation.faults(runs)
