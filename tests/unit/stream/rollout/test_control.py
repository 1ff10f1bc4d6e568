"""What workers say of a plan comes to, and what a controller says when brokers refuse it or are lost."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from kafka.errors import TransactionalIdAuthorizationFailedError

from tagstream.stream.contract.rollout import BundleName, WorkerState
from tagstream.stream.kafka.admin import TopicDescription
from tagstream.stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError, unreachable
from tagstream.stream.rollout import control as rollout
from tagstream.stream.rollout import topic as rollout_topic
from tagstream.stream.rollout.control import _explained, readiness_of
from tagstream.stream.rollout.controller import Readiness
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.topic import rollout_reader
from tagstream.stream.settings.security import Security
from tagstream.stream.settings.settings import Settings

NEW = BundleName(digest="1" * 64, name="b", version="2")
READY = WorkerState(
    member="m", host="a", version="1", epoch=7, state="ready", digest=NEW.digest, arithmetic=None, at="2026-01-01T00:00:00.000Z"
)


def but(**changes: object) -> WorkerState:
    """A worker that is ready, but for that."""
    return msgspec.structs.replace(READY, **changes)


@pytest.mark.parametrize(
    ("workers", "said", "words"),
    [
        ([], Readiness.READY, ""),
        ([READY, but(host="b")], Readiness.READY, ""),
        ([READY, but(host="b", state="refused", why="no such bundle")], Readiness.REFUSED, "b: no such bundle"),
        (
            [but(host=host, state="refused", why=f"{free} MiB are free") for host, free in (("b", 7), ("c", 9), ("b", 8))],
            Readiness.REFUSED,
            "3 workers (b, c): 7 MiB are free",
        ),
        ([READY, None], Readiness.SILENT, "old-host (has said nothing: is it of an older version?)"),
        ([READY, but(host="b", epoch=6, state="decides")], Readiness.SILENT, "b (version 1)"),
        ([READY, but(host="b", digest="2" * 64)], Readiness.SILENT, "b (version 1)"),
        ([READY, but(host="b", arithmetic="9" * 8)], Readiness.REFUSED, "compute this bundle differently"),
    ],
    ids=[
        "none",
        "all",
        "one refuses",
        "all refuse",
        "an older package",
        "the epoch before",
        "another bundle",
        "another arithmetic",
    ],
)
def test_a_plan_needs_every_worker(workers: Sequence[WorkerState | None], said: Readiness, words: str) -> None:
    """Each with this bundle and the same arithmetic; one that says nothing may be of an older version, and would decide by its own model."""
    hosts = [("old-host" if one is None else one.host, one) for one in workers]
    found, why = readiness_of(hosts, Models(epoch=7, champion=NEW))
    assert found is said
    assert words in why


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
        rollout,
        "describe",
        lambda _, names: {
            name: TopicDescription(partitions=1, operations=frozenset(allowed.get(name, {"DESCRIBE"}))) for name in names
        },
    )
    found = _explained(settings, unreachable(settings, refusal()))
    assert isinstance(found, NotAuthorizedError)
    for words in (named, "user 'nina'", "kafka-acls.sh", "`tagstream doctor --acls nina --role controller`"):
        assert words in str(found)
    away = unreachable(settings, KafkaError("no leader"))
    assert _explained(settings, away) is away
