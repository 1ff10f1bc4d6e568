"""What a fault run has beside its faults when a second model is asked meanwhile: an endpoint, and one process after the other, some of them struck."""

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.second.ledger import GOLD
from tagstream.stream.settings.settings import Settings
from tests.completions import Call, answering, http, says
from tests.faults.faults import Fault
from tests.faults.plan import Plan
from tests.faults.second.struck import POINT_VARIABLE, POINTS
from tests.faults.second.watch import Watch
from tests.faults.worker.fleet import ROOT, is_stopped, without_settings
from tests.waiting import HANG_SECONDS

# What it says of everything, and people too (`answers/certifying.py`).
LABEL = "mlops"
# Of the items people answer only a part, and an item without an answer counts as wrong.
SETTINGS = {
    "MODEL": "large",
    "PRECISION": "0.1",
    "AUDIT": "0.2",
    "REQUESTS_A_MINUTE": "60000",
    "CALLS_A_DAY": "10000000",
    "ATTEMPTS": "1",
}
DOWN_SECONDS = 4.0
SIGNALS = {Fault.SECOND_KILL: signal.SIGUSR1, Fault.SECOND_FREEZE: signal.SIGUSR2}
FENCED = 1


@dataclass(slots=True, kw_only=True)
class Seconding:
    """
    The processes of a second model, one at a time, but for one that is stopped while the next one acts.

    Attributes:
        processes: Under whose supervision they run.
        words: Their command line.
        environ: TAGSTREAM_* of all of them.
        folder: For their logs.
        chance: Chooses the points at which they break.
        watch: Sees what they do.
        gold: The items that were asked about again, before anything strikes.
        ended: The exit codes of processes.
    """

    processes: Processes
    words: Sequence[str]
    environ: Mapping[str, str]
    folder: Path
    chance: random.Random
    watch: Watch
    gold: list[str] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    _running: Process | None = None
    # What the next process that runs is to be struck by, and whether it is.
    _wanted: Fault | None = None
    _given: bool = False
    _stopped: Process | None = None
    _fenced: Process | None = None
    _down_until: float = 0.0
    _started: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether anything may strike: people's answers have proved enough, and what is asked again today was asked."""
        return bool(self.gold)

    @property
    def is_well(self) -> bool:
        """Whether a process has begun."""
        return self._running is not None and "second_begins" in self._running.output()

    @property
    def is_struck(self) -> bool:
        """Whether the last strike is still to come, or still works."""
        struck = (self._wanted, self._stopped, self._fenced)
        return any(one is not None for one in struck) or time.monotonic() < self._down_until

    @property
    def is_done(self) -> bool:
        """Whether each item has an opinion, and each opinion that settles a decision."""
        return self.is_ready and not self.watch.without_opinion and not self.watch.without_decision

    def answer(self, call: Call) -> None:
        """What the endpoint does with a request."""
        if time.monotonic() < self._down_until:
            call.send(http(500, b"{}"))
        else:
            says(LABEL)(call)

    def look(self) -> None:
        """
        See what has come.

        Raises:
            BrokerUnreachableError: The brokers do not answer.
        """
        self.watch.look()
        if not self.gold and self.watch.decisions and len(self.watch.repeated) >= GOLD:
            self.gold = self.watch.repeated

    def strike(self, fault: Fault) -> None:
        """Let a process break at its point, or the endpoint fail for a while."""
        if fault is Fault.ENDPOINT_DOWN:
            self._down_until = time.monotonic() + DOWN_SECONDS
        else:
            self._wanted = fault

    def tend(self) -> None:
        """Keep a process running, and let a stopped one go on when the next one has begun."""
        running = self._running
        if running is not None and self._given and self._wanted is Fault.SECOND_FREEZE and is_stopped(running.pid):
            self._stopped, self._running, self._wanted = running, None, None
        elif running is not None and running.exit_code is not None:
            self._note(running)
            if self._given and running.exit_code == -signal.SIGKILL:
                self._wanted = None
            self._running = None
        if self._running is None:
            self._start()
        elif self._wanted is not None and not self._given and self.is_well:
            self._given = True
            os.kill(self._running.pid, SIGNALS[self._wanted])
        if self._stopped is not None and self.is_well:
            self._fenced, self._stopped = self._stopped, None
            os.kill(self._fenced.pid, signal.SIGCONT)
        if self._fenced is not None and self._fenced.exit_code is not None:
            self._note(self._fenced)
            self._fenced = None

    def stop(self) -> None:
        """Let the one that runs end in order, and kill one that is stopped."""
        for one in (self._stopped, self._fenced):
            if one is not None:
                one.kill()
        if self._running is None:
            return
        self._running.ask_to_end()
        if not self._running.wait(HANG_SECONDS):
            self._running.kill()
        self._note(self._running)

    def __str__(self) -> str:
        said = Counter(one.reason or one.label for one in self.watch.opinions)
        codes = {code: self.ended.count(code) for code in sorted(set(self.ended))}
        return (
            f"{len({one.decision.prediction_id for one in self.watch.items})} items for a second model, which said {dict(said)}; "
            f"{len(self.watch.decisions)} settled; exit codes of its processes {codes}"
        )

    def _note(self, process: Process) -> None:
        assert process.exit_code is not None
        self.ended.append(process.exit_code)

    def _start(self) -> None:
        # One that is stopped must still have to write when it goes on.
        points = [one for one in POINTS if self._wanted is not Fault.SECOND_FREEZE or not one.startswith("after")]
        self._given, self._started = False, self._started + 1
        self._running = self.processes.start(
            [sys.executable, "-m", *self.words, "second", "--metrics-port", "0"],
            env={
                **without_settings(os.environ),
                "PYTHONPATH": str(ROOT),
                **self.environ,
                POINT_VARIABLE: self.chance.choice(points),
            },
            log_file=self.folder / f"second-{self._started:03}.log",
        )


@contextlib.contextmanager
def seconding_of(
    plan: Plan, settings: Settings, environ: Mapping[str, str], *, processes: Processes, folder: Path
) -> Iterator[Seconding | None]:
    """The second model of a plan with its endpoint; None where it has none."""
    if not plan.second:
        yield None
        return
    found = Seconding(
        processes=processes,
        words=plan.second,
        environ=environ,
        folder=folder,
        chance=random.Random(f"second:{plan.seed}"),  # noqa: S311 - repeatable, not secret
        watch=Watch(settings),
    )
    with answering(found.answer) as endpoint:
        of_second = SETTINGS | {"ENDPOINT": endpoint.url}
        found.environ = {**environ, **{f"TAGSTREAM_SECOND__{name}": value for name, value in of_second.items()}}
        yield found
