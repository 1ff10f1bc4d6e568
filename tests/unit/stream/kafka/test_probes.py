"""Questions to brokers: producer ids, and plain connections to each address."""

import asyncio
import errno
import socket
import threading
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

from stream.kafka import probes
from stream.kafka.probes import Attempt, Reach
from stream.settings.settings import Settings

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


def test_each_address_says_how_its_connection_ended(listening: str, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections, refuses them, has a name without an address, does not answer, or has no route."""
    real = socket.create_connection
    errors = {
        "name": socket.gaierror(socket.EAI_NONAME, "not known"),
        "far": TimeoutError(),
        "off": OSError(errno.ENETUNREACH, "Network is unreachable"),
    }

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] in errors:
            raise errors[address[0]]
        return real(address, timeout)

    monkeypatch.setattr(socket, "create_connection", connect)
    found = probes.connect_to_each(Settings(brokers=f"{listening},{closed},name:1,far:2,off:3"))
    assert [one.reach for one in found] == [Reach.OPEN, Reach.REFUSED, Reach.UNKNOWN, Reach.SILENT, Reach.ELSE]
    assert [str(one) for one in found[1:]] == [
        f"{closed} refuses connections",
        "name:1 has a name that cannot be resolved",
        "far:2 did not take a connection within 2 s",
        "off:3 cannot be reached (Network is unreachable)",
    ]


def test_a_name_service_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolving a name has no timeout of its own: the address counts as silent."""
    answered = threading.Event()

    def unanswered(*_: object, **__: object) -> None:
        answered.wait(60)
        raise TimeoutError

    monkeypatch.setattr(probes, "CONNECT_SECONDS", 0.0)
    monkeypatch.setattr(socket, "create_connection", unanswered)
    (found,) = probes.connect_to_each(Settings(brokers="name:1"))
    assert not answered.is_set()
    answered.set()
    assert found == Attempt(address="name:1", reach=Reach.SILENT)
