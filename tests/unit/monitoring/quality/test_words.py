"""What a report says in words: the promise kept, broken or open, and nothing where too little is known."""

import pytest

from benchmarks.quality.streams import LABELS, stream
from tagstream.monitoring.quality.amounts import Amount
from tagstream.monitoring.quality.estimate import Figure
from tagstream.monitoring.quality.feedback import Feedback, ViewersAnswers
from tagstream.monitoring.quality.report import MeasuredModel, PromisedAccuracy, QualityReport, Window, measure
from tagstream.monitoring.quality.words import headline, percent, tables, verdict
from tests.replacing import replace


@pytest.fixture(scope="module")
def report() -> QualityReport:
    """Of one simulated month."""
    one = stream(3, 30_000)
    return measure(
        Window(sample=one.drawn, population=one.population, slices={}, movable=~one.drawn.published),
        promise=PromisedAccuracy(accuracy=0.95, least=0.95),
    )


def said_of(report: QualityReport, *, value: float | None, low: float, high: float, answers: int = 400) -> str:
    """The headline with this accuracy."""
    figure = Figure(value=value, low=low, high=high, answers=answers)
    return headline(replace(report, published=replace(report.published, accuracy=figure)), days=30)


def test_the_promise_is_kept_or_broken_only_where_the_whole_interval_says_so(report: QualityReport) -> None:
    """An interval around the promise decides nothing."""
    assert said_of(report, value=0.97, low=0.96, high=0.98).endswith(
        "97.0 % (96.0 to 98.0) is right: the promise of 95% is kept."
    )
    assert said_of(report, value=0.92, low=0.90, high=0.94).endswith("is right: below the promise of 95%.")
    assert said_of(report, value=0.95, low=0.93, high=0.97).endswith("within the interval, so more audits must decide.")


def test_few_answers_say_how_many_are_missing(report: QualityReport) -> None:
    """Seven audits are no figure."""
    found = said_of(report, value=1.0, low=0.6, high=1.0, answers=7)
    assert found == (
        "Too few audits are answered to say how right the published decisions are: 43 more are needed. They come from audits: a "
        "drawn share of what is published (audit_rate), which reviewers answer. These 30 days brought 7."
    )
    assert said_of(report, value=1.0, low=0.6, high=1.0, answers=0).endswith("which reviewers answer.")


def test_every_table_has_a_cell_for_each_column(report: QualityReport) -> None:
    """Five tables; each label of the bundle has a row for both scopes."""
    found = tables(report)
    assert len(found) == 5
    for table in found:
        assert {len(row) for row in table.rows} <= {len(table.head)}, table.title
    for table in found[:2]:
        assert [row[0] for row in table.rows] == ["all labels", *LABELS]


def test_the_verdict_is_one_sentence(report: QualityReport) -> None:
    """It says whether, and why."""
    worth = replace(report, advice=replace(report.advice, worth=True, reason="because"))
    assert verdict(worth) == "New thresholds are worth doing: because."
    assert (
        verdict(replace(worth, advice=replace(worth.advice, worth=False))) == "New thresholds are not worth doing yet: because."
    )


def with_arms(report: QualityReport) -> QualityReport:
    """The same with a canary in it, whose figures are those of the whole."""
    champion = MeasuredModel(
        name="champion",
        bundles=("a" * 64,),
        epochs=(7, 8),
        fallback=3,
        feedback=Feedback(answers=1200, minutes=Amount(value=90.4, low=80, high=100), reported=7, confirmed=2),
        sources={"web": 90, "newsroom": 1},
        published=report.published,
        model=report.model,
    )
    challenger = replace(
        champion,
        name="challenger",
        bundles=("b" * 64,),
        fallback=0,
        feedback=Feedback(answers=4, minutes=None, reported=3, confirmed=1),
        sources={"newsroom": 9},
    )
    return replace(
        report, arms=(champion, challenger), models=(replace(champion, name="tiny 1"), replace(challenger, name="tiny 2"))
    )


def test_the_arms_of_a_canary_stand_beside_each_other(report: QualityReport) -> None:
    """A row for each figure, with its interval in both columns; bundles and fallbacks are named below."""
    _, _, published, both, *rest = tables(with_arms(report))
    accuracy = percent(report.published.accuracy)
    assert (published.head, published.rows[2]) == (("figure", "champion", "challenger"), ("accuracy", accuracy, accuracy))
    assert [row[0] for row in published.rows[3:6]] == [f"{name} of {LABELS[0]}" for name in ("precision", "recall", "F1")]
    assert "epochs 7 to 8" in published.title
    assert "The challenger is bbbbbbbbbbbb." in published.note
    assert "3 of its decisions are fallback" in published.note
    assert "rollout status --verdict" in both.note
    assert len(rest) == 4


def test_what_viewers_said_of_each_arm_stands_below_if_one_was_asked(report: QualityReport) -> None:
    """An arm without a question says so; without any question there is no row."""
    found = with_arms(report)
    champion, challenger = found.arms
    assert "viewers' answers" not in {row[0] for row in tables(found)[3].rows}
    viewers = ViewersAnswers(asked=40, answered=12, votes=20, right=15)
    asked = replace(champion, feedback=replace(champion.feedback, viewers=viewers))
    row = ("viewers' answers", "12 of 40 asked, 75 % said right", "-")
    assert tables(replace(found, arms=(asked, challenger)))[3].rows[7] == row


def test_what_people_said_of_each_arm_stands_in_the_same_table(report: QualityReport) -> None:
    """Answers, minutes, and readers' reports; the audience is described by its sources if the rest has others."""
    both = tables(with_arms(report))[3]
    assert both.rows[3:7] == (
        ("people's answers", "1,200", "4"),
        ("people's minutes", "90", "not known"),
        ("events that readers reported", "7", "3"),
        ("of these found wrong by a person", "2", "1"),
    )
    decisions = report.model.decisions
    said = f"The challenger's events are the audience of the canary: {decisions:,.0f} of {2 * decisions:,.0f} decisions in these epochs"
    assert both.note.startswith(f"{said}, all from newsroom. ")
    champion, challenger = with_arms(report).arms
    alike = replace(report, arms=(replace(champion, sources={"newsroom": 3}), challenger))
    assert tables(alike)[3].note.startswith(f"{said}. ")


def test_models_have_a_row_each(report: QualityReport) -> None:
    """Name and digests, how much is known, and both accuracies."""
    [models] = [table for table in tables(with_arms(report)) if table.title == "Accuracy by model"]
    assert [row[0] for row in models.rows] == ["tiny 1: aaaaaaaaaaaa", "tiny 2: bbbbbbbbbbbb"]
    assert {len(row) for row in models.rows} == {len(models.head)}
