"""Measures a review console with a large store: its memory, and how long eight reviewers wait for a page.

    python -m benchmarks.console [--drawn 1000000] [--waiting 200000] [--reviewers 8] [--seconds 180] [--store URL]

Makes a store in a file of SQLite, or in the database of --store unless an earlier run has made it: so many drawn decisions, of
which so many wait and the others are answered. Then it starts a broker and a console, and reviewers who look, answer and read the page of the figures
without a pause. Exit code 1 if the console has held more than 512 MiB, if one page in a hundred took longer than a second, or if
no estimate was made.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import numpy as np
from sqlalchemy import String, create_engine, select
from sqlalchemy.engine import make_url

from tagstream.stream.broker import broker
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.answers import AnsweredEvent, Said, answer_to
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import prediction_id, timestamp
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.review.store.records import AskedDecision, CountedDecision, Fact, unix_ms
from tagstream.stream.review.store.schema import METADATA, positions
from tagstream.stream.review.store.store import open_store

MOST_BYTES, MOST_SECONDS, AMONG = 512 * 1024 * 1024, 1.0, 99
# Distinct events; the store has copies of them under other ids.
DISTINCT = 5000
RIGHT = 0.95
LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
WORDS = ("vision", "language", "deployment", "survey", "benchmark", "pipeline", "attention", "image", "speech", "cluster")
DAY_MS = 24 * 3_600_000
START_SECONDS, ANSWER_SECONDS = 300.0, 120.0
ADDRESS = re.compile(r"the console: (http://\S+?)/?\s")
TOKEN = re.compile(r'name="event" value="([^"]+)">\s*<input type="hidden" name="token" value="([^"]+)"')


def facts(waiting: float, now_ms: int) -> Iterator[Fact]:
    """The distinct events of a month: audits and reviews, of which a share waits, the oldest ones; the others have an answer."""
    chance = np.random.default_rng(1)
    model = {"name": "bench", "version": "1", "digest": "d" * 64}
    for number in range(DISTINCT):
        label, audit = LABELS[number % 4], number % 5 != 0
        confidence = float(chance.uniform(0.9, 1.0) if audit else chance.uniform(0.3, 0.9))
        rest = (1 - confidence) / 3
        tagged_ms = now_ms - 29 * DAY_MS + number * 1000
        words = " ".join(chance.choice(WORDS, 4))
        value = {
            "id": f"event-{number}",
            "title": f"{words} {chance.integers(1_000_000)}",
            "description": f"{' '.join(chance.choice(WORDS, 30))} {chance.integers(1_000_000)}",
            "source": f"source {number % 30}",
            "tag": label,
            "confidence": confidence,
            "probabilities": {one: confidence if one == label else rest for one in LABELS},
            "prediction_id": prediction_id(f"event-{number}", model["digest"]),
            "decider": "model",
            "model": model,
            "threshold": 0.9,
            "truncated": False,
            **({} if audit else {"reasons": ["low_confidence"]}),
            "inclusion_probability": 0.02 if audit else 1.0,
            "tagged_at": timestamp(tagged_ms),
        }
        record = Record(topic="audit", key=None, value=msgspec.json.encode(value), partition=0, offset=number)
        found = read_decision(record)
        assert isinstance(found, DecidedEvent), found
        yield AskedDecision(item=found)
        yield CountedDecision(item=replace(found, door="tagged" if audit else "review"))
        if number >= waiting * DISTINCT:
            tag = label if chance.random() < RIGHT else LABELS[(number + 1) % 4]
            said = Said(tag=tag, reviewer=f"reviewer {number % 8}", blind=audit, asked_by="audit" if audit else "review")
            yield AnsweredEvent(event=found.event, answer=answer_to(found, said, now_ms=tagged_ms + DAY_MS))


def make_store(url: str, drawn: int, waiting: int) -> None:
    """A store of this size: distinct events by the store's own ways, and copies of their rows under other ids."""
    with open_store(url) as store:
        made = bool(store.queue.figures().answered)
        if not made:
            found = list(facts(waiting / drawn, unix_ms()))
            for begin in range(0, len(found), 1000):
                store.filling.fill(found[begin : begin + 1000], {})
    parsed = make_url(url)
    engine = create_engine(parsed.set(drivername="postgresql+psycopg") if parsed.get_backend_name() == "postgresql" else parsed)
    if made:
        # An earlier run's broker is gone, and with it what the store has read of its topics.
        with engine.begin() as connection:
            connection.execute(positions.delete())
        return
    copied = [table for table in METADATA.sorted_tables if "event_id" in table.c]
    for copy in range(1, drawn // DISTINCT):
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                # The indexes are in no order of the copies; a power cut may cost this store.
                connection.exec_driver_sql("PRAGMA cache_size=-1000000")
                connection.exec_driver_sql("PRAGMA synchronous=OFF")
            for table in copied:
                columns = [
                    column + f"~{copy}"
                    if column.name in {"event_id", "answer_id"} and isinstance(column.type, String)
                    # Copies are no near-duplicates, and come a little later.
                    else column + copy
                    if column.name in {"print", "tagged_ms"}
                    # The distinct events are asked first: an answer to a copy would be refused, since its decision is another event's.
                    else column + 3 * DAY_MS
                    if column.name == "urgency"
                    else column
                    for column in table.columns
                ]
                originals = select(*columns).where(table.c.event_id.in_([f"event-{number}" for number in range(DISTINCT)]))
                connection.execute(table.insert().from_select([column.name for column in table.columns], originals))
    if engine.dialect.name == "postgresql":
        # As autovacuum does.
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


@contextmanager
def console(url: str, folder: Path) -> Iterator[tuple[Process, str]]:
    """A console on an empty cluster, and its address."""
    with broker() as found, Processes(grace_seconds=5) as processes:
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TAGSTREAM_")},
            "TAGSTREAM_BROKERS": found.bootstrap,
        }
        words = [sys.executable, "-m", "tagstream.stream.cli.main"]
        subprocess.run(
            [*words, "doctor", "--create-topics"], env=environ, check=False, capture_output=True, timeout=START_SECONDS
        )
        argv = [*words, "review", "--port", "0", "--store", url, "--proxy-header", "X-User", "--trusted-proxy", "127.0.0.1/32"]
        process = processes.start(argv, env=environ, log_file=folder / "console.log")
        deadline = time.monotonic() + START_SECONDS
        while (address := ADDRESS.search(process.output())) is None:
            if not process.running() or time.monotonic() > deadline:
                sys.exit(f"the console does not start: {process.output()[-2000:]}")
            time.sleep(0.2)
        _await_ready(address[1], deadline)
        yield process, address[1]


