"""
Finds the event that kills the worker: writes down which events are in the model, so that the next process can tell.

A native abort, a kill for lack of memory and a model that hangs raise no exception. The same event would be read again and kill the
worker again, for ever. So the places of the events in the model are kept in a file (`crash_file.py`), and those that a dead process has
left there are suspects for the next one. Suspects are decided one at a time, with no other event in the model, so that the culprit is
found. An event with which `crash_deaths` processes have died becomes a dead letter without being read. An event that the worker
survives is no longer a suspect.

No event is blamed for an end that has another cause. A worker that is told to stop, or that ends itself because the broker does not
answer or the machine raised, first takes back what it wrote down. A model that exceeds its time is blamed on its events.
docs/decisions/0006-poison.md has the reasons.
"""

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from monitoring.vocabulary import Reason, Stage
from stream.contract.publication import Publication
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.deliver.crash.crash_file import CrashFile, Left, left_behind
from stream.deliver.crash.guard import DecideOrRefuse, Guard, Report, Unguarded, unreported
from stream.deliver.crash.suspects import InHand, Place, State, Suspect, fingerprint, inherited
from stream.deliver.inference import Decide
from stream.deliver.state_folder import mistaken, stem_of
from stream.logs import logger
from stream.settings.settings import Settings

log = logger("tagstream.crashguard")

# The size of one event in the file: partition, offset, deaths, fingerprint.
_EVENT_BYTES = 48
CONSEQUENCE = "an event that kills the worker will do so again and again; delivery goes on"


class CrashGuard:
    """Implements `Guard` with a file."""

    def __init__(
        self,
        file: CrashFile,
        suspects: Mapping[Place, Suspect],
        *,
        deaths: int,
        report: Report = unreported,
    ) -> None:
        """
        Begin with the suspects that dead processes have left.

        Args:
            file: This process's file.
            suspects: The events to decide alone.
            deaths: After so many deaths an event is given up.
            report: Is told after every change.
        """
        self._file = file
        self._suspects = dict(suspects)
        self._deaths = deaths
        self._report = report
        self._numbers = itertools.count()
        self._in_hand: dict[int, list[InHand]] = {}
        self._lock = threading.Lock()
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
        suspect = self._suspects.get((partition, offset))
        # A worker that stops decides its suspects together, since one at a time would take too long. An event that was given up
        # goes to the dead letters even then.
        return suspect is not None and (not self._excused or suspect.deaths >= self._deaths)

    def guarded(self, decide: DecideOrRefuse) -> Decide:
        """See `Guard`."""

        def decided(events: Sequence[Record]) -> list[Publication]:
            given_up = self._given_up(events[0]) if len(events) == 1 else None
            if given_up is not None:
                return decide(events, given_up)
            with self._written_down(events):
                return decide(events)

        return decided

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
            if settled:
                self._write()

    def close(self) -> None:
        """See `Guard`."""
        # Events may still be in the model, but this process ends in good order, so none of them has killed it.
        self.excuse()
        with self._lock:
            if self._works:
                self._file.close(remove=not self._suspects)
            self._works = False

    def _given_up(self, event: Record) -> Refusal | None:
        suspect = self._suspects.get((event.partition, event.offset))
        if suspect is None or suspect.deaths < self._deaths or suspect.fingerprint != fingerprint(event):
            return None
        log.error(
            "event_crashes_worker",
            topic=event.topic,
            partition=event.partition,
            offset=event.offset,
            deaths=suspect.deaths,
            next="it is a dead letter now, with its bytes: see docs/runbooks/EventBreaksModel.md",
        )
        return Refusal(
            stage=Stage.INFER,
            reason=Reason.CRASHES_WORKER,
            message=f"{suspect.deaths} worker processes died with this event in the model; it was not read again",
            attempts=suspect.deaths,
        )

    @contextmanager
    def _written_down(self, events: Sequence[Record]) -> Iterator[None]:
        number = next(self._numbers)
        alone = len(events) == 1
        marks = [InHand(event.partition, event.offset, fingerprint(event) if alone else "") for event in events]
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
            self._file.write(msgspec.msgpack.encode(State([*self._suspects.values()], [*self._in_hand.values()])))
        except OSError as error:
            self._works = False
            log.warning("crash_guard_off", why=str(error), consequence=CONSEQUENCE)
            # The file is out of date now, and must not make any event a suspect.
            with suppress(OSError):
                self._file.close(remove=True)
        self._report(active=self._works, suspects=len(self._suspects))


def open_guard(settings: Settings, report: Report = unreported) -> Guard:
    """
    The guard of the settings, with the suspects that dead processes of the same group on this machine have left.

    Raises:
        StateFolderError: The folder was named and cannot be used. If it was not named, or its disk is full, the guard is off, and the
            worker logs that and works.
    """
    if not settings.crash_deaths:
        report(active=False, suspects=0)
        return Unguarded()
    folder = settings.state_folder.expanduser()
    try:
        return _opened(settings, folder, report)
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


def _opened(settings: Settings, folder: Path, report: Report) -> CrashGuard:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = stem_of(settings)
    # As many events as can be in the model at once, and the suspects of two processes that died so.
    most = settings.inference_threads * settings.batch_max_events
    file = CrashFile(folder, stem=stem, payload_bytes=4096 + 3 * most * _EVENT_BYTES)
    dead = list(left_behind(folder, stem=stem))
    suspects = inherited(filter(None, map(_state, dead)))
    kept = dict(sorted(suspects.items(), key=lambda item: -item[1].deaths)[: 2 * most])
    guard = CrashGuard(file, kept, deaths=settings.crash_deaths, report=report)
    # Only now: had this process died a moment ago, the next one would still find the files.
    for left in dead:
        left.remove()
    if suspects:
        log.warning(
            "predecessor_died_in_model",
            suspects=len(suspects),
            most_deaths=max(suspect.deaths for suspect in suspects.values()),
            given_up_at=settings.crash_deaths,
            next="they are decided one at a time; docs/runbooks/EventBreaksModel.md",
        )
    return guard


def _state(left: Left) -> State | None:
    try:
        return None if left.payload is None else msgspec.msgpack.decode(left.payload, type=State)
    except (msgspec.DecodeError, msgspec.ValidationError):
        log.warning("marker_unreadable", file=left.path.name, consequence="no event is suspected for it")
        return None
