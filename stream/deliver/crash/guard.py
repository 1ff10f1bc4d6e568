"""Finds the event that kills the worker: a file names the events in the model, and the next process reads it.

A native abort, a kill for lack of memory and a model that hangs raise no exception. The same event would be read again and kill the
worker again, for ever. So a file (`crash_file.py`) holds the places of the events in the model. The events that a dead process left in
its file are suspects for the next process. A worker's death alone proves nothing, since anyone can end a worker. So each suspect is tried
alone, in a process of its own (`trial.py`). A suspect that ends its trial's process is tried again. Once `crash_deaths` deaths are
counted, the worker's included, the event becomes a dead letter without being read again. A suspect that survives gets the outcome of its
trial, and is no longer a suspect.

An end with another cause makes no suspects. A worker that is told to stop, or that ends itself because the broker does not answer or the
machine raised, first removes the events from its file. If a model exceeds its time, its events stay suspects.
docs/decisions/0006-poison.md has the reasons.

The delivery uses `Guard`. `CrashGuard` is the guard with a file, and `Unguarded` does nothing, for a worker without a guard.
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
# The most trials in a row of one event that may fail to be held, or be ended from outside.
MOST_NOT_HELD = 3
CONSEQUENCE = "an event that kills the worker will do so again and again; delivery goes on"


class DecideOrRefuse(Protocol):
    """One publication for each event, in their order, such as `Pipeline.publications`."""

    def __call__(self, events: Sequence[Record], refusal: Refusal | None = None, /) -> list[Publication]:
        """Decide the events; given a refusal, read none of them and make a dead letter of each."""
        ...


class GuardReport(Protocol):
    """Is told of the guard's state; never raises."""

    def __call__(self, *, active: bool, suspects: int) -> None:
        """`active` is true while the guard works; `suspects` is the number of suspects."""
        ...


def unreported(*, active: bool, suspects: int) -> None:
    """Report to no one."""


