"""A consumer group's notes in the metadata of its commits: the time at which it began to read, and its newest epoch of a rollout."""

import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    NotCoordinatorError,
)

from tagstream.stream.settings.settings import Settings

# Kafka keeps a free text with each commit. No other tool reads ours.
_METADATA = re.compile(
    r"(?:group began at (?P<began>\d{1,12}(?:\.\d{1,6})?))?(?:; )?(?:epoch (?P<epoch>\d{1,10}) of (?P<topic>[a-zA-Z0-9._-]{1,249}))?"
)
COORDINATOR_TRIES, COORDINATOR_SECONDS = 5, 0.5


class GroupMemory:
    """
    The notes that the commits of this group carry from one worker to the next.

    The first note is the time at which the group began to read. Events that are older were written before the group existed, so their age
    says nothing about the workers. A group without any commit begins now.

    The second note is the newest epoch by which the group has decided, with its topic. Without that topic no worker of the group decides.

    >>> memory = GroupMemory()
    >>> memory.learn({}, now=1000.5)
    >>> memory.metadata
    'group began at 1000.500'
    >>> memory.decided_by("tagstream.rollout", 7)
    >>> memory.metadata
    'group began at 1000.500; epoch 7 of tagstream.rollout'
    >>> other = GroupMemory()
    >>> other.learn({0: memory.metadata}, now=2000.0)
    >>> other.metadata
    'group began at 1000.500; epoch 7 of tagstream.rollout'
    """

    def __init__(self, told: Callable[[float], None] = lambda _: None) -> None:
        """`told` is called with the group's begin (Unix seconds; 0 if it is not known) whenever it is learned. Any thread may call it."""
        self._told = told
        self._at = math.inf
        self._epoch = ""
        # True once this process knows its epoch, which is newer than the notes of others.
        self._decides = False
        # The metadata of each partition's last commit.
        self._noted: dict[object, str] = {}

    @property
    def metadata(self) -> str:
        """The metadata of a commit; empty if nothing is known."""
        began = f"group began at {self._at:.3f}" if 0 < self._at < math.inf else ""
        return "; ".join(part for part in (began, self._epoch) if part)

    def learn(self, metadata: Mapping[object, str], *, now: float) -> None:
        """
        Learn from the commits of the whole topic.

        Args:
            metadata: The metadata of every partition that the group has committed.
            now: Unix seconds.
        """
        self._noted.update(metadata)
        if metadata:
            found = [_METADATA.fullmatch(one) for one in metadata.values()]
            # A commit without the time is from another tool. The group may then be of any age.
            self._at = min(self._at, *(float(one["began"] or 0) if one else 0.0 for one in found))
            if not self._decides:
                epochs = [(int(one["epoch"]), one["topic"]) for one in found if one and one["epoch"]]
                self._epoch = max((_words(topic, epoch) for epoch, topic in sorted(epochs)[-1:]), default=self._epoch)
        else:
            self._at = min(self._at, now)
        self._told(self._at)

    def decided_by(self, topic: str, epoch: int) -> None:
        """The group decides by this epoch of a topic. Epoch 0, which has the bundle of the settings, is not noted."""
        if epoch:
            self._decides, self._epoch = True, _words(topic, epoch)

    def noted(self, partitions: Iterable[object], metadata: str) -> None:
        """A commit of these partitions has carried `metadata`."""
        self._noted.update(dict.fromkeys(partitions, metadata))

    def lacking(self, partitions: Iterable[object]) -> Collection[object]:
        """The partitions whose last commit lacks the epoch by which this worker decides. A partition without a commit is left out."""
        if not self._decides:
            return ()
        return {one for one in partitions if one in self._noted and not self._noted[one].endswith(self._epoch)}


def _words(topic: str, epoch: int) -> str:
    return f"epoch {epoch} of {topic}"


def remembered_epoch(settings: Settings, client: KafkaAdminClient) -> int:
    """
    The newest epoch of the settings' topic `rollout` by which the group has decided.

    It is 0 if there is no epoch, or if this user may not DESCRIBE the group.

    Raises:
        KafkaError: The group's coordinator did not answer.
    """
    tries_left = COORDINATOR_TRIES
    while True:
        tries_left -= 1
        try:
            found = client.list_group_offsets([settings.group])[settings.group]
            break
        except GroupAuthorizationFailedError:
            return 0
        except CoordinatorNotAvailableError:
            if tries_left <= 0:
                # A cluster makes its offsets topic for its first group. A worker asks again once it is a member.
                return 0
        except (CoordinatorLoadInProgressError, NotCoordinatorError):
            if tries_left <= 0:
                raise
        time.sleep(COORDINATOR_SECONDS)
    notes = [_METADATA.fullmatch(one.metadata or "") for one in found.values()]
    return max((int(one["epoch"]) for one in notes if one and one["topic"] == settings.rollout.topic), default=0)
