"""Draws the words and figures of `screen` in a terminal: figures in, lines out, in two columns from a width of 76 on."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from tagstream.monitoring.alarms import Tier
from tagstream.monitoring.figures.figures import Figures, Measure
from tagstream.monitoring.screen import Number, Screen, ShownAlarm, percent, score, screen

TWO_COLUMNS = 76
# On a small terminal, this many lines are reserved for `Frame.below`.
LEAST_BELOW = 6
GAP = 3
# The least width of a number and of the name below it.
CELL = 10
TIER_STYLES = {Tier.PAGE: "bold red", Tier.TICKET: "yellow", Tier.INFO: "dim"}
KIND_STYLES = {"tagged": "bold green", "review": "bold yellow", "dlq": "bold red", "latency": "bold cyan", "": "bold"}
HEIGHTS = " ▁▂▃▄▅▆▇█"
NO_BREAK = "\N{NO-BREAK SPACE}"
FULL, EMPTY, MARK = "━", "─", "┃"
# "dim" and not bright black: some colour schemes give bright black the colour of the background.
QUIET = "dim"
# Draws a part of the frame in the given number of columns.
Block = Callable[[Figures, Screen, int], list[Text]]


@dataclass(frozen=True, slots=True)
class Frame:
    """
    Figures as a renderable.

    Attributes:
        figures: The figures to draw.
        whole: Take as many lines as needed; otherwise exactly the terminal's height.
        lost: Why the figures are old; empty while they are current.
        title: The frame's title.
        lead: Further lines of the frame's head.
        below: Lines under the figures, the newest last. As many as fit are drawn; the last figures give way to at least `LEAST_BELOW`.
    """

    figures: Figures
    whole: bool = False
    lost: str = ""
    title: str = "tagstream top"
    lead: Sequence[Text] = ()
    below: Sequence[Text] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw head, figures and alarms, then tags and drift, confidence and shares."""
        width, figures, said = options.max_width, self.figures, screen(self.figures)
        lines = [
            *_head(self, said, width),
            *_numbers(said.numbers, width),
            *_rollout(said, width),
            Text(f" {said.span}", style=QUIET),
            *_alarms(said, width),
            Text(""),
            *_side_by_side(figures, said, width, _tags, _distances),
            *_side_by_side(figures, said, width, _confidence, _shares),
        ]
        if not self.whole:
            room = max(0, (options.height or console.height) - 1)
            lines = lines[: max(0, room - min(len(self.below), LEAST_BELOW))]
            below = self.below[-(room - len(lines)) :] if room > len(lines) else ()
            lines += [*below, *[Text("")] * (room - len(lines) - len(below)), Text(" Ctrl-C ends", style=QUIET)]
        for line in lines:
            shown = line.copy()
            shown.no_wrap = True
            shown.truncate(width, overflow="ellipsis")
            yield shown


def can_draw(console: Console) -> bool:
    """Whether lines can be redrawn. With FORCE_COLOR, which CI sets, a log file looks like a terminal, so `isatty` is asked, too."""
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty()


def _head(frame: Frame, said: Screen, width: int) -> list[Text]:
    figures = frame.figures
    many = "1 worker" if figures.workers == 1 else f"{figures.workers} workers"
    left = Text.assemble((f" {frame.title}", "bold"), f"  {many}  ", (plain(said.models), QUIET))
    clock = datetime.fromtimestamp(figures.at, UTC).strftime("%H:%M:%S UTC ")
    lost = _wrapped(frame.lost, width, "bold red")
    return [ends(left, Text(clock, style=QUIET), width), *lost, *frame.lead, Text("")]


