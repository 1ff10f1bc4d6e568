"""The account of a demo: samples sent, outcomes received, and whether they agree. Pure: no clock, no broker.

Every input must have left by exactly one door. The same record twice at the same door is a duplicate, which at-least-once
delivery allows; an input at two doors, or at none, is a broken promise.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitoring.vocabulary import Destination
from stream.contract.record import Record
from stream.demo.arrivals import Arrival, arrival, key_of
from stream.demo.samples import Sample

NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """An input and an outcome of it. `latency_ms` runs from sending to the outcome record's timestamp."""

    sample: Sample
    arrival: Arrival
    latency_ms: int


@dataclass(slots=True)
class _Entry:
    sample: Sample
    sent_ms: int
    arrivals: list[Arrival] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """
    The figures of a run so far.

    Attributes:
        sent: Inputs.
        doors: Inputs by the door by which they first left.
        waiting: Inputs that have left by no door yet.
        duplicates: Outcomes beyond each input's first.
        tags: Decisions by tag, in the bundle's order of labels.
        codes: Dead letters by code.
        p50_ms: Half of the inputs took at most this, sending to outcome; None before the first outcome.
        p99_ms: 99 % of them took at most this.
        events_per_second: From the first sending to the last outcome; None before there are two moments.
    """

    sent: int
    doors: Mapping[Destination, int]
    waiting: int
    duplicates: int
    tags: Mapping[str, int]
    codes: Mapping[str, int]
    p50_ms: int | None
    p99_ms: int | None
    events_per_second: float | None


class Ledger:
    """The account of one run. One thread at a time."""

    def __init__(self, doors: Mapping[str, Destination]) -> None:
        """
        Open the account. No other producer uses these topics, so an outcome without a sample is a problem.

        Args:
            doors: The door of each topic.
        """
        self._doors = doors
        self._entries: dict[str, _Entry] = {}
        self._landed: Counter[Destination] = Counter()
        self._tags: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._labels: tuple[str, ...] = ()
        self._latencies: list[int] = []
        self._strangers: Counter[str] = Counter()
        self._duplicates = 0
        self._first_ms: int | None = None
        self._last_ms: int | None = None

    def sent(self, sample: Sample, at_ms: int) -> None:
        """Enter a sample that is about to be sent, at Unix milliseconds `at_ms`."""
        if sample.key in self._entries:
            msg = f"{sample.key} was sent twice; every input of a run needs its own key"
            raise ValueError(msg)
        self._entries[sample.key] = _Entry(sample, at_ms)
        self._first_ms = at_ms if self._first_ms is None else min(self._first_ms, at_ms)

    def received(self, record: Record) -> Landing | None:
        """
        Enter a record that came out.

        Returns:
            Its sample with the outcome; None for a duplicate, a reviewer's decision or another producer's event.

        Raises:
            msgspec.DecodeError: The outcome of one of our samples breaks the contract.
        """
        entry = self._entries.get(key_of(record))
        if entry is None:
            self._strangers[key_of(record)] += 1
            return None
        found = arrival(record, self._doors)
        if not found.by_model:
            return None
        entry.arrivals.append(found)
        if len(entry.arrivals) > 1:
            self._duplicates += 1
            return None
        return self._land(entry, found)

    def _land(self, entry: _Entry, found: Arrival) -> Landing:
        latency_ms = found.timestamp_ms - entry.sent_ms
        self._latencies.append(latency_ms)
        self._landed[found.door] += 1
        if found.tag is not None:
            self._tags[found.tag] += 1
            self._labels = found.labels
        if found.code is not None:
            self._codes[found.code] += 1
        self._last_ms = found.timestamp_ms if self._last_ms is None else max(self._last_ms, found.timestamp_ms)
        return Landing(sample=entry.sample, arrival=found, latency_ms=latency_ms)

    @property
    def waiting(self) -> int:
        """Inputs that have left by no door yet."""
        return len(self._entries) - len(self._latencies)

    def totals(self) -> Totals:
        """The figures so far."""
        in_order = sorted(self._latencies)
        return Totals(
            sent=len(self._entries),
            doors={door: self._landed[door] for door in Destination},
            waiting=self.waiting,
            duplicates=self._duplicates,
            tags={label: self._tags[label] for label in (*self._labels, *sorted(self._tags.keys() - set(self._labels)))},
            codes=dict(sorted(self._codes.items())),
            p50_ms=percentile(in_order, 0.50),
            p99_ms=percentile(in_order, 0.99),
            events_per_second=self._events_per_second(),
        )

    def _events_per_second(self) -> float | None:
        if self._first_ms is None or self._last_ms is None or self._last_ms <= self._first_ms:
            return None
        return len(self._latencies) * 1000 / (self._last_ms - self._first_ms)

    def problems(self) -> list[str]:
        """The ways in which the account does not balance, a sentence each; empty if every input is accounted for."""
        entries = self._entries.items()
        events = [(key, entry) for key, entry in entries if entry.sample.code is None]
        malformed = [(key, entry) for key, entry in entries if entry.sample.code is not None]
        found = {
            "left by no door": [key for key, entry in entries if not entry.arrivals],
            "left by two doors": [key for key, entry in entries if len({a.door for a in entry.arrivals}) > 1],
            "is an event and became a dead letter": [
                f"{key} ({dead[0].code})" for key, entry in events if (dead := _at(entry, Destination.DLQ))
            ],
            "is malformed and was decided": [
                key for key, entry in malformed if any(a.door is not Destination.DLQ for a in entry.arrivals)
            ],
            "is a dead letter with other bytes than were sent": [
                key for key, entry in entries if any(a.value != entry.sample.value for a in _at(entry, Destination.DLQ))
            ],
            "is a dead letter under the wrong code": [
                f"{key} ({dead[0].code}, not {entry.sample.code})"
                for key, entry in malformed
                if (dead := [a for a in _at(entry, Destination.DLQ) if a.code != entry.sample.code])
            ],
            "came out and was never sent": list(self._strangers),
        }
        return [sentence(what, keys) for what, keys in found.items() if keys]


def percentile(in_order: Sequence[int], share: float) -> int | None:
    """
    The nearest-rank percentile of values in ascending order, None of none.

    >>> percentile([10, 20, 30, 40], 0.5)
    20
    >>> percentile([10, 20, 30, 40], 0.99)
    40
    """
    return in_order[max(0, math.ceil(share * len(in_order)) - 1)] if in_order else None


def _at(entry: _Entry, door: Destination) -> list[Arrival]:
    return [found for found in entry.arrivals if found.door is door]


def sentence(what: str, keys: Sequence[str]) -> str:
    """
    How many, what is wrong with them, and which they are.

    >>> sentence("left by no door", ["a", "b"])
    '2 left by no door: a, b'
    """
    named = ", ".join(keys[:NAMED])
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"{len(keys)} {what}: {named}{more}"
