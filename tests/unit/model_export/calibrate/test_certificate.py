"""Certificates: the error level holds, the walk is cautious, and a refusal gives the number of missing labels."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold
from tagstream.model_export.bundle.promise.promise import Promise, PromiseKind
from tagstream.model_export.calibrate import certificate, thresholds
from tagstream.model_export.calibrate.certificate import GRID, lowest_seen
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.joint import DecidedRows
from tagstream.model_export.calibrate.promised_thresholds import promised

LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
RISK = 0.05 / 4
EDGES = np.array(GRID)
COUNTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=len(GRID), max_size=len(GRID))
# So few mistakes that most draws are certified somewhere.
GOOD_COUNTS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from((0, 0, 0, 0, 0, 0, 0, 1))), min_size=len(GRID), max_size=len(GRID)
)


def chosen(rows: list[tuple[str, float, bool]], target: float = 0.95, pooled: float = 0.9) -> dict[str, LabelThreshold]:
    """The thresholds for rows of (predicted label, confidence, right)."""
    said, confidences, right = ([row[place] for row in rows] for place in range(3))
    return thresholds.choose_thresholds(said, confidences, right, labels=LABELS, target_precision=target, pooled=pooled)


def cumulated(counts: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and mistakes at or above each confidence of the grid, from (rows, mistakes) between two of them."""
    rows = np.array([count for count, _ in counts])
    wrong = np.minimum(rows, [mistakes for _, mistakes in counts])
    return rows.cumsum(), wrong.cumsum()


def steep(confidence: np.ndarray) -> np.ndarray:
    """The share right equals the confidence."""
    return confidence


def flat(confidence: np.ndarray) -> np.ndarray:
    """The share right is just short of the target at every confidence: every certificate is wrong."""
    return np.full_like(confidence, 0.9499)


def boastful(confidence: np.ndarray) -> np.ndarray:
    """Two thirds more mistakes than the confidence says."""
    return (1 - (1 - confidence) * 5 / 3).clip(0, 1)


def cliff(confidence: np.ndarray) -> np.ndarray:
    """Good above 0.97, and far from it below."""
    return np.where(confidence >= 0.97, 0.985, 0.8)


@pytest.mark.parametrize("world", [steep, flat, boastful, cliff])
@pytest.mark.parametrize("label_rows", [150, 600, 3000])
def test_a_false_certificate_is_as_rare_as_the_level_says(world: Callable[[np.ndarray], np.ndarray], label_rows: int) -> None:
    """
    Over two thousand seeded sets of calibration rows of one label, the share of false certificates is at most the label's part of the
    level, plus a third for the luck of the draws.
    """
    generator = np.random.default_rng(11)
    shares = np.diff(np.concatenate([[0.0], 1 - EDGES**4, [1.0]]))
    inside = world(np.concatenate([EDGES, [0.27]]))
    truth = np.cumsum(shares * inside) / np.cumsum(shares)
    false = 0
    for counts in generator.multinomial(label_rows, shares, size=2000):
        wrong = generator.binomial(counts, 1 - inside)
        found = certificate.lowest_certified(counts.cumsum()[:-1], wrong.cumsum()[:-1], label_rows, target=0.95, risk=RISK)
        false += found is not None and truth[GRID.index(found)] < 0.95
    assert false / 2000 <= RISK * 4 / 3


def test_looking_without_a_test_breaks_the_promise_that_the_walk_keeps() -> None:
    """Without a test the empirical rule gives a false promise in most draws; the simulation tells the two apart."""
    generator = np.random.default_rng(12)
    promised = 0
    for _ in range(200):
        confidence = generator.uniform(0.3, 1, 300).round(4)
        try:
            thresholds.choose_threshold(
                confidence.tolist(), (generator.uniform(size=300) < 0.9499).tolist(), target_precision=0.95
            )
        except CalibrationError:
            continue
        promised += 1
    assert promised / 200 > 0.5


def test_rows_that_deserve_it_are_certified() -> None:
    """A label with a thousand rows of honest confidence gets a certificate that covers a good part of them."""
    generator = np.random.default_rng(13)
    confidence = (1 - generator.beta(0.5, 3, 1000)).clip(0.25, 1).round(4)
    rows = [
        ("mlops", float(one), bool(hit)) for one, hit in zip(confidence, generator.uniform(size=1000) < confidence, strict=True)
    ]
    found = chosen(rows)["mlops"]
    assert found.certified
    assert found.rows > 300
    assert found.precision_lower_bound >= 0.95
    assert found.confidence in GRID


@settings(max_examples=30)
@given(GOOD_COUNTS, st.sampled_from([0.8, 0.9, 0.95]))
def test_a_certificate_is_borne_out_by_the_bound_at_its_own_place(counts: list[tuple[int, int]], target: float) -> None:
    """At the certified confidence, the Clopper-Pearson bound reaches the target and the label has enough rows."""
    rows, wrong = cumulated(counts)
    found = certificate.lowest_certified(rows, wrong, int(rows[-1]), target=target, risk=RISK)
    assume(found is not None)
    place = GRID.index(found)  # type: ignore[arg-type]
    assert certificate.lower_bound(int(rows[place] - wrong[place]), int(rows[place]), 1 - RISK) >= target - 1e-9
    assert rows[place] >= certificate.least_rows(target, RISK)


