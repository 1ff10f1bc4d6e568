"""aiokafka's group coordinator, with two errors of the broker that aiokafka does not see."""

import time
from typing import Any

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    CommitFailedError,
    GroupCoordinatorNotAvailableError,
    NotCoordinatorForGroupError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.structs import OffsetAndMetadata

# A coordinator may not know yet of a partition that was just added.
UNKNOWN_SECONDS = 5.0


class Coordinator(GroupCoordinator):  # type: ignore[misc]
    """
    Raises when the broker cannot tell a group's offsets, and when the partition to commit no longer exists.

    aiokafka reads an answer partition by partition and misses the error of the whole answer, which lists no partitions. While a new
    coordinator still loads, every partition would look as if it had never been committed, and the whole log would be decided again.

    aiokafka repeats a commit for a deleted topic for ever. Meanwhile the partitions could not be revoked; and once the topic was
    made anew, the offset of the old log would be committed in the new one, so that the events below it would never be read.
    """

    # Kept with every commit: the start of the group (`GroupStart`).
    commit_metadata = ""
    _unknown_since: float | None = None

    async def _do_commit_offsets(self, assignment: Any, offsets: Any) -> None:
        offsets = {tp: OffsetAndMetadata(commit.offset, self.commit_metadata) for tp, commit in offsets.items()}
        since, self._unknown_since = self._unknown_since, None
        try:
            await super()._do_commit_offsets(assignment, offsets)
        except UnknownTopicOrPartitionError as error:
            now = time.monotonic()
            self._unknown_since = since or now
            if now - self._unknown_since < UNKNOWN_SECONDS:
                raise
            partitions = ", ".join(f"{tp.topic}/{tp.partition}" for tp in sorted(offsets))
            msg = f"one of the partitions {partitions} does not exist any more, so its offsets cannot be committed. Next: `tagstream doctor`"
            raise CommitFailedError(msg) from error

    async def _send_req(self, request: Any) -> Any:
        answer = await super()._send_req(request)
        code = getattr(answer, "error_code", 0) if isinstance(request, OffsetFetchRequest) else 0
        if code:
            kind = for_code(code)
            if kind in {GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError}:
                self.coordinator_dead()
            raise kind(self.group_id)
        return answer
