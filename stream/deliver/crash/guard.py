"""Finds the event that kills the worker: writes down which events are in the model, so that the next process can tell.

A native abort, a kill for lack of memory and a model that hangs raise no exception. The same event would be read again and kill the
worker again, for ever. So the places of the events in the model are kept in a file (`crash_file.py`), and those that a dead process has
left there are suspects for the next one. A worker's death proves nothing, since anyone can end a worker. Each suspect is tried, alone in
a process of its own (`trial.py`). If it ends that process too, and again, until `crash_deaths` deaths are counted with that of the
worker, it becomes a dead letter without being read again. If it does not, it gets the outcome of its trial, and is no longer a suspect.

No event is suspected for an end that has another cause. A worker that is told to stop, or that ends itself because the broker does not
answer or the machine raised, first takes back what it wrote down. After a model has exceeded its time, its events are suspects.
docs/decisions/0006-poison.md has the reasons.

`Guard` is what the delivery uses, `Unguarded` stands in for a worker without one, and `CrashGuard` is the guard with a file.
"""

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.deliver.crash.crash_file import CrashFile, Left, left_behind
from tagstream.stream.deliver.crash.trial import Died, Trials
from tagstream.stream.deliver.state_folder import mistaken, stem_of
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

log = logger("tagstream.crashguard")

# The most that one event takes in the file: partition, offset, deaths, fingerprint, topic.
_EVENT_BYTES = 52
# Trials in a row of one event that were not held, or were ended from outside.
MOST_NOT_HELD = 3
CONSEQUENCE = "an event that kills the worker will do so again and again; delivery goes on"


class DecideOrRefuse(Protocol):
    """One publication for each event, in their order; see `Pipeline.publications`."""

    def __call__(self, events: Sequence[Record], refusal: Refusal | None = None, /) -> list[Publication]:
        """Decide the events; given a refusal, read none of them and make a dead letter of each."""
        ...


class GuardReport(Protocol):
    """Is told of the guard's state; never raises."""

    def __call__(self, *, active: bool, suspects: int) -> None:
        """Whether it works, and how many suspects it knows."""
        ...


def unreported(*, active: bool, suspects: int) -> None:
    """Report to no one."""


