"""What a stream is worth: the intervals hold on streams with a known truth, and what is not known is not a number."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality.streams import LABELS, Stream, stream
from tagstream.monitoring.quality.amounts import LEAST_TIMES, Amount
from tagstream.monitoring.quality.costs import Costs
from tagstream.monitoring.quality.report import QualityReport, Window, measure
from tagstream.monitoring.quality.sample import Floats, Ints
from tagstream.monitoring.quality.value import Part, ValueReport, value
from tagstream.monitoring.quality.value_words import headline, tables

STREAMS = 60
EVENTS = 20_000
MEDIAN_SECONDS = 12.0
# A dear label, whose mistakes are few, decides most of the cost.
PRICES = {"natural-language-processing": 1.0, "computer-vision": 2.0, "mlops": 15.0, "other": 1.0}
COSTS = Costs(source="costs.toml", currency="EUR", person_minute=0.6, wrong_publication=PRICES)


def times(count: int, generator: np.random.Generator) -> Ints:
    """Times of answers in milliseconds: some take far longer than most, so the mean is twice the median."""
    found: Ints = (1000 * MEDIAN_SECONDS * generator.lognormal(0, 1.2, size=count)).astype(np.int64)
    return found


def part(one: Stream, *, answers: int, waiting: int = 0) -> Part:
    """The whole stream."""
    tagged, review = one.population.decisions.sum(axis=1)
    return Part(
        name="all",
        tagged=int(tagged),
        review=int(review),
        answers=answers,
        waiting=waiting,
        sample=one.drawn,
        population=one.population,
    )


def report_of(one: Stream) -> QualityReport:
    """Its live quality."""
    return measure(Window(sample=one.drawn, population=one.population, slices={}, movable=~one.drawn.published), promise=None)


def measured(one: Stream, times_ms: Ints, costs: Costs | None = COSTS) -> ValueReport:
    """Its worth, where people have answered five hundred items and two thousand wait."""
    whole = part(one, answers=500, waiting=2000)
    return value(whole, [], [], times_ms=times_ms, report=report_of(one), costs=costs)


def mistakes(one: Stream, rows: Floats) -> float:
    """The true cost of the model's mistakes on some events."""
    price = np.array([PRICES[label] for label in LABELS])[one.predicted]
    return float((price * (one.predicted != one.truth))[rows.astype(bool)].sum())


def test_intervals_in_money_hold_and_those_that_leave_out_a_part_do_not() -> None:
    """Over seeded streams; an interval of mistakes alone, or of time alone, is far too narrow for their sum."""
    held: dict[str, list[bool]] = {}

    def add(name: str, found: Amount | None, truth: float) -> None:
        assert found is not None
        held.setdefault(name, []).append(found.low <= truth <= found.high)

    for seed in range(STREAMS):
        one = stream(seed, EVENTS)
        given = times(60, np.random.default_rng([seed, 1]))
        found = measured(one, given)
        now, everything, nothing = found.ways
        minute = MEDIAN_SECONDS / 60 * COSTS.person_minute
        published, all_of_them = mistakes(one, one.published), mistakes(one, np.ones(EVENTS))
        true = {"now": 2500 * minute + published, "everything": EVENTS * minute, "nothing": all_of_them}
        for way in found.ways:
            add(way.name, way.cost, true[way.name])
        add("saved beside everything", everything.more_cost, true["everything"] - true["now"])
        add("saved beside nothing", nothing.more_cost, true["nothing"] - true["now"])
        add("wrong", now.wrong, float((one.predicted != one.truth)[one.published].sum()))
        # Two intervals that a reader could take for right: each takes the other part for known.
        assert now.cost is not None
        assert now.minutes is not None
        assert everything.cost is not None
        time = [bound * COSTS.person_minute for bound in (now.minutes.value, now.minutes.low, now.minutes.high)]
        mistake = now.cost.value - time[0]
        add("bad: time alone", Amount(value=now.cost.value, low=time[1] + mistake, high=time[2] + mistake), true["now"])
        mean = given.mean() / 60_000 * COSTS.person_minute * EVENTS
        reach = 1.96 * given.std() / np.sqrt(len(given)) / 60_000 * COSTS.person_minute * EVENTS
        add("bad: the mean's", Amount(value=mean, low=mean - reach, high=mean + reach), true["everything"])
    share = {name: np.mean(held_by) for name, held_by in held.items()}
    assert [name for name, found in share.items() if not name.startswith("bad") and found < 0.88] == [], share
    assert [name for name, found in share.items() if name.startswith("bad") and found > 0.75] == [], share


