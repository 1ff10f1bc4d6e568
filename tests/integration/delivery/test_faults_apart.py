"""Faults of offsets, of the log, of disks, and of models while one replaces another."""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient, TopicPartition

from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import send
from tests.faults.inputs import Planted, plant
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, without_settings
from tests.faults.worker.stub import MODEL, MODEL_VARIABLE, OTHER_MODEL
from tests.integration.running import Start, all_committed, all_written, verdict
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.broker

EVENTS = 600
# Of the six partitions of a test's topic.
HALF = 3


@contextlib.contextmanager
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """An admin client that is closed."""
    client = KafkaAdminClient(bootstrap_servers=settings.broker_list)
    try:
        yield client
    finally:
        client.close()


@pytest.mark.slow
def test_a_group_that_lost_its_offsets_begins_anew(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """A group without offsets begins at the oldest event: every event is decided again, the same way, and none is missed."""
    inputs = send(settings, plant(EVENTS, malformed=6, seed="offsets"))
    worker = start()
    all_committed(observer)
    worker.stop()
    with admin(settings) as client:
        client.delete_groups([settings.group])

    start()

    all_written(observer, 2 * EVENTS)
    all_committed(observer)
    found = verdict(observer, inputs)
    assert found.broken == [], found
    assert found.duplicates == EVENTS


@pytest.mark.slow
def test_events_that_expired_unread_are_counted_and_the_rest_is_read(
    start: Start, settings: Settings, observer: TopicObserver
) -> None:
    """Where retention removed uncommitted events, the worker goes on behind the gap and reports how many are gone."""
    send(settings, plant(60, malformed=0, seed="read"))
    start().stop()
    worker = start()
    all_committed(observer)
    worker.stop()
    committed = observer.committed()
    inputs = send(settings, plant(EVENTS, malformed=6, seed="expired", first=1000))
    gone = {partition: offset + 20 for partition, offset in committed.items()}
    with admin(settings) as client:
        client.delete_records({TopicPartition(settings.topics.content, partition): end for partition, end in gone.items()})

    worker = start()

    left = [one for one in inputs if one.offset >= gone[one.partition]]
    all_committed(observer)
    outcomes = observer.outcomes()
    assert sum(map(len, outcomes.values())) == 60 + len(left)
    expired = 20 * len(gone)
    worker.until_metric("tagstream_events_expired_total", lambda value: value == expired)
    assert '"events_expired_unread"' in worker.process.output()


def test_records_that_a_producer_rolled_back_are_no_events(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """A worker reads the committed records of a transactional producer alone, and the markers in the log leave no lag behind."""
    kept, dropped = plant(300, malformed=3, seed="kept"), plant(300, malformed=3, seed="dropped", first=5000)
    asyncio.run(in_transactions(settings, kept, dropped))

    worker = start()

    all_written(observer, len(kept))
    worker.until_metric("tagstream_committed_lag_events", lambda value: value == 0)
    assert sum(observer.sample().written.values()) == len(kept)


async def in_transactions(settings: Settings, kept: list[Planted], dropped: list[Planted]) -> None:
    """Fifty records a transaction, every other one of them rolled back."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker_list, transactional_id=f"{settings.group}-upstream")
    await producer.start()
    try:
        for at in range(0, len(kept), 50):
            for records, rolled_back in ((kept, False), (dropped, True)):
                await producer.begin_transaction()
                confirmations = [
                    await producer.send(
                        settings.topics.content, key=one.key or b"k", value=one.value, headers=list(one.headers)
                    )
                    for one in records[at : at + 50]
                ]
                await asyncio.gather(*confirmations)
                await (producer.abort_transaction() if rolled_back else producer.commit_transaction())
    finally:
        await producer.stop()


@pytest.mark.slow
def test_two_models_during_a_replacement_differ_only_from_each_other(
    start: Start, settings: Settings, observer: TopicObserver
) -> None:
    """A rolling restart runs two bundles side by side: each event is decided, and no bundle contradicts itself."""
    inputs = send(settings, plant(2 * EVENTS, malformed=12, seed="rolling"))
    first = start(seconds_per_batch=1.0)
    other = start(seconds_per_batch=0.1, **{MODEL_VARIABLE: "other-stub"})
    other.until_metric("tagstream_events_published_total", lambda value: value > 0)
    first.process.kill()

    all_committed(observer)
    found = verdict(observer, inputs)
    # If both models decide an event differently, the order of the two outcomes is not known.
    assert set(found.broken) <= {"I5"}, found
    written = b"".join(record.value or b"" for records in observer.outcomes().values() for record in records)
    assert MODEL.digest.encode() in written
    assert OTHER_MODEL.digest.encode() in written


def test_a_full_disk_does_not_matter_to_a_worker(
    environ: dict[str, str], settings: Settings, observer: TopicObserver, tmp_path: Path
) -> None:
    """A worker that cannot write a single byte to any file works as any other, and stops as any other."""
    inputs = send(settings, plant(EVENTS, malformed=6, seed="disk"))
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.worker"],
        cwd=tmp_path,
        env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),  # noqa: PLW1509 - one thread, one call
    )
    try:
        all_committed(observer)
        worker.terminate()
        said, _ = worker.communicate(timeout=HANG_SECONDS)
    finally:
        worker.kill()
        worker.communicate()

    assert worker.returncode == 0, said.decode()
    assert verdict(observer, inputs).broken == []


@pytest.mark.slow
def test_a_member_with_a_name_of_its_own_keeps_its_partitions_over_a_restart(
    start: Start, settings: Settings, observer: TopicObserver
) -> None:
    """A static member that comes back within its session gets its partitions, and no other member is disturbed."""
    inputs = send(settings, plant(EVENTS, malformed=6, seed="static"))
    session = {"TAGSTREAM_SESSION_TIMEOUT_SECONDS": "40"}
    staying = start(TAGSTREAM_GROUP_INSTANCE_ID="staying", **session)
    leaving = start(TAGSTREAM_GROUP_INSTANCE_ID="leaving", **session)
    all_committed(observer)
    staying.until_metric("tagstream_assigned_partitions", lambda value: value == HALF)
    before = staying.process.output().count('"partitions_assigned"')
    leaving.stop()
    back = start(TAGSTREAM_GROUP_INSTANCE_ID="leaving", **session)
    inputs += send(settings, plant(EVENTS, malformed=6, seed="static-2", first=10_000))

    all_committed(observer)
    assert verdict(observer, inputs).broken == []
    back.until_metric("tagstream_assigned_partitions", lambda value: value == HALF)
    assert staying.process.output().count('"partitions_assigned"') == before
