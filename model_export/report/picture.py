"""A picture of a report as SVG: colours are CSS variables that follow light and dark mode, and text stays text."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tagstream.model_export.calibrate.intervals import Interval
from tagstream.model_export.report.colours import COLOURS, colour_rules

DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
WIDTH = 4.4
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"

# `Any`, because Matplotlib types the keys as a literal of hundreds of names.
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
LIGHT = {name: light for name, (light, _) in COLOURS.items()}


@contextmanager
def house_style() -> Iterator[None]:
    """While the context is open, Matplotlib has the settings of these pictures."""
    with mpl.rc_context(_STYLE):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One plot: a file name without extension, a sentence for readers who do not see the plot, and the SVG element."""

    name: str
    sentence: str
    svg: str

    def as_file(self) -> str:
        """Return the picture as a separate file, with the colours that a page would define."""
        return self.svg.replace(">", f"><style>{colour_rules('svg')}</style>", 1)


def axes_of(height: float, *, grid: bool = True) -> tuple[Figure, Axes]:
    """Return a figure of this height, in inches, with one plot."""
    figure = figure_of(height)
    axes = figure.add_subplot()
    dress(axes, grid=grid)
    return figure, axes


def figure_of(height: float) -> Figure:
    """Return an empty figure of this height, in inches, and of the width of a phone."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
    FigureCanvasSVG(figure)
    return figure


def dress(axes: Axes, *, grid: bool = True) -> None:
    """Give a plot the colours of the style, spines only at the left and the bottom, and a grid if wanted."""
    axes.set_facecolor("none")
    axes.tick_params(colors=LIGHT["quiet"], labelcolor=LIGHT["ink"])
    axes.xaxis.label.set_color(LIGHT["quiet"])
    axes.yaxis.label.set_color(LIGHT["quiet"])
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(LIGHT["line"])
    if grid:
        axes.grid(color=LIGHT["line"], linewidth=0.7)
        axes.set_axisbelow(True)


def dot(axes: Axes, place: float, value: float, interval: Interval, colour: str, *, hollow: bool = False) -> None:
    """
    Draw a value with its interval.

    Args:
        axes: The plot.
        place: The row, on the vertical axis.
        value: The value, on the horizontal axis.
        interval: The value's interval, on the horizontal axis.
        colour: The colour of dot and interval.
        hollow: Draw a hollow dot: the value rests on few rows.
    """
    axes.plot(interval, [place] * 2, color=colour, linewidth=2, alpha=0.6, solid_capstyle="round")
    face = LIGHT["card"] if hollow else colour
    axes.plot(value, place, "o", markersize=6.5, markeredgecolor=colour, markerfacecolor=face, markeredgewidth=1.4)


def name_rows(axes: Axes, names: Sequence[str], places: Sequence[float] | None = None) -> None:
    """
    Name the rows beside the vertical axis.

    Args:
        axes: The plot.
        names: The names of the rows, from the top.
        places: The places of the rows on the vertical axis; None to number them from 0.
    """
    at = list(places) if places is not None else [float(place) for place in range(len(names))]
    axes.set_yticks(at, list(names))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(max(at) + 0.6, min(at) - 0.8)


def series(place: int) -> tuple[str, Any]:
    """Return the colour and the dashes of a model by its place in the record. The bundle has place 0."""
    others = [name for name in COLOURS if name.startswith("other-")]
    if not place:
        return LIGHT["ours"], "-"
    return LIGHT[others[(place - 1) % len(others)]], DASHES[(place - 1) % len(DASHES)]


def picture_of(figure: Figure, name: str, sentence: str) -> Picture:
    """
    Save a figure as SVG.

    Args:
        figure: The finished figure.
        name: A file name without extension. Every id in the SVG begins with this name, so that pictures can share a page.
        sentence: A description for readers who do not see the picture.
    """
    written = io.StringIO()
    # Without date and program version, the same record gives the same bytes.
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return Picture(name=name, sentence=sentence, svg=_themed(written.getvalue(), name, sentence))


def _themed(svg: str, name: str, sentence: str) -> str:
    """Return only the SVG element, with unique ids, colours as variables, and the reader's font."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"'DejaVu Sans'(?:, [^;\"]*)?", FONT, svg)
    for colour, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{colour}, {light})")
    # The page sets the size; the proportions are in the view box.
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(sentence)}" ', 1)
