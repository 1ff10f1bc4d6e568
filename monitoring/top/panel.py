"""Draws the figures of running workers for `tagstream top`: figures in, lines out; two columns from a width of 76 on."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from monitoring import limits
from monitoring.figures.alarms import Alarm, Tier, alarms
from monitoring.figures.figures import Figures, Measure, leading
from monitoring.top.cells import QUIET, bar, cut, ends, fitted
from monitoring.vocabulary import few

TWO_COLUMNS = 76
GAP = 3
# The least width of a number with its name below.
CELL = 9
TIER_STYLES = {Tier.PAGE: "bold red", Tier.TICKET: "yellow"}
TIER_NAMES = {Tier.PAGE: "now", Tier.TICKET: "soon"}
HEIGHTS = " ▁▂▃▄▅▆▇█"
MINUTES_FROM, HOURS_FROM = 120, 7200
DASH = "-"
NO_FLOW = "no rates yet: they need two looks, a second apart"
NO_BREAK = "\N{NO-BREAK SPACE}"
# Draws a part of the frame in the given number of columns.
Block = Callable[[Figures, int], list[Text]]


@dataclass(frozen=True, slots=True)
class Frame:
    """
    Figures as a renderable.

    Attributes:
        figures: The figures to draw.
        whole: Take as many lines as needed; otherwise exactly the terminal's height.
        lost: Why the figures are old; empty while they are current.
    """

    figures: Figures
    whole: bool = False
    lost: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Head, figures, alarms, then tags and drift, confidence and shares."""
        width = options.max_width
        lines = [*_head(self.figures, width, self.lost), *overview(self.figures, width)]
        lines += _side_by_side(self.figures, width, _confidence, _shares)
        if not self.whole:
            height = options.height or console.height
            foot = Text(" Ctrl-C ends", style=QUIET)
            room = max(0, height - 1)
            lines = [*lines[:room], *[Text("")] * (room - len(lines)), foot]
        for line in lines:
            line.no_wrap = True
            line.truncate(width, overflow="ellipsis")
            yield line


def overview(figures: Figures, width: int) -> list[Text]:
    """The upper half of the frame: flow and latency, alarms, tags and drift."""
    return [
        *_numbers(figures, width),
        *_alarms(figures, width),
        Text(""),
        *_side_by_side(figures, width, _tags, _distances),
    ]


def _head(figures: Figures, width: int, lost: str) -> list[Text]:
    many = "1 worker" if figures.workers == 1 else f"{figures.workers} workers"
    models = ", ".join(f"{model.name} {model.version} {model.digest[:8]}" for model in figures.models) or "no model yet"
    left = Text.assemble((" tagstream top", "bold"), f"  {many}  ", (plain(models), QUIET))
    clock = datetime.fromtimestamp(figures.at, UTC).strftime("%H:%M:%S UTC ")
    lines = [ends(left, Text(clock, style=QUIET), width)]
    if lost:
        lines += [Text(f" {part}", style="bold red") for part in textwrap.wrap(plain(lost), width - 2)]
    return [*lines, Text("")]


