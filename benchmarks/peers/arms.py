"""The programs beside the worker, each a process of its own: `python -m benchmarks.peers.arms NAME`.

    aiokafka        aiokafka alone: the worker's bundle in two threads, three batches of 64 under way, commits four times a second
    faststream      FastStream, batches of 64, six layers dynamic int8 in a thread
    faust-take      Faust's `take(64)`, the same file in a thread
    faust-pipeline  Faust and transformers' pipeline, one event at a time
    dropping, mislabelling   known-bad forms of `aiokafka`, to see that the comparison refuses them

All read `content` from the beginning and write id and tag to `tagged`; the environment names the topics (TAGSTREAM_TOPICS__*) and the
folder of the rivals' model (PEERS_RIVAL). A process imports only what its own arm needs, since its memory and its start are measured.
"""

import asyncio
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peers.rival import FOLDER, Rival
from benchmarks.peers.texts import Event, Outcome
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings

BATCH, THREADS, UNDER_WAY = 64, 2, 3
COMMIT_SECONDS = 0.25
# The known-bad forms harm one event of so many.
HARMED = 50

Decide = Callable[[Sequence[Event]], list[Outcome]]


def rival() -> Rival:
    """The model of the arms that do not use the bundle."""
    return Rival(Path(os.environ[FOLDER]))


def events_of(values: Sequence[bytes]) -> list[Event]:
    """The events in some records' values."""
    return [msgspec.json.decode(value, type=Event) for value in values]


def by_rival(model: Rival) -> Callable[[Sequence[bytes]], list[bytes]]:
    """Values in, values out, through the rivals' model."""

    def decided(values: Sequence[bytes]) -> list[bytes]:
        events = events_of(values)
        outcomes = model.outcomes([event.id for event in events], [event.title for event in events])
        return [msgspec.json.encode(outcome) for outcome in outcomes]

    return decided


def by_bundle(settings: Settings) -> Decide:
    """The worker's own model."""
    from tagstream.model_export.bundle.bundle import read
    from tagstream.model_export.bundle.model import OnnxClassifier

    classifier = OnnxClassifier(read(settings.bundle))

    def decided(events: Sequence[Event]) -> list[Outcome]:
        predictions = classifier.classify([event.title for event in events])
        return [Outcome(id=event.id, tag=found.label) for event, found in zip(events, predictions, strict=True)]

    return decided


def dropping(decide: Decide) -> Decide:
    """Loses events."""
    return lambda events: [one for place, one in enumerate(decide(events)) if place % HARMED]


def mislabelling(decide: Decide) -> Decide:
    """Writes another label for some events."""

    def decided(events: Sequence[Event]) -> list[Outcome]:
        return [Outcome(id=one.id, tag=one.tag if place % HARMED else "none") for place, one in enumerate(decide(events))]

    return decided


def clients(settings: Settings) -> tuple[Any, Any]:
    """Aiokafka's consumer of `content` that commits by hand, and its idempotent producer that waits for all replicas."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    consumer = AIOKafkaConsumer(
        settings.topics.content,
        bootstrap_servers=settings.broker_list,
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.broker_list, acks="all", enable_idempotence=True, linger_ms=5, max_batch_size=131_072
    )
    return consumer, producer


async def aiokafka(settings: Settings, decide: Decide) -> None:
    """Polls, decides in threads, sends, waits for the broker, commits; a batch's offsets are committed after its outcomes are confirmed."""
    consumer, producer = clients(settings)
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(THREADS)
    under_way: deque[tuple[asyncio.Task[None], dict[Any, int]]] = deque()
    done: dict[Any, int] = {}
    committed = time.monotonic()

    async def handle(records: Sequence[Any]) -> None:
        events = [msgspec.json.decode(record.value, type=Event) for record in records]
        outcomes = await loop.run_in_executor(threads, decide, events)
        sent = [
            await producer.send(settings.topics.tagged, msgspec.json.encode(one), key=record.key, headers=list(record.headers))
            for record, one in zip(records, outcomes, strict=False)
        ]
        await asyncio.gather(*sent)

    async with consumer, producer:
        while True:
            polled = await consumer.getmany(timeout_ms=5 if under_way else 200, max_records=BATCH)
            if records := [record for found in polled.values() for record in found]:
                ends = {partition: found[-1].offset + 1 for partition, found in polled.items()}
                under_way.append((asyncio.create_task(handle(records)), ends))
            while under_way and (len(under_way) >= UNDER_WAY or not records or under_way[0][0].done()):
                task, ends = under_way.popleft()
                await task
                done |= ends
            if done and time.monotonic() - committed > COMMIT_SECONDS:
                await consumer.commit(done)
                done, committed = {}, time.monotonic()


