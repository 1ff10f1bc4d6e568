"""The parts of a report: what the model expects of itself, the gap, reviewers' slips, slices, and when new thresholds are worth it."""

import numpy as np
import pytest

from benchmarks.quality.streams import stream
from tagstream.monitoring.quality.estimate import Figure
from tagstream.monitoring.quality.label_free import LabelFree, expected, gap
from tagstream.monitoring.quality.report import PromisedAccuracy, QualityReport, Window, measure
from tagstream.monitoring.quality.reviewers import reviewers
from tagstream.monitoring.quality.sample import NO_ANSWER, Population, Sample

PROMISE = 0.95


def rows(
    *groups: tuple[int, bool, float, int, int], labels: tuple[str, ...] = ("one", "two"), inclusion: float = 0.02
) -> Sample:
    """Decisions for "one" in groups: how many, published, confidence, first answer, truth."""
    counts = [group[0] for group in groups]
    published, confidence, first, truth = (np.repeat([group[place] for group in groups], counts) for place in (1, 2, 3, 4))
    return Sample(
        labels=labels,
        published=published.astype(bool),
        predicted=np.zeros(sum(counts), dtype=np.int64),
        confidence=confidence,
        inclusion=np.where(published, inclusion, 1.0),
        first=first.astype(np.int64),
        truth=truth.astype(np.int64),
        count=np.ones(sum(counts), dtype=np.int64),
    )


def report(sample: Sample) -> QualityReport:
    """The report of a window in which low confidence alone sends decisions to people."""
    odd = np.arange(len(sample)) % 2 == 1
    sources = {"a": sample.where(sample.published & odd), "b": sample.where(sample.published & ~odd)}
    window = Window(sample=sample, population=None, slices={"source": sources}, movable=~sample.published)
    return measure(window, promise=PromisedAccuracy(accuracy=PROMISE, least=PROMISE))


def test_the_model_expects_its_confidence() -> None:
    """Half of the stream at 0.9 and half at 0.7 is an expected accuracy of 0.8, answered or not."""
    found = expected(rows((50, True, 0.9, 0, 0), (50, True, 0.7, NO_ANSWER, NO_ANSWER), (20, False, 0.5, 0, 0)))
    assert found.accuracy == pytest.approx(0.8)
    assert found.by_label["one"]["precision"] == pytest.approx(0.8)
    assert found.by_label["two"]["precision"] is None
    assert found.by_label["two"]["recall"] == 0.0


def test_all_decisions_say_what_the_model_expects() -> None:
    """Where all decisions are counted, their probabilities speak and not those of the few that were drawn."""
    decisions = np.array([[100.0, 0.0], [0.0, 0.0]])
    sums = np.zeros((2, 2, 2))
    sums[0, 0] = 75.0, 25.0
    found = expected(rows((50, True, 0.9, 0, 0)), Population(decisions=decisions, probabilities=sums))
    assert found.accuracy == 0.75


def test_the_gap_is_expected_minus_measured_and_turns_the_interval_round() -> None:
    """A model that expects 0.97 and is right in 0.90 to 0.94 is 0.03 to 0.07 too sure."""
    found = gap(LabelFree(accuracy=0.97, by_label={}), Figure(value=0.92, low=0.90, high=0.94, answers=400))
    assert (found.value, found.low, found.high) == (pytest.approx(0.05), pytest.approx(0.03), pytest.approx(0.07))
    unknown = gap(LabelFree(accuracy=None, by_label={}), Figure(value=None, low=0, high=1, answers=0))
    assert unknown.value is None


def test_slips_are_counted_where_a_second_person_took_the_models_side() -> None:
    """Of 20 contradictions 16 are settled, 8 of them for the model: as if 10 of 90 first answers on right decisions were slips."""
    found = reviewers(
        rows(
            (80, True, 0.9, 0, 0),
            (8, True, 0.9, 1, 0),
            (8, True, 0.9, 1, 1),
            (4, True, 0.9, 1, NO_ANSWER),
            (9, False, 0.5, 1, 1),
        )
    )
    assert (found.answers, found.contradictions, found.second_opinions, found.overturned, found.waiting) == (100, 20, 16, 8, 4)
    assert found.slip == pytest.approx(10 / 90)
    assert found.slip_low < 10 / 90 < found.slip_high
    assert found.disagreement == 0.5


