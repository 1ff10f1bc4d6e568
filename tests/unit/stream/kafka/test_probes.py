"""Questions to brokers: does one hand out producer ids?"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    NodeNotReadyError,
    UnknownError,
)

from tagstream.stream.kafka import probes
from tagstream.stream.settings.settings import Settings

GRANTED = 0


@dataclass
class Answer:
    """A broker's answer."""

    error_code: int


class Brokers:
    """Stands in for aiokafka's client: gives its answers in turn."""

    def __init__(self, answers: Iterator[Any]) -> None:
        self._answers = answers

    async def bootstrap(self) -> None:
        """Find the brokers."""

    async def close(self) -> None:
        """Close the connections."""

    def get_random_node(self) -> int:
        """The only node."""
        return 1

    async def send(self, _node: int, _request: object) -> Answer:
        """The next answer, or raise the next error."""
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
def test_a_broker_that_answers_later_is_asked_again(
    answers: list[Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an error that is not retriable means that the broker has no producer ids."""
    monkeypatch.setattr(probes, "AIOKafkaClient", lambda **_: Brokers(iter(answers)))
    monkeypatch.setattr(probes, "RETRY_SECONDS", 0.0)

    assert asyncio.run(probes.has_producer_ids(Settings())) is expected
