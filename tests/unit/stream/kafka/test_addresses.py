"""Plain connections to each address of the brokers."""

import errno
import socket
import threading

import pytest

from tagstream.stream.kafka import admission
from tagstream.stream.kafka.admission import Attempt, Reach
from tagstream.stream.settings.settings import Settings


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
    found = admission.connect_to_each(Settings(brokers=f"{listening},{closed},name:1,far:2,off:3"))
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

    monkeypatch.setattr(admission, "CONNECT_SECONDS", 0.0)
    monkeypatch.setattr(socket, "create_connection", unanswered)
    (found,) = admission.connect_to_each(Settings(brokers="name:1"))
    assert not answered.is_set()
    answered.set()
    assert found == Attempt(address="name:1", reach=Reach.SILENT)
