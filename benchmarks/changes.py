"""Measures what a change of the model costs a worker: `python -m benchmarks.changes` prints the figures of docs/rollout.md.

Four parts, each with real workers, the shipped bundle and one Apache Kafka on this machine:

    idle        processor time an event at saturation, with a topic `rollout` that nobody writes to, and without one; arms take turns
    thresholds  a steady stream, and changes to bundles with the same network: the longest an event waited, and the memory that was added
    network     the same with a network of its own in each bundle
    shadow      events a second at saturation, alone and beside a shadow that decides every event with two models; worker and shadow
                have a core each, the broker takes what both leave; arms take turns

An event's age is the broker's time of its outcome less the time of its record. Of each change the oldest event between its `close` and a second after its
`marks` is the hold, and the oldest one since its `plan` the pause. Beside them stand the ages of events outside of all changes, and the load of the machine.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import onnx

from benchmarks.peers import figures, running, texts
from benchmarks.peers.running import Arm, Bench
from benchmarks.throughput import begin_rollout
from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle
from tagstream.stream.broker import broker
from tagstream.stream.broker.processes import Process
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.rollout import BundleName, Close, Marks, Plan, read_rollout
from tagstream.stream.kafka import producer
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.settings import Settings

PARTS = ("idle", "thresholds", "network", "shadow")
WORKERS_CORE, SHADOWS_CORE = "0", "1"
EVENTS, ROUNDS, CHANGES, RATE = 12_000, 6, 20, 50.0
# Between two changes, so that the events of one are not those of the next, and before memory is read.
SETTLE_SECONDS, WARM_SECONDS = 3.0, 20.0
# A worker's memory grows a little in its first minutes without any change.
CONTROL_SECONDS = 60.0
# Events that were held are decided within this time after the marks.
AFTER_MS = 1000
COMMAND_SECONDS = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """When an epoch was planned, closed and begun, Unix milliseconds."""

    plan_ms: int
    close_ms: int
    marks_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """
    The cost of some changes.

    Attributes:
        holds_ms: Of each change, the age of the oldest event between close and marks.
        pauses_ms: The same since its plan, while models are loaded too.
        ordinary_ms: Ages of events outside of all changes.
        resident_mib: Resident memory of the worker: warm, after `CONTROL_SECONDS` without a change, and after each change.
    """

    holds_ms: Sequence[float]
    pauses_ms: Sequence[float]
    ordinary_ms: Sequence[float]
    resident_mib: Sequence[float]


def changes_of(records: Sequence[Record]) -> list[Change]:
    """The changes that a topic `rollout` tells of; its records have the time of their writing."""
    plans, closes, found = dict[int, int](), dict[int, int](), []
    for record in records:
        assert record.timestamp_ms is not None
        match read_rollout(record):
            case Plan(epoch=epoch):
                plans[epoch] = record.timestamp_ms
            case Close(epoch=epoch):
                closes[epoch] = record.timestamp_ms
            case Marks(epoch=epoch) if epoch in closes:
                found.append(Change(plan_ms=plans[epoch], close_ms=closes[epoch], marks_ms=record.timestamp_ms))
            case _:
                pass
    return found


def ages_in(ages: Sequence[tuple[float, float]], first_ms: float, last_ms: float) -> list[float]:
    """
    The ages of events that were sent in a span of time, or waited in it; each event is its time and its age, in milliseconds.

    >>> ages_in([(0, 5), (10, 20), (40, 7)], 12, 30)
    [20]
    """
    return [age for sent, age in ages if sent <= last_ms and sent + age >= first_ms]


def costs(
    ages: Sequence[tuple[float, float]], changes: Sequence[Change], resident_mib: Sequence[float], begin_ms: float
) -> Changed:
    """The figures of some changes; what was sent before `begin_ms` is the warm-up."""
    spans = [(one.plan_ms, one.marks_ms + AFTER_MS) for one in changes]
    quiet = [(begin_ms, spans[0][0]), *((before[1], after[0]) for before, after in pairwise(spans))]
    return Changed(
        holds_ms=[max(ages_in(ages, one.close_ms, one.marks_ms + AFTER_MS)) for one in changes],
        pauses_ms=[max(ages_in(ages, *span)) for span in spans],
        ordinary_ms=[age for sent, age in ages if any(first <= sent and sent + age <= last for first, last in quiet)],
        resident_mib=resident_mib,
    )


def idle(bench: Bench, material: texts.Material, *, events: int, rounds: int, say: Callable[[str], None]) -> None:
    """Print processor time an event with the topic over that without, in each round; the first round is a warm-up."""
    shipped = bundles.read(DEFAULT_BUNDLE)
    named = BundleName(digest=shipped.digest, name=shipped.manifest.name, version=shipped.manifest.version)
    content = "idle"
    running.fill(bench.topic(content, 4), (event for event, _ in texts.events(material, events)))

    def cpu_us(arm: str, number: int) -> float:
        name = f"{arm}-{number}"
        with bench.outputs(content, name) as settings:
            if arm == "with":
                asyncio.run(begin_rollout(settings, named))
            with bench.process("tagstream", settings, bench.environment(content, name)) as worker:
                records = running.written([worker], events, seconds=600)
                worker.look()
                span = figures.span_of([record.timestamp_ms or 0 for record in records])
                return 1e6 * figures.cpu_within(worker.readings, span.first_ms, span.last_ms) / span.events

    ratios = []
    for number in range(rounds + 1):
        arms = ("without", "with") if number % 2 == 0 else ("with", "without")
        found = {arm: cpu_us(arm, number) for arm in arms}
        ratio = found["with"] / found["without"]
        label = f"round {number}{' (warm-up)' if number == 0 else ''}"
        say(
            f"{label}: {found['without']:.0f} us CPU an event without the topic, {found['with']:.0f} with it, ratio {ratio:.4f}; {load()}"
        )
        if number:
            ratios.append(ratio)
    say(f"idle: ratio {statistics.median(ratios):.4f} (median of {len(ratios)}; {min(ratios):.4f} to {max(ratios):.4f})")


def shadow(
    bench: Bench, material: texts.Material, new: Bundle, *, events: int, rounds: int, say: Callable[[str], None]
) -> None:
    """Print events a second beside a shadow over those without, in each round; the first round is a warm-up."""
    content = "shadowed"
    running.fill(bench.topic(content, 4), (event for event, _ in texts.events(material, events)))

    def rate(arm: str, number: int) -> float:
        name = f"{arm}-{number}"
        with bench.outputs(content, name) as settings, ExitStack() as stack:
            environ = bench.environment(content, name)
            follower = stack.enter_context(following(bench, settings, environ, new)) if arm == "shadowed" else None
            worker = stack.enter_context(bench.process("tagstream", settings, environ, cores=WORKERS_CORE))
            records = running.written([worker], events, seconds=600)
            if follower is not None and follower.exit_code is not None:
                msg = f"the shadow has ended before the worker: {follower.output()[-1500:]}"
                raise running.ArmError(msg)
            span = figures.span_of([record.timestamp_ms or 0 for record in records])
            return 1000 * span.events / (span.last_ms - span.first_ms)

    ratios = []
    for number in range(rounds + 1):
        arms = ("alone", "shadowed") if number % 2 == 0 else ("shadowed", "alone")
        found = {arm: rate(arm, number) for arm in arms}
        ratio = found["shadowed"] / found["alone"]
        label = f"round {number}{' (warm-up)' if number == 0 else ''}"
        say(
            f"{label}: {found['alone']:.0f} events/s alone, {found['shadowed']:.0f} beside a shadow, ratio {ratio:.4f}; {load()}"
        )
        if number:
            ratios.append(ratio)
    say(f"shadow: ratio {statistics.median(ratios):.4f} (median of {len(ratios)}; {min(ratios):.4f} to {max(ratios):.4f})")


@contextmanager
def following(bench: Bench, settings: Settings, environ: dict[str, str], new: Bundle) -> Iterator[Process]:
    """A shadow on a core of its own, which has begun to write what it found."""
    words = ["rollout", "shadow", new.path, "--sample", "1", "--from-beginning", "--metrics-port", "0"]
    process = bench.processes.start(
        [running.taskset(), "-c", SHADOWS_CORE, sys.executable, "-m", "tagstream.stream.cli.main", *words],
        env={**os.environ, **environ},
        log_file=bench.logs / f"{settings.group}-shadow.log",
    )
    try:
        give_up = time.monotonic() + COMMAND_SECONDS
        with log_of(settings, settings.topics.shadow) as log:
            while not any(log.ends().values()):
                if process.exit_code is not None or time.monotonic() > give_up:
                    msg = f"the shadow does not decide: {process.output()[-1500:]}"
                    raise running.ArmError(msg)
                time.sleep(0.2)
        yield process
    finally:
        process.kill()


def change(
    bench: Bench, material: texts.Material, made: Sequence[Bundle], *, name: str, rate: float, say: Callable[[str], None]
) -> None:
    """Print what changes to these bundles, one after the other, cost a worker that decides `rate` events a second."""
    content = f"content-{name}"
    filling = bench.topic(content, 4)
    environ = {**bench.environment(content, name), "TAGSTREAM_ROLLOUT__BUNDLES": str(bench.logs / "bundles")}
    with bench.outputs(content, name) as settings:
        with bench.process("tagstream", settings, environ) as worker:
            with stream(filling, material, rate) as sent:
                running.written([worker], int(rate * WARM_SECONDS), seconds=COMMAND_SECONDS, whole=False)
                begin_ms = time.time() * 1000
                resident = [memory(worker)]
                time.sleep(CONTROL_SECONDS)
                resident.append(memory(worker))
                for one in made:
                    promote(one, environ)
                    resident.append(memory(worker))
            records = running.written([worker], len(sent), seconds=COMMAND_SECONDS)
        ages = [
            (sent[one.id], (record.timestamp_ms or 0) - sent[one.id]) for record in records if (one := texts.outcome_of(record))
        ]
        with log_of(settings, settings.rollout.topic) as log:
            ends = log.ends()
            changes = changes_of(list(log.read(dict.fromkeys(ends, 0), ends)))
    if len(ages) != len(sent) or len(changes) != len(made):
        msg = f"{len(sent)} events have {len(ages)} outcomes, {len(made)} changes {len(changes)} marks: nothing can be said of them"
        raise running.ArmError(msg)
    found = costs(ages, changes, resident, begin_ms)
    say(f"{name}: {len(changes)} changes at {rate:g} events/s; {load()}")
    for title, values in (
        ("hold", found.holds_ms),
        ("pause since the plan", found.pauses_ms),
        ("age outside of changes", found.ordinary_ms),
    ):
        p50, p99 = np.quantile(values, (0.5, 0.99))
        say(f"  {title}: p50 {p50:.0f} ms, p99 {p99:.0f} ms, most {max(values):.0f} ms")
    warm, first, *later = found.resident_mib
    say(
        f"  resident: {warm:.1f} MiB, {first - warm:+.1f} in {CONTROL_SECONDS:.0f} s without a change, then "
        f"{later[0] - first:+.1f} after the first change, {later[-1] - first:+.1f} after the last"
    )


@contextmanager
def stream(settings: Settings, material: texts.Material, rate: float) -> Iterator[dict[str, float]]:
    """Events at a steady rate until the block ends: when each was sent, Unix milliseconds, by its id."""
    sent: dict[str, float] = {}
    over = threading.Event()

    def run() -> None:
        began = time.monotonic()
        with producer.sender(settings) as sender:
            for number, (event, _) in enumerate(texts.events(material, sys.maxsize)):
                if over.wait(max(0.0, began + number / rate - time.monotonic())):
                    return
                sent[event.id] = time.time() * 1000
                sender.send(settings.topics.content, key=event.id.encode(), value=texts.value_of(event))

    sending = threading.Thread(target=run, name="stream")
    sending.start()
    try:
        yield sent
    finally:
        over.set()
        sending.join()


def promote(bundle: Bundle, environ: dict[str, str]) -> None:
    """Change the model by the command, and wait until memory has settled."""
    argv = [sys.executable, "-m", "tagstream.stream.cli.main", "rollout", "promote", str(bundle.path), "--why", "benchmark"]
    done = subprocess.run(argv, env={**os.environ, **environ}, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode:
        msg = f"the model was not changed: {done.stderr.decode()[-1500:]}"
        raise running.ArmError(msg)
    time.sleep(SETTLE_SECONDS)


def memory(worker: Arm) -> float:
    """The worker's resident memory now, MiB."""
    worker.look()
    return worker.resident_mib


