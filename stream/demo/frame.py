"""The demo's picture of a running stream, for terminals from 60 columns on. Pure: a `Moment` in, lines out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from monitoring.observer import Destination
from stream.demo.ledger import Landing, Totals
from stream.terminal.console import TAG_STYLES, visible

# From here on there is room for whole tag names and for latencies.
WIDE_COLUMNS = 100
TAG_COLUMNS = {False: 15, True: 27}
BAR_COLUMNS = {False: 8, True: 12}
# The phase that needs no colour.
ORDINARY = "an ordinary stream"
# Lines of events that are left whatever else there is to say.
LEAST_EVENTS = 3
MARKS = {Destination.TAGGED: "●", Destination.REVIEW: "○", Destination.DLQ: "x"}
DOOR_STYLES = {Destination.TAGGED: "green", Destination.REVIEW: "bold yellow", Destination.DLQ: "bold red"}
DOOR_NAMES = {Destination.TAGGED: "tagged", Destination.REVIEW: "review", Destination.DLQ: "dead"}
FULL, EMPTY = "━", "─"
# Dim rather than bright black, which some colour schemes give the colour of the background.
QUIET = "dim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """
    All that the picture shows.

    Attributes:
        broker: Which broker it is and where, one line.
        address: Where the worker serves, `http://host:port`.
        elapsed_seconds: Since the first sample.
        seconds: How long samples are sent; None: until interrupted.
        totals: The ledger's figures.
        events_per_second: Outcomes of the last seconds.
        recent: What landed, oldest first; the last ones are shown.
        shown: Which part of all that landed is in `recent`: "all", or how many a second.
        phase: What the demo does, in a few words.
        findings: What the worker says that has moved, the latest last; one line each.
    """

    broker: str
    address: str
    elapsed_seconds: float
    seconds: float | None
    totals: Totals
    events_per_second: float
    recent: Sequence[Landing]
    shown: str
    phase: str
    findings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """A `Moment` as a renderable that fills the height it is given."""

    moment: Moment

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Head, figures, tags, as many events as fit, addresses."""
        width = options.max_width
        height = options.height or console.height
        above = [*_head(self.moment, width), *_figures(self.moment, width), *_tags(self.moment.totals.tags, width)]
        below = [_rule("", width), _foot(self.moment, width)]
        room = max(1, height - len(above) - len(below) - 1)
        # What moved has its heading; on a small terminal the events need the place more.
        fits = room - LEAST_EVENTS - 1
        moved = _moved(self.moment.findings[-fits:] if fits > 0 else (), width)
        above += moved
        room -= len(moved)
        rows = [row(landing, width) for landing in self.moment.recent[-room:]]
        blank = [Text("")] * (room - len(rows))
        heading = _rule(f"events ({self.moment.shown})", width)
        for line in (*above, heading, *rows, *blank, *below):
            line.no_wrap = True
            line.truncate(width, overflow="ellipsis")
            yield line


def _head(moment: Moment, width: int) -> list[Text]:
    clock = minutes(moment.elapsed_seconds) + (f" of {minutes(moment.seconds)}" if moment.seconds else "")
    left = Text.assemble((" tagstream demo", "bold"), "  ", (moment.phase, "" if moment.phase == ORDINARY else "yellow"))
    share = min(1.0, moment.elapsed_seconds / moment.seconds) if moment.seconds else 0.0
    return [
        _ends(left, Text(f"{clock} "), width),
        Text(f" {moment.broker}", style=QUIET),
        _bar(share, width, "cyan"),
        Text(""),
    ]


