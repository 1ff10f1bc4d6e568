"""Which events are suspects after a worker's death, which are given up, and which never are."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Budget, Record, weight
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.deliver.crash.crash_file import CrashFile, newest
from tagstream.stream.deliver.crash.guard import (
    MOST_NOT_HELD,
    CrashGuard,
    CrashState,
    DecideOrRefuse,
    Guard,
    InHand,
    Suspect,
    Unguarded,
    inherited,
    open_guard,
)
from tagstream.stream.deliver.crash.guard import decided as decided_by
from tagstream.stream.deliver.crash.trial import Died, NotHeld
from tagstream.stream.deliver.state_folder import StateFolderError, stem_of
from tagstream.stream.settings.settings import Settings
from tests.fakes import BrokenClassifier, deciding
from tests.replacing import replace
from tests.unit.stream.deliver.crash.fake_trials import KILLED, PIPELINE, SEGFAULT, FakeTrials, decided, event

DEATHS = 3


def unread(settings: Settings) -> DecideOrRefuse:
    """Makes dead letters and reads no event."""

    def refused(events: Sequence[Record], refusal: Refusal | None = None, /) -> list[Publication]:
        assert refusal is not None, "an event that was given up is read"
        return pipeline_of(settings, decider=deciding(BrokenClassifier())).publications(events, refusal)

    return refused


class Worker:
    """One process after another on the same folder: a killed one leaves its file unlocked, as the kernel would."""

    def __init__(self, folder: Path, **knobs: object) -> None:
        """Start the first."""
        self.settings = Settings.model_validate({"state_folder": folder, "crash_deaths": DEATHS, **knobs})
        self.trials = FakeTrials()
        self.guard = self.start()

    def start(self) -> CrashGuard:
        """Start one."""
        guard = open_guard(self.settings, self.trials)
        assert isinstance(guard, CrashGuard)
        return guard

    def dies(self) -> None:
        """Kill the process by SIGKILL, and start the next one."""
        os.close(self.guard._file._descriptor)
        self.guard = self.start()

    def dies_with(self, *batches: Sequence[Record]) -> None:
        """Kill the process with these batches in the model at once, and start the next one."""

        def nested(left: Sequence[Sequence[Record]]) -> None:
            if not left:
                # The next process sees the file as it is now; the unwinding below does not write it.
                os.close(self.guard._file._descriptor)
                self.guard._works = False
                return

            def then(events: Sequence[Record], refusal: Refusal | None = None, /) -> list[Publication]:
                nested(left[1:])
                return decided(events, refusal)

            decided_by(self.guard, then, left[0])

        nested(batches)
        self.guard = self.start()

    def tries(self, one: Record, *told: Died | NotHeld | None) -> None:
        """Try an event, whose trials end as they are told, and after those well."""
        self.trials.told[one.offset] = list(told)
        self.guard.tried(one, lambda: True)

    def decides(self, one: Record) -> Publication:
        """Decide one event alone."""
        (publication,) = decided_by(self.guard, decided, [one])
        return publication

    def deaths(self) -> dict[int, int]:
        """The deaths of each suspect, by offset."""
        return {suspect.offset: suspect.deaths for suspect in self.guard.known}


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """On a folder of its own."""
    return Worker(tmp_path)


def test_events_are_in_the_file_while_they_are_in_the_model_and_no_longer(worker: Worker) -> None:
    """The file lists the batches of all threads, and is empty before and after."""

    def said() -> CrashState:
        payload = newest(worker.guard._file.path.read_bytes())
        assert payload is not None
        return msgspec.msgpack.decode(payload, type=CrashState)

    def look(events: Sequence[Record]) -> list[Publication]:
        assert said().in_hand == [[InHand(0, 1), InHand(0, 2)]]
        decided_by(worker.guard, look_again, [event(3)])
        assert said().in_hand == [[InHand(0, 1), InHand(0, 2)]]
        return decided(events)

    def look_again(events: Sequence[Record]) -> list[Publication]:
        assert said().in_hand == [[InHand(0, 1), InHand(0, 2)], [InHand(0, 3)]]
        return decided(events)

    assert said() == CrashState([], [])
    decided_by(worker.guard, look, [event(1), event(2)])
    assert said() == CrashState([], [])


def test_an_event_that_also_ends_its_trials_is_given_up_unread_and_with_its_bytes(worker: Worker) -> None:
    """After the death of a worker and of two trials' processes, the event becomes a dead letter; it is in no worker's model again."""
    culprit = event(2, b"\xff not even JSON")
    worker.dies_with([event(1), culprit], [event(3)])
    assert worker.deaths() == {1: 1, 2: 1, 3: 1}
    worker.tries(event(1))
    assert worker.decides(event(1)).destination is Destination.TAGGED
    assert worker.deaths() == {2: 1, 3: 1}
    worker.tries(culprit, *[SEGFAULT] * (DEATHS - 1))

    (letter,) = decided_by(worker.guard, unread(worker.settings), [culprit])
    headers = dict(letter.headers)
    assert (letter.destination, letter.value) == (Destination.DLQ, culprit.value)
    assert (headers["x-dlq-code"], headers["x-dlq-stage"], headers["x-dlq-attempts"]) == (b"crashes_worker", b"infer", b"3")
    # It may be read again before its offset is committed, by the next process too.
    worker.dies()
    held = len(worker.trials.held)
    worker.guard.tried(culprit, lambda: True)
    assert len(worker.trials.held) == held, "its trials are over"
    (again,) = decided_by(worker.guard, unread(worker.settings), [culprit])
    assert again.headers == letter.headers
    worker.guard.committed({("content", 0): 3})
    assert worker.deaths() == {3: 1}


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.sets(st.integers(0, 2), min_size=1), min_size=1, max_size=2),
            st.tuples(st.integers(0, 2), st.sampled_from([KILLED, None])),
        ),
        max_size=20,
    )
)
def test_no_number_of_ends_from_outside_gives_an_event_up(
    tmp_path_factory: pytest.TempPathFactory, ends: "list[list[set[int]] | tuple[int, NotHeld | None]]"
) -> None:
    """An outsider ends workers or trials with any event in the model: no event has more than one death, and each is decided."""
    worker = Worker(tmp_path_factory.mktemp("state"))
    for end in ends:
        if isinstance(end, tuple):
            worker.tries(event(end[0]), end[1], end[1], None)
            continue
        taken: set[int] = set()
        batches = []
        for batch in end:
            # An event is in one batch at a time.
            batches.append([event(offset) for offset in sorted(batch - taken)])
            taken |= batch
        worker.dies_with(*filter(None, batches))
        assert set(worker.deaths()) >= taken
    assert set(worker.deaths().values()) <= {1}
    for offset in range(3):
        worker.tries(event(offset))
        assert worker.decides(event(offset)).destination is Destination.TAGGED
    assert worker.deaths() == {}
    worker.guard.close()


def test_the_outcome_of_a_trial_is_taken_and_the_event_is_not_decided_again(worker: Worker) -> None:
    """An event with which a worker has died never gets into the model of a worker again, and is acquitted once its outcome is taken."""
    worker.dies_with([event(1)])
    worker.tries(event(1))
    assert worker.deaths() == {1: 1}

    def unexpected(_: Sequence[Record], refusal: Refusal | None = None, /) -> list[Publication]:
        raise AssertionError(refusal)

    assert [one.destination for one in decided_by(worker.guard, unexpected, [event(1)])] == [Destination.TAGGED]
    assert worker.deaths() == {}
    assert worker.trials.ends == 1, "there is no suspect left"


def test_deaths_of_trials_outlive_the_worker(worker: Worker) -> None:
    """A worker that is killed between two trials leaves the count to the next one, which holds the rest."""
    worker.dies_with([event(1)])
    worker.tries(event(1), SEGFAULT, None)
    assert worker.deaths() == {1: 2}
    worker.dies()
    assert worker.deaths() == {1: 2}
    worker.tries(event(1), SEGFAULT)
    assert worker.decides(event(1)).destination is Destination.DLQ


def test_trials_that_cannot_be_held_leave_the_event_to_the_worker_and_count_for_nothing(worker: Worker) -> None:
    """After three in a row the event is decided alone in the worker's model; if that survives, it is acquitted."""
    worker.dies_with([event(1)])
    for _ in range(5):
        worker.tries(event(1), *[KILLED] * MOST_NOT_HELD)
        worker.dies_with([event(1)])
    assert worker.deaths() == {1: 1}
    assert len(worker.trials.held) == 5 * MOST_NOT_HELD
    worker.tries(event(1), *[KILLED] * MOST_NOT_HELD)
    assert worker.decides(event(1)).destination is Destination.TAGGED
    assert worker.deaths() == {}


