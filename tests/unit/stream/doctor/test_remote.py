"""Checks that ask a broker, and why no broker answers."""

from typing import Any

import pytest

from tagstream.stream.doctor import remote
from tagstream.stream.doctor.examine import examine
from tagstream.stream.doctor.findings import Status
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import TopicsRefusedError
from tagstream.stream.settings.settings import Settings

NOWHERE = "127.0.0.1:1"


def test_an_address_without_a_listener_says_so(closed: str) -> None:
    """The finding says how the connection ended, with a fitting next step, instead of the client's error."""
    report = examine(Settings(brokers=closed), create_topics=False)
    found = report.findings[-1]
    assert not report.broker_reachable
    assert (found.check, found.status) == ("brokers", Status.FAIL)
    assert found.detail == f"no Kafka broker answered within 30 s: {closed} refuses connections"
    assert found.fix == "start the broker, or correct host and port in TAGSTREAM_BROKERS: nothing listens there"


def test_an_address_that_is_no_broker_has_another_next_step(listening: str) -> None:
    """The client's error is added, once, and a next step that fits two addresses is given once."""
    found = examine(Settings(brokers=f"{listening},{listening}"), create_topics=False).findings[-1]
    assert found.detail.endswith(f"{listening} takes connections. The client says KafkaTimeoutError: no metadata")
    assert found.fix.count("a Kafka listener for PLAINTEXT (TAGSTREAM_SECURITY__PROTOCOL)") == 1
    assert "doctor" not in found.fix


@pytest.mark.parametrize(
    ("knobs", "has_ids", "status"),
    [
        ({"delivery": "exactly_once"}, True, Status.OK),
        ({"delivery": "exactly_once"}, False, Status.FAIL),
        ({"delivery": "exactly_once", "idempotent_producer": "off"}, True, Status.FAIL),
        ({"delivery": "exactly_once", "idempotent_producer": "on"}, False, Status.FAIL),
        ({"idempotent_producer": "off"}, True, Status.OK),
        ({}, False, Status.WARN),
    ],
)
def test_exactly_once_without_producer_ids_fails_the_check_as_it_ends_a_worker(
    knobs: dict[str, Any], has_ids: bool, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with delivery exactly_once does not start without producer ids."""

    async def asked(_: Settings) -> bool:
        return has_ids

    monkeypatch.setattr("tagstream.stream.kafka.probes.has_producer_ids", asked)
    assert remote.producer(Settings(**knobs)).status is status


def test_topics_that_are_not_made_are_a_finding_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker has answered, so the other checks go on."""

    def refuse(_: Settings) -> None:
        msg = "the cluster did not create the topics: no. Next: ask for fewer."
        raise TopicsRefusedError(msg)

    monkeypatch.setattr(admin, "create", refuse)
    found = remote.created(Settings())
    assert (found.check, found.status) == ("create topics", Status.FAIL)
    assert f"{found.detail} Next: {found.fix}" == "the cluster did not create the topics: no. Next: ask for fewer."


@pytest.mark.parametrize(
    ("policies", "said"),
    [({"reviewed": "compact"}, 1), ({"reviewed": "compact,delete"}, 1), ({"reviewed": "delete"}, 0), ({}, 0)],
)
def test_a_topic_that_forgets_answers_is_named(policies: dict[str, str], said: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are those of producers, so compaction drops answers; a user who may not read the configuration learns nothing."""
    monkeypatch.setattr(admin, "cleanup_policies", lambda *_: policies)
    found = list(remote.compacted_answers(Settings()))
    assert [one.status for one in found] == [Status.WARN] * said
    assert all(
        "--entity-name reviewed --add-config cleanup.policy=delete,retention.ms=-1" in one.fix for one in found if one.fix
    )
