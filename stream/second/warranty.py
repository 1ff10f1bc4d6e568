"""
The warranty of a second opinion: which items it may settle without a person, and what it has settled so far.

A `Warranty` takes facts: opinions of the second, and answers of people. The tests are in `stream/second/proof.py`.

**Order.** A sequential test needs one order of the items that everybody agrees on and that no answer can change. Here it is the recorded
time of the opinion, then the event's id. So facts may be taken in any order and any number of times: after the same facts each process has
the same warranty. Of two opinions about one event the earlier counts, of two answers the newer. There is no clock: the time is that of
the newest opinion, so that a reviewer's clock that is wrong makes no other audit late.

**The way of a cell.** While it has no certificate, its items are sent to people, and all are asked about. With a certificate it may be settled;
of what is settled, audits are drawn with a known probability. If the audits withdraw the certificate (`stream/second/tries.py`), the cell
begins again, with the items that come later and with a smaller risk. An audit without an answer after `LATE_DAYS` counts as wrong.

**Fingerprints.** An answer proves something about the second that gave the opinion, and about no other. So whatever changes the second must
change its fingerprint: the endpoint's own, the prompt, what it answers to gold items.

**Speed.** A look at a cell compares counts (`proof.needed`), and only if a fact has changed something for the cell.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from tagstream.model_export.calibrate import martingale
from tagstream.model_export.calibrate.intervals import Interval
from tagstream.model_export.calibrate.martingale import WeightedAnswers
from tagstream.monitoring.quality.sample import Ints
from tagstream.stream.second import proof
from tagstream.stream.second.facts import Answer, Cell, Cells, Opinion, Place
from tagstream.stream.second.tries import Audit, Audits, Tries

DAY_MS = 86_400_000
LATE_DAYS = 7
_LATE_MS = LATE_DAYS * DAY_MS
MOST_EVIDENCE = math.log(1e12)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStatus:
    """
    What is known of one cell of a second.

    Attributes:
        cell: The cell.
        certified: Whether the second may settle it.
        withdrawn: How often audits have withdrawn its certificate.
        right: Answers of this try with which the second agrees, of items that all go to people.
        wrong: The other answers.
        unanswered: Items without an answer, which count as wrong, except the newest.
        evidence: The largest wealth that the bets of this try have had, at most 1e12.
        needed: The wealth that certifies the cell.
        missing_answers: About so many answers more certify it, if they are like those so far; None if that is out of reach.
        missing_days: The days until then, if items come as fast as so far.
    """

    cell: Cell
    certified: bool
    withdrawn: int
    right: int
    wrong: int
    unanswered: int
    evidence: float
    needed: float
    missing_answers: int | None
    missing_days: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarrantyStatus:
    """
    What is known of a warranty.

    Attributes:
        promise: The promised share right of what is settled.
        fingerprint: That of the newest opinion; None before the first opinion.
        cells: Its cells.
        bands: The scores at which a new band of cells begins.
        items: The items that the second was asked about.
        no_opinion: Of these, without an opinion.
        settled: Of these, settled without waiting for a person.
        audits: Of the settled ones, drawn for an audit.
        answered: Audits that have an answer.
        agreed: Audits with which the second agrees.
        right: The interval of the share right of all that was settled, at one look; None while nothing was.
        saved: The settled items that nobody was asked about or has answered all the same, such as one that was in a person's hands.
        saved_right: The interval of the number of these that are right.
    """

    promise: float
    fingerprint: str | None
    cells: tuple[CellStatus, ...]
    bands: tuple[float, ...]
    items: int
    no_opinion: int
    settled: int
    audits: int
    answered: int
    agreed: int
    right: Interval | None
    saved: int
    saved_right: tuple[int, int]

    @property
    def fewer(self) -> float:
        """The share of the items that people need not answer, audits counted as work."""
        return self.saved / self.items if self.items else 0.0


@dataclass(slots=True)
class _Asked:
    """The items of a cell that all go to people, in order, and whether people have said that the second is right."""

    places: list[Place] = field(default_factory=list)
    right: bytearray = field(default_factory=bytearray)
    changes: int = 0

    def begin(self, at_ms: int) -> int:
        """Return the index of the first item after this time."""
        return bisect_left(self.places, (at_ms + 1, ""))

    def add(self, place: Place, *, right: bool) -> None:
        index = bisect_left(self.places, place)
        # The newest item waits for its answer, and changes nothing.
        self.changes += right or index < len(self.places)
        self.places.insert(index, place)
        self.right.insert(index, right)

    def answer(self, place: Place, *, right: bool) -> None:
        index = bisect_left(self.places, place)
        self.changes += self.right[index] != right
        self.right[index] = right

    def remove(self, place: Place) -> None:
        index = bisect_left(self.places, place)
        self.changes += 1
        del self.places[index], self.right[index]

    def counts(self, begin: int) -> Ints:
        """Return how many of the first n items from this index on are right, for each n from 0, shape (items + 1,)."""
        found = np.zeros(len(self.right) - begin + 1, dtype=np.int64)
        np.cumsum(np.frombuffer(self.right, dtype=np.uint8)[begin:], out=found[1:])
        return found


@dataclass(slots=True)
class _Second:
    """One fingerprint: the place of its first opinion, what people are asked, and its audits."""

    first: Place
    audits: Audits
    asked: defaultdict[Cell, _Asked] = field(default_factory=lambda: defaultdict(_Asked))
    # What the last look at a cell depended on, and what it found.
    looks: dict[Cell, tuple[tuple[int, ...], bool]] = field(default_factory=dict)


class Warranty:
    """The warranty of one group's second opinions."""

    def __init__(self, promise: float, cells: Cells, *, alpha: float = 0.05, audited_at_least: float = 0.05) -> None:
        """
        Begin without a fact.

        Args:
            promise: The share right of what is settled, above 0 and below 1.
            cells: All cells.
            alpha: The risk over all cells, fingerprints and tries that any certificate is false.
            audited_at_least: The least probability of an audit that these facts have ever had. Tests count on it.

        Raises:
            ValueError: A number is out of its range.
        """
        for name, number in (("promise", promise), ("alpha", alpha)):
            if not 0 < number < 1:
                msg = f"{name}={number} is no share between 0 and 1: give such as 0.95 for the promise and 0.05 for alpha"
                raise ValueError(msg)
        if not 0 < audited_at_least <= 1:
            msg = f"audited_at_least={audited_at_least} is no probability above 0: without audits nothing may be settled"
            raise ValueError(msg)
        self.promise, self.cells, self.alpha = promise, cells, alpha
        self._audited_at_least = audited_at_least
        self._opinions: dict[str, Opinion] = {}
        self._answers: dict[str, Answer] = {}
        self._first_answer_ms: dict[str, int] = {}
        self._seconds: dict[str, _Second] = {}
        # The first places of all seconds, in order.
        self._firsts: list[Place] = []
        # Audits that are not late yet: when they will be, and the event's id.
        self._waiting: list[Place] = []
        self._needed: dict[float, Ints] = {}
        self._now_ms = 0

    def take(self, fact: Opinion | Answer) -> None:
        """
        Take a fact, new or known, in any order.

        Raises:
            ValueError: An opinion that the tests cannot count.
        """
        if isinstance(fact, Opinion):
            self._check(fact)
            self._now_ms = max(self._now_ms, fact.at_ms)
            self._take_opinion(fact)
            self._find_late()
        else:
            self._take_answer(fact)

    def may_settle(self, fingerprint: str, cell: Cell) -> bool:
        """Return whether an item of this cell may be settled by this second now."""
        second = self._seconds.get(fingerprint)
        if second is None or cell not in self.cells:
            return False
        tries, asked = second.audits.tries(), second.asked[cell]
        upon = (self._number(second), tries.number_of(cell), tries.begin_of(cell), asked.changes)
        known = second.looks.get(cell)
        if known is None or known[0] != upon:
            known = second.looks[cell] = upon, self._is_certified(asked, asked.begin(upon[2]), self._risk(second, tries, cell))
        return known[1]

    def status(self) -> WarrantyStatus:
        """Return what is known now."""
        settled = [one for one in self._opinions.values() if one.settled]
        audits = [one for one in settled if one.asked]
        answered = [one for one in audits if one.event_id in self._answers]
        # By the probability of the audit: settled; of these neither drawn nor answered; answered audits; right ones.
        kinds = sorted({one.probability for one in settled})
        of_all, spared, seen, right = (
            np.array([number[kind] for kind in kinds], dtype=np.int64)
            for number in (
                Counter(one.probability for one in settled),
                Counter(one.probability for one in settled if not one.asked and one.event_id not in self._answers),
                Counter(one.probability for one in answered),
                Counter(one.probability for one in answered if self._is_right(one)),
            )
        )
        agreed, saved = int(right.sum()), int(spared.sum())
        bounds = [
            (agreed + (of_all - seen).sum() * bound) / max(1, len(settled))
            for bound in proof.share_right(right, seen - right, of_all - seen)
        ]
        low, high = proof.share_right(right, seen - right, spared)
        said = (one for one in self._opinions.values() if one.cell is not None)
        newest = max(said, key=lambda one: one.place, default=None)
        return WarrantyStatus(
            promise=self.promise,
            fingerprint=None if newest is None else newest.fingerprint,
            cells=() if newest is None else tuple(self._cells(newest.fingerprint)),
            bands=self.cells.bands,
            items=len(self._opinions),
            no_opinion=sum(one.cell is None for one in self._opinions.values()),
            settled=len(settled),
            audits=len(audits),
            answered=len(answered),
            agreed=agreed,
            right=(float(bounds[0]), float(bounds[1])) if settled else None,
            saved=saved,
            saved_right=(math.floor(saved * low), math.ceil(saved * high)),
        )

    def _check(self, one: Opinion) -> None:
        if one.cell is not None and one.cell not in self.cells:
            msg = (
                f"event {one.event_id}: {one.cell} is none of the cells of {self.cells}: labels and bands are fixed in advance"
            )
        elif one.settled and one.cell is None:
            msg = f"event {one.event_id} was settled without an opinion: give its cell"
        elif one.settled and not 0 < one.probability <= 1:
            msg = (
                f"event {one.event_id} was settled and audited with a probability of {one.probability:g}: give one above 0 and at "
                "most 1; what is never audited may not be settled"
            )
        elif one.settled and one.probability < self._audited_at_least:
            msg = (
                f"event {one.event_id} was audited with a probability of {one.probability:g}, and the warranty counts on "
                f"{self._audited_at_least:g} or more: give audited_at_least={one.probability:g}"
            )
        elif not one.settled and not (one.asked and one.probability == 1):
            msg = f"event {one.event_id} was not settled, and people are not asked for sure: no proof can count it"
        elif one.at_ms < 0:
            msg = f"event {one.event_id}: its opinion is of the time {one.at_ms} ms, before 1970: give milliseconds since then"
        else:
            return
        raise ValueError(msg)

    def _take_opinion(self, one: Opinion) -> None:
        known = self._opinions.get(one.event_id)
        if known is not None:
            if (known.place, repr(known)) <= (one.place, repr(one)):
                return
            self._forget(known)
        self._opinions[one.event_id] = one
        if one.cell is None:
            # The model that did not answer is not known: an endpoint names its model in its answers.
            return
        second = self._seconds.get(one.fingerprint)
        if second is None:
            second = _Second(first=one.place, audits=Audits(promise=self.promise, largest=1.0 / self._audited_at_least))
            self._seconds[one.fingerprint] = second
            insort(self._firsts, second.first)
        elif one.place < second.first:
            self._begin(second, one.place)
        if one.settled:
            self._follow(one)
            heappush(self._waiting, (one.at_ms + _LATE_MS, one.event_id))
        else:
            second.asked[one.cell].add(one.place, right=self._is_right(one))

    def _find_late(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._now_ms:
            late = self._opinions[heappop(self._waiting)[1]]
            if late.settled:
                self._follow(late)

    def _forget(self, known: Opinion) -> None:
        """Forget an opinion, for an earlier one about the same event has come."""
        del self._opinions[known.event_id]
        if known.cell is None:
            return
        second = self._seconds[known.fingerprint]
        if known.settled:
            second.audits.put(known.event_id, None)
        else:
            second.asked[known.cell].remove(known.place)
        if known.place == second.first:
            own = (one for one in self._opinions.values() if one.fingerprint == known.fingerprint and one.cell is not None)
            left = min((one.place for one in own), default=None)
            self._begin(second, left)
            if left is None:
                del self._seconds[known.fingerprint]

    def _begin(self, second: _Second, first: Place | None) -> None:
        """Set the place of the first opinion; None if there is none left."""
        del self._firsts[bisect_left(self._firsts, second.first)]
        if first is not None:
            second.first = first
            insort(self._firsts, first)

    def _take_answer(self, answer: Answer) -> None:
        before = self._first_answer_ms.get(answer.event_id, answer.at_ms)
        self._first_answer_ms[answer.event_id] = min(before, answer.at_ms)
        known = self._answers.get(answer.event_id)
        if known is None or known.rank < answer.rank:
            self._answers[answer.event_id] = answer
        opinion = self._opinions.get(answer.event_id)
        if opinion is None or opinion.cell is None:
            return
        if opinion.settled:
            self._follow(opinion)
        else:
            self._seconds[opinion.fingerprint].asked[opinion.cell].answer(opinion.place, right=self._is_right(opinion))

    def _follow(self, one: Opinion) -> None:
        """Set what is known of the audit of a settled item."""
        assert one.cell is not None, "only opinions are settled"
        late_ms = one.at_ms + _LATE_MS
        answered = self._first_answer_ms.get(one.event_id, math.inf)
        if answered <= late_ms:
            place, wrong = (max(int(answered), one.at_ms), one.event_id), not self._is_right(one)
        else:
            place, wrong = (late_ms, one.event_id), True
        known = one.asked and (answered <= late_ms or late_ms <= self._now_ms)
        audit = Audit(place=place, cell=one.cell, at_ms=one.at_ms, probability=one.probability, wrong=wrong)
        self._seconds[one.fingerprint].audits.put(one.event_id, audit if known else None)

    def _is_right(self, opinion: Opinion) -> bool:
        answer = self._answers.get(opinion.event_id)
        return answer is not None and opinion.cell is not None and answer.label == opinion.cell.label

    def _number(self, second: _Second) -> int:
        return bisect_right(self._firsts, second.first)

    def _risk(self, second: _Second, tries: Tries, cell: Cell) -> float:
        return proof.risk_of_try(self.alpha, len(self.cells), self._number(second), tries.number_of(cell)).item()

    def _is_certified(self, asked: _Asked, begin: int, risk: float) -> bool:
        if asked.right.count(1, begin) < proof.least_right(promise=self.promise, risk=risk):
            return False
        right = asked.counts(begin)
        needed = self._needed.get(risk)
        if needed is None or len(needed) < len(right):
            needed = self._needed[risk] = proof.needed(2 * len(right), promise=self.promise, risk=risk)
        return bool((right >= needed[: len(right)]).any())

    def _cells(self, fingerprint: str) -> Iterator[CellStatus]:
        second = self._seconds[fingerprint]
        tries = second.audits.tries()
        for cell in self.cells.every():
            asked, risk = second.asked[cell], self._risk(second, tries, cell)
            begin, certified = asked.begin(tries.begin_of(cell)), self.may_settle(fingerprint, cell)
            right = asked.counts(begin)
            answered = [event_id in self._answers for _, event_id in asked.places[begin:]]
            missing = 0 if certified else self._missing(right, answered, risk)
            days = (self._now_ms - asked.places[begin][0]) / DAY_MS / len(answered) if answered else None
            evidence = proof.evidence(right, np.arange(len(right)), promise=self.promise).max()
            yield CellStatus(
                cell=cell,
                certified=certified,
                withdrawn=tries.number_of(cell) - 1,
                right=int(right[-1]),
                wrong=sum(answered) - int(right[-1]),
                unanswered=len(answered) - sum(answered),
                evidence=math.exp(min(evidence, MOST_EVIDENCE)),
                needed=1.0 / risk,
                missing_answers=missing,
                missing_days=None if missing is None or days is None else missing * days,
            )

    def _missing(self, right: Ints, answered: Sequence[bool], risk: float) -> int | None:
        """Return about how many answers more are needed; None if out of reach, or if nothing is known."""
        # The newest items wait for their answers, and say nothing yet.
        known = max((index for index, has_answer in enumerate(answered, start=1) if has_answer), default=0)
        if not known:
            return None
        agreed = int(right[-1])
        answers = WeightedAnswers(
            right=np.array([True, False]), weight=np.ones(2), count=np.array([agreed, known - agreed]), largest=1.0
        )
        times = martingale.times_needed(answers, target=self.promise, risk=risk)
        return None if times is None else max(1, math.ceil((times - 1) * known))