def test_a_dead_letter_of_a_trial_is_made_anew_within_the_budget_of_its_batch(worker: Worker) -> None:
    """The process of a trial knows no budget; a malformed suspect is no suspect once its dead letter is made."""
    malformed = replace(event(1, b"x" * 1000), budget=Budget(0))
    worker.dies_with([malformed])
    worker.trials.hold = lambda *_: PIPELINE.publications([event(1, b"x" * 1000)])[0]  # type: ignore[method-assign]
    worker.guard.tried(malformed, lambda: True)
    (letter,) = decided_by(worker.guard, PIPELINE.publications, [malformed])
    assert (letter.destination, letter.value) == (Destination.DLQ, None)
    assert worker.deaths() == {}


def test_ends_that_no_event_is_to_blame_for_are_not_counted(worker: Worker) -> None:
    """If the broker did not answer, or a person stopped the worker, the events in the file are taken back."""

    def excused(events: Sequence[Record]) -> list[Publication]:
        worker.guard.excuse()
        said = worker.guard._file.path.read_bytes()
        decided_by(worker.guard, decided, [event(9)])
        assert worker.guard._file.path.read_bytes() == said, "an excused guard writes no more"
        return decided(events)

    decided_by(worker.guard, excused, [event(1)])
    worker.dies()
    assert worker.deaths() == {}


