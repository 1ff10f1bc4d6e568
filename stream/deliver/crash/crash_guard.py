"""
Finds the event that kills the worker: writes down which events are in the model, so that the next process can tell.

A native abort, a kill for lack of memory and a model that hangs raise no exception. The same event would be read again and kill the
worker again, for ever. So the places of the events in the model are kept in a file (`crash_file.py`), and those that a dead process has
left there are suspects for the next one. A worker's death proves nothing, since anyone can end a worker. Each suspect is tried, alone in
a process of its own (`trial.py`). If it ends that process too, and again, until `crash_deaths` deaths are counted with that of the
worker, it becomes a dead letter without being read again. If it does not, it gets the outcome of its trial, and is no longer a suspect.

No event is suspected for an end that has another cause. A worker that is told to stop, or that ends itself because the broker does not
answer or the machine raised, first takes back what it wrote down. After a model has exceeded its time, its events are suspects.
docs/decisions/0006-poison.md has the reasons.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from monitoring.vocabulary import Reason, Stage
from stream.contract.publication import Decide, Publication
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.deliver.crash.crash_file import CrashFile, Left, left_behind
from stream.deliver.crash.guard import DecideOrRefuse, Guard, Report, Unguarded, unreported
from stream.deliver.crash.suspects import InHand, Place, State, Suspect, fingerprint, inherited
from stream.deliver.crash.trial import Died, Trials
from stream.deliver.state_folder import mistaken, stem_of
from stream.logs import logger
from stream.settings.settings import Settings

log = logger("tagstream.crashguard")

# The most that one event takes in the file: partition, offset, deaths, fingerprint.
_EVENT_BYTES = 48
# Trials in a row of one event that were not held, or were ended from outside.
MOST_NOT_HELD = 3
CONSEQUENCE = "an event that kills the worker will do so again and again; delivery goes on"


class CrashGuard:
    """Implements `Guard` with a file."""

    def __init__(
        self,
        file: CrashFile,
        suspects: Mapping[Place, Suspect],
        *,
        trials: Trials,
        deaths: int,
        report: Report = unreported,
    ) -> None:
        """
        Begin with the suspects that dead processes have left.

        Args:
            file: This process's file.
            suspects: The events to try.
            trials: Holds the trials.
            deaths: After so many deaths an event is given up.
            report: Is told after every change.
        """
        self._file = file
        self._suspects = dict(suspects)
        self._trials = trials
        self._deaths = deaths
        # Of suspects whose trials are over: what `guarded` makes of them. A refusal makes a dead letter.
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

    def suspects(self, partition: int, offset: int) -> bool:
        """See `Guard`."""
        return (partition, offset) in self._suspects

    def guarded(self, decide: DecideOrRefuse) -> Decide:
        """See `Guard`."""

        def decided(events: Sequence[Record]) -> list[Publication]:
            known = self._outcome(events[0]) if self._outcomes and len(events) == 1 else None
            if isinstance(known, Refusal):
                return decide(events, known)
            if known is not None:
                return [known]
            with self._written_down(events):
                return decide(events)

        return decided

    def tried(self, event: Record, wanted: Callable[[], bool]) -> bool:
        """See `Guard`."""
        with self._trying:
            may_begin = self._try(event, wanted)
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

    def committed(self, offsets: Mapping[int, int]) -> None:
        """See `Guard`."""
        if not self._suspects:
            return
        with self._lock:
            settled = [place for place in self._suspects if place[1] < offsets.get(place[0], 0)]
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

    def _try(self, event: Record, wanted: Callable[[], bool]) -> bool:
        """Hold trials until the outcome of a suspect is known, or none can be held; False if they were given up."""
        place = (event.partition, event.offset)
        not_held = 0
        while (suspect := self._suspects.get(place)) is not None:
            if suspect.deaths >= self._deaths and suspect.fingerprint == fingerprint(event):
                self._outcomes[place] = _given_up(event, suspect.deaths)
                return True
            if self._excused:
                return False
            found = self._trials.hold(event, lambda: wanted() and not self._excused)
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
            self._suspects[event.partition, event.offset] = Suspect(event.partition, event.offset, deaths, mark)
            self._write()
        log.warning(
            "trial_died", partition=event.partition, offset=event.offset, by=how, deaths=deaths, given_up_at=self._deaths
        )

    def _outcome(self, event: Record) -> Publication | Refusal | None:
        """The outcome of an event that was tried, taken. Unless it was given up, it is no suspect any more."""
        place = (event.partition, event.offset)
        found = self._outcomes.pop(place, None)
        if isinstance(found, Publication) or (found is not None and found.reason is not Reason.CRASHES_WORKER):
            with self._lock:
                self._suspects.pop(place, None)
                self._write()
        return found

    @contextmanager
    def _written_down(self, events: Sequence[Record]) -> Iterator[None]:
        number = next(self._numbers)
        alone = len(events) == 1
        marks = [InHand(event.partition, event.offset) for event in events]
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
                    self._suspects.pop((events[0].partition, events[0].offset), None)
                self._write()

    def _write(self) -> None:
        """Must be called under the lock."""
        if not self._works or self._excused:
            return
        try:
            self._file.write(msgspec.msgpack.encode(State([*self._suspects.values()], [*self._in_hand.values()], tried=True)))
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


def open_guard(settings: Settings, trials: Trials, report: Report = unreported) -> Guard:
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


def _opened(settings: Settings, folder: Path, trials: Trials, report: Report) -> CrashGuard:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = stem_of(settings)
    # As many events as can be in the model at once, and the suspects of two processes that died so.
    most = settings.inference_threads * settings.batch_max_events
    file = CrashFile(folder, stem=stem, payload_bytes=4096 + 3 * most * _EVENT_BYTES)
    dead = list(left_behind(folder, stem=stem))
    suspects = inherited(filter(None, map(_state, dead)))
    kept = dict(sorted(suspects.items(), key=lambda item: -item[1].deaths)[: 2 * most])
    guard = CrashGuard(file, kept, trials=trials, deaths=settings.crash_deaths, report=report)
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


def _state(left: Left) -> State | None:
    try:
        return None if left.payload is None else msgspec.msgpack.decode(left.payload, type=State)
    except (msgspec.DecodeError, msgspec.ValidationError):
        log.warning("marker_unreadable", file=left.path.name, consequence="no event is suspected for it")
        return None
