"""What the bets prove: their risk, their counts against the wealth itself, how soon audits withdraw, and how often the estimate holds."""

import numpy as np
import pytest
from scipy.stats import binom

from tagstream.model_export.calibrate.martingale import WeightedAnswers, log_wealth
from tagstream.stream.second import proof

PROMISE = 0.9


@pytest.mark.parametrize("cells", [4, 16])
def test_all_risks_together_are_at_most_alpha(cells: int) -> None:
    """Over all cells, fingerprints and tries."""
    second, tries = np.meshgrid(np.arange(1, 2_000), np.arange(1, 2_000))
    total = cells * proof.risk_of_try(0.05, cells, second, tries).sum()
    assert 0.049 < total <= 0.05


def test_evidence_is_the_wealth_of_answers_one_by_one() -> None:
    """In any order of the answers: the bets are fixed before the first one."""
    right = np.random.default_rng(3).random(200) < 0.95
    answers = WeightedAnswers(right=right, weight=np.ones(200), count=np.ones(200, dtype=np.int64), largest=1.0)
    one_by_one = log_wealth(answers, target=PROMISE, places=np.arange(201))
    counted = proof.evidence(np.concatenate([[0], right.cumsum()]), np.arange(201), promise=PROMISE)
    np.testing.assert_allclose(counted, one_by_one, atol=1e-9)


@pytest.mark.parametrize(("promise", "risk"), [(0.5, 0.2), (0.9, 0.003), (0.99, 1e-6)])
def test_the_needed_counts_are_those_at_which_the_wealth_certifies(promise: float, risk: float) -> None:
    """One right item fewer does not certify; and below the least number of right items nothing does."""
    needed, rows = proof.needed(300, promise=promise, risk=risk), np.arange(301)
    possible = needed <= rows
    certifies = proof.evidence(needed, rows, promise=promise) >= -np.log(risk)
    one_fewer = proof.evidence(needed - 1, rows, promise=promise) >= -np.log(risk)
    assert certifies[possible].all()
    assert not one_fewer[possible].any()
    assert not (proof.evidence(rows, rows, promise=promise)[~possible] >= -np.log(risk)).any()
    assert not possible[: proof.least_right(promise=promise, risk=risk)].any()


def test_a_false_certificate_is_rare_at_every_number_of_items() -> None:
    """With the chance exactly at the promise, and with one that wanders about it from item to item."""
    generator, streams, rows, risk = np.random.default_rng(5), 2_000, 1_500, 0.05
    needed, most = proof.needed(rows, promise=PROMISE, risk=risk), binom.isf(1e-4, streams, risk)
    for swing in (0.0, 0.09):
        chance = PROMISE + swing * np.sin(np.arange(rows) / 40)
        # At each number of items the mean chance so far is at most the promise, or nothing false is certified.
        false = chance.cumsum() / np.arange(1, rows + 1) <= PROMISE + 1e-12
        right = (generator.random((streams, rows)) < chance).cumsum(axis=1)
        assert ((right >= needed[1:]) & false).any(axis=1).sum() <= most
        # Known-bad: a test of a fixed number of items, at each number.
        repeated = right - PROMISE * np.arange(1, rows + 1) >= 1.645 * np.sqrt(np.arange(1, rows + 1) * PROMISE * (1 - PROMISE))
        assert (repeated[:, 30:] & false[30:]).any(axis=1).sum() > most


def run_lengths(right: np.ndarray, *, anew: bool = True, probability: np.ndarray | None = None) -> np.ndarray:
    """The audits until each stream is withdrawn, or one more than all; `right` has the shape (streams, audits)."""
    streams, audits = right.shape
    weight = np.full(right.shape, 20.0) if probability is None else 1.0 / probability
    logged, found = proof.begun(streams), np.full(streams, audits + 1)
    for number in range(audits):
        wrong = (~right[:, number]).astype(np.float64)
        after = proof.watched(logged, wrong, weight[:, number], promise=PROMISE, largest=20.0)
        logged = after if anew else after - np.maximum(logged, 0.0) + logged
        found = np.where((found > audits) & proof.alarmed(logged), number + 1, found)
    return found


