"""The record of an evaluation as text for a terminal."""

from dataclasses import dataclass

from tagstream.model_export.compare.evaluation_record import Measured, title
from tagstream.model_export.measure import slices, speed, suites
from tagstream.model_export.report import comparison
from tagstream.monitoring.quality.words import QualityTable


def shown_p(value: float) -> str:
    """
    Write a p-value, never as zero.

    >>> [shown_p(p) for p in (0.00001, 0.04)]
    ['< 0.0001', '0.0400']
    """
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"  # noqa: PLR2004 - the last digit that is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A comparison in words, see `report/comparison.py`."""

    sentences: list[str]
    tables: list[QualityTable]


def of_evaluation(measured: Measured) -> list[Told]:
    """Return the comparisons of the bundle with each other measured bundle, in each part of the data."""
    return [
        Told(
            sentences=comparison.sentences(
                found.versus.comparison, new=measured.bundle.name, old=other.name, what=f"rows of the {title(part)}"
            ),
            tables=comparison.tables(found.versus.comparison),
        )
        for other in measured.others
        for part, found in other.parts.items()
        if found.versus is not None and found.versus.comparison is not None
    ]


def as_text(measured: Measured) -> str:
    """Return the bundle's figures in full, and one line for each other model."""
    blocks = []
    for part, found in measured.bundle.parts.items():
        blocks += [found.evaluation.as_text(part), slices.as_table(part, found.slices)]
    blocks += [_models(measured, part) for part in measured.bundle.parts]
    blocks += ["\n".join(told.sentences) for told in of_evaluation(measured)]
    if measured.bundle.gate is not None:
        blocks.append(measured.bundle.gate.as_text())
    blocks += [_speeds(measured), suites.as_table(measured.bundle.behaviour)]
    return "\n".join(blocks)


def _models(measured: Measured, part: str) -> str:
    width = max(len(model.name) for model in measured.models)
    lines = [
        f"models on {part}: weighted F1, and the bundle less each other, on the same rows",
        f"  {'model':<{width}} {'F1':>6}  {'95 %':<16} {'difference':>10}  {'95 %':<18} {'alone right':>11} {'p':>8}  bundle is",
    ]
    for model in measured.models:
        evaluation, versus = model.parts[part].evaluation, model.parts[part].versus
        low, high = evaluation.weighted_f1_interval
        line = f"  {model.name:<{width}} {evaluation.weighted_f1:>6.3f}  [{low:.3f}, {high:.3f}]"
        if versus is not None:
            (least, most), test = versus.test.interval, versus.test
            line += f"   {test.difference:>+10.3f}  [{least:+.3f}, {most:+.3f}]   {test.only_ours:>5} :{test.only_theirs:>4}"
            line += f" {shown_p(versus.corrected_p):>8}  {versus.verdict}"
        lines.append(line)
    return "\n".join(lines)


def _speeds(measured: Measured) -> str:
    width = max(len(model.name) for model in measured.models)
    first = measured.bundle.speed
    lines = [
        f"speed: threads={first.threads}, tokenisation included, {first.texts} texts, median of {first.rounds} rounds in turn",
        f"  {'model':<{width}} {'texts/s':>9}  {'slowest to fastest':<21} {'cores':>5} {'MB':>6}",
    ]
    for model in measured.models:
        found = model.speed
        size = f"{model.megabytes:.1f}" if model.megabytes is not None else "-"
        extremes = f"{found.slowest:,.0f} to {found.fastest:,.0f}"
        lines.append(f"  {model.name:<{width}} {found.texts_per_second:>9,.0f}  {extremes:<21} {found.cores:>5.2f} {size:>6}")
    note = speed.shared([model.speed for model in measured.models])
    return "\n".join([*lines, f"  {note}"] if note else lines)
