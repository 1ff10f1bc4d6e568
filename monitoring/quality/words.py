"""A report as tables of words, for the terminal and for the console's page, and as one JSON object."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from monitoring.quality.estimate import Estimate, Figure
from monitoring.quality.report import Report

UNKNOWN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """
    One table.

    Attributes:
        title: Its heading.
        head: The names of the columns.
        rows: The cells of each row, as many as `head` has.
        note: One or more sentences below it; may be empty.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def headline(report: Report, *, days: float) -> str:
    """
    What to read first.

    Args:
        report: The estimates.
        days: The length of their window.
    """
    # A promise is kept or broken only where all of the interval lies on one side of it.
    found = report.published.accuracy
    if found.value is None or found.missing:
        return f"Too few audits are answered to say how right the published decisions are: {found.missing} more are needed. {_pace(found, days)}"
    said = f"Of what is published, {percent(found)} is right"
    if report.promise is None:
        return (
            f"{said}. What was promised is not known: the bundle that decided is not the one that TAGSTREAM_BUNDLE names here, or "
            f"certifies nothing of all its labels."
        )
    promise = f"the promise of {report.promise:.0%}"
    if found.high < report.promise:
        return f"{said}: below {promise}."
    if found.low >= report.promise:
        return f"{said}: {promise} is kept."
    return f"{said}: {promise} lies within the interval, so more audits must decide."


def _pace(found: Figure, days: float) -> str:
    """Where the missing answers come from, and how long that takes."""
    source = "They come from audits: a drawn share of what is published (audit_rate), which reviewers answer."
    if not found.answers:
        return source
    more = math.ceil(found.missing * days / found.answers)
    return f"{source} At the pace of these {days:.0f} days, {found.answers} answers, that takes {more:,} days."


def verdict(report: Report) -> str:
    """Whether new thresholds are worth it, and why: one sentence."""
    advice = report.advice
    return f"New thresholds are {'worth doing' if advice.worth else 'not worth doing yet'}: {advice.reason}."


def tables(report: Report) -> tuple[Table, ...]:
    """The tables in the order in which they are read."""
    scopes = [
        _estimate(
            "Published without a person",
            report.published,
            "An answer is settled when two people agree, or a person and the model; of what went to people, with the first answer.",
        ),
        _estimate(
            "The model over both doors",
            report.model,
            "Both doors: what was published and what went to people, as if the model's own tag stood everywhere.",
        ),
    ]
    shown = [(name, value, figure) for name, values in report.slices.items() for value, figure in values.items()]
    slices = Table(
        title="Published, by slice",
        head=("slice", "value", "accuracy", "answers"),
        rows=tuple((name, value, percent(figure), str(figure.answers)) for name, value, figure in shown),
        note="Slices are looked at one by one: of twenty, one interval misses by chance.",
    )
    return (*scopes, _expected(report), slices, _reviewers(report))


def _estimate(title: str, found: Estimate, meaning: str) -> Table:
    rows: list[tuple[str, ...]] = [("all labels", percent(found.accuracy), "", "", "")]
    rows += [
        (label, "", *(percent(figures[name]) for name in ("precision", "recall", "f1")))
        for label, figures in found.by_label.items()
    ]
    return Table(
        title=title,
        head=("label", "accuracy", "precision", "recall", "F1"),
        rows=tuple(rows),
        note=f"{found.decisions:,.0f} decisions, of which {found.drawn:,} were drawn for people and {found.answers:,} have a settled answer. {_unknown(found)} {meaning}",
    )


def _unknown(found: Estimate) -> str:
    """What the answers cannot say of the accuracy."""
    if not found.drawn:
        return "None was drawn for people yet, so nothing is known of them."
    low, high = found.anyway
    return (
        f"{found.unanswered:.0%} of what was drawn has no answer, and is taken to be like the rest: whatever it is, the accuracy lies "
        f"between {100 * low:.1f} and {100 * high:.1f} %."
    )


def _expected(report: Report) -> Table:
    expectation = UNKNOWN if report.expected.accuracy is None else f"{100 * report.expected.accuracy:.1f} %"
    gap = report.gap
    shown = (
        percent(gap)
        if gap.missing
        else UNKNOWN
        if gap.value is None
        else f"{100 * gap.value:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    )
    return Table(
        title="Expected without labels",
        head=("figure", "value"),
        rows=(
            ("accuracy that the model expects of what it publishes", expectation),
            ("accuracy that people found", percent(report.published.accuracy)),
            ("gap; above zero the model is too sure", shown),
        ),
        note="The gap is the first of these figures less the second.",
    )


def _reviewers(report: Report) -> Table:
    found = report.reviewers
    slip = (
        UNKNOWN
        if found.slip is None
        else f"{100 * found.slip:.1f} % ({100 * found.slip_low:.1f} to {100 * found.slip_high:.1f})"
    )
    return Table(
        title="Reviewers",
        head=("figure", "value"),
        rows=(
            ("audit answers", f"{found.answers:,}"),
            ("of these against the model", f"{found.contradictions:,}"),
            ("of these with a second opinion", f"{found.second_opinions:,}"),
            ("of these overturned", f"{found.overturned:,}"),
            ("first answers that are slips", slip),
        ),
        note="A slip is a first answer that is wrong where the model was right. Without second opinions every slip of a reviewer counts as a mistake of the model.",
    )


def percent(figure: Figure) -> str:
    """
    A figure with its interval, or how many answers are missing.

    >>> percent(Figure(value=0.957, low=0.941, high=0.97, answers=900))
    '95.7 % (94.1 to 97.0)'
    >>> percent(Figure(value=1.0, low=0.6, high=1.0, answers=7))
    'too few: 43 more answers'
    >>> percent(Figure(value=0.4, low=0.2, high=0.7, answers=80, slipped=0.6))
    'not known: 60% of the answers may be slips'
    """
    if figure.missing:
        return f"too few: {figure.missing} more answer{'s' if figure.missing > 1 else ''}"
    if figure.value is None:
        return UNKNOWN
    if not figure.shown:
        return f"not known: {figure.slipped:.0%} of the answers may be slips"
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def as_json(report: Report, *, days: float) -> dict[str, Any]:
    """Every number of a report by its name, and the headline; shares are 0 to 1, `days` is as there."""
    return {**asdict(report), "headline": headline(report, days=days)}
