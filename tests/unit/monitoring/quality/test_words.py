"""What a report says in words: the promise kept, broken or open, and nothing where too little is known."""

from dataclasses import replace

import pytest

from benchmarks.quality.streams import LABELS, stream
from monitoring.quality.estimate import Figure
from monitoring.quality.report import Promise, Report, Window, measure
from monitoring.quality.words import headline, tables, verdict


@pytest.fixture(scope="module")
def report() -> Report:
    """Of one simulated month."""
    one = stream(3, 30_000)
    return measure(
        Window(sample=one.drawn, population=one.population, slices={}, movable=~one.drawn.published),
        promise=Promise(accuracy=0.95, least=0.95),
    )


def said_of(report: Report, *, value: float | None, low: float, high: float, answers: int = 400) -> str:
    """The headline with this accuracy."""
    figure = Figure(value=value, low=low, high=high, answers=answers)
    return headline(replace(report, published=replace(report.published, accuracy=figure)), days=30)


def test_the_promise_is_kept_or_broken_only_where_the_whole_interval_says_so(report: Report) -> None:
    """An interval around the promise decides nothing."""
    assert said_of(report, value=0.97, low=0.96, high=0.98).endswith(
        "97.0 % (96.0 to 98.0) is right: the promise of 95% is kept."
    )
    assert said_of(report, value=0.92, low=0.90, high=0.94).endswith("is right: below the promise of 95%.")
    assert said_of(report, value=0.95, low=0.93, high=0.97).endswith("within the interval, so more audits must decide.")


def test_few_answers_say_how_many_are_missing(report: Report) -> None:
    """Seven audits are no figure."""
    found = said_of(report, value=1.0, low=0.6, high=1.0, answers=7)
    assert found == (
        "Too few audits are answered to say how right the published decisions are: 43 more are needed. They come from audits: a "
        "drawn share of what is published (audit_rate), which reviewers answer. At the pace of these 30 days, 7 answers, that takes 185 days."
    )
    assert said_of(report, value=1.0, low=0.6, high=1.0, answers=0).endswith("which reviewers answer.")


def test_every_table_has_a_cell_for_each_column(report: Report) -> None:
    """Five tables; each label of the bundle has a row for both scopes."""
    found = tables(report)
    assert len(found) == 5
    for table in found:
        assert {len(row) for row in table.rows} <= {len(table.head)}, table.title
    for table in found[:2]:
        assert [row[0] for row in table.rows] == ["all labels", *LABELS]


def test_the_verdict_is_one_sentence(report: Report) -> None:
    """It says whether, and why."""
    worth = replace(report, advice=replace(report.advice, worth=True, reason="because"))
    assert verdict(worth) == "New thresholds are worth doing: because."
    assert (
        verdict(replace(worth, advice=replace(worth.advice, worth=False))) == "New thresholds are not worth doing yet: because."
    )
