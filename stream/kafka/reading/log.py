"""The log of one topic: its offsets, and the records between two of them. kafka-python."""

import contextlib
from collections.abc import Iterator, Mapping

from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.errors import unreachable
from tagstream.stream.kafka.reading.reader import Reader, consumer
from tagstream.stream.settings.settings import Settings


class Log:
    """
    A topic's offsets and records. Every wait is bounded by `startup_timeout_seconds`.

    All methods raise `BrokerUnreachableError` if the brokers do not answer.
    """

    def __init__(self, client: KafkaConsumer, settings: Settings, topic: str) -> None:
        """
        Ask for the partitions of the topic.

        Args:
            client: A consumer in no group; the log seeks with it.
            settings: Has the bound of every wait.
            topic: The name of a topic that exists.
        """
        self._reader = Reader(client, settings, [topic])
        self._places = self._reader.partitions()
        if not self._places:
            # A missing answer must not be taken for an empty topic.
            raise unreachable(settings, KafkaTimeoutError(f"it did not say which partitions {topic} has"))

    def starts(self) -> dict[int, int]:
        """The oldest offset that is still there, by partition."""
        return {number: offset for (_, number), offset in self._reader.starts(self._places).items()}

    def ends(self) -> dict[int, int]:
        """The offset that the next record will get, by partition."""
        return {number: offset for (_, number), offset in self._reader.ends(self._places).items()}

    def offsets_since(self, moment_ms: int) -> dict[int, int]:
        """By partition, the offset of the first record at or after a moment (Unix milliseconds); the end if there is no such record."""
        ends = self.ends()
        return {number: ends[number] if at is None else at[0] for number, at in self.first_since(moment_ms).items()}

    def first_since(self, moment_ms: int) -> dict[int, tuple[int, int] | None]:
        """By partition, offset and time (Unix milliseconds) of the first record at or after a moment; None if there is no such record."""
        found = self._reader.first_since(self._places, moment_ms)
        return {place[1]: found.get(place) for place in self._places}

    def read(self, first: Mapping[int, int] | None = None, last: Mapping[int, int] | None = None) -> Iterator[Record]:
        """
        Records from offset `first` up to but not including `last`, one partition after the other, in the order of offsets.

        Args:
            first: Offset by partition; a partition that is not in it is not read. None to read all partitions from their beginnings.
            last: Offset by partition; a partition that is not in it is not read. None to read up to the present ends.

        Raises:
            BrokerUnreachableError: Records are outstanding, and the broker does not send them.
        """
        oldest, ends = self.starts(), self.ends() if last is None else last
        for place in self._places:
            number = place[1]
            begin, end = oldest[number] if first is None else first.get(number), ends.get(number)
            if begin is None or end is None:
                continue
            self._reader.begin({place: max(begin, oldest[number])})
            for records in self._reader.read_to({place: end}):
                yield from (record for record in records if record.offset < end)


@contextlib.contextmanager
def log_of(settings: Settings, topic: str) -> Iterator[Log]:
    """
    The log of a topic, read by a consumer of its own that is in no group.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
    """
    with consumer(settings) as client:
        yield Log(client, settings, topic)
