"""The rights of each role, and the commands that grant them."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.kafka.rights import Operation, Resource, Right, Role, lines, missing, rights
from tagstream.stream.settings.settings import Settings


def test_a_worker_needs_nothing_on_the_cluster_and_creates_nothing() -> None:
    """READ on its input topic, its group and what the group has learned, WRITE on its output topics."""
    found = rights(Settings(), Role.WORKER)
    assert [(right.resource, right.name, right.operations[0]) for right in found] == [
        (Resource.TOPIC, "content", Operation.READ),
        (Resource.TOPIC, "reviewed", Operation.READ),
        (Resource.GROUP, "tagstream", Operation.READ),
        (Resource.TOPIC, "tagged", Operation.WRITE),
        (Resource.TOPIC, "review", Operation.WRITE),
        (Resource.TOPIC, "content.dlq", Operation.WRITE),
        (Resource.TOPIC, "audit", Operation.WRITE),
        (Resource.TOPIC, "drift", Operation.WRITE),
        (Resource.TOPIC, "references", Operation.READ),
        (Resource.TOPIC, "tagstream.rollout", Operation.READ),
        (Resource.TOPIC, "tagstream.rollout.workers", Operation.WRITE),
    ]


def test_a_worker_that_is_exact_has_ids_for_events_and_for_answers() -> None:
    """Each topic that it reads has transactional ids of its own."""
    found = rights(Settings(delivery="exactly_once"), Role.WORKER)
    assert [right.name for right in found if right.resource is Resource.TRANSACTIONAL_ID] == [
        "tagstream-content-",
        "tagstream-reviewed-",
    ]


def test_whoever_reports_or_answers_cannot_change_a_tag() -> None:
    """Only a worker writes to `tagged`: a reviewer writes answers and reports, a reporter reports alone, a measurer outcomes alone."""
    written = {role: {right.name for right in rights(Settings(), role) if Operation.WRITE in right.operations} for role in Role}
    assert written[Role.REPORTER] == {"reports"}
    assert written[Role.MEASURER] == {"outcomes"}
    assert written[Role.TAGS] == set()
    assert written[Role.REVIEWER] == {"reviewed", "reports"}
    assert [role for role, names in written.items() if "tagged" in names] == [Role.WORKER]


def test_the_controller_alone_chooses_the_model() -> None:
    """WRITE on the topic of rollouts belongs to a role of its own, which writes nowhere else but among the words of workers."""
    topic, words = Settings().rollout.topic, Settings().rollout.workers_topic
    written = {role: {right.name for right in rights(Settings(), role) if Operation.WRITE in right.operations} for role in Role}
    assert [role for role, names in written.items() if topic in names] == [Role.CONTROLLER]
    assert written[Role.CONTROLLER] == {topic, words}


def test_serve_watches_and_publishes_and_can_change_no_decision() -> None:
    """It writes findings, its reference, and events for the stream; it joins no group."""
    found = rights(Settings(), Role.SERVE)
    assert {right.name for right in found if Operation.WRITE in right.operations} == {"drift", "references", "content"}
    assert [right.operations for right in found if right.resource is Resource.GROUP] == [(Operation.DESCRIBE,)]


def test_a_shadow_can_change_no_decision() -> None:
    """Whoever tries a bundle beside the stream writes comparisons and questions for people alone, and reads in a group of its own."""
    found = rights(Settings(), Role.SHADOW)
    assert {right.name for right in found if Operation.WRITE in right.operations} == {"shadow", "audit"}
    assert {right.name for right in found if right.resource is Resource.GROUP} == {"tagstream.shadow"}


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CREATOR])
def test_only_the_creator_creates(role: Role) -> None:
    """The commands of the other roles grant no CREATE."""
    assert not any("Create" in line for line in lines(Settings(), role, "u"))


@given(st.text(min_size=1, max_size=20))
def test_a_name_cannot_leave_its_word(user: str) -> None:
    """Whatever the name of a user or group is, a shell reads it as one word."""
    for line in lines(Settings(group="a; rm -rf $HOME"), Role.WORKER, user):
        words = shlex.split(line)
        assert words[0] == "kafka-acls.sh"
        assert f"User:{user}" in words


def test_a_missing_right_is_named_unless_the_broker_does_not_say() -> None:
    """A broker that does not say what a user may do is no reason to refuse."""
    right = Right(resource=Resource.TOPIC, name="tagged", operations=(Operation.WRITE, Operation.DESCRIBE))
    assert missing(Settings(), right, None) is None
    assert missing(Settings(), right, {"WRITE", "DESCRIBE", "READ"}) is None
    said = missing(Settings(), right, {"DESCRIBE"})
    assert said is not None
    assert "a client without a user is not authorised for WRITE on the topic 'tagged'" in said


def test_an_operator_may_replay_dead_letters() -> None:
    """A replay writes events to `content`, answers to `reviewed`, and its notes to the topic of replays; references are confirmed by hand."""
    topics = Settings().topics
    found = {right.name: right.operations for right in rights(Settings(), Role.OPERATOR) if Operation.WRITE in right.operations}

    assert set(found) == {topics.content, topics.reviewed, topics.replays, topics.references}


def test_consoles_and_operators_alone_may_write_answers() -> None:
    """Without keys of answers this right is what stands between a stranger and `tagged`."""
    reviewed = Settings().topics.reviewed
    writers = {
        role
        for role in Role
        for right in rights(Settings(), role)
        if right.name == reviewed and Operation.WRITE in right.operations
    }
    assert writers == {Role.REVIEWER, Role.OPERATOR}
