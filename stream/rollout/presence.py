"""Whether a group has a topic `rollout`: the question of each worker, also of one that follows no change of the model."""

from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError, for_code
from kafka.admin import KafkaAdminClient

from tagstream.stream.contract.rollout_records import RolloutRecordError
from tagstream.stream.kafka.admin import admin
from tagstream.stream.kafka.errors import unreachable
from tagstream.stream.kafka.group_memory import remembered_epoch
from tagstream.stream.settings.settings import Settings

ABSENT = frozenset({UnknownTopicOrPartitionError.errno, TopicAuthorizationFailedError.errno})
# As long as a client's metadata live: a topic that is made while a process runs, or made again, is found within this time.
SEARCH_SECONDS = 15.0
# From one look at what is known to the next.
LOOK_SECONDS = 0.1
WAY_BACK = 'docs/rollout-help.md, "The way back"'


def rollout_topic(settings: Settings) -> dict[str, str] | None:
    """
    The ids of the topic `rollout` and of the content topics by their names; None if there is no rollout.

    Raises:
        RolloutRecordError: There was one: the group has decided by its epochs, and the topic is gone, or this user may not know of it.
        BrokerUnreachableError: No broker answered.
    """
    names = (settings.rollout.topic, *settings.content_topics)
    with admin(settings) as client:
        described = {topic["name"]: topic for topic in client.describe_topics(list(names))}
        # Without the right to see a topic, brokers give the same answer for one that is not there.
        if described[settings.rollout.topic]["error_code"] in ABSENT:
            require_never_begun(settings, client)
            return None
    for name in names:
        # A leader that is being elected, metadata that are not there yet: nothing is known, and the caller asks again.
        if code := described[name]["error_code"]:
            raise unreachable(settings, for_code(code)(name))
    return {name: str(described[name]["topic_id"]) for name in names}


def require_never_begun(settings: Settings, client: KafkaAdminClient) -> None:
    """
    The topic `rollout` is not there, which is right for a group that has decided by no epoch.

    Raises:
        RolloutRecordError: The group has decided by one.
    """
    if epoch := remembered_epoch(settings, client):
        raise lost(settings, epoch, "is not there, or this user may not see it")


def lost(settings: Settings, epoch: int, what: str) -> RolloutRecordError:
    """The error of a group whose epochs are not known any more: which one is the newest, and the ways out."""
    topic = settings.rollout.topic
    return RolloutRecordError(
        f"the group {settings.group} has decided by epoch {epoch} of the topic {topic}, and the topic {what}: it is not known which model decides. "
        f"Next: grant READ on the topic, or fill it again from a copy; without one begin anew under another TAGSTREAM_ROLLOUT__TOPIC: {WAY_BACK}."
    )
