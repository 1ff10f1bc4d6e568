"""
A consumer that makes decisions of people's answers, where no worker of tagstream runs: python examples/library/answers.py

BROKERS and GROUP name brokers and group. The topics are settings of tagstream: TAGSTREAM_TOPICS__TAGGED and the like; REVIEWED names that of the answers.

At least once: offsets are committed when the broker has confirmed every record. An answer that comes again gets the same bytes, but for
`tagged_at`.
"""

import os

from kafka import KafkaConsumer, KafkaProducer

from tagstream import Answers, Record

BROKERS = os.environ.get("BROKERS", "127.0.0.1:9092").split(",")
CONFIRM_SECONDS = 30


def main() -> None:
    """Run until it is stopped."""
    answers = Answers()
    producer = KafkaProducer(bootstrap_servers=BROKERS, acks="all")
    consumer = KafkaConsumer(
        os.environ.get("REVIEWED", "reviewed"),
        bootstrap_servers=BROKERS,
        group_id=os.environ.get("GROUP", "my-answers"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        # The partitions of a program that was killed stand still for so long; kafka-python's own default is 45 s.
        session_timeout_ms=10_000,
    )
    while True:
        messages = [one for some in consumer.poll(timeout_ms=500, max_records=64).values() for one in some]
        if not messages:
            continue
        results = answers.decide(
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
