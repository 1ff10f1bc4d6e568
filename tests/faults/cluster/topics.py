"""Topics and a group of a test's own, their end, and the ledger of inputs that the broker has acknowledged."""

import uuid
from collections.abc import Sequence

from kafka import KafkaProducer

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.inputs import Input, Planted
from tests.faults.worker.fleet import ROOT
from tests.waiting import HANG_SECONDS, answered

# The workers' watchdogs in fault runs: above a model that is slow and a network that is silent, as faults.py has them.
INFERENCE_TIMEOUT_SECONDS = 10.0
PRODUCE_TIMEOUT_SECONDS = 12.0
DRIFT_WINDOW_EVENTS = 100
AT_ONCE = 20_000
# The names of this process's environments, which their topics begin with.
_MADE: list[str] = []


def fresh_environment(bootstrap: str, test: str, *, partitions: int = 6) -> dict[str, str]:
    """TAGSTREAM_* for a worker on topics and in a group of its own, named after the test."""
    name = f"{test[:60]}-{uuid.uuid4().hex[:8]}"
    _MADE.append(name)
    kinds = ("content", "tagged", "review", "dlq", "audit", "reviewed", "reports", "outcomes", "shadow", "drift", "references")
    return {
        "TAGSTREAM_BROKERS": bootstrap,
        "TAGSTREAM_GROUP": name,
        "TAGSTREAM_METRICS_PORT": "0",
        "TAGSTREAM_LOG_FORMAT": "json",
        "TAGSTREAM_BATCH_MAX_EVENTS": "32",
        "TAGSTREAM_INFERENCE_THREADS": "2",
        # Three brokers that share two busy cores can take minutes to say who coordinates a group.
        "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": str(HANG_SECONDS),
        # The session is long enough for a worker that gets no core for some seconds; these tests look for other faults.
        "TAGSTREAM_SESSION_TIMEOUT_SECONDS": "30",
        "TAGSTREAM_SHUTDOWN_TIMEOUT_SECONDS": "120",
        "TAGSTREAM_TOPIC_PARTITIONS": str(partitions),
        **{f"TAGSTREAM_TOPICS__{kind.upper()}": f"{name}.{kind}" for kind in kinds},
    }


def fault_environment(bootstrap: str, test: str, *, partitions: int = 6, replication: int = 1) -> dict[str, str]:
    """The same with a short session and short watchdogs, for workers that faults will strike."""
    return {
        **fresh_environment(bootstrap, test, partitions=partitions),
        # A worker that starts while all brokers are struck ends, and is started again.
        "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": "30",
        "TAGSTREAM_SESSION_TIMEOUT_SECONDS": "6",
        "TAGSTREAM_TOPIC_REPLICATION": str(replication),
        "TAGSTREAM_INFERENCE_TIMEOUT_SECONDS": str(INFERENCE_TIMEOUT_SECONDS),
        "TAGSTREAM_PRODUCE_TIMEOUT_SECONDS": str(PRODUCE_TIMEOUT_SECONDS),
        # Windows so short that a worker has findings between two faults.
        "TAGSTREAM_DRIFT_WINDOW_EVENTS": str(DRIFT_WINDOW_EVENTS),
        "TAGSTREAM_DRIFT_REFERENCE_WINDOWS": "1",
        "TAGSTREAM_DRIFT_LEARNING_SECONDS": "0",
        # So many that a fault between a decision and its copy strikes, at a rate of its own for one label.
        "TAGSTREAM_AUDIT_RATE": "0.2",
        "TAGSTREAM_AUDIT_RATES": "mlops=0.5",
    }


def destinations(settings: Settings) -> dict[Destination, str]:
    """The topic behind each destination."""
    return {
        Destination.TAGGED: settings.topics.tagged,
        Destination.REVIEW: settings.topics.review,
        Destination.DLQ: settings.topics.dlq,
    }


def make_topics(settings: Settings) -> None:
    """Make the topics that these settings name."""
    answered(lambda: admin.create(settings), settings.brokers)


def remove_topics(bootstrap: str) -> None:
    """
    Remove the topics of all environments that this process made so far, where the broker has them.

    A partition is a folder and open files of the broker, and the tests of one run would make more than 10,000.
    """
    made = tuple(_MADE)
    _MADE.clear()
    if not made:
        return
    settings = load({"TAGSTREAM_BROKERS": bootstrap}, folder=ROOT).settings
    names = [name for name in answered(lambda: admin.partitions(settings), bootstrap) if name.startswith(made)]
    with admin.admin(settings) as client:
        client.delete_topics(names)


def send(settings: Settings, planted: Sequence[Planted]) -> list[Input]:
    """
    Send the records in order, evenly over the partitions, and keep a ledger of the acknowledged ones.

    Raises:
        KafkaError: A record was refused.
    """
    partitions = answered(lambda: admin.partitions(settings), settings.brokers)
    return send_to(settings, planted, range(partitions[settings.topics.content]))


def send_to(settings: Settings, planted: Sequence[Planted], partitions: Sequence[int]) -> list[Input]:
    """
    The same, to these partitions in turn.

    Raises:
        KafkaError: A record was refused.
    """
    producer = answered(
        lambda: KafkaProducer(
            **client_options(settings), acks="all", linger_ms=20, delivery_timeout_ms=int(HANG_SECONDS * 1000)
        ),
        settings.brokers,
    )
    confirmed: list[Input] = []
    try:
        # A part at a time: a future for each of a million records would be more than the records.
        for start in range(0, len(planted), AT_ONCE):
            part = planted[start : start + AT_ONCE]
            futures = [
                producer.send(
                    settings.topics.content,
                    key=one.key,
                    value=one.value,
                    headers=list(one.headers),
                    partition=partitions[number % len(partitions)],
                )
                for number, one in enumerate(part, start)
            ]
            producer.flush(timeout=HANG_SECONDS)
            for one, future in zip(part, futures, strict=True):
                metadata = future.get(timeout=HANG_SECONDS)
                confirmed.append(Input(planted=one, partition=metadata.partition, offset=metadata.offset))
    finally:
        producer.close(timeout=HANG_SECONDS)
    return confirmed
