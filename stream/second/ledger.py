"""
What the process of a second model knows: items of `review`, opinions of `second`, answers of `reviewed`. Pure; `process.py` reads and writes.

Nothing here depends on the order of the topics. The ledger of a process that begins anew is the ledger of the process before.

**What follows from an opinion** is decided before the opinion is written, and is in its record (`judged`). So whoever reads the record knows it,
and a process that is killed after the write continues where the other one ended (`due`).
"""

import hashlib
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tagstream.stream.contract.answers import Answer
from tagstream.stream.contract.published import DecidedEvent, milliseconds
from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.second.facts import Answer as Truth
from tagstream.stream.second.facts import Cell, Cells, Opinion
from tagstream.stream.second.warranty import Warranty

# Opinions are asked again, to see whether the endpoint still answers alike: so many, and so many answers may differ.
GOLD, GOLD_MAY_DIFFER = 20, 4
GOLD_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """
    An opinion that settles its item, and whose decision may not be on `tagged` yet.

    Attributes:
        opinion: The opinion.
        item: The item; None if `review` does not have it any more.
    """

    opinion: SecondOpinion
    item: DecidedEvent | None


class Ledger:
    """
    Items, opinions and answers. Facts may come any number of times, each record of `second` once. Not thread-safe.

    Attributes:
        generation: How often the endpoint has begun to answer the same items otherwise.
        silent: The number of items without an opinion, by reason.
        calls: The requests that all opinions took.
        cost: What they cost, in the currency of the settings.
    """

    def __init__(self, cells: Cells, *, promise: float, audit: float, asked_since_ms: int) -> None:
        """
        Begin without a fact.

        Args:
            cells: The cells that are certified.
            promise: The share right of what is settled, above 0 and below 1.
            audit: The probability with which a person is asked about a settled item, above 0, at most 1.
            asked_since_ms: Older decisions are not asked about; Unix milliseconds.
        """
        self._cells, self._promise, self._audit, self._since_ms = cells, promise, audit, asked_since_ms
        self._opinions: dict[str, SecondOpinion] = {}
        self._answered: set[str] = set()
        # Items that have no opinion yet, in the order in which they came; and those of opinions that are being followed.
        self._open: dict[str, DecidedEvent] = {}
        self._kept: dict[str, DecidedEvent] = {}
        self._due: dict[str, SecondOpinion] = {}
        # The items that are asked about again next, by `prediction_id`: those that were answered first since the last time.
        self._gold: dict[str, DecidedEvent] = {}
        self._compared: set[str] = set()
        self._same: deque[bool] = deque(maxlen=GOLD)
        self._asked_again_ms = 0
        self._facts: list[Opinion | Truth] = []
        self._warranty: Warranty | None = None
        self.generation = 0
        self.silent: Counter[str] = Counter()
        self.calls, self.cost = 0, 0.0

    @property
    def warranty(self) -> Warranty:
        """The warranty of all facts. It counts on the lowest probability of an audit that there ever was."""
        if self._warranty is None:
            lowest = min([self._audit, *(one.probability for one in self._facts if isinstance(one, Opinion))])
            self._warranty = Warranty(self._promise, self._cells, audited_at_least=lowest)
        while self._facts:
            self._warranty.take(self._facts.pop())
        return self._warranty

    @property
    def waiting(self) -> int:
        """The number of items that nobody has asked the second model about."""
        return len(self._open)

    def take_item(self, item: DecidedEvent) -> None:
        """Take a record of `review`."""
        identity = item.decision.prediction_id
        opinion = self._opinions.get(identity)
        if identity in self._due:
            self._kept[identity] = item
        if opinion is not None:
            self._note_gold(item, opinion)
        elif item.decision.tagged_ms >= self._since_ms:
            self._open.setdefault(identity, item)

    def take_opinion(self, opinion: SecondOpinion, *, acted: bool) -> None:
        """
        Take a record of `second`. Of several under one `prediction_id` the first holds; the later ones say whether the endpoint answers alike.

        Args:
            opinion: The record.
            acted: True if an earlier process has published what follows from it.
        """
        self.calls += opinion.calls
        self.cost += opinion.cost
        identity = opinion.prediction_id
        first = self._opinions.get(identity)
        if first is not None:
            self._asked_again(first, opinion)
            return
        self._opinions[identity] = opinion
        if opinion.reason is not None:
            self.silent[opinion.reason] += 1
        item = self._open.pop(identity, None)
        if opinion.endpoint is not None:
            self._begin_generation(opinion.endpoint.generation)
        if opinion.settles and not acted:
            self._due[identity] = opinion
            if item is not None:
                self._kept[identity] = item
        if item is not None:
            self._note_gold(item, opinion)
        self._facts.append(
            Opinion(
                event_id=identity,
                at_ms=opinion.decided_ms,
                fingerprint=opinion.identity,
                cell=self._cell(opinion),
                settled=opinion.settles,
                probability=opinion.audit_probability or 1.0,
                asked=opinion.waits,
            )
        )

    def take_answer(self, answer: Answer) -> None:
        """Take a record of `reviewed`."""
        self._answered.add(answer.prediction_id)
        # `off_subject` is a label of none of the cells: an opinion on such an item is wrong.
        self._facts.append(
            Truth(
                event_id=answer.prediction_id,
                at_ms=milliseconds(answer.decided_at),
                label=answer.tag,
                version=answer.version,
                is_blind=answer.asked_by != "correction",
            )
        )

    def item(self, prediction_id: str) -> DecidedEvent | None:
        """Return the item of this decision, as long as there is something to do about it."""
        return self._open.get(prediction_id) or self._kept.get(prediction_id)

    def to_ask(self, count: int, busy: Iterable[str]) -> list[DecidedEvent]:
        """
        Return items to ask about, those first that have waited longest.

        Args:
            count: The most items.
            busy: Items that are being asked about, by `prediction_id`.
        """
        taken = set(busy)
        found: list[DecidedEvent] = []
        for identity, item in self._open.items():
            if len(found) >= count:
                break
            if identity not in taken:
                found.append(item)
        return found

    def to_ask_again(self, now_ms: int) -> list[DecidedEvent]:
        """
        Return items to ask about a second time; none before there are `GOLD`.

        The first are asked about at once, which shows whether the endpoint agrees with itself; later ones early on the day (UTC) after their
        first answer, when the day's budget is not spent.
        """
        if len(self._gold) < GOLD:
            return []
        first_ms = min(self._opinions[one].decided_ms for one in self._gold)
        if self._asked_again_ms and now_ms // GOLD_MS <= max(first_ms, self._asked_again_ms) // GOLD_MS:
            return []
        self._asked_again_ms = now_ms
        return list(self._gold.values())

    def judged(self, opinion: SecondOpinion) -> SecondOpinion:
        """Return a new opinion with what follows from it now, for the topic `second`."""
        if opinion.endpoint is not None:
            opinion = msgspec.structs.replace(
                opinion, endpoint=msgspec.structs.replace(opinion.endpoint, generation=self.generation)
            )
        identity, cell = opinion.prediction_id, self._cell(opinion)
        if identity not in self._open or identity in self._answered or cell is None:
            return opinion
        if not self.warranty.may_settle(opinion.identity, cell):
            return opinion
        audited = audit_draw(identity) < self._audit
        return msgspec.structs.replace(opinion, settles=True, audit_probability=self._audit, audited=audited)

    def due(self) -> list[Due]:
        """Return what is to be published on `tagged`. It stays due until `done`."""
        return [Due(opinion=opinion, item=self._kept.get(identity)) for identity, opinion in self._due.items()]

    def done(self, opinion: SecondOpinion) -> None:
        """Note that the decision of an opinion is on `tagged`, or cannot be."""
        self._due.pop(opinion.prediction_id, None)
        self._kept.pop(opinion.prediction_id, None)

    def _cell(self, opinion: SecondOpinion) -> Cell | None:
        if opinion.label is None:
            return None
        cell = self._cells.of(opinion.label, agrees=opinion.label == opinion.model_tag, score=opinion.score)
        # A label of an earlier bundle is in none of the cells.
        return cell if cell in self._cells else None

    def _note_gold(self, item: DecidedEvent, opinion: SecondOpinion) -> None:
        """Keep an item to ask about again. Later items tell less: an endpoint that has changed answers them like itself."""
        is_current = opinion.endpoint is not None and opinion.endpoint.generation == self.generation
        if opinion.label is None or not is_current or opinion.prediction_id in self._compared:
            return
        self._gold[opinion.prediction_id] = item
        if len(self._gold) > GOLD:
            del self._gold[max(self._gold, key=lambda one: (self._opinions[one].decided_ms, one))]

    def _asked_again(self, first: SecondOpinion, again: SecondOpinion) -> None:
        """Compare two answers about one item. Too many differences begin a new generation, of which nothing is known."""
        self._asked_again_ms = max(self._asked_again_ms, again.decided_ms)
        generations = {None if one.endpoint is None else one.endpoint.generation for one in (first, again)}
        if None in (first.label, again.label):
            return
        self._compared.add(again.prediction_id)
        self._gold.pop(again.prediction_id, None)
        if generations != {self.generation}:
            return
        self._same.append(first.label == again.label)
        if self._same.count(False) > GOLD_MAY_DIFFER:
            self._begin_generation(self.generation + 1)

    def _begin_generation(self, generation: int) -> None:
        if generation > self.generation:
            self.generation = generation
            self._same.clear()
            self._gold.clear()


def audit_draw(prediction_id: str) -> float:
    """
    Return a number from 0 to 1 by which it is drawn whether a person is asked about a settled item; the same for every process.

    >>> 0.0 <= audit_draw("6d1f4d0e-3b1a-5c7e-9f00-0123456789ab") < 1.0
    True
    """
    return int.from_bytes(hashlib.sha256(b"audit of a second opinion\n" + prediction_id.encode()).digest()[:8], "big") / 2**64
