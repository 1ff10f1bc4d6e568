"""Whether a broker hands out producer ids: what it says for now is not what it says for good."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    NodeNotReadyError,
    UnknownError,
)
from kafka.errors import KafkaTimeoutError

from stream import topics
from stream.clients import Sender, SendError
from stream.settings import load

GRANTED = 0


@dataclass
class Answer:
    """What a broker answers."""

    error_code: int


class Brokers:
    """In the place of aiokafka's client: gives its answers in turn."""

    def __init__(self, answers: Iterator[Any]) -> None:
        self._answers = answers

    def get_random_node(self) -> int:
        """Any."""
        return 1

    async def send(self, _node: int, _request: object) -> Answer:
        """The next answer, or error."""
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return Answer(error_code=answer)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([GRANTED], True),
        ([UnknownError.errno], False),
        ([ClusterAuthorizationFailedError.errno], True),
        ([GroupLoadInProgressError.errno, GroupLoadInProgressError.errno, GRANTED], True),
        ([NodeNotReadyError("gone"), GRANTED], True),
        ([KafkaConnectionError("gone"), UnknownError.errno], False),
    ],
)
def test_later_is_not_never(answers: list[Any], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that has just started, or is down, is asked again; only a plain no means a producer without idempotence."""

    @contextlib.asynccontextmanager
    async def probe(_: object) -> AsyncIterator[Brokers]:
        yield Brokers(iter(answers))

    monkeypatch.setattr(topics, "_probe", probe)
    monkeypatch.setattr(topics, "PROBE_SECONDS", 0.0)

    assert asyncio.run(topics.has_idempotent_producer(load({}, folder=Path("/nonexistent")).settings)) is expected


def test_an_error_says_its_kind_once() -> None:
    """Those of the Kafka clients say it themselves; a sentence of ours must not say it again."""
    error = KafkaTimeoutError("Unable to bootstrap")
    said = str(topics.unreachable(load({}, folder=Path("/nonexistent")).settings, error))
    assert "(KafkaTimeoutError: Unable to bootstrap). Next: " in said
    assert "`tagstream doctor`" in said

    class Refusing:
        """In the place of a producer."""

        def send(self, *_: object, **__: object) -> None:
            """No."""
            raise error

    with pytest.raises(SendError, match=r"refused the next: KafkaTimeoutError: Unable to bootstrap\. Next: "):
        Sender(Refusing()).send("content", key=None, value=b"")
