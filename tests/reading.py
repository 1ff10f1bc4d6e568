"""Topics read from outside, by kafka-python alone: a test of what a stream has written does not trust the stream's own readers."""

import contextlib
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from tests.waiting import until


def records_in(brokers: str, *topics: str) -> list[Any]:
    """All that topics hold now, also records of transactions that are open or were aborted."""
    found: list[Any] = []
    with contextlib.closing(KafkaConsumer(bootstrap_servers=brokers.split(","), enable_auto_commit=False)) as client:
        places = [TopicPartition(topic, number) for topic in topics for number in client.partitions_for_topic(topic)]
        client.assign(places)
        client.seek_to_beginning(*places)
        ends = client.end_offsets(places)

        def read_on() -> bool:
            found.extend(record for records in client.poll(timeout_ms=200).values() for record in records)
            return all(client.position(place) >= ends[place] for place in places)

        until(read_on, f"{' and '.join(topics)} are read to their ends", state=lambda: f"{len(found)} records")
    return found
