"""testcontainers' step of the broker ladder, over the socket of the engine that runs images here."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka import admin, producer
from tagstream.stream.kafka.reading import tail
from tagstream.stream.settings.settings import Settings
from tests.go.programs import ROOT
from tests.images.engine import Engine
from tests.waiting import HANG_SECONDS, until

# The engine and its base images are made within the first test's time.
pytestmark = [
    pytest.mark.images,
    pytest.mark.timeout(4 * 3600),
    # kafka-python leaves a socket to the garbage collector for each connection that was refused.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]

MOST_LOOKS = 600


@pytest.fixture
def ladder(container_engine: Engine) -> Iterator[subprocess.Popen[str]]:
    """`tagstream broker` that may use a container, and nothing else."""
    # testcontainers' reaper is an image of its own, which cannot be had where none can be pulled.
    reaper = {} if container_engine.program == "docker" else {"TESTCONTAINERS_RYUK_DISABLED": "true"}
    environ = {name: value for name, value in container_engine.environ.items() if not name.startswith("TAGSTREAM_")}
    started = subprocess.Popen(
        [sys.executable, "-m", "tagstream.stream.cli.main", "broker", "--kind", "docker"],
        cwd=ROOT,
        env={**environ, **reaper},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with started:
        yield started
        started.kill()


def containers(engine: Engine) -> set[str]:
    """Those of Kafka's image, running or not."""
    lines = engine.run("ps", "--all", "--format", "{{.Names}} {{.Image}}").splitlines()
    return {line.split()[0] for line in lines if "apache/kafka" in line}


def test_the_ladder_starts_kafka_in_a_container_and_leaves_none(
    container_engine: Engine, ladder: "subprocess.Popen[str]"
) -> None:
    """It takes a record and gives it back; when its owner is told to end, the container is gone."""
    before = containers(container_engine)
    assert ladder.stdout is not None
    # The line comes when the broker has confirmed records; without one the program has ended and says why.
    bootstrap = ladder.stdout.readline().strip()
    assert bootstrap.startswith("127.0.0.1:"), ladder.communicate(timeout=HANG_SECONDS)[1]
    assert len(containers(container_engine) - before) == 1
    settings = Settings.model_validate({"brokers": bootstrap})
    admin.create(settings)
    with producer.sender(settings) as sender:
        sender.send(settings.topics.content, key=b"k", value=b'{"id": "k", "title": "a title"}')
        sender.flush()
    found = [record for batch in read_a_little(settings) for record in batch]
    assert [(record.key, record.value) for record in found] == [(b"k", b'{"id": "k", "title": "a title"}')]
    os.kill(ladder.pid, signal.SIGTERM)
    assert ladder.wait(HANG_SECONDS) == 0
    until(lambda: containers(container_engine) <= before, "the container is gone")


def read_a_little(settings: Settings) -> Iterator[list[Record]]:
    """Batches of `content` until there is a record; every look is bounded by the client, and there are so many looks."""
    for looks, batch in enumerate(tail.read(settings, [settings.topics.content], from_beginning=True)):
        yield list(batch)
        if batch or looks > MOST_LOOKS:
            return
