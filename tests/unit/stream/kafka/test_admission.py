"""Entering at the brokers: which of several answers decides, and how long one that is not there is tried."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import SaslAuthenticationFailed

from tagstream.stream.kafka import admission
from tagstream.stream.kafka.admission import Attempt, Reach, admitted, await_listener
from tagstream.stream.kafka.errors import BrokerAbsentError, BrokerRefusedError
from tagstream.stream.settings.settings import Settings
from tests.fakes import Clock


class Waits:
    """Stands in for the module `time`: a pause moves the clock and is counted."""

    def __init__(self) -> None:
        self.monotonic, self.pauses = Clock(), 0

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.monotonic.now += seconds
        self.pauses += 1


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """The time of the admission."""
    found = Waits()
    monkeypatch.setattr(admission, "time", found)
    return found


def answering(answers: dict[str, Callable[[], Any]]) -> Callable[..., Any]:
    """Stands in for the connection with our credentials: each address accepts us, or raises."""

    async def enter(address: str, _: object) -> None:
        found = answers[address]()
        if asyncio.iscoroutine(found):
            await found

    return enter


def refuse_password() -> None:
    """The broker knows no such user."""
    raise SaslAuthenticationFailed


def refuse_connection() -> None:
    """Nothing listens there."""
    raise ConnectionRefusedError


async def silence() -> None:
    """No answer comes."""
    await asyncio.Event().wait()


def test_a_refused_connection_is_tried_for_three_seconds_and_then_said(closed: str, waits: Waits) -> None:
    """A command whose broker is not there makes a few attempts and names the address and the next step."""
    with pytest.raises(BrokerAbsentError) as caught:
        admitted(Settings(brokers=closed))
    assert waits.pauses == 3
    assert str(caught.value) == (
        f"no Kafka broker answered at {closed} within 3 s: {closed} refuses connections (4 attempts). "
        "Next: start the broker, or correct host and port in TAGSTREAM_BROKERS: nothing listens there."
    )
    assert caught.value.exit_code == 3


def test_a_shorter_bound_of_the_settings_holds(closed: str, waits: Waits) -> None:
    """`startup_timeout_seconds` bounds the attempts too."""
    with pytest.raises(BrokerAbsentError, match=r"within 1.5 s: .* \(2 attempts\)"):
        admitted(Settings(brokers=closed, startup_timeout_seconds=1.5))
    assert waits.pauses == 1


def test_a_worker_waits_for_its_broker_as_long_as_the_settings_say(closed: str, waits: Waits) -> None:
    """Worker and broker are started together, so a worker's bound is `startup_timeout_seconds`; it says once that it waits."""
    said: list[str] = []
    with pytest.raises(BrokerAbsentError, match=r"within 30 s: .* \(31 attempts\)"):
        await_listener(Settings(brokers=closed), say=said.append)
    assert waits.pauses == 30
    assert said == [f"{closed} refuses connections"]


def test_a_worker_goes_on_when_its_broker_has_come(closed: str, waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends with the first connection that is accepted."""
    answers = iter([ConnectionRefusedError, ConnectionRefusedError, None])

    async def enter(*_: object) -> None:
        if (error := next(answers)) is not None:
            raise error

    monkeypatch.setattr(admission, "_enter", enter)
    await_listener(Settings(brokers=closed), say=lambda _: None)
    assert waits.pauses == 2


@pytest.mark.parametrize("reach", [Reach.OPEN, Reach.SILENT])
def test_a_broker_that_may_still_answer_is_left_to_the_client(
    reach: Reach, closed: str, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only absence is said at once: beside a refused connection, one silent address is enough to wait for the whole bound."""
    other = "127.0.0.1:2"
    found = (Attempt(address=closed, reach=Reach.REFUSED), Attempt(address=other, reach=reach))
    monkeypatch.setattr(admission, "connect_to_each", lambda _: found)
    monkeypatch.setattr(admission, "_enter", answering({closed: refuse_connection, other: refuse_connection}))
    _, seconds = admitted(Settings(brokers=f"{closed},{other}"))
    assert (seconds, waits.pauses) == (30.0, 0)


@pytest.mark.parametrize("others", [refuse_connection, refuse_password, silence])
def test_one_broker_of_several_that_accepts_us_is_enough(
    others: Callable[[], Any], waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others may refuse the connection, refuse us, or never answer: they are not waited for."""
    answers = dict.fromkeys(("a:1", "c:3"), others) | {"b:2": lambda: None}
    monkeypatch.setattr(admission, "_enter", answering(answers))
    options, _ = admitted(Settings(brokers="a:1,b:2,c:3"))
    assert options["bootstrap_servers"] == ["a:1", "b:2", "c:3"]
    assert waits.pauses == 0


def test_a_refusal_is_said_at_once_though_other_brokers_are_absent(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password does not become right by a second attempt."""
    answers = dict(zip(("a:1", "b:2"), (refuse_connection, refuse_password), strict=True))
    monkeypatch.setattr(admission, "_enter", answering(answers))
    with pytest.raises(BrokerRefusedError, match="b:2 refuses user"):
        admitted(Settings(brokers="a:1,b:2"))
    assert waits.pauses == 0
