"""The open loop: events are sent at Poisson times that no arm can slow down, and each delay counts from the intended time."""

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.peers import figures, running, saturation
from benchmarks.peers.figures import Work
from benchmarks.peers.saturation import BASELINE, Backlog, Trial
from benchmarks.peers.sending import HEADER, send
from tagstream.stream.contract.event import Record

ARMS = (BASELINE, "aiokafka")
RATES = (100.0, 250.0, 400.0, 600.0)
# Of the worker's saturated rate.
SHARES = (0.1, 0.3, 0.5, 0.7)
# The first seconds at a rate are left out: batches settle.
SETTLE_SECONDS = 2.0
WAKE_EVENTS = 64
# At most so many times the length of a rate, for a lag to go.
DRAIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """
    One arm at one rate, in one round.

    Attributes:
        arm: A name in `KINDS`.
        rate: Events a second that were intended.
        p50_ms: Of the delays from the intended time to the moment at which the broker appended the outcome.
        p99_ms: The same.
        end_lag: Events outstanding when the last one was intended.
        late_ms: How late the sender itself was, in the median.
        most_late_ms: The same for the event that was sent latest.
    """

    arm: str
    rate: float
    p50_ms: float
    p99_ms: float
    end_lag: int
    late_ms: float
    most_late_ms: float
    work: Work


def times(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """
    Seconds after the start of a Poisson process' events, in order.

    >>> 400 < len(list(times(100, 5, 1))) < 600
    True
    """
    chance = random.Random(seed)  # noqa: S311 - reproducible
    moment = chance.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += chance.expovariate(rate)


def intended_of(record: Record) -> float | None:
    """The intended time in a record's header, Unix milliseconds; None where there is none."""
    found = dict(record.headers).get(HEADER)
    return None if found is None else int(found) / 1000


def point(records: Sequence[Record], *, arm: str, rate: float, late: Sequence[float], work: Work) -> Point:
    """
    The figures of one arm at one rate, from the outcomes alone.

    Raises:
        ValueError: No outcome has its intended time, or none was intended after the first seconds.
    """
    stamped = [(at, record.timestamp_ms) for record in records if (at := intended_of(record)) is not None]
    if not stamped:
        msg = f"none of {len(records)} outcomes has the header {HEADER}. Next: see that the arm passes headers on."
        raise ValueError(msg)
    intended, written = sorted(at for at, _ in stamped), sorted(stamp for _, stamp in stamped)
    delays = figures.delays_ms(stamped, intended[0] + 1000 * SETTLE_SECONDS)
    return Point(
        arm=arm,
        rate=rate,
        p50_ms=figures.percentile(delays, 0.5),
        p99_ms=figures.percentile(delays, 0.99),
        end_lag=figures.lag(intended, written, intended[-1]),
        late_ms=figures.percentile(late, 0.5),
        most_late_ms=max(late),
        work=work,
    )


def run(trial: Trial, *, rates: Sequence[float], rounds: int, seconds: float) -> list[Point]:
    """
    Both arms at each rate, in turn, every second round in the other order; each time with a process and a topic of its own.

    Args:
        trial: Broker, texts and labels.
        rates: Events a second.
        rounds: How often.
        seconds: How long each rate lasts.
    """
    found: list[Point] = []
    for number in range(rounds):
        for rate in rates:
            for arm in ARMS if number % 2 == 0 else ARMS[::-1]:
                one = _run(trial, arm, rate, seconds, seed=number)
                found.append(one)
                trial.say(
                    f"round {number}  {arm:<10} at {rate:.0f} events/s: p50 {one.p50_ms:.0f} ms, p99 {one.p99_ms:.0f} ms, "
                    f"lag {one.end_lag} at the end, sender late by {one.late_ms:.1f} ms (at most {one.most_late_ms:.0f})"
                )
    return found


def _run(trial: Trial, arm: str, rate: float, seconds: float, *, seed: int) -> Point:
    after = list(times(rate, seconds, seed=seed))
    topic = f"open-{seed}-{rate:.0f}-{arm}"
    settings = trial.bench.settings(topic, topic)
    whole = Backlog.of(trial.material, len(after) + WAKE_EVENTS, topic)
    events = list(whole.events())
    expected = whole.expected(trial.references, saturation.KINDS[arm].model)
    with trial.bench.running(arm, topic, topic) as started:
        # The arm has joined its group and warmed up before the first intended time.
        running.fill(settings, events[:WAKE_EVENTS])
        running.written([started], WAKE_EVENTS, seconds=running.QUIET_SECONDS)
        late = send(settings, events[WAKE_EVENTS:], after)
        records = running.written([started], len(events), seconds=DRAIN * seconds + running.QUIET_SECONDS)
    return point(records, arm=arm, rate=rate, late=late, work=saturation.work_of(records, whole, expected))


def of(points: Sequence[Point], rate: float, arm: str) -> list[Point]:
    """Those of one arm at one rate, in the order of the rounds."""
    return [one for one in points if (one.rate, one.arm) == (rate, arm)]


def ratio(points: Sequence[Point], rate: float, figure: Callable[[Point], float]) -> float:
    """A figure of the worker over that of the baseline in the same round, in the median of the rounds."""
    ours, theirs = (of(points, rate, arm) for arm in ARMS)
    return statistics.median(figure(one) / max(1.0, figure(other)) for one, other in zip(ours, theirs, strict=True))


def faults(points: Sequence[Point]) -> list[str]:
    """As `saturation.faults`."""
    return [
        f"{one.arm} at {one.rate:.0f} events/s: {reason}"
        for one in points
        for reason in one.work.faults(saturation.KINDS[one.arm].least_agreement)
    ]