@given(GOOD_COUNTS, st.integers(0, len(GRID) - 1))
def test_one_more_mistake_never_publishes_more(counts: list[tuple[int, int]], place: int) -> None:
    """A right row that turns wrong raises the certified confidence or removes the certificate."""
    rows, wrong = cumulated(counts)
    worse = wrong.copy()
    worse[place:] += 1
    assume((worse <= rows).all())
    before, after = (
        certificate.lowest_certified(rows, mistakes, int(rows[-1]), target=0.9, risk=RISK) for mistakes in (wrong, worse)
    )
    assert after is None or (before is not None and before <= after)


@given(st.floats(0.5, 0.995), st.floats(0.001, 0.2), st.integers(0, 4))
def test_the_least_rows_are_the_least(target: float, risk: float, mistakes: int) -> None:
    """That number of rows proves the target, and one row fewer does not."""
    least = certificate.least_rows(target, risk, mistakes)
    assert certificate.p_value(mistakes, int(least), target) <= risk < certificate.p_value(mistakes, int(least) - 1, target)


@settings(max_examples=20)
@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95]))
def test_labels_needed_are_the_fewest_that_the_walk_itself_accepts(counts: list[tuple[int, int]], target: float) -> None:
    """With the same rows repeated to that number, mistakes rounded up, the walk passes; with one row fewer it does not."""
    rows, wrong = cumulated(counts)
    had = int(rows[-1])
    assume(had > 0)
    assume(certificate.lowest_certified(rows, wrong, had, target=target, risk=RISK) is None)
    needed = certificate.labels_needed(rows, wrong, had, target=target, risk=RISK)
    assume(needed is not None)

    def certified(total: int) -> bool:
        more, mistakes = rows * total // had, -(-wrong * total // had)
        return certificate.lowest_certified(more, mistakes, total, target=target, risk=RISK) is not None

    assert needed is not None
    assert certified(had + needed)
    assert needed == 1 or not certified(had + needed - 1)


def test_a_refusal_says_how_many_labels_are_lacking() -> None:
    """Ten right of ten do not prove 0.95: without a mistake 86 rows are needed where four labels share the level."""
    found = chosen([("mlops", 0.996, True)] * 10)["mlops"]
    assert (found.certified, found.labels_needed, found.confidence) == (False, 76, 0.9)
    assert found.sentence("mlops") == (
        "mlops: 0.95 is not certified: 76 more labels of mlops needed. Until then its threshold 0.9 is no promise for it: "
        "1.0000 of 10 calibration rows at 0.9 or more are right, at least 0.6452"
    )


@pytest.mark.parametrize("rows", [[], [("other", 0.5, False)] * 10])
def test_a_label_without_rows_so_sure_goes_by_the_threshold_of_all(rows: list[tuple[str, float, bool]]) -> None:
    """A label without rows above the threshold of all labels gets that threshold, marked as not certified."""
    found = chosen([("mlops", 0.996, True)] * 10 + rows)["other"]
    assert (found.confidence, found.rows, found.precision, found.certified) == (0.9, 0, None, False)
    assert found.sentence("other").endswith(
        "Until then its threshold 0.9 is no promise for it: there are no calibration rows so sure"
    )


def test_a_label_that_nothing_was_called_needs_a_perfect_record() -> None:
    """A label that was never predicted needs as many rows as a proof without mistakes takes."""
    assert chosen([("mlops", 0.996, True)] * 10)["other"].labels_needed == 86


@pytest.mark.parametrize(("hits", "rows", "target"), [(18, 20, 0.95), (17, 20, 0.9), (93, 100, 0.98), (20, 20, 0.95)])
def test_a_label_may_be_seen_to_fall_short_by_so_much_and_no_more(hits: int, rows: int, target: float) -> None:
    """
    At the target less 0.05 it goes by the threshold of all labels; with one more mistake a person is asked about all of
    it.
    """

    def confidence_of(right: int) -> float:
        sure = [("mlops", 0.93, place < right) for place in range(rows)]
        # A decision less sure than the threshold of all labels is not published by it, and does not count.
        return chosen([*sure, *[("mlops", 0.5, False)] * 30], target)["mlops"].confidence

    assert confidence_of(hits) == 0.9
    assert confidence_of(round((target - 0.05) * rows) - 1) == ALWAYS_ASK


def test_a_bad_label_does_not_hide_among_good_ones() -> None:
    """
    Together they keep the target at 0.97, since the good one has so many more rows; the bad one is not published by
    that.
    """
    rows = [("mlops", 0.97, True)] * 95 + [("other", 0.97, False)] * 2 + [("other", 0.97, True)] * 3
    together = thresholds.choose_threshold([row[1] for row in rows], [row[2] for row in rows], target_precision=0.95)
    found = chosen(rows, pooled=together.confidence)
    assert together.confidence == 0.97
    assert (found["other"].confidence, found["other"].rows, found["other"].precision) == (ALWAYS_ASK, 0, None)
    assert found["mlops"].confidence <= 0.97
    assert (
        found["other"]
        .sentence("other")
        .endswith("Until then a person is asked about all of it: too little of it is known to be right")
    )


