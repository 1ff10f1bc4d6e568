"""
A decision depends on the place of its event alone: the real controller, gate and fold, stopped between any two steps.

The state machine is the brokers: it holds the logs, and resumes whichever process it likes. So a worker may pause beyond its session with a fetched
batch, a controller may be fenced between any two of its steps, a transaction may be confirmed before readers see it, and an event may be fetched
and decided by several workers, at any time (a superset of what groups, rebalances and kills can do).

Known-bad variants of the same code run in the same machine, which must find each.
"""

import inspect
import types
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from tagstream.stream.contract.rollout_records import Abort, BundleName, Mark, Marks, Partition, RolloutRecord, WorkerReach
from tagstream.stream.rollout.controller import (
    Controller,
    FencedError,
    NothingToDecideError,
    PlanGivenUpError,
    Readiness,
    unbegun,
)
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.gate import EpochGate

MOMENT = "2026-01-01T00:00:00.000Z"
CHAMPION = BundleName(digest="0" * 64, name="champion", version="1")
MOST_EVENTS, MOST_EPOCHS, MOST_CONTROLLERS, WORKERS = 5, 4, 3, 2
# A process that asked for so many steps in a row without an end hangs.
MOST_STEPS = 2_000
# A process goes on by so many pauses: one, a few, or as far as it can.
STEPS = (1, 2, 3, 5, 8, 40, 40, 40)


@types.coroutine
def pause() -> Generator[None, None, None]:
    """A place where a process may be stopped for as long as the others like."""
    yield


@dataclass
class Entry:
    """A place in `rollout`: its record (None for one of a transaction that was rolled back), its writer, and whether readers see it."""

    record: RolloutRecord | None
    writer: int
    # "open": appended; "confirmed": the commit was answered; "seen": the marker is in the log.
    state: str = "open"


@dataclass
class World:
    """The logs of the brokers."""

    epochs: type[Epochs] = Epochs
    rollout: list[Entry] = field(default_factory=list)
    # By partition, its number of events, and how many of them are above no open transaction of a producer.
    content: dict[Partition, int] = field(default_factory=dict)
    stable: dict[Partition, int] = field(default_factory=dict)
    writer: int = -1
    decided: dict[tuple[Partition, int], set[int]] = field(default_factory=dict)
    # How far each process has said that it may begin events, and the group's commits.
    reach: dict[bytes, WorkerReach] = field(default_factory=dict)
    commits: dict[tuple[str, int], int] = field(default_factory=dict)
    newest: Partition | None = None
    stale_metadata: bool = False
    slow_markers: bool = False

    def committed_end(self) -> int:
        """The last stable offset of `rollout`."""
        return next((at for at, entry in enumerate(self.rollout) if entry.state != "seen"), len(self.rollout))

    def fold(self, end: int) -> Epochs:
        """The records before this offset."""
        epochs = self.epochs()
        for entry in self.rollout[:end]:
            if entry.record is not None:
                epochs.take(entry.record)
        return epochs

    def fence(self, writer: int) -> None:
        """As InitProducerId: an open transaction is rolled back, one that is being committed is finished."""
        self.writer = writer
        for entry in self.rollout:
            if entry.state == "open":
                entry.record = None
            entry.state = "seen"


@dataclass
class Topic:
    """`rollout` as one controller sees it."""

    world: World
    writer: int
    confirmed_is_read: bool = False

    async def fence(self) -> None:
        """As the real one."""
        await pause()
        self.world.fence(self.writer)

    async def read_to_end(self) -> Epochs:
        """As the real one."""
        await pause()
        return self.world.fold(self.world.committed_end())

    async def append(self, record: RolloutRecord) -> int:
        """Two steps: the record is in the log, and its commit is answered."""
        await pause()
        self._check()
        entry = Entry(record, self.writer)
        self.world.rollout.append(entry)
        await pause()
        self._check()
        entry.state = "confirmed" if self.world.slow_markers else "seen"
        return self.world.rollout.index(entry)

    async def read_past(self, offset: int) -> tuple[Epochs, bool]:
        """Waits for the marker of the transaction."""
        await pause()
        while self.world.committed_end() <= offset and not self.confirmed_is_read:
            await pause()
        record = self.world.rollout[offset].record
        assert record is not None
        return self.world.fold(max(offset + 1, self.world.committed_end())), self.world.fold(offset).take(record)

    def _check(self) -> None:
        if self.world.writer != self.writer:
            raise FencedError


