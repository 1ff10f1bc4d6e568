"""A worker with its model stays below two thirds of the recommended memory, however far the batches on `content` inflate."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.event import weight
from tagstream.stream.kafka.batches.inflate import GZIP, LZ4, SNAPPY, ZSTD
from tagstream.stream.settings.settings import Settings
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import Fleet
from tests.faults.worker.stub import FULL_BATCH_VARIABLE
from tests.hostile.batches import batch, plain, record, varint
from tests.integration.running import is_committed, peak_bytes, written
from tests.waiting import until
from tests.wire import produce

pytestmark = pytest.mark.broker

# docs/deploy.md recommends 768 MiB.
MOST_BYTES = 512 * 1024 * 1024
# The broker takes no larger batch.
BATCH_BYTES = 1_000_000


@pytest.fixture
def fleet(environ: dict[str, str], tmp_path: Path) -> Iterator[Fleet]:
    """Workers with a real model, of which each call takes a second until `hurry`."""
    with Processes(grace_seconds=0) as processes:
        yield Fleet(
            processes=processes,
            module="tests.faults.worker",
            model="bundle",
            environ={**environ, FULL_BATCH_VARIABLE: "1"},
            seconds_per_batch=1.0,
            folder=tmp_path,
        )


def gzipped(value: bytes, count: int) -> bytes:
    """A gzip batch of equal records, made without holding what it inflates to."""
    deflate = zlib.compressobj(level=6, wbits=31)
    parts = [deflate.compress(record(varint(at), (None, value))) for at in range(count)]
    return batch(b"".join([*parts, deflate.flush()]), GZIP, count)


def event(size: int) -> bytes:
    """A valid event of so many bytes."""
    whole = b'{"title":"Feature stores","description":"%b"}'
    return whole % (b"a" * size)[: size - len(whole) + 2]


def committed(observer: TopicObserver, process: Process) -> None:
    """Wait until the worker has committed all of `content`."""
    until(lambda: is_committed(observer), "all is committed", state=observer.committed, process=process)


def test_a_gigabyte_of_large_events_in_a_megabyte(settings: Settings, fleet: Fleet) -> None:
    """580 records of 1.7 MB, each small enough to be kept, are 580 dead letters, and these are bounded by the bytes of the batch."""
    whole = gzipped(event(1_700_000), 580)
    assert len(whole) < BATCH_BYTES
    assert produce(settings, settings.topics.content, 0, whole) == 0
    fleet.seconds_per_batch = 0.0
    worker = fleet.add(1).process
    with TopicObserver(settings) as observer:
        committed(observer, worker)
        letters = observer.outcomes()[Destination.DLQ]
    assert len(letters) == 580
    assert sum(weight(one.key, one.value, one.headers) for one in letters) <= 4 * len(whole)
    assert peak_bytes(worker) < MOST_BYTES


@pytest.mark.slow
def test_a_backlog_of_large_events_before_a_slow_model(settings: Settings, fleet: Fleet) -> None:
    """Of 420 valid events of 700 KB, 294 MB together, a worker takes as many as it can hold; all are decided."""
    whole = gzipped(event(700_000), 20)
    for partition in (0, 1, 2):
        for _ in range(7):
            assert produce(settings, settings.topics.content, partition, whole) == 0
    worker = fleet.add(1).process
    with TopicObserver(settings) as observer:
        until(lambda: written(observer) >= 40, "40 events are decided", process=worker)
        fleet.hurry()
        committed(observer, worker)
        assert written(observer) == 420
    assert peak_bytes(worker) < MOST_BYTES


def flood() -> bytes:
    """A record with four million empty headers, each of which is a tuple in memory."""
    count = 4_000_000
    return batch(plain(record(varint(0), (b"k", b"v"), headers=varint(count) + b"\x00\x01" * count), GZIP), GZIP, 1)


def large_events() -> bytes:
    """A hundred records of 1.7 MB."""
    return b"".join(record(varint(at), (None, event(1_700_000))) for at in range(100))


BOMBS: dict[str, Callable[[], bytes]] = {
    "headers": flood,
    "snappy": lambda: batch(plain(record(varint(0), (None, event(18_000_000))), SNAPPY), SNAPPY, 1),
    "lz4": lambda: batch(plain(large_events(), LZ4), LZ4, 100),
    "zstd": lambda: batch(plain(large_events(), ZSTD), ZSTD, 100),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_on_all_partitions_at_once(settings: Settings, fleet: Fleet, name: str) -> None:
    """A worker holds an inflated batch for each partition that it reads, so each of them gets three such batches."""
    whole = BOMBS[name]()
    assert len(whole) < BATCH_BYTES
    with TopicObserver(settings) as observer:
        partitions = sorted(observer.ends())
        for partition in partitions:
            for _ in range(3):
                assert produce(settings, settings.topics.content, partition, whole) == 0
        fleet.seconds_per_batch = 0.0
        worker = fleet.add(1).process
        committed(observer, worker)
        assert written(observer) == sum(observer.ends().values())
    assert peak_bytes(worker) < MOST_BYTES
