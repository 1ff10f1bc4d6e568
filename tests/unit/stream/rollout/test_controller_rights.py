"""What a controller says when brokers refuse it or are lost."""

import asyncio

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from kafka.errors import TransactionalIdAuthorizationFailedError

from tagstream.stream.kafka.admin import TopicDescription
from tagstream.stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError, unreachable
from tagstream.stream.rollout import controller_rights
from tagstream.stream.rollout import topic as rollout_topic
from tagstream.stream.rollout.controller_rights import explained
from tagstream.stream.rollout.topic import rollout_reader
from tagstream.stream.settings.security import Security
from tagstream.stream.settings.settings import Settings


class Client:
    """A consumer that has no broker, and raises its own cancellation when it is stopped, as one that waits to ask again does."""

    async def start(self) -> None:
        """It cannot."""
        raise ConnectionError

    async def stop(self) -> None:
        """See the class."""
        raise asyncio.CancelledError


def test_a_client_that_is_stopped_does_not_hide_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever changes a model reads that no broker answered, and no cancellation that nobody asked for."""
    monkeypatch.setattr(rollout_topic, "_consumer", lambda _: Client())

    async def read() -> None:
        async with rollout_reader(Settings()):
            raise unreachable(Settings(), TimeoutError())

    with pytest.raises(BrokerUnreachableError, match="ConnectionError"):
        asyncio.run(read())


@pytest.mark.parametrize(
    ("refusal", "named"),
    [
        (TopicAuthorizationFailedError, "WRITE on the topic 'tagstream.rollout'"),
        (GroupAuthorizationFailedError, "DESCRIBE on the group 'tagstream'"),
        (TransactionalIdAuthorizationFailed, "WRITE and DESCRIBE on the transactional-id 'tagstream.rollout'"),
        (TransactionalIdAuthorizationFailedError, "WRITE and DESCRIBE on the transactional-id 'tagstream.rollout'"),
    ],
)
def test_a_right_that_a_controller_lacks_is_named(
    refusal: type[Exception], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that grants it, and where all of them are; a broker that is away is no missing right."""
    user = {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "nina", "password_file": "password"}
    settings = Settings(security=Security.model_validate(user))
    allowed = {"tagstream.rollout": {"READ", "DESCRIBE"}, "tagstream.rollout.workers": {"READ", "WRITE", "DESCRIBE"}}
    monkeypatch.setattr(
        controller_rights,
        "describe",
        lambda _, names: {
            name: TopicDescription(partitions=1, operations=frozenset(allowed.get(name, {"DESCRIBE"}))) for name in names
        },
    )
    found = explained(settings, unreachable(settings, refusal()))
    assert isinstance(found, NotAuthorizedError)
    for words in (named, "user 'nina'", "kafka-acls.sh", "`tagstream doctor --acls nina --role controller`"):
        assert words in str(found)
    away = unreachable(settings, KafkaError("no leader"))
    assert explained(settings, away) is away
