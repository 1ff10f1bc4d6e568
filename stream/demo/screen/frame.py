"""The demo's picture: the worker's figures as `tagstream top` draws them, and below them events as they come. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from monitoring.drift.findings import Finding, what_moved
from monitoring.figures.figures import Figures
from monitoring.top.cells import EMPTY, QUIET, bar, cut, ends, fitted
from monitoring.top.panel import overview
from monitoring.vocabulary import Destination
from stream.demo.ledger import Landing, Totals
from stream.demo.people.answers import AnswerTotals, Reached
from stream.terminal.console import tag_style, visible

# From here on there is room for whole tag names and for latencies.
WIDE_COLUMNS = 100
TAG_COLUMNS = {False: 15, True: 27}
BAR_COLUMNS = {False: 8, True: 12}
# The phase that needs no colour.
ORDINARY = "an ordinary stream"
# On a small terminal these lines are left to events, at the cost of figures.
LEAST_EVENTS = 5
MARKS = {Destination.TAGGED: "●", Destination.REVIEW: "○", Destination.DLQ: "x"}
DOOR_STYLES = {Destination.TAGGED: "green", Destination.REVIEW: "bold yellow", Destination.DLQ: "bold red"}
ANSWER_MARK, ANSWER_STYLE = "◆", "bold cyan"
DOOR_NAMES = {Destination.TAGGED: "tagged", Destination.REVIEW: "review", Destination.DLQ: "dead"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """
    The content of one picture.

    Attributes:
        broker: Which broker it is and where, one line.
        address: Where the worker serves, `http://host:port`.
        console: Where the review console serves; None if there is none.
        elapsed_seconds: Since the first sample.
        seconds: How long samples are sent; None: until interrupted.
        totals: The account so far.
        answers: That of people's answers.
        figures: The worker's own; None before it was asked.
        recent: Outcomes, findings and answers, oldest first; the last ones are shown.
        phase: The present phase of the demo, in a few words.
    """

    broker: str
    address: str
    console: str | None
    elapsed_seconds: float
    seconds: float | None
    totals: Totals
    answers: AnswerTotals
    figures: Figures | None
    recent: Sequence[Landing | Finding | Reached]
    phase: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A `Moment` as a renderable that fills the height it is given."""

    moment: Moment

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Head, figures, as many events as fit, addresses."""
        width = options.max_width
        # The last line has the addresses.
        room = (options.height or console.height) - 1
        head = _head(self.moment, width)
        figures = [] if self.moment.figures is None else overview(self.moment.figures, width)
        figures = figures[: max(0, room - len(head) - 1 - LEAST_EVENTS)]
        above = [*head, *figures, _rule("events, at most 5 a second", width)]
        rows = [row(one, width) for one in self.moment.recent[-max(1, room - len(above)) :]]
        blank = [Text("")] * (room - len(above) - len(rows))
        for line in (*above, *rows, *blank, _foot(self.moment, width)):
            line.no_wrap = True
            line.truncate(width, overflow="ellipsis")
            yield line


def _head(moment: Moment, width: int) -> list[Text]:
    clock = minutes(moment.elapsed_seconds) + (f" of {minutes(moment.seconds)}" if moment.seconds else "")
    left = Text.assemble((" tagstream demo", "bold"), "  ", (moment.phase, "" if moment.phase == ORDINARY else "yellow"))
    totals = moment.totals
    account = Text.assemble(
        f" {totals.sent} sent: ",
        (f"{totals.doors[Destination.TAGGED]} tagged", "green"),
        (f", {totals.doors[Destination.REVIEW]} in review", "yellow"),
        (f", {totals.doors[Destination.DLQ]} dead", "red"),
        f", {totals.waiting} waiting",
    )
    return [
        ends(left, Text(f"{clock} "), width),
        Text(f" {moment.broker}", style=QUIET),
        account,
        *_people(moment),
        Text(""),
    ]


def _people(moment: Moment) -> list[Text]:
    if moment.console is None:
        return []
    answers = moment.answers
    return [
        Text.assemble(
            (f" {moment.console}/", "bold"), f"  {answers.given} answered, ", (f"{answers.reached} tagged by people", "cyan")
        )
    ]


def _rule(title: str, width: int) -> Text:
    start = f"{EMPTY}{EMPTY} {title} "
    return Text(start + EMPTY * max(0, width - len(start)), style=QUIET)


def _foot(moment: Moment, width: int) -> Text:
    left = Text.assemble((f" {moment.address}/", "bold"), ("  /metrics  /healthz  /readyz", ""))
    return ends(left, Text("Ctrl-C stops ", style=QUIET), width)


def row(one: Landing | Finding | Reached, width: int) -> Text:
    """An outcome, an answer, or something that moved, on one line of exactly `width` columns."""
    if isinstance(one, Finding):
        return cut(Text(f" ! {visible(f'{one.kind.value}: {what_moved(one)}')}", style="yellow"), width)
    return _answer(one, width) if isinstance(one, Reached) else _outcome(one, width)


def _answer(one: Reached, width: int) -> Text:
    """As an outcome, with the model's tag in the place of the bar if the person gave another one."""
    wide = width >= WIDE_COLUMNS
    tag_columns, bar_columns = TAG_COLUMNS[wide], BAR_COLUMNS[wide]
    other = "" if one.tag == one.model_tag else f"not {short(one.model_tag, bar_columns + 1)}"
    latency = f"  {milliseconds(one.latency_ms):>8}" if wide else ""
    what = Text(set_cell_size(short(one.tag, tag_columns), tag_columns), style=ANSWER_STYLE)
    end = Text.assemble(
        "  ", what, "  ", (set_cell_size(other, bar_columns + 5), QUIET), "  ", ("answer", ANSWER_STYLE), latency
    )
    return Text.assemble(" ", (ANSWER_MARK, ANSWER_STYLE), " ", fitted(one.title, width - 3 - end.cell_len), end)


