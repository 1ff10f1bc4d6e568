"""
Where the slow events of a worker lose their time: every delay over twice the median is attributed to the stage that took most of it.

    python -m benchmarks.tail [--rate 230] [--seconds 30] [--over MS] [--apart]

Events are sent at Poisson times. A delay is counted from the time at which an event should have been sent to the broker's confirmation of
its outcome, as the worker saw it. With --apart the worker has one core, and broker and sender share the other.
"""

import argparse
import json
import logging
import os
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers import figures, open_loop, running, staged, texts
from benchmarks.peers.open_loop import SETTLE_SECONDS, WAKE_EVENTS
from benchmarks.peers.saturation import Backlog
from benchmarks.peers.sending import send
from tagstream.stream.broker import broker

ANSWER_SECONDS = 10.0
# Of a collection of garbage; most take microseconds.
LONG_SECONDS = 0.001
# Stage -> the moments between which it lies, in the order in which an event passes them.
STAGES = {
    "the sender was late": ("intended", "sent"),
    "broker and fetch": ("sent", "polled"),
    "queue, until a thread of the model is free": ("polled", "begun"),
    "hand-over to the thread": ("begun", "thread"),
    "model and outcomes": ("thread", "decided"),
    "back to the event loop": ("decided", "back"),
    "earlier batches, producer and broker": ("back", "confirmed"),
}
LOCK = "model and outcomes: waiting for Python's lock or a core"


def parts(event: Mapping[str, float]) -> dict[str, float]:
    """
    The milliseconds of an event in each stage.

    >>> found = parts({"intended": 0, "sent": 0, "polled": 0.002, "begun": 0.002, "thread": 0.002, "decided": 0.012, "processor": 0.004,
    ...     "back": 0.012, "confirmed": 0.02})
    >>> round(found["model and outcomes"]), round(found[LOCK]), round(found["earlier batches, producer and broker"])
    (4, 6, 8)
    """
    found = {name: 1000 * (event[last] - event[first]) for name, (first, last) in STAGES.items()}
    waited = max(0.0, found["model and outcomes"] - 1000 * event["processor"])
    found["model and outcomes"] -= waited
    return found | {LOCK: waited}


def table(events: Sequence[Mapping[str, float]], garbage: Sequence[tuple[float, float, float]], over_ms: float | None) -> str:
    """The delays, and where those over the bound come from: `over_ms`, or twice the median."""
    delays = [1000 * (event["confirmed"] - event["intended"]) for event in events]
    p50, p99 = (figures.percentile(delays, share) for share in (0.5, 0.99))
    over_ms = 2 * p50 if over_ms is None else over_ms
    slow = [parts(event) for event, delay in zip(events, delays, strict=True) if delay > over_ms]
    lines = [
        f"{len(events)} events: p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {max(delays):.0f} ms; {len(slow)} over {over_ms:.3g} ms",
        "",
        "| stage | took most of so many slow events | mean ms in slow events | mean ms in all |",
        "|---|--:|--:|--:|",
    ]
    every = [parts(event) for event in events]
    for name in (*STAGES, LOCK):
        most = sum(max(one, key=one.__getitem__) == name for one in slow)
        mean = statistics.fmean(one[name] for one in slow) if slow else 0.0
        lines.append(f"| {name} | {most} | {mean:.1f} | {statistics.fmean(one[name] for one in every):.1f} |")
    long = [(begin, end) for begin, end, processor in garbage if processor > LONG_SECONDS and end > events[0]["intended"]]
    struck = sum(
        any(event["intended"] < end and begin < event["confirmed"] for begin, end in long)
        for event, delay in zip(events, delays, strict=True)
        if delay > over_ms
    )
    lines += [
        "",
        f"Collections of garbage that took over 1 ms of processor time: {len(long)}; {struck} slow events fell into one.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=230.0, help="events a second: a third of what the machine can")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--over", type=float, help="a delay of more milliseconds is slow; by default twice the median")
    parser.add_argument("--apart", action="store_true", help="the worker on one core, broker and sender on another")
    given = parser.parse_args()
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
    data, cores = os.environ.get("TAGSTREAM_DATA"), sorted(os.sched_getaffinity(0))
    if given.apart and len(cores) < 2:  # noqa: PLR2004
        parser.error("--apart needs two cores")
    after = list(open_loop.times(given.rate, given.seconds, seed=1))
    whole = Backlog.of(texts.load(Path(data) if data else None), len(after) + WAKE_EVENTS, "tail")
    events = list(whole.events())
    with ExitStack() as stack:
        if given.apart:
            os.sched_setaffinity(0, cores[1:2])
        kafka = stack.enter_context(broker(prefer="kafka"))
        bench = stack.enter_context(running.bench(kafka.bootstrap))
        settings = stack.enter_context(bench.outputs("tail", "tail"))
        file = bench.logs / "stages.jsonl"
        environ = {**bench.environment("tail", "tail"), staged.FILE: str(file)}
        arm = stack.enter_context(bench.process("staged", settings, environ, cores=str(cores[0]) if given.apart else ""))
        running.fill(settings, events[:WAKE_EVENTS])
        running.written([arm], WAKE_EVENTS, seconds=running.QUIET_SECONDS)
        time.sleep(SETTLE_SECONDS)
        send(settings, events[WAKE_EVENTS:], after)
        running.written([arm], len(events), seconds=open_loop.DRAIN * given.seconds)
        os.kill(arm.process.pid, signal.SIGUSR1)
        deadline = time.monotonic() + ANSWER_SECONDS
        while not file.exists():
            if time.monotonic() > deadline:
                msg = f"the worker did not write {file}. Next: see the end of its output: {arm.process.output()[-1500:]}"
                raise running.ArmError(msg)
            time.sleep(0.05)
        first, *lines = file.read_text(encoding="ascii").splitlines()
    print(table([json.loads(line) for line in lines], json.loads(first)["garbage"], given.over))


if __name__ == "__main__":
    main()
