"""When the consumer group began to read, kept in the metadata of its commits: restarts and other workers see the same time."""

import math
import re
from collections.abc import Callable, Collection

# A commit's metadata is a free text of Kafka's, which no tool but this one reads.
PATTERN = re.compile(r"group began at (\d{1,12}(?:\.\d{1,6})?)")


class GroupStart:
    """
    The time at which this group began to read the topic.

    A group without any commit begins now, and every commit of it carries this time. Events that are older were written before anyone
    could have read them for this group, so their age says nothing about the workers.

    >>> start = GroupStart()
    >>> start.learn([], now=1000.5)
    >>> start.metadata
    'group began at 1000.500'
    >>> other = GroupStart()
    >>> other.learn(["group began at 1000.500"], now=2000.0)
    >>> other.metadata
    'group began at 1000.500'
    """

    def __init__(self, told: Callable[[float], None] = lambda _: None) -> None:
        """`told` is called with the time, Unix seconds, whenever it was learned; 0 if it is not known. From any thread."""
        self._told = told
        self._at = math.inf

    @property
    def metadata(self) -> str:
        """The metadata of a commit; empty if the time is not known."""
        return f"group began at {self._at:.3f}" if 0 < self._at < math.inf else ""

    def learn(self, metadata: Collection[str], *, now: float) -> None:
        """
        Learn from the commits of the whole topic.

        Args:
            metadata: The metadata of every partition that the group has committed.
            now: Unix seconds.
        """
        if metadata:
            found = [PATTERN.fullmatch(one) for one in metadata]
            # A commit without the time is from an older version or from another tool. The group may then be of any age.
            self._at = min(self._at, *(float(one[1]) if one else 0.0 for one in found))
        else:
            self._at = min(self._at, now)
        self._told(self._at)
