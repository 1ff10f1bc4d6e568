"""The account of people's answers: those that were given, those on `reviewed`, those on `tagged`. Pure: no clock, no broker.

It counts the answers of everybody: whoever opens the console during a demo answers beside the script.
"""

from collections import Counter
from dataclasses import dataclass

import msgspec

from stream.contract.answers import AnsweredEvent, answer_id, read_answer
from stream.contract.record import Record
from stream.demo.ledger import percentile, sentence

REVIEWER = "reviewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An answer that the console has told the script to be saved."""

    event_id: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """An answer that is on `tagged`. `latency_ms` runs from the record of `reviewed` to that of `tagged`."""

    event_id: str
    title: str
    tag: str
    model_tag: str
    reviewer: str
    timestamp_ms: int
    latency_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTotals:
    """
    The figures so far.

    Attributes:
        given: Different answers on `reviewed`.
        reached: Those of them that are on `tagged`.
        agreed: Those of them with the model's own tag.
        p50_ms: Half of them took at most this, `reviewed` to `tagged`; None before the first.
    """

    given: int
    reached: int
    agreed: int
    p50_ms: int | None


class _Decision(msgspec.Struct, frozen=True):
    decider: str
    prediction_id: str
    tag: str


@dataclass(frozen=True, slots=True)
class _Landed:
    tag: str
    key: str
    timestamp_ms: int


class Answers:
    """The account of one run. One thread at a time; the three kinds of facts may come in any order."""

    def __init__(self) -> None:
        """Open the account."""
        self._given: Counter[Given] = Counter()
        self._said: dict[str, AnsweredEvent] = {}
        self._landed: dict[str, _Landed] = {}
        self._unreadable: list[str] = []
        self._latencies: list[int] = []

    def given(self, one: Given) -> None:
        """Enter an answer that the console has saved."""
        self._given[one] += 1

    def reviewed(self, record: Record) -> Reached | None:
        """Enter a record of `reviewed`; what is now known to be on `tagged`, if it is."""
        found = read_answer(record)
        if not isinstance(found, AnsweredEvent):
            self._unreadable.append(f"{_key(record)} ({found.reason})")
            return None
        name = answer_id(found.answer)
        if name in self._said:
            return None
        self._said[name] = found
        return self._reached(name)

    def tagged(self, record: Record) -> Reached | None:
        """
        Enter a record of `tagged` if it is a reviewer's decision; what is now known to be there, if it is.

        Raises:
            msgspec.DecodeError: The worker published a value that is not a decision: a bug in the worker.
        """
        found = msgspec.json.decode(record.value or b"", type=_Decision)
        if found.decider != REVIEWER or found.prediction_id in self._landed:
            return None
        self._landed[found.prediction_id] = _Landed(found.tag, _key(record), record.timestamp_ms)
        return self._reached(found.prediction_id)

    def _reached(self, name: str) -> Reached | None:
        said, landed = self._said.get(name), self._landed.get(name)
        if said is None or landed is None:
            return None
        latency_ms = landed.timestamp_ms - said.event.record.timestamp_ms
        self._latencies.append(latency_ms)
        return Reached(
            event_id=said.event.id,
            title=said.event.title,
            tag=landed.tag,
            model_tag=said.answer.model_tag,
            reviewer=said.answer.reviewer,
            timestamp_ms=landed.timestamp_ms,
            latency_ms=latency_ms,
        )

    @property
    def waiting(self) -> int:
        """Answers that are not on `reviewed` or not on `tagged` yet."""
        return len(self._said.keys() - self._landed.keys()) + (self._given - self._on_reviewed()).total()

    def totals(self) -> AnswerTotals:
        """The figures so far."""
        return AnswerTotals(
            given=len(self._said),
            reached=len(self._latencies),
            agreed=sum(said.answer.tag == said.answer.model_tag for said in self._said.values()),
            p50_ms=percentile(sorted(self._latencies), 0.5),
        )

    def problems(self) -> list[str]:
        """The ways in which the account does not balance, a sentence each."""
        both = self._said.keys() & self._landed.keys()
        found = {
            "answered in the console and not in `reviewed`": [one.event_id for one in self._given - self._on_reviewed()],
            "answered and not in `tagged`": [said.event.id for name, said in self._said.items() if name not in self._landed],
            "in `tagged` with another tag than was answered": [
                self._said[name].event.id for name in both if self._said[name].answer.tag != self._landed[name].tag
            ],
            "in `tagged` by a reviewer and was never answered": [
                landed.key for name, landed in self._landed.items() if name not in self._said
            ],
            "in `reviewed` and no answer": self._unreadable,
        }
        return [sentence(what, keys) for what, keys in found.items() if keys]

    def _on_reviewed(self) -> Counter[Given]:
        return Counter(Given(event_id=said.event.id, tag=said.answer.tag) for said in self._said.values())


def _key(record: Record) -> str:
    return (record.key or b"").decode("utf-8", errors="backslashreplace")
