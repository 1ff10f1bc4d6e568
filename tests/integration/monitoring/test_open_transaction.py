"""A producer that leaves its transaction open, on Apache Kafka: every place that says what waits says it, and names the partition."""

import json
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from tagstream.stream.settings.settings import Settings
from tests.faults.observer import TopicObserver
from tests.integration.command_line import Command, lines
from tests.integration.running import Start, all_written
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

PARTITION, ACKNOWLEDGED = 3, 20


@pytest.fixture
def stuck(settings: Settings) -> Iterator[KafkaProducer]:
    """A producer with an open transaction of one record, which its test ends."""
    producer = KafkaProducer(
        bootstrap_servers=settings.broker_list, transactional_id=f"{settings.group}-stuck", transaction_timeout_ms=600_000
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        put(producer, settings, 0)
        yield producer
    finally:
        producer.close(timeout=HANG_SECONDS)


def put(producer: KafkaProducer, settings: Settings, number: int) -> None:
    """Send one event to the partition and wait for the broker's confirmation."""
    value = json.dumps({"id": f"e{number}", "title": "Translating languages"}).encode()
    producer.send(settings.topics.content, key=b"k", value=value, partition=PARTITION).get(timeout=HANG_SECONDS)


def test_events_behind_an_open_transaction_are_lag_and_an_alarm(
    tagstream: Command,
    environ: dict[str, str],
    settings: Settings,
    observer: TopicObserver,
    start: Start,
    stuck: KafkaProducer,
) -> None:
    """Acknowledged events that no worker may read are counted, alarmed with their partition, and decided after the commit."""
    plain = KafkaProducer(bootstrap_servers=settings.broker_list, acks="all")
    for number in range(1, ACKNOWLEDGED + 1):
        put(plain, settings, number)
    plain.close(timeout=HANG_SECONDS)
    worker = start()
    behind = ACKNOWLEDGED + 1
    worker.until_metric("tagstream_committed_lag_events", lambda lag: lag == behind)
    assert worker.series("tagstream_open_transaction_events", "partition") == {str(PARTITION): behind}
    status, text = worker.get("/readyz")
    assert (status, f"{behind} more behind an open transaction" in text) == (200, True)

    def alarm() -> str:
        found = json.loads(worker.get("/snapshot.json")[1])["alarms"]
        return next((one["what"] for one in found if one["name"] == "OpenTransaction"), "")

    assert f"{behind} of partition {PARTITION} for" in until(alarm, "the page says it", process=worker.process)
    until(lambda: '"event": "transaction_open"' in worker.process.output(), "the log says it", process=worker.process)
    doctor = tagstream("doctor", "--json", environ=environ)
    assert doctor.returncode == 1
    found = {line["check"]: line for line in lines(doctor.stdout)}["transactions"]
    assert found["status"] == "FAIL"
    assert f"partition {PARTITION}: {behind} events from offset 0 on, its first record was written" in found["detail"]
    assert f"--partition {PARTITION} --start-offset 0" in found["fix"]

    stuck.commit_transaction()
    all_written(observer, behind)
    worker.until_metric("tagstream_committed_lag_events", lambda lag: lag == 0)
    assert worker.series("tagstream_open_transaction_events", "partition") == {}
