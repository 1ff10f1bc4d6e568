"""Topics and a group are removed, and the sentence that says what could not be."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tagstream.stream.kafka import removal
from tagstream.stream.kafka.errors import BrokerSilentError
from tagstream.stream.kafka.removal import NotRemovedError, remove
from tagstream.stream.settings.settings import Settings

UNKNOWN_TOPIC, DISABLED = 3, 73


@dataclass
class FakeAdmin:
    """An admin client: answers by topic code, the answers about the group in turn, and the members it was told to remove."""

    code: int = 0
    group: list[str] = field(default_factory=lambda: ["OK"])
    members: tuple[str, ...] = ()
    topics: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def delete_topics(self, topics: Sequence[str], **_: object) -> dict[str, Any]:
        """Answer the same for all."""
        self.topics += topics
        return {"topics": [{"name": name, "error_code": self.code} for name in topics]}

    def delete_groups(self, groups: Sequence[str]) -> dict[str, str]:
        """The next answer; the last one again and again."""
        self.groups += groups
        return {groups[0]: self.group.pop(0) if len(self.group) > 1 else self.group[0]}

    def describe_groups(self, groups: Sequence[str]) -> dict[str, Any]:
        """Its members."""
        return {groups[0]: {"members": [{"member_id": name} for name in self.members]}}

    def remove_group_members(self, _: str, members: Sequence[Any]) -> None:
        """They are gone."""
        self.removed += [member.member_id for member in members]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeAdmin:
    """In the place of the client, without waits."""
    client = FakeAdmin()
    monkeypatch.setattr(removal, "admin", lambda _: contextlib.nullcontext(client))
    monkeypatch.setattr(removal, "POLL_SECONDS", 0.0)
    return client


def test_every_topic_and_the_groups_are_removed(fake: FakeAdmin) -> None:
    """All topics of the settings and of their rollout, their group and that of a shadow, and no others."""
    settings = Settings(group="mine")
    remove(settings)
    assert fake.topics == [*settings.topics.model_dump().values(), "mine.rollout", "mine.rollout.workers"]
    assert fake.groups == ["mine", "mine.shadow"]
    assert fake.removed == []


def test_topics_and_a_group_that_are_not_there_count_as_removed(fake: FakeAdmin) -> None:
    """A demo that was interrupted early has made some of them, or none."""
    fake.code, fake.group = UNKNOWN_TOPIC, ["GroupIdNotFoundError"]
    remove(Settings())


def test_members_that_are_left_are_removed_first(fake: FakeAdmin) -> None:
    """A worker that was killed stays a member until its session times out, and a group with members cannot be deleted."""
    fake.group, fake.members = ["NonEmptyGroupError", "OK"], ("worker-1",)
    remove(Settings())
    assert fake.removed == ["worker-1"]


def test_what_could_not_be_removed_is_said_with_the_reason(fake: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each topic and the group with its reason, and the next step with all names."""
    monkeypatch.setattr(removal, "GROUP_SECONDS", 0.0)
    fake.code, fake.group = DISABLED, ["GroupAuthorizationFailedError"]
    with pytest.raises(NotRemovedError) as caught:
        remove(Settings(group="mine"))
    assert "topic content.dlq: TopicDeletionDisabledError" in str(caught.value)
    assert "group mine: GroupAuthorizationFailedError" in str(caught.value)
    assert "Next: delete the topics content, tagged, " in str(caught.value)


def test_a_broker_that_went_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker's own sentence, and the names of the topics that are left on it."""

    @contextlib.contextmanager
    def silent(_: Settings) -> Iterator[None]:
        msg = "no broker answered"
        raise BrokerSilentError(msg)
        yield

    monkeypatch.setattr(removal, "admin", silent)
    with pytest.raises(NotRemovedError, match=r"no broker answered\. Next: delete the topics content, "):
        remove(Settings())
