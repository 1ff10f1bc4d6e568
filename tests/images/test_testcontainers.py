"""The worker on the Kafka of testcontainers, started as its documentation shows. Exactly once, which needs transactions."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec
import pytest
from testcontainers.community.kafka import KafkaContainer
from testcontainers.core.config import ConnectionMode, testcontainers_config

from tagstream.stream.broker.processes import Processes
from tagstream.stream.kafka import admin, producer
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.fleet import without_settings
from tests.go.programs import ROOT
from tests.images.engine import CONFLUENT_KAFKA, Engine
from tests.waiting import HANG_SECONDS, until

# The engine and its base images are made within the first test's time.
pytestmark = [
    pytest.mark.images,
    pytest.mark.timeout(4 * 3600),
    # kafka-python leaves a socket to the garbage collector for each connection that was refused.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]


class PatientKafka(KafkaContainer):
    """`with` gives the broker 30 s, too few on a busy machine."""

    def start(self, timeout: int = int(HANG_SECONDS)) -> Self:
        """Start the container and wait for the broker."""
        return super().start(timeout)


@pytest.fixture
def bootstrap(container_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a broker that is ready. It ends with the test."""
    if container_engine.program != "docker":
        monkeypatch.setenv("DOCKER_HOST", container_engine.environ["DOCKER_HOST"])
        # testcontainers' reaper is an image of its own, which cannot be had where none can be pulled.
        monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
        # This podman runs here, and so do its ports, also where this machine is itself a container.
        monkeypatch.setattr(testcontainers_config, "connection_mode_override", ConnectionMode.docker_host)
    one_node = {"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1"}
    with PatientKafka(CONFLUENT_KAFKA).with_kraft().with_envs(**one_node) as kafka:
        yield kafka.get_bootstrap_server()


def test_an_event_leaves_a_container_of_testcontainers_with_one_decision(
    bootstrap: str, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    """From `content` to `tagged` or `review`, in a transaction that a reader of committed records sees."""
    settings = Settings.model_validate({"brokers": bootstrap})
    admin.create(settings)
    environ = {
        "TAGSTREAM_BROKERS": bootstrap,
        "TAGSTREAM_BUNDLE": str(tiny_bundle_folder),
        "TAGSTREAM_DELIVERY": "exactly_once",
        "TAGSTREAM_METRICS_PORT": "0",
    }
    with producer.sender(settings) as sender:
        sender.send(settings.topics.content, key=b"k", value=b'{"id": "k", "title": "a title"}')
        sender.flush()

    def decided() -> list[bytes | None]:
        found = []
        for topic in (settings.topics.tagged, settings.topics.review, settings.topics.dlq):
            with log_of(settings, topic) as log:
                found += [record.value for record in log.read()]
        return found

    with Processes(grace_seconds=HANG_SECONDS) as processes:
        worker = processes.start(
            [sys.executable, "-m", "tagstream.stream.cli.main", "worker"],
            env={**without_settings(os.environ), **environ, "PYTHONPATH": str(ROOT)},
            log_file=tmp_path / "worker.log",
        )
        until(decided, "the event is decided", process=worker)
    (value,) = decided()
    assert msgspec.json.decode(value or b"")["id"] == "k"
