"""Writes the answers of a fault run to `reviewed`: the key of each chooses its partition, as a console's would. kafka-python."""

from collections.abc import Sequence

from kafka import KafkaProducer

from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.settings.settings import Settings
from tests.faults.inputs import Input, Planted
from tests.waiting import HANG_SECONDS, answered

AT_ONCE = 5_000


def send_answers(settings: Settings, planted: Sequence[Planted]) -> list[Input]:
    """
    Send the records in order; returns them with their places.

    Raises:
        KafkaError: A record was refused.
    """
    producer = answered(
        lambda: KafkaProducer(
            **client_options(settings), acks="all", linger_ms=20, delivery_timeout_ms=int(HANG_SECONDS * 1000)
        ),
        settings.brokers,
    )
    sent: list[Input] = []
    try:
        for start in range(0, len(planted), AT_ONCE):
            part = planted[start : start + AT_ONCE]
            futures = [
                # A tombstone needs a key, which every one of them has.
                producer.send(settings.topics.reviewed, key=one.key, value=one.value, headers=list(one.headers))
                for one in part
            ]
            producer.flush(timeout=HANG_SECONDS)
            places = [future.get(timeout=HANG_SECONDS) for future in futures]
            sent += [
                Input(planted=one, partition=place.partition, offset=place.offset)
                for one, place in zip(part, places, strict=True)
            ]
    finally:
        producer.close(timeout=HANG_SECONDS)
    return sent