def _figures(moment: Moment, width: int) -> list[Text]:
    totals = moment.totals
    figures = [
        ("sent", str(totals.sent), "bold"),
        ("tagged", str(totals.doors[Destination.TAGGED]), "bold green"),
        ("in review", str(totals.doors[Destination.REVIEW]), "bold yellow"),
        ("dead", str(totals.doors[Destination.DLQ]), "bold red"),
        ("waiting", str(totals.waiting), "bold"),
        ("events/s", f"{moment.events_per_second:.1f}", "bold cyan"),
        ("p50", milliseconds(totals.p50_ms), "bold cyan"),
        ("p99", milliseconds(totals.p99_ms), "bold cyan"),
    ]
    cell = width // len(figures)
    values = Text.assemble(*((f"{value:^{cell}}", style) for _, value, style in figures))
    names = Text.assemble(*((f"{name:^{cell}}", QUIET) for name, _, _ in figures))
    return [values, names, Text("")]


def _tags(tags: Mapping[str, int], width: int) -> list[Text]:
    longest = max((len(tag) for tag in tags), default=0)
    most = max(tags.values(), default=0)
    room = max(4, width - longest - 12)
    return [
        Text.assemble(
            (f" {tag:<{longest}}  ", style_of(tag)), _bar(count / most if most else 0.0, room, style_of(tag)), f"  {count:>6}"
        )
        for tag, count in tags.items()
    ] + [Text("")]


def _moved(findings: Sequence[str], width: int) -> list[Text]:
    """Nothing until something has moved: a healthy stream has no place for it."""
    if not findings:
        return []
    return [_rule("what moved", width), *(Text(f" {_fitted(visible(one), width - 2)}", style="yellow") for one in findings)]


def _foot(moment: Moment, width: int) -> Text:
    left = Text.assemble((f" {moment.address}/", "bold"), ("  /metrics  /healthz  /readyz", ""))
    return _ends(left, Text("Ctrl-C stops ", style=QUIET), width)


def row(landing: Landing, width: int) -> Text:
    """
    One outcome on one line of exactly `width` columns.

    A confidence bar runs from 0 to 1. A dead letter has its code in the tag's place, and no bar.
    """
    wide = width >= WIDE_COLUMNS
    found, door = landing.arrival, landing.arrival.door
    tag_columns, bar_columns = TAG_COLUMNS[wide], BAR_COLUMNS[wide]
    if found.tag is not None and found.confidence is not None:
        what = Text(set_cell_size(short(found.tag, tag_columns), tag_columns), style=style_of(found.tag))
        bar = _bar(found.confidence, bar_columns, DOOR_STYLES[door])
        confidence = f"{found.confidence:.2f}"
    else:
        what = Text(_fitted(found.code or "no code", tag_columns), style=DOOR_STYLES[door])
        bar, confidence = Text(" " * bar_columns), "    "
    latency = f"  {milliseconds(landing.latency_ms):>8}" if wide else ""
    end = Text.assemble("  ", what, "  ", bar, f" {confidence}  ", (f"{DOOR_NAMES[door]:<6}", DOOR_STYLES[door]), latency)
    title = Text(_fitted(landing.sample.title, width - 3 - cell_len(end.plain)), style=QUIET if found.tag is None else "")
    return Text.assemble(" ", (MARKS[door], DOOR_STYLES[door]), " ", title, end)


def style_of(tag: str) -> str:
    """The colour of a tag."""
    return TAG_STYLES.get(tag, "white")


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


def _bar(share: float, columns: int, style: str) -> Text:
    full = round(min(1.0, max(0.0, share)) * columns)
    return Text.assemble((FULL * full, style), (EMPTY * (columns - full), QUIET))


def _rule(title: str, width: int) -> Text:
    start = f"{EMPTY}{EMPTY} {title} " if title else ""
    return Text(start + EMPTY * max(0, width - len(start)), style=QUIET)


def _ends(left: Text, right: Text, width: int) -> Text:
    """Two texts at the two ends of a line; the left one gives way."""
    left.truncate(max(0, width - cell_len(right.plain) - 1), overflow="ellipsis", pad=True)
    return Text.assemble(left, " ", right)


def _fitted(text: str, columns: int) -> str:
    """Text in exactly so many columns, with an ellipsis where it was cut."""
    columns = max(1, columns)
    return set_cell_size(text, columns) if cell_len(text) <= columns else set_cell_size(text, columns - 1) + "…"
