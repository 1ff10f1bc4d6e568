"""A fault run: a ledger of inputs, a fleet of workers, faults that strike while there is work, and a verdict.

A fault strikes only when the group has formed again since the last one and every worker with work has moved on, and only a
worker in whose partitions events wait. A fault that hits an idle worker proves nothing; should one slip through, it is counted.
"""

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from stream.broker.processes import Processes
from stream.delivery import EXIT_BROKEN
from stream.settings import Settings, load
from tests.faults.checker import Evidence, Sample, Verdict, check
from tests.faults.fleet import Exit, Fleet, Member
from tests.faults.inputs import Input, Planted
from tests.faults.onlooker import Onlooker, send
from tests.faults.stub import Point

LOOK_SECONDS = 0.25
# The first outcome may take so long: the hosts of tests are shared.
START_SECONDS = 60.0
# Below this a worker might have finished before the signal arrives.
LEAST_WAITING = 64
# Within this a fault that ends a worker has ended it; a worker that takes it otherwise is not waited for.
END_SECONDS = 3.0


class Fault(StrEnum):
    """What happens to a worker."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    FREEZE = "SIGSTOP beyond the session"
    JOIN = "a worker joins"
    LEAVE = "a worker leaves"
    EXCEPTION = "exception in the batch"
    PRODUCE_FAILURE = "produce failure"
    KILL_BEFORE_DECIDING = "kill -9 before the model"
    KILL_BEFORE_SENDING = "kill -9 before the sends"
    KILL_AMONG_SENDS = "kill -9 between two sends"
    KILL_BEFORE_ACKNOWLEDGING = "kill -9 before the acknowledgement"
    KILL_BEFORE_COMMITTING = "kill -9 before the commit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What is done to whom.

    Attributes:
        module: The worker to run, `python -m module`.
        seconds_per_batch: How slow the model is: slow enough that work is left for the last fault.
        faults: The faults in their order, each struck once.
        workers: How many run when nothing happens.
        max_seconds: When the run is broken off; the verdict then says what was not reached.
        patience_seconds: A run without a new outcome or commit for so long is broken off, and I7's bound.
        seed: Fixes victims and pauses.
    """

    module: str = "tests.faults.worker"
    seconds_per_batch: float
    faults: Sequence[Fault]
    workers: int = 2
    max_seconds: float = 150.0
    patience_seconds: float = 30.0
    seed: str = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One fault: when it struck, and how many events waited for its victim."""

    fault: Fault
    at_seconds: float
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happened and what it did."""

    verdict: Verdict
    strikes: tuple[Strike, ...]
    exits: tuple[Exit, ...]
    inputs: int
    seconds: float

    @property
    def faults(self) -> Counter[Fault]:
        """Faults that struck a busy worker, by class."""
        return Counter(strike.fault for strike in self.strikes if strike.waiting > 0)

    @property
    def idle_faults(self) -> int:
        """Faults that hit a worker without work."""
        return sum(strike.waiting <= 0 for strike in self.strikes)

    @property
    def self_exits(self) -> int:
        """How often a worker has ended itself because its machine was broken."""
        return sum(one.code == EXIT_BROKEN for one in self.exits)

    @property
    def stops(self) -> tuple[Exit, ...]:
        """Exits from work that SIGTERM had asked for."""
        return tuple(one for one in self.exits if one.worked and one.asked_seconds is not None)

    def __str__(self) -> str:
        struck = ", ".join(f"{count} x {fault}" for fault, count in sorted(self.faults.items()))
        duplicates = self.verdict.duplicates
        slowest = max((one.asked_seconds or 0 for one in self.stops), default=0)
        lines = (
            f"{self.inputs} events in {self.seconds:.0f} s, {self.verdict.outcomes} outcomes, {duplicates} duplicates",
            f"faults on busy workers: {struck or 'none'}; on idle ones: {self.idle_faults}",
            f"at: {', '.join(f'{strike.at_seconds:.0f} s' for strike in self.strikes)}",
            f"exit codes {dict(Counter(one.code for one in self.exits))}; SIGTERM answered in at most {slowest:.1f} s",
            *(str(finding) for finding in self.verdict.findings),
        )
        return "\n".join(lines)


def run(plan: Plan, planted: Sequence[Planted], *, environ: Mapping[str, str], folder: Path, processes: Processes) -> Report:
    """
    Send, let the workers work under faults until all is done, and judge. The topics must exist.

    Args:
        plan: Who works, and what happens to them.
        planted: What to send; all of it before the first worker starts, so that there is always work.
        environ: TAGSTREAM_* of the workers.
        folder: For their logs.
        processes: The workers' supervision.
    """
    settings = load(environ, folder=folder).settings
    inputs = send(settings, planted)
    fleet = Fleet(
        processes=processes, module=plan.module, environ=environ, seconds_per_batch=plan.seconds_per_batch, folder=folder
    )
    with Onlooker(settings) as onlooker:
        scene = _Scene(plan, settings, fleet, onlooker)
        try:
            scene.play()
        finally:
            scene.clear()
        return Report(
            verdict=_judge(plan, inputs, scene, onlooker),
            strikes=tuple(scene.strikes),
            exits=tuple(fleet.exits),
            inputs=len(inputs),
            seconds=scene.samples[-1].at_seconds,
        )


def _judge(plan: Plan, inputs: Sequence[Input], scene: "_Scene", onlooker: Onlooker) -> Verdict:
    return check(
        Evidence(
            inputs=inputs,
            outcomes=onlooker.outcomes(),
            samples=scene.samples,
            ends=scene.ends,
            idle_bound_seconds=plan.patience_seconds,
        )
    )


