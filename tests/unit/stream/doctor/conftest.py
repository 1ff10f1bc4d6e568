"""The doctor without a broker."""

import contextlib
from collections.abc import Iterator

import pytest
from kafka.errors import KafkaTimeoutError

from tagstream.stream.kafka import admin as module
from tagstream.stream.kafka.errors import translated
from tagstream.stream.settings.settings import Settings


@pytest.fixture(autouse=True)
def _no_broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The admin client fails at once: kafka-python would look for a broker, and leave sockets open."""

    @contextlib.contextmanager
    def admin(settings: Settings) -> Iterator[None]:
        with translated(settings):
            message = "no metadata"
            raise KafkaTimeoutError(message)
        yield

    monkeypatch.setattr(module, "admin", admin)