def test_an_end_in_good_order_blames_no_event_that_is_in_the_model(worker: Worker, tmp_path: Path) -> None:
    """Faust may stop by itself while events are in the model."""

    def ends(events: Sequence[Record]) -> list[Publication]:
        worker.guard.close()
        return decided(events)

    decided_by(worker.guard, ends, [event(1)])
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_ends_begins_no_trial(worker: Worker) -> None:
    """Its suspects are handed back; an event that was given up becomes a dead letter even then."""
    worker.dies_with([event(1), event(2)])
    worker.tries(event(1), *[SEGFAULT] * (DEATHS - 1))
    worker.guard.excuse()
    assert not worker.guard.tried(event(2), lambda: True)
    assert worker.guard.tried(event(1), lambda: True)
    assert worker.trials.held == [1, 1]
    assert worker.decides(event(1)).destination is Destination.DLQ


def test_one_death_is_too_few() -> None:
    """A single death may have another cause, so `crash_deaths` of 1 is refused."""
    with pytest.raises(ValueError, match="a single death may have another cause"):
        Settings(crash_deaths=1)


def test_suspicion_outlives_an_end_with_another_cause(worker: Worker) -> None:
    """Two deaths stay two until the event is decided."""
    worker.dies_with([event(1)])
    worker.tries(event(1), SEGFAULT, None)
    worker.guard.excuse()
    worker.dies()
    assert worker.deaths() == {1: 2}
    worker.guard.close()
    worker.guard = worker.start()
    assert worker.deaths() == {1: 2}


def test_an_exception_is_no_death_and_no_acquittal(worker: Worker) -> None:
    """If the machine raises, the event is taken back from the file and is still a suspect."""
    worker.dies_with([event(1)])

    def broken(_: Sequence[Record]) -> list[Publication]:
        raise MemoryError

    with pytest.raises(MemoryError):
        decided_by(worker.guard, broken, [event(1)])
    worker.dies()
    assert worker.deaths() == {1: 1}