def variants(folder: Path, count: int, *, network: bool) -> list[Bundle]:
    """Bundles like the shipped one: with a manifest of their own, and with a network file of their own where `network` says so."""
    shipped = bundles.read(DEFAULT_BUNDLE)
    found = []
    for number in range(count):
        version = f"{'network' if network else 'night'}-{number}"
        model = shipped.model
        if network:
            graph = onnx.load_model_from_string(model)
            graph.producer_version = version
            model = graph.SerializeToString()
        manifest = msgspec.structs.replace(shipped.manifest, version=version)
        found.append(bundles.write(folder / version, manifest=manifest, model=model, tokenizer=shipped.tokenizer))
    return found


def load() -> str:
    """The load of the machine."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def main() -> None:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="all unless given")
    parser.add_argument("--events", type=int, default=EVENTS, help="of each run of the parts idle and shadow")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--changes", type=int, default=CHANGES)
    parser.add_argument("--rate", type=float, default=RATE, help="events a second while the model is changed")
    options = parser.parse_args()

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    data = os.environ.get("TAGSTREAM_DATA")
    material = texts.load(Path(data) if data else None)
    with broker(prefer="kafka") as kafka, running.bench(kafka.bootstrap) as bench, tempfile.TemporaryDirectory() as folder:
        for part in options.part or PARTS:
            if part == "idle":
                idle(bench, material, events=options.events, rounds=options.rounds, say=say)
            elif part == "shadow":
                (new,) = variants(Path(folder), 1, network=True)
                shadow(bench, material, new, events=options.events, rounds=options.rounds, say=say)
            else:
                made = variants(Path(folder), options.changes, network=part == "network")
                change(bench, material, made, name=part, rate=options.rate, say=say)


if __name__ == "__main__":
    main()
