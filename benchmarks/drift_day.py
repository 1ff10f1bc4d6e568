"""A day of an ordinary stream, and five shifts of it, through a worker's drift watch and metrics and the rules of Prometheus.

    python -m benchmarks.drift_day [--titles FOLDER] [--most 26000]

Without `--titles` the stream is of the authored rows; FOLDER holds `titles.csv.gz` (title, description) and `not_ml.csv.gz` (title,
description, kind). The minutes are simulated: each is given to the parts of a worker at its own time, with default settings, and its
metrics are written down. `promtool tsdb create-blocks-from openmetrics` makes blocks of them, a Prometheus reads these, and every
shipped alert is evaluated each minute of the day. Prints a line for each stream: which alerts it raised, and after how many events.
"""

import argparse
import asyncio
import csv
import gzip
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from prometheus_client import CollectorRegistry

from benchmarks.drift import PLANTED, Pool, Stream, Text, pool, pool_of
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.monitoring.drift.findings import Model
from tagstream.monitoring.drift.watch import DriftWatch
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.ports import free_ports
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.drift.observer import DriftObserver

RULES = Path(__file__).parents[1] / "monitoring" / "prometheus"
# 26,000 events a day.
PER_HOUR, DAY_HOURS = 1_083, 24
# A shifted stream: hours before the shift, of which the first five are learned, and after it.
BEFORE_HOURS, AFTER_HOURS = 8, 4
MINUTES_A_SCRAPE = 2
START_MS = 1_767_571_200_000
# The titles stand alone for the most part, so that fewer descriptions are no shift of them.
SHIFTS = ("class mix", "new topic", "another language", "confidence decay", "new producer")
# The ordinary day beside it, as a worker without a watch for drift shows it: compared with the rows of the bundle's calibration.
BUNDLE = "against the bundle's rows"
WITHIN_EVENTS = 2_000
ROW_CHARACTERS = 1_000_000
READY_SECONDS, HANG_SECONDS = 60, 600
NEW_TOPIC_ROWS = 500
_RECORDED = re.compile(r"\b((?:job|job_label):\w+:\w+)(\[(\w+)\])?")
_METRIC = re.compile(r"\btagstream_\w+|\bup\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An alert on one stream: its tier, and the events from the shift (or the start) until its condition held and until it fired."""

    alert: str
    tier: str
    seen_after: int
    fired_after: int


def titles(folder: Path, most: int) -> Pool:
    """The pool of real titles, shuffled by a seed."""
    chance = random.Random(28)  # noqa: S311 - a draw that repeats
    rows = [Text(row["title"], row["description"] or None, "title") for row in _csv(folder / "titles.csv.gz")]
    chance.shuffle(rows)
    foreign = [
        Text(row["title"], row["description"] or None, "language")
        for row in _csv(folder / "not_ml.csv.gz")
        if row["kind"] == "language"
    ]
    planted = rows[most : most + NEW_TOPIC_ROWS] or rows[:NEW_TOPIC_ROWS]
    new_topic = [Text(f"{row.title} {' '.join(PLANTED)}", row.description, row.topic) for row in planted]
    return pool_of(read(DEFAULT_BUNDLE), ordinary=rows[:most], new_topic=new_topic, foreign=foreign)


def _csv(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(ROW_CHARACTERS)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


class InOrder(Stream):
    """Every row once before any comes again."""

    def __init__(self, pool: Pool, seed: int) -> None:
        """Begin with the pool's first row."""
        super().__init__(pool, seed)
        self._rows = itertools.cycle(pool.ordinary)

    def _drawn(self, events: int) -> Iterator[tuple[Observation, str | None]]:
        rows = itertools.islice(self._rows, events)
        return zip(rows, self._chance.choices(self._names, self._weights, k=events), strict=True)


def hours_of(stream: str | None) -> int:
    """How long a stream lasts."""
    return BEFORE_HOURS + AFTER_HOURS if stream in SHIFTS else DAY_HOURS


def scrapes(pool: Pool, stream: str | None) -> Iterator[tuple[int, CollectorRegistry]]:
    """The worker's registry after every other minute of the stream, with the time (Unix seconds)."""
    manifest = pool.bundle.manifest
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=manifest.labels, topic="content")
    thresholds = {label: found.confidence for label, found in manifest.thresholds.items()}
    metrics.model_loaded(
        name=manifest.name,
        version=manifest.version,
        digest=pool.bundle.digest,
        now=START_MS / 1000,
        thresholds=thresholds,
        reference=manifest.reference,
    )
    now = [START_MS]
    watch = DriftWatch(model=Model(name=manifest.name, version=manifest.version, digest=pool.bundle.digest), worker="bench")
    if stream != BUNDLE:
        observer = DriftObserver(watch, recorder=metrics, send=None, clock=lambda: now[0] / 1000)
    events_of = InOrder(pool, 28)
    with ThreadPoolExecutor(1) as executor, asyncio.Runner() as runner:
        for minute in range(hours_of(stream) * 60):
            now[0] = START_MS + (minute + 1) * 60_000
            events = (minute + 1) * PER_HOUR // 60 - minute * PER_HOUR // 60
            moved = stream in SHIFTS and minute >= BEFORE_HOURS * 60
            drawn = events_of.shifted(stream or "", events) if moved else events_of.ordinary(events)
            seen = [_sent(one, thresholds, now[0]) for one in drawn]
            metrics.received(events)
            if stream == BUNDLE:
                metrics.published(seen, now[0])
            else:
                observer.published(seen, now[0])
                runner.run(observer.turn(executor))
            metrics.position(partitions=6, lag=0, inflight=0, last_commit=now[0] / 1000, known_at=now[0] / 1000)
            if minute % MINUTES_A_SCRAPE == 0:
                yield now[0] // 1000, registry


def _sent(seen: Observation, thresholds: dict[str, float], now_ms: int) -> Observation:
    sure = seen.confidence is not None and seen.confidence >= thresholds[seen.label or ""]
    door = Destination.TAGGED if sure else Destination.REVIEW
    return msgspec.structs.replace(seen, created_ms=now_ms - 500, destination=door)


def write(file: Path, pool: Pool, streams: Sequence[str | None]) -> None:
    """Every series that a rule asks for, of each stream as a job of its own, in OpenMetrics' text format."""
    asked = {name for rule in (*rules("recording.yml"), *rules("alerts.yml")) for name in _METRIC.findall(rule["expr"])}
    with file.open("w", encoding="utf-8") as out:
        for stream in streams:
            job = f'job="{stream or "ordinary"}",instance="a"'
            for at, registry in scrapes(pool, stream):
                out.write(f"up{{{job}}} 1 {at}\n")
                for family in registry.collect():
                    for sample in family.samples:
                        if sample.name in asked:
                            labels = "".join(f",{name}={json.dumps(value)}" for name, value in sample.labels.items())
                            out.write(f"{sample.name}{{{job}{labels}}} {sample.value} {at}\n")
            print(f"{stream or 'ordinary'} is written", file=sys.stderr, flush=True)
        out.write("# EOF\n")


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file, whatever their group."""
    groups = yaml.safe_load((RULES / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def inlined(expression: str, recorded: dict[str, str]) -> str:
    """
    The expression with the recorded figures replaced by their own expressions, because past figures were recorded by nobody.

    >>> inlined("job:a:b > 1 and max_over_time(job:a:b[1h]) > 2", {"job:a:b": "sum(x)"})
    '(sum(x)) > 1 and max_over_time((sum(x))[1h:1m]) > 2'
    """

    def own(found: re.Match[str]) -> str:
        window = f"[{found[3]}:1m]" if found[2] else ""
        return f"({inlined(recorded[found[1]], recorded)}){window}"

    return _RECORDED.sub(own, expression)


def evaluate(url: str, streams: Sequence[str | None]) -> dict[str | None, list[Raised]]:
    """The alerts of each stream, those that were seen first coming first."""
    recorded = {rule["record"]: rule["expr"].strip() for rule in rules("recording.yml")}
    raised: dict[str | None, list[Raised]] = {stream: [] for stream in streams}
    for rule in rules("alerts.yml"):
        wait = _seconds(rule.get("for", "0m"))
        for stream in streams:
            job = stream or "ordinary"
            times = _times(url, inlined(rule["expr"], recorded), job, hours_of(stream))
            fired = next((at for at in times if all(at - second in times for second in range(0, wait + 1, 60))), None)
            if fired is not None:
                began = START_MS // 1000 + (BEFORE_HOURS * 3600 if stream in SHIFTS else 0)
                events = [round((at - began) * PER_HOUR / 3600) for at in (fired - wait, fired)]
                tier = rule["labels"]["tier"]
                raised[stream].append(Raised(alert=rule["alert"], tier=tier, seen_after=events[0], fired_after=events[1]))
    return {stream: sorted(found, key=lambda one: one.seen_after) for stream, found in raised.items()}


def _times(url: str, expression: str, job: str, hours: int) -> dict[int, None]:
    """The minutes (Unix seconds) at which the expression has a value for this job."""
    start = START_MS // 1000 + 300
    asked = {"query": expression, "start": start, "end": start + hours * 3600 - 600, "step": 60}
    data = urllib.parse.urlencode(asked).encode()
    with urllib.request.urlopen(f"{url}/api/v1/query_range", data=data, timeout=HANG_SECONDS) as answer:  # noqa: S310 - loopback
        found = json.load(answer)["data"]["result"]
    ours = [series for series in found if series["metric"].get("job") == job]
    return dict.fromkeys(sorted({int(at) for series in ours for at, _ in series["values"]}))


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def run(pool: Pool, *, streams: Sequence[str | None] = (None, BUNDLE, *SHIFTS)) -> dict[str | None, list[Raised]]:
    """Write the streams down, back-fill them and evaluate every alert; needs `prometheus` and `promtool` on the PATH."""
    with tempfile.TemporaryDirectory(prefix="tagstream-day-") as name, Processes(grace_seconds=5) as processes:
        folder = Path(name)
        write(folder / "day.txt", pool, streams)
        made = subprocess.run(
            [
                shutil.which("promtool") or "promtool",
                "tsdb",
                "create-blocks-from",
                "openmetrics",
                folder / "day.txt",
                folder / "data",
            ],
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(made.stderr)
        (folder / "prometheus.yml").write_text("{}\n", encoding="utf-8")
        (port,) = free_ports(1)
        process = processes.start(
            [
                shutil.which("prometheus") or "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            env={},
            log_file=folder / "prometheus.log",
        )
        url = f"http://127.0.0.1:{port}"
        _await(url, process)
        return evaluate(url, streams)


def _await(url: str, process: Process) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=READY_SECONDS):  # noqa: S310 - loopback
                return
        except OSError as error:
            if not process.running() or time.monotonic() > deadline:
                msg = "Prometheus does not get ready"
                raise RuntimeError(msg) from error
        time.sleep(0.2)


def broken_promises(found: dict[str | None, list[Raised]]) -> list[str]:
    """A page or ticket on the ordinary day, and shifts without an alert whose condition held in time."""
    broken = [f"the ordinary day raised {one.alert}" for one in found.get(None, []) if one.tier != "info"]
    for shift, raised in found.items():
        first = min((one.seen_after for one in raised if one.tier != "info" and one.seen_after >= 0), default=None)
        if shift in SHIFTS and (first is None or first > WITHIN_EVENTS):
            broken.append(f"{shift}: no alert within {WITHIN_EVENTS} events")
        broken += [f"{shift}: {one.alert} before the shift" for one in raised if one.tier != "info" and one.seen_after < 0]
    return broken


def table(found: dict[str | None, list[Raised]]) -> str:
    """Markdown: a row for each stream."""
    lines = ["| stream | alerts: events until the condition held, and until it fired |", "|---|---|"]
    for stream, raised in found.items():
        told = [
            f"{one.alert} (info)" if one.tier == "info" else f"{one.alert} {one.seen_after:,}, {one.fired_after:,}"
            for one in raised
        ]
        lines.append(f"| {stream or 'an ordinary day'} | {'; '.join(told) or 'none'} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and the promises that are not held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--titles", type=Path, help="folder of titles.csv.gz and not_ml.csv.gz; none: the authored rows")
    parser.add_argument("--most", type=int, default=PER_HOUR * DAY_HOURS, help="different rows at most")
    options = parser.parse_args()
    made = pool(most=options.most) if options.titles is None else titles(options.titles, options.most)
    found = run(made)
    print(table(found))
    print(f"\n{len(made.ordinary):,} different texts, {PER_HOUR:,} events an hour, a scrape every {MINUTES_A_SCRAPE} minutes.")
    broken = broken_promises(found)
    for line in broken:
        print(f"not held: {line}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