async def faststream(settings: Settings) -> None:
    """The batch subscriber of FastStream's own pages; a batch is acknowledged after its handler."""
    from faststream import FastStream
    from faststream.kafka import KafkaBroker

    # A line of its log for each event would be measured too; its errors are kept.
    logging.basicConfig(level=logging.ERROR)
    logger = logging.getLogger("benchmarks.peers")
    broker = KafkaBroker(settings.broker_list, acks="all", linger_ms=5, max_batch_size=131_072, logger=logger)
    model = rival()

    @broker.subscriber(
        settings.topics.content, batch=True, max_records=BATCH, group_id=settings.group, auto_offset_reset="earliest"
    )
    async def handle(events: list[dict[str, str]]) -> None:
        # FastStream has read the JSON already.
        ids, titles = ([event[name] for event in events] for name in ("id", "title"))
        outcomes = await asyncio.to_thread(model.outcomes, ids, titles)
        await broker.publish_batch(*map(msgspec.json.encode, outcomes), topic=settings.topics.tagged)

    await FastStream(broker, logger=logger).run()


def faust_app(settings: Settings) -> Any:
    """Faust as its pages have it, with a producer that waits 5 ms for a fuller batch."""
    import faust

    return faust.App(
        settings.group,
        broker=[f"kafka://{broker}" for broker in settings.broker_list],
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_linger=0.005,
        producer_max_batch_size=131_072,
    )


def raw_topic(app: Any, name: str) -> Any:
    """A topic of bytes."""
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def work(app: Any) -> None:
    """Run until stopped."""
    import faust

    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


def faust_take(settings: Settings) -> None:
    """Batches of 64."""
    app = faust_app(settings)
    content, tagged = raw_topic(app, settings.topics.content), raw_topic(app, settings.topics.tagged)
    decide = by_rival(rival())

    @app.agent(content)  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        async for values in stream.take(BATCH, within=0.1):
            outcomes = await asyncio.to_thread(decide, values)
            await asyncio.gather(*[await tagged.send(value=outcome) for outcome in outcomes])

    work(app)


def faust_pipeline(settings: Settings) -> None:
    """One event at a time."""
    from benchmarks.peers.make_rival import pipeline

    app = faust_app(settings)
    content, tagged = raw_topic(app, settings.topics.content), raw_topic(app, settings.topics.tagged)
    classify = pipeline(Path(os.environ[FOLDER]))

    @app.agent(content)  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        async for value in stream:
            event = msgspec.json.decode(value, type=Event)
            (found,) = await asyncio.to_thread(classify, [event.title], truncation=True)
            await (await tagged.send(value=msgspec.json.encode(Outcome(id=event.id, tag=found["label"]))))

    work(app)


def main() -> None:
    """Run the arm that the first argument names, until it is stopped."""
    settings = load(os.environ).settings
    match sys.argv[1]:
        case "aiokafka":
            asyncio.run(aiokafka(settings, by_bundle(settings)))
        case "dropping":
            asyncio.run(aiokafka(settings, dropping(by_bundle(settings))))
        case "mislabelling":
            asyncio.run(aiokafka(settings, mislabelling(by_bundle(settings))))
        case "faststream":
            asyncio.run(faststream(settings))
        case "faust-take":
            faust_take(settings)
        case "faust-pipeline":
            faust_pipeline(settings)
        case other:
            sys.exit(f"no arm {other!r}; see python -m benchmarks.peers --help")


if __name__ == "__main__":
    main()