def _numbers(numbers: Sequence[Number], width: int) -> list[Text]:
    shown = numbers[: max(1, width // CELL)]
    cell = width // len(shown)
    values = Text.assemble(*((f"{one.value:^{cell}}", KIND_STYLES[one.kind]) for one in shown))
    names = Text.assemble(*((f"{one.name:^{cell}}", QUIET) for one in shown))
    return [values, names]


def _rollout(said: Screen, width: int) -> list[Text]:
    """Draw the rollout on lines of its own: its words do not fit into the cell of a number."""
    shown = ", ".join(f"{one.name} {one.value}" for one in said.rollout)
    return _wrapped(f"rollout: {shown}", width, "") if shown else []


def _alarms(said: Screen, width: int) -> Iterator[Text]:
    for note in said.notes:
        yield from _wrapped(note, width, QUIET)
    if said.calm:
        yield Text(f" {said.calm}", style="green")
    names = max((len(alarm.name) for alarm in said.alarms), default=0)
    for alarm in said.alarms:
        yield from _alarm(alarm, names, width)
    for step in said.steps:
        yield from _wrapped(f"next: {step}", width, QUIET)


def _alarm(alarm: ShownAlarm, names: int, width: int) -> Iterator[Text]:
    before = f" {alarm.urgency:<4}  {alarm.name:<{names}}  "
    for number, part in enumerate(textwrap.wrap(plain(alarm.what), max(20, width - len(before) - 1))):
        yield Text.assemble((" " * len(before) if number else before, TIER_STYLES[alarm.tier]), part)


def _wrapped(text: str, width: int, style: str) -> list[Text]:
    return [Text(f" {part}", style=style) for part in textwrap.wrap(plain(text), width - 2)]


def _side_by_side(figures: Figures, said: Screen, width: int, left: Block, right: Block) -> list[Text]:
    """Draw two blocks side by side, or one below the other on a narrow terminal."""
    if width < TWO_COLUMNS:
        return [*left(figures, said, width), Text(""), *right(figures, said, width), Text("")]
    half = (width - GAP) // 2
    pairs = zip_longest(left(figures, said, half), right(figures, said, half), fillvalue=Text(""))
    return [*(Text.assemble(cut(one, half), " " * GAP, other) for one, other in pairs), Text("")]


def _tags(_: Figures, said: Screen, width: int) -> list[Text]:
    lines = [ends(Text(" tags", style="bold"), Text("now   ref.", style=QUIET), width)]
    room = max((len(label.label) for label in said.tags), default=0)
    names = min(room, max(12, width // 2 - 2))
    columns = max(4, width - names - 16)
    most = max([0.1, *(max(label.share or 0, label.reference or 0) for label in said.tags)])
    for label in said.tags:
        drawn = bar(label.share, label.reference, most, columns, "cyan")
        shares = f" {percent(label.share):>6} {percent(label.reference):>6}"
        lines += _named(label.label, names, Text.assemble(drawn, shares))
    return lines if said.tags else [*lines, Text(" no decision yet", style=QUIET)]


def _distances(figures: Figures, said: Screen, width: int) -> list[Text]:
    head = ends(Text(" drift", style="bold"), Text(said.judged, style=QUIET), width)
    return [head, *(line for measure in figures.distances for line in _measure(measure, width, score))]


def _shares(figures: Figures, _: Screen, width: int) -> list[Text]:
    head = ends(Text(" shares", style="bold"), Text("now  limit", style=QUIET), width)
    return [head, *(line for measure in figures.shares for line in _measure(measure, width, percent))]


def _measure(measure: Measure, width: int, write: Callable[[float | None], str]) -> list[Text]:
    names = min(24, max(18, width // 2 - 4))
    style = "bold red" if measure.over else "cyan"
    most = 2 * measure.limit if measure.limit else max(0.01, measure.value or 0.0)
    drawn = bar(measure.value, measure.limit, most, max(4, width - names - 16), style)
    value = Text(f" {write(measure.value):>6}", style="bold red" if measure.over else "")
    return _named(measure.title, names, Text.assemble(drawn, value, (f" {write(measure.limit):>6}", QUIET)))


def _named(name: str, columns: int, figures: Text) -> list[Text]:
    """Draw a name and its figures on one line. A name that is too long goes on below."""
    first, *rest = textwrap.wrap(plain(name), columns) or [""]
    return [Text.assemble(" ", fitted(first, columns), " ", figures), *(Text(f" {part}") for part in rest)]


def _confidence(figures: Figures, said: Screen, width: int) -> list[Text]:
    bars = figures.confidence.bars
    head = ends(Text(" confidence", style="bold"), Text(plain(said.asked), style=QUIET), width)
    below = [
        *_listed("total", said.totals, width),
        *_listed("sudden changes", said.changes, width),
        *_listed("last comparison of words and tags", [said.compared], width),
    ]
    if not bars:
        return [head, Text(" no decision yet", style=QUIET), *below]
    most = max([0.01, *(max(bar.share or 0, bar.reference or 0) for bar in bars)])
    across = max(1, min(4, (width - 12) // len(bars)))
    edges = f"{score(bars[0].high)}".ljust(across * len(bars) - 1) + f"{bars[-1].high:g}"
    return [
        head,
        Text.assemble(f" {'now':<10}", (_columns([bar.share for bar in bars], most, across), "cyan")),
        Text.assemble(f" {'reference':<10}", (_columns([bar.reference for bar in bars], most, across), QUIET)),
        Text(f" {'':<10}{edges}", style=QUIET),
        *below,
    ]


def _listed(name: str, parts: Sequence[str], width: int) -> Iterator[Text]:
    """Draw `name: part, part` over as many lines as needed, without a break within a part."""
    # `textwrap` does not break at a no-break space.
    whole = f"{name}: {', '.join(part.replace(' ', NO_BREAK) for part in parts)}"
    for line in textwrap.wrap(whole, width, initial_indent=" ", subsequent_indent="   ", break_on_hyphens=False):
        yield Text(line.replace(NO_BREAK, " "))


def _columns(values: Sequence[float | None], most: float, across: int) -> str:
    """Draw a distribution as columns, each `across` cells wide. A share above 0 is never drawn as 0."""
    cells = []
    for value in values:
        height = 0 if not value else max(1, round(value / most * (len(HEIGHTS) - 1)))
        cells.append(HEIGHTS[height] * across)
    return "".join(cells)


def plain(text: str) -> str:
    """Return text from another machine with every character replaced that could move the cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)


def bar(value: float | None, mark: float | None, most: float, columns: int, style: str) -> Text:
    """
    Draw a bar with a mark at the reference or the limit.

    Args:
        value: The length of the filled part; None draws an empty bar.
        mark: The place of the mark, in the unit of `value`; None for no mark.
        most: The value of a full bar, over 0.
        columns: The width of the bar, in terminal columns.
        style: Rich's style of the filled part.
    """
    filled = min(columns, round((value or 0.0) / most * columns))
    drawn = Text.assemble((FULL * filled, style), (EMPTY * (columns - filled), QUIET))
    if mark is None:
        return drawn
    at = min(columns - 1, round(mark / most * columns))
    return Text.assemble(drawn[:at], (MARK, "bold"), drawn[at + 1 :])


def fitted(text: str, columns: int) -> str:
    """Return a text in exactly this many columns, with an ellipsis if the text was cut."""
    columns = max(1, columns)
    return set_cell_size(text if cell_len(text) <= columns else set_cell_size(text, columns - 1) + "…", columns)


def cut(line: Text, columns: int) -> Text:
    """Return a copy of a line in exactly this many columns."""
    short = line.copy()
    short.truncate(columns, overflow="ellipsis", pad=True)
    return short


def ends(left: Text, right: Text, width: int) -> Text:
    """
    Place two texts at the ends of a line.

    Args:
        left: The text at the beginning; it is cut if both texts do not fit.
        right: The text at the end.
        width: The columns of the line.
    """
    room = max(0, width - cell_len(right.plain) - 1)
    return Text.assemble(cut(left, room), " ", right)
