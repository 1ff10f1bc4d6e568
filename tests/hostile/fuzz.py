"""
`python -m tests.hostile.fuzz`: mutated batches go to a real broker, which takes some of them. The worker's consumer reads those, and then
a worker.

Each offset that the broker has given must come once, in order, and a batch whose rows are known must give those rows. The worker must
not end, and each event must have one outcome. The same seed makes the same batches. With TAGSTREAM_BROKERS set, that broker is used,
else one is started.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiokafka.consumer.fetcher as aiokafka_fetcher
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest

from tagstream.stream import logs
from tagstream.stream.broker.ladder import broker
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.event import UNREADABLE_HEADERS
from tagstream.stream.kafka.batches import records
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import fresh_environment, make_topics
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, Fleet
from tests.hostile.batches import Mutant, mutant
from tests.waiting import HANG_SECONDS, until

AT_ONCE = 100
# The error of a broker that does not lead the partition yet.
NOT_LEADER = 6


@dataclass(slots=True, kw_only=True)
class Planted:
    """The batches that the broker has taken, by their first offset, and how many it has refused."""

    accepted: dict[int, Mutant] = field(default_factory=dict)
    refused: int = 0

    @property
    def end(self) -> int:
        """The offset behind the last batch."""
        return max((offset + made.count for offset, made in self.accepted.items()), default=0)


async def plant(settings: Settings, count: int, seed: int) -> Planted:
    """Produce mutated batches to partition 0 of `content` until the broker has taken `count` of them."""
    client = AIOKafkaClient(**client_options(settings), client_id="tests-fuzz")
    draw = random.Random(seed)  # noqa: S311 - repeatable, not secret
    planted = Planted()
    topic = settings.topics.content
    try:
        async with asyncio.timeout(HANG_SECONDS):
            await client.bootstrap()
            await client.set_topics([topic])
            while len(planted.accepted) < count:
                made = [mutant(draw) for _ in range(min(AT_ONCE, count - len(planted.accepted)))]
                leader = client.cluster.leader_for_partition(TopicPartition(topic, 0))
                requests = [ProduceRequest(None, -1, 30_000, [(topic, [(0, one.batch)])]) for one in made]
                for one, answer in zip(
                    made, await asyncio.gather(*(client.send(leader, ask) for ask in requests)), strict=True
                ):
                    _, code, offset = answer.topics[0][1][0][:3]
                    if code == 0:
                        planted.accepted[offset] = one
                    elif code != NOT_LEADER:
                        planted.refused += 1
    finally:
        await client.close()
    return planted


@dataclass(slots=True, kw_only=True)
class Report:
    """The result of reading the batches; `wrong` names the mutations with a wrong offset or row."""

    batches: int
    refused: int
    read: int
    unreadable: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lost = ", ".join(f"{name} {count}" for name, count in self.unreadable.most_common()) or "none"
        wrong = ", ".join(f"{name} {count}" for name, count in self.wrong.most_common()) or "none"
        return (
            f"batches taken by the broker: {self.batches}, refused: {self.refused}\n"
            f"records read, each offset once and in order: {self.read}\n"
            f"records that became dead letters unread, by mutation: {lost}\nwrong: {wrong}"
        )


async def read_back(settings: Settings, planted: Planted) -> Report:
    """Read all of partition 0 with aiokafka's consumer as workers have it, and compare."""
    replaced = aiokafka_fetcher.MemoryRecords, aiokafka_fetcher.FetchResult
    records.install(settings)
    consumer = AIOKafkaConsumer(**client_options(settings), auto_offset_reset="earliest", enable_auto_commit=False)
    report = Report(batches=len(planted.accepted), refused=planted.refused, read=0)
    made, base = next(iter(planted.accepted.values())), 0
    try:
        async with asyncio.timeout(HANG_SECONDS):
            await consumer.start()
            consumer.assign([TopicPartition(settings.topics.content, 0)])
            while report.read < planted.end:
                polled = await consumer.getmany(timeout_ms=1000)
                for one in itertools.chain.from_iterable(polled.values()):
                    made, base = (planted.accepted[one.offset], one.offset) if one.offset in planted.accepted else (made, base)
                    unreadable = any(name == UNREADABLE_HEADERS[0] for name, _ in one.headers)
                    report.unreadable[made.name] += unreadable
                    known = made.rows is None or (one.key, one.value) == made.rows[one.offset - base]
                    if one.offset != report.read or not known:
                        report.wrong[made.name] += 1
                    report.read += 1
    finally:
        await consumer.stop()
        aiokafka_fetcher.MemoryRecords, aiokafka_fetcher.FetchResult = replaced
    report.unreadable = +report.unreadable
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The number of a worker's outcomes, and of those dead letters whose event has one already."""

    outcomes: int
    repeated: int

    def __str__(self) -> str:
        return f"outcomes of a worker, which did not end: {self.outcomes}, dead letters of the same event: {self.repeated}"


def deliver(settings: Settings, environ: Mapping[str, str], folder: Path) -> Delivered:
    """
    Let a worker decide all of `content`.

    Args:
        settings: The topics and the group.
        environ: The same as variables for the worker.
        folder: Where its log goes.

    Raises:
        HangError: The worker has ended, or has not committed all.
    """
    with Processes(grace_seconds=0) as processes, TopicObserver(settings) as observer:
        fleet = Fleet(processes=processes, module="tests.faults.worker", environ=environ, seconds_per_batch=0.0, folder=folder)
        worker = fleet.add(1).process

        def is_committed() -> bool:
            committed = observer.committed()
            return all(committed.get(partition, 0) == end for partition, end in observer.ends().items())

        until(is_committed, "all is committed", state=observer.committed, process=worker, seconds=3 * HANG_SECONDS)
        outcomes = [record for door in observer.outcomes().values() for record in door]
    origins = Counter(dict(one.headers).get("__streams.errors.offset") for one in outcomes)
    del origins[None]
    return Delivered(outcomes=len(outcomes), repeated=sum(count - 1 for count in origins.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once; the exit code is 0 if all batches were read correctly, and each event has one outcome."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("--batches", type=int, default=10_000, help="how many that the broker takes")
    parser.add_argument("--seed", type=int, default=14)
    chosen = parser.parse_args(arguments)
    with broker() as found, tempfile.TemporaryDirectory() as folder:
        environ = fresh_environment(found.bootstrap, "fuzz", partitions=1)
        settings = load(environ, folder=ROOT).settings
        logs.configure(level="warning", form=settings.log_format)
        make_topics(settings)
        planted = asyncio.run(plant(settings, chosen.batches, chosen.seed))
        report = asyncio.run(read_back(settings, planted))
        print(report, flush=True)  # noqa: T201 - a program for the terminal
        delivered = deliver(settings, environ, Path(folder))
    print(delivered)  # noqa: T201
    return int(bool(report.wrong) or delivered != Delivered(outcomes=planted.end, repeated=0))


if __name__ == "__main__":
    sys.exit(main())
