"""The progress of a long run over rows, or of a task with several stages: a bar on a terminal, else a line from time to time."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tagstream.stream.terminal.console import err, talk

# The time between two lines if standard error is not a terminal. A shorter time would fill a log.
LINE_SECONDS = 10.0
# A rate is measured over the last `RATE_SECONDS`, or a little more.
RATE_SECONDS = 20.0
MINUTE, HOUR = 60, 3600


@dataclass(slots=True)
class Rate:
    """
    The rows per second over the last `RATE_SECONDS`.

    Attributes:
        clock: Returns seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _seen: deque[tuple[float, float]] = field(default_factory=deque)

    def at(self, amount: float) -> float:
        """Return the rate, now that `amount` is done in total; 0 until two moments are known."""
        now = self.clock()
        self._seen.append((now, amount))
        while len(self._seen) > 2 and now - self._seen[1][0] > RATE_SECONDS:  # noqa: PLR2004 - a rate has two ends
            self._seen.popleft()
        then, before = self._seen[0]
        return (amount - before) / (now - then) if now > then else 0.0


Advance = Callable[[int, int, float], None]
"""Called with the number of rows so far, the number of rows that this run decided, and the amount of the input that is done."""


@contextlib.contextmanager
def rows(
    what: str, *, size: float, say: Callable[[str], None] = talk, clock: Callable[[], float] = time.monotonic
) -> Iterator[Advance]:
    """
    Show a run's progress: rows, rows per second, and the time left.

    Args:
        what: A name of the run, for a person.
        size: The amount of the whole input; 0 if it is not known.
        say: Called with each line, if stderr is not a terminal.
        clock: Returns seconds.
    """
    rate, speed = Rate(clock), Rate(clock)
    if err.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]:,} rows  {task.fields[rate]:,.0f} rows/s", markup=False),
            TimeElapsedColumn(),
            TextColumn("left", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(what, total=size or None, rows=0, rate=0.0)
            yield lambda count, decided, done: bar.update(task, completed=done, rows=count, rate=rate.at(decided))
        return
    last = clock()

    def line(count: int, decided: int, done: float) -> None:
        nonlocal last
        now_rate, now_speed = rate.at(decided), speed.at(done)
        if clock() - last < LINE_SECONDS:
            return
        last = clock()
        share = f", {done / size:.0%} of the input" if size else ""
        left = f", {duration((size - done) / now_speed)} left" if size and now_speed else ""
        say(f"{what}: {count:,} rows, {now_rate:,.0f} rows/s{share}{left}")

    yield line


Tell = Callable[[str, int, int], None]
"""Called with a stage's name, the number of its steps that are done, and the number of all its steps."""


@contextlib.contextmanager
def stages(*, say: Callable[[str], None] = talk, clock: Callable[[], float] = time.monotonic) -> Iterator[Tell]:
    """
    Show the progress of each stage of a long task, and the time left for the stage.

    Args:
        say: Called with a line, if stderr is not a terminal: when a stage begins, from time to time, and when the stage is done.
        clock: Returns seconds.
    """
    if err.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err) as bar:
            tasks: dict[str, TaskID] = {}

            def show(stage: str, done: int, of: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bar.add_task(stage, total=of)
                bar.update(tasks[stage], completed=done)

            yield show
        return
    began: dict[str, tuple[float, int]] = {}
    last = clock()

    def line(stage: str, done: int, of: int) -> None:
        nonlocal last
        now = clock()
        if stage not in began:
            began[stage] = (now, done)
            say(f"{stage}: begins")
        elif done < of and now - last < LINE_SECONDS:
            return
        elif done < of:
            start, first = began[stage]
            left = f", {duration((of - done) * (now - start) / (done - first))} left" if done > first else ""
            say(f"{stage}: {done:,} of {of:,}{left}")
        else:
            say(f"{stage}: done in {duration(now - began[stage][0])}")
        last = now

    yield line


def duration(seconds: float) -> str:
    """
    Return a duration in seconds, minutes, or hours and minutes.

    >>> duration(42.4), duration(600), duration(7500)
    ('42 s', '10 min', '2 h 5 min')
    """
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / MINUTE)
    return f"{minutes} min" if seconds < HOUR else f"{minutes // MINUTE} h {minutes % MINUTE} min"
