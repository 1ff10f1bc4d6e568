"""
Keeps a database as new as topics: whoever follows them says what becomes of a record, and where they are read on.

Where they are read on is kept in the database, in the same transaction as what was read. A follower that is killed at any moment reads on
from there; what it reads twice is written once.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence

from tagstream.stream.contract.event import Record
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.reading.reader import Place, Reader, reader_of
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

# After a failure of brokers or database.
AGAIN_SECONDS = 2.0
# How often partitions and topics are counted, and how far the database is behind.
LOOK_SECONDS = 15.0


class MismatchError(Exception):
    """The database was filled from other topics than these: the message says which, and the next step."""

    exit_code = 2


class Follower(ABC):
    """
    Follows topics into one database, until it is stopped.

    Attributes:
        noun: Its kind of database, as messages say it: "store".
        remedy: The next step where the database was filled from other topics.
        stop: Set, it ends the follower, within the bounds of an answer of the brokers and of the database.
        started: It is known where the topics are read on.
        unreadable: Records that were left out because they are not of the contract, or the database does not take them.
    """

    noun: str
    remedy: str

    def __init__(
        self,
        settings: Settings,
        name: str,
        *,
        log: str,
        stop: threading.Event | None = None,
        first: Collection[str] = (),
        begin_at: Mapping[str, Callable[[], int]] | None = None,
    ) -> None:
        """
        Read nothing yet.

        Args:
            settings: Brokers and bounds.
            name: The database's.
            log: The logger's name.
            stop: Ends the follower.
            first: Topics that are read to their ends, as they are at the start, before any other.
            begin_at: Topics that are begun at a moment, Unix milliseconds, where they were never read; all others at their start.
        """
        self._settings = settings
        self._name = name
        self._log = logger(log)
        self._first = first
        self._begin_at = begin_at or {}
        self._level = False
        self.stop = stop or threading.Event()
        self.started = False
        self.unreadable = 0

    @abstractmethod
    def topics(self) -> list[str]:
        """
        The topics that are to be followed now.

        Raises:
            TopicsMissingError: One that is needed does not exist.
            NotAuthorizedError: This user may not read one; the message has the missing ACL.
        """

    @abstractmethod
    def positions(self) -> Mapping[Place, int]:
        """The next offset of each partition that was read before."""

    @abstractmethod
    def take(self, records: Sequence[Record], reached: Mapping[Place, int]) -> None:
        """
        Write what a poll has brought, perhaps nothing, and how far the topics are read, in one transaction.

        Args:
            records: In the order of their partitions.
            reached: The next offset of the partitions that have moved.
        """

    @abstractmethod
    def failed(self, error: BrokerUnreachableError | DatabaseUnavailableError) -> None:
        """Called where brokers or database do not answer; unless it raises, they are asked again after `AGAIN_SECONDS`."""

    @abstractmethod
    def caught_up(self) -> None:
        """Called when the `first` topics are read."""

    def run(self) -> None:
        """
        Read until `stop` is set.

        Raises:
            MismatchError: The database stands behind the end of a partition.
            Exception: From `topics` or `failed`.
        """
        while not self.stop.is_set():
            try:
                self._follow()
            except (BrokerUnreachableError, DatabaseUnavailableError) as error:
                self.failed(error)
                self._log.warning("topics_not_followed", error=str(error))
                self.stop.wait(AGAIN_SECONDS)

    def left_out(self, record: Record, why: str) -> None:
        """Count a record that is not written, and log where it lies."""
        self.unreadable += 1
        self._log.warning("record_left_out", topic=record.topic, partition=record.partition, offset=record.offset, why=why)

    def _follow(self) -> None:
        """Read until a topic or a partition is new, or the end."""
        names = self.topics()
        with reader_of(self._settings, names) as topics:
            self._begin(topics)
            ends = topics.ends()
            for records in topics.read_to({place: end for place, end in ends.items() if place[0] in self._first}):
                self.take(records, topics.moved)
                if self.stop.is_set():
                    return
            self.caught_up()
            known, looked = topics.partitions(), time.monotonic()
            while not self.stop.is_set():
                records = topics.poll()
                self.take(records, topics.moved)
                if time.monotonic() - looked > LOOK_SECONDS:
                    looked = time.monotonic()
                    self._tell(sum(topics.outstanding(topics.ends()).values()))
                    if topics.partitions() != known or self.topics() != names:
                        return

    def _begin(self, topics: Reader) -> None:
        kept, starts, ends = self.positions(), topics.starts(), topics.ends()
        begins, positions = dict(starts), {}
        for topic, moment_ms in self._begin_at.items():
            own = {place: end for place, end in ends.items() if place[0] == topic}
            first = topics.first_since(own, moment_ms()) if own else {}
            begins |= own | {place: offset for place, (offset, _) in first.items()}
        for place, start in starts.items():
            position = kept.get(place, begins[place])
            if position > ends[place]:
                topic, number = place
                msg = (
                    f"the {self.noun} {self._name} has read {topic} {number} up to {position}, and the topic ends at {ends[place]}: it was "
                    f"made anew, or the {self.noun} belongs to another cluster. Next: {self.remedy}; the topics fill it."
                )
                raise MismatchError(msg)
            if position < start:
                # Retention was faster than the follower: the database lacks what those records said.
                self._log.warning("records_gone", topic=place[0], partition=place[1], records=start - position)
            positions[place] = max(position, start)
        topics.begin(positions)
        self.started = True
        behind = sum(topics.outstanding(ends).values())
        self._log.info("topics_followed", brokers=self._settings.brokers, behind=behind, **{self.noun: self._name})

    def _tell(self, behind: int) -> None:
        """Log changes of state alone: a busy stream is always a few records behind."""
        if (behind == 0) != self._level:
            self._level = behind == 0
            self._log.info(f"{self.noun}_is_{'level' if self._level else 'behind'}", behind=behind)
