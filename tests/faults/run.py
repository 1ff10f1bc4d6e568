"""One fault run: it keeps workers running, strikes them, and samples the brokers.

A fault strikes only when the group has formed again since the last one and every worker with work has moved on, and only where
events wait. A fault that hits an idle worker does not count as one.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kafka.errors import KafkaError

from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.brokers import StruckCluster
from tests.faults.cluster.topics import INFERENCE_TIMEOUT_SECONDS, PRODUCE_TIMEOUT_SECONDS
from tests.faults.epochs.changing import Changing
from tests.faults.faults import BROKERS, CONTROLLERS, KILLS, NETWORK, Fault
from tests.faults.inputs import Input
from tests.faults.journal import Journal, Strike
from tests.faults.observer import TopicObserver
from tests.faults.plan import Plan
from tests.faults.strikes import Striker
from tests.faults.upstream.ledger import Ledger
from tests.faults.verdict.evidence import Sample
from tests.faults.worker.fleet import Fleet, Member
from tests.waiting import HANG_SECONDS, answered

LOOK_SECONDS = 0.25
# The first outcome may take so long: the hosts of tests are shared.
START_SECONDS = HANG_SECONDS
# No broker may fail to answer the harness for longer.
BLIND_SECONDS = HANG_SECONDS
# Below this a worker might have finished before the signal arrives.
LEAST_WAITING = 64
BURST_EVENTS = 1_000
# Within this a fault that ends a worker has ended it; a worker that takes it otherwise is not waited for.
END_SECONDS = 3.0
LATER_END_SECONDS = {
    Fault.HANG: INFERENCE_TIMEOUT_SECONDS + 2,
    Fault.PRODUCE_SILENCE: PRODUCE_TIMEOUT_SECONDS + 2,
    Fault.SLOW_MODEL: 8.0,
    Fault.BLOCKED_LOOP: 9.0,
}


@dataclass(slots=True)
class _Disturbance:
    """When the group was last disturbed, and where it stood."""

    at_seconds: float
    committed: Mapping[int, int]
    written: int


@dataclass(slots=True)
class _Orphans:
    """
    The partitions of a worker that is to be killed, until all that have work have moved on without it.

    `ended_at_seconds` and `committed` are those of its end, None before.
    """

    strike: Strike
    of: tuple[int, int]
    partitions: frozenset[int]
    ended_at_seconds: float | None = None
    committed: Mapping[int, int] | None = None


class FaultRun:
    """
    One run.

    Args:
        plan: The workers, and the faults that strike them.
        settings: The harness's own, past the network.
        fleet: The workers.
        observer: Looks at the brokers.
        cluster: Brokers and network, where they are struck too.
        ledger: The events.
        journal: Keeps samples and strikes, those of an earlier process too.
        answers: The records of `reviewed`.
        changing: Changes the model meanwhile; None where none is changed.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        fleet: Fleet,
        observer: TopicObserver,
        cluster: StruckCluster | None,
        ledger: Ledger,
        journal: Journal,
        *,
        answers: Sequence[Input] = (),
        changing: Changing | None = None,
    ) -> None:
        """Start without workers."""
        self._plan = plan
        self._settings = settings
        self._fleet = fleet
        self._observer = observer
        self._cluster = cluster
        self._journal = journal
        self._ledger = ledger
        self._answers_ends: dict[int, int] = {}
        for one in answers:
            self._answers_ends[one.partition] = max(self._answers_ends.get(one.partition, 0), one.offset + 1)
        self.samples: list[Sample] = list(journal.samples())
        self.strikes: list[Strike] = journal.strikes()
        self.blind_looks = 0
        self._earlier_seconds = self.samples[-1].at_seconds if self.samples else 0.0
        self._chance = random.Random(f"{plan.seed}:{len(self.strikes)}")  # noqa: S311 - repeatable, not secret
        self._coming = list(plan.faults)[len(self.strikes) :]
        self._open_strike: Strike | None = None
        self._awaited: tuple[list[Member], list[int], float] | None = None
        self._orphans: _Orphans | None = None
        self._pause = 0.0
        self._changing = changing
        if changing is not None:
            changing.promoter.chance = self._chance
        self._striker = Striker(settings, fleet, cluster, self._chance, None if changing is None else changing.promoter)
        self._was_broken = False
        self._last = _Disturbance(self._earlier_seconds, {}, 0)
        self._last_sight = time.monotonic()

    @property
    def ends(self) -> Mapping[int, int]:
        """By partition, the offset after the last event that a worker can read now."""
        return self._ledger.ends

    def play(self) -> None:
        """Run until all is committed, or neither outcomes nor commits move any more, or the time is over."""
        struck = [strike.fault for strike in self.strikes]
        # Workers of an earlier process that joined and did not leave.
        joined = struck.count(Fault.JOIN) - struck.count(Fault.LEAVE)
        for number in range(1, self._plan.workers + joined + 1):
            self._fleet.add(number)
        self._first_look()
        self._disturbed()
        while not self._is_over():
            time.sleep(LOOK_SECONDS)
            self._look()
            self._change()
            if self._striker.thaw(self._now.at_seconds, self._now.committed, self._have_moved):
                self._disturbed()
            self._tend()
            if self._is_struck() or not self._has_recovered():
                continue
            self._close_strike()
            if self._coming:
                self._strike()
            elif self._fleet.seconds_per_batch:
                self._fleet.hurry()
            elif self._ledger.is_hung:
                self._ledger.end_hung()
        if self._open_strike is not None:
            if self._waiting(list(self.ends)) == 0:
                self._open_strike.recovered_seconds = self._now.at_seconds - self._open_strike.at_seconds
            self._journal.struck(self._open_strike)

    def clear(self) -> None:
        """Undo the last fault, end all workers and look a last time: the commit of a graceful stop is part of the run."""
        if self._cluster is not None:
            self._cluster.mend()
        self._striker.thaw_all()
        self._end_changes()
        self._fleet.stop()
        self._journal.ended(self._fleet.take_exits())
        self._look()

    # --- looking -----------------------------------------------------------------------------------------------------

    def _first_look(self) -> None:
        """A busy broker may not answer the first look; `_look` ends the wait."""
        self._look()
        while not self.samples:
            time.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        """Sample the brokers; a look at which no broker answers is counted and left out."""
        try:
            sample = self._observer.sample(self._earlier_seconds)
        except (KafkaError, OSError):
            self.blind_looks += 1
            if time.monotonic() - self._last_sight > BLIND_SECONDS:
                answered(lambda: self._observer.sample(self._earlier_seconds), self._settings.brokers)
            return
        self._last_sight = time.monotonic()
        self.samples.append(sample)
        self._journal.saw(sample)

    def _change(self) -> None:
        """Tend the controllers, and end them and the events that keep coming once faults and epochs are over."""
        changing = self._changing
        if changing is None or changing.is_over:
            return
        self._ledger.extend(changing.steady.take())
        changing.promoter.tend()
        over = not self._coming and self._open_strike is None and not changing.promoter.is_struck
        if over and changing.promoter.begun >= changing.epochs and changing.promoter.is_idle:
            self._end_changes()

    def _end_changes(self) -> None:
        if self._changing is not None:
            self._ledger.extend(self._changing.end())

    @property
    def _now(self) -> Sample:
        return self.samples[-1]

    def _waiting(self, partitions: Sequence[int] | frozenset[int]) -> int:
        committed = self._now.committed
        return sum(max(0, self.ends[partition] - committed.get(partition, 0)) for partition in partitions)

    def _answers_wait(self) -> bool:
        answered = self._now.answered
        return any(answered.get(partition, 0) < end for partition, end in self._answers_ends.items())

    def _is_over(self) -> bool:
        now = self._now
        if self._waiting(list(self.ends)) == 0 and self._ledger.is_hung:
            self._ledger.end_hung()
        changes = self._changing is not None and not self._changing.is_over
        done = self._waiting(list(self.ends)) == 0 and not self._answers_wait() and not changes
        if done or now.at_seconds > self._plan.max_seconds:
            return True
        begun = [sample for sample in self.samples if sample.at_seconds > self._earlier_seconds]
        moved = next(
            (s for s in reversed(begun) if (s.written, s.committed, s.answered) != (now.written, now.committed, now.answered)),
            begun[0] if begun else now,
        )
        patience = self._plan.patience_seconds if any(now.written.values()) else START_SECONDS
        return now.at_seconds - moved.at_seconds > max(patience, START_SECONDS if moved is begun[0] else 0)

    # --- disturbance and recovery ------------------------------------------------------------------------------------

    def _disturbed(self) -> None:
        now = self._now
        self._last = _Disturbance(now.at_seconds, dict(now.committed), sum(now.written.values()))
        self._pause = self._chance.uniform(0.2, 1.5)

    def _tend(self) -> None:
        before = self._now.at_seconds
        if self._fleet.tend():
            self._journal.ended(self._fleet.take_exits())
            # A commit may have been under way when the last look was taken.
            self._look()
            self._mourn(before)
            self._disturbed()
        self._see_orphans()
        if self._cluster is None:
            return
        broken = self._cluster.broken
        if self._was_broken and not broken:
            self._disturbed()
        self._was_broken = broken

    def _mourn(self, before_seconds: float) -> None:
        orphans = self._orphans
        if orphans is None or orphans.committed is not None:
            return
        number, incarnation = orphans.of
        member = self._fleet.members.get(number)
        if member is None or member.incarnation != incarnation:
            orphans.ended_at_seconds, orphans.committed = before_seconds, dict(self._now.committed)

    def _see_orphans(self) -> None:
        orphans, now = self._orphans, self._now
        if orphans is None or orphans.ended_at_seconds is None or orphans.committed is None:
            return
        if self._have_moved(orphans.partitions, orphans.committed):
            orphans.strike.moved_seconds = now.at_seconds - orphans.ended_at_seconds
            self._orphans = None

    def _have_moved(self, partitions: frozenset[int], before: Mapping[int, int]) -> bool:
        """Whether each of these partitions with waiting events has a later commit."""
        committed = self._now.committed
        return all(
            committed.get(partition, 0) > before.get(partition, 0) or not self._waiting([partition]) for partition in partitions
        )

    def _is_struck(self) -> bool:
        """Whether the last fault still works: a frozen worker, a broken network or broker, or a victim that runs."""
        if self._striker.has_frozen or self._was_broken:
            return True
        if self._changing is not None and self._changing.promoter.is_struck:
            return True
        if self._awaited is None:
            return False
        members, incarnations, until = self._awaited
        return self._now.at_seconds < until and any(
            member.incarnation == incarnation and member.number in self._fleet.members
            for member, incarnation in zip(members, incarnations, strict=True)
        )

    def _has_recovered(self) -> bool:
        """Whether each partition has one owner, outcomes flow, and every worker with work has committed some."""
        now, last = self._now, self._last
        if self._orphans is not None and self._orphans.committed is not None:
            return False
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
        """One partition is enough, since the worker may not have fetched from the others yet."""
        before, now = self._last.committed, self._now.committed
        return any(now.get(partition, 0) > before.get(partition, 0) for partition in partitions) or not self._waiting(
            partitions
        )

    def _close_strike(self) -> None:
        if self._open_strike is not None:
            self._open_strike.recovered_seconds = self._now.at_seconds - self._open_strike.at_seconds
            self._journal.struck(self._open_strike)
            self._open_strike = None

    # --- striking ----------------------------------------------------------------------------------------------------

    def _strike(self) -> None:
        if self._changing is not None and not self._changing.promoter.begun:
            # A worker that is stopped over the very first change is a risk that the protocol leaves.
            return
        fault = self._coming[0]
        victims, waiting = self._victims(fault)
        if waiting < LEAST_WAITING:
            if self._changing is not None:
                # Workers stand at the end of the log, so that work must come before a fault can strike it.
                self._changing.steady.burst(BURST_EVENTS)
            return
        del self._coming[0]
        self._open_strike = Strike(fault=fault, at_seconds=self._now.at_seconds, waiting=waiting)
        self.strikes.append(self._open_strike)
        self._disturbed()
        until = self._now.at_seconds + LATER_END_SECONDS.get(fault, END_SECONDS)
        self._awaited = (victims, [member.incarnation for member in victims], until)
        self._orphans = None
        if fault in KILLS:
            (victim,) = victims
            self._orphans = _Orphans(self._open_strike, (victim.number, victim.incarnation), victim.partitions or frozenset())
        if fault is Fault.PARTITIONS:
            self._ledger.add_partition()
        else:
            self._striker.do(fault, victims, self._now.at_seconds)
        # The cluster itself knows when it is mended; a reset is over at once.
        self._was_broken = self._cluster is not None and self._cluster.broken

    def _victims(self, fault: Fault) -> tuple[list[Member], int]:
        """The victims, and how many events wait for them; for a fault of all workers or of none, all waiting events."""
        everything = self._waiting(list(self.ends))
        members = [member for member in self._fleet.members.values() if member.terminated_at is None]
        if fault in NETWORK | BROKERS | CONTROLLERS | {Fault.JOIN, Fault.PARTITIONS}:
            return [], everything
        if fault is Fault.KILL_ALL:
            return members, everything
        if fault is Fault.LEAVE and len(members) <= self._plan.workers:
            # A worker that leaves is not replaced: there must be one too many.
            return [], 0
        busy = [(member, self._waiting(member.partitions or frozenset())) for member in members]
        busy = [(member, waiting) for member, waiting in busy if waiting >= LEAST_WAITING]
        count = 2 if fault is Fault.TERM_TOGETHER else 1
        if len(busy) < count:
            return [], 0
        chosen = self._chance.sample(busy, count)
        return [member for member, _ in chosen], sum(waiting for _, waiting in chosen)
