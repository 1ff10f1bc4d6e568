"""The ordinary stream of a consumer group, as the group learns it: each worker adds windows, and their sum becomes the reference.

The state is a fold over the records of the topic `references`, which is compacted. Each worker has a record of its part (a `ReferenceNote`
with a `worker`). The group has one record (without a `worker`), which begins a learning or ends it with the reference in force. A worker
that restarts reads the records again. If several workers end a learning at the same time, the last record counts, and their sums differ by
at most a window. Pure: notes in, notes out; times are given.

Anyone with the right to write the topic may write notes of any size under any number of names. So a part is kept as the bytes of its counts,
which take a tenth of the memory of its words. All parts together are bounded, and they are forgotten once a reference is in force.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from tagstream.monitoring.drift.baseline import Baseline, Learning
from tagstream.monitoring.drift.thresholds import DriftPlan
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.record_time import AHEAD_MS

# A part with all 50,000 words that a worker counts has about 600 KB; one of the default plan has a tenth.
MOST_PART_BYTES = 64 * 1024 * 1024
MOST_PARTS = 10_000

Moment = Annotated[int, msgspec.Meta(ge=0)]


class NoteRefusedError(Exception):
    """A note that no worker and no command can have written, or a note beyond the bounds; the message says why. Other notes count."""


class ReferenceNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One record of `references`.

    Attributes:
        group: The consumer group.
        model: Digest of the bundle that decided. Another bundle has other confidences, so the group learns again.
        began_ms: The record's learning, by the time at which a person asked for it, Unix milliseconds; 0 for the first learning.
        worker: The worker whose part this is; "" for the group's own record.
        since_ms: The time at which the first window of a part closed, Unix milliseconds.
        baseline: The counts of a part, or the reference in force; None if the group learns from now on.
    """

    group: str
    model: str
    began_ms: Moment = 0
    worker: str = ""
    since_ms: Moment = 0
    baseline: Baseline | None = None

    @property
    def key(self) -> bytes:
        """The record's key; the newest record of a key counts."""
        return msgspec.json.encode([self.group, self.model, self.worker])


def read_note(value: bytes, now_ms: int) -> ReferenceNote:
    """
    The note in a record's value, at `now_ms` (Unix milliseconds).

    Raises:
        NoteRefusedError: The value is not a note, or a count or a time is out of bounds.
    """
    try:
        note = msgspec.json.decode(value, type=ReferenceNote)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoteRefusedError(str(error)) from error
    latest = max(note.began_ms, note.since_ms)
    if latest > now_ms + AHEAD_MS:
        msg = f"its time is {latest} ms, and this machine's clock says {now_ms} ms"
        raise NoteRefusedError(msg)
    return note


@dataclass(frozen=True, slots=True)
class _Part:
    """One worker's part: when its first window closed (Unix milliseconds), the number of its events, and its counts as JSON."""

    since_ms: int
    events: int
    counts: bytes


class GroupLearning:
    """The fold over the notes, and one worker's part in it. Not thread-safe."""

    def __init__(self, *, group: str, model: str, worker: str, plan: DriftPlan) -> None:
        """
        No note has been read yet.

        Args:
            group: The consumer group.
            model: Digest of the bundle that decides.
            worker: The worker's name.
            plan: Has the number of windows to learn, and the least time of learning.
        """
        self._group, self._model, self._worker = group, model, worker
        self._plan = plan
        self._start(0)

    def _start(self, began_ms: int) -> None:
        self._began_ms = began_ms
        self._parts: dict[str, _Part] = {}
        self._part_bytes = 0
        self._own = Learning()
        self._own_windows = 0
        self._own_since_ms = self._own_last_ms = 0
        self.in_force: Baseline | None = None

    @property
    def events(self) -> int:
        """The number of decisions that all workers have learned so far."""
        return sum(part.events for part in self._parts.values())

    def progress(self, now_ms: int) -> float:
        """The progress of learning, 0 to 1, by events or by time, whichever is further behind. 1 once a reference is in force."""
        if self.in_force is not None:
            return 1.0
        seconds = self._plan.learning_seconds
        since = min((part.since_ms for part in self._parts.values()), default=now_ms)
        passed = (now_ms - since) / 1000 / seconds if seconds else 1.0
        return max(0.0, min(1.0, passed, self.events / (self._plan.reference_windows * self._plan.window_events)))

    def read(self, note: ReferenceNote) -> None:
        """
        Take a note from the topic, in the topic's order. Notes of other groups, bundles and earlier learnings change nothing.

        Raises:
            NoteRefusedError: The note is another worker's part, and the known parts leave no room for it.
        """
        if (note.group, note.model) != (self._group, self._model) or note.began_ms < self._began_ms:
            return
        if note.began_ms > self._began_ms:
            self._start(note.began_ms)
        if note.baseline is None:
            return
        if not note.worker:
            self.in_force = note.baseline
            self._parts, self._part_bytes = {}, 0
        elif self.in_force is None:
            self._keep(note.worker, _Part(note.since_ms, note.baseline.events, msgspec.json.encode(note.baseline)))

    def _keep(self, worker: str, part: _Part) -> None:
        before = self._parts.get(worker)
        size = self._part_bytes + len(part.counts) - (len(before.counts) if before else 0)
        is_new = before is None and len(self._parts) >= MOST_PARTS
        if worker != self._worker and (size > MOST_PART_BYTES or is_new):
            msg = f"the parts of {len(self._parts)} workers have {self._part_bytes} bytes, and this one is too much"
            raise NoteRefusedError(msg)
        self._parts[worker], self._part_bytes = part, size

    def offer(self, window: Sequence[Observation], now_ms: int) -> list[ReferenceNote]:
        """
        Learn from a healthy window that closed at `now_ms` (Unix milliseconds). Returns the notes to publish.

        A worker's windows are spread over the time of learning. Otherwise a fast stream would learn only a second of its day.
        """
        plan = self._plan
        if self.in_force is not None:
            return []
        notes: list[ReferenceNote] = []
        pause_ms = plan.learning_seconds * 1000 / plan.reference_windows
        if self._own_windows < plan.reference_windows and now_ms - self._own_last_ms >= pause_ms:
            self._own.add(window)
            self._own_since_ms = self._own_since_ms or now_ms
            self._own_windows, self._own_last_ms = self._own_windows + 1, now_ms
            notes.append(self._note(self._own.baseline(model=self._model), worker=self._worker, since_ms=self._own_since_ms))
            self.read(notes[0])
        if self.progress(now_ms) >= 1.0:
            notes.append(self.end())
            self.read(notes[-1])
        return notes

    def end(self) -> ReferenceNote:
        """
        The note that puts the sum of the parts in force.

        Raises:
            ValueError: No window is learned yet.
        """
        learned = Learning()
        for part in self._parts.values():
            learned.join(msgspec.json.decode(part.counts, type=Baseline))
        if not learned.events:
            msg = "no window is learned yet"
            raise ValueError(msg)
        return self._note(learned.baseline(model=self._model))

    def anew(self, now_ms: int) -> ReferenceNote:
        """The note that begins another learning. Its time is after the present learning's time, even if the clock of that one was ahead."""
        return ReferenceNote(group=self._group, model=self._model, began_ms=max(now_ms, self._began_ms + 1))

    def _note(self, baseline: Baseline, *, worker: str = "", since_ms: int = 0) -> ReferenceNote:
        return ReferenceNote(
            group=self._group,
            model=self._model,
            began_ms=self._began_ms,
            worker=worker,
            since_ms=since_ms,
            baseline=baseline,
        )
