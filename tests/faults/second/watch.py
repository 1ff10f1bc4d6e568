"""Follows what a second model is asked about, says and decides, and sees at each look whether a decision is ahead of its opinion."""

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import DecidedEvent, PublishedDecision
from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.kafka.reading.reader import Place, Reader, reader_of
from tagstream.stream.settings.settings import Settings
from tests.faults.verdict.opinions import ahead, item_of, items_of, opinions_of, repeated, settled_of


class Watch:
    """
    Reads what has come since the last look. From one thread.

    Attributes:
        items: What the second model is asked about, repetitions by workers included.
        decisions: What it has decided.
        opinions: What it has said.
        wrong: The decisions that were seen before their opinions.
    """

    def __init__(self, settings: Settings) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._next: dict[Place, int] = {}
        self.items: list[DecidedEvent] = []
        self.decisions: list[PublishedDecision] = []
        self.opinions: list[SecondOpinion] = []
        self.wrong: list[str] = []
        self._compared = 0

    def look(self) -> None:
        """
        Look once: first at the decisions, then at the opinions, so that each decision must have an opinion.

        Raises:
            BrokerUnreachableError: The brokers do not answer. The next look sees what this one has not.
        """
        topics = self._settings.topics
        with reader_of(self._settings, [topics.tagged, topics.second, topics.review]) as reader:
            self.decisions += settled_of(self._fresh(reader, topics.tagged))
            self.opinions += opinions_of(self._fresh(reader, topics.second))
            self.items += items_of(self._fresh(reader, topics.review))
        self.wrong += ahead(self.decisions[self._compared :], self.opinions)
        self._compared = len(self.decisions)

    @property
    def repeated(self) -> list[str]:
        """The items with more than one opinion, each as often as it was repeated."""
        return repeated(self.opinions)

    @property
    def without_opinion(self) -> int:
        """The number of items that have no opinion yet."""
        return len({one.decision.prediction_id for one in self.items} - {one.prediction_id for one in self.opinions})

    @property
    def without_decision(self) -> int:
        """The number of opinions that settle, and whose decision is not there yet."""
        return len({one.prediction_id for one in self.opinions if one.settles} - set(map(item_of, self.decisions)))

    def _fresh(self, reader: Reader, topic: str) -> list[Record]:
        places = [place for place in reader.partitions() if place[0] == topic]
        ends = reader.ends(places)
        reader.begin({place: self._next.get(place, 0) for place in places})
        found = [record for records in reader.read_to(ends) for record in records]
        self._next |= reader.positions
        return found
