"""The two ways to watch the demo: a picture on a terminal, elsewhere a line for each event."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from monitoring.drift.findings import Finding, what_moved
from monitoring.figures.figures import Figures
from monitoring.top.top import NoWorkerError
from monitoring.vocabulary import Destination
from stream.demo.ledger import Landing, Totals
from stream.demo.people.answers import AnswerTotals, Reached
from stream.demo.screen.frame import Frame, Moment, milliseconds
from stream.terminal.console import visible

# One event a refresh: more than five lines a second cannot be read, and one at a time moves the list evenly.
REFRESH_SECONDS = 0.2
LOOK_SECONDS = 1.0
# Outcomes come in batches; this many wait to be shown, and the rest are only counted.
PENDING = 5
KEPT = 200


class Watch(Protocol):
    """Shows a run. Enter it, give it outcomes and findings, refresh it, leave it."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the terminal back."""
        ...

    def landed(self, landing: Landing) -> None:
        """An outcome has come."""
        ...

    def moved(self, finding: Finding) -> None:
        """The worker has found that something moved."""
        ...

    def reached(self, one: Reached) -> None:
        """A person's answer has reached `tagged`."""
        ...

    def refresh(self, totals: Totals, phase: str, answers: AnswerTotals) -> None:
        """Show the present state; called a few times a second."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """
    The constants of a run: `broker`, `address`, `console` and `seconds` as in `Moment`.

    `look` asks the worker for its figures, and raises NoWorkerError where it does not answer.
    """

    broker: str
    address: str
    console: str | None
    seconds: float | None
    look: Callable[[], Figures]


def watch(console: Console, scene: Scene) -> Watch:
    """The picture on a terminal that can show it, else lines."""
    return Picture(console, scene) if can_draw(console) else Lines(console)


def can_draw(console: Console) -> bool:
    """Whether lines can be drawn anew. FORCE_COLOR, as CI sets it, makes no terminal of a log."""
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty()


class Picture:
    """Fills the terminal's alternate screen, and restores the terminal at the end."""

    def __init__(self, console: Console, scene: Scene) -> None:
        """Draw on this console, once entered."""
        self._scene = scene
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._started = time.monotonic()
        self._pending: list[Landing] = []
        self._recent: deque[Landing | Finding | Reached] = deque(maxlen=KEPT)
        self._figures: Figures | None = None
        self._look_at = self._started

    def __enter__(self) -> Self:
        """Take the screen."""
        self._started = time.monotonic()
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give it back."""
        self._live.stop()

    def landed(self, landing: Landing) -> None:
        """See `Watch`."""
        self._pending = pick([*self._pending, landing], PENDING)

    def moved(self, finding: Finding) -> None:
        """See `Watch`."""
        self._recent.append(finding)

    def reached(self, one: Reached) -> None:
        """See `Watch`."""
        self._recent.append(one)

    def refresh(self, totals: Totals, phase: str, answers: AnswerTotals) -> None:
        """See `Watch`."""
        now = time.monotonic()
        self._recent.extend(self._pending[:1])
        self._pending = self._pending[1:]
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            # A worker that is stopping does not answer: its last figures stay.
            with contextlib.suppress(NoWorkerError):
                self._figures = self._scene.look()
        moment = Moment(
            broker=self._scene.broker,
            address=self._scene.address,
            console=self._scene.console,
            elapsed_seconds=now - self._started,
            seconds=self._scene.seconds,
            totals=totals,
            answers=answers,
            figures=self._figures,
            recent=tuple(self._recent),
            phase=phase,
        )
        self._live.update(Frame(moment), refresh=True)


class Lines:
    """One line for each outcome, at once, without colours: for pipes and logs."""

    def __init__(self, console: Console) -> None:
        """Lines go to the console's own file."""
        self._console = console
        self._phase = ""

    def __enter__(self) -> Self:
        """Lines need no screen."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """See `__enter__`."""

    def landed(self, landing: Landing) -> None:
        """See `Watch`."""
        self._print(line(landing))

    def moved(self, finding: Finding) -> None:
        """See `Watch`."""
        found = f"{finding.at[11:23]}  drift   {finding.kind.value:<8}  {what_moved(finding)}"
        self._print(visible(found, limit=400))

    def reached(self, one: Reached) -> None:
        """See `Watch`."""
        self._print(answer_line(one))

    def refresh(self, totals: Totals, phase: str, answers: AnswerTotals) -> None:  # noqa: ARG002 - they have had their lines
        """Say once that a phase begins; figures come at the end."""
        if phase != self._phase:
            self._phase = phase
            self._print(f"--- after {totals.sent} events: {phase}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True, highlight=False)


def line(landing: Landing) -> str:
    """One outcome in plain text: time, door, tag or code, confidence, latency, key and title."""
    found, sample = landing.arrival, landing.sample
    at = _clock(found.timestamp_ms)
    sure = "      " if found.confidence is None else f"{found.confidence:.4f}"
    what = found.tag or found.code or "no code"
    about = sample.key if found.door is Destination.DLQ else f"{sample.key}  {sample.title}"
    return f"{at}  {found.door.value:<6}  {what:<27}  {sure}  {milliseconds(landing.latency_ms):>8}  {about}"


def answer_line(one: Reached) -> str:
    """One answer in plain text: when it was on `tagged`, its tag, how long it took from `reviewed`, id, title, and who gave it."""
    agrees = "" if one.tag == one.model_tag else f", not {one.model_tag}"
    about = visible(f"{one.event_id}  {one.title}  by {one.reviewer}{agrees}", limit=400)
    return f"{_clock(one.timestamp_ms)}  answer  {one.tag:<27}  {'':6}  {milliseconds(one.latency_ms):>8}  {about}"


def _clock(timestamp_ms: int) -> str:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]


def pick(landings: Sequence[Landing], most: int) -> list[Landing]:
    """At most so many of them, in their order: dead letters first, since they are rare, then the newest."""
    by_worth = sorted(range(len(landings)), key=lambda at: (landings[at].arrival.door is Destination.DLQ, at), reverse=True)
    return [landings[at] for at in sorted(by_worth[:most])]
