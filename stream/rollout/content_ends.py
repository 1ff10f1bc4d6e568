"""The partitions of the content topics and their ends, for a controller. It uses kafka-python, which returns the ids of topics."""

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from kafka import TopicPartition as PlainTopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec

from tagstream.stream.contract.rollout_records import Partition
from tagstream.stream.kafka.errors import translated, unreachable
from tagstream.stream.settings.settings import Settings


def content_partitions(settings: Settings, client: KafkaAdminClient) -> AbstractSet[Partition]:
    """
    Return the partitions of the content topics, with the topics' present ids.

    Raises:
        BrokerUnreachableError: No broker answered, or this user may not describe a topic.
    """
    with translated(settings):
        described = client.describe_topics(list(settings.content_topics))
    for topic in described:
        if (code := topic["error_code"]) and code != UnknownTopicOrPartitionError.errno:
            # The topic may exist, although it is not seen. Without its partitions an epoch would begin nowhere.
            raise unreachable(settings, for_code(code)(topic["name"]))
    return {
        Partition(topic=topic["name"], topic_id=str(topic["topic_id"]), partition=partition["partition_index"])
        for topic in described
        for partition in topic["partitions"]
    }


class ContentOnKafka:
    """The content topics (`tagstream.stream.rollout.controller.ContentTopics`), asked by a client that stays connected."""

    def __init__(self, settings: Settings, client: KafkaAdminClient) -> None:
        """Keep the connected client."""
        self._settings = settings
        self._client = client

    async def partitions(self) -> AbstractSet[Partition]:
        """See the protocol."""
        return await asyncio.to_thread(content_partitions, self._settings, self._client)

    async def ends(self, partitions: AbstractSet[Partition]) -> Mapping[Partition, int | None]:
        """See the protocol."""
        return await asyncio.to_thread(self._ends, partitions)

    def _ends(self, partitions: AbstractSet[Partition]) -> dict[Partition, int | None]:
        asked = {
            PlainTopicPartition(at.topic, at.partition): at
            for at in partitions & content_partitions(self._settings, self._client)
        }
        with translated(self._settings):
            # The high watermark, open transactions included: the last stable offset may lie below events that workers have read.
            found = self._client.list_partition_offsets(dict.fromkeys(asked, OffsetSpec.LATEST)) if asked else {}
        return dict.fromkeys(partitions) | {asked[at]: int(end.offset) for at, end in found.items()}
