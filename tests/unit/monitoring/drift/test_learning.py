"""What a group learns of its ordinary stream: windows of several workers, spread over time, and the notes that keep them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.drift import baseline, learning
from tagstream.monitoring.drift.learning import GroupLearning, NoteRefusedError, ReferenceNote, read_note
from tagstream.monitoring.drift.thresholds import DriftPlan
from tagstream.monitoring.record_time import AHEAD_MS
from tests.unit.monitoring.drift.drift_cases import decision, ordinary

WINDOW, WINDOWS, SECONDS = 100, 4, 400.0
PLAN = DriftPlan(window_events=WINDOW, reference_windows=WINDOWS, learning_seconds=SECONDS)
START_MS = 1_700_000_000_000
PAUSE_MS = int(SECONDS * 1000 / WINDOWS)


def made(worker: str = "a", **more: str) -> GroupLearning:
    """One worker's view of the group."""
    return GroupLearning(**{"group": "g", "model": "d", "worker": worker, **more}, plan=PLAN)


def learned() -> tuple[GroupLearning, list[ReferenceNote]]:
    """A worker that has learned by itself, and its notes."""
    one, notes = made(), []
    for number in range(WINDOWS + 1):
        notes += one.offer(list(ordinary(WINDOW)), START_MS + number * PAUSE_MS)
    return one, notes


def test_windows_are_spread_over_the_time_of_learning() -> None:
    """A stream of a thousand events a second is learned from its whole hour, and from no more windows than a slow one."""
    one = made()
    for second in range(int(SECONDS)):
        one.offer(list(ordinary(WINDOW)), START_MS + second * 1000)
        assert one.in_force is None
        assert one.events == WINDOW * (1 + second * 1000 // PAUSE_MS)
    one.offer(list(ordinary(WINDOW)), START_MS + int(SECONDS) * 1000)
    assert one.in_force is not None
    assert one.in_force.events == WINDOW * WINDOWS


def test_a_slow_stream_is_learned_until_there_are_enough_events() -> None:
    """The time alone puts nothing in force."""
    one = made()
    one.offer(list(ordinary(WINDOW)), START_MS)
    one.offer(list(ordinary(WINDOW)), START_MS + int(10 * SECONDS * 1000))
    assert one.in_force is None
    assert one.progress(START_MS + int(10 * SECONDS * 1000)) == 0.5


def test_a_worker_that_starts_later_reads_what_the_group_has_learned() -> None:
    """The newest record of each key is enough, as compaction leaves them."""
    one, notes = learned()
    newest = {note.key: msgspec.json.encode(note) for note in notes}
    other = made("b")
    for value in newest.values():
        other.read(msgspec.json.decode(value, type=ReferenceNote))
    assert other.in_force == one.in_force
    assert other.progress(START_MS) == 1.0
    assert other.offer(list(ordinary(WINDOW)), START_MS) == []


def test_workers_learn_together() -> None:
    """The parts of all add up, also that of a worker that has gone."""
    first, second = made("a"), made("b")
    for note in first.offer([decision(("left",), source="x") for _ in range(WINDOW)], START_MS):
        second.read(note)
    for number in range(1, WINDOWS):
        second.offer([decision(("right",), source="x") for _ in range(WINDOW)], START_MS + number * PAUSE_MS)
    second.offer([decision(("right",), source="x") for _ in range(WINDOW)], START_MS + WINDOWS * PAUSE_MS)
    found = second.in_force
    assert found is not None
    assert (found.words, found.sources) == ({"left": WINDOW, "right": 4 * WINDOW}, {"x": 5 * WINDOW})


def test_a_person_can_end_a_learning_and_begin_another() -> None:
    """What is learned so far comes in force at once; a new beginning forgets it, and late notes of the old one change nothing."""
    one = made()
    [part] = one.offer(list(ordinary(WINDOW)), START_MS)
    confirmed = made("a command")
    confirmed.read(part)
    one.read(confirmed.end())
    assert one.in_force is not None
    assert one.in_force.events == WINDOW
    old = confirmed.end()
    one.read(confirmed.anew(START_MS + 1))
    assert one.in_force is None
    assert one.progress(START_MS + 2) == 0.0
    one.read(old)
    one.read(part)
    assert one.in_force is None
    assert one.events == 0


def test_nothing_learned_cannot_be_put_in_force() -> None:
    """There is no reference of no events."""
    with pytest.raises(ValueError, match="no window is learned yet"):
        made().end()


@pytest.mark.parametrize("other", [{"group": "h"}, {"model": "e"}])
def test_another_group_or_another_bundle_learns_apart(other: dict[str, str]) -> None:
    """A bundle has confidences of its own."""
    _, notes = learned()
    one = made("b", **other)
    for note in notes:
        one.read(note)
    assert (one.in_force, one.events) == (None, 0)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_parts_add_up_to_the_baseline_of_all_events(sizes: list[int]) -> None:
    """However a stream is cut into parts, their sum has the counts of the whole; words of a single event are left out of a part."""
    events = [decision(("the", f"t{at % 3}"), confidence=(0.5, 0.97)[at % 2], source=f"s{at % 5}") for at in range(sum(sizes))]
    joined, rest = baseline.Learning(), list(events)
    for size in sizes:
        part, rest = rest[:size], rest[size:]
        joined.join(baseline.of(part))
    whole, found = baseline.of(events), joined.baseline()
    assert (found.events, found.labels, found.sources, found.figures) == (
        whole.events,
        whole.labels,
        whole.sources,
        whole.figures,
    )
    assert found.lone_sources == whole.lone_sources


@pytest.mark.parametrize(
    "value",
    [
        b'{"group":"g","model":"d","since_ms":%d}' % 10**400,
        b'{"group":"g","model":"d","since_ms":-1}',
        b'{"group":"g","model":"d","began_ms":%d}' % 2**62,
        b'{"group":"g","model":"d","began_ms":%d}' % (START_MS + AHEAD_MS + 1),
        b'{"group":"g","model":"d","later":' + b"[" * 100_000,
        b"",
    ],
)
def test_what_cannot_be_a_note_is_refused(value: bytes) -> None:
    """No arithmetic is done on it, and no learning begins in a time to come."""
    with pytest.raises(NoteRefusedError):
        read_note(value, START_MS)


def test_a_learning_can_be_begun_after_one_that_a_fast_clock_began() -> None:
    """The clock of whoever began the present one may be ahead within its bound."""
    one = made()
    ahead = one.anew(START_MS + AHEAD_MS)
    assert read_note(msgspec.json.encode(ahead), START_MS) == ahead
    one.read(ahead)
    one.offer(list(ordinary(WINDOW)), START_MS)
    one.read(one.end())
    one.read(one.anew(START_MS))
    assert one.in_force is None


def test_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other workers' parts beyond the bound are refused; the worker's own, and a newer one in place of another, are not."""
    one = made("a")
    [part] = made("b").offer(list(ordinary(WINDOW)), START_MS)
    monkeypatch.setattr(learning, "MOST_PART_BYTES", len(msgspec.json.encode(part.baseline)))
    for note in (part, part):
        one.read(note)
    with pytest.raises(NoteRefusedError, match="1 workers"):
        one.read(msgspec.structs.replace(part, worker="c"))
    one.read(msgspec.structs.replace(part, worker="a"))
    assert one.events == 2 * WINDOW
