"""Worker processes as an orchestrator keeps them: a fixed number runs, and one that exits is started anew."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tagstream.stream.broker.processes import Process, Processes
from tests.faults.worker.failpoints import Point
from tests.faults.worker.stub import MODEL_VARIABLE, SECONDS_VARIABLE
from tests.waiting import HANG_SECONDS, HangError, until

ROOT = Path(__file__).parents[3]
# The time that all workers together have to end.
END_SECONDS = HANG_SECONDS


@dataclass(slots=True, kw_only=True)
class Member:
    """One place in the fleet and the process that fills it now. `incarnation` counts its processes."""

    number: int
    process: Process
    incarnation: int = 1
    leaving: bool = False
    terminated_at: float | None = None

    @property
    def partitions(self) -> frozenset[int] | None:
        """The partitions of its last assignment by its own log; None before the first one."""
        given = [line for line in self.process.output().splitlines() if '"partitions_assigned"' in line]
        return frozenset(json.loads(given[-1])["partitions"]) if given else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A process that ended. `asked_seconds` is the time since SIGTERM, None without one; `worked`: it had partitions."""

    number: int
    code: int
    worked: bool
    asked_seconds: float | None


@dataclass(slots=True, kw_only=True)
class Fleet:
    """
    Workers of one module with the same environment.

    Args:
        processes: Under whose supervision they run: none outlives the test.
        module: The worker to run, `python -m module`.
        model: "stub", "poisonable", or "bundle" for the settings' own.
        environ: TAGSTREAM_* of all of them.
        seconds_per_batch: How slow their model is.
        folder: Where their logs go.
    """

    processes: Processes
    module: str
    environ: Mapping[str, str]
    seconds_per_batch: float
    folder: Path
    model: str = "stub"
    members: dict[int, Member] = field(default_factory=dict)
    exits: list[Exit] = field(default_factory=list)

    def add(self, number: int) -> Member:
        """Fill a new place."""
        member = self.members[number] = Member(number=number, process=self._start(number, 1))
        return member

    def terminate(self, member: Member, *, leave: bool = False) -> None:
        """SIGTERM; with `leave` it is not replaced."""
        member.leaving = leave
        member.terminated_at = time.monotonic()
        _signal(member, signal.SIGTERM)

    def kill(self, member: Member) -> None:
        """SIGKILL."""
        _signal(member, signal.SIGKILL)

    def arm(self, member: Member, point: Point) -> None:
        """Let it break at the next passing of this point."""
        _signal(member, point.value)

    def hurry(self) -> None:
        """Stop slowing the models down, for running and for future workers."""
        self.seconds_per_batch = 0.0
        for member in self.members.values():
            self.arm(member, Point.HURRY)

    def freeze(self, member: Member) -> None:
        """SIGSTOP: the process stays and does no work."""
        _signal(member, signal.SIGSTOP)

    def thaw(self, member: Member) -> None:
        """SIGCONT."""
        _signal(member, signal.SIGCONT)

    def tend(self) -> list[Exit]:
        """Note the workers that ended since the last call, and replace those that did not leave."""
        ended: list[Exit] = []
        for member in list(self.members.values()):
            code = member.process.exit_code
            if code is None:
                continue
            ended_at = member.process.ended_at or time.monotonic()
            asked = None if member.terminated_at is None else ended_at - member.terminated_at
            ended.append(Exit(number=member.number, code=code, worked=bool(member.partitions), asked_seconds=asked))
            if member.leaving:
                del self.members[member.number]
                continue
            member.incarnation += 1
            member.terminated_at = None
            member.process = self._start(member.number, member.incarnation)
        self.exits += ended
        return ended

    def take_exits(self) -> list[Exit]:
        """All exits since the last call."""
        taken, self.exits = self.exits, []
        return taken

    def stop(self) -> list[Exit]:
        """SIGTERM to all, SIGKILL to those that need longer than `END_SECONDS`."""
        ended: list[Exit] = []
        for member in self.members.values():
            self.terminate(member, leave=True)

        def all_ended() -> bool:
            ended.extend(self.tend())
            return not self.members

        with contextlib.suppress(HangError):
            until(all_ended, "all workers have ended", seconds=END_SECONDS)
        for member in self.members.values():
            member.process.kill()
        return ended + self.tend()

    def log(self, number: int) -> str:
        """All that the processes of one place have logged."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob(f"worker-{number}-*.log")))

    def _start(self, number: int, incarnation: int) -> Process:
        return self.processes.start(
            [sys.executable, "-m", self.module],
            env={
                **without_settings(os.environ),
                "PYTHONPATH": str(ROOT),
                SECONDS_VARIABLE: str(self.seconds_per_batch),
                MODEL_VARIABLE: self.model,
                "TAGSTREAM_STATE_FOLDER": str(self.folder / "state"),
                **self.environ,
            },
            log_file=self.folder / f"worker-{number}-{incarnation:03}.log",
        )


def _signal(member: Member, which: int) -> None:
    # The process may have ended a moment ago; `tend` will find it.
    with contextlib.suppress(ProcessLookupError):
        if member.process.running():
            os.kill(member.process.pid, which)


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without TAGSTREAM_*, so that a developer's settings do not change a test."""
    return {name: value for name, value in environ.items() if not name.startswith("TAGSTREAM_")}
