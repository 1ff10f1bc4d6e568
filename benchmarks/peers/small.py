"""Small batches: what an event costs when few come, in processor time of the arm and of the broker, and in requests to the broker."""

import json
import os
import signal
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import figures, open_loop, running, saturation
from benchmarks.peers.figures import Work
from benchmarks.peers.open_loop import SETTLE_SECONDS, WAKE_EVENTS
from benchmarks.peers.running import TICKS, Arm
from benchmarks.peers.saturation import BASELINE, Backlog, Trial
from benchmarks.peers.sending import send

RATES = (20.0, 70.0, 200.0)
ARMS = (BASELINE, "aiokafka")
# A signal is answered between two bytecodes of the program's main thread.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """
    One arm at one rate.

    Attributes:
        rate: Events a second that were intended.
        arm_ms: Processor milliseconds of the arm for an event.
        broker_ms: Those of the broker, whatever it did meanwhile.
        requests: By name, the requests of the arm's clients to the broker for an event.
        p50_ms: Of the delays from the intended time to the broker's timestamp of the outcome.
        p99_ms: The same.
    """

    arm: str
    rate: float
    arm_ms: float
    broker_ms: float
    requests: dict[str, float]
    p50_ms: float
    p99_ms: float
    work: Work


def run(trial: Trial, *, rates: Sequence[float], rounds: int, seconds: float) -> list[Spent]:
    """
    Both arms at each rate, in turn, every second round in the other order.

    Args:
        trial: Broker, texts and labels.
        rates: Events a second.
        rounds: How often.
        seconds: How long each run lasts.
    """
    found: list[Spent] = []
    for number in range(rounds):
        for rate in rates:
            for arm in ARMS if number % 2 == 0 else ARMS[::-1]:
                one = _run(trial, arm, rate, seconds, f"small-{number}-{rate:.0f}-{arm}")
                found.append(one)
                trial.say(
                    f"round {number}  {arm} at {rate:.0f} events/s: {one.arm_ms:.2f} ms CPU an event, broker {one.broker_ms:.2f}, "
                    f"{sum(one.requests.values()):.2f} requests, p50 {one.p50_ms:.0f} ms, p99 {one.p99_ms:.0f} ms"
                )
    return found


def median(runs: Sequence[Spent]) -> Spent:
    """The run with the median cost of an event."""
    return sorted(runs, key=lambda one: one.arm_ms)[(len(runs) - 1) // 2]


def median_ratio(runs: Sequence[Spent], rate: float) -> float:
    """The worker's cost of an event over that of the baseline beside it, in the median of the rounds."""
    ours, theirs = ([one.arm_ms for one in runs if (one.rate, one.arm) == (rate, arm)] for arm in ARMS)
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def faults(runs: Sequence[Spent]) -> list[str]:
    """As `saturation.faults`."""
    return [
        f"{one.arm} at {one.rate:.0f} events/s: {reason}"
        for one in runs
        for reason in one.work.faults(saturation.KINDS[one.arm].least_agreement)
    ]


def _run(trial: Trial, arm: str, rate: float, seconds: float, topic: str) -> Spent:
    after = list(open_loop.times(rate, seconds, seed=round(rate)))
    settings = trial.bench.settings(topic, topic)
    whole = Backlog.of(trial.material, len(after) + WAKE_EVENTS, topic)
    events = list(whole.events())
    expected = whole.expected(trial.references, saturation.KINDS[arm].model)
    broker = _broker()
    with trial.bench.running(arm, topic, topic, counted=True) as started:
        running.fill(settings, events[:WAKE_EVENTS])
        running.written([started], WAKE_EVENTS, seconds=running.QUIET_SECONDS)
        time.sleep(SETTLE_SECONDS)
        before, ours, theirs = counts_of(started), _seconds(started.process.pid), _seconds(broker)
        send(settings, events[WAKE_EVENTS:], after)
        spent = _seconds(started.process.pid) - ours, _seconds(broker) - theirs
        requests = counts_of(started) - before
        records = running.written([started], len(events), seconds=open_loop.DRAIN * seconds + running.QUIET_SECONDS)
    stamped = [(at, record.timestamp_ms) for record in records if (at := open_loop.intended_of(record)) is not None]
    delays = figures.delays_ms(stamped, 0)
    return Spent(
        arm=arm,
        rate=rate,
        arm_ms=1000 * spent[0] / len(after),
        broker_ms=1000 * spent[1] / len(after),
        requests={name: count / len(after) for name, count in sorted(requests.items())},
        p50_ms=figures.percentile(delays, 0.5),
        p99_ms=figures.percentile(delays, 0.99),
        work=saturation.work_of(records, whole, expected),
    )


def counts_of(arm: Arm) -> Counter[str]:
    """
    The requests of an arm so far, by name.

    Raises:
        ArmError: It does not answer.
    """
    file = arm.counts
    file.unlink(missing_ok=True)
    os.kill(arm.process.pid, signal.SIGUSR1)
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        if file.exists():
            return Counter(json.loads(file.read_text(encoding="ascii")))
        time.sleep(0.01)
    msg = f"the arm {arm.name} did not write {file} within {ANSWER_SECONDS:.0f} s. Next: see the end of its output: {arm.process.output()[-1500:]}"
    raise running.ArmError(msg)


def _broker() -> int:
    """
    The process of the broker that this process started.

    Raises:
        ArmError: There is none: a broker elsewhere cannot be measured.
    """
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text(encoding="utf-8").partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name == "java" and int(rest.split()[1]) == os.getpid():
            return int(stat.parent.name)
    msg = "the broker is no process of this program, so its processor time cannot be read. Next: unset TAGSTREAM_BROKERS."
    raise running.ArmError(msg)


def _seconds(process: int) -> float:
    """Processor seconds of all threads of a process so far."""
    words = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS
