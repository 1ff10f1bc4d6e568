"""Changes the model again and again while a fault run goes on: one controller process after the other, some of them struck."""

import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tagstream.model_export.bundle import bundle as bundles
from tagstream.stream.broker.processes import Process, Processes
from tests.data.make_endless_bundle import endless
from tests.faults.epochs.controller import POINT_VARIABLE, POINTS
from tests.faults.worker.fleet import ROOT, without_settings

# So many bundles in turn: the same network under several versions.
VERSIONS = 4
# Every third change gives the bundle half of the keys, beside the champion.
CANARIES, SHARE = 3, 0.5
# Every fifth goes back. Changes are made without workers, too, where a fault has ended them all.
ROLLBACKS = 5
# In the place of a signal and a point.
HANGS = "hangs"
# How `tagstream` ends where SIGINT came before the close.
INTERRUPTED = 130
LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.2, 2.0
# So long a controller may take, which waits for workers until it gives up.
CONTROLLER_SECONDS = 240.0


@dataclass(slots=True, kw_only=True)
class Promoter:
    """
    The controllers of a run, one at a time, but for one that is stopped while the next one acts.

    Attributes:
        processes: Under whose supervision they run.
        environ: TAGSTREAM_* of all of them.
        folder: For bundles and logs.
        module: The controller to run.
        chance: Chooses points and pauses.
        begun: How many changes have ended well.
        ended: The exit codes of controllers.
        took_endless: A controller took the bundle that does not end to load.
    """

    processes: Processes
    environ: Mapping[str, str]
    folder: Path
    module: str = "tests.faults.epochs.controller"
    chance: random.Random = field(init=False)
    begun: int = 0
    ended: list[int] = field(default_factory=list)
    took_endless: bool = False
    _bundles: list[Path] = field(init=False)
    _endless: Path = field(init=False)
    _started: int = field(init=False)
    _running: Process | None = None
    _since: float = 0.0
    _stopped: Process | None = None
    _next_at: float = 0.0
    # The point of the next controller, that of the one that runs, and whether no change has ended well since one was killed.
    _point: str = ""
    _given: str = ""
    _recovers: bool = False

    def __post_init__(self) -> None:
        """Make the bundles, and go on behind the controllers of an earlier process."""
        bundle = Path(self.environ["TAGSTREAM_BUNDLE"])
        self._bundles = _versions(bundle, self.folder / "versions")
        self._endless = endless(bundles.read(bundle), self.folder / "versions" / "endless")
        self._started = len(self._logs())

    @property
    def is_struck(self) -> bool:
        """Whether a strike is still to come, or no change has ended well since."""
        return bool(self._point or self._given or self._stopped) or self._recovers

    @property
    def is_idle(self) -> bool:
        """Whether no controller runs, so that none is ended between a close and its marks."""
        return self._running is None and self._stopped is None

    @property
    def crashed(self) -> list[str]:
        """The logs of controllers that ended with a traceback."""
        # A producer of aiokafka that is fenced forgets futures of its own, which are told with a traceback each.
        return [
            str(log)
            for log in self._logs()
            if (text := log.read_text(errors="replace")).count("Traceback") > text.count("exception was never retrieved")
        ]

    def strike(self, which: signal.Signals) -> None:
        """Let a controller get this signal at a point of its own; one that is stopped goes on once another one has acted."""
        self._point = f"{which.name} {self.chance.choice(POINTS)}"

    def hang(self) -> None:
        """Let a controller promote a bundle that does not end to load: it must refuse the bundle, and change nothing."""
        self._point = HANGS

    def tend(self) -> None:
        """Look at the controller that runs, and start the next one when it is time."""
        now = time.monotonic()
        running = self._running
        if running is None:
            if now >= self._next_at:
                self._start(now)
        elif running.exit_code is not None:
            self._note(running, now)
        elif self._given.startswith(signal.SIGSTOP.name) and _is_stopped(running.pid):
            self._stopped, self._running, self._given = running, None, ""
            self._next_at = now
        elif now - self._since > CONTROLLER_SECONDS:
            running.kill()

    def stop(self) -> None:
        """End them all."""
        for one in (self._running, self._stopped):
            if one is not None and one.running():
                one.kill()
        self._running = self._stopped = None

    def _note(self, process: Process, now: float) -> None:
        code = process.exit_code
        assert code is not None
        self.ended.append(code)
        given, self._given, self._running = self._given, "", None
        if given == HANGS:
            self.took_endless |= code == 0
            given = ""
        self._next_at = now + self.chance.uniform(LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS)
        if given and code == -signal.SIGKILL:
            self._recovers = True
        elif given and not (given.startswith(signal.SIGINT.name) and code in {0, INTERRUPTED}):
            # It did not come to its point.
            self._point = given
        if code != 0:
            return
        self.begun += 1
        self._recovers = False
        if self._stopped is not None:
            # It goes on: if it has fenced, then another one has since, and whatever it writes now must fail.
            self._running, self._stopped, self._since = self._stopped, None, now
            os.kill(self._running.pid, signal.SIGCONT)

    def _start(self, now: float) -> None:
        if self._stopped is None:
            self._given, self._point = self._point, ""
        bundle, number = str(self._bundles[self._started % VERSIONS]), self._started
        words = ["promote", "--without-workers", bundle]
        if self._given == HANGS:
            words[-1] = str(self._endless)
        elif number % CANARIES == CANARIES - 1:
            words = ["canary", "--without-workers", "--share", str(SHARE), bundle]
        elif number % ROLLBACKS == ROLLBACKS - 1:
            words = ["rollback"]
        self._started += 1
        self._since = now
        self._running = self.processes.start(
            [sys.executable, "-m", self.module, *words],
            env={
                **without_settings(os.environ),
                "PYTHONPATH": str(ROOT),
                **self.environ,
                POINT_VARIABLE: self._given,
            },
            log_file=self.folder / f"controller-{self._started:03}.log",
        )

    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("controller-*.log"))


def _versions(bundle: Path, folder: Path) -> list[Path]:
    """The same network under other versions: other digests."""
    read = bundles.read(bundle)
    return [
        bundles.write(
            folder / str(number),
            manifest=msgspec.structs.replace(read.manifest, version=f"{read.manifest.version}-{number}"),
            model=read.model,
            tokenizer=read.tokenizer,
        ).path
        for number in range(1, VERSIONS + 1)
    ]


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:
        return False