class Guard(Protocol):
    """The part of a crash guard that the delivery uses."""

    def suspects(self, topic: str, partition: int, offset: int) -> bool:
        """Must this event be tried, with no other event in the model?"""
        ...

    def tried(self, event: Record, goes_on: Callable[[], bool]) -> bool:
        """
        Try a suspect, so that `outcome` knows its outcome. Blocks, with a bound.

        Args:
            event: The suspect.
            goes_on: Asked about ten times a second; once it says no, the trial is given up and counts for nothing.

        Returns:
            Whether its batch may begin; not if the trial was given up, because of `goes_on` or because this process ends.
        """
        ...

    def outcome(self, events: Sequence[Record]) -> Publication | Refusal | None:
        """Take the outcome of a suspect's trial; a refusal makes a dead letter. None for events that were not tried."""
        ...

    def in_hand(self, events: Sequence[Record]) -> AbstractContextManager[None]:
        """Write these events down while the block decides them. For several threads at once."""
        ...

    def excuse(self) -> None:
        """The process ends, and no event is to blame. From now on no event is written down."""
        ...

    def committed(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """The group's offsets by topic and partition: events before them are suspects no longer."""
        ...

    def close(self) -> None:
        """The process ends in good order."""
        ...


def decided(guard: Guard, decide: DecideOrRefuse, events: Sequence[Record]) -> list[Publication]:
    """
    The publications of a batch, in a thread of the model: those of a trial, or else the pipeline's, with the events written down meanwhile.

    Args:
        guard: Knows the trials.
        decide: The pipeline's `publications`.
        events: A batch; a suspect is alone in its own.
    """
    known = guard.outcome(events)
    if isinstance(known, Refusal):
        return decide(events, known)
    if known is not None:
        return [known]
    with guard.in_hand(events):
        return decide(events)


class Unguarded:
    """Implements `Guard` without a file: no event is written down, and none is a suspect."""

    def suspects(self, topic: str, partition: int, offset: int) -> bool:  # noqa: ARG002
        """No."""
        return False

    def tried(self, event: Record, goes_on: Callable[[], bool]) -> bool:  # noqa: ARG002
        """Yes."""
        return True

    def outcome(self, events: Sequence[Record]) -> Publication | Refusal | None:  # noqa: ARG002
        """None was tried."""
        return None

    def in_hand(self, events: Sequence[Record]) -> AbstractContextManager[None]:  # noqa: ARG002
        """Write nothing down."""
        return nullcontext()

    def excuse(self) -> None:
        """Do nothing."""

    def committed(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


Place = tuple[int, int, int]
"""The topic's number among those that are read, partition and offset."""


class InHand(msgspec.Struct, array_like=True, frozen=True):
    """An event in the model. `topic` is its topic's number among those that are read."""

    partition: int
    offset: int
    topic: int = 0


class Suspect(msgspec.Struct, array_like=True, frozen=True):
    """
    An event that was in the model when a worker died.

    Attributes:
        partition: Its partition of `content`.
        offset: Its offset.
        deaths: How many processes died with it: a worker, which counts once however often, and those of its trials.
        fingerprint: Of its bytes, once it was tried.
        topic: The number of its topic among those that are read.
    """

    partition: int
    offset: int
    deaths: int = 1
    fingerprint: str = ""
    topic: int = 0

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self.topic, self.partition, self.offset


class CrashState(msgspec.Struct, array_like=True, frozen=True):
    """
    The content of a crash file.

    Attributes:
        suspects: Those that earlier processes left.
        in_hand: The events that are in the model now, one list for each thread.
    """

    suspects: list[Suspect]
    in_hand: list[list[InHand]]


def inherited(states: Iterable[CrashState]) -> dict[Place, Suspect]:
    """
    The suspects after processes with these states have died.

    >>> one = CrashState([Suspect(0, 8, 2, "f")], [[InHand(0, 7), InHand(0, 8)]])
    >>> [suspect.deaths for suspect in inherited([one]).values()]
    [2, 1]
    """
    found: dict[Place, Suspect] = {}
    for state in states:
        for suspect in _left(state):
            if suspect.place not in found or found[suspect.place].deaths < suspect.deaths:
                found[suspect.place] = suspect
    return found


def fingerprint(event: Record) -> str:
    """A hash of an event's bytes and time. A topic that is made anew reuses offsets, and its events must not be blamed for old ones."""
    head = f"{event.timestamp_ms}:{-1 if event.key is None else len(event.key)}:".encode()
    return hashlib.blake2b(b"".join((head, event.key or b"", event.value or b"")), digest_size=8).hexdigest()


def _left(state: CrashState) -> Iterable[Suspect]:
    yield from state.suspects
    for batch in state.in_hand:
        for event in batch:
            yield Suspect(event.partition, event.offset, topic=event.topic)


class CrashGuard:
    """Implements `Guard` with a file."""

    def __init__(
        self,
        file: CrashFile,
        suspects: Mapping[Place, Suspect],
        *,
        topics: Sequence[str],
        trials: Trials,
        deaths: int,
        report: GuardReport = unreported,
    ) -> None:
        """
        Begin with the suspects that dead processes have left.

        Args:
            file: This process's file.
            suspects: The events to try.
            topics: The topics of events that are read, in the order in which the file numbers them.
            trials: Holds the trials.
            deaths: After so many deaths an event is given up.
            report: Is told after every change.
        """
        self._file = file
        self._suspects = dict(suspects)
        self._topics = tuple(topics)
        self._order = {name: number for number, name in enumerate(topics)}
        self._trials = trials
        self._deaths = deaths
        # Of suspects whose trials are over. A refusal makes a dead letter.
        self._outcomes: dict[Place, Publication | Refusal] = {}
        self._report = report
        self._numbers = itertools.count()
        self._in_hand: dict[int, list[InHand]] = {}
        self._lock = threading.Lock()
        self._trying = threading.Lock()
        self._works = True
        self._excused = False
        with self._lock:
            self._write()

    @property
    def known(self) -> list[Suspect]:
        """The suspects, in order."""
        return [self._suspects[place] for place in sorted(self._suspects)]

    def suspects(self, topic: str, partition: int, offset: int) -> bool:
        """See `Guard`."""
        return bool(self._suspects) and (self._order.get(topic, 0), partition, offset) in self._suspects

    def outcome(self, events: Sequence[Record]) -> Publication | Refusal | None:
        """See `Guard`. Unless it was given up, the event is no suspect any more."""
        if not self._outcomes or len(events) != 1:
            return None
        place = self._place(events[0])
        found = self._outcomes.pop(place, None)
        if isinstance(found, Publication) or (found is not None and found.reason is not Reason.CRASHES_WORKER):
            with self._lock:
                self._suspects.pop(place, None)
                self._write()
        return found

    @contextmanager
    def in_hand(self, events: Sequence[Record]) -> Iterator[None]:
        """See `Guard`."""
        number = next(self._numbers)
        alone = len(events) == 1
        marks = [InHand(event.partition, event.offset, self._order.get(event.topic, 0)) for event in events]
        with self._lock:
            self._in_hand[number] = marks
            self._write()
        survived = False
        try:
            yield
            survived = True
        finally:
            with self._lock:
                self._in_hand.pop(number, None)
                if survived and alone:
                    self._suspects.pop(self._place(events[0]), None)
                self._write()

    def tried(self, event: Record, goes_on: Callable[[], bool]) -> bool:
        """See `Guard`."""
        with self._trying:
            may_begin = self._try(event, goes_on)
            with self._lock:
                waiting = [one for place, one in self._suspects.items() if place not in self._outcomes]
            if all(suspect.deaths >= self._deaths for suspect in waiting):
                self._trials.end()
            return may_begin

    def excuse(self) -> None:
        """See `Guard`."""
        with self._lock:
            self._in_hand.clear()
            self._write()
            self._excused = True

    def committed(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """See `Guard`."""
        if not self._suspects:
            return
        with self._lock:
            settled = [place for place in self._suspects if place[2] < offsets.get((self._topics[place[0]], place[1]), 0)]
            for place in settled:
                del self._suspects[place]
                self._outcomes.pop(place, None)
            if settled:
                self._write()

    def close(self) -> None:
        """See `Guard`."""
        # Events may still be in the model, but this process ends in good order, so none of them has killed it.
        self.excuse()
        with self._trying:
            self._trials.end()
        with self._lock:
            if self._works:
                self._file.close(remove=not self._suspects)
            self._works = False

    def _try(self, event: Record, goes_on: Callable[[], bool]) -> bool:
        """Hold trials until the outcome of a suspect is known, or none can be held; False if they were given up."""
        place = self._place(event)
        not_held = 0
        while (suspect := self._suspects.get(place)) is not None:
            if suspect.deaths >= self._deaths and suspect.fingerprint == fingerprint(event):
                self._outcomes[place] = _given_up(event, suspect.deaths)
                return True
            if self._excused:
                return False
            found = self._trials.hold(event, lambda: goes_on() and not self._excused)
            if found is None:
                return False
            if isinstance(found, Publication):
                # A dead letter is made anew, since the room that its batch has for them is known here.
                self._outcomes[place] = found.outcome if isinstance(found.outcome, Refusal) else found
                return True
            if isinstance(found, Died):
                self._blame(event, suspect, found.how)
                continue
            not_held += 1
            if not_held == MOST_NOT_HELD:
                log.error(
                    "trial_not_held",
                    partition=event.partition,
                    offset=event.offset,
                    why=found.why,
                    consequence="the event is decided in this worker's own model; if it kills the worker, it will do so again",
                    next="docs/runbooks/EventBreaksModel.md",
                )
                return True
        return True

    def _blame(self, event: Record, suspect: Suspect, how: str) -> None:
        """Count the death of a trial's process."""
        mark = fingerprint(event)
        # Another event's trials are counted at the place of this one if the topic was made anew.
        deaths = 1 + (suspect.deaths if suspect.fingerprint in {"", mark} else 1)
        with self._lock:
            place = self._place(event)
            self._suspects[place] = Suspect(event.partition, event.offset, deaths, mark, place[0])
            self._write()
        log.warning(
            "trial_died", partition=event.partition, offset=event.offset, by=how, deaths=deaths, given_up_at=self._deaths
        )

    def _place(self, event: Record) -> Place:
        return self._order.get(event.topic, 0), event.partition, event.offset

    def _write(self) -> None:
        """Must be called under the lock."""
        if not self._works or self._excused:
            return
        try:
            self._file.write(msgspec.msgpack.encode(CrashState([*self._suspects.values()], [*self._in_hand.values()])))
        except OSError as error:
            self._works = False
            log.warning("crash_guard_off", why=str(error), consequence=CONSEQUENCE)
            # The file is out of date now, and must not make any event a suspect.
            with suppress(OSError):
                self._file.close(remove=True)
        self._report(active=self._works, suspects=len(self._suspects))


def _given_up(event: Record, deaths: int) -> Refusal:
    log.error(
        "event_crashes_worker",
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        deaths=deaths,
        next="it is a dead letter now, with its bytes: see docs/runbooks/EventBreaksModel.md",
    )
    return Refusal(
        stage=Stage.INFER,
        reason=Reason.CRASHES_WORKER,
        message=f"a worker died with this event in the model, and so did {deaths - 1} processes that had no other event; "
        "it was not read again",
        attempts=deaths,
    )


def open_guard(settings: Settings, trials: Trials, report: GuardReport = unreported) -> Guard:
    """
    The guard of the settings, with the suspects that dead processes of the same group on this machine have left.

    Args:
        settings: The folder, the group, and the number of deaths.
        trials: Holds the trials of suspects.
        report: Is told of every change.

    Raises:
        StateFolderError: The folder was named and cannot be used. If it was not named, or its disk is full, the guard is off, and the
            worker logs that and works.
    """
    if not settings.crash_deaths:
        report(active=False, suspects=0)
        return Unguarded()
    folder = settings.state_folder.expanduser()
    try:
        return _opened(settings, folder, trials, report)
    except OSError as error:
        if (mistake := mistaken(settings, error)) is not None:
            raise mistake from error
        log.warning(
            "crash_guard_off",
            why=f"{folder}: {error.strerror or error}",
            consequence=CONSEQUENCE,
            next="set TAGSTREAM_STATE_FOLDER to a folder that survives the process",
        )
        report(active=False, suspects=0)
        return Unguarded()


def _opened(settings: Settings, folder: Path, trials: Trials, report: GuardReport) -> CrashGuard:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = stem_of(settings)
    # As many events as can be in the model at once, and the suspects of two processes that died so.
    most = settings.inference_threads * settings.batch_max_events
    file = CrashFile(folder, stem=stem, payload_bytes=4096 + 3 * most * _EVENT_BYTES)
    dead = list(left_behind(folder, stem=stem))
    suspects = inherited(filter(None, map(_state, dead)))
    kept = dict(sorted(suspects.items(), key=lambda item: -item[1].deaths)[: 2 * most])
    guard = CrashGuard(file, kept, topics=settings.content_topics, trials=trials, deaths=settings.crash_deaths, report=report)
    # Only now: had this process died a moment ago, the next one would still find the files.
    for left in dead:
        left.remove()
    if suspects:
        log.warning(
            "predecessor_died_in_model",
            suspects=len(suspects),
            most_deaths=max(suspect.deaths for suspect in suspects.values()),
            given_up_at=settings.crash_deaths,
            next="they are tried one at a time, each in a process of its own; docs/runbooks/EventBreaksModel.md",
        )
    return guard


def _state(left: Left) -> CrashState | None:
    try:
        return None if left.payload is None else msgspec.msgpack.decode(left.payload, type=CrashState)
    except (msgspec.DecodeError, msgspec.ValidationError):
        log.warning("marker_unreadable", file=left.path.name, consequence="no event is suspected for it")
        return None
