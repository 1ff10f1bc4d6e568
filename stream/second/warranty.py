"""
The warranty of a second opinion: which items it may settle without a person, and what it has settled so far.

A `Warranty` takes facts: opinions of the second, and answers of people. The tests are in `stream/second/proof.py`.

**Order.** A sequential test needs one order of the items that everybody agrees on and that no answer can change. Here it is the recorded
time of the opinion, then the event's id. So facts may be taken in any order and any number of times: after the same facts each process has
the same warranty. Of two opinions about one event the earlier counts, of two answers the newer. There is no clock: the time is that of
the newest fact.

**The way of a cell.** While it has no certificate, its items are sent to people, and all are asked about. With a certificate it may be settled;
of what is settled, audits are drawn with a known probability. If the audits withdraw the certificate, the cell begins again, with the items
that come later and with a smaller risk. An audit without an answer after `LATE_DAYS` counts as wrong.

**Fingerprints.** An answer proves something about the second that gave the opinion, and about no other. So whatever changes the second must
change its fingerprint: the endpoint's own, the prompt, what it answers to gold items.
"""

import math
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tagstream.model_export.calibrate import martingale
from tagstream.model_export.calibrate.intervals import Interval
from tagstream.model_export.calibrate.martingale import WeightedAnswers
from tagstream.monitoring.quality.sample import Floats
from tagstream.stream.second import proof

DAY_MS = 86_400_000
LATE_DAYS = 7

Place = tuple[int, str]
"""Where an item is in the order: the time of its opinion, in milliseconds, and its event's id."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cell:
    """
    A kind of opinions that is certified by itself.

    Attributes:
        label: The second's label.
        agrees: Whether it is the model's label too.
        band: The band of the second's score, 0 for the lowest.
    """

    label: str
    agrees: bool
    band: int = 0


@dataclass(frozen=True, slots=True)
class Cells:
    """
    All cells. They are fixed before the first answer: the risk is divided by their number.

    Attributes:
        labels: The labels that the second may give.
        bands: The scores at which a new band begins, ascending, above 0 and at most 1. None if the second gives no scores.
    """

    labels: tuple[str, ...]
    bands: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """
        Check the labels and the bands.

        Raises:
            ValueError: There are fewer than two labels, a label is there twice, or the bands do not ascend from 0 to 1.
        """
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:  # noqa: PLR2004
            msg = f"the labels {list(self.labels)} make no cells: give two or more, each once"
            raise ValueError(msg)
        if list(self.bands) != sorted(set(self.bands)) or not all(0 < band <= 1 for band in self.bands):
            msg = f"the score bands {list(self.bands)} do not ascend between 0 and 1: give such as [0.8, 0.95]"
            raise ValueError(msg)

    def __len__(self) -> int:
        """Return the number of cells."""
        return 2 * len(self.labels) * (len(self.bands) + 1)

    def of(self, label: str, *, agrees: bool, score: float | None = None) -> Cell:
        """
        Return the cell of an opinion. Without a score it is in the lowest band.

        >>> Cells(("a", "b"), bands=(0.8, 0.95)).of("a", agrees=False, score=0.9).band
        1
        """
        return Cell(label=label, agrees=agrees, band=0 if score is None else sum(score >= band for band in self.bands))

    def __contains__(self, cell: Cell) -> bool:
        """Return whether it is one of the cells."""
        return cell.label in self.labels and 0 <= cell.band <= len(self.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """
    One opinion of the second, and what followed from it.

    Attributes:
        event_id: The event's id.
        at_ms: The time that the opinion's record says, in milliseconds.
        fingerprint: Which second gave it.
        cell: Its cell; None if the second gave no opinion, and the item went to people.
        settled: Whether the item was settled without waiting for a person.
        probability: The probability with which people are asked about the item: 1 if it was not settled, else that of an audit.
        asked: Whether people are asked.
    """

    event_id: str
    at_ms: int
    fingerprint: str
    cell: Cell | None
    settled: bool = False
    probability: float = 1.0
    asked: bool = True

    @property
    def place(self) -> Place:
        """Where the item is in the order."""
        return self.at_ms, self.event_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    One answer of a person.

    Attributes:
        event_id: The event's id.
        at_ms: The time that the answer's record says, in milliseconds.
        label: The label that the person gave; None for none of the labels.
    """

    event_id: str
    at_ms: int
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStatus:
    """
    What is known of one cell of the newest fingerprint.

    Attributes:
        cell: The cell.
        certified: Whether the second may settle it.
        withdrawn: How often audits have withdrawn its certificate.
        right: Answers of this try with which the second agrees, of items that all go to people.
        wrong: The other answers.
        unanswered: Items without an answer, which count as wrong, except the newest.
        evidence: The wealth of the bets, at most 1e12.
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
        fingerprint: The newest one; None before the first opinion.
        cells: Its cells.
        items: The items that the second was asked about.
        no_opinion: Of these, without an opinion.
        settled: Of these, settled without waiting for a person.
        audits: Of the settled ones, drawn for an audit.
        answered: Audits that have an answer.
        agreed: Audits with which the second agrees.
        right: The interval of the share right of all that was settled, at one look; None while nothing was.
        saved: The settled items that nobody was asked about.
        saved_right: The interval of the number of these that are right.
    """

    fingerprint: str | None
    cells: tuple[CellStatus, ...]
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
class _Second:
    """One fingerprint: its first place, its asked items by cell, its audits, and where the present tries begin."""

    first: Place
    asked: defaultdict[Cell, list[Place]] = field(default_factory=lambda: defaultdict(list))
    audits: dict[str, Opinion] = field(default_factory=dict)
    tries: "_Tries | None" = None


