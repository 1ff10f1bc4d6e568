"""Measures growth: one worker at half load for half an hour; its memory, threads and descriptors.

    python -m benchmarks.soak [--minutes 30] [--warm-up-minutes 15] [--rate 60]

Starts a broker, a worker with the default bundle, and the demo's producer; reads `/metrics` every five seconds. The slope is the
least-squares line through resident memory after the warm-up, with its standard error; a slope below twice its error is noise.
Without --rate the load is half of the capacity, measured first on a backlog. Exit code 1 if memory grows by more than
1 MB an hour beyond twice the error, or if threads or descriptors differ between the first and the last minute.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tagstream.stream.broker import broker
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.demo import samples
from tagstream.stream.kafka import admin, producer
from tagstream.stream.settings.loading import load

EVERY_SECONDS = 5.0
START_SECONDS = 60.0
BACKLOG = 6000
MOST_BYTES_AN_HOUR = 1e6
WATCHED = {
    "memory": "process_resident_memory_bytes",
    "descriptors": "process_open_fds",
    "events": "tagstream_events_published_total",
    "lag": "tagstream_committed_lag_events",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One reading. `seconds` since the start, `memory` in bytes."""

    seconds: float
    memory: float
    descriptors: float
    events: float
    lag: float
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Bytes an hour, and the standard error of that."""

    bytes_an_hour: float
    error: float


def slope(looks: Sequence[Look]) -> Slope:
    """
    The least-squares line of memory over time.

    >>> look = lambda hour: Look(seconds=3600.0 * hour, memory=5.0 * hour, descriptors=0, events=0, lag=0, threads=1)
    >>> slope([look(hour) for hour in range(3)])
    Slope(bytes_an_hour=5.0, error=0.0)
    """
    hours = [look.seconds / 3600 for look in looks]
    memory = [look.memory for look in looks]
    line = statistics.linear_regression(hours, memory)
    residuals = [m - line.intercept - line.slope * h for h, m in zip(hours, memory, strict=True)]
    spread = statistics.pvariance(hours) * len(hours)
    error = (sum(r * r for r in residuals) / max(1, len(looks) - 2) / spread) ** 0.5
    return Slope(bytes_an_hour=line.slope, error=error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="after the warm-up")
    parser.add_argument("--warm-up-minutes", type=float, default=15.0)
    parser.add_argument("--rate", type=float, help="events a second; default: half of the measured capacity")
    parser.add_argument("--json", type=Path, help="keep every reading in this file")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="tagstream-soak-"))
    with broker() as found, Processes(grace_seconds=5) as processes:
        environ = {"TAGSTREAM_BROKERS": found.bootstrap, "TAGSTREAM_METRICS_PORT": "0", "TAGSTREAM_LOG_FORMAT": "json"}
        admin.create(load(environ, folder=folder).settings)
        worker = _tagstream(["worker"], environ, folder / "worker.log", processes)
        url = _address(worker)
        rate = chosen.rate or _capacity(environ, url) / 2
        say(f"{found.description}; {rate:.0f} events a second; logs in {folder}")
        with _producer(rate, environ, folder, processes):
            looks = list(_looks(url, worker.pid, 60 * (chosen.warm_up_minutes + chosen.minutes)))
    warm = [look for look in looks if look.seconds > 60 * chosen.warm_up_minutes]
    if chosen.json:
        chosen.json.write_text(json.dumps([_row(look) for look in looks]))
    return _report(warm, rate)


def _row(look: Look) -> list[float]:
    return [look.seconds, look.memory, look.descriptors, look.threads, look.events, look.lag]


def _report(warm: Sequence[Look], rate: float) -> int:
    grown = slope(warm)
    minute = round(60 / EVERY_SECONDS)
    first, last = warm[:minute], warm[-minute:]
    flat = all(
        statistics.median(getattr(look, name) for look in first) == statistics.median(getattr(look, name) for look in last)
        for name in ("threads", "descriptors")
    )
    seconds = warm[-1].seconds - warm[0].seconds
    say(
        f"{seconds / 60:.0f} min after the warm-up, {warm[-1].events - warm[0].events:.0f} events "
        f"({(warm[-1].events - warm[0].events) / seconds:.0f}/s, sent {rate:.0f}/s)"
    )
    say(f"memory {warm[0].memory / 1e6:.1f} to {warm[-1].memory / 1e6:.1f} MB, most {max(x.memory for x in warm) / 1e6:.1f} MB")
    say(f"slope {grown.bytes_an_hour / 1e6:+.2f} MB/h, standard error {grown.error / 1e6:.2f} MB/h")
    say(
        f"threads {first[0].threads} to {last[-1].threads}, descriptors {first[0].descriptors:.0f} to {last[-1].descriptors:.0f}; "
        f"lag at the end {last[-1].lag:.0f}"
    )
    return int(grown.bytes_an_hour - 2 * grown.error > MOST_BYTES_AN_HOUR or not flat)


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _tagstream(words: Sequence[str], environ: Mapping[str, str], log: Path, processes: Processes) -> Process:
    return processes.start(
        [sys.executable, "-m", "tagstream.stream.cli.main", *words], env={**os.environ, **environ}, log_file=log
    )


def _address(worker: Process) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for line in worker.output().splitlines():
            if '"worker_starting"' in line:
                return str(json.loads(line)["metrics"])
        if not worker.running():
            break
        time.sleep(0.2)
    msg = f"the worker did not start within {START_SECONDS:g} s; the end of its log: {worker.output()[-1000:]}"
    raise TimeoutError(msg)


def _capacity(environ: Mapping[str, str], url: str) -> float:
    """Events a second on a backlog, without its first and last moments."""
    settings = load(environ, folder=Path(tempfile.gettempdir())).settings
    mixed = samples.mix(samples.load_events(), (), run="capacity")
    with producer.sender(settings) as sender:
        for _, sample in zip(range(BACKLOG), mixed, strict=False):
            sender.send(settings.topics.content, key=sample.key.encode(), value=sample.value)
        sender.flush()
    reached: list[tuple[float, float]] = []
    deadline = time.monotonic() + 4 * START_SECONDS
    while not reached or reached[-1][1] < BACKLOG * 0.9:
        if time.monotonic() > deadline:
            msg = f"a backlog of {BACKLOG} events was not worked off within {4 * START_SECONDS:g} s"
            raise TimeoutError(msg)
        events = _read(url)["events"]
        if events > BACKLOG * 0.1:
            reached.append((time.monotonic(), events))
        time.sleep(0.2)
    return (reached[-1][1] - reached[0][1]) / (reached[-1][0] - reached[0][0])


@contextmanager
def _producer(rate: float, environ: Mapping[str, str], folder: Path, processes: Processes) -> Iterator[None]:
    producer = _tagstream(["send", "--samples", "--rate", str(rate)], environ, folder / "producer.log", processes)
    try:
        yield
    finally:
        producer.ask_to_end()
        producer.wait(START_SECONDS)


def _looks(url: str, pid: int, seconds: float) -> Iterator[Look]:
    started = time.monotonic()
    while (now := time.monotonic() - started) < seconds:
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        yield Look(seconds=now, threads=threads, **_read(url))
        time.sleep(EVERY_SECONDS)


def _read(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own worker's address
        text = answer.read().decode()
    found = dict.fromkeys(WATCHED, 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for name, metric in WATCHED.items():
                if sample.name == metric:
                    found[name] += sample.value
    return found


if __name__ == "__main__":
    sys.exit(main())
