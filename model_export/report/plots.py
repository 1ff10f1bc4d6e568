"""
The pictures of a report, as SVG that follows the reader's light or dark mode: colours are variables of the page's style.

Drawn at the width of a phone, so that nothing has to be magnified; letters stay letters and can be searched and read aloud. The same
record gives the same bytes.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from model_export.calibrate.intervals import Interval
from model_export.compare.measured import Measured, PartReport, title
from model_export.measure.slices import FEW_ROWS

# By name of the style's variable: what it is in light and in dark. Each light value is used once, to be found again in the SVG.
COLOURS = {
    "ink": ("#1b1e22", "#e9ebee"),
    "quiet": ("#58606a", "#a5adb8"),
    "line": ("#dfe1e4", "#2b313a"),
    "card": ("#fffffe", "#181c22"),
    "ours": ("#0f766e", "#3cc9b8"),
    "other-1": ("#a84b06", "#f3b548"),
    "other-2": ("#1d4fd0", "#82abff"),
    "other-3": ("#7530d6", "#c6a5ff"),
    "other-4": ("#b3201f", "#ff8585"),
    "other-5": ("#4d6b1c", "#a8cc6a"),
    "other-6": ("#8a3668", "#f09ccb"),
}
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
WIDTH = 4.4
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
STRONGEST_CELL = 0.45

# Matplotlib types its keys as a literal of hundreds.
_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tagstream",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.6,
    "ytick.labelsize": 8.6,
}
_LIGHT = {name: light for name, (light, _) in COLOURS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One plot: a file name without ending, what it shows in a sentence for those who do not see it, and the SVG element."""

    name: str
    sentence: str
    svg: str

    def as_file(self) -> str:
        """The picture as a file of its own, which brings the colours that a page would have."""
        return self.svg.replace(">", f"><style>{colour_rules('svg')}</style>", 1)


def colour_rules(selector: str) -> str:
    """The colours as CSS, light and dark."""
    light, dark = (";".join(f"--{name}:{pair[place]}" for name, pair in COLOURS.items()) for place in (0, 1))
    return f"{selector}{{{light}}}@media (prefers-color-scheme:dark){{{selector}{{{dark}}}}}"


def draw(measured: Measured) -> dict[str, Picture]:
    """Every picture of a report, by its name."""
    with mpl.rc_context(_STYLE):
        pictures = [picture for part in measured.bundle.parts for picture in _of_part(measured, part)]
    return {picture.name: picture for picture in pictures}


def _of_part(measured: Measured, part: str) -> list[Picture]:
    found = measured.bundle.parts[part]
    return [
        *([_rivals(measured, part)] if measured.others else []),
        _confusion(measured, part),
        _reliability(found, part),
        _risk_coverage(measured, part),
        _slices(found, part),
    ]


def _rivals(measured: Measured, part: str) -> Picture:
    """Weighted F1 of every model, with its interval."""
    figure, axes = _axes(0.8 + 0.36 * len(measured.models))
    for place, model in enumerate(measured.models):
        evaluation = model.parts[part].evaluation
        _dot(axes, place, evaluation.weighted_f1, evaluation.weighted_f1_interval, _LIGHT["quiet" if place else "ours"])
        axes.annotate(
            f"{evaluation.weighted_f1:.3f}",
            (evaluation.weighted_f1, place),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=_LIGHT["ink"],
        )
    _name_rows(axes, [model.name for model in measured.models])
    axes.set_xlabel("weighted F1, 95 % interval")
    best = max(measured.models, key=lambda model: model.parts[part].evaluation.weighted_f1)
    figures = "; ".join(f"{model.name} {model.parts[part].evaluation.weighted_f1:.3f}" for model in measured.models)
    return _picture(
        figure, f"rivals-{part}", f"Weighted F1 on the {title(part)} with 95 % intervals: {figures}. Highest: {best.name}."
    )


