"""The metrics of a review console: every series from the start, honest gaps, and the numbers of the report."""

import math

import pytest
from prometheus_client import CollectorRegistry

from benchmarks.quality.streams import LABELS, stream
from tagstream.monitoring.quality.feedback import Feedback
from tagstream.monitoring.quality.metrics import QualityMetrics
from tagstream.monitoring.quality.report import MeasuredModel, PromisedAccuracy, QualityReport, Window, measure
from tests.replacing import replace

VOCABULARY = """
    tagstream_quality_accuracy_ratio scope bound
    tagstream_quality_label_ratio scope figure label bound
    tagstream_quality_expected_accuracy_ratio
    tagstream_quality_gap_ratio bound
    tagstream_quality_promise_ratio
    tagstream_quality_answers scope
    tagstream_quality_arm_accuracy_ratio arm scope bound
    tagstream_quality_arm_answers arm scope
    tagstream_quality_recalibration_gain_ratio
    tagstream_quality_evaluated_timestamp_seconds
    tagstream_quality_slip_ratio bound
    tagstream_quality_second_opinions
    tagstream_quality_overturned_answers
    tagstream_quality_unused_records kind
    tagstream_quality_failures_total
    tagstream_value_events door
    tagstream_value_item_seconds bound
    tagstream_value_people_seconds way bound
    tagstream_value_wrong_decisions way bound
    tagstream_value_cost way bound
    tagstream_viewers_decisions state
    tagstream_viewers_votes answer
    tagstream_queue_open_items door
    tagstream_queue_held_items
    tagstream_queue_oldest_timestamp_seconds
    tagstream_queue_answered_events
    tagstream_queue_unmatched_reports
"""


def documented_of_a_console() -> dict[str, set[str]]:
    """The contract's names of a console's metrics, each with its label names."""
    return {name: set(labels) for name, *labels in map(str.split, VOCABULARY.strip().splitlines())}


@pytest.fixture(scope="module")
def report() -> QualityReport:
    """Of one simulated month."""
    one = stream(3, 30_000)
    window = Window(sample=one.drawn, population=one.population, slices={}, movable=~one.drawn.published)
    return measure(window, promise=PromisedAccuracy(accuracy=0.95, least=0.95))


def test_what_is_documented_is_what_a_console_registers() -> None:
    """The registered names and labels are exactly the documented ones, before a report and after it."""
    registry = CollectorRegistry()
    QualityMetrics(registry, labels=("one",))
    found = {sample.name: set(sample.labels) for metric in registry.collect() for sample in metric.samples}
    assert found == documented_of_a_console()


def test_every_series_is_there_before_the_first_report() -> None:
    """A figure that is not known yet is NaN, which no alert takes for a number."""
    registry = CollectorRegistry()
    metrics = QualityMetrics(registry, labels=("one",))
    names = {"scope": "model", "figure": "recall", "label": "one", "bound": "low"}
    assert math.isnan(registry.get_sample_value("tagstream_quality_label_ratio", names) or 0)
    assert registry.get_sample_value("tagstream_queue_open_items", {"door": "audit"}) == 0
    assert b"tagstream_quality_promise_ratio NaN" in metrics.text()


def test_the_numbers_are_those_of_the_report(report: QualityReport) -> None:
    """Value, ends and counts are served as they were estimated."""
    registry = CollectorRegistry()
    QualityMetrics(registry).report(report, now=7.0)
    found = report.published.accuracy
    for bound, value in (("value", found.value), ("low", found.low), ("high", found.high)):
        served = registry.get_sample_value("tagstream_quality_accuracy_ratio", {"scope": "published", "bound": bound})
        assert served == value
    names = {"scope": "published", "figure": "f1", "label": LABELS[0], "bound": "value"}
    assert registry.get_sample_value("tagstream_quality_label_ratio", names) == report.published.by_label[LABELS[0]]["f1"].value
    assert registry.get_sample_value("tagstream_quality_answers", {"scope": "model"}) == report.model.answers
    assert registry.get_sample_value("tagstream_quality_gap_ratio", {"bound": "low"}) == report.gap.low
    assert registry.get_sample_value("tagstream_quality_evaluated_timestamp_seconds") == 7.0


def test_a_figure_with_few_answers_is_no_number() -> None:
    """An alert on nine answers would be an alert on chance."""
    one = stream(3, 30_000).drawn
    few = one.where((one.published & one.settled).cumsum() <= 9)
    registry = CollectorRegistry()
    found = measure(
        Window(sample=few, population=None, slices={}, movable=~few.published),
        promise=PromisedAccuracy(accuracy=0.95, least=0.95),
    )
    QualityMetrics(registry).report(found, now=7.0)
    served = registry.get_sample_value("tagstream_quality_accuracy_ratio", {"scope": "published", "bound": "high"})
    assert math.isnan(served or 0)


def test_a_canary_is_served_by_arm_as_long_as_it_is_in_the_window(report: QualityReport) -> None:
    """Two arms and no digest, so the series stay as many as they are; a canary that has left the window leaves no figure behind."""
    registry = CollectorRegistry()
    metrics = QualityMetrics(registry)
    challenger = MeasuredModel(
        name="challenger",
        bundles=("b" * 64,),
        epochs=(7,),
        fallback=0,
        feedback=Feedback(answers=0, minutes=None, reported=0, confirmed=0),
        sources={},
        published=report.published,
        model=report.model,
    )

    def served(bound: str) -> float | None:
        names = {"arm": "challenger", "scope": "published", "bound": bound}
        return registry.get_sample_value("tagstream_quality_arm_accuracy_ratio", names)

    metrics.report(replace(report, arms=(replace(challenger, name="champion"), challenger)), now=7.0)
    found = report.published.accuracy
    assert [served(bound) for bound in ("value", "low", "high")] == [found.value, found.low, found.high]
    answers = {"arm": "challenger", "scope": "model"}
    assert registry.get_sample_value("tagstream_quality_arm_answers", answers) == report.model.answers
    metrics.report(report, now=8.0)
    assert math.isnan(served("value") or 0)
    assert registry.get_sample_value("tagstream_quality_arm_answers", answers) == 0


def test_the_queue_is_served_by_door() -> None:
    """Doors without an item are zero, and an empty queue has no oldest item."""
    registry = CollectorRegistry()
    metrics = QualityMetrics(registry)
    metrics.queue(waiting={"review": 5}, held=1, oldest_ms=4000, answered=2, unmatched_reports=3)
    assert registry.get_sample_value("tagstream_queue_open_items", {"door": "review"}) == 5
    assert registry.get_sample_value("tagstream_queue_oldest_timestamp_seconds") == 4.0
    metrics.queue(waiting={}, held=0, oldest_ms=None, answered=2, unmatched_reports=3)
    assert registry.get_sample_value("tagstream_queue_open_items", {"door": "review"}) == 0
    assert math.isnan(registry.get_sample_value("tagstream_queue_oldest_timestamp_seconds") or 0)
