"""
A plain consumer that tags a topic, with kafka-python: python examples/library/plain.py

BROKERS, CONTENT and GROUP name brokers, topic and group. The topics of the decisions are settings of tagstream, such as
TAGSTREAM_TOPICS__TAGGED.

Delivery is at least once: offsets are committed after the broker has confirmed every record. A repeated event gives the same bytes, except
`tagged_at`.
"""

import os

from kafka import KafkaConsumer, KafkaProducer

from tagstream import Record, Tagger

BROKERS = os.environ.get("BROKERS", "127.0.0.1:9092").split(",")
CONFIRM_SECONDS = 30


def main() -> None:
    """Run until it is stopped."""
    tagger = Tagger()
    producer = KafkaProducer(bootstrap_servers=BROKERS, acks="all")
    consumer = KafkaConsumer(
        os.environ.get("CONTENT", "content"),
        bootstrap_servers=BROKERS,
        group_id=os.environ.get("GROUP", "my-plain-app"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        # A killed program's partitions wait for this time. The default of kafka-python is 45 s.
        session_timeout_ms=10_000,
    )
    while True:
        messages = [one for some in consumer.poll(timeout_ms=500, max_records=64).values() for one in some]
        if not messages:
            continue
        results = tagger.decide(
            Record(
                topic=one.topic,
                partition=one.partition,
                offset=one.offset,
                timestamp_ms=one.timestamp,
                key=one.key,
                value=one.value,
                headers=tuple(one.headers),
            )
            for one in messages
        )
        sent = [
            producer.send(record.topic, key=record.key, value=record.value, headers=list(record.headers))
            for result in results
            for record in result.records
        ]
        for confirmed in sent:
            confirmed.get(timeout=CONFIRM_SECONDS)
        consumer.commit()


if __name__ == "__main__":
    main()
