"""The content topics as a controller asks for them: their partitions, and where each ends. By kafka-python, which knows the ids of topics."""

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
    The partitions of the content topics, under the ids that these have now.

    Raises:
        BrokerUnreachableError: No broker answered, or this user may not know.
    """
    with translated(settings):
        described = client.describe_topics(list(settings.content_topics))
    for topic in described:
        if (code := topic["error_code"]) and code != UnknownTopicOrPartitionError.errno:
            # Not seen is not the same as not there: an epoch would begin nowhere.
            raise unreachable(settings, for_code(code)(topic["name"]))
    return {
        Partition(topic=topic["name"], topic_id=str(topic["topic_id"]), partition=partition["partition_index"])
        for topic in described
        for partition in topic["partitions"]
    }


class ContentOnKafka:
    """The content topics (`tagstream.stream.rollout.controller.ContentTopics`), asked by a client that stays connected."""

    def __init__(self, settings: Settings, client: KafkaAdminClient) -> None:
        """Ask by a client that stays connected."""
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
            # With open transactions: the last stable offset may lie below what workers have read.
            found = self._client.list_partition_offsets(dict.fromkeys(asked, OffsetSpec.LATEST)) if asked else {}
        return dict.fromkeys(partitions) | {asked[at]: int(end.offset) for at, end in found.items()}
