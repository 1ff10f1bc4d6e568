"""Reads the topics of a second model into a ledger, in the order in which the ledger needs them: opinions first."""

from collections.abc import Iterator, Mapping

from tagstream.stream.contract.answers import AnsweredEvent, AnswerKeys, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.second_opinions import SecondOpinion, read_opinion
from tagstream.stream.kafka.reading.reader import Place, Reader
from tagstream.stream.logs import logger
from tagstream.stream.second.ledger import Ledger
from tagstream.stream.settings.secret_files import answer_keys
from tagstream.stream.settings.settings import Settings

READ = ("second", "reviewed", "review")
log = logger("tagstream.second")


class SecondReading:
    """Takes records of the three topics into a ledger. A record that violates the contract is logged and left out."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        """
        Read nothing yet.

        Raises:
            SecurityError: The file of the keys of answers cannot be used.
        """
        self._topics, self._limits = settings.topics, settings.limits
        self._keys: AnswerKeys = answer_keys(settings.security)
        self._ledger = ledger

    def to_ends(self, reader: Reader, acted: Mapping[Place, int]) -> Iterator[SecondOpinion]:
        """
        Read all topics from their starts to their present ends, and yield the opinions.

        Args:
            reader: Reads the three topics.
            acted: By partition of `second`, the offset up to which decisions are on `tagged`.

        Raises:
            BrokerUnreachableError: The brokers do not answer.
        """
        ends = reader.ends()
        reader.begin(reader.starts())
        for role in READ:
            topic = getattr(self._topics, role)
            for records in reader.read_to({place: end for place, end in ends.items() if place[0] == topic}):
                yield from self.take(records, acted)

    def take(self, records: list[Record], acted: Mapping[Place, int]) -> Iterator[SecondOpinion]:
        """Take records, and yield the opinions among them."""
        for record in records:
            found = self._found(record)
            match found:
                case Refusal():
                    log.warning(
                        "record_left_out",
                        topic=record.topic,
                        partition=record.partition,
                        offset=record.offset,
                        why=found.message,
                    )
                case SecondOpinion():
                    done = record.offset < acted.get((record.topic, record.partition), 0)
                    self._ledger.take_opinion(found, acted=done)
                    yield found
                case AnsweredEvent():
                    self._ledger.take_answer(found.answer)
                # The rules' guesses are for people alone.
                case DecidedEvent() if found.decision.decider == "model":
                    self._ledger.take_item(found)

    def _found(self, record: Record) -> object:
        if record.topic == self._topics.second:
            return read_opinion(record, self._limits)
        if record.topic == self._topics.reviewed:
            return read_answer(record, self._limits, self._keys)
        return read_decision(record, self._limits)