def _reliability(found: PartReport, part: str) -> Picture:
    """Confidence against the share right, and how many rows have which confidence."""
    figure = _figure(3.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes in (upper, lower):
        _dress(axes)
    upper.plot([0, 1], [0, 1], color=_LIGHT["quiet"], linewidth=1, linestyle="--")
    for each in found.reliability:
        low, high = each.interval
        upper.plot([each.confidence] * 2, [low, high], color=_LIGHT["ours"], linewidth=1.6, alpha=0.55)
        upper.plot(each.confidence, each.right, "o", color=_LIGHT["ours"], markersize=5.5)
        lower.bar(each.low, each.rows, width=each.high - each.low, align="edge", color=_LIGHT["ours"], edgecolor=_LIGHT["card"])
    upper.set_ylim(-0.02, 1.02)
    upper.set_xlim(0, 1)
    upper.set_ylabel("share right")
    lower.set_ylabel("rows")
    lower.set_xlabel("confidence")
    error = found.evaluation.calibration_error
    return _picture(
        figure,
        f"reliability-{part}",
        f"Reliability on the {title(part)}: share right by confidence, with 95 % intervals; on the dashed line a confidence is what it says. "
        f"Expected calibration error {error:.3f}.",
    )


def _risk_coverage(measured: Measured, part: str) -> Picture:
    """How often each model is wrong when it answers only what it is surest of."""
    figure, axes = _axes(3.9)
    for place, model in enumerate(measured.models):
        points = model.parts[part].risk_coverage.points
        coverage, risk = [point.coverage for point in points], [point.risk for point in points]
        colour, dashes = _series(place)
        if not place:
            bounds = [point.interval for point in points]
            axes.fill_between(
                coverage, [low for low, _ in bounds], [high for _, high in bounds], color=colour, alpha=0.13, lw=0
            )
        area = model.parts[part].risk_coverage.area
        axes.plot(
            coverage,
            risk,
            color=colour,
            linestyle=dashes,
            linewidth=1.3 if place else 2.4,
            label=f"{model.name} ({area:.3f})",
            zorder=3,
        )
    published = measured.bundle.parts[part].published
    if published.precision is not None:
        axes.plot(published.share, 1 - published.precision, "o", color=_LIGHT["ours"], markersize=7, zorder=4)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, _headroom(measured, part))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("rows answered, surest first")
    axes.set_ylabel("of them wrong")
    legend = axes.legend(
        loc="upper left", frameon=False, fontsize=8, title="mean risk in brackets", title_fontsize=8, labelcolor=_LIGHT["ink"]
    )
    legend.get_title().set_color(_LIGHT["quiet"])
    return _picture(
        figure,
        f"risk-coverage-{part}",
        f"Risk by coverage on the {title(part)}, one confidence for all labels. By its own thresholds the bundle answers "
        f"{published.share:.0%} of rows and {published.kept - published.right} of those {published.kept} are wrong (the dot); the band is "
        f"the 95 % interval of its curve.",
    )


def _confusion(measured: Measured, part: str) -> Picture:
    """What rows of each label were given as."""
    counts, labels = measured.bundle.parts[part].evaluation.confusion, measured.labels
    figure, axes = _axes(4.0, grid=False)
    for row, given in enumerate(counts):
        for column, count in enumerate(given):
            share = count / max(1, sum(given))
            colour = _LIGHT["ours" if row == column else "other-4"]
            axes.add_patch(
                Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, color=colour, alpha=0.04 + STRONGEST_CELL * share, lw=0)
            )
            axes.text(column, row - 0.1, str(count), ha="center", va="center", fontsize=11, color=_LIGHT["ink"])
            axes.text(column, row + 0.24, f"{share:.0%}", ha="center", va="center", fontsize=8, color=_LIGHT["ink"])
    places = range(len(labels))
    broken = [broken_label(label) for label in labels]
    axes.set_xticks(places, broken)
    axes.set_yticks(places, broken)
    axes.tick_params(length=0)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("given as")
    axes.set_ylabel("label")
    right = sum(counts[place][place] for place in places)
    return _picture(
        figure,
        f"confusion-{part}",
        f"Confusion matrix on the {title(part)}: rows by their label, columns by the label given; {right} of {sum(map(sum, counts))} are on the "
        f"diagonal. Percentages are of the row.",
    )


