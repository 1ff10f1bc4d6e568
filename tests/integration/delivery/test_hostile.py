"""The fixed 10,000 hostile records through a real worker on Apache Kafka, with the shipped model."""

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.settings.settings import Settings
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, without_settings
from tests.hostile.corpus import SIZE, corpus
from tests.hostile.judge import complaints
from tests.hostile.record import NUMBER, Hostile
from tests.integration.running import RunningWorker, is_committed, written
from tests.replacing import replace
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

FIRST = 1_000
POLL_SECONDS = 0.25
# The bound is stated in docs/hostile-input.md.
MOST_RESIDENT_BYTES = 512 * 1024 * 1024
# The bound without the edges of histograms; `reason` has the most values.
MOST_LABEL_VALUES = 48


class Watch:
    """
    Polls a worker's readiness and memory from a thread until it is told to stop.

    Attributes:
        looks: The number of polls.
        unready: The bodies of /readyz at each status other than 200.
        resident_bytes: The most that it had in RAM.
    """

    def __init__(self, worker: RunningWorker) -> None:
        """Poll once, then start the thread."""
        self.worker = worker
        self.looks = 0
        self.unready: list[str] = []
        self.resident_bytes = 0
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def series(self) -> frozenset[tuple[str, tuple[tuple[str, str], ...]]]:
        """Every series that is exported now, with its labels."""
        return frozenset((sample.name, tuple(sorted(sample.labels.items()))) for sample in self._samples())

    def check(self) -> None:
        """Fail if the worker has ended or does not answer."""
        assert self.worker.process.running(), self.worker.process.output()[-4_000:]
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop polling."""
        self._stopped.set()
        self._thread.join()
        self.check()

    def _samples(self) -> list[Any]:
        families = text_string_to_metric_families(self.worker.get("/metrics")[1])
        return [sample for family in families for sample in family.samples]

    def _run(self) -> None:
        try:
            while not self._stopped.wait(POLL_SECONDS):
                status, body = self.worker.get("/readyz")
                if status != HTTPStatus.OK:
                    self.unready.append(body)
                resident = next(s.value for s in self._samples() if s.name == "process_resident_memory_bytes")
                self.resident_bytes = max(self.resident_bytes, int(resident))
                self.looks += 1
        except (OSError, ValueError, StopIteration) as error:
            self._error = error


def until_done(observer: TopicObserver, watch: Watch, count: int) -> None:
    """Wait until there are so many outcomes and all is committed."""

    def is_done() -> bool:
        watch.check()
        return written(observer) >= count and is_committed(observer)

    until(is_done, f"{count} outcomes are written and committed", state=observer.sample, process=watch.worker.process)


def send(settings: Settings, records: Iterable[Hostile]) -> None:
    """Send as any producer might, and wait until the broker has all of it."""
    producer = KafkaProducer(
        bootstrap_servers=settings.broker_list, acks="all", enable_idempotence=True, linger_ms=20, max_request_size=2_000_000
    )
    try:
        futures = [
            producer.send(
                settings.topics.content,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                timestamp_ms=record.timestamp_ms,
            )
            for record in records
        ]
        producer.flush(timeout=HANG_SECONDS)
        for future in futures:
            future.get(timeout=HANG_SECONDS)
    finally:
        producer.close(timeout=HANG_SECONDS)


def sendable(record: Hostile) -> Hostile:
    """The record, with an empty key where it has neither key nor value, since no client sends that; unit tests cover it."""
    return replace(record, key=b"") if record.key is None and record.value is None else record


def number_of(record: Record) -> int:
    """The number that our producer gave the record, ahead of all other headers."""
    return int(next(value for name, value in record.headers if name == NUMBER))


def test_ten_thousand_hostile_records(
    environ: dict[str, str],
    settings: Settings,
    bundle_folder: Path,
    processes: Processes,
    tmp_path: Path,
    publish_report: Callable[[object], None],
) -> None:
    """Each record gets its right outcome once; no restart, always ready, no new metric series, memory within the bound."""
    planted: Sequence[Hostile] = [sendable(record) for _, record in corpus()]
    started = time.monotonic()
    worker = RunningWorker(
        processes.start(
            [sys.executable, "-m", "tagstream.stream.cli.main", "worker", "--bundle", bundle_folder],
            env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), **environ, "TAGSTREAM_BATCH_MAX_EVENTS": "64"},
            log_file=tmp_path / "worker.log",
        )
    )
    worker.until_ready()
    watch = Watch(worker)
    with TopicObserver(settings) as observer:
        send(settings, planted[:FIRST])
        until_done(observer, watch, FIRST)
        early = watch.series()
        send(settings, planted[FIRST:])
        until_done(observer, watch, SIZE)
        late = watch.series()
        watch.stop()
        seconds = time.monotonic() - started
        outcomes = observer.outcomes()

    numbers = Counter(number_of(record) for records in outcomes.values() for record in records)
    assert numbers == Counter(range(SIZE))
    found = [
        what
        for destination, records in outcomes.items()
        for record in records
        for what in complaints(
            planted[number_of(record)],
            destination=destination,
            key=record.key,
            value=record.value,
            headers=record.headers,
        )
    ]
    assert Counter(found) == {}

    assert watch.unready == []
    assert late == early
    label_values = Counter(name for name, _ in {label for _, labels in late for label in labels} if name != "le")
    assert max(label_values.values()) <= MOST_LABEL_VALUES, label_values
    assert watch.resident_bytes < MOST_RESIDENT_BYTES
    for line in worker.process.output().splitlines():
        assert line.isprintable(), "a log line that a terminal would obey"
        json.loads(line)
    exit_code = worker.stop()
    assert exit_code == 0
    doors = {door.value: len(records) for door, records in outcomes.items()}
    publish_report(
        f"{bundle_folder.name} bundle: {SIZE} hostile records in {seconds:.0f} s, {doors}, ready in all of {watch.looks} looks, "
        f"{len(late)} series before and after, at most {watch.resident_bytes / 2**20:.0f} MiB resident"
    )
