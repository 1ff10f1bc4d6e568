"""What the stream is worth: people's time and wrong publications, beside a stream that asks people about everything or about nothing.

An item of people's work counts the median time of an answer (`amounts.py`), or has a price of its own. In each plausible version of the
stream, what mistakes cost is that of the version (`mistake_cost`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tagstream.monitoring.quality.amounts import Amount, Versions, minute_of
from tagstream.monitoring.quality.costs import COSTS_FILE, Costs, CostsError
from tagstream.monitoring.quality.estimate import DRAWS, LEAST_ANSWERS, Estimate, Figure, accuracy, mistake_cost
from tagstream.monitoring.quality.report import QualityReport
from tagstream.monitoring.quality.reviewers import Reviewers
from tagstream.monitoring.quality.sample import Floats, Ints, Population, Sample

NOW, EVERYTHING, NOTHING = WAYS = ("now", "everything", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    The decisions of a day, of a bundle, or of the window.

    Attributes:
        name: The day in UTC, or the bundle.
        tagged: The number of decisions that were published without a person.
        review: The number of decisions that went to people.
        answers: The number of people's answers about these decisions.
        waiting: The number of items that wait for an answer.
        sample: The decisions that were drawn for people, as in `Window`.
        population: The decisions whose accuracy the sample measures: those of rules, or of models with other labels, are left out.
    """

    name: str
    tagged: int
    review: int
    answers: int
    waiting: int
    sample: Sample
    population: Population

    @property
    def events(self) -> int:
        """The number of decisions."""
        return self.tagged + self.review

    @property
    def items(self) -> int:
        """The number of items of people's work, done or waiting."""
        return self.answers + self.waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """
    The figures of one part.

    Attributes:
        name: As in `Part`.
        events: The number of decisions.
        published: The number of decisions that were published without a person.
        alone: The share of these, 0 to 1.
        answers: The number of people's answers.
        waiting: The number of items that wait for an answer.
        minutes: People's minutes for these answers; None with too few times.
        saved_minutes: The minutes of one answer about each decision, less those of the answers and of the waiting items.
        right: The share of the published decisions that is right.
        cost: Minutes, also of waiting items, and mistakes in money; None without prices, times or answers.
    """

    name: str
    events: int
    published: int
    alone: float
    answers: int
    waiting: int
    minutes: Amount | None
    saved_minutes: Amount | None
    right: Figure
    cost: Amount | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """
    The window under one way to decide.

    Attributes:
        name: `now`, as it was decided; `everything` to people; or `nothing` to people, so that the model's tag stands everywhere.
        items: The number of items of people's work, done or waiting.
        minutes: People's minutes; None with too few times.
        wrong: The number of wrong publications, people's answers taken as right; None with too few answers.
        cost: Minutes and mistakes in money; None without prices, times or answers.
        more_minutes: The minutes of this way less those of `now`.
        more_cost: The cost of this way less that of `now`.
    """

    name: str
    items: int
    minutes: Amount | None
    wrong: Amount | None
    cost: Amount | None
    more_minutes: Amount | None
    more_cost: Amount | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueReport:
    """
    What the decisions of a window are worth.

    Attributes:
        currency: The unit of the money; empty if it has no name.
        priced: True if there are prices, so that each figure in money is known as far as times and answers are.
        unpriced: The reason why there is no money; empty if `priced`.
        seconds: The median time of one answer; None with too few times.
        times: The number of times that the median rests on.
        unmeasured: The number of published decisions whose mistakes are in no figure.
        whole: The figures of the window.
        ways: `now`, `everything` and `nothing`.
        days: The figures of each day, the newest first.
        bundles: The figures of each bundle, the newest first.
    """

    currency: str
    priced: bool
    unpriced: str
    seconds: Amount | None
    times: int
    unmeasured: int
    whole: Line
    ways: tuple[Way, ...]
    days: tuple[Line, ...]
    bundles: tuple[Line, ...]


def value(
    whole: Part,
    days: Sequence[Part],
    bundles: Sequence[Part],
    *,
    times_ms: Ints,
    report: QualityReport | None,
    costs: Costs | None,
) -> ValueReport:
    """
    Measure what a window is worth.

    Args:
        whole: All decisions of the window.
        days: Its parts by day, the newest first.
        bundles: Its parts by bundle, the newest first.
        times_ms: The time of each answer that has one, in milliseconds, in any order, [n].
        report: The live quality of the same window; None if no decision was drawn for people.
        costs: The prices; None for no money.
    """
    unpriced, prices = f"there is no {COSTS_FILE} in the working directory" if costs is None else "", None
    if costs is not None and whole.sample.labels:
        try:
            prices = costs.of_mistakes(whole.sample.labels)
        except CostsError as error:
            unpriced, costs = str(error), None
    minute = minute_of(times_ms)
    books = _Books(minute, report, costs, prices)
    return ValueReport(
        currency="" if costs is None else costs.currency,
        priced=costs is not None,
        unpriced=unpriced,
        seconds=None if minute is None else minute.times(60).amount,
        times=len(times_ms),
        unmeasured=whole.tagged - round(float(whole.population.decisions[0].sum())),
        whole=books.line(whole),
        ways=books.ways(whole),
        days=tuple(map(books.line, days)),
        bundles=tuple(map(books.line, bundles)),
    )


