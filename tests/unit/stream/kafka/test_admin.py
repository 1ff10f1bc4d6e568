"""Brokers seen from outside: whether they hand out producer ids, now or for good, and what is said of topics that are not there."""

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
from kafka.errors import InvalidReplicationFactorError, KafkaError, KafkaTimeoutError
from kafka.errors import KafkaConnectionError as ClosedConnectionError

from stream.kafka import admin
from stream.kafka.admin import BrokerUnreachableError, TopicsRefusedError
from stream.kafka.clients import Sender, SendError
from stream.settings.settings import load

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

    monkeypatch.setattr(admin, "_probe", probe)
    monkeypatch.setattr(admin, "PROBE_SECONDS", 0.0)

    assert asyncio.run(admin.has_idempotent_producer(load({}, folder=Path("/nonexistent")).settings)) is expected


def test_an_error_says_its_kind_once() -> None:
    """Those of the Kafka clients say it themselves; a sentence of ours must not say it again."""
    error = KafkaTimeoutError("Unable to bootstrap")
    said = str(admin.unreachable(load({}, folder=Path("/nonexistent")).settings, error))
    assert "(KafkaTimeoutError: Unable to bootstrap). Next: " in said
    assert "`tagstream doctor`" in said

    class Refusing:
        """In the place of a producer."""

        def send(self, *_: object, **__: object) -> None:
            """No."""
            raise error

    with pytest.raises(SendError, match=r"did not confirm the next: KafkaTimeoutError: Unable to bootstrap\. Next: "):
        Sender(Refusing()).send("content", key=None, value=b"")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            "revew",
            "no topic 'revew', and none of the settings' topics is called so; the nearest one is review. Next: correct it",
        ),
        ("org.contnt", "the nearest one is content (org.content). Next: "),
        ("dql", "the nearest one is dlq (org.content.dlq). Next: "),
        ("zzz", "no topic 'zzz', and none of the settings' topics is called so. Next: correct it, or make that topic; "),
    ],
)
def test_a_topic_that_no_setting_has_is_told_the_names_that_there_are(typed: str, says: str) -> None:
    """The doctor would not make it, and there is no setting to correct."""
    settings = load({"TAGSTREAM_TOPICS__CONTENT": "org.content"}, folder=Path("/nonexistent")).settings
    nothing = admin.Seen(partitions=None, operations=None)
    with pytest.raises(admin.TopicsMissingError) as caught:
        admin.require(settings, {typed: typed}, found={typed: nothing})
    assert says in str(caught.value)
    assert "those of the settings are content (org.content), tagged, review, dlq (org.content.dlq), " in str(caught.value)
    assert "doctor" not in str(caught.value)


@pytest.mark.parametrize("typed", ["dlq", "content.dlq"])
def test_a_topic_of_the_settings_is_made_by_the_doctor(typed: str) -> None:
    """Also where it was asked for by the cluster's name and not by the setting's."""
    settings = load({}, folder=Path("/nonexistent")).settings
    nothing = admin.Seen(partitions=None, operations=None)
    with pytest.raises(
        admin.TopicsMissingError, match=r"'content\.dlq' \(topics\.dlq\)\..* Next: `tagstream doctor --create-topics`"
    ):
        admin.require(settings, {typed: "content.dlq"}, found={"content.dlq": nothing})


@pytest.mark.parametrize(
    ("error", "code"),
    [(InvalidReplicationFactorError("3 > 1"), 1), (KafkaTimeoutError("silent"), 3), (ClosedConnectionError("gone"), 3)],
)
def test_a_broker_that_makes_no_topic_has_answered(monkeypatch: pytest.MonkeyPatch, error: KafkaError, code: int) -> None:
    """Only where none answered is none reachable."""

    class Admin:
        """In the place of kafka-python's."""

        def describe_topics(self) -> list[dict[str, Any]]:
            """None is there."""
            return []

        def create_topics(self, *_: object, **__: object) -> None:
            """No."""
            raise error

    monkeypatch.setattr(admin, "admin", lambda _: contextlib.nullcontext(Admin()))
    with pytest.raises(TopicsRefusedError if code == 1 else BrokerUnreachableError, match=r"Next: ") as caught:
        admin.create(load({}, folder=Path("/nonexistent")).settings)
    assert caught.value.exit_code == code
