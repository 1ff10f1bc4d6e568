"""The output of a demo while it runs: lines about the start, then the screen of `tagstream top` with the newest events below.

Without a terminal that can redraw lines, each event is printed as a line of its own.
"""

import contextlib
import shlex
import shutil
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tagstream.monitoring.drift.findings import Finding, what_moved
from tagstream.monitoring.figures.figures import Figures
from tagstream.monitoring.top.panel import Frame, can_draw
from tagstream.monitoring.top.top import NoWorkerError
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.demo.account import AccountTotals, Landing, Reached
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.console import visible

NAME = "tagstream"
STYLES = {Destination.TAGGED: "green", Destination.REVIEW: "yellow", Destination.DLQ: "red"}
# More than five lines a second cannot be read.
REFRESH_SECONDS = 0.2
LOOK_SECONDS = 1.0
KEPT = 200
MOST_CHARACTERS = 400


class StartupLines:
    """Prints each step when it is done. On a terminal, a temporary line shows the current step."""

    def __init__(self, console: Console) -> None:
        """Print to this console."""
        self._console = console
        self._took = ""

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show a step while it runs, and measure its time. Yields a function that shows what the step waits for. `tell` prints the time."""
        started = time.monotonic()
        with self._shown(what) as say:
            yield say
        self._took = f"  ({time.monotonic() - started:.1f} s)"

    def tell(self, name: str, what: str) -> None:
        """Print one line, with the time of the step before it."""
        self._line(Text.assemble((f"{name:<9}", "bold"), what, (self._took, "dim")))
        self._took = ""

    def addresses(self, worker: str, settings: Settings, *, store: str | None = None) -> None:
        """Print the addresses to open, and commands for another terminal. `store` is the URL of the console's store, if a console runs."""
        for number, path in enumerate(("/", "/metrics", "/healthz", "/readyz")):
            self.tell("" if number else "open", worker + path)
        tagstream = command()
        there = f"TAGSTREAM_BROKERS={settings.brokers}"
        self.tell("follow", f"{there} {tagstream} tail {settings.topics.review}")
        findings = "" if settings.topics.drift == "drift" else f" TAGSTREAM_TOPICS__DRIFT={settings.topics.drift}"
        self.tell("", f"{there}{findings} {tagstream} tail drift --from-beginning")
        self.tell("", f"{tagstream} top {worker.removeprefix('http://')}")
        if store is not None:
            self.tell("", f"{there} {tagstream} quality --store {store}")

    @contextmanager
    def _shown(self, what: str) -> Iterator[Callable[[str], None]]:
        if can_draw(self._console):
            with self._console.status(Text(what)) as status:
                yield lambda why: status.update(Text(visible(f"{what}: {why}", limit=max(1, self._console.width - 4))))
            return
        said = {""}
        self._line(f"{what} ...")

        def say(why: str) -> None:
            if why not in said:
                said.add(why)
                self._line(f"  {why}")

        yield say

    def _line(self, text: str | Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


class View:
    """Shows a run. Any thread may call `tell` and `say`. The main thread calls `refresh` a few times a second."""

    def __init__(
        self,
        console: Console,
        *,
        addresses: str,
        seconds: float | None,
        look: Callable[[], Figures],
        only_said: bool = False,
    ) -> None:
        """
        Store the parts; `shown` starts the screen.

        Args:
            console: The output.
            addresses: The addresses of the pages to open, in one line.
            seconds: The time for which samples are sent, in seconds; None means until an interrupt.
            look: Gets the worker's figures; raises NoWorkerError if the worker does not answer.
            only_said: True to show only the sentences of `say`, not the items of `tell`.
        """
        self._console = console
        self._only_said = only_said
        self._said: list[str] = []
        self._addresses = addresses
        self._seconds = seconds
        self._look = look
        self._live = Live(console=console, screen=True, auto_refresh=False) if can_draw(console) else None
        self._began = self._look_at = time.monotonic()
        self._figures: Figures | None = None
        self._came: deque[Landing | Reached | Finding] = deque()
        self._recent: deque[Text] = deque(maxlen=KEPT)
        self._lead: tuple[Text, ...] = ()
        self._phase = ""

    @contextmanager
    def shown(self, counts: Callable[[], AccountTotals]) -> Iterator[None]:
        """Use the terminal's alternate screen while the context lasts. `counts` returns the figures of the account."""
        self._counts = counts
        self._began = time.monotonic()
        with self._live or contextlib.nullcontext():
            yield
        # The alternate screen disappears, so its sentences are printed again.
        for said in self._said if self._live else ():
            self._console.print(said, soft_wrap=True, highlight=False, markup=False)

    def say(self, sentence: str) -> None:
        """Show a sentence about the run. Without a terminal, it is printed at once."""
        self._said.append(sentence)
        if self._live is None:
            self._console.print(sentence, soft_wrap=True, highlight=False, markup=False)
            return
        style = "bold cyan" if sentence.startswith("$") else "bold"
        self._recent.extend(
            Text(f" {part}", style=style)
            for part in textwrap.wrap(visible(sentence, limit=MOST_CHARACTERS), self._console.width - 2)
        )

    def tell(self, one: Landing | Reached | Finding) -> None:
        """Show an outcome, an answer or a finding. Without a terminal, it is printed at once."""
        if self._only_said:
            return
        if self._live is None:
            self._console.print(line(one), soft_wrap=True, highlight=False)
        else:
            self._came.append(one)

    def refresh(self, phase: str) -> None:
        """Redraw the screen. Without a terminal, print a line when a new phase begins."""
        if self._live is None:
            if phase != self._phase:
                sent = self._counts().sent
                self._console.print(f"--- after {sent} events: {phase}", soft_wrap=True, highlight=False, markup=False)
            self._phase = phase
            return
        self._recent.extend(line(one, brief=True) for one in self._chosen())
        now = time.monotonic()
        if now >= self._look_at or phase != self._phase:
            self._phase, self._look_at = phase, now + LOOK_SECONDS
            self._lead = self._head(self._counts(), phase, now - self._began)
            # A worker that is stopping does not answer. Its last figures stay on the screen.
            with contextlib.suppress(NoWorkerError):
                self._figures = self._look()
        if self._figures is not None:
            frame = Frame(self._figures, title="tagstream demo", lead=self._lead, below=tuple(self._recent))
            self._live.update(frame, refresh=True)

    def _chosen(self) -> list[Landing | Reached | Finding]:
        """
        Choose the items to show from the items since the last refresh.

        Rare items (dead letters, answers and findings) are all shown. If there are none, the newest decision is shown.
        """
        came = [self._came.popleft() for _ in range(len(self._came))]
        rare = [one for one in came if not isinstance(one, Landing) or one.destination is Destination.DLQ]
        return rare or came[-1:]

    def _head(self, totals: AccountTotals, phase: str, elapsed_seconds: float) -> tuple[Text, ...]:
        clock = minutes(elapsed_seconds) + (f" of {minutes(self._seconds)}" if self._seconds else "")
        destinations = totals.destinations
        account = (
            f" {totals.sent} sent: {destinations[Destination.TAGGED]} tagged, {destinations[Destination.REVIEW]} in review, "
            f"{destinations[Destination.DLQ]} dead, {totals.waiting} waiting"
        )
        answers = f" {self._addresses}  {totals.reached} of {totals.given} answers tagged"
        return Text(f" {clock}  {phase}", style="yellow"), Text(account), Text(answers, style="bold")


def line(one: Landing | Reached | Finding, *, brief: bool = False) -> Text:
    """
    Return a line about an outcome, an answer or a finding.

    The line of an outcome has time, destination, tag or code, confidence, latency, key and title. The line of an answer has the reviewer
    and no confidence. The line of a finding says what moved.

    Args:
        one: The outcome, answer or finding.
        brief: True to leave out time, latency and key, for a screen of 80 columns.
    """
    match one:
        case Landing():
            sure = "" if one.confidence is None else f"{one.confidence:.4f}"
            what, key = one.tag or one.code or "no code", one.sample.key
            about = one.sample.title if brief or one.destination is not Destination.DLQ else ""
            name, style = one.destination.value, STYLES[one.destination]
        case Reached():
            agrees = "" if one.tag == one.model_tag else f", not {one.model_tag}"
            sure, what, key, about = "", one.tag, one.event_id, f"{one.title}  by {one.reviewer}{agrees}"
            name, style = "answer", "cyan"
        case Finding():
            moved = visible(what_moved(one), limit=MOST_CHARACTERS)
            return Text(f"{'' if brief else f'{one.at[11:23]}  '}drift   {one.kind.value:<8}  {moved}", style="magenta")
    head, latency = (" ", "") if brief else (f"{_clock(one.timestamp_ms)}  ", f"{milliseconds(one.latency_ms):>8}  {key}  ")
    told = f"{name:<6}  {what:<27}  {sure:<6}  {latency}{visible(about, limit=MOST_CHARACTERS)}"
    return Text.assemble(head, (told.rstrip(), style))


def _clock(timestamp_ms: int) -> str:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]


def minutes(seconds: float) -> str:
    """
    Return a duration as minutes and seconds.

    >>> minutes(0.4), minutes(75)
    ('0:00', '1:15')
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def milliseconds(value: int | None) -> str:
    """
    Return a latency, or a dash for None.

    >>> milliseconds(None), milliseconds(8), milliseconds(12345)
    ('-', '8 ms', '12345 ms')
    """
    return "-" if value is None else f"{value} ms"


def command(called: str | None = None) -> str:
    """
    Return the command to type for this program: `tagstream` if PATH has it, otherwise its path, as under `make demo`.

    >>> command("/usr/lib/python3/stream/cli/main.py")
    'tagstream'
    """
    path = Path(sys.argv[0] if called is None else called)
    # A module started with `python -m` has another name. A name without a folder was found on PATH by the shell.
    if path.name != NAME or path.parent == Path() or _found(path):
        return NAME
    return shlex.quote(str(path))


def _found(path: Path) -> bool:
    on_path = shutil.which(NAME)
    try:
        return on_path is not None and Path(on_path).samefile(path)
    except OSError:
        return False
