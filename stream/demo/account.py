"""The account of a demo: it compares the samples sent with the outcomes and answers received. Pure: no clock, no broker.

Every input must have its outcome on exactly one topic: `tagged`, `review` or the dead letters. The same record twice on one topic is a
duplicate, which at-least-once delivery allows. An input on two topics, or on none, is an error. Every answer must be on `reviewed` and
then on `tagged`, from the script or from a person who has opened the console.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from tagstream.monitoring.drift.findings import Finding
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.answers import AnsweredEvent, answer_id, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.demo.samples import SampleRecord
from tagstream.stream.settings.topics import Topics

CODE_HEADER = "x-dlq-code"
REVIEWER = "reviewer"
NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """
    The outcome of a sample.

    Attributes:
        sample: The sample.
        destination: The topic of the outcome.
        timestamp_ms: The time at which the worker wrote the outcome, in Unix milliseconds.
        latency_ms: The time from sending the sample to `timestamp_ms`, in milliseconds.
        tag: The tag of the decision; None for a dead letter.
        confidence: The confidence of the decision, 0 to 1; None for a dead letter.
        code: The code of the dead letter; None for a decision.
        value: The bytes of the dead letter; None for a decision.
    """

    sample: SampleRecord
    destination: Destination
    timestamp_ms: int
    latency_ms: int
    tag: str | None = None
    confidence: float | None = None
    code: str | None = None
    value: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAnswer:
    """An answer of the script that the console's store has saved."""

    event_id: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """An answer whose decision is on `tagged`. `latency_ms` is the time between the records on `reviewed` and on `tagged`."""

    event_id: str
    title: str
    tag: str
    model_tag: str
    reviewer: str
    timestamp_ms: int
    latency_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTotals:
    """
    The figures of a run so far.

    Attributes:
        sent: The number of inputs.
        destinations: The number of inputs by the topic of their first outcome.
        waiting: The number of inputs without an outcome.
        duplicates: The number of outcomes after each input's first outcome.
        tags: The number of decisions by tag, in the bundle's order of labels.
        codes: The number of dead letters by code.
        p50_ms: The median latency from sending to outcome, in milliseconds; None before the first outcome.
        p99_ms: The 99th percentile of the same latency.
        events_per_second: The rate of outcomes from the first input to the last outcome; None while no time has passed.
        given: The number of different answers on `reviewed`.
        reached: The number of these answers that are on `tagged`.
        agreed: The number of these answers that have the model's tag.
        answer_p50_ms: The median latency from `reviewed` to `tagged`, in milliseconds; None before the first such answer.
    """

    sent: int
    destinations: Mapping[Destination, int]
    waiting: int
    duplicates: int
    tags: Mapping[str, int]
    codes: Mapping[str, int]
    p50_ms: int | None
    p99_ms: int | None
    events_per_second: float | None
    given: int
    reached: int
    agreed: int
    answer_p50_ms: int | None


class _PublishedDecision(msgspec.Struct, frozen=True):
    tag: str
    confidence: float
    decider: str
    prediction_id: str
    probabilities: dict[str, float]


@dataclass(slots=True)
class _Entry:
    sample: SampleRecord
    sent_ms: int
    outcomes: list[Landing] = field(default_factory=list)

    def at(self, destination: Destination) -> list[Landing]:
        return [found for found in self.outcomes if found.destination is destination]