def test_no_number_of_labels_helps_what_is_wrong_where_it_is_surest() -> None:
    """A label that is wrong at its highest confidence gets no number of needed labels."""
    found = chosen([("mlops", 0.99, False), ("mlops", 0.98, True)] * 50)["mlops"]
    assert (found.confidence, found.labels_needed) == (ALWAYS_ASK, None)
    assert "not even 100,000 more labels of mlops would do, if they are like these. Until then a person" in found.sentence(
        "mlops"
    )


def test_a_certificate_says_what_it_rests_on() -> None:
    """A certificate gives its rows, its bound and its level: two hundred right of two hundred, split over four labels."""
    found = chosen([("mlops", 0.96, True)] * 200)["mlops"]
    assert (found.certified, found.confidence, found.labels_needed, found.bound_level) == (True, 0.96, None, 0.9875)
    assert found.sentence("mlops") == (
        "mlops: from confidence 0.96 on, a precision of 0.95 is certified, for texts about these labels. Of 200 calibration rows at 0.96 "
        "or more, 1.0000 are right; "
        "with 98.75% certainty the precision is 0.9783 or more"
    )


def test_nothing_certifies_perfection() -> None:
    """A target of 1 is never certified, and the refusal does not divide by zero."""
    found = chosen([("mlops", 0.96, True)] * 500, target=1.0)["mlops"]
    assert (found.certified, found.labels_needed, found.confidence) == (False, None, 0.9)


def test_few_rows_of_a_label_choose_nothing() -> None:
    """A few rows do not move a label's threshold: neither three right of three at 0.4, nor one wrong at 0.93."""
    for rows in ([("mlops", 0.4, True)] * 3, [("mlops", 0.93, False), *[("mlops", 0.94, True)] * 19]):
        assert chosen(rows)["mlops"].confidence == 0.9


def test_a_certificate_may_publish_more_than_all_labels_together_would() -> None:
    """Two hundred right of two hundred certify a label down to the least sure of them, and no further."""
    assert chosen([("mlops", 0.6, True)] * 200, pooled=0.99)["mlops"].confidence == 0.6


@given(
    rows=st.lists(st.tuples(st.integers(0, 10_000), st.booleans()), min_size=1, max_size=400),
    kind=st.sampled_from(["overall", "per-label", "both"]),
    budget=st.none() | st.floats(0, 1),
)
def test_no_threshold_lies_below_the_confidences_that_rows_had(
    rows: list[tuple[int, bool]], kind: PromiseKind, budget: float | None
) -> None:
    """For any rows and promise at most one row in a hundred is below any threshold, where these decide alone."""
    confidence = np.array([number / 10_000 for number, _ in rows])
    decided = DecidedRows(
        said=np.arange(len(rows)) % 2,
        confidence=confidence,
        right=np.array([right for _, right in rows]),
        weight=np.ones(len(rows)),
    )
    try:
        found = promised(decided, ("a", "b"), Promise(kind=kind, review_budget=budget))
    except CalibrationError:
        return
    for number, label in enumerate(("a", "b")):
        own = confidence if kind != "per-label" or budget is not None else confidence[decided.said == number]
        certified = found.thresholds[label].confidence
        assert certified >= min(lowest_seen(own), lowest_seen(confidence))
    assert found.threshold.confidence >= lowest_seen(confidence)


def test_easy_rows_do_not_publish_what_is_less_sure_than_all_of_them() -> None:
    """A thousand rows that are all right, from 0.8 on: every grid passes down to 0, and the threshold stays at what rows had."""
    confidence = np.linspace(0.8, 1.0, 1_000).round(4)
    decided = DecidedRows(
        said=np.zeros(1_000, dtype=np.int64), confidence=confidence, right=np.ones(1_000, np.bool_), weight=np.ones(1_000)
    )
    for asked in (Promise(), Promise(kind="both"), Promise(review_budget=0.0)):
        found = promised(decided, ("a", "b"), asked)
        assert found.threshold.certified
        assert 0.8 <= found.threshold.confidence <= 0.81
        assert all(each.confidence is None or each.confidence >= 0.8 for each in found.trade)
    assert found.threshold.review_budget == pytest.approx(1.0 - found.threshold.coverage)


def test_every_label_gets_an_equal_part_of_the_level() -> None:
    """With two labels a perfect record of 72 rows is enough, with four it is not: all certificates hold together."""
    said, confidences, right = ["mlops"] * 72, [0.99] * 72, [True] * 72
    for labels, enough in ((("mlops", "other"), True), (LABELS, False)):
        found = thresholds.choose_thresholds(said, confidences, right, labels=labels, target_precision=0.95, pooled=0.9)
        assert found["mlops"].certified == enough