def _outcome(landing: Landing, width: int) -> Text:
    """A confidence bar runs from 0 to 1. A dead letter has its code in the tag's place, and no bar."""
    wide = width >= WIDE_COLUMNS
    found, door = landing.arrival, landing.arrival.door
    tag_columns, bar_columns = TAG_COLUMNS[wide], BAR_COLUMNS[wide]
    if found.tag is not None and found.confidence is not None:
        what = Text(set_cell_size(short(found.tag, tag_columns), tag_columns), style=tag_style(found.tag, found.labels))
        sure = Text.assemble(bar(found.confidence, None, 1.0, bar_columns, DOOR_STYLES[door]), f" {found.confidence:.2f}")
    else:
        what = Text(fitted(found.code or "no code", tag_columns), style=DOOR_STYLES[door])
        sure = Text(" " * (bar_columns + 5))
    latency = f"  {milliseconds(landing.latency_ms):>8}" if wide else ""
    end = Text.assemble("  ", what, "  ", sure, "  ", (f"{DOOR_NAMES[door]:<6}", DOOR_STYLES[door]), latency)
    title = Text(fitted(landing.sample.title, width - 3 - end.cell_len), style=QUIET if found.tag is None else "")
    return Text.assemble(" ", (MARKS[door], DOOR_STYLES[door]), " ", title, end)


def short(tag: str, columns: int) -> str:
    """
    A tag in so many columns: as it is, or its initials.

    >>> short("computer-vision", 15), short("natural-language-processing", 15)
    ('computer-vision', 'nlp')
    """
    return tag if len(tag) <= columns else "".join(word[:1] for word in tag.split("-"))


def minutes(seconds: float) -> str:
    """
    A time on a clock.

    >>> minutes(0.4), minutes(75)
    ('0:00', '1:15')
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def milliseconds(value: int | None) -> str:
    """
    A latency, or a dash where there is none yet.

    >>> milliseconds(None), milliseconds(8), milliseconds(12345)
    ('-', '8 ms', '12345 ms')
    """
    return "-" if value is None else f"{value} ms"
