"""Thresholds by prices: the cheapest that the floor allows, certificates that stay ones, and an interval that holds."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr

from benchmarks import prices as bench
from benchmarks.prices import Rows, hindsight
from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.promise.promise import Priced, Promise
from tagstream.model_export.calibrate.certificate import GRID
from tagstream.model_export.calibrate.joint import DecidedRows, kept
from tagstream.model_export.calibrate.prices import PricedRows, candidates, choose, measured, measures
from tagstream.model_export.calibrate.promised_thresholds import RISK, by_costs
from tagstream.monitoring.quality.costs import Costs

LABELS = ("a", "b")
COSTS = Costs(source="costs.toml", currency="EUR", item=0.5, wrong_publication={"a": 2.0, "b": {"a": 9.0}})
CHEAP_PEOPLE = Costs(source="costs.toml", currency="", item=0.01, wrong_publication=5.0)
ROWS = st.lists(st.tuples(st.integers(0, 1), st.floats(0.3, 1.0), st.integers(0, 9)), min_size=1, max_size=150)


def rows(given_rows: list[tuple[int, float, int]], mistakes: int = 1, costs: Costs = COSTS) -> PricedRows:
    """Rows as predicted label, confidence and a die that says whether it is right."""
    said = np.array([said for said, _, _ in given_rows], dtype=np.int64)
    right = np.array([die >= mistakes for _, _, die in given_rows], dtype=np.bool_)
    decided = DecidedRows(
        said=said,
        confidence=np.array([round(confidence, 2) for _, confidence, _ in given_rows]),
        right=right,
        weight=np.ones(len(said)),
    )
    return PricedRows.of(decided, np.where(right, said, 1 - said), LABELS, costs)


def many(seed: int, size: int, labels: int = 2, costs: Costs = COSTS) -> PricedRows:
    """Rows whose confidences are the probabilities of being right."""
    generator = np.random.default_rng(seed)
    said, confidence = generator.integers(labels, size=size), np.round(0.4 + 0.6 * generator.beta(3, 1, size=size), 4)
    right = generator.random(size) < confidence
    decided = DecidedRows(said=said, confidence=confidence, right=right, weight=np.ones(size))
    return PricedRows.of(decided, np.where(right, said, (said + 1) % labels), LABELS, costs)


@given(
    given_rows=ROWS,
    mistakes=st.integers(0, 4),
    floor=st.sampled_from([0.01, 0.6, 0.8, 0.9]),
    item=st.sampled_from([0.0, 0.3, 3.0]),
)
@settings(deadline=None, max_examples=60)
def test_no_thresholds_that_keep_the_floor_cost_less(
    given_rows: list[tuple[int, float, int]], mistakes: int, floor: float, item: float
) -> None:
    """Of all pairs of thresholds that the walks prove, none is cheaper than the chosen pair, which is one of them."""
    priced = rows(given_rows, mistakes, Costs(source="", currency="", item=item, wrong_publication=COSTS.wrong_publication))
    decided, risk = priced.decided, 0.05 / 2
    chosen = choose(priced, 2, floor=floor, risk=0.05)
    proved = candidates(decided, 2, floor=floor, risk=0.05)
    for label, own in enumerate(proved):
        public = [(decided.said == label) & (decided.confidence >= confidence) for confidence in own]
        assert all(bdtr((each & ~decided.right).sum(), each.sum(), 1 - floor) <= risk for each in public)
    allowed = [(ALWAYS_ASK, *own) for own in proved]
    assert all(confidence in own for confidence, own in zip(chosen, allowed, strict=True))
    # A threshold is as good as the rows that it publishes: each set of rows once.
    apart = [list({tuple((decided.confidence >= each).tolist()): each for each in own}.values()) for own in allowed]
    best = min(priced.cost(kept(decided, pair)) for pair in itertools.product(*apart))
    assert priced.cost(kept(decided, chosen)) == pytest.approx(best, abs=1e-9)


def test_the_certificate_of_the_floor_holds_whatever_the_prices_are() -> None:
    """In 100 draws of rows whose precision from any confidence on is known; thresholds by sight often miss the floor."""
    floor, missed, by_sight = 0.9, 0, 0
    for seed in range(100):
        priced = many(seed, 300)
        cheap = Costs(source="", currency="", item=float(seed % 3 + 1), wrong_publication=1.0)
        found = by_costs(many(seed, 300, costs=cheap), LABELS, Promise(kind="per-label", precision=floor), level=RISK)
        certified = [each for each in found.thresholds.values() if each.certified]
        assert all(each.confidence == ALWAYS_ASK for each in found.thresholds.values() if not each.certified)
        missed += any(_true_precision(each.confidence) < floor for each in certified)
        by_sight += any(_true_precision(each) < floor for each in _by_sight(priced, floor))
    assert missed <= 100 * RISK, missed
    assert by_sight > 100 * 2 * RISK, by_sight


def _true_precision(confidence: float) -> float:
    """The precision from a confidence on, by many confidences of `many`."""
    every = 0.4 + 0.6 * np.random.default_rng(1).beta(3, 1, size=200_000)
    return float(every[every >= confidence].mean()) if confidence < 1 else 1.0


def _by_sight(priced: PricedRows, floor: float) -> list[float]:
    """Known-bad: by label the lowest confidence from which the floor was seen."""
    found = []
    for label in (0, 1):
        own = priced.decided.take(priced.decided.said == label)
        seen = [each for each in GRID if (own.confidence >= each).any() and own.right[own.confidence >= each].mean() >= floor]
        found.append(min(seen, default=1.0))
    return found


def test_a_label_is_for_people_if_they_cost_less_or_nothing_is_certified() -> None:
    """The record says which; a label that may be published has the floor as bound, since its threshold was chosen."""
    priced = many(1, 2000)
    asked = Promise(kind="per-label", precision=0.8)
    by_price = by_costs(priced, LABELS, asked)
    # One of ten is wrong at any confidence, so no threshold is free of mistakes.
    all_alike = rows([(n % 2, 0.95, n // 2 % 10) for n in range(1000)], costs=CHEAP_PEOPLE)
    cheap, dear = by_price.thresholds["a"], by_costs(all_alike, LABELS, asked).thresholds["a"]
    assert (cheap.certified, cheap.precision_lower_bound, cheap.dear or None) == (True, 0.8, None)
    assert by_price.threshold.precision_lower_bound == 0.8
    assert (dear.certified, dear.confidence, dear.dear, dear.labels_needed) == (False, ALWAYS_ASK, True, None)
    assert "people cost less than the mistakes" in dear.sentence("a")
    few = by_costs(many(1, 30), LABELS, asked).thresholds["a"]
    assert (few.certified, few.confidence, few.dear or None) == (False, ALWAYS_ASK, None)
    assert "more labels of a needed" in few.sentence("a")


def test_the_cost_is_split_and_stands_beside_both_ends() -> None:
    """Mistakes and people add up; everything to people has no mistakes, and what limits send to people costs an item."""
    priced = many(2, 1500)
    thresholds = choose(priced, 2, floor=0.6, risk=RISK)

    def found(*, asked: bool, thresholds: tuple[float, ...] = thresholds) -> Priced:
        return measured(priced, LABELS, COSTS, thresholds, asked=np.full(1500, asked, dtype=np.bool_))

    part = found(asked=False)
    assert part.cost.value == pytest.approx(part.mistakes.value + part.people.value, abs=1e-3)
    assert part.cost.low < part.cost.value < part.cost.high
    assert part.cost.high < part.everything == 5000
    assert part.cost.high < part.nothing.low
    assert part.nothing.value == pytest.approx(10_000 * priced.mistake.mean(), abs=1e-3)
    people = found(asked=True)
    assert (people.cost.value, people.people.value, people.mistakes.high, people.published) == (5000, 5000, 0, 0)
    assert found(asked=False, thresholds=(ALWAYS_ASK, ALWAYS_ASK)).cost == people.cost


def test_rows_without_a_mistake_do_not_make_mistakes_free() -> None:
    """The upper end leaves room for the dear mistake that the rows did not show."""
    priced = rows([(n % 2, 0.99, 9) for n in range(200)])
    thresholds = choose(priced, 2, floor=0.8, risk=RISK)
    found = measured(priced, LABELS, COSTS, thresholds, asked=np.zeros(200, dtype=np.bool_))
    assert found.mistakes.low == pytest.approx(0, abs=5)
    # With 200 rows and no mistake, 1.2 % may be wrong at 97.5 %, of which half cost 9 and half cost 2.
    assert 10_000 * 0.005 * 2 < found.mistakes.high < 10_000 * 0.03 * 9


def test_the_interval_holds_and_that_of_the_rows_that_chose_does_not() -> None:
    """A small form of `python -m benchmarks.prices`, on texts whose label is hard to tell."""
    generator = np.random.default_rng(4)
    truth = generator.integers(4, size=900)
    words = [
        " ".join(
            f"word{label if generator.random() < 0.42 else generator.integers(4)}{generator.integers(9)}" for _ in range(6)
        )
        for label in truth
    ]
    every = Rows(texts=words, truth=truth, labels=("a", "b", "c", "d"))
    draws = [bench.draw(every, fit=0.4, calibrate=400, floor=0.6, seed=seed) for seed in range(40)]
    held = {name: np.mean([each.held[name] for each in draws if each.publishes]) for name in draws[0].held}
    assert held["cost"] >= 0.85, held
    assert held["known-bad: mistakes, by the rows that chose"] < 0.75, held
    assert all(each.cost[bench.HINDSIGHT] <= min(each.cost.values()) + 1e-6 for each in draws)
    assert len(bench.table(draws)) > len(draws[0].cost) + len(draws[0].held)


def test_a_third_of_the_rows_chooses_nothing() -> None:
    """Rows of one group are on one side, and the same rows are whenever one looks."""
    groups = [f"group {number // 2}" for number in range(6000)]
    found = measures(groups)
    assert found.sum() == 2000
    assert (found[::2] == found[1::2]).all()
    assert (measures(groups[::-1])[::-1] == found).all()
    # The parts of the data are those of the lowest hashes too.
    part = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).digest())[:600]
    assert abs(measures(part).mean() - 1 / 3) < 0.01
    assert measures([]).tolist() == []


@given(given_rows=ROWS)
@settings(deadline=None, max_examples=40)
def test_hindsight_is_the_least_that_thresholds_can_cost(given_rows: list[tuple[int, float, int]]) -> None:
    """Among all pairs of confidences that occur."""
    priced = rows(given_rows, 3)
    decided = priced.decided
    best = 0.0
    for label in (0, 1):
        own = priced.take(decided.said == label)
        every = [ALWAYS_ASK, *np.unique(own.decided.confidence).tolist()]
        best += min(float(np.where(own.decided.confidence >= each, own.mistake, own.item).sum()) for each in every)
    assert priced.cost(kept(decided, hindsight(priced, 2))) * len(given_rows) == pytest.approx(best, abs=1e-9)


def test_a_file_of_rows_is_read_plain_and_packed(tmp_path: Path) -> None:
    """Rows without a label are left out."""
    (tmp_path / "rows.csv").write_text("title,label\nx,a\ny,b\nz,\n", encoding="utf-8")
    found = bench.read([tmp_path / "rows.csv"], "label")
    assert (len(found.texts), found.truth.tolist(), found.labels) == (2, [0, 1], ("a", "b"))
