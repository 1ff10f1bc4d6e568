"""
Follows the decisions that workers publish, and checks that each decision made here equals the published decision to the byte.

Both sides are kept as short hashes until a pair is complete, and each side is bounded. The topics are read only while a decision waits for
the published one, so that they are not read far ahead.
"""

import contextlib
import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from tagstream.stream.contract.event import ContentEvent
from tagstream.stream.contract.outcome import NeedsReview, Publication, Tagged
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.kafka.reading.reader import Reader, reader_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.shadow.decision_sources import Sample

# The most decisions of each side; each takes some 200 bytes.
MOST_KEPT = 20_000
# Reading starts this long before the first event was written. The clocks of producers and workers differ by less.
BEFORE_MS = 60_000
# A decision that is made here has no token.
CLOCK = re.compile(rb'(,"ask":\{"token":"[\w-]+"\})?,"tagged_at":"[^"]*"\}\Z')


class PublishedCheck:
    """Pairs the decisions made here with the published decisions. For one thread at a time."""

    def __init__(self, topics: Reader, names: tuple[str, str], sample: Sample) -> None:
        """See `opened`."""
        self._topics = topics
        self._names = names
        self._sample = sample
        self._begun = False
        self._decided: OrderedDict[bytes, bytes] = OrderedDict()
        # The content and the place of each published decision.
        self._published: OrderedDict[bytes, tuple[bytes, str]] = OrderedDict()
        # For decisions that were published before they were made here: None if the two are equal, else the place.
        self._met: list[str | None] = []

    @classmethod
    @contextlib.contextmanager
    def opened(cls, settings: Settings, sample: Sample) -> Iterator["PublishedCheck"]:
        """
        Follow the topics `tagged` and `review`, which must exist.

        Raises:
            BrokerUnreachableError: No broker answered in time, or a broker refused us.
        """
        names = (settings.topics.tagged, settings.topics.review)
        with reader_of(settings, names) as topics:
            yield cls(topics, names, sample)

    @property
    def waits(self) -> bool:
        """True if a decision is not found yet, or if a result is not returned yet."""
        return bool(self._decided or self._met)

    def decided(self, publication: Publication, written_ms: int) -> int:
        """
        Expect this decision on its topic.

        Args:
            publication: A decision that was made here.
            written_ms: When its event was written, Unix milliseconds.

        Returns:
            The number of earlier decisions that are given up to make room, 0 or 1.
        """
        outcome = publication.outcome
        assert isinstance(outcome, Tagged | NeedsReview)
        if not self._begun:
            self._begin(written_ms)
        name = _name(outcome.decision.prediction_id, outcome.event)
        content = _content(publication.value or b"", publication.destination.value)
        before = self._published.pop(name, None)
        if before is not None:
            self._met.append(None if before[0] == content else before[1])
            return 0
        self._decided[name] = content
        if len(self._decided) <= MOST_KEPT:
            return 0
        self._decided.popitem(last=False)
        return 1

    def look(self) -> tuple[int, list[str]]:
        """
        Read the topics further.

        Returns:
            The number of published decisions that equal the decisions made here, and the places of those that differ.

        Raises:
            BrokerUnreachableError: The brokers do not answer.
        """
        equal, different = self._met.count(None), [place for place in self._met if place is not None]
        self._met.clear()
        for record in self._topics.poll() if self._decided else ():
            found = read_decision(record)
            if not isinstance(found, DecidedEvent) or not self._sample.has(found.event.id):
                continue
            name = _name(found.decision.prediction_id, found.event)
            content = _content(record.value or b"", "tagged" if record.topic == self._names[0] else "review")
            place = f"{record.topic}/{record.partition}:{record.offset}"
            expected = self._decided.pop(name, None)
            if expected is None:
                self._published[name] = (content, place)
                if len(self._published) > MOST_KEPT:
                    self._published.popitem(last=False)
            elif expected == content:
                equal += 1
            else:
                different.append(place)
        return equal, different

    def give_up(self) -> int:
        """Drop all expected decisions. Return the number of decisions that were not found."""
        left = len(self._decided)
        self._decided.clear()
        return left

    def _begin(self, written_ms: int) -> None:
        """Start reading a little before the first event was written. A partition without later records is read from its end."""
        ends = self._topics.ends()
        first = self._topics.first_since(ends, max(0, written_ms - BEFORE_MS))
        self._topics.begin(ends | {place: offset for place, (offset, _) in first.items()})
        self._begun = True


def _name(prediction_id: str, event: ContentEvent) -> bytes:
    """Return the key of a decision: its id and the event's fields, because a producer may give several texts the same id."""
    digest = hashlib.blake2b(prediction_id.encode(), digest_size=16)
    for field, raw in sorted((field, bytes(raw)) for field, raw in event.fields.items()):
        digest.update(msgspec.json.encode((field, len(raw))) + raw)
    return digest.digest()


def _content(value: bytes, door: str) -> bytes:
    """Return a hash of the topic's role and of the value up to its time, which a redelivery repeats unchanged."""
    kept = CLOCK.sub(b"", value)
    return hashlib.blake2b(door.encode() + b":" + kept, digest_size=16).digest()