def _await_ready(address: str, deadline: float) -> None:
    """Wait until the console has read its topics."""
    while True:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=ANSWER_SECONDS):  # noqa: S310 - loopback
                return
        except (urllib.error.URLError, TimeoutError) as error:
            if time.monotonic() > deadline:
                sys.exit(f"the console does not get ready: {error}")
            time.sleep(0.2)


class Reviewer:
    """One person who answers without a pause."""

    def __init__(self, address: str, name: str) -> None:
        """Look at nothing yet."""
        self._address = address
        self._name = name
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.failed: list[str] = []

    def ask(self, path: str, form: dict[str, str] | None = None) -> str:
        """The page of a request, whose time is noted."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            self._address + path,
            data=None if form is None else urlencode(form).encode(),
            headers={"X-User": self._name, "Sec-Fetch-Site": "same-origin"},
        )
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - loopback
                page: str = answer.read().decode()
        except (urllib.error.URLError, TimeoutError) as error:
            self.failed.append(f"{path}: {error}")
            page = ""
        self.seconds["answer, and the next item" if form is not None else path].append(time.monotonic() - began)
        return page

    def work(self, until: float) -> None:
        """Answer until a moment of `time.monotonic`."""
        rounds = 0
        while time.monotonic() < until:
            shown = TOKEN.search(self.ask("/"))
            if shown is not None:
                self.ask("/answer", {"event": shown[1], "token": shown[2], "tag": LABELS[rounds % 4], "note": ""})
            for path in ("/standing.json", "/metrics") if rounds % 5 == 0 else ():
                self.ask(path)
            for path in ("/quality", "/answers") if rounds % 10 == 0 else ():
                self.ask(path)
            rounds += 1


def peak(process: Process) -> int:
    """The most memory that a process has had resident, bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drawn", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=200_000)
    parser.add_argument("--reviewers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--store", default="", help="URL; a file of SQLite that goes away unless given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        url = options.store or f"sqlite:///{folder}/store.db"
        began = time.monotonic()
        make_store(url, options.drawn, options.waiting)
        print(f"store made in {time.monotonic() - began:.0f} s", flush=True)
        with console(url, folder) as (process, address):
            reviewers = [Reviewer(address, f"person {number}") for number in range(options.reviewers)]
            reviewers[0].ask("/")
            until = time.monotonic() + options.seconds
            threads = [threading.Thread(target=one.work, args=(until,)) for one in reviewers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            sys.exit(0 if report(reviewers, peak(process), reviewers[0].ask("/metrics")) else 1)


def report(reviewers: list[Reviewer], held: int, metrics: str) -> bool:
    """Print the figures; whether all are within their bounds."""
    slow = False
    for path in sorted({path for one in reviewers for path in one.seconds}):
        times = np.array([seconds for one in reviewers for seconds in one.seconds[path]])
        middle, high = np.percentile(times, (50, AMONG))
        slow |= bool(high > MOST_SECONDS)
        print(f"{path:<26} {len(times):>6} requests  p50 {middle:6.3f} s  p{AMONG} {high:6.3f} s  most {times.max():6.3f} s")
    failed = [why for one in reviewers for why in one.failed]
    evaluated = re.search(r"^tagstream_quality_evaluated_timestamp_seconds (\S+)", metrics, re.MULTILINE)
    estimated = evaluated is not None and float(evaluated[1]) > 0
    print(f"failed requests {len(failed)} {failed[:3]}")
    print(f"live quality was estimated meanwhile: {estimated}")
    print(f"peak memory {held / 2**20:.0f} MiB")
    return not slow and not failed and estimated and held < MOST_BYTES


if __name__ == "__main__":
    main()
