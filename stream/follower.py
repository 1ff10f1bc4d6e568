"""
The base of followers: a follower reads topics into a database and keeps the database up to date. A subclass writes the records.

The database stores the offsets in the same transaction as the records. So a follower that is killed at any moment continues at the stored
offsets, and a record that is read twice is written once.
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

# The pause after a failure of the brokers or the database.
AGAIN_SECONDS = 2.0
# The time between two checks for new topics, new partitions and the database's lag.
LOOK_SECONDS = 15.0


class MismatchError(Exception):
    """The database was filled from other topics. The message names the topic and the next step."""

    exit_code = 2


class Follower(ABC):
    """
    Reads topics into one database until it is stopped.

    Attributes:
        noun: The kind of database in messages, for example "store".
        remedy: The next step in the message of a MismatchError.
        stop: Setting this event ends the follower, within the timeouts of the brokers and the database.
        started: True once the offsets to start from are known.
        unreadable: The number of records that were left out: they violate the contract, or the database refused them.
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
        Store the parts; `run` starts reading.

        Args:
            settings: Brokers and bounds.
            name: The name of the database.
            log: The name of the logger.
            stop: Ends the follower when set; None makes a new event.
            first: Topics that are read before all others, up to the ends that they have at the start.
            begin_at: By topic, returns the time in Unix milliseconds from which a partition without a stored offset is read. Partitions
                of all other topics are read from their start.
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
        Return the topics to follow now.

        Raises:
            TopicsMissingError: A required topic does not exist.
            NotAuthorizedError: This user may not read a topic. The message has the missing ACL.
        """

    @abstractmethod
    def positions(self) -> Mapping[Place, int]:
        """Return the stored offsets: the next offset of each partition that was read before."""

    @abstractmethod
    def take(self, records: Sequence[Record], reached: Mapping[Place, int]) -> None:
        """
        Write the records of a poll and the new offsets in one transaction.

        Args:
            records: The records in the order of their partitions; may be empty.
            reached: The next offset of each partition whose offset has changed.
        """

    @abstractmethod
    def failed(self, error: BrokerUnreachableError | DatabaseUnavailableError) -> None:
        """React to brokers or a database that do not answer. If this returns, the follower tries again after `AGAIN_SECONDS`."""

    @abstractmethod
    def caught_up(self) -> None:
        """React to the end of the `first` topics: they are read up to their ends."""

    def run(self) -> None:
        """
        Read until `stop` is set.

        Raises:
            MismatchError: A stored offset is greater than the end of its partition.
            Exception: `topics` or `failed` raised it.
        """
        while not self.stop.is_set():
            try:
                self._follow()
            except (BrokerUnreachableError, DatabaseUnavailableError) as error:
                self.failed(error)
                self._log.warning("topics_not_followed", error=str(error))
                self.stop.wait(AGAIN_SECONDS)

    def left_out(self, record: Record, why: str) -> None:
        """Count a record that is not written, and log its topic, partition and offset."""
        self.unreadable += 1
        self._log.warning("record_left_out", topic=record.topic, partition=record.partition, offset=record.offset, why=why)

    def _follow(self) -> None:
        """Read until the topics or partitions have changed, or until `stop` is set."""
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
                    f"the {self.noun} {self._name} has read {topic} {number} up to {position}, and the topic ends at {ends[place]}: "
                    f"the topic was made anew, or the {self.noun} belongs to another cluster. Next: {self.remedy}; the topics fill it."
                )
                raise MismatchError(msg)
            if position < start:
                # Retention has deleted records before the follower read them, so the database lacks them.
                self._log.warning("records_gone", topic=place[0], partition=place[1], records=start - position)
            positions[place] = max(position, start)
        topics.begin(positions)
        self.started = True
        behind = sum(topics.outstanding(ends).values())
        self._log.info("topics_followed", brokers=self._settings.brokers, behind=behind, **{self.noun: self._name})

    def _tell(self, behind: int) -> None:
        """Log only changes between level and behind. `behind` is the number of records that are not read yet."""
        if (behind == 0) != self._level:
            self._level = behind == 0
            self._log.info(f"{self.noun}_is_{'level' if self._level else 'behind'}", behind=behind)
