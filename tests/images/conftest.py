"""The image built once, and one project that is up for all tests of this folder."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.engine import Engine, NoEngineError, engine
from tests.images.stack import Stack, stack

# Not the name that docker-compose.yml builds under: a test replaces nobody's image.
IMAGE = "docker.io/library/tagstream:images-test"


@pytest.fixture(scope="session")
def container_engine() -> Iterator[Engine]:
    """Docker or podman, or a skip with one sentence."""
    # Not pytest's own folder, whose path can be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="tagstream-images-") as folder:
        try:
            with engine(Path(folder)) as found:
                yield found
        except NoEngineError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="session")
def image(container_engine: Engine) -> str:
    """The name of the project's image, built from this tree."""
    container_engine.build(IMAGE)
    return IMAGE


@pytest.fixture(scope="session")
def running(container_engine: Engine, image: str) -> Iterator[Stack]:
    """Kafka, its topics, two workers, Prometheus and the producer."""
    with stack(container_engine, image) as up:
        yield up
