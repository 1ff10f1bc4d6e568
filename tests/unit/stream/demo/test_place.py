"""A demo's place on a named broker, and the signals that may not break off a step."""

import io
import os
import signal
from collections.abc import Sequence
from typing import NoReturn

import pytest
from rich.console import Console

from tagstream.stream.broker import BrokerUnavailable
from tagstream.stream.broker.provider import Provider
from tagstream.stream.demo import place
from tagstream.stream.demo.interrupt import interrupts
from tagstream.stream.demo.run import demo
from tagstream.stream.demo.view import StartupLines
from tagstream.stream.kafka.removal import NotRemovedError
from tagstream.stream.settings.rollout import Rollout
from tagstream.stream.settings.settings import Settings


def opening() -> StartupLines:
    """Lines that no one reads."""
    return StartupLines(Console(file=io.StringIO()))


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings whose topics were removed, on a broker that is not there."""
    found: list[Settings] = []
    monkeypatch.setattr(place.admin, "broker_count", lambda _: 1)
    monkeypatch.setattr(place, "remove", found.append)
    return found


@pytest.mark.parametrize(
    ("rollout", "changes", "order"),
    [
        (False, {}, ["tansu", "docker", "kafka"]),
        (True, {}, ["docker", "kafka", "tansu"]),
        (False, {"delivery": "exactly_once"}, ["docker", "kafka", "tansu"]),
        (False, {"idempotent_producer": "on"}, ["docker", "kafka", "tansu"]),
    ],
    ids=["plain", "rollout", "exactly once", "idempotent"],
)
def test_a_demo_asks_for_the_quickest_broker_unless_it_needs_transactions(
    monkeypatch: pytest.MonkeyPatch, *, rollout: bool, changes: dict[str, object], order: list[str]
) -> None:
    """No ladder of a demo has the provider that uses TAGSTREAM_BROKERS, and the error names the flag instead."""
    asked: list[str] = []

    def nowhere(*, providers: Sequence[Provider], **_: object) -> NoReturn:
        asked.extend(provider.kind for provider in providers)
        msg = "no Kafka broker could be had. Next: mend one of these"
        raise BrokerUnavailable(msg)

    monkeypatch.setattr(place, "broker", nowhere)
    given, console = Settings(brokers="prod:9092").model_copy(update=changes), Console(file=io.StringIO())
    with pytest.raises(BrokerUnavailable, match="demo --on-broker HOST:PORT"):
        demo(seconds=1, rate=1, settings=given, console=console, rollout=rollout)
    assert asked == order


def test_topics_and_group_on_a_named_broker_are_the_demos_own(removed: list[Settings]) -> None:
    """No name of the settings is used and no name comes twice; the same names are removed at the end."""
    given = Settings(brokers="b:2", group="night", group_instance_id="one", rollout=Rollout(topic="night.changes"))
    asked: list[str] = []
    with place.named(given, opening(), removing=lambda: asked.append("removing"), left=asked.append) as found:
        usual, own = given.topics.model_dump(), found.settings.topics.model_dump()
        assert found.settings.group.startswith("tagstream-demo-")
        assert own == {key: f"{found.settings.group}.{name}" for key, name in usual.items()}
        assert (found.settings.brokers, found.settings.group_instance_id) == ("b:2", None)
        assert found.settings.rollout.workers_topic == f"{found.settings.group}.rollout.workers"
        assert removed == []
    assert removed == [found.settings]
    assert asked == ["removing"]
    with place.named(given, opening(), removing=lambda: None, left=asked.append) as other:
        assert other.settings.group != found.settings.group


def test_what_is_left_on_a_named_broker_is_handed_on(removed: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the removal does not hide the error of the demo."""

    def refused(_: Settings) -> None:
        msg = "topic x: no"
        raise NotRemovedError(msg)

    monkeypatch.setattr(place, "remove", refused)
    left: list[str] = []
    mine = RuntimeError("mine")
    with pytest.raises(RuntimeError, match="mine"), place.named(Settings(), opening(), removing=lambda: None, left=left.append):
        raise mine
    assert (left, removed) == (["topic x: no"], [])


def test_a_signal_does_not_break_off_a_step_that_is_held() -> None:
    """Topics that are being created are all created and then removed: the signal counts once the step is done."""
    steps = []

    def step() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("done")

    with interrupts() as interrupt, pytest.raises(KeyboardInterrupt), interrupt.held():
        step()
    assert steps == ["done"]


def test_a_signal_after_a_held_step_breaks_off_again() -> None:
    """Holding ends with the step, and a second signal does not break off the end that the first began."""
    with interrupts() as interrupt:
        with interrupt.held():
            pass
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.insisted