class Guard(Protocol):
    """The part of a crash guard that the delivery uses."""

    def suspects(self, topic: str, partition: int, offset: int) -> bool:
        """True if this event must be tried, with no other event in the model."""
        ...

    def tried(self, event: Record, goes_on: Callable[[], bool]) -> bool:
        """
        Try a suspect, so that `outcome` knows its outcome. Blocks, with a bound.

        Args:
            event: The suspect.
            goes_on: Called about ten times a second. Once it returns False, the trial is given up and counts for nothing.

        Returns:
            True if the event's batch may begin. False if the trial was given up, because of `goes_on` or because this process ends.
        """
        ...

    def outcome(self, events: Sequence[Record]) -> Publication | Refusal | None:
        """Take the outcome of a suspect's trial; a refusal makes a dead letter. None if the events were not tried."""
        ...

    def in_hand(self, events: Sequence[Record]) -> AbstractContextManager[None]:
        """Name these events in the file while the block decides them. Several threads may do this at once."""
        ...

    def excuse(self) -> None:
        """The process ends, and no event is to blame. From now on the file names no event."""
        ...

    def committed(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """The group has committed `offsets`, by topic and partition: events before them are no longer suspects."""
        ...

    def close(self) -> None:
        """The process ends in good order."""
        ...


def decided(guard: Guard, decide: DecideOrRefuse, events: Sequence[Record]) -> list[Publication]:
    """
    The publications of a batch: the outcome of its trial, or else the pipeline's. Runs in a thread of the model.

    Args:
        guard: Knows the outcomes of trials, and names the events in its file while the pipeline decides them.
        decide: The pipeline's `publications`.
        events: A batch. The batch of a suspect has no other event.
    """
    known = guard.outcome(events)
    if isinstance(known, Refusal):
        return decide(events, known)
    if known is not None:
        return [known]
    with guard.in_hand(events):
        return decide(events)


class Unguarded:
    """Implements `Guard` without a file: no event is a suspect."""

    def suspects(self, topic: str, partition: int, offset: int) -> bool:  # noqa: ARG002
        """No event is a suspect."""
        return False

    def tried(self, event: Record, goes_on: Callable[[], bool]) -> bool:  # noqa: ARG002
        """Every batch may begin without a trial."""
        return True

    def outcome(self, events: Sequence[Record]) -> Publication | Refusal | None:  # noqa: ARG002
        """No event was tried."""
        return None

    def in_hand(self, events: Sequence[Record]) -> AbstractContextManager[None]:  # noqa: ARG002
        """There is no file to name the events in."""
        return nullcontext()

    def excuse(self) -> None:
        """Do nothing."""

    def committed(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


Place = tuple[int, int, int]
"""The topic's number among the topics that the worker reads, the partition and the offset."""


class InHand(msgspec.Struct, array_like=True, frozen=True):
    """An event in the model. `topic` is the topic's number among the topics that the worker reads."""

    partition: int
    offset: int
    topic: int = 0


class Suspect(msgspec.Struct, array_like=True, frozen=True):
    """
    An event that was in the model when a worker died.

    Attributes:
        partition: The event's partition.
        offset: The event's offset.
        deaths: The number of processes that died with it: all workers together count once, and each trial's process counts once.
        fingerprint: The hash of the event (`fingerprint`), once it was tried; empty before.
        topic: The number of its topic among the topics that the worker reads.
    """

    partition: int
    offset: int
    deaths: int = 1
    fingerprint: str = ""
    topic: int = 0

    @property
    def place(self) -> Place:
        """Where the event lies in Kafka."""
        return self.topic, self.partition, self.offset


class CrashState(msgspec.Struct, array_like=True, frozen=True):
    """
    The content of a crash file.

    Attributes:
        suspects: The suspects that earlier processes left.
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
    """A hash of an event's bytes and time. A topic that is made anew reuses offsets, so an offset alone could blame the wrong event."""
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
            topics: The topics that the worker reads, in the order in which the file numbers them.
            trials: Holds the trials.
            deaths: The number of deaths after which an event becomes a dead letter.
            report: Is told of every change.
        """
        self._file = file
        self._suspects = dict(suspects)
        self._topics = tuple(topics)
        self._order = {name: number for number, name in enumerate(topics)}
        self._trials = trials
        self._deaths = deaths
        # The outcomes of the trials that are over. A refusal makes a dead letter.
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
        """The suspects in the order of their places."""
        return [self._suspects[place] for place in sorted(self._suspects)]

    def suspects(self, topic: str, partition: int, offset: int) -> bool:
        """True if the file of a dead process named this event."""
        return bool(self._suspects) and (self._order.get(topic, 0), partition, offset) in self._suspects

    def outcome(self, events: Sequence[Record]) -> Publication | Refusal | None:
        """The outcome of the trial, once. The event is then no longer a suspect, unless it was given up."""
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
        """Name the events in the file during the block. A suspect that survives the block alone is no longer a suspect."""
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
        """Try the event; after the last suspect, end the process of trials."""
        with self._trying:
            may_begin = self._try(event, goes_on)
            with self._lock:
                waiting = [one for place, one in self._suspects.items() if place not in self._outcomes]
            if all(suspect.deaths >= self._deaths for suspect in waiting):
                self._trials.end()
            return may_begin

    def excuse(self) -> None:
        """Remove the events in the model from the file, and write the file no more."""
        with self._lock:
            self._in_hand.clear()
            self._write()
            self._excused = True

    def committed(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Forget the suspects before these offsets, and their outcomes."""
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
        """End the process of trials and close the file. The file stays only if there are suspects."""
        # Events may still be in the model, but this process ends in good order, so none of these events has killed it.
        self.excuse()
        with self._trying:
            self._trials.end()
        with self._lock:
            if self._works:
                self._file.close(remove=not self._suspects)
            self._works = False

    def _try(self, event: Record, goes_on: Callable[[], bool]) -> bool:
        """Hold trials until a suspect's outcome is known, or no trial can be held. False if the trials were given up."""
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
                # A dead letter is made anew: only this process knows the batch's budget for dead letters.
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
        # If the topic was made anew, the trials counted at this place are another event's.
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
        """The caller holds the lock."""
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
        StateFolderError: The settings name the folder, and it cannot be used. If the settings do not name it, or its disk is full, the
            worker logs a warning and works without a guard.
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
    # Room for the events that can be in the model at once, and for the suspects of two processes that died with a full model.
    most = settings.inference_threads * settings.batch_max_events
    file = CrashFile(folder, stem=stem, payload_bytes=4096 + 3 * most * _EVENT_BYTES)
    dead = list(left_behind(folder, stem=stem))
    suspects = inherited(filter(None, map(_state, dead)))
    kept = dict(sorted(suspects.items(), key=lambda item: -item[1].deaths)[: 2 * most])
    guard = CrashGuard(file, kept, topics=settings.content_topics, trials=trials, deaths=settings.crash_deaths, report=report)
    # Only now that the new file has the suspects: if this process had died before, the next one would still find the old files.
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