def test_an_offset_of_a_topic_that_was_made_anew_is_another_event(worker: Worker) -> None:
    """An event with other bytes at the same place is tried, and the deaths of its trials are counted anew."""
    worker.dies_with([event(1, b"old")])
    worker.tries(event(1, b"old"), *[SEGFAULT] * (DEATHS - 1))
    assert worker.deaths() == {1: DEATHS}
    worker.dies()
    worker.tries(event(1, b"new"), SEGFAULT)
    assert worker.deaths() == {1: 2}
    assert worker.decides(event(1, b"new")).destination is Destination.TAGGED


def test_events_before_the_commit_are_suspects_no_longer(worker: Worker) -> None:
    """The commits count by partition, and the file is updated too."""
    worker.dies_with([event(1), event(5), event(5, partition=1)])
    worker.guard.committed({("content", 0): 5})
    assert [(suspect.partition, suspect.offset) for suspect in worker.guard.known] == [(0, 5), (1, 5)]
    worker.dies()
    assert [(suspect.partition, suspect.offset) for suspect in worker.guard.known] == [(0, 5), (1, 5)]


def test_events_at_one_place_of_two_topics_are_two_events(tmp_path: Path) -> None:
    """Only the one that was in the model is a suspect, after a death too; commits count by topic."""
    worker = Worker(tmp_path, contents={"posts": {}})
    one, other = event(1), replace(event(1), topic="posts")
    worker.dies_with([other])
    assert (worker.guard.suspects("content", 0, 1), worker.guard.suspects("posts", 0, 1)) == (False, True)
    worker.tries(other, *[SEGFAULT] * (DEATHS - 1))
    assert worker.decides(one).destination is Destination.TAGGED
    worker.dies()
    assert [(suspect.topic, suspect.deaths) for suspect in worker.guard.known] == [(1, DEATHS)]
    worker.guard.committed({("content", 0): 9})
    assert worker.guard.suspects("posts", 0, 1)
    worker.guard.committed({("posts", 0): 2})
    assert worker.guard.known == []


def test_files_of_living_processes_and_of_other_groups_are_left_alone(tmp_path: Path) -> None:
    """Two workers of one group and one of another group share a host."""
    first, second, other = Worker(tmp_path), Worker(tmp_path), Worker(tmp_path, group="another")
    seen: list[int] = []

    def meanwhile(events: Sequence[Record]) -> list[Publication]:
        second.dies()
        other.dies()
        seen.append(len(second.deaths()) + len(other.deaths()))
        return decided(events)

    decided_by(first.guard, meanwhile, [event(1)])
    assert seen == [0]
    os.close(first.guard._file._descriptor)
    assert Worker(tmp_path).deaths() == {}


def test_of_two_counts_of_deaths_for_one_event_the_higher_counts() -> None:
    """When two processes died with one event, the larger count is kept."""
    one = CrashState([Suspect(0, 1, 2, "f")], [[InHand(0, 1)]])
    two = CrashState([], [[InHand(0, 1), InHand(0, 2)]])
    for states in ([one, two], [two, one]):
        assert inherited(states) == {(0, 0, 1): Suspect(0, 1, 2, "f"), (0, 0, 2): Suspect(0, 2, 1)}


def test_the_folder_is_empty_after_an_end_without_suspects(worker: Worker, tmp_path: Path) -> None:
    """A worker that ends in good order removes its file."""
    worker.guard.close()
    assert list(tmp_path.iterdir()) == []


# --- without a folder --------------------------------------------------------------------------------------------------


class Reported:
    """Implements `GuardReport`."""

    def __init__(self) -> None:
        """Begin without reports."""
        self.told: list[tuple[bool, int]] = []

    def __call__(self, *, active: bool, suspects: int) -> None:
        """Keep the report."""
        self.told.append((active, suspects))


def test_the_dead_letter_of_an_event_that_kills_fits_into_its_topic(tmp_path: Path) -> None:
    """A dead letter that is refused for its size would be tried again by every new process, for ever."""
    limit = 300_000
    worker = Worker(tmp_path, max_dead_letter_bytes=limit)
    big = event(0, b"x" * limit)
    worker.dies_with([big])
    worker.tries(big, *[SEGFAULT] * (DEATHS - 1))
    (given_up,) = decided_by(worker.guard, unread(worker.settings), [big])
    assert given_up.destination is Destination.DLQ
    assert weight(given_up.key, given_up.value, given_up.headers) <= limit


