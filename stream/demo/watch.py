"""The two ways to watch the demo: a picture on a terminal, a line an event elsewhere."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from monitoring.drift.findings import Finding, what_moved
from monitoring.observer import Destination
from stream.demo.frame import Frame, Moment, milliseconds
from stream.demo.ledger import Landing, Totals
from stream.terminal.console import visible

# One event a refresh: faster than five lines a second nobody reads, and line by line the list moves evenly.
REFRESH_SECONDS = 0.2
# Outcomes come in batches; so many wait for their turn, and what is more is counted and not shown.
PENDING = 5
RATE_SECONDS = 5.0
KEPT = 200
FINDINGS = 4


class Watch(Protocol):
    """Shows a run. Enter it, tell it what landed and what the figures are, leave it."""

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

    def refresh(self, totals: Totals, phase: str) -> None:
        """Show how things stand; called a few times a second."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What does not change while it is shown: see `Moment`."""

    broker: str
    address: str
    seconds: float | None


def watch(console: Console, scene: Scene) -> Watch:
    """The picture where there is a terminal that can show it, else lines."""
    return Picture(console, scene) if can_draw(console) else Lines(console)


def can_draw(console: Console) -> bool:
    """Is there a terminal whose lines can be drawn anew? FORCE_COLOR alone, as CI sets it, makes no terminal of a log."""
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty()


class Picture:
    """Fills the terminal's alternate screen: what was there before is there again afterwards."""

    def __init__(self, console: Console, scene: Scene) -> None:
        """Nothing is shown yet."""
        self._scene = scene
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._started = time.monotonic()
        self._fresh = 0
        self._pending: list[Landing] = []
        self._recent: deque[Landing] = deque(maxlen=KEPT)
        self._counts: deque[tuple[float, int]] = deque()
        self._findings: deque[str] = deque(maxlen=FINDINGS)

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
        self._fresh += 1
        self._pending = pick([*self._pending, landing], PENDING)

    def moved(self, finding: Finding) -> None:
        """See `Watch`."""
        self._findings.append(f"{finding.kind.value}: {what_moved(finding)}")

    def refresh(self, totals: Totals, phase: str) -> None:
        """See `Watch`."""
        now = time.monotonic()
        self._recent.extend(self._pending[:1])
        self._pending = self._pending[1:]
        self._counts.append((now, self._fresh))
        self._fresh = 0
        while now - self._counts[0][0] > RATE_SECONDS:
            self._counts.popleft()
        per_second = sum(count for _, count in self._counts) / max(REFRESH_SECONDS, min(RATE_SECONDS, now - self._started))
        most = 1 / REFRESH_SECONDS
        moment = Moment(
            broker=self._scene.broker,
            address=self._scene.address,
            elapsed_seconds=now - self._started,
            seconds=self._scene.seconds,
            totals=totals,
            events_per_second=per_second,
            recent=tuple(self._recent),
            shown="all of them" if per_second <= most else f"{most:.0f} of {per_second:.0f} a second",
            phase=phase,
            findings=tuple(self._findings),
        )
        self._live.update(Frame(moment), refresh=True)


class Lines:
    """One line an outcome, at once, without colours: for pipes and logs."""

    def __init__(self, console: Console) -> None:
        """Lines go to the console's own file."""
        self._console = console
        self._phase = ""

    def __enter__(self) -> Self:
        """Nothing to take."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to give back."""

    def landed(self, landing: Landing) -> None:
        """See `Watch`."""
        self._console.print(Text(line(landing)), soft_wrap=True, highlight=False)

    def moved(self, finding: Finding) -> None:
        """See `Watch`."""
        found = f"{finding.at[11:23]}  drift   {finding.kind.value:<8}  {what_moved(finding)}"
        self._console.print(Text(visible(found, limit=400)), soft_wrap=True, highlight=False)

    def refresh(self, totals: Totals, phase: str) -> None:
        """Lines come with their events; figures come at the end. Says once what begins."""
        if phase != self._phase:
            self._phase = phase
            self._console.print(Text(f"--- after {totals.sent} events: {phase}"), soft_wrap=True, highlight=False)


def line(landing: Landing) -> str:
    """One outcome in plain text: when, which door, what, how sure, how long it took, which event."""
    found, sample = landing.arrival, landing.sample
    at = datetime.fromtimestamp(found.timestamp_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    sure = "      " if found.confidence is None else f"{found.confidence:.4f}"
    what = found.tag or found.code or "no code"
    about = sample.key if found.door is Destination.DLQ else f"{sample.key}  {sample.title}"
    return f"{at}  {found.door.value:<6}  {what:<27}  {sure}  {milliseconds(landing.latency_ms):>8}  {about}"


def pick(landings: Sequence[Landing], most: int) -> list[Landing]:
    """At most so many of them, in their order: dead letters first, since they are rare, then the newest."""
    by_worth = sorted(range(len(landings)), key=lambda at: (landings[at].arrival.door is Destination.DLQ, at), reverse=True)
    return [landings[at] for at in sorted(by_worth[:most])]
