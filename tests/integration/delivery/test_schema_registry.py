"""Values in the frames of a Schema Registry, through a worker and a broker: Confluent's producers, an outage, an unknown schema, a replay."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.ports import free_ports
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.deliver.fatal import EXIT_BROKEN
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import send
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command, lines
from tests.integration.running import SAME_MEMBER, RunningWorker, all_committed, all_written, written
from tests.registry.server import Registry, serving

pytestmark = pytest.mark.broker

AVRO = json.dumps(
    {
        "type": "record",
        "name": "Content",
        "fields": [{"name": "id", "type": "string"}, {"name": "title", "type": "string"}],
    }
)
JSON = json.dumps({"title": "Content", "type": "object"})
# With so many deaths an event would be given up, if the registry's absence were blamed on it.
DEATHS = 2
TIMEOUT_SECONDS = 1
StartReal = Callable[[], RunningWorker]


@pytest.fixture
def registry() -> Registry:
    """A registry with a port of its own, which is not served yet."""
    found, [port] = Registry(), free_ports(1)
    found.url = f"http://127.0.0.1:{port}"
    return found


@pytest.fixture
def with_registry(environ: dict[str, str], registry: Registry) -> dict[str, str]:
    """The test's environment with that registry; rules decide, since no model is asked about here."""
    return {
        **environ,
        "TAGSTREAM_DECIDER": "rules",
        "TAGSTREAM_CRASH_DEATHS": str(DEATHS),
        "TAGSTREAM_SCHEMA_REGISTRY__URL": registry.url,
        "TAGSTREAM_SCHEMA_REGISTRY__TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
    }


@pytest.fixture
def start_real(with_registry: dict[str, str], processes: Processes, tmp_path: Path) -> StartReal:
    """Starts workers as an operator does."""
    numbers = iter(range(1, 100))

    def run() -> RunningWorker:
        return RunningWorker(
            processes.start(
                [sys.executable, "-m", "tagstream.stream.cli.main", "worker"],
                env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), **with_registry, **SAME_MEMBER},
                log_file=tmp_path / f"worker-{next(numbers)}.log",
            )
        )

    return run


def at_its_port(registry: Registry) -> ExitStack:
    """Serve the registry meanwhile, at the address that the workers know."""
    stack = ExitStack()
    stack.enter_context(serving(registry, int(registry.url.rpartition(":")[2])))
    return stack


def by_confluent(registry: Registry, settings: Settings, event_id: str, *, avro: bool, in_header: bool) -> Planted:
    """An event as a producer with one of Confluent's serialisers sends it."""
    headers: list[tuple[str, bytes]] = []
    conf = {"schema.id.serializer": header_schema_id_serializer} if in_header else {}
    kind, schema = (AvroSerializer, AVRO) if avro else (JSONSerializer, JSON)
    with SchemaRegistryClient({"url": registry.url}) as client:
        write = kind(schema_str=schema, schema_registry_client=client, conf=conf)
        event = {"id": event_id, "title": "Serving transformers"}
        value = write(event, SerializationContext(settings.topics.content, MessageField.VALUE, headers))
    return Planted(event_id=event_id, key=None, value=value, headers=tuple(headers))


def ids(records: Sequence[Record]) -> list[str]:
    """The ids of the events in the values of outcomes, sorted."""
    return sorted(json.loads(record.value or b"")["id"] for record in records)


def code(record: Record) -> bytes:
    """Why a record is a dead letter."""
    return dict(record.headers)["x-dlq-code"]


def test_confluents_producers_and_bare_ones_share_a_topic(
    registry: Registry, settings: Settings, observer: TopicObserver, start_real: StartReal
) -> None:
    """By both serialisers, in both frames and in none: each is decided, its outcome is plain JSON, and says nothing of a schema."""
    with at_its_port(registry):
        planted = [
            by_confluent(registry, settings, f"{avro}-{in_header}", avro=avro, in_header=in_header)
            for avro in (True, False)
            for in_header in (True, False)
        ]
        planted.append(Planted(event_id="bare", key=None, value=b'{"id": "bare", "title": "Serving transformers"}'))
        send(settings, planted)
        worker = start_real()
        all_written(observer, len(planted))
        assert worker.stop() == 0
    review = observer.outcomes()[Destination.REVIEW]
    assert ids(review) == sorted(str(one.event_id) for one in planted)
    assert {name for record in review for name, _ in record.headers} & {"__value_schema_id"} == set()


def test_while_the_registry_is_down_no_event_is_lost_or_blamed(
    registry: Registry, settings: Settings, observer: TopicObserver, start_real: StartReal
) -> None:
    """Workers end loudly and commit nothing, more often than an event may kill one; with the registry back, it is decided."""
    with at_its_port(registry):
        planted = [by_confluent(registry, settings, "a", avro=True, in_header=False)]
    send(settings, planted)
    for _ in range(DEATHS + 1):
        worker = start_real()
        assert worker.end() == EXIT_BROKEN
        assert "the Schema Registry gives no answer in time" in worker.process.output()
    assert written(observer) == 0
    assert not any(observer.committed().values())
    with at_its_port(registry):
        worker = start_real()
        all_written(observer, 1)
        all_committed(observer)
        assert worker.stop() == 0
    assert ids(observer.outcomes()[Destination.REVIEW]) == ["a"]


@pytest.mark.slow
def test_an_unknown_schema_is_a_dead_letter_that_a_replay_decides(
    registry: Registry,
    settings: Settings,
    observer: TopicObserver,
    start_real: StartReal,
    tagstream: Command,
    with_registry: dict[str, str],
) -> None:
    """The dead letter has the framed bytes and header untouched; once the schema is registered, a replay sends them again."""
    with at_its_port(registry):
        planted = [
            by_confluent(registry, settings, name, avro=True, in_header=name == "header") for name in ("header", "prefix")
        ]
    lost = Registry()
    lost.url = registry.url
    with at_its_port(lost):
        send(settings, planted)
        worker = start_real()
        all_written(observer, 2)
        assert worker.stop() == 0
    letters = observer.outcomes()[Destination.DLQ]
    assert {code(record) for record in letters} == {b"unknown_schema"}
    assert {record.value for record in letters} == {one.value for one in planted}
    assert sum(name == "__value_schema_id" for record in letters for name, _ in record.headers) == 1
    with at_its_port(registry):
        done = tagstream("dlq", "replay", "--code", "unknown_schema", environ=with_registry)
        assert done.returncode == 0, done.stderr.decode()
        worker = start_real()
        all_written(observer, 4)
        found = tagstream("doctor", "--json", environ=with_registry)
        assert worker.stop() == 0
    assert ids(observer.outcomes()[Destination.REVIEW]) == ["header", "prefix"]
    [finding] = [line for line in lines(found.stdout) if line["check"] == "schema registry"]
    assert finding["status"] == "OK"