def _slices(found: PartReport, part: str) -> Picture:
    """The share right on every slice, with its interval; slices of few rows are hollow."""
    reports = found.slices
    figure, axes = _axes(0.9 + 0.27 * (len(reports) + len({report.group for report in reports})))
    axes.axvline(found.evaluation.accuracy, color=_LIGHT["quiet"], linewidth=1, linestyle="--")
    places, place = [], 0.0
    for number, report in enumerate(reports):
        place += 1.6 if number and report.group != reports[number - 1].group else 1.0
        places.append(place)
        _dot(axes, place, report.accuracy, report.interval, _LIGHT["ours"], hollow=report.few)
    _name_rows(axes, [f"{report.name} ({report.rows})" for report in reports], places)
    axes.set_xlabel("share right, 95 % interval")
    worst = min((report for report in reports if not report.few), key=lambda report: report.accuracy, default=None)
    lowest = f" Lowest with {FEW_ROWS} rows or more: {worst.name}, {worst.accuracy:.3f}." if worst else ""
    return _picture(
        figure,
        f"slices-{part}",
        f"Share right by slice on the {title(part)}, rows in brackets; the dashed line is that of all rows, hollow dots have fewer than "
        f"{FEW_ROWS} rows.{lowest}",
    )


def broken_label(label: str) -> str:
    r"""
    A label over several lines, to stand beside an axis.

    >>> broken_label("computer-vision")
    'computer-\nvision'
    """
    return label.replace("-", "-\n")


def _axes(height: float, *, grid: bool = True) -> tuple[Figure, Axes]:
    figure = _figure(height)
    axes = figure.add_subplot()
    _dress(axes, grid=grid)
    return figure, axes


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
    FigureCanvasSVG(figure)
    return figure


def _dress(axes: Axes, *, grid: bool = True) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=_LIGHT["quiet"], labelcolor=_LIGHT["ink"])
    axes.xaxis.label.set_color(_LIGHT["quiet"])
    axes.yaxis.label.set_color(_LIGHT["quiet"])
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(_LIGHT["line"])
    if grid:
        axes.grid(color=_LIGHT["line"], linewidth=0.7)
        axes.set_axisbelow(True)


def _dot(axes: Axes, place: float, value: float, interval: Interval, colour: str, *, hollow: bool = False) -> None:
    axes.plot(interval, [place] * 2, color=colour, linewidth=2, alpha=0.6, solid_capstyle="round")
    face = _LIGHT["card"] if hollow else colour
    axes.plot(value, place, "o", markersize=6.5, markeredgecolor=colour, markerfacecolor=face, markeredgewidth=1.4)


def _name_rows(axes: Axes, names: Sequence[str], places: Sequence[float] | None = None) -> None:
    at = list(places) if places is not None else [float(place) for place in range(len(names))]
    axes.set_yticks(at, list(names))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(max(at) + 0.6, min(at) - 0.8)


def _series(place: int) -> tuple[str, Any]:
    others = [name for name in COLOURS if name.startswith("other-")]
    if not place:
        return _LIGHT["ours"], "-"
    return _LIGHT[others[(place - 1) % len(others)]], DASHES[(place - 1) % len(DASHES)]


def _headroom(measured: Measured, part: str) -> float:
    """The highest risk once a tenth of rows is answered: before, one row decides; and room for the legend."""
    risks = [
        point.risk
        for model in measured.models
        for point in model.parts[part].risk_coverage.points
        if point.coverage >= 0.1  # noqa: PLR2004
    ]
    return min(1.0, max(0.05, 1.35 * max(risks)))


def _picture(figure: Figure, name: str, sentence: str) -> Picture:
    written = io.StringIO()
    # Without a date, a program and its version: the same record gives the same bytes.
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return Picture(name=name, sentence=sentence, svg=_themed(written.getvalue(), name, sentence))


def _themed(svg: str, name: str, sentence: str) -> str:
    """The element alone, its ids its own, its colours variables, its letters in the reader's font."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"'DejaVu Sans'(?:, [^;\"]*)?", FONT, svg)
    for colour, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{colour}, {light})")
    # Its size is the page's business; the proportions are in the view box.
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_attribute(sentence)}" ', 1)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
