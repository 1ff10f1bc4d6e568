"""Finds out whether a group has a topic `rollout`. Every worker needs this, even one that never changes its model."""

from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError, for_code
from kafka.admin import KafkaAdminClient

from tagstream.stream.contract.rollout_records import RolloutRecordError
from tagstream.stream.kafka.admin import admin
from tagstream.stream.kafka.errors import unreachable
from tagstream.stream.kafka.group_memory import remembered_epoch
from tagstream.stream.settings.settings import Settings

ABSENT = frozenset({UnknownTopicOrPartitionError.errno, TopicAuthorizationFailedError.errno})
# The age at which a client refreshes its metadata. A topic that is made, or made again, while a process runs is found within this time.
SEARCH_SECONDS = 15.0
# The pause between two looks at the records that were read.
LOOK_SECONDS = 0.1
WAY_BACK = 'docs/rollout-help.md, "The way back"'


def rollout_topic(settings: Settings) -> dict[str, str] | None:
    """
    Return the ids of the topic `rollout` and of the content topics, by name; None if there is no rollout.

    Raises:
        RolloutRecordError: The group has decided by epochs of the topic, and the topic is gone or this user may not see it.
        BrokerUnreachableError: No broker answered.
    """
    names = (settings.rollout.topic, *settings.content_topics)
    with admin(settings) as client:
        described = {topic["name"]: topic for topic in client.describe_topics(list(names))}
        # Brokers give the same answer for a missing topic and for a topic that this user may not see.
        if described[settings.rollout.topic]["error_code"] in ABSENT:
            require_never_begun(settings, client)
            return None
    for name in names:
        # Other errors are temporary, such as a leader election or missing metadata. The caller asks again.
        if code := described[name]["error_code"]:
            raise unreachable(settings, for_code(code)(name))
    return {name: str(described[name]["topic_id"]) for name in names}


def require_never_begun(settings: Settings, client: KafkaAdminClient) -> None:
    """
    Require that the group has never decided by an epoch. Called when the topic `rollout` is not found.

    Raises:
        RolloutRecordError: The group has decided by an epoch.
    """
    if epoch := remembered_epoch(settings, client):
        raise lost(settings, epoch, "is not there, or this user may not see it")


def lost(settings: Settings, epoch: int, what: str) -> RolloutRecordError:
    """Return the error for a group whose epochs are lost. It names the group's newest epoch and the next steps."""
    topic = settings.rollout.topic
    return RolloutRecordError(
        f"the group {settings.group} has decided by epoch {epoch} of the topic {topic}, and the topic {what}: it is not known which model decides. "
        f"Next: grant READ on the topic, or fill it again from a copy; without one begin anew under another TAGSTREAM_ROLLOUT__TOPIC: {WAY_BACK}."
    )
