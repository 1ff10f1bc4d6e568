"""A quality report as text tables, for the terminal and the console's page, and as one JSON object."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tagstream.monitoring.quality.estimate import Estimate, Figure
from tagstream.monitoring.quality.feedback import Feedback
from tagstream.monitoring.quality.report import MeasuredModel, QualityReport

UNKNOWN = "-"
# The number of characters that are shown of a digest, and the number of digests that are shown of a model.
SHORT, MOST_BUNDLES = 12, 3
# An audience with more sources is not described by them.
MOST_SOURCES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityTable:
    """
    One table.

    Attributes:
        title: The heading of the table.
        head: The names of the columns.
        rows: The cells of each row, one for each column.
        note: One or more sentences below the table; may be empty.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def headline(report: QualityReport, *, days: float) -> str:
    """
    Return the sentences to read first.

    Args:
        report: The estimates.
        days: The length of the window, in days.
    """
    # A promise counts as kept or broken only if the whole interval lies on one side of it.
    found = report.published.accuracy
    if found.value is None or found.missing:
        return f"Too few audits are answered to say how right the published decisions are: {found.missing} more are needed. {_pace(found, days)}"
    said = f"Of what is published, {percent(found)} is right"
    if report.promise is None:
        return (
            f"{said}. The promise is not known: the bundle that decided is neither in TAGSTREAM_BUNDLE nor in "
            f"rollout.bundles here, or certifies nothing of all its labels; a model that runs in another program promises nothing. "
            f"Next: `tagstream quality --promise` judges by a promise of yours."
        )
    promise = f"the promise of {report.promise:.0%}"
    if found.high < report.promise:
        return f"{said}: below {promise}."
    if found.low >= report.promise:
        return f"{said}: {promise} is kept."
    return f"{said}: {promise} lies within the interval, so more audits must decide."


def _pace(found: Figure, days: float) -> str:
    """Say where the missing answers come from, and how many came."""
    source = "They come from audits: a drawn share of what is published (audit_rate), which reviewers answer."
    return f"{source} These {days:.0f} days brought {found.answers}." if found.answers else source


def verdict(report: QualityReport) -> str:
    """Say in one sentence whether new thresholds are worth the work, and why."""
    advice = report.advice
    return f"New thresholds are {'worth doing' if advice.worth else 'not worth doing yet'}: {advice.reason}."


def tables(report: QualityReport) -> tuple[QualityTable, ...]:
    """Return the tables in reading order."""
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
    slices = QualityTable(
        title="Published, by slice",
        head=("slice", "value", "accuracy", "answers"),
        rows=tuple((name, value, percent(figure), str(figure.answers)) for name, value, figure in shown),
        note="Slices are looked at one by one: of twenty, one interval misses by chance.",
    )
    return (*scopes, *_arms(report), *_models(report), _expected(report), slices, _reviewers(report))


def _arms(report: QualityReport) -> tuple[QualityTable, ...]:
    """Return tables of champion and challenger side by side; none if no challenger decided in the window."""
    if not report.arms:
        return ()
    said = " ".join(map(_arm, report.arms))
    return (
        _beside(
            f"Champion and challenger, {_epochs(report.arms[-1].epochs)}: published without a person",
            report.arms,
            [arm.published for arm in report.arms],
            (),
            said,
        ),
        _beside(
            "Champion and challenger over both doors",
            report.arms,
            [arm.model for arm in report.arms],
            _feedback([arm.feedback for arm in report.arms]),
            f"{_audience(*report.arms)} An answer counts the median time of all answers. Intervals that overlap do not say which is better: tagstream rollout status --verdict does, by events that both have decided.",
        ),
    )


def _feedback(arms: Sequence[Feedback]) -> tuple[tuple[str, ...], ...]:
    """Return rows of what people, readers and viewers said, with a column for each arm; none of viewers if none was asked."""
    viewers = [one.viewers for one in arms]
    answers = tuple(one.in_words() if one.asked else UNKNOWN for one in viewers)
    return (
        ("people's answers", *(f"{one.answers:,}" for one in arms)),
        ("people's minutes", *("not known" if one.minutes is None else f"{one.minutes.value:,.0f}" for one in arms)),
        ("events that readers reported", *(f"{one.reported:,}" for one in arms)),
        ("of these found wrong by a person", *(f"{one.confirmed:,}" for one in arms)),
        *([("viewers' answers", *answers)] if any(one.asked for one in viewers) else []),
    )


def _audience(champion: MeasuredModel, challenger: MeasuredModel) -> str:
    """Say which part of the decisions the challenger has, and of which sources if the champion has others too."""
    its, every = challenger.model.decisions, champion.model.decisions + challenger.model.decisions
    said = f"The challenger's events are the audience of the canary: {its:,.0f} of {every:,.0f} decisions in these epochs"
    others = champion.sources.keys() - challenger.sources.keys()
    if not others or not 0 < len(challenger.sources) <= MOST_SOURCES:
        return f"{said}."
    return f"{said}, all from {' and '.join(one or 'no source' for one in sorted(challenger.sources))}."