def test_the_slip_rate_of_a_simulated_reviewer_is_found() -> None:
    """The estimate is near the rate with which the simulated reviewers err, and its interval holds it."""
    one = stream(11)
    found = reviewers(one.drawn)
    assert found.slip == pytest.approx(one.slip, abs=0.02)
    assert found.slip_low <= one.slip <= found.slip_high


def test_without_a_second_opinion_nothing_is_said_of_slips() -> None:
    """A single reviewer cannot be contradicted by anyone."""
    found = reviewers(rows((80, True, 0.9, 0, 0), (8, True, 0.9, 1, NO_ANSWER)))
    assert (found.slip, found.disagreement, found.waiting) == (None, None, 8)


def test_thresholds_could_fall_where_people_agree_with_the_model() -> None:
    """Right answers just under the threshold say that these decisions could be published; the unsure ones below stay."""
    found = report(rows((300, True, 0.98, 0, 0), (200, False, 0.9, 0, 0), (200, False, 0.6, 1, 1), inclusion=0.5)).advice
    assert found.worth
    assert (found.share_now, found.share_then) == (pytest.approx(0.6), pytest.approx(0.8))
    assert "80% could be published instead of 60%" in found.reason


def test_a_label_under_the_promise_is_a_reason_by_itself() -> None:
    """A published precision that lies under the promise with all of its interval calls for new thresholds."""
    found = report(rows((200, True, 0.98, 0, 0), (50, True, 0.98, 1, 1), (5, False, 0.5, 1, 1))).advice
    assert (found.worth, found.below) == (True, ("one",))
    assert "under the promise of 95% for one" in found.reason


def test_few_answers_support_nothing() -> None:
    """With ten audits the advice is to answer more."""
    found = report(rows((10, True, 0.98, 0, 0))).advice
    assert not found.worth
    assert found.reason == "40 more audit answers are needed before the answers support anything"


def test_mistakes_under_the_threshold_leave_it_where_it_is() -> None:
    """Where people contradict the model just under the threshold, nothing more could be published."""
    found = report(rows((300, True, 0.98, 0, 0), (200, False, 0.9, 1, 1), inclusion=0.5)).advice
    assert not found.worth
    assert found.share_then == found.share_now


def test_without_a_promise_nothing_is_judged() -> None:
    """Where the bundle that decided is not known, the figures stand alone."""
    sample = rows((200, True, 0.98, 0, 0))
    found = measure(Window(sample=sample, population=None, slices={}, movable=~sample.published), promise=None)
    assert (found.promise, found.advice.worth) == (None, False)
    assert "no promise is known" in found.advice.reason
    assert found.published.accuracy.value == 1.0


def test_a_label_is_judged_by_what_is_promised_of_each_label() -> None:
    """A bundle that promises 95 % of all of them may publish a label of which 92 % is right."""
    sample = rows((920, True, 0.98, 0, 0), (80, True, 0.98, 1, 1))
    window = Window(sample=sample, population=None, slices={}, movable=~sample.published)
    assert measure(window, promise=PromisedAccuracy(accuracy=0.95, least=0.9)).advice.below == ()
    assert measure(window, promise=PromisedAccuracy(accuracy=0.95, least=0.95)).advice.below == ("one",)


def test_a_slice_has_the_accuracy_of_its_published_rows() -> None:
    """Rows of source "a" and "b" take turns, and all mistakes lie among "a"."""
    sample = rows((100, True, 0.98, 0, 0), (10, False, 0.5, 1, 1))
    sample.truth[1:21:2] = 1
    sample.first[1:21:2] = 1
    found = report(sample).slices["source"]
    assert {name: figure.value for name, figure in found.items()} == {"a": pytest.approx(0.8), "b": 1.0}
    assert found["a"].answers == 50