def test_an_item_with_a_price_needs_no_times() -> None:
    """Everything to people costs exactly that price for each event; other figures in money are known too."""
    found = measured(stream(3, EVENTS), times(0, np.random.default_rng(1)), replace(COSTS, person_minute=None, item=0.25))
    assert found.seconds is None
    assert found.ways[1].cost == Amount(value=EVENTS / 4, low=EVENTS / 4, high=EVENTS / 4)
    assert all(way.cost is not None for way in found.ways)


def test_a_mistake_costs_what_its_truth_costs() -> None:
    """The intervals hold over seeded streams; intervals by a label's price of the dear truth do not."""
    dear = Costs(
        source="costs.toml",
        currency="EUR",
        item=0.0,
        wrong_publication={name: {true: 50.0 * (true == LABELS[0]) for true in LABELS if true != name} for name in LABELS},
    )
    alike = replace(dear, wrong_publication=50.0)
    held: dict[str, list[bool]] = {"by truth": [], "by label": []}
    for seed in range(STREAMS // 3):
        one = stream(seed, EVENTS)
        truth = float(dear.of_mistakes(LABELS)[one.predicted, one.truth][one.published].sum())
        for name, costs in (("by truth", dear), ("by label", alike)):
            now = measured(one, times(0, np.random.default_rng(1)), costs).ways[0].cost
            assert now is not None
            held[name].append(now.low <= truth <= now.high)
    assert np.mean(held["by truth"]) >= 0.85, held
    assert np.mean(held["by label"]) < 0.5, held


@pytest.mark.parametrize("count", [LEAST_TIMES, 25, 200])
def test_the_interval_of_the_median_holds_for_any_number_of_times(count: int) -> None:
    """In about 95 of 100 draws, also with few times and long tails."""
    one = stream(1, 2000)
    report, whole, generator = report_of(one), part(one, answers=1), np.random.default_rng(5)
    held = []
    for _ in range(400):
        found = value(whole, [], [], times_ms=times(count, generator), report=report, costs=None).seconds
        assert found is not None
        held.append(found.low <= MEDIAN_SECONDS <= found.high)
    assert 0.92 <= np.mean(held) <= 0.99


def test_without_enough_times_minutes_and_money_are_not_known() -> None:
    """The sentence says how many answers are missing; wrong publications are known all the same."""
    found = measured(stream(1, EVENTS), np.array([9000] * (LEAST_TIMES - 1)))
    assert (found.seconds, found.whole.minutes, found.whole.cost) == (None, None, None)
    assert found.ways[0].wrong is not None
    assert "that takes 6 answers with a time, and there are 5" in headline(found, days=30)
    assert "not known" in {cell for table in tables(found) for row in table.rows for cell in row}


def test_without_enough_answers_no_mistake_has_a_price() -> None:
    """Nine audits say nothing of thousands of decisions."""
    one = stream(1, EVENTS)
    few = one.drawn.where((one.drawn.published & one.drawn.settled).cumsum() <= 9)
    report = measure(Window(sample=few, population=one.population, slices={}, movable=~few.published), promise=None)
    whole = Part(name="all", tagged=9000, review=9000, answers=9, waiting=0, sample=few, population=one.population)
    found = value(whole, [whole], [], times_ms=times(9, np.random.default_rng(1)), report=report, costs=COSTS)
    now, everything, _ = found.ways
    assert (now.wrong, now.cost, everything.more_cost, found.days[0].cost) == (None, None, None, None)
    assert everything.cost is not None


def test_tables_have_money_only_with_prices() -> None:
    """The same columns otherwise; the sentence says why there is none."""
    one, given = stream(1, EVENTS), times(60, np.random.default_rng(1))
    with_prices, without = measured(one, given), measured(one, given, None)
    heads = [[table.head for table in tables(found)] for found in (with_prices, without)]
    assert [[name for name in head if not name.startswith("cost")] for head in heads[0]] == [list(head) for head in heads[1]]
    assert "Money is not shown: there is no costs.toml in the working directory." in headline(without, days=30)
    assert "EUR" in headline(with_prices, days=30)
    assert all(len(row) == len(table.head) for table in tables(with_prices) for row in table.rows)