def _beside(
    title: str, arms: Sequence[MeasuredModel], found: Sequence[Estimate], more: Sequence[tuple[str, ...]], note: str
) -> QualityTable:
    """Return a table with a row for each figure and a column for each arm, with `more` rows below the accuracy."""
    rows: list[tuple[str, ...]] = [
        ("decisions", *(f"{one.decisions:,.0f}" for one in found)),
        ("settled answers", *(f"{one.answers:,}" for one in found)),
        ("accuracy", *(percent(one.accuracy) for one in found)),
        *more,
    ]
    rows += [
        (f"{shown} of {label}", *(percent(one.by_label[label][name]) for one in found))
        for label in found[0].by_label
        for name, shown in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
    ]
    return QualityTable(title=title, head=("figure", *(arm.name for arm in arms)), rows=tuple(rows), note=note)


def _arm(arm: MeasuredModel) -> str:
    """Name the arm's bundles, and count its fallback decisions."""
    bundles = f"The {arm.name} is {_bundles(arm.bundles)}."
    if not arm.fallback:
        return bundles
    return f"{bundles} {arm.fallback:,} of its decisions are fallback: events of the challenger that it could not decide."


def _models(report: QualityReport) -> tuple[QualityTable, ...]:
    """Return a table with a row for each model; none if one bundle made all decisions."""
    if not report.models:
        return ()
    rows = tuple(
        (
            f"{one.name}: {_bundles(one.bundles)}",
            f"{one.model.answers:,}",
            percent(one.published.accuracy),
            percent(one.model.accuracy),
        )
        for one in report.models
    )
    return (
        QualityTable(
            title="Accuracy by model",
            head=("model and bundles", "answers", "published", "both doors"),
            rows=rows,
            note="The newest first. Bundles that differ in thresholds alone are one model, where they are found by their digests: in TAGSTREAM_BUNDLE or rollout.bundles. Models have had other times, or other shares of the stream.",
        ),
    )


def _bundles(digests: Sequence[str]) -> str:
    """
    Return the first characters of the newest digests.

    >>> _bundles(["a" * 64]), _bundles(["a" * 64, "b" * 64, "c" * 64, "d" * 64])
    ('aaaaaaaaaaaa', 'aaaaaaaaaaaa, bbbbbbbbbbbb, cccccccccccc and 1 more')
    """
    shown = ", ".join(one[:SHORT] for one in digests[:MOST_BUNDLES])
    return shown if len(digests) <= MOST_BUNDLES else f"{shown} and {len(digests) - MOST_BUNDLES} more"


def _epochs(epochs: Sequence[int]) -> str:
    """
    The epochs of a canary.

    >>> _epochs([7]), _epochs([7, 9])
    ('epoch 7', 'epochs 7 to 9')
    """
    return f"epoch {epochs[0]}" if len(epochs) == 1 else f"epochs {epochs[0]} to {epochs[-1]}"


def _estimate(title: str, found: Estimate, meaning: str) -> QualityTable:
    rows: list[tuple[str, ...]] = [("all labels", percent(found.accuracy), "", "", "")]
    rows += [
        (label, "", *(percent(figures[name]) for name in ("precision", "recall", "f1")))
        for label, figures in found.by_label.items()
    ]
    return QualityTable(
        title=title,
        head=("label", "accuracy", "precision", "recall", "F1"),
        rows=tuple(rows),
        note=f"{found.decisions:,.0f} decisions, of which {found.drawn:,} were drawn for people and {found.answers:,} have a settled answer. {_unknown(found)} {meaning}",
    )


def _unknown(found: Estimate) -> str:
    """Say between which bounds the accuracy lies, whatever the truth of the unanswered decisions is."""
    if not found.drawn:
        return "None was drawn for people yet, so nothing is known of them."
    low, high = found.anyway
    return (
        f"{found.unanswered:.0%} of what was drawn has no answer, and is taken to be like the rest: whatever it is, the accuracy lies "
        f"between {100 * low:.1f} and {100 * high:.1f} %."
    )


def _expected(report: QualityReport) -> QualityTable:
    expectation = UNKNOWN if report.expected.accuracy is None else f"{100 * report.expected.accuracy:.1f} %"
    gap = report.gap
    shown = (
        percent(gap)
        if gap.missing
        else UNKNOWN
        if gap.value is None
        else f"{100 * gap.value:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    )
    return QualityTable(
        title="Expected without labels",
        head=("figure", "value"),
        rows=(
            ("accuracy that the model expects of what it publishes", expectation),
            ("accuracy that people found", percent(report.published.accuracy)),
            ("gap; above zero the model is too sure", shown),
        ),
        note="The gap is the first of these figures less the second.",
    )


def _reviewers(report: QualityReport) -> QualityTable:
    found = report.reviewers
    slip = (
        UNKNOWN
        if found.slip is None
        else f"{100 * found.slip:.1f} % ({100 * found.slip_low:.1f} to {100 * found.slip_high:.1f})"
    )
    return QualityTable(
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


def as_json(report: QualityReport, *, days: float) -> dict[str, Any]:
    """Return every number of a report by its name, and the headline. Shares are 0 to 1; `days` is as in `headline`."""
    return {**asdict(report), "headline": headline(report, days=days)}
