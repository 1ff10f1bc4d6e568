"""The exactly-once mode on Apache Kafka: a reader of committed records sees each outcome once, through every fault."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition

from tagstream.stream.broker import Broker
from tagstream.stream.broker.processes import Processes
from tagstream.stream.deliver.fatal import EXIT_BROKEN
from tagstream.stream.kafka.rights import transactional_prefix
from tagstream.stream.kafka.transactions import TransactionsUnavailableError
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import destinations, fault_environment, make_topics, send
from tests.faults.faults import Fault
from tests.faults.harness import run
from tests.faults.inputs import plant
from tests.faults.observer import TopicObserver
from tests.faults.plan import Plan
from tests.faults.report import Report
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.running import Start, all_committed, verdict
from tests.reading import records_in
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

ONCE = {"TAGSTREAM_DELIVERY": "exactly_once"}
# Longer than a worker is frozen, so that a thawed worker ends its transaction instead of itself for lateness.
PATIENT = {"TAGSTREAM_PRODUCE_TIMEOUT_SECONDS": "30", "TAGSTREAM_INFERENCE_TIMEOUT_SECONDS": "30"}
EVENTS = 600
FAULTS = (
    Fault.KILL_BEFORE_COMMITTING,
    Fault.KILL_AMONG_SENDS,
    Fault.FREEZE_AMONG_SENDS,
    Fault.PRODUCE_FAILURE,
)
UNFENCED_FAULTS = (Fault.FREEZE_AMONG_SENDS,)
HALF = 50


@pytest.fixture(scope="module")
def reports(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """Reports of our worker and of one without a fence, run at the same time since both mostly wait."""

    def report(
        module: str, folder: Path, faults: tuple[Fault, ...], events: int, seconds_per_batch: float, patience_seconds: float
    ) -> Report:
        environ = fault_environment(kafka.bootstrap, "exactly-once") | ONCE | PATIENT
        make_topics(load(environ, folder=ROOT).settings)
        plan = Plan(
            module=f"tests.faults.{module}",
            seconds_per_batch=seconds_per_batch,
            faults=faults,
            max_seconds=3 * HANG_SECONDS,
            patience_seconds=patience_seconds,
            seed="once",
        )
        planted = plant(events, malformed=events // 100, seed="once")
        with Processes(grace_seconds=0) as processes:
            return run(plan, planted, environ=environ, folder=folder, processes=processes)

    with ThreadPoolExecutor(2) as executor:
        ours = executor.submit(report, "worker", tmp_path_factory.mktemp("ours"), FAULTS, 12_000, 1.0, 60.0)
        # A worker that commits an offset back stalls. With few events its successor reaches all of them in the freeze.
        other = executor.submit(
            report, "variants.unfenced", tmp_path_factory.mktemp("unfenced"), UNFENCED_FAULTS, 2_000, 0.4, 15.0
        )
        return {"worker": ours.result(), "variants.unfenced": other.result()}


@pytest.mark.slow
def test_no_outcome_is_read_twice_under_faults(reports: dict[str, Report], publish_report: Callable[[object], None]) -> None:
    """With workers killed in and around a transaction, or frozen beyond the session, each outcome is read once."""
    report = reports["worker"]
    publish_report(report)

    assert report.verdict.broken == [], str(report)
    assert report.faults == Counter(FAULTS), str(report)
    assert report.verdict.duplicates == 0, str(report)


@pytest.mark.slow
def test_without_the_fence_outcomes_are_read_twice(
    reports: dict[str, Report], publish_report: Callable[[object], None]
) -> None:
    """Without the fence a frozen worker commits its successor's events again, and the harness sees the duplicates."""
    report = reports["variants.unfenced"]
    publish_report(report)

    assert report.faults, str(report)
    assert report.verdict.duplicates > 0, str(report)


@contextlib.asynccontextmanager
async def producer_of(settings: Settings, partition: int) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that takes a partition over and leaves its transaction open."""
    name = f"{transactional_prefix(settings.group, settings.topics.content)}{partition}"
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker_list, transactional_id=name)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def test_a_worker_whose_partitions_are_taken_over_ends_itself(
    start: Start, settings: Settings, observer: TopicObserver
) -> None:
    """A fenced worker ends itself with the reason, and its successor goes on where the last commit ended."""
    inputs = send(settings, plant(EVENTS, malformed=6, seed="fenced"))
    worker = start(seconds_per_batch=0.5, **ONCE)
    until(observer.committed, "something is committed", process=worker.process)

    async def take_over() -> None:
        for partition in observer.ends():
            async with producer_of(settings, partition):
                pass

    asyncio.run(take_over())

    assert worker.end() == EXIT_BROKEN
    assert "ProducerFenced" in worker.process.output()
    assert observer.committed() != observer.ends()
    start(**ONCE)
    all_committed(observer)
    found = verdict(observer, inputs)
    assert found.broken == [], found
    assert found.duplicates == 0, found


def test_an_open_transaction_is_rolled_back_before_its_offset_is_read(
    start: Start, settings: Settings, observer: TopicObserver
) -> None:
    """Neither the outcomes nor the pending offset of a dead worker's open transaction count."""
    inputs = send(settings, plant(EVENTS, malformed=6, seed="open"))

    async def half_a_transaction() -> None:
        async with producer_of(settings, 0) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(settings.topics.tagged, b"half", b"half")
            await producer.send_offsets_to_transaction({TopicPartition(settings.topics.content, 0): HALF}, settings.group)

    asyncio.run(half_a_transaction())
    start(**ONCE)

    all_committed(observer)
    found = verdict(observer, inputs)
    assert found.broken == [], found
    assert found.duplicates == 0, found
    assert found.outcomes == EVENTS
    # As a reader without `isolation.level` sees them.
    assert len(records_in(settings.brokers, *destinations(settings).values())) == EVENTS + 1


@pytest.mark.slow
def test_exactly_once_does_not_start_on_a_broker_without_transactions(environ: dict[str, str]) -> None:
    """A worker that is configured for exactly once refuses to run with a weaker guarantee."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.worker"],
        cwd=ROOT,
        env={**without_settings(os.environ), **environ, **ONCE, "TAGSTREAM_IDEMPOTENT_PRODUCER": "off"},
        capture_output=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == TransactionsUnavailableError.exit_code, done
    assert b"TAGSTREAM_DELIVERY=at_least_once" in done.stderr
