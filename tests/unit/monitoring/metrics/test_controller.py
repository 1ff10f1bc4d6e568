"""The metrics of `tagstream rollout watch`: the documented vocabulary, and the last look."""

import pytest
from prometheus_client import CollectorRegistry

from tagstream.monitoring.health import HealthVerdict
from tagstream.monitoring.metrics.controller import STARTING, ControllerMetrics
from tests.unit.monitoring.metrics.test_shadow import series

# Name and labels; the page docs/metrics.md has the same names.
VOCABULARY = """
tagstream_controller_looks_total result
tagstream_controller_look_timestamp_seconds
tagstream_controller_challenger_epoch
tagstream_controller_verdict decision
tagstream_controller_evidence_events kind
tagstream_controller_changes_total decision
tagstream_controller_failed_changes_total
"""
DECISIONS = ("wait", "promote")
FIGURES = {"events": 90, "disagreements": 30, "asked": 20, "answers": 7}


def documented_of_a_controller() -> dict[str, set[str]]:
    """The documented labels of each metric, by its name."""
    return {name: set(labels) for name, *labels in map(str.split, VOCABULARY.strip().splitlines())}


@pytest.fixture
def metrics() -> ControllerMetrics:
    """Of a controller that has not looked, at noon of a clock that stands still."""
    return ControllerMetrics(CollectorRegistry(), decisions=DECISIONS, clock=lambda: 43_200.0)


def value(metrics: ControllerMetrics, name: str, **labels: str) -> float | None:
    """A figure as a scrape has it."""
    return metrics.registry.get_sample_value(f"tagstream_controller_{name}", labels)


def test_what_is_documented_is_what_a_controller_registers(metrics: ControllerMetrics) -> None:
    """The registered names and labels are exactly the documented ones, before the first look."""
    found = {name: set(labels[0]) for name, labels in series(metrics.registry).items()}
    assert found == documented_of_a_controller()


def test_a_look_shows_its_verdict_alone(metrics: ControllerMetrics) -> None:
    """Of the verdicts the last one is 1; the evidence is that of the gate, and the time that of the look."""
    metrics.judged(3, "wait", FIGURES)
    metrics.judged(3, "promote", FIGURES)
    assert [value(metrics, "verdict", decision=one) for one in DECISIONS] == [0, 1]
    kinds = ("compared", "disagreed", "asked", "answered")
    assert [value(metrics, "evidence_events", kind=kind) for kind in kinds] == [90, 30, 20, 7]
    assert (value(metrics, "challenger_epoch"), value(metrics, "look_timestamp_seconds")) == (3, 43_200)
    assert metrics.verdict().ready


def test_without_a_challenger_there_is_no_verdict_and_all_is_well(metrics: ControllerMetrics) -> None:
    """A canary that has ended leaves none of its figures."""
    metrics.judged(3, "wait", FIGURES)
    metrics.no_challenger("no challenger decides anything now")
    assert [value(metrics, "verdict", decision=one) for one in DECISIONS] == [0, 0]
    assert (value(metrics, "challenger_epoch"), value(metrics, "evidence_events", kind="answered")) == (0, 0)
    assert metrics.verdict() == HealthVerdict(ready=True, why="no challenger decides anything now")


def test_it_is_not_ready_before_its_first_look_and_while_turns_fail(metrics: ControllerMetrics) -> None:
    """The reason is said; the time of the last look stays, and so do its figures."""
    assert metrics.verdict() == HealthVerdict(ready=False, why=STARTING)
    metrics.judged(3, "promote", FIGURES)
    metrics.change_failed("a worker refused")
    assert metrics.verdict() == HealthVerdict(ready=False, why="a worker refused")
    metrics.failed("the brokers are away")
    assert metrics.verdict() == HealthVerdict(ready=False, why="the brokers are away")
    assert value(metrics, "verdict", decision="promote") == 1
    assert (value(metrics, "looks_total", result="failed"), value(metrics, "failed_changes_total")) == (1, 1)
