"""Measures the throughput without a model: one worker over a fixed backlog, interleaved with other programs.

    python -m benchmarks.throughput [--events 20000] [--rounds 3] [--arms tagstream,bare,bare-fast,raw]

Every arm is a process that reads the same backlog from one Apache Kafka on this machine. The rate is taken from the
timestamps of the records that it wrote, from the tenth part on (start-up and warm-up are not the frame), so that this
program's own polling is not measured. The first round is a warm-up and is not counted. Ratios are of medians.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peers.figures import span_of
from tagstream.stream.broker import broker
from tagstream.stream.contract.rollout_records import BundleName
from tagstream.stream.kafka import admin, producer
from tagstream.stream.kafka.reading import tail
from tagstream.stream.rollout.control import controlling
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings

ARMS = ("tagstream", "bare", "bare-fast", "raw")
# Only measured if named in --arms.
FURTHER_ARMS = ("exactly-once", "rollout")
BASELINE = "bare"
TARGET_RATIO = 0.9
ARM_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Events per second of one arm in one round."""

    arm: str
    counted: bool
    per_second: float


def settings_of(bootstrap: str, content: str, suffix: str) -> dict[str, str]:
    """The environment of one arm: its own output topics and group."""
    names = {key: f"{key}-{suffix}" for key in ("tagged", "review", "dlq", "audit", "reviewed", "reports", "shadow", "drift")}
    return {
        "TAGSTREAM_BROKERS": bootstrap,
        "TAGSTREAM_GROUP": f"bench-{suffix}",
        "TAGSTREAM_METRICS_PORT": "0",
        "TAGSTREAM_TOPIC_PARTITIONS": "4",
        "TAGSTREAM_TOPICS__CONTENT": content,
        "TAGSTREAM_ROLLOUT__TOPIC": f"rollout-{suffix}",
        "TAGSTREAM_ROLLOUT__WORKERS_TOPIC": f"rollout-workers-{suffix}",
        **{f"TAGSTREAM_TOPICS__{key.upper()}": name for key, name in names.items()},
    }


def fill(settings: Settings, events: int) -> None:
    """Write the backlog: sample-like events of about 300 bytes."""
    text = "a description of some thirty words that says what the item is about, " * 3
    with producer.sender(settings) as sender:
        for number in range(events):
            event = {
                "id": f"event-{number}",
                "title": f"An item with the number {number}",
                "description": text,
                "source": "bench",
            }
            sender.send(settings.topics.content, key=str(number).encode(), value=json.dumps(event).encode())
        sender.flush()


def measure(arm: str, environ: dict[str, str], events: int) -> float:
    """Run one arm until it has written every event; events per second."""
    settings = load(environ).settings
    admin.create(settings)
    if arm == "rollout":
        asyncio.run(begin_rollout(settings, BundleName(digest="0" * 64, name="free", version="0")))
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.arms", arm], env={**os.environ, **environ})
    try:
        return _rate(settings, events, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def begin_rollout(settings: Settings, bundle: BundleName) -> None:
    """Let the topic `rollout` say that this bundle has decided so far: from then on a worker asks for its end before each batch."""
    async with controlling(settings, by="benchmark") as control:
        await control.controller.begin()
        await control.controller.start(bundle, settings.group)


def _rate(settings: Settings, events: int, process: "subprocess.Popen[bytes]") -> float:
    deadline = time.monotonic() + ARM_TIMEOUT_SECONDS
    stamps: list[int] = []
    written = (settings.topics.tagged, settings.topics.review, settings.topics.dlq)
    for records in tail.read(settings, written, from_beginning=True):
        stamps.extend(record.timestamp_ms for record in records)
        if len(stamps) >= events:
            break
        if process.poll() is not None or time.monotonic() > deadline:
            why = "ended" if process.poll() is not None else f"wrote {len(stamps)} of {events} in {ARM_TIMEOUT_SECONDS} s"
            msg = f"the arm {why}: no rate. Next: run `python -m benchmarks.arms` by hand with the same environment."
            raise RuntimeError(msg)
    return span_of(stamps).per_second


def run(*, events: int, rounds: int, arms: list[str], console: Console) -> list[Rate]:
    """All rounds, arms in alternating order; one more round first that is not counted."""
    rates: list[Rate] = []
    with broker(prefer="kafka", log=lambda line: console.print(f"[dim]{line}[/dim]")) as kafka:
        content = f"content-{uuid.uuid4().hex[:6]}"
        backlog = load({**settings_of(kafka.bootstrap, content, "fill")}).settings
        admin.create(backlog)
        fill(backlog, events)
        for number in range(rounds + 1):
            for arm in arms if number % 2 == 0 else arms[::-1]:
                rate = measure(arm, settings_of(kafka.bootstrap, content, f"{arm}-{number}"), events)
                rates.append(Rate(arm=arm, counted=number > 0, per_second=rate))
                console.print(f"round {number}{' (warm-up)' if number == 0 else ''}  {arm:<10} {rate:8.0f} events/s")
    return rates


def summary(rates: list[Rate]) -> dict[str, dict[str, float]]:
    """Median, least and most of the counted rounds, and the ratio of medians to the bare agent's."""
    by_arm: dict[str, list[float]] = {}
    for rate in rates:
        if rate.counted:
            by_arm.setdefault(rate.arm, []).append(rate.per_second)
    base = statistics.median(by_arm[BASELINE])
    return {
        arm: {
            "median": statistics.median(found),
            "min": min(found),
            "max": max(found),
            "ratio": statistics.median(found) / base,
        }
        for arm, found in by_arm.items()
    }


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    console = Console()
    arms = options.arms.split(",")
    if not set(arms) <= {*ARMS, *FURTHER_ARMS} or BASELINE not in arms:
        parser.error(f"--arms takes some of {', '.join((*ARMS, *FURTHER_ARMS))}, {BASELINE} among them")
    figures = summary(run(events=options.events, rounds=options.rounds, arms=arms, console=console))
    table = Table(title=f"{options.events} events, {options.rounds} rounds, one process an arm")
    for column in ("arm", "median events/s", "min", "max", f"ratio to {BASELINE}"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for arm, row in figures.items():
        table.add_row(arm, f"{row['median']:.0f}", f"{row['min']:.0f}", f"{row['max']:.0f}", f"{row['ratio']:.2f}")
    console.print(table)
    console.print(f"goal: tagstream at {TARGET_RATIO} of {BASELINE} or more")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