def _numbers(figures: Figures, width: int) -> list[Text]:
    flow, position = figures.flow, figures.position
    cells = [
        ("tagged/s", _rate(flow.tagged), "bold green"),
        ("review/s", _rate(flow.review), "bold yellow"),
        ("dead/s", _rate(flow.dlq), "bold red"),
        ("p50", ("> " if flow.p50_more else "") + seconds(flow.p50_seconds), "bold cyan"),
        ("p99", ("> " if flow.p99_more else "") + seconds(flow.p99_seconds), "bold cyan"),
        ("waiting", DASH if position.lag is None else str(position.lag), "bold"),
        ("oldest", seconds(position.oldest_seconds), "bold"),
        ("confid.", _score(figures.confidence.mean, 3), "bold"),
    ]
    cells = cells[: max(1, width // CELL)]
    cell = width // len(cells)
    values = Text.assemble(*((f"{value:^{cell}}", style) for _, value, style in cells))
    names = Text.assemble(*((f"{name:^{cell}}", QUIET) for name, _, _ in cells))
    span = Text(f" rates and latency of the last {seconds(flow.seconds)}" if flow.seconds else f" {NO_FLOW}", style=QUIET)
    return [values, names, span]


def _alarms(figures: Figures, width: int) -> Iterator[Text]:
    found = alarms(figures)
    for trouble in figures.troubles:
        if trouble.no_fault:
            what = f"{plain(trouble.worker)} is not ready, which is no alarm: {plain(trouble.why)}"
            yield from (Text(f" {part}", style=QUIET) for part in textwrap.wrap(what, width - 2))
    if not found:
        judged = figures.window.decisions >= limits.LEAST_DECISIONS
        more = "" if judged else f"; drift is judged from {limits.LEAST_DECISIONS} decisions on"
        yield Text.assemble((" no alarm", "green"), (more, QUIET))
        return
    names = max(len(alarm.name) for alarm in found)
    for alarm in found:
        yield from _alarm(alarm, names, width)
    for step in dict.fromkeys(alarm.next for alarm in found):
        yield from (Text(f" {part}", style=QUIET) for part in textwrap.wrap(f"next: {plain(step)}", width - 2))


def _alarm(alarm: Alarm, names: int, width: int) -> Iterator[Text]:
    before = f" {TIER_NAMES[alarm.tier]:<4}  {alarm.name:<{names}}  "
    for number, part in enumerate(textwrap.wrap(plain(alarm.what), max(20, width - len(before) - 1))):
        yield Text.assemble((" " * len(before) if number else before, TIER_STYLES[alarm.tier]), part)


def _side_by_side(figures: Figures, width: int, left: Block, right: Block) -> list[Text]:
    """Two blocks beside each other, or one below the other where there is no room."""
    if width < TWO_COLUMNS:
        return [*left(figures, width), Text(""), *right(figures, width), Text("")]
    half = (width - GAP) // 2
    pairs = zip_longest(left(figures, half), right(figures, half), fillvalue=Text(""))
    return [*(Text.assemble(cut(one, half), " " * GAP, other) for one, other in pairs), Text("")]


def _tags(figures: Figures, width: int) -> list[Text]:
    lines = [ends(Text(" tags", style="bold"), Text("now   ref.", style=QUIET), width)]
    shown = leading(figures.labels)
    room = max(len(label.label) for label in shown) if shown else 0
    names = min(room, max(12, width // 2 - 2))
    columns = max(4, width - names - 16)
    most = max([0.1, *(max(label.share or 0, label.reference or 0) for label in shown)])
    for label in shown:
        drawn = bar(label.share, label.reference, most, columns, "cyan")
        shares = f" {_percent(label.share):>6} {_percent(label.reference):>6}"
        lines += _named(label.label, names, Text.assemble(drawn, shares))
    return lines if shown else [*lines, Text(" no decision yet", style=QUIET)]


def _distances(figures: Figures, width: int) -> list[Text]:
    window = figures.window
    span = "since the start" if window.since_start else f"last {seconds(window.seconds)}"
    judged = f"{window.decisions} decisions, {span}"
    head = ends(Text(" drift", style="bold"), Text(judged, style=QUIET), width)
    return [head, *(line for measure in figures.distances for line in _measure(measure, width, _score))]


def _shares(figures: Figures, width: int) -> list[Text]:
    head = ends(Text(" shares", style="bold"), Text("now  limit", style=QUIET), width)
    return [head, *(line for measure in figures.shares for line in _measure(measure, width, _percent))]


def _measure(measure: Measure, width: int, write: Callable[[float | None], str]) -> list[Text]:
    names = min(24, max(18, width // 2 - 4))
    style = "bold red" if measure.over else "cyan"
    most = 2 * measure.limit if measure.limit else max(0.01, measure.value or 0.0)
    drawn = bar(measure.value, measure.limit, most, max(4, width - names - 16), style)
    value = Text(f" {write(measure.value):>6}", style="bold red" if measure.over else "")
    return _named(measure.title, names, Text.assemble(drawn, value, (f" {write(measure.limit):>6}", QUIET)))


def _named(name: str, columns: int, figures: Text) -> list[Text]:
    """A line of figures behind its name; a name that is longer than its columns goes on below, whole."""
    first, *rest = textwrap.wrap(plain(name), columns) or [""]
    return [Text.assemble(" ", fitted(first, columns), " ", figures), *(Text(f" {part}") for part in rest)]


def asked_below(thresholds: Mapping[str, float]) -> str:
    """
    The thresholds below which a person is asked, in a few words.

    >>> asked_below({"mlops": 0.865, "other": 0.95, "nlp": 1.0001})
    'a person below 0.865 to 0.95, always: nlp'
    """
    reachable = [f"{value:g}" for value in sorted({round(value, 4) for value in thresholds.values() if value <= 1})]
    always = few([plain(label) for label, value in sorted(thresholds.items()) if value > 1], 3)
    below = " to ".join(dict.fromkeys((reachable[0], reachable[-1]))) if reachable else DASH
    return f"a person below {below}{f', always: {always}' if always else ''}"


def _confidence(figures: Figures, width: int) -> list[Text]:
    bars = figures.confidence.bars
    head = ends(Text(" confidence", style="bold"), Text(asked_below(figures.confidence.thresholds), style=QUIET), width)
    changes = [f"{signal.replace('_', ' ')} {times}" for signal, times in figures.detectors.changes.items() if times]
    looked = figures.detectors.compared_seconds_ago
    totals = figures.totals
    below = [
        *_listed("total", [f"{totals.tagged} tagged", f"{totals.review} review", f"{totals.dlq} dead"], width),
        *_listed("sudden changes", changes or ["none"], width),
        *_listed("last comparison of words and tags", ["none yet" if looked is None else f"{seconds(looked)} ago"], width),
    ]
    if not bars:
        return [head, Text(" no decision yet", style=QUIET), *below]
    most = max([0.01, *(max(bar.share or 0, bar.reference or 0) for bar in bars)])
    across = max(1, min(4, (width - 12) // len(bars)))
    edges = f"{_score(bars[0].high)}".ljust(across * len(bars) - 1) + f"{bars[-1].high:g}"
    return [
        head,
        Text.assemble(f" {'now':<10}", (_columns([bar.share for bar in bars], most, across), "cyan")),
        Text.assemble(f" {'reference':<10}", (_columns([bar.reference for bar in bars], most, across), QUIET)),
        Text(f" {'':<10}{edges}", style=QUIET),
        *below,
    ]


def _listed(name: str, parts: Sequence[str], width: int) -> Iterator[Text]:
    """`name: part, part` over as many lines as it needs; a part is not broken."""
    # `textwrap` does not break at a no-break space.
    whole = f"{name}: {', '.join(part.replace(' ', NO_BREAK) for part in parts)}"
    for line in textwrap.wrap(whole, width, initial_indent=" ", subsequent_indent="   ", break_on_hyphens=False):
        yield Text(line.replace(NO_BREAK, " "))


def _columns(values: Sequence[float | None], most: float, across: int) -> str:
    """A distribution as columns, each some cells wide; a share above 0 is never drawn as 0."""
    cells = []
    for value in values:
        height = 0 if not value else max(1, round(value / most * (len(HEIGHTS) - 1)))
        cells.append(HEIGHTS[height] * across)
    return "".join(cells)


def seconds(value: float | None) -> str:
    """
    A duration in its largest fitting unit.

    >>> seconds(0.0405), seconds(3.21), seconds(90), seconds(600), seconds(None)
    ('40 ms', '3.2 s', '90 s', '10 min', '-')
    """
    if value is None:
        return DASH
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < MINUTES_FROM:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"  # noqa: PLR2004
    return f"{value / 60:.0f} min" if value < HOURS_FROM else f"{value / 3600:.0f} h"


def plain(text: str) -> str:
    """Text from another machine, with every character that could move the cursor replaced."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _rate(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{value:.1%}"


def _score(value: float | None, digits: int = 2) -> str:
    return DASH if value is None else f"{value:.{digits}f}"
