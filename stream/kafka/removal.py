"""Removes topics and a consumer group that this program has made, with kafka-python's admin client."""

import time
from collections.abc import Collection

from kafka.admin import KafkaAdminClient, MemberToRemove
from kafka.errors import GroupIdNotFoundError, UnknownTopicOrPartitionError, for_code

from tagstream.stream.kafka.admin import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.rights import shadow_group
from tagstream.stream.settings.settings import Settings

TOPICS_SECONDS = 30
GROUP_SECONDS = 30.0
POLL_SECONDS = 0.2
# The client's answers for a group that is deleted, or that does not exist.
_GROUP_GONE = {"OK", GroupIdNotFoundError.__name__}


class NotRemovedError(Exception):
    """Topics or the group are still on the broker: the message says which, why, and the next step."""

    exit_code = 1


def remove(settings: Settings) -> None:
    """
    Remove the topics and the consumer groups of these settings, with the topics of a rollout. What does not exist counts as removed.

    Members are first removed from the group: a worker that was killed stays a member until its session times out.

    Raises:
        NotRemovedError: A broker refused, or no broker answered.
    """
    named = settings.topic_names
    names = (*named.values(), settings.rollout.topic, settings.rollout.workers_topic)
    groups = (settings.group, shadow_group(settings))
    try:
        with admin(settings) as client:
            left = _remove_topics(client, names) + [why for group in groups for why in _remove_group(client, group)]
    except BrokerUnreachableError as error:
        left = [str(error)]
    if left:
        msg = (
            f"not all topics and groups of {settings.group} could be removed from {settings.brokers}: {'; '.join(left)}. "
            f"Next: delete the topics {', '.join(names)} and the groups {' and '.join(groups)} with Kafka's own tools."
        )
        raise NotRemovedError(msg)


def _remove_topics(client: KafkaAdminClient, names: Collection[str]) -> list[str]:
    """Delete topics. Returns the topics that are still there, each with the reason."""
    answer = client.delete_topics(list(names), timeout_ms=TOPICS_SECONDS * 1000, raise_errors=False)
    gone = {0, UnknownTopicOrPartitionError.errno}
    return [
        f"topic {topic['name']}: {for_code(topic['error_code']).__name__}"
        for topic in answer["topics"]
        if topic["error_code"] not in gone
    ]


def _remove_group(client: KafkaAdminClient, group: str) -> list[str]:
    """Delete a group and remove its members. Returns the reason if it is still there."""
    until = time.monotonic() + GROUP_SECONDS
    while (result := client.delete_groups([group])[group]) not in _GROUP_GONE:
        if time.monotonic() > until:
            return [f"group {group}: {result}"]
        members = client.describe_groups([group])[group]["members"]
        if members:
            client.remove_group_members(group, [MemberToRemove(member_id=member["member_id"]) for member in members])
        time.sleep(POLL_SECONDS)
    return []
