"""
A Faust application that tags a topic: faust -A examples.library.faust_app worker, or python examples/library/faust_app.py worker

BROKERS, CONTENT and GROUP name brokers, topic and group. The topics of the decisions are settings of tagstream, such as
TAGSTREAM_TOPICS__TAGGED.
"""

import asyncio
import logging
import os
from typing import Any

import faust

from tagstream import AsyncTagger, Record

log = logging.getLogger(__name__)
app = faust.App(
    os.environ.get("GROUP", "my-faust-app"),
    broker=[f"kafka://{broker}" for broker in os.environ.get("BROKERS", "127.0.0.1:9092").split(",")],
    consumer_auto_offset_reset="earliest",
    producer_acks=-1,
    topic_allow_declare=False,
    topic_disable_leader=True,
    web_enabled=False,
)
content = app.topic(
    os.environ.get("CONTENT", "content"), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
)


@app.agent(content)
async def tag(stream: Any) -> None:
    """Tag up to 64 events at a time. Faust acknowledges them when the loop asks for the next events, after the broker's confirmations."""
    async with AsyncTagger() as tagger:
        async for events in stream.take_events(64, within=0.05):
            try:
                await publish(tagger, [event.message for event in events])
            except Exception:
                # Faust would go on with the next events. So the program ends; after a restart it begins with these events.
                log.exception("a batch was not published")
                os._exit(1)


async def publish(tagger: AsyncTagger, messages: list[Any]) -> None:
    """Decide, send, and wait for the broker."""
    results = await tagger.decide(
        Record(
            topic=one.topic,
            partition=one.partition,
            offset=one.offset,
            timestamp_ms=round(one.timestamp * 1000),
            key=one.key,
            value=one.value,
            headers=tuple(one.headers or ()),
        )
        for one in messages
    )
    sent = [
        await app.producer.send(record.topic, record.key, record.value, None, None, list(record.headers))
        for result in results
        for record in result.records
    ]
    await asyncio.gather(*sent)


if __name__ == "__main__":
    app.main()