@dataclass(slots=True)
class _Disturbance:
    """When the group was last disturbed, and where it stood."""

    at_seconds: float
    committed: Mapping[int, int]
    written: int


class _Scene:
    """One run as it goes on."""

    def __init__(self, plan: Plan, settings: Settings, fleet: Fleet, onlooker: Onlooker) -> None:
        self._plan = plan
        self._settings = settings
        self._fleet = fleet
        self._onlooker = onlooker
        self._chance = random.Random(plan.seed)  # noqa: S311 - repeatable, not secret
        self._coming = list(plan.faults)
        self._awaited: tuple[Member, int, float] | None = None
        self._pause = 0.0
        self._frozen: dict[int, float] = {}
        self._last = _Disturbance(0.0, {}, 0)
        self.ends = onlooker.ends()
        self.samples: list[Sample] = []
        self.strikes: list[Strike] = []

    def play(self) -> None:
        """Until all is committed, or nothing moves any more, or the time is over."""
        for number in range(1, self._plan.workers + 1):
            self._fleet.add(number)
        self._look()
        while not self._is_over():
            time.sleep(LOOK_SECONDS)
            self._look()
            self._thaw()
            if self._fleet.tend():
                self._disturbed()
            if self._coming and not self._frozen and not self._awaits_end() and self._has_recovered():
                self._strike()

    def clear(self) -> None:
        """End all workers and look a last time: the commit of a graceful stop is part of the run."""
        for number in list(self._frozen):
            self._fleet.thaw(self._fleet.members[number])
        self._fleet.stop()
        self._look()

    def _look(self) -> None:
        self.samples.append(self._onlooker.sample())

    @property
    def _now(self) -> Sample:
        return self.samples[-1]

    def _waiting(self, partitions: Sequence[int] | frozenset[int]) -> int:
        return sum(self.ends[partition] - self._now.committed.get(partition, 0) for partition in partitions)

    def _is_over(self) -> bool:
        now = self._now
        if self._waiting(list(self.ends)) == 0 or now.at_seconds > self._plan.max_seconds:
            return True
        moved = next(
            (s for s in reversed(self.samples) if (s.written, s.committed) != (now.written, now.committed)), self.samples[0]
        )
        patience = self._plan.patience_seconds if any(now.written.values()) else START_SECONDS
        return now.at_seconds - moved.at_seconds > patience

    def _disturbed(self) -> None:
        now = self._now
        self._last = _Disturbance(now.at_seconds, dict(now.committed), sum(now.written.values()))
        self._pause = self._chance.uniform(0.2, 1.5)

    def _has_recovered(self) -> bool:
        """Has each partition one owner again, have outcomes flowed, and has every worker with work committed some of it?"""
        now, last = self._now, self._last
        if now.at_seconds - last.at_seconds < self._pause or sum(now.written.values()) <= last.written:
            return False
        owned = [member.partitions for member in self._fleet.members.values()]
        held = [partition for partitions in owned for partition in partitions or ()]
        return (
            None not in owned
            and sorted(held) == sorted(self.ends)
            and all(self._has_moved(partitions or frozenset()) for partitions in owned)
        )

    def _has_moved(self, partitions: frozenset[int]) -> bool:
        """One partition is enough: Faust works through what it has fetched of one before it turns to the next."""
        before, now = self._last.committed, self._now.committed
        return any(now.get(partition, 0) > before.get(partition, 0) for partition in partitions) or not self._waiting(
            partitions
        )

    def _awaits_end(self) -> bool:
        """Is the last victim still running that the last fault should end?"""
        if self._awaited is None:
            return False
        member, incarnation, until = self._awaited
        return member.incarnation == incarnation and member.number in self._fleet.members and self._now.at_seconds < until

    def _strike(self) -> None:
        fault = self._coming[0]
        victim, waiting = self._victim(fault)
        if waiting < LEAST_WAITING:
            return
        del self._coming[0]
        self.strikes.append(Strike(fault=fault, at_seconds=self._now.at_seconds, waiting=waiting))
        self._disturbed()
        if victim is None:
            self._fleet.add(max(self._fleet.members) + 1)
        else:
            self._awaited = (victim, victim.incarnation, self._now.at_seconds + END_SECONDS)
            self._do(fault, victim)

    def _victim(self, fault: Fault) -> tuple[Member | None, int]:
        """Whom to strike, and how many events wait in its partitions; for a joining worker, in all of them."""
        members = list(self._fleet.members.values())
        if fault is Fault.JOIN:
            return None, self._waiting(list(self.ends))
        if fault is Fault.LEAVE:
            # Whoever leaves is not replaced: there must be one too many.
            members = members if len(members) > self._plan.workers else []
        busy = [(member, self._waiting(member.partitions or frozenset())) for member in members if member.terminated_at is None]
        busy = [(member, waiting) for member, waiting in busy if waiting >= LEAST_WAITING]
        return self._chance.choice(busy) if busy else (None, 0)

    def _do(self, fault: Fault, victim: Member) -> None:
        match fault:
            case Fault.KILL:
                self._fleet.kill(victim)
            case Fault.TERM:
                self._fleet.terminate(victim)
            case Fault.LEAVE:
                self._fleet.terminate(victim, leave=True)
            case Fault.FREEZE:
                self._fleet.freeze(victim)
                self._frozen[victim.number] = self._now.at_seconds + self._settings.session_timeout_seconds + 2
            case _:
                self._fleet.arm(victim, Point[fault.name])

    def _thaw(self) -> None:
        for number, until in list(self._frozen.items()):
            if self._now.at_seconds > until:
                del self._frozen[number]
                self._fleet.thaw(self._fleet.members[number])
                self._disturbed()