class Account:
    """The account of one run. Not thread-safe. Records of different topics may arrive in any order."""

    def __init__(self, topics: Topics) -> None:
        """Start an empty account. No other producer uses these topics, so an outcome without a sample is a problem."""
        self.topics = topics
        self.findings: list[Finding] = []
        self._destinations = {topics.tagged: Destination.TAGGED, topics.review: Destination.REVIEW, topics.dlq: Destination.DLQ}
        self._entries: dict[str, _Entry] = {}
        # The first outcome of each sample.
        self._firsts: list[Landing] = []
        self._labels: tuple[str, ...] = ()
        self._strangers: Counter[str] = Counter()
        self._given: Counter[SavedAnswer] = Counter()
        self._said: dict[str, AnsweredEvent] = {}
        # By answer id: the tag on `tagged`, and the key and time of that record.
        self._landed: dict[str, tuple[str, str, int]] = {}
        self._unreadable: list[str] = []
        self._answer_latencies: list[int] = []

    def sent(self, sample: SampleRecord, at_ms: int) -> None:
        """Enter a sample shortly before it is sent, at `at_ms` in Unix milliseconds."""
        if sample.key in self._entries:
            msg = f"{sample.key} was sent twice; every input of a run needs its own key"
            raise ValueError(msg)
        self._entries[sample.key] = _Entry(sample, at_ms)

    def given(self, one: SavedAnswer) -> None:
        """Enter a saved answer."""
        self._given[one] += 1

    def came(self, record: Record) -> Landing | Reached | Finding | None:
        """
        Enter a record that came out. Return the item to show, or None if there is nothing to show, as for a duplicate.

        Raises:
            msgspec.DecodeError: The outcome of a sample violates the contract, which is a bug in the worker.
        """
        if record.topic == self.topics.drift:
            finding = msgspec.json.decode(record.value or b"", type=Finding)
            self.findings.append(finding)
            return finding
        if record.topic == self.topics.reviewed:
            return self._answered(record)
        entry = self._entries.get(_key(record))
        if entry is None:
            self._strangers[_key(record)] += 1
            return None
        return self._left(entry, record)

    def _left(self, entry: _Entry, record: Record) -> Landing | Reached | None:
        destination, at_ms = self._destinations[record.topic], record.timestamp_ms
        found = Landing(sample=entry.sample, destination=destination, timestamp_ms=at_ms, latency_ms=at_ms - entry.sent_ms)
        if destination is Destination.DLQ:
            codes = [value for name, value in record.headers if name == CODE_HEADER]
            code = codes[-1].decode("utf-8", errors="backslashreplace") if codes else None
            found = replace(found, code=code, value=record.value)
        else:
            decision = msgspec.json.decode(record.value or b"", type=_PublishedDecision)
            if decision.decider == REVIEWER:
                # A reviewer's decision follows the model's decision and is not a second outcome of the sample.
                if decision.prediction_id in self._landed:
                    return None
                self._landed[decision.prediction_id] = (decision.tag, entry.sample.key, at_ms)
                return self._reached(decision.prediction_id)
            self._labels = tuple(decision.probabilities)
            found = replace(found, tag=decision.tag, confidence=decision.confidence)
        entry.outcomes.append(found)
        if len(entry.outcomes) > 1:
            return None
        self._firsts.append(found)
        return found

    def _answered(self, record: Record) -> Reached | None:
        found = read_answer(record)
        if not isinstance(found, AnsweredEvent):
            self._unreadable.append(f"{_key(record)} ({found.reason})")
            return None
        name = answer_id(found.answer)
        if name in self._said:
            return None
        self._said[name] = found
        return self._reached(name)

    def _reached(self, name: str) -> Reached | None:
        said, landed = self._said.get(name), self._landed.get(name)
        if said is None or landed is None:
            return None
        tag, _, at_ms = landed
        latency_ms = at_ms - said.event.record.timestamp_ms
        self._answer_latencies.append(latency_ms)
        return Reached(
            event_id=said.event.id,
            title=said.event.title,
            tag=tag,
            model_tag=said.answer.model_tag,
            reviewer=said.answer.reviewer,
            timestamp_ms=at_ms,
            latency_ms=latency_ms,
        )

    @property
    def events(self) -> int:
        """The number of inputs so far."""
        return len(self._entries)

    @property
    def waiting(self) -> int:
        """The number of inputs without an outcome, plus the number of answers that are not yet on `reviewed` or on `tagged`."""
        events = len(self._entries) - len(self._firsts)
        return events + len(self._said.keys() - self._landed.keys()) + (self._given - self._on_reviewed()).total()

    def totals(self) -> AccountTotals:
        """Return the figures so far."""
        firsts = self._firsts
        latencies, answers = sorted(one.latency_ms for one in firsts), sorted(self._answer_latencies)
        tags = Counter(one.tag for one in firsts if one.tag is not None)
        began = min((entry.sent_ms for entry in self._entries.values()), default=0)
        took_ms = max((one.timestamp_ms for one in firsts), default=0) - began
        return AccountTotals(
            sent=len(self._entries),
            destinations={destination: sum(one.destination is destination for one in firsts) for destination in Destination},
            waiting=len(self._entries) - len(firsts),
            duplicates=sum(len(entry.outcomes) for entry in self._entries.values()) - len(firsts),
            tags={label: tags[label] for label in (*self._labels, *sorted(tags.keys() - set(self._labels)))},
            codes=dict(sorted(Counter(one.code for one in firsts if one.code is not None).items())),
            p50_ms=percentile(latencies, 0.50),
            p99_ms=percentile(latencies, 0.99),
            events_per_second=len(firsts) * 1000 / took_ms if took_ms > 0 else None,
            given=len(self._said),
            reached=len(answers),
            agreed=sum(said.answer.tag == said.answer.model_tag for said in self._said.values()),
            answer_p50_ms=percentile(answers, 0.50),
        )

    def problems(self) -> list[str]:
        """Return a sentence for each kind of discrepancy; empty if every event and answer is accounted for."""
        found = self._problems_of_events() | self._problems_of_answers()
        return [sentence(what, keys) for what, keys in found.items() if keys]

    def _problems_of_events(self) -> dict[str, list[str]]:
        entries = self._entries.items()
        events = [(key, entry) for key, entry in entries if entry.sample.code is None]
        malformed = [(key, entry) for key, entry in entries if entry.sample.code is not None]
        return {
            "without an outcome": [key for key, entry in entries if not entry.outcomes],
            "with outcomes on two topics": [
                key for key, entry in entries if len({one.destination for one in entry.outcomes}) > 1
            ],
            "is an event and became a dead letter": [
                f"{key} ({dead[0].code})" for key, entry in events if (dead := entry.at(Destination.DLQ))
            ],
            "is malformed and was decided": [
                key for key, entry in malformed if any(one.destination is not Destination.DLQ for one in entry.outcomes)
            ],
            "is a dead letter with other bytes than were sent": [
                key for key, entry in entries if any(one.value != entry.sample.value for one in entry.at(Destination.DLQ))
            ],
            "is a dead letter under the wrong code": [
                f"{key} ({dead[0].code}, not {entry.sample.code})"
                for key, entry in malformed
                if (dead := [one for one in entry.at(Destination.DLQ) if one.code != entry.sample.code])
            ],
            "came out and was never sent": list(self._strangers),
        }

    def _problems_of_answers(self) -> dict[str, list[str]]:
        both = self._said.keys() & self._landed.keys()
        return {
            "answered in the console and not in `reviewed`": [one.event_id for one in self._given - self._on_reviewed()],
            "answered and not in `tagged`": [said.event.id for name, said in self._said.items() if name not in self._landed],
            "in `tagged` with another tag than was answered": [
                self._said[name].event.id for name in both if self._said[name].answer.tag != self._landed[name][0]
            ],
            "in `tagged` by a reviewer and was never answered": [
                key for name, (_, key, _) in self._landed.items() if name not in self._said
            ],
            "in `reviewed` and no answer": self._unreadable,
        }

    def _on_reviewed(self) -> Counter[SavedAnswer]:
        return Counter(SavedAnswer(event_id=said.event.id, tag=said.answer.tag) for said in self._said.values())


def percentile(in_order: Sequence[int], share: float) -> int | None:
    """
    Return the nearest-rank percentile of values in ascending order; None if there are no values.

    >>> percentile([10, 20, 30, 40], 0.5)
    20
    >>> percentile([10, 20, 30, 40], 0.99)
    40
    """
    return in_order[max(0, math.ceil(share * len(in_order)) - 1)] if in_order else None


def sentence(what: str, keys: Sequence[str]) -> str:
    """
    Return a sentence with the number of keys, their problem, and the first keys.

    >>> sentence("without an outcome", ["a", "b"])
    '2 without an outcome: a, b'
    """
    named = ", ".join(keys[:NAMED])
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"{len(keys)} {what}: {named}{more}"


def _key(record: Record) -> str:
    return (record.key or b"").decode("utf-8", errors="backslashreplace")
