"""What a group remembers in its commits, and what is asked of it where the topic of a rollout is not seen."""

import contextlib
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import (
    CoordinatorLoadInProgressError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from tagstream.stream.contract.rollout_records import RolloutRecordError
from tagstream.stream.kafka import group_memory
from tagstream.stream.kafka.group_memory import GroupMemory, remembered_epoch
from tagstream.stream.rollout import presence
from tagstream.stream.rollout.presence import rollout_topic
from tagstream.stream.settings.rollout import Rollout
from tagstream.stream.settings.settings import Settings

SETTINGS = Settings(rollout=Rollout().of_group("tagstream"))
TOPIC = SETTINGS.rollout.topic


class Brokers:
    """Topics with their errors, and what the commits of the group carry."""

    def __init__(self, *notes: str, code: int = 0, errors: tuple[Exception, ...] = ()) -> None:
        """`code` is that of the topic `rollout`; `errors` are raised before the commits are told."""
        self.notes, self.code, self.errors = notes, code, list(errors)

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        """As the brokers do."""
        return [{"name": name, "error_code": self.code if name == TOPIC else 0, "topic_id": "a"} for name in names]

    def list_group_offsets(self, groups: list[str]) -> Mapping[str, Mapping[TopicPartition, Any]]:
        """As the brokers do."""
        if self.errors:
            raise self.errors.pop(0)
        found = {TopicPartition("content", at): SimpleNamespace(metadata=note) for at, note in enumerate(self.notes)}
        return dict.fromkeys(groups, found)


def asked(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> dict[str, str] | None:
    """What is known of the topic."""

    @contextlib.contextmanager
    def admin(_: Settings) -> Iterator[Brokers]:
        yield brokers

    monkeypatch.setattr(presence, "admin", admin)
    return rollout_topic(SETTINGS)


@pytest.mark.parametrize("code", [UnknownTopicOrPartitionError.errno, TopicAuthorizationFailedError.errno])
def test_a_topic_that_is_not_seen_is_no_rollout_or_a_lost_one(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted, or hidden by the brokers' rights: the commits of the group tell which."""
    began = "group began at 1000.500"
    assert asked(Brokers(began, code=code), monkeypatch) is None
    assert asked(Brokers(began, f"{began}; epoch 7 of another.rollout", code=code), monkeypatch) is None
    with pytest.raises(
        RolloutRecordError, match=r"epoch 12 of the topic tagstream\.rollout.*Next: grant READ.*TAGSTREAM_ROLLOUT__TOPIC"
    ):
        asked(Brokers(began, f"epoch 12 of {TOPIC}", f"{began}; epoch 7 of {TOPIC}", code=code), monkeypatch)
    assert asked(Brokers(f"epoch 12 of {TOPIC}"), monkeypatch) == {TOPIC: "a", "content": "a"}


def test_a_group_that_is_not_told_is_asked_again_and_a_user_without_the_right_knows_of_no_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A coordinator that loads says so; a user who may not DESCRIBE the group cannot notice a loss."""
    monkeypatch.setattr(group_memory, "COORDINATOR_SECONDS", 0.0)
    note = f"epoch 3 of {TOPIC}"
    assert remembered_epoch(SETTINGS, Brokers(note, errors=(CoordinatorLoadInProgressError(),))) == 3
    assert remembered_epoch(SETTINGS, Brokers(note, errors=(GroupAuthorizationFailedError(),))) == 0
    with pytest.raises(CoordinatorLoadInProgressError):
        remembered_epoch(SETTINGS, Brokers(note, errors=(CoordinatorLoadInProgressError(),) * 9))


def test_what_a_worker_has_learned_goes_on_with_its_commits_until_it_decides_by_another_epoch() -> None:
    """Rules that decide for a day forget nothing; the topic of now takes the place of the one before."""
    memory = GroupMemory()
    memory.learn({0: "group began at 5.000; epoch 7 of old", 1: "group began at 5.000"}, now=9.0)
    assert memory.metadata == "group began at 5.000; epoch 7 of old"
    assert not memory.lacking([0, 1])
    memory.decided_by("new", 0)
    assert memory.metadata == "group began at 5.000; epoch 7 of old"
    memory.decided_by("new", 1)
    memory.learn({0: "group began at 5.000; epoch 7 of old"}, now=9.0)
    assert memory.metadata == "group began at 5.000; epoch 1 of new"
    assert memory.lacking([0, 1, 2]) == {0, 1}
    memory.noted([0], memory.metadata)
    assert memory.lacking([0, 1, 2]) == {1}