@contextmanager
def default_folder(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Settings]:
    """Settings that name no folder, with this home folder."""
    monkeypatch.setenv("HOME", str(home))
    yield Settings()


def test_a_folder_that_was_named_and_cannot_be_used_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """A folder that the settings name is relied on, so the worker does not start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateFolderError, match=r"state_folder\) cannot be used: Not a directory\. Next: ") as caught:
        open_guard(Settings(state_folder=tmp_path / "file" / "state"), FakeTrials())
    assert caught.value.exit_code == 2


def test_without_a_home_the_worker_works_unguarded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with a read-only root and no volume works without the guard."""
    (tmp_path / "file").write_text("")
    reported = Reported()
    with default_folder(monkeypatch, tmp_path / "file") as settings:
        guard = open_guard(settings, FakeTrials(), reported)
    assert isinstance(guard, Unguarded)
    assert reported.told == [(False, 0)]
    made = decided([event(1)])
    assert decided_by(guard, lambda _events, _refusal=None: made, [event(1)]) == made


def test_the_default_folder_is_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is made on first use, for this user alone."""
    with default_folder(monkeypatch, tmp_path) as settings:
        guard = open_guard(settings, FakeTrials())
    assert isinstance(guard, CrashGuard)
    assert (tmp_path / ".local/state/tagstream").stat().st_mode & 0o077 == 0
    guard.close()


def full(*_: object) -> None:
    """A disk with no room left."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_at_the_start_switches_the_guard_off_even_where_the_folder_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is no mistake in the settings and passes, so the worker starts."""
    monkeypatch.setattr("tagstream.stream.deliver.crash.crash_file._write", full)
    reported = Reported()
    assert isinstance(open_guard(Settings(state_folder=tmp_path), FakeTrials(), reported), Unguarded)
    assert reported.told == [(False, 0)]
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_later_switches_the_guard_off_and_leaves_no_outdated_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are still decided, and the file's last content makes none of them a suspect."""
    reported = Reported()
    guard: Guard = open_guard(Settings(state_folder=tmp_path), FakeTrials(), reported)
    monkeypatch.setattr("tagstream.stream.deliver.crash.crash_file._write", full)
    assert len(decided_by(guard, decided, [event(1)])) == 1
    assert reported.told[0] == (True, 0)
    assert reported.told[-1] == (False, 0)
    assert list(tmp_path.iterdir()) == []
    guard.excuse()
    guard.close()


def test_no_guard_where_none_is_wanted(tmp_path: Path) -> None:
    """`crash_deaths` of 0 switches the guard off."""
    assert isinstance(open_guard(Settings(state_folder=tmp_path / "none", crash_deaths=0), FakeTrials()), Unguarded)
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_another_content_makes_no_event_a_suspect(tmp_path: Path) -> None:
    """The file is reported and removed."""
    settings = Settings(state_folder=tmp_path)
    file = CrashFile(tmp_path, stem=stem_of(settings), payload_bytes=64)
    file.write(b"\xc1 no state")
    file.close(remove=False)
    guard = open_guard(settings, FakeTrials())
    assert isinstance(guard, CrashGuard)
    assert guard.known == []
    assert len(list(tmp_path.iterdir())) == 1
    guard.close()


def test_more_suspects_than_there_is_room_for_keep_those_with_most_deaths(tmp_path: Path) -> None:
    """Two full batches of suspects are kept; the others are ordinary events again."""
    settings = Settings(state_folder=tmp_path, batch_max_events=2, inference_threads=1)
    file = CrashFile(tmp_path, stem=stem_of(settings), payload_bytes=4096)
    file.write(msgspec.msgpack.encode(CrashState([Suspect(0, n, 1 + n % 3) for n in range(30)], [])))
    file.close(remove=False)
    guard = open_guard(settings, FakeTrials())
    assert isinstance(guard, CrashGuard)
    assert [suspect.deaths for suspect in guard.known] == [3, 3, 3, 3]
    guard.close()