@dataclass
class Content:
    """The content topics as a controller sees them. Metadata of brokers may lack a partition that is new."""

    world: World

    async def partitions(self) -> AbstractSet[Partition]:
        """As the brokers' metadata say."""
        await pause()
        there = set(self.world.content)
        return there - {self.world.newest} if self.world.stale_metadata else there

    async def ends(self, partitions: AbstractSet[Partition]) -> Mapping[Partition, int | None]:
        """One partition after the other."""
        found: dict[Partition, int | None] = {}
        for partition in sorted(partitions, key=lambda one: one.partition):
            await pause()
            found[partition] = self.end(partition)
        return found

    def end(self, partition: Partition) -> int | None:
        """Where an epoch begins."""
        return self.world.content.get(partition)


@dataclass
class End:
    """`rollout` as a worker sees it."""

    world: World

    async def end(self) -> int:
        """The last stable offset."""
        await pause()
        return self.world.committed_end()

    async def read_to(self, end: int) -> Epochs:
        """All that is there."""
        await pause()
        # A reader may have read further than was asked for.
        self._read = self.world.fold(max(end, self.world.committed_end()))
        return self._read

    async def wait_for_more(self) -> None:
        """The epochs grow."""
        await pause()
        now = self.world.fold(self.world.committed_end())
        for name in Epochs.__slots__:
            setattr(self._read, name, getattr(now, name))


class CannotLoadError(Exception):
    """No process can load the model of an epoch."""


