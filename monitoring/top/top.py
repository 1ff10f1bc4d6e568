"""`tagstream top`: fetches the `/metrics` of running workers again and again; `panel` draws the figures."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.live import Live

from tagstream.monitoring.alarms import alarms
from tagstream.monitoring.figures.compute import figures
from tagstream.monitoring.figures.figures import Figures, Trouble
from tagstream.monitoring.figures.history import History
from tagstream.monitoring.top.panel import Frame, can_draw
from tagstream.monitoring.top.workers import Address, ask

AT_ONCE = 16
WAITING_SECONDS = 5.0


class NoWorkerError(Exception):
    """No address answers with a worker's metrics. The message names each address, the reason and the next step."""

    exit_code = 1


class Watcher:
    """Fetches the workers' metrics, and keeps earlier metrics to compute rates."""

    def __init__(self, addresses: Sequence[Address], waiting: Callable[[], str] = lambda: "") -> None:
        """
        Store the addresses; no request is sent yet.

        Args:
            addresses: Addresses of the workers.
            waiting: Returns a sentence about the events that wait for a worker. It is called while no worker answers, at most once in
                `WAITING_SECONDS`.
        """
        self._addresses = list(dict.fromkeys(addresses))
        self._waiting = waiting
        self._waits: tuple[float, str] | None = None
        self._history = History()

    def look(self) -> Figures:
        """
        Ask all workers at the same time.

        Raises:
            NoWorkerError: No worker answers.
        """
        with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(self._addresses))) as pool:
            answers = list(pool.map(ask, self._addresses))
        seen = {str(at): found for at, (found, _) in zip(self._addresses, answers, strict=True) if found is not None}
        troubles = [trouble for _, trouble in answers if trouble is not None]
        if not seen:
            raise NoWorkerError(_no_answer(troubles, self._what_waits()))
        self._waits = None
        return figures(self._history.see(seen), troubles)

    def _what_waits(self) -> str:
        if self._waits is None or time.monotonic() - self._waits[0] >= WAITING_SECONDS:
            self._waits = (time.monotonic(), self._waiting())
        return self._waits[1]


def top(
    addresses: Sequence[Address],
    *,
    once: bool,
    as_json: bool,
    every_seconds: float,
    console: Console,
    show_json: Callable[[object], None],
    waiting: Callable[[], str] = lambda: "",
) -> None:
    """
    Show the workers until interrupted.

    Args:
        addresses: Addresses of the workers.
        once: Show one frame and end; the same happens if the output is not a terminal.
        as_json: Print JSON, one object a line, instead of frames.
        every_seconds: Time between two looks.
        console: The console for frames.
        show_json: Prints a value as a line of JSON.
        waiting: Returns a sentence about the events that wait for a worker. It is called while no worker answers.

    Raises:
        NoWorkerError: No worker answers at the first look.
    """
    watcher = Watcher(addresses, waiting)
    try:
        # A rate needs two looks.
        watcher.look()
        time.sleep(every_seconds)
        if as_json:
            _print_json(watcher, show_json, once=once, every_seconds=every_seconds)
        elif once or not can_draw(console):
            console.print(Frame(watcher.look(), whole=True))
        else:
            _watch(watcher, console, every_seconds)
    except KeyboardInterrupt:
        return


def _watch(watcher: Watcher, console: Console, every_seconds: float) -> None:
    """Draw whole frames on the alternate screen: nothing flickers, and the terminal's content returns afterwards."""
    shown, lost, answered = watcher.look(), "", time.monotonic()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(Frame(shown, lost=lost), refresh=True)
            time.sleep(every_seconds)
            try:
                shown, lost, answered = watcher.look(), "", time.monotonic()
            except NoWorkerError as error:
                lost = f"These figures are {time.monotonic() - answered:.0f} s old: {error}"


def _print_json(watcher: Watcher, show_json: Callable[[object], None], *, once: bool, every_seconds: float) -> None:
    while True:
        seen = watcher.look()
        show_json({"figures": seen, "alarms": alarms(seen)})
        if once:
            return
        time.sleep(every_seconds)


def _no_answer(troubles: Sequence[Trouble], waits: str) -> str:
    what = "; ".join(f"{trouble.worker}: {trouble.why}" for trouble in troubles)
    return (
        f"no worker answers ({what}).{f' {waits}' if waits else ''} "
        f"Next: start one (tagstream worker, or tagstream demo), or name its address: tagstream top HOST:PORT."
    )
