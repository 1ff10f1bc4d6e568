"""The programs that `benchmarks.throughput` measures, each a process of its own: `python -m benchmarks.arms NAME`.

    tagstream     the shipped worker, with a model that takes no time
    exactly-once  the same with `delivery = exactly_once`
    rollout       the same with a topic `rollout`, which a worker asks for its end before each batch
    bare          a Faust agent that only forwards bytes, by Faust's own `topic.send`, and acknowledges safely
    bare-fast     the same through Faust's producer, without the topic's encoding
    raw           aiokafka alone: getmany, send, wait, commit

All read `content` from the beginning and write to the topics that the environment names (TAGSTREAM_TOPICS__*).
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.peers.arms import clients
from tagstream.model_export.bundle.model import Prediction
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.metrics.process import process_registry
from tagstream.stream import logs
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.deliver.batch import Batcher
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.ending import Worker
from tagstream.stream.worker.faust_app import faust_app, source
from tagstream.stream.worker.process import run

LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
SURE = Prediction(
    label=LABELS[0],
    confidence=0.97,
    probabilities=dict(zip(LABELS, (0.97, 0.01, 0.01, 0.01), strict=True)),
    energy=-5.0,
    tokens=8,
    truncated=False,
)


class FreeModel:
    """A model that takes no time, so the rest of the worker is measured."""

    labels = LABELS

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """The same prediction for every text."""
        return [SURE] * len(texts)


def tagstream(settings: Settings) -> None:
    """Our worker."""
    registry = process_registry()
    metrics = Metrics(registry, labels=LABELS, topic=settings.topics.content)
    model = ModelRef(name="free", version="0", digest="0" * 64)
    make = partial(pipeline_of, decider=Decider(classifier=FreeModel(), model=model, threshold=0.5))
    run(settings, pipeline=make(settings, observer=metrics), make=make, metrics=metrics, registry=registry)


def bare(settings: Settings, *, by_topic: bool) -> None:
    """A Faust agent under our Faust settings that forwards batches: every send awaited twice, acknowledged in order."""
    app = faust_app(settings, idempotent=True)
    target = app.topic(settings.topics.tagged, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def send(event: Any) -> Any:
        if by_topic:
            return await target.send(key=event.message.key, value=event.message.value)
        return await app.producer.send(settings.topics.tagged, event.message.key, event.message.value, None, None, None)

    async def forward(stream: Any, batcher: Batcher[Any]) -> None:
        while True:
            batch, _ = await batcher.next_batch()
            await asyncio.gather(*[await send(event) for event in batch])
            for event in batch:
                await stream.ack(event)

    @app.agent(source(app, settings), name="forward")  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        stream = stream.noack()
        batcher: Batcher[Any] = Batcher(limit=settings.batch_max_events)
        forwarding = asyncio.create_task(forward(stream, batcher))
        try:
            async for event in stream.events():
                await batcher.put(event, len(event.message.value))
        finally:
            forwarding.cancel()

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    running = Worker(app, loop=loop, shutdown_seconds=settings.shutdown_timeout_seconds, on_stopping=lambda: None)
    running.execute_from_commandline()


async def raw(settings: Settings) -> None:
    """No Faust: poll, send, wait for the broker, commit."""
    consumer, producer = clients(settings)
    async with consumer, producer:
        while True:
            polled = await consumer.getmany(timeout_ms=200, max_records=settings.batch_max_events)
            sent = [
                await producer.send(settings.topics.tagged, record.value, key=record.key)
                for records in polled.values()
                for record in records
            ]
            await asyncio.gather(*sent)
            if sent:
                await consumer.commit()


def main() -> None:
    """Run the arm that the first argument names, until it is stopped."""
    settings = load(os.environ).settings
    logs.configure(level="warning", form="json")
    match sys.argv[1]:
        case "tagstream" | "rollout":
            tagstream(settings)
        case "exactly-once":
            tagstream(settings.model_copy(update={"delivery": "exactly_once"}))
        case "bare":
            bare(settings, by_topic=True)
        case "bare-fast":
            bare(settings, by_topic=False)
        case "raw":
            asyncio.run(raw(settings))
        case other:
            sys.exit(f"no arm {other!r}; there are tagstream, exactly-once, rollout, bare, bare-fast and raw")


if __name__ == "__main__":
    main()