@dataclass
class Said:
    """How far one process may have come (`gate.Reach`). It says a little more than it needs."""

    world: World
    name: str
    unloadable: AbstractSet[int] = frozenset()
    ahead: int = 1
    _mine: dict[int, dict[Partition, int]] = field(default_factory=dict)

    def lacking(self, epochs: Epochs, ends: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """As the real one."""
        newest = epochs.newest
        said = self._mine.get(newest, {})
        return {
            place: end
            for place, end in ends.items()
            if newest and epochs.epoch_of(place, end - 1) == newest and said.get(place, 0) < end
        }

    async def extend(self, epochs: Epochs, ends: Mapping[Partition, int]) -> None:
        """The model is loaded first; the record is in the log, and then it is confirmed."""
        epoch = epochs.newest
        await pause()
        if epoch in self.unloadable:
            raise CannotLoadError
        mine = self._mine.get(epoch, {}) | {place: end + self.ahead for place, end in ends.items()}
        marks = tuple(Mark(at=place, offset=below) for place, below in mine.items())
        await pause()
        record = WorkerReach(worker=self.name, epoch=epoch, reach=marks)
        self.world.reach[record.key] = record
        await pause()
        self._mine[epoch] = mine


@dataclass
class Group:
    """The workers as a controller sees them."""

    world: World
    refusals: int

    async def readiness(self, _: Models, *, goes_back: bool) -> tuple[Readiness, str]:
        """Some refuse."""
        assert not goes_back
        await pause()
        self.refusals -= 1
        return (Readiness.REFUSED, "no") if self.refusals >= 0 else (Readiness.READY, "")

    async def begun(self, epochs: Epochs) -> Mapping[Partition, int]:
        """What was said, and then the commits."""
        await pause()
        said = list(self.world.reach.values())
        await pause()
        return unbegun(epochs, said, self.world.commits)


class Brokers(RuleBasedStateMachine):
    """The machine. A variant replaces one part."""

    epochs: ClassVar[type[Epochs]] = Epochs
    controller: ClassVar[type[Controller]] = Controller
    gate: ClassVar[type[EpochGate]] = EpochGate
    content: ClassVar[type[Content]] = Content
    said: ClassVar[type[Said]] = Said
    group: ClassVar[type[Group]] = Group
    # Epochs whose model no worker can load.
    unloadable: ClassVar[AbstractSet[int]] = frozenset()
    confirmed_is_read: ClassVar[bool] = False
    fetch_first: ClassVar[bool] = True
    cuts: ClassVar[bool] = True
    # Off in the variants, which are then found sooner.
    remade: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.world = World(epochs=self.epochs)
        self.controllers: dict[int, Coroutine[Any, Any, None]] = {}
        self.workers: dict[int, Coroutine[Any, Any, None]] = {}
        self.started = 0
        self.topic_id = "a"
        self.ordered = 0
        self.processes = 0
        self.ends = False

    @initialize(events=st.integers(0, 2))
    def there_is_a_stream(self, events: int) -> None:
        """One partition, before the topic `rollout` is there."""
        self._add(Partition(topic="content", topic_id="a", partition=0), stale=False)
        for _ in range(events):
            self.event(0, stable=True)

    # What the others do.

    @rule(which=st.integers(0, 1), stable=st.booleans())
    def event(self, which: int, *, stable: bool) -> None:
        """A producer appends, perhaps within a transaction that it leaves open."""
        partition = self._partition(which)
        if self.world.content[partition] < MOST_EVENTS:
            self.world.content[partition] += 1
            if stable:
                self.world.stable[partition] = self.world.content[partition]

    @precondition(lambda self: len(self.world.content) == 1)
    @rule(stale=st.booleans())
    def a_partition_is_added(self, *, stale: bool) -> None:
        """The controllers' brokers may not know it for a while."""
        self._add(Partition(topic="content", topic_id=self.topic_id, partition=1), stale=stale)

    @precondition(lambda self: self.remade and self.topic_id == "a" and self.world.writer >= 0)
    @rule(stale=st.booleans())
    def the_topic_is_made_again(self, *, stale: bool) -> None:
        """Its offsets begin anew, and a worker may still hold events of the old one. Brokers forget the group's commits with the old topic."""
        self.topic_id = "b"
        self.world.content.clear()
        self.world.commits.clear()
        self._add(Partition(topic="content", topic_id="b", partition=0), stale=stale)

    def _add(self, partition: Partition, *, stale: bool) -> None:
        self.world.content[partition] = self.world.stable[partition] = 0
        self.world.newest = partition
        self.world.stale_metadata = stale

    @rule(slow=st.booleans())
    def the_brokers_are_slow(self, *, slow: bool) -> None:
        """From now on, readers see a committed record with its confirmation, or later; metadata are current, or as they were."""
        self.world.slow_markers = slow
        if not slow:
            self.world.stale_metadata = False
            self.markers_are_written()

    def markers_are_written(self) -> None:
        """Readers see what is committed."""
        for entry in self.world.rollout:
            if entry.state == "confirmed":
                entry.state = "seen"

    def _partition(self, which: int) -> Partition:
        there = list(self.world.content)
        return there[which % len(there)]

    # Controllers and workers.

    @rule(which=st.integers(0, MOST_CONTROLLERS + WORKERS), steps=st.sampled_from(STEPS))
    def a_process_goes_on(self, which: int, steps: int) -> None:
        """All others are stopped."""
        processes = [*self.controllers.values(), *self.workers.values()]
        if processes:
            _go(processes[which % len(processes)], steps)

    @precondition(lambda self: self.started < MOST_CONTROLLERS)
    @rule(refusals=st.integers(0, 1), steps=st.sampled_from(STEPS))
    def a_controller_begins(self, refusals: int, steps: int) -> None:
        """The one before lives on, and does not know."""
        self.started += 1
        self.controllers[self.started] = self._lead(self.started, refusals)
        _go(self.controllers[self.started], steps)

    @precondition(lambda self: self.ordered < MOST_EPOCHS and bool(self.controllers))
    @rule(steps=st.sampled_from(STEPS))
    def an_epoch_is_ordered(self, steps: int) -> None:
        """Each controller wants it."""
        self.ordered += 1
        _go(self.controllers[self.started], steps)

    @precondition(lambda self: any(self.world.content.values()))
    @rule(which=st.integers(0, 1), back=st.sampled_from((1, 1, 2, 5)))
    def the_newest_event_is_decided(self, which: int, back: int) -> None:
        """A producer appends, and a worker decides it and perhaps some before it, without a stop."""
        self.event(which, stable=False)
        self.a_worker_fetches(which, WORKERS, back, 40)

    async def _lead(self, name: int, refusals: int) -> None:
        """One controller's life: begin, then epoch after epoch, and partitions that are new."""
        topic = Topic(self.world, name, confirmed_is_read=self.confirmed_is_read)
        group = self.group(self.world, refusals)
        one = self.controller(topic, self.content(self.world), group, by="c", clock=lambda: MOMENT)
        try:
            epochs = await one.begin()
            if not epochs.started:
                epochs = await _started(one)
            while True:
                epochs = await one.list_new_partitions()
                if epochs.next_epoch <= self.ordered:
                    try:
                        await one.change(CHAMPION)
                    except PlanGivenUpError:
                        continue
                elif self.ends and epochs.partitions >= self.world.content.keys():
                    return
                else:
                    await pause()
        except FencedError:
            return

    @precondition(lambda self: any(self.world.content.values()))
    @rule(
        which=st.integers(0, 1),
        worker=st.integers(0, WORKERS - 1),
        back=st.sampled_from((1, 1, 2, 5)),
        steps=st.sampled_from(STEPS),
    )
    def a_worker_fetches(self, which: int, worker: int, back: int, steps: int) -> None:
        """It may fetch what others have decided, and what it has decided itself. A batch that it had is lost."""
        partition = self._partition(which)
        if self.world.fold(self.world.committed_end()).started and self.world.content[partition]:
            self._drop(worker)
            self.workers[worker] = self._work(partition, max(0, self.world.content[partition] - back))
            _go(self.workers[worker], steps)

    def _drop(self, worker: int) -> None:
        if worker in self.workers:
            self.workers.pop(worker).close()

    async def _work(self, partition: Partition, low: int) -> None:
        """One batch of one worker, from the fetch to the commit. Its process cannot load some models, and ends then."""
        self.processes += 1
        gate = self.gate(End(self.world), self.said(self.world, str(self.processes), self.unloadable))
        high = self.world.content[partition]
        try:
            if self.fetch_first:
                await pause()
                epochs = await gate.admit({partition: high})
            else:
                epochs = await gate.admit({partition: high})
                await pause()
                high = self.world.content.get(partition, 0)
        except CannotLoadError:
            return
        assert epochs is not None
        for offset in range(low, high):
            epoch = epochs.epoch_of(partition, offset if self.cuts else low)
            await pause()
            if epoch in self.unloadable:
                return
            self.world.decided.setdefault((partition, offset), set()).add(epoch)
        await pause()
        # A worker whose topic was made again ends before it commits: the ids of the topics have changed.
        if partition in self.world.content:
            place = partition.topic, partition.partition
            self.world.commits[place] = max(high, self.world.commits.get(place, 0))

    # What holds.

    @invariant()
    def every_event_has_one_decider(self) -> None:
        """And it is the one that the topic says."""
        epochs = self.world.fold(self.world.committed_end())
        for (partition, offset), found in self.world.decided.items():
            assert len(found) == 1, (partition.partition, offset, found)
            if epochs.may_begin({partition}):
                assert found == {epochs.epoch_of(partition, offset)}, (partition.partition, offset, found)

    def teardown(self) -> None:
        """Without further failures, a controller finishes, every event is decided, and nothing that was decided changes."""
        for worker in range(WORKERS):
            self._drop(worker)
        for one in self.controllers.values():
            one.close()
        self.world.stale_metadata = False
        # A last change gives the events of a model that cannot be loaded to one that can.
        self.ordered = max(MOST_EPOCHS, self.world.fold(len(self.world.rollout)).next_epoch)
        self.ends = True
        if self.world.content:
            last = self._lead(MOST_CONTROLLERS + 1, 0)
            _run(last, self.markers_are_written)
            for partition, events in self.world.content.items():
                if events:
                    _run(self._work(partition, 0), self.markers_are_written)
            for partition, events in self.world.content.items():
                assert all((partition, offset) in self.world.decided for offset in range(events))
            self.every_event_has_one_decider()


async def _started(controller: Controller) -> Epochs:
    """Nothing is written as long as no partition is seen."""
    while True:
        try:
            return await controller.start(CHAMPION, "g")
        except NothingToDecideError:
            await pause()


def _step(process: Coroutine[Any, Any, None]) -> bool:
    """Let a process go on to its next pause; false if it has ended."""
    if inspect.getcoroutinestate(process) == inspect.CORO_CLOSED:
        return False
    try:
        process.send(None)
    except StopIteration:
        return False
    return True


def _go(process: Coroutine[Any, Any, None], steps: int) -> None:
    """Let a process go on by so many pauses, or to its end."""
    for _ in range(steps):
        if not _step(process):
            return


def _run(process: Coroutine[Any, Any, None], between: Callable[[], None]) -> None:
    for _ in range(MOST_STEPS):
        if not _step(process):
            return
        between()
    pytest.fail("a process waits for ever")


def search(machine: type[Brokers], examples: int) -> None:
    """Let the machine run."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


class Whole(Brokers):
    """The protocol as it is, all that the brokers do, and a model that no worker can load."""

    remade = True
    unloadable = frozenset({2})


def test_an_event_has_one_decider_whoever_decides_it() -> None:
    """Over pauses, fenced controllers, lost batches, redeliveries, late partitions, a topic that is made again, slow transactions."""
    search(Whole, 300)


@pytest.mark.faults
def test_an_event_has_one_decider_in_a_long_search() -> None:
    """The same, for longer."""
    search(Whole, 10_000)


# Known-bad variants: each is one part of the protocol, left out or turned round.


class AsksBeforeTheFetch(Brokers):
    """An answer from before the fetch may be older than the marks."""

    fetch_first = False


class _EndsFirst(Controller):
    _ends: Mapping[Partition, int | None] | None = None

    async def _close(self, epoch: int) -> None:
        self._ends = await self._content.ends(self._epochs.partitions)
        await super()._close(epoch)

    async def _mark(self, epoch: int) -> None:
        await self._write_marks(epoch, self._ends or await self._content.ends(self._epochs.partitions))


class EndsBeforeTheClose(Brokers):
    """Events that are fetched between the ends and the close are decided under the epoch before, above the mark."""

    controller = _EndsFirst


class _Owners(Content):
    def end(self, partition: Partition) -> int | None:
        """Where an epoch begins."""
        return (
            None
            if partition not in self.world.content
            else next(offset for offset in range(MOST_EVENTS + 1) if (partition, offset) not in self.world.decided)
        )


class MarksByTheOwner(Brokers):
    """The position of a partition's owner lies below what another one has fetched."""

    content = _Owners


class _Newest(Epochs):
    def epoch_of(self, partition: Partition, offset: int) -> int:
        return self.newest if partition in self.partitions else super().epoch_of(partition, offset)


class TheNewestHolds(Brokers):
    """Workers learn of it at different times."""

    epochs = _Newest


class _UnlistedIsOld(Epochs):
    def may_begin(self, partitions: Iterable[Partition]) -> bool:
        return self.closing is None and self.started and any(True for _ in partitions)

    def epoch_of(self, partition: Partition, offset: int) -> int:
        return super().epoch_of(partition, offset) if partition in self.partitions else 0


class UnlistedIsNotHeld(Brokers):
    """A partition that no record lists yet is listed by a later epoch from its beginning."""

    epochs = _UnlistedIsOld


class _GoesOn(Epochs):
    def may_begin(self, partitions: Iterable[Partition]) -> bool:
        return self.partitions.issuperset(partitions)


class ClosingDoesNotHold(Brokers):
    """Between close and marks a batch may lie above the marks that come."""

    epochs = _GoesOn


class ABatchIsNotCut(Brokers):
    """Its first event may lie below a mark that its last one is above."""

    cuts = False


class _ReadsFirst(Controller):
    async def begin(self) -> Epochs:
        self._epochs = await self._topic.read_to_end()
        await self._topic.fence()
        if self._epochs.closing is not None:
            await self._mark(self._epochs.closing)
        return self._epochs


class _AnyMarks(Epochs):
    """Takes marks of an epoch again."""

    def _mark(self, record: Marks) -> bool:
        if record.epoch in self._models and self.closing is None:
            for mark in record.marks:
                kept = tuple(one for one in self._marks.get(mark.at, ((0, 0),)) if one[1] != record.epoch)
                self._marks[mark.at] = (*kept, (mark.offset or 0, record.epoch))
            return True
        return super()._mark(record)


class ReadsBeforeItFences(Brokers):
    """It may finish an epoch that the controller before has finished meanwhile; the fold takes later marks for the truth."""

    controller = _ReadsFirst
    epochs = _AnyMarks


class _Undoes(Epochs):
    def _abort(self, record: Abort) -> bool:
        if record.epoch in self._models and record.epoch:
            self._marks = {
                at: tuple(one for one in marks if one[1] != record.epoch) or ((0, 0),) for at, marks in self._marks.items()
            }
            return True
        return super()._abort(record)


class _AbortsLate(Controller):
    async def _mark(self, epoch: int) -> None:
        await super()._mark(epoch)
        await self._write(Abort(epoch=epoch, at=MOMENT, by="c"))


class AbortUndoes(Brokers):
    """What was decided under the epoch stays decided."""

    epochs = _Undoes
    controller = _AbortsLate


class _ListsAll(Controller):
    async def list_new_partitions(self) -> Epochs:
        if await self._content.partitions() - self._epochs.partitions:
            known = await self._content.ends(await self._content.partitions() | self._epochs.partitions)
            await self._write_marks(self._epochs.newest, known)
        return self._epochs


class LaterMarksReplace(Brokers):
    """A second listing moves the point behind events that are decided."""

    epochs = _AnyMarks
    controller = _ListsAll


class _Stable(Content):
    def end(self, partition: Partition) -> int | None:
        """Where an epoch begins."""
        return self.world.stable[partition] if partition in self.world.content else None


class MarksAtTheStableOffset(Brokers):
    """An open transaction of a producer puts the mark below what workers have read."""

    content = _Stable


class ConfirmedIsRead(Brokers):
    """Readers may not see a record that the brokers have confirmed."""

    confirmed_is_read = True


class _SaysLate(EpochGate):
    async def admit(self, ends: Mapping[Partition, int], given_up: Callable[[], bool] = lambda: False) -> Epochs | None:
        assert self._reach is not None
        epochs = await EpochGate(self._topic).admit(ends, given_up)
        if epochs is not None and (lacking := self._reach.lacking(epochs, ends)):
            await self._reach.extend(epochs, lacking)
        return epochs


class SaidAfterTheQuestion(Brokers):
    """The close, and the marks, may come between the worker's question and its word."""

    gate = _SaysLate


class _ReachFirst(Controller):
    _found: Mapping[Partition, int] | None = None

    async def _close(self, epoch: int) -> None:
        self._found = await super()._begun()
        await super()._close(epoch)

    async def _begun(self) -> Mapping[Partition, int]:
        return self._found if self._found is not None else await super()._begun()


class ReachIsReadBeforeTheClose(Brokers):
    """Events that a worker begins between the reading and the close lie above."""

    controller = _ReachFirst


class _Outcomes(Group):
    async def begun(self, epochs: Epochs) -> Mapping[Partition, int]:
        found = await super().begun(epochs)
        return {
            place: max([epochs.begins(place)[-1][0], *(offset + 1 for at, offset in self.world.decided if at == place)])
            for place in found
        }


class OutcomesAreAllThatIsBegun(Brokers):
    """A worker that was stopped with events in its hands publishes them later."""

    group = _Outcomes


class _Commits(Group):
    async def begun(self, epochs: Epochs) -> Mapping[Partition, int]:
        found = await super().begun(epochs)
        return {
            place: max(epochs.begins(place)[-1][0], self.world.commits.get((place.topic, place.partition), 0))
            for place in found
        }


class CommitsAreAllThatIsBegun(Brokers):
    """An event that is published and not yet committed has a decision."""

    group = _Commits


class _FromTheBeginning(Group):
    async def begun(self, epochs: Epochs) -> Mapping[Partition, int]:
        found = await super().begun(epochs)
        said = {mark.at for one in self.world.reach.values() if one.epoch == epochs.newest for mark in one.reach}
        return {place: first if place in said else 0 for place, first in found.items()}


class BackBeyondTheEpochBefore(Brokers):
    """Where nobody has begun the newest epoch, the events below its mark still belong to those who decided them."""

    group = _FromTheBeginning


class _SaysTheFirst(Said):
    async def extend(self, epochs: Epochs, ends: Mapping[Partition, int]) -> None:
        await super().extend(epochs, dict.fromkeys(ends, 0))
        self._mine[epochs.newest] |= ends


class NotTheWholeBatchIsSaid(Brokers):
    """Its last event may lie above what was said."""

    said = _SaysTheFirst


# Found within some tens of runs, and within some thousands.
SOON = (MarksByTheOwner, TheNewestHolds, UnlistedIsNotHeld, ABatchIsNotCut, MarksAtTheStableOffset)
LATE = (
    AsksBeforeTheFetch,
    EndsBeforeTheClose,
    ClosingDoesNotHold,
    AbortUndoes,
    LaterMarksReplace,
    ConfirmedIsRead,
)


@pytest.mark.parametrize(
    "variant",
    [
        *(pytest.param(variant, marks=pytest.mark.faults) for variant in SOON),
        *(pytest.param(variant, marks=pytest.mark.long) for variant in LATE),
    ],
    ids=lambda variant: variant.__name__,
)
def test_the_machine_finds_what_is_known_to_be_wrong(variant: type[Brokers]) -> None:
    """A variant of the protocol that lacks one part gives an event two deciders, or another one than the topic says."""
    with pytest.raises(AssertionError):
        search(variant, 20_000)


# What a worker says before it begins: each is found by two processes alone, one of them a worker with an event of the epoch before.
SAID = (
    SaidAfterTheQuestion,
    ReachIsReadBeforeTheClose,
    OutcomesAreAllThatIsBegun,
    CommitsAreAllThatIsBegun,
    BackBeyondTheEpochBefore,
    NotTheWholeBatchIsSaid,
)
# More than a batch and a change have.
WORKER_PAUSES, CONTROLLER_PAUSES = 14, 24


def parted(machine: type[Brokers], before: int, between: int) -> None:
    """
    A change while a worker has two events, then everything is decided again.

    Args:
        machine: The protocol, or a variant.
        before: The worker goes on by so many pauses first; then the controller by `between`, and each to its end.
        between: Pauses of the controller within its change.
    """
    one = machine()
    one.there_is_a_stream(1)
    one.a_controller_begins(0, 40)
    one.an_epoch_is_ordered(40)
    one.event(0, stable=True)
    one.a_worker_fetches(0, 1, 5, 40)
    one.event(0, stable=True)
    one.event(0, stable=True)
    one.a_worker_fetches(0, 0, 2, before)
    one.an_epoch_is_ordered(between)
    _go(one.workers[0], 40)
    _go(one.controllers[1], 40)
    one.a_worker_fetches(0, 1, 5, 40)
    one.teardown()


def every_parting(machine: type[Brokers]) -> None:
    """All places at which a worker and a controller can be parted."""
    for before in range(WORKER_PAUSES):
        for between in range(CONTROLLER_PAUSES):
            parted(machine, before, between)


def test_a_change_within_a_batch_leaves_each_event_one_decider() -> None:
    """However a worker and a controller are parted, each at one place."""
    every_parting(Brokers)


@pytest.mark.parametrize("variant", SAID, ids=lambda variant: variant.__name__)
def test_a_worker_that_does_not_say_what_it_begins_is_found(variant: type[Brokers]) -> None:
    """A variant that leaves out a part of it gives an event two deciders at some of these places."""
    with pytest.raises(AssertionError):
        every_parting(variant)


def test_what_nobody_has_begun_follows_the_next_epoch() -> None:
    """A model that no worker can load leaves no event behind: the next epoch begins where that one began, and each decided event keeps its decider."""

    class Second(Brokers):
        unloadable = frozenset({2})

    one = Second()
    one.there_is_a_stream(1)
    one.a_controller_begins(0, 40)
    one.an_epoch_is_ordered(40)
    one.the_newest_event_is_decided(0, 5)
    one.an_epoch_is_ordered(40)
    one.event(0, stable=True)
    one.a_worker_fetches(0, 0, 5, 40)
    one.an_epoch_is_ordered(40)
    (place,) = one.world.content
    assert one.world.fold(len(one.world.rollout)).begins(place) == ((0, 0), (1, 1), (2, 2), (2, 3))
    one.teardown()


def test_a_controller_that_reads_before_it_fences_marks_an_epoch_twice() -> None:
    """It finds a close whose marks the controller before writes meanwhile. Our fold takes no marks twice; one that does shows the harm."""
    machine = ReadsBeforeItFences()
    machine.there_is_a_stream(1)
    machine.a_controller_begins(0, 40)
    machine.ordered = 1
    while machine.world.fold(machine.world.committed_end()).closing is None:
        machine.a_process_goes_on(0, 1)
    machine.a_controller_begins(0, 2)
    machine.a_process_goes_on(0, 40)
    machine.the_newest_event_is_decided(0, 1)
    machine.every_event_has_one_decider()
    machine.a_process_goes_on(1, 40)
    with pytest.raises(AssertionError):
        machine.every_event_has_one_decider()
