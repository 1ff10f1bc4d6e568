"""Faust's engine on Apache Kafka keeps what every engine must (`tests/contract/engine/checks.py`)."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

import faust.transport.drivers.aiokafka as driver
import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tagstream.stream.broker import Broker
from tagstream.stream.deliver.engine import Engine
from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.kafka.rights import transactional_prefix
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.faust_app import App, faust_app
from tagstream.stream.worker.faust_engine import FaustEngine
from tests.contract.engine.checks import CHECKS, HEADERS, TIMESTAMP_MS, Check, Member, record
from tests.faults.cluster.topics import fresh_environment, make_topics
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.broker
POLL_SECONDS = 0.05


class FaustBench:
    """Implements `Bench` with members that are Faust apps of this process."""

    def __init__(self, settings: Settings, observer: TopicObserver) -> None:
        """On the topics of these settings."""
        self._settings, self._observer = settings, observer
        self._produced = {0: 0, 1: 0}
        self._apps: dict[Member, App] = {}
        self.said_topic = settings.topics.shadow

    async def produce(self, partition: int, count: int) -> None:
        """By a producer that is no engine's."""
        await asyncio.to_thread(self._produce, partition, count)

    def _produce(self, partition: int, count: int) -> None:
        with contextlib.closing(KafkaProducer(bootstrap_servers=self._settings.broker_list, acks="all")) as producer:
            for offset in range(self._produced[partition], self._produced[partition] + count):
                key, value = record(partition, offset)
                sent = producer.send(
                    self._settings.topics.content,
                    key=key,
                    value=value,
                    headers=HEADERS,
                    partition=partition,
                    timestamp_ms=TIMESTAMP_MS,
                )
            assert sent.get(timeout=HANG_SECONDS).offset == offset
        self._produced[partition] += count

    async def committed(self) -> dict[int, int]:
        """As the broker tells it."""
        return await asyncio.to_thread(self._observer.committed)

    async def outcomes(self) -> list[bytes | None]:
        """As the broker tells them."""
        return [key for key, _ in await asyncio.to_thread(self._read, self._settings.topics.tagged)]

    async def said(self) -> list[tuple[bytes | None, bytes | None]]:
        """As the broker tells them."""
        return await asyncio.to_thread(self._read, self.said_topic)

    def _read(self, topic: str) -> list[tuple[bytes | None, bytes | None]]:
        found: list[tuple[bytes | None, bytes | None]] = []
        options = {"bootstrap_servers": self._settings.broker_list, "enable_auto_commit": False}
        with contextlib.closing(KafkaConsumer(**options, isolation_level="read_committed")) as consumer:
            places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            consumer.assign(places)
            consumer.seek_to_beginning(*places)
            ends = consumer.end_offsets(places)
            deadline = time.monotonic() + HANG_SECONDS
            while any(consumer.position(place) < ends[place] for place in places):
                assert time.monotonic() < deadline, f"{topic} was not read to its end"
                for records in consumer.poll(timeout_ms=200).values():
                    found += [(one.key, one.value) for one in records]
        return found

    async def join(self, *, transacts: bool = False) -> Member:
        """As a worker starts, in this process."""
        settings = self._settings.model_copy(update={"delivery": "exactly_once" if transacts else "at_least_once"})
        member, app = Member(), faust_app(settings, idempotent=True)
        engine: Engine = FaustEngine(app, settings, GroupMemory())
        member.engine = engine
        engine.subscribe("classify", settings.content_topics, member.run)
        engine.held_by(member)
        self._apps[member] = app
        app.finalize()
        await app.start()
        return member

    async def leave(self, member: Member) -> None:
        """As a worker stops."""
        app = self._apps.pop(member)
        await app.stop()
        if app.transactions is not None:
            # A worker's process ends here, and its producers with it.
            await app.transactions.hold(())

    async def end(self) -> None:
        """End all members."""
        for member in tuple(self._apps):
            await self.leave(member)

    async def take_over(self, partition: int) -> None:
        """Start the producer of the partition's transactional id."""
        name = f"{transactional_prefix(self._settings.group, self._settings.topics.content)}{partition}"
        producer = AIOKafkaProducer(bootstrap_servers=self._settings.broker_list, transactional_id=name)
        await producer.start()
        await producer.stop()

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Look again and again."""
        deadline = time.monotonic() + HANG_SECONDS
        while not await holds():
            broken = [error for member in self._apps for error in member.broken_by]
            assert not broken, f"an engine broke while it was awaited that {what}: {broken}"
            assert time.monotonic() < deadline, f"waited until {what}"
            await asyncio.sleep(POLL_SECONDS)


def died(error: BaseException) -> NoReturn:
    """In the place of the end of the process, which would be the end of the tests."""
    raise AssertionError from error


@pytest.fixture
def limited(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A group of its own, on topics of two partitions that take outcomes of a megabyte."""
    for name in ("Producer", "Consumer"):
        monkeypatch.setattr(driver.Transport, name, getattr(driver.Transport, name))
    monkeypatch.setattr("tagstream.stream.worker.consumer.die", died)
    # A process ends if it acknowledges out of order for longer; a check does so for as long as the broker takes.
    monkeypatch.setattr("tagstream.stream.worker.consumer.LOST_SECONDS", HANG_SECONDS)
    environ = fresh_environment(kafka.bootstrap, "engine", partitions=2) | {"TAGSTREAM_MAX_OUTCOME_BYTES": "1048588"}
    settings = load(environ, folder=ROOT).settings
    make_topics(settings)
    return settings


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_fausts_engine_keeps_the_contract(check: Check, limited: Settings) -> None:
    """On a real Apache Kafka, with members that join, hand back and leave."""

    async def scenario() -> None:
        with TopicObserver(limited) as observer:
            bench = FaustBench(limited, observer)
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    await check(bench)
            finally:
                await bench.end()

    asyncio.run(scenario())