class _Books:
    """Counts one window under its prices."""

    def __init__(
        self, minute: Versions | None, report: QualityReport | None, costs: Costs | None, prices: Floats | None
    ) -> None:
        self._minute = minute
        self._report = report
        self._costs = costs
        self._prices = prices
        self._people: Reviewers | None = None if report is None else report.reviewers

    def line(self, part: Part) -> Line:
        right = self._right(part)
        wrong = self._mistakes(part, published=1, review=0) if right.shown else None
        return Line(
            name=part.name,
            events=part.events,
            published=part.tagged,
            alone=part.tagged / part.events if part.events else 0.0,
            answers=part.answers,
            waiting=part.waiting,
            minutes=_amount(self._of_people(part.answers)),
            saved_minutes=_amount(self._of_people(part.events - part.items)),
            right=right,
            cost=_amount(_sum(self._paid(part.items), wrong)),
        )

    def ways(self, whole: Part) -> tuple[Way, ...]:
        published = None if self._report is None else self._report.published
        model = None if self._report is None else self._report.model
        now = self._mistakes(whole, published=1, review=0) if _known(published) else None
        # The difference is measured on the decisions that differ: what is published now has the same mistakes under `nothing`.
        more = self._mistakes(whole, published=0, review=1) if _known(model) else None
        nothing = self._mistakes(whole, published=1, review=1) if _known(model) else None
        spared = None if now is None else now.times(-1)
        return (
            self._way(NOW, whole, whole.items, wrong=_wrong(published), mistakes=now, more=None),
            self._way(
                EVERYTHING,
                whole,
                whole.events,
                wrong=Amount(value=0, low=0, high=0),
                mistakes=_exactly(0.0),
                more=spared,
            ),
            self._way(NOTHING, whole, 0, wrong=_wrong(model), mistakes=nothing, more=more),
        )

    def _way(
        self,
        name: str,
        whole: Part,
        items: int,
        *,
        wrong: Amount | None,
        mistakes: Versions | None,
        more: Versions | None,
    ) -> Way:
        further = items - whole.items
        return Way(
            name=name,
            items=items,
            minutes=_amount(self._of_people(items)),
            wrong=wrong,
            cost=_amount(_sum(self._paid(items), mistakes)),
            more_minutes=None if name == NOW else _amount(self._of_people(further)),
            more_cost=None if name == NOW else _amount(_sum(self._paid(further), more)),
        )

    def _right(self, part: Part) -> Figure:
        answers = part.sample.decisions(part.sample.published & part.sample.settled)
        if answers < LEAST_ANSWERS:
            # It would not be shown, so it is not drawn.
            return Figure(value=None, low=0.0, high=1.0, answers=answers)
        return accuracy(part.sample, part.population, people=self._people)

    def _of_people(self, items: int) -> Versions | None:
        return None if self._minute is None else self._minute.times(items)

    def _paid(self, items: int) -> Versions | None:
        if self._costs is None:
            return None
        if self._costs.person_minute is None:
            return _exactly(items * self._costs.of_item())
        minutes = self._of_people(items)
        return None if minutes is None else minutes.times(self._costs.person_minute)

    def _mistakes(self, part: Part, *, published: int, review: int) -> Versions | None:
        """Return what the model's mistakes cost at these doors; None without prices."""
        if self._prices is None:
            return None
        prices = self._prices * published, self._prices * review
        found = mistake_cost(part.sample, part.population, prices, people=self._people)
        return Versions(value=found.value, versions=found.versions, level=found.level)


def _exactly(amount: float) -> Versions:
    return Versions(value=amount, versions=np.full(DRAWS, amount))


def _sum(one: Versions | None, other: Versions | None) -> Versions | None:
    return None if one is None or other is None else one + other


def _amount(found: Versions | None) -> Amount | None:
    return None if found is None else found.amount


def _known(found: Estimate | None) -> bool:
    return found is not None and found.accuracy.shown


def _wrong(found: Estimate | None) -> Amount | None:
    if found is None or not found.accuracy.shown or found.accuracy.value is None:
        return None
    right = found.accuracy
    return Amount(
        value=found.decisions * (1 - found.accuracy.value),
        low=found.decisions * (1 - right.high),
        high=found.decisions * (1 - right.low),
    )