def test_a_second_that_is_right_as_promised_is_rarely_withdrawn() -> None:
    """Once in more than `PATIENCE` audits, also where audits have different probabilities; one that is right in 0.97 almost never."""
    generator = np.random.default_rng(7)
    as_promised = generator.random((300, 4_000)) < PROMISE
    assert run_lengths(as_promised).mean() > proof.PATIENCE
    # What is audited more often is wrong more often: the audits alone are below the promise, what they stand for is not.
    likely = generator.random((300, 4_000)) < 0.8
    probability, chance = np.where(likely, 0.2, 0.05), np.where(likely, 0.8, 1.0)
    assert chance.mean() < PROMISE <= (chance / probability).sum() / (1 / probability).sum() + 0.001
    weighted = run_lengths(generator.random((300, 4_000)) < chance, probability=probability)
    assert weighted.mean() > proof.PATIENCE
    assert (run_lengths(generator.random((300, 4_000)) < 0.97) > 4_000).mean() > 0.98


def test_audits_see_a_fall_soon_after_a_long_good_past() -> None:
    """At 0.70 within a hundred audits. Known-bad: a gambler who does not begin anew has lost too much before."""
    generator = np.random.default_rng(9)
    right = np.concatenate([generator.random((200, 2_000)) < 0.97, generator.random((200, 300)) < 0.70], axis=1)
    seen = run_lengths(right) - 2_000
    assert np.quantile(seen, 0.95) <= 100
    assert (run_lengths(right, anew=False) > 2_300).mean() > 0.9


@pytest.mark.parametrize(
    ("probability", "share", "items"),
    [
        ((0.05,), (0.97,), (10_000,)),
        ((0.5,), (0.9,), (2_000,)),
        ((0.05, 0.2), (0.99, 0.92), (6_000, 4_000)),
        ((0.05, 0.5), (0.90, 0.999), (3_000, 1_000)),
    ],
)
def test_the_interval_of_what_nobody_has_seen_holds_the_truth(
    probability: tuple[float, ...], share: tuple[float, ...], items: tuple[int, ...]
) -> None:
    """In 95 +- 2 % of draws, also where kinds are audited unequally. Known-bad: all audits as one kind."""
    generator, draws = np.random.default_rng(11), 3_000
    right = generator.binomial(items, share, size=(draws, len(items)))
    counts = np.stack([right, np.array(items) - right], axis=2)
    audits = generator.binomial(counts, np.array(probability)[:, None])
    unseen = counts - audits
    as_one = unequal = 0
    for audit, rest in zip(audits, unseen, strict=True):
        truth = rest[:, 0].sum() / rest.sum()
        low, high = proof.share_right(audit[:, 0], audit[:, 1], rest.sum(axis=1))
        unequal += low <= truth <= high
        low, high = proof.share_right(*audit.sum(axis=0)[:, None], rest.sum()[None])
        as_one += low <= truth <= high
    assert 0.93 <= unequal / draws <= 0.97
    assert len(items) == 1 or not 0.93 <= as_one / draws <= 0.97


def test_nothing_is_claimed_of_kinds_without_an_audit() -> None:
    """They may all be right, or all wrong."""
    known = proof.share_right(np.array([97]), np.array([3]), np.array([900]))
    low, high = proof.share_right(np.array([97, 0]), np.array([3, 0]), np.array([900, 100]))
    assert (low, high) == pytest.approx((known[0] * 0.9, known[1] * 0.9 + 0.1))
    nothing = np.array([0])
    assert proof.share_right(nothing, nothing, np.array([100])) == (0.0, 1.0)
    assert proof.share_right(np.array([5]), nothing, nothing) == (0.0, 1.0)
