"""Runs an arm as a process beside one broker: its topics, its processor time and memory, and all that it wrote."""

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import TopicPartition

from benchmarks.peers import counted as counted_by
from benchmarks.peers import rival, texts
from benchmarks.throughput import settings_of
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka import admin, producer
from tagstream.stream.kafka.consumer_group import look
from tagstream.stream.kafka.reading import reader
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings

STOP_SECONDS = 15.0
LOOK_SECONDS = 0.05
POLL_SECONDS = 0.25
SETTLE_SECONDS = 1.0
COMMITTED_SECONDS = 6.0
# An arm that has written nothing for so long writes nothing any more; the slowest start, of torch, takes some 20 s on a busy machine.
QUIET_SECONDS = 60.0
# The broker stamps what the arms write: a producer stamps a record before it waits for a fuller batch and for the network.
STAMPED = {"message.timestamp.type": "LogAppendTime"}
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024


class ArmError(Exception):
    """An arm ended, or wrote nothing: the message has the end of its output."""


@dataclass
class Arm:
    """
    An arm that runs.

    Attributes:
        started_ms: When its process was started, Unix milliseconds.
        counts: The file of its requests, if they are counted.
        readings: Unix seconds and processor seconds of all its threads so far.
        peak_mib: The most resident memory so far.
        resident_mib: The resident memory at the last look.
    """

    name: str
    settings: Settings
    process: Process
    started_ms: float
    counts: Path = Path()
    readings: list[tuple[float, float]] = field(default_factory=list)
    peak_mib: float = 0.0
    resident_mib: float = 0.0

    def look(self) -> None:
        """Read the process' figures, unless it has ended."""
        try:
            words = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            memory = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            return
        figures = dict(line.split(":", 1) for line in memory.splitlines())
        if "VmHWM" in figures:
            self.readings.append((time.time(), (int(words[11]) + int(words[12])) / TICKS))
            self.peak_mib = int(figures["VmHWM"].split()[0]) / MIB
            self.resident_mib = int(figures["VmRSS"].split()[0]) / MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The things that all runs share: the broker's address, the processes, a folder for logs, and that of the rivals' model."""

    bootstrap: str
    processes: Processes
    logs: Path
    model: Path | None = None

    def environment(self, content: str, name: str) -> dict[str, str]:
        """The environment of an arm that reads `content` and writes to topics of its own, in a group of its own."""
        shared = {**settings_of(self.bootstrap, content, name), "TAGSTREAM_LOG_FORMAT": "json"}
        return shared if self.model is None else {**shared, rival.FOLDER: str(self.model)}

    def settings(self, content: str, name: str) -> Settings:
        """The same as settings."""
        return load(self.environment(content, name)).settings

    def topic(self, name: str, partitions: int) -> Settings:
        """An empty topic to read; the settings of a program that fills it."""
        settings = self.settings(name, f"fill-{name}")
        with admin.admin(settings) as client:
            made = {name: {"num_partitions": partitions, "replication_factor": 1}}
            client.create_topics(made, timeout_ms=admin.CREATE_SECONDS * 1000, wait_for_metadata=True)
        return settings

    @contextmanager
    def outputs(self, content: str, name: str) -> Iterator[Settings]:
        """Output topics of these names, which go afterwards: hundreds of runs would leave thousands of partitions to the broker."""
        settings = self.settings(content, name)
        made = admin.create(settings, STAMPED).made
        try:
            yield settings
        finally:
            with admin.admin(settings) as client:
                client.delete_topics([topic for topic in made if topic != content], timeout_ms=admin.CREATE_SECONDS * 1000)

    @contextmanager
    def running(self, arm: str, content: str, name: str, *, counted: bool = False) -> Iterator[Arm]:
        """
        An arm from its start until its end, watched.

        Args:
            arm: `tagstream` is the shipped worker, `staged` the same with notes, others are of `arms.py`.
            content: The topic to read; made with four partitions unless it exists.
            name: Of its output topics and its group.
            counted: Count its requests to brokers.
        """
        with (
            self.outputs(content, name) as settings,
            self.process(arm, settings, self.environment(content, name), counted=counted) as found,
        ):
            yield found

    @contextmanager
    def process(
        self, arm: str, settings: Settings, environ: Mapping[str, str], cores: str = "", *, counted: bool = False
    ) -> Iterator[Arm]:
        """As `running`, with topics that exist; `cores` are those that it may use, as `taskset -c` takes them, all by default."""
        known = {"tagstream": ["tagstream.stream.cli.main", "worker"], "staged": ["benchmarks.peers.staged"]}
        module = known.get(arm, ["benchmarks.peers.arms", arm])
        module = ["benchmarks.peers.counted", *module] if counted else module
        counts = self.logs / f"{settings.group}.json"
        pinned = [taskset(), "-c", cores] if cores else []
        started = time.time() * 1000
        process = self.processes.start(
            [*pinned, sys.executable, "-m", *module],
            env={**os.environ, **environ, **({counted_by.FILE: str(counts)} if counted else {})},
            log_file=self.logs / f"{settings.group}.log",
        )
        found, over = Arm(arm, settings, process, started, counts), threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_SECONDS):
                found.look()

        watching = threading.Thread(target=watch, name=f"watch-{arm}", daemon=True)
        watching.start()
        try:
            yield found
        finally:
            over.set()
            watching.join()
            process.ask_to_end()
            if not process.wait(STOP_SECONDS):
                process.kill()


def taskset() -> str:
    """
    The program that gives a process some cores.

    Raises:
        ArmError: There is none.
    """
    found = shutil.which("taskset")
    if found is None:
        msg = "there is no `taskset`, which gives each of two workers cores of its own. Next: install util-linux, or leave out --part growth."
        raise ArmError(msg)
    return found


def written(bench_arms: Sequence[Arm], count: int, *, seconds: float, whole: bool = True) -> list[Record]:
    """
    The outcomes of arms in one group. Until all are there only offsets are asked for, which takes no time from the arms.

    Args:
        bench_arms: They write to the same topics.
        count: So many outcomes are waited for.
        seconds: At most so long.
        whole: These are all: what still comes in the second after them, an outcome written again, is read too.

    Raises:
        ArmError: An arm ended, or nothing was written for `QUIET_SECONDS`, or some are missing when the time is over.
    """
    settings = bench_arms[0].settings
    topics = (settings.topics.tagged, settings.topics.review, settings.topics.dlq)
    deadline = time.monotonic() + seconds
    with reader.consumer(settings) as client:
        partitions = [
            TopicPartition(topic, number) for topic in topics for number in sorted(client.partitions_for_topic(topic) or ())
        ]
        client.assign(partitions)
        seen, heard = 0, time.monotonic()
        while time.monotonic() < deadline:
            now = sum(client.end_offsets(partitions).values())
            if now > seen:
                seen, heard = now, time.monotonic()
            ended = [arm for arm in bench_arms if not arm.process.running()]
            quiet = time.monotonic() - heard
            if seen >= count and (quiet > SETTLE_SECONDS or not whole):
                break
            # Some are missing, and the arm has committed all of its input: no more will come.
            if seen and quiet > COMMITTED_SECONDS and look(settings).waiting == 0:
                break
            if ended or quiet > QUIET_SECONDS:
                arm = (ended or list(bench_arms))[0]
                why = "ended" if ended else f"wrote nothing for {QUIET_SECONDS:.0f} s"
                msg = f"the arm {arm.name} {why} after {seen} of {count} outcomes. Next: see the end of its output: {arm.process.output()[-1500:]}"
                raise ArmError(msg)
            time.sleep(POLL_SECONDS)
        else:
            # The arm may be whole and slow: what is missing is not lost.
            if seen < count:
                msg = f"only {seen} of {count} outcomes of the arm {bench_arms[0].name} in {seconds:g} s. Next: measure it again on a quieter machine."
                raise ArmError(msg)
        return list(_all(client, partitions))


def _all(client: Any, partitions: Sequence[TopicPartition]) -> Iterator[Record]:
    """Every record that the partitions hold now."""
    ends = client.end_offsets(partitions)
    client.seek_to_beginning(*partitions)
    deadline = time.monotonic() + QUIET_SECONDS
    while any(client.position(one) < ends[one] for one in partitions):
        if time.monotonic() > deadline:
            msg = f"outcomes were not read within {QUIET_SECONDS:.0f} s. Next: see whether the broker runs."
            raise ArmError(msg)
        for found in client.poll(timeout_ms=200, max_records=5000).values():
            yield from (reader.record_of(one) for one in found)


def share_partitions(arms: Sequence[Arm]) -> None:
    """
    Wait until every one of these workers holds partitions.

    Raises:
        ArmError: After `QUIET_SECONDS` one of them has none.
    """
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        found = look(arms[0].settings)
        if found.state == "Stable" and sum(bool(member.partitions) for member in found.members) == len(arms):
            return
        time.sleep(POLL_SECONDS)
    msg = f"{len(arms)} workers do not share the partitions after {QUIET_SECONDS:.0f} s. Next: see the end of its output: {arms[0].process.output()[-1500:]}"
    raise ArmError(msg)


def fill(settings: Settings, events: Iterable[texts.Event]) -> None:
    """Write a backlog."""
    with producer.sender(settings) as sender:
        for event in events:
            sender.send(settings.topics.content, key=event.id.encode(), value=texts.value_of(event))
        sender.flush()


@contextmanager
def bench(bootstrap: str, model: Path | None = None) -> Iterator[Bench]:
    """Processes that end with this one; `model` is the folder of the rivals' model."""
    folder = Path(tempfile.mkdtemp(prefix="tagstream-peers-"))
    with Processes(grace_seconds=5, remove=folder) as processes:
        yield Bench(bootstrap=bootstrap, processes=processes, logs=folder, model=model)