@dataclass(slots=True)
class _Tries:
    """Where the present try of each cell begins, and how often its certificate was withdrawn; valid until an audit may have become late."""

    until_ms: float
    begins: dict[Cell, int] = field(default_factory=dict)
    withdrawn: Counter[Cell] = field(default_factory=Counter)
    of_all: int = 0
    all_begin: int = -1

    def begin_of(self, cell: Cell) -> int:
        return max(self.begins.get(cell, -1), self.all_begin)

    def number_of(self, cell: Cell) -> int:
        return 1 + self.withdrawn[cell] + self.of_all


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
        self._largest = 1.0 / audited_at_least
        self._opinions: dict[str, Opinion] = {}
        self._answers: dict[str, Answer] = {}
        self._first_answer_ms: dict[str, int] = {}
        self._seconds: dict[str, _Second] = {}
        self._certified: dict[tuple[str, Cell], bool] = {}
        self._now_ms = 0

    def take(self, fact: Opinion | Answer) -> None:
        """
        Take a fact, new or known, in any order.

        Raises:
            ValueError: An opinion that the tests cannot count: of an unknown cell, or audited more rarely than they count on.
        """
        if isinstance(fact, Opinion):
            self._take_opinion(fact)
        else:
            self._take_answer(fact)
        self._now_ms = max(self._now_ms, fact.at_ms)

    def may_settle(self, fingerprint: str, cell: Cell) -> bool:
        """Return whether an item of this cell may be settled by this second now."""
        second = self._seconds.get(fingerprint)
        if second is None or cell not in self.cells:
            return False
        tries = self._tries(second)
        known = self._certified.get((fingerprint, cell))
        if known is None:
            known = self._evidence(second, tries, cell) >= -math.log(self._risk(fingerprint, tries, cell))
            self._certified[fingerprint, cell] = known
        return known

    def status(self) -> WarrantyStatus:
        """Return what is known now."""
        newest = max(self._seconds, key=lambda one: self._seconds[one].first, default=None)
        settled = [one for one in self._opinions.values() if one.settled]
        audits = [one for one in settled if one.asked]
        answered = [one for one in audits if one.event_id in self._answers]
        kinds = Counter((one.probability, self._is_right(one)) for one in answered)
        probability = sorted({each for each, _ in kinds})
        right, wrong = (np.array([float(kinds[each, is_right]) for each in probability]) for is_right in (True, False))
        unseen, agreed = len(settled) - len(answered), int(right.sum())
        low, high = proof.share_right(right, wrong, np.array(probability), unseen)
        saved = len(settled) - len(audits)
        return WarrantyStatus(
            fingerprint=newest,
            cells=() if newest is None else self._cells(newest),
            items=len(self._opinions),
            no_opinion=sum(one.cell is None for one in self._opinions.values()),
            settled=len(settled),
            audits=len(audits),
            answered=len(answered),
            agreed=agreed,
            right=((agreed + unseen * low) / len(settled), (agreed + unseen * high) / len(settled)) if settled else None,
            saved=saved,
            saved_right=(math.floor(saved * low), math.ceil(saved * high)),
        )

    def _take_opinion(self, one: Opinion) -> None:
        if one.cell is not None and one.cell not in self.cells:
            msg = (
                f"event {one.event_id}: {one.cell} is none of the cells of {self.cells}: labels and bands are fixed in advance"
            )
            raise ValueError(msg)
        if one.settled and not 1.0 / self._largest <= one.probability <= 1.0:
            msg = (
                f"event {one.event_id} was audited with a probability of {one.probability:g}, and the warranty counts on "
                f"{1 / self._largest:g} to 1: give audited_at_least={one.probability:g}"
            )
            raise ValueError(msg)
        if not one.settled and not (one.asked and one.probability == 1):
            msg = f"event {one.event_id} was not settled, and people are not asked for sure: no proof can count it"
            raise ValueError(msg)
        known = self._opinions.get(one.event_id)
        if known is not None:
            if (known.place, repr(known)) <= (one.place, repr(one)):
                return
            self._forget(known)
        self._opinions[one.event_id] = one
        second = self._seconds.get(one.fingerprint)
        if second is None:
            second = self._seconds[one.fingerprint] = _Second(first=one.place)
        if second.first >= one.place:
            second.first = one.place
            # Numbers of seconds, and so their risks, may change.
            self._certified.clear()
        if one.cell is not None:
            self._place(second, one, one.cell)

    def _place(self, second: _Second, one: Opinion, cell: Cell) -> None:
        if one.settled and one.asked:
            second.audits[one.event_id] = one
            second.tries = None
        elif not one.settled:
            places = second.asked[cell]
            if places and one.place < places[-1]:
                # As the newest item it would wait for its answer, and change nothing.
                self._certified.pop((one.fingerprint, cell), None)
            insort(places, one.place)

    def _forget(self, known: Opinion) -> None:
        second = self._seconds[known.fingerprint]
        second.audits.pop(known.event_id, None)
        second.tries = None
        if known.cell is not None and not known.settled:
            places = second.asked[known.cell]
            del places[bisect_left(places, known.place)]
        del self._opinions[known.event_id]
        places_left = [one.place for one in self._opinions.values() if one.fingerprint == known.fingerprint]
        if places_left:
            second.first = min(places_left)
        else:
            del self._seconds[known.fingerprint]
        self._certified.clear()

    def _take_answer(self, answer: Answer) -> None:
        before = self._first_answer_ms.get(answer.event_id, answer.at_ms)
        self._first_answer_ms[answer.event_id] = min(before, answer.at_ms)
        known = self._answers.get(answer.event_id)
        if known is None or (known.at_ms, known.label or "") < (answer.at_ms, answer.label or ""):
            self._answers[answer.event_id] = answer
        opinion = self._opinions.get(answer.event_id)
        if opinion is None or opinion.cell is None:
            return
        if opinion.settled:
            self._seconds[opinion.fingerprint].tries = None
        else:
            self._certified.pop((opinion.fingerprint, opinion.cell), None)

    def _is_right(self, opinion: Opinion) -> bool:
        answer = self._answers.get(opinion.event_id)
        return answer is not None and opinion.cell is not None and answer.label == opinion.cell.label

    def _risk(self, fingerprint: str, tries: _Tries, cell: Cell) -> float:
        first = self._seconds[fingerprint].first
        number = sum(one.first <= first for one in self._seconds.values())
        return proof.risk_of_try(self.alpha, len(self.cells), number, tries.number_of(cell)).item()

    def _evidence(self, second: _Second, tries: _Tries, cell: Cell) -> float:
        """Return the log wealth of the best beginning of the cell's present try."""
        right = self._asked(second, tries, cell)
        if not right:
            return 0.0
        found = martingale.log_wealth(
            WeightedAnswers(
                right=np.array([one is True for one in right]),
                weight=np.ones(len(right)),
                count=np.ones(len(right), dtype=np.int64),
                largest=1.0,
            ),
            target=self.promise,
            places=np.arange(len(right) + 1),
        )
        return float(found.max())

    def _asked(self, second: _Second, tries: _Tries, cell: Cell) -> list[bool | None]:
        """Return, for each item of the cell's present try, whether the second was right; None without an answer."""
        places = second.asked[cell]
        begin = bisect_left(places, (tries.begin_of(cell) + 1, ""))
        return [
            self._is_right(self._opinions[event_id]) if event_id in self._answers else None for _, event_id in places[begin:]
        ]

    def _tries(self, second: _Second) -> _Tries:
        """Follow the audits in the order in which their answers came, or became late."""
        if second.tries is not None and self._now_ms < second.tries.until_ms:
            return second.tries
        late = LATE_DAYS * DAY_MS
        steps, until = [], math.inf
        for one in second.audits.values():
            answered = self._first_answer_ms.get(one.event_id)
            in_time = answered is not None and answered <= one.at_ms + late
            if in_time or one.at_ms + late <= self._now_ms:
                when = max(answered, one.at_ms) if answered is not None and in_time else one.at_ms + late
                steps.append(((when, one.event_id), one, in_time and self._is_right(one)))
            else:
                until = min(until, one.at_ms + late)
        before, second.tries = second.tries, self._followed(sorted(steps, key=lambda step: step[0]), until)
        if before is None or (before.begins, before.all_begin) != (second.tries.begins, second.tries.all_begin):
            self._certified.clear()
        return second.tries

    def _followed(self, steps: Sequence[tuple[Place, Opinion, bool]], until_ms: float) -> _Tries:
        tries = _Tries(until_ms=until_ms)
        of_cell: dict[Cell, Floats] = {}
        of_all = proof.begun()
        for (when, _), one, right in steps:
            assert one.cell is not None, "only opinions are settled"
            if one.at_ms <= tries.begin_of(one.cell):
                continue
            wrong, weight = np.array(float(not right)), np.array(1.0 / one.probability)
            logged = of_cell.get(one.cell, proof.begun())
            of_cell[one.cell], of_all = (
                proof.watched(before, wrong, weight, promise=self.promise, largest=self._largest) for before in (logged, of_all)
            )
            if proof.alarmed(of_all):
                tries.of_all, tries.all_begin = tries.of_all + 1, when
                of_cell, of_all = {}, proof.begun()
            elif proof.alarmed(of_cell[one.cell]):
                tries.withdrawn[one.cell] += 1
                tries.begins[one.cell] = when
                del of_cell[one.cell]
        return tries

    def _cells(self, fingerprint: str) -> tuple[CellStatus, ...]:
        bands = range(len(self.cells.bands) + 1)
        cells = [
            Cell(label=label, agrees=agrees, band=band)
            for label in self.cells.labels
            for agrees in (True, False)
            for band in bands
        ]
        return tuple(self._cell(fingerprint, cell) for cell in cells)

    def _cell(self, fingerprint: str, cell: Cell) -> CellStatus:
        second = self._seconds[fingerprint]
        tries = self._tries(second)
        asked, certified = self._asked(second, tries, cell), self.may_settle(fingerprint, cell)
        risk, counts = self._risk(fingerprint, tries, cell), Counter(asked)
        missing = 0 if certified else self._missing(asked, risk)
        return CellStatus(
            cell=cell,
            certified=certified,
            withdrawn=tries.number_of(cell) - 1,
            right=counts[True],
            wrong=counts[False],
            unanswered=counts[None],
            evidence=math.exp(min(self._evidence(second, tries, cell), 12 * math.log(10))),
            needed=1.0 / risk,
            missing_answers=missing,
            missing_days=None if missing is None else missing * self._days_an_item(second, tries, cell),
        )

    def _missing(self, asked: Sequence[bool | None], risk: float) -> int | None:
        """Return about how many answers more are needed; None if out of reach, or if nothing is known."""
        # The newest items wait for their answers, and say nothing yet.
        known = list(asked)
        while known and known[-1] is None:
            known.pop()
        if not known:
            return None
        right = sum(one is True for one in known)
        answers = WeightedAnswers(
            right=np.array([True, False]), weight=np.ones(2), count=np.array([right, len(known) - right]), largest=1.0
        )
        times = martingale.times_needed(answers, target=self.promise, risk=risk)
        return None if times is None else max(1, math.ceil((times - 1) * len(known)))

    def _days_an_item(self, second: _Second, tries: _Tries, cell: Cell) -> float:
        places = second.asked[cell]
        begin = bisect_left(places, (tries.begin_of(cell) + 1, ""))
        span = self._now_ms - places[begin][0]
        return span / DAY_MS / (len(places) - begin)
