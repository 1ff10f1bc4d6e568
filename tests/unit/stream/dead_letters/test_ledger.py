"""The ledger of replays: no dead letter is sent twice, after a crash, beside another run, or when it cannot be known."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.contract.dead_letter import DeadLetter, read, replayed
from stream.contract.record import Record
from stream.dead_letters import ledger as replay_ledger
from stream.dead_letters.ledger import Ledger, LedgerError, Note, Standing, State, key_of, wait_until_over
from stream.dead_letters.plan import ReplayPlan, ReplayReport
from stream.dead_letters.selection import Selection
from stream.dead_letters.sending import ReplayError, Sending
from stream.kafka.producer import TooLateError, UndeliveredError
from tests.unit.stream.contract.test_dead_letter import lying

TARGET = "content"
KEY = "content.dlq/3/42@1700000000000>content"
OTHER = "content.dlq/3/43@1700000000000>content"


class FakeLog:
    """The part of `Log` that the ledger uses, over one partition in memory."""

    def __init__(self, *, start: int = 0) -> None:
        """Begin at this offset, as if retention had deleted the records before it."""
        self.records: list[Record] = []
        self.start = start

    def starts(self) -> dict[int, int]:
        """The oldest offset."""
        return {0: self.start}

    def ends(self) -> dict[int, int]:
        """The next offset."""
        return {0: self.start + len(self.records)}

    def read(self, first: Mapping[int, int], last: Mapping[int, int]) -> Iterator[Record]:
        """The records between two offsets."""
        yield from self.records[max(0, first[0] - self.start) : last[0] - self.start]


class FakeSender:
    """Appends records to a log, or fails."""

    def __init__(self, log: FakeLog, error: UndeliveredError | None = None) -> None:
        """Every note fails with `error`, if there is one."""
        self.log = log
        self.error = error
        self.in_time = 0

    def deliver(self, records: Sequence[Record], *, until: float = math.inf) -> list[UndeliveredError | None]:
        """Append notes; of records for the target, confirm as many as `in_time` and refuse the rest as too late."""
        if until < math.inf and not self.in_time:
            return [TooLateError("late")] * len(records)
        if until < math.inf:
            self.in_time -= 1
            return [None] * len(records)
        if self.error is None:
            self.log.records.extend(records)
        return [self.error] * len(records)


def ledger(log: FakeLog, run: str, ends: Mapping[int, int] | None = None) -> Ledger:
    """The ledger of one run."""
    return Ledger(log, topic="replays", run=run, target_ends=ends or {0: 0})  # type: ignore[arg-type]


def sender(log: FakeLog, error: UndeliveredError | None = None) -> Any:
    """A sender that writes notes to this log."""
    return FakeSender(log, error)


def test_a_dead_letter_that_was_sent_is_not_sent_again() -> None:
    """The second run reads the notes of the first."""
    log = FakeLog()
    first = ledger(log, "a")
    assert first.standing(KEY) is Standing.FREE
    assert list(first.claim([KEY], sender(log))) == [KEY]
    first.finish({KEY: State.SENT}, sender(log))
    second = ledger(log, "b")
    assert (second.standing(KEY), second.standing(OTHER)) == (Standing.SENT, Standing.FREE)


def test_a_record_that_the_broker_refused_may_be_sent_again() -> None:
    """It did not arrive, so it is free again."""
    log = FakeLog()
    first = ledger(log, "a")
    first.claim([KEY], sender(log))
    first.finish({KEY: State.NOT_TAKEN}, sender(log))
    assert ledger(log, "b").standing(KEY) is Standing.FREE


@pytest.mark.parametrize(
    ("arrived", "forgotten", "expected"),
    [(True, 0, Standing.SENT), (False, 0, Standing.FREE), (False, 8, Standing.UNKNOWN), (True, 8, Standing.SENT)],
)
def test_a_run_that_broke_off_is_settled_by_reading_the_target(arrived: bool, forgotten: int, expected: Standing) -> None:
    """A record in the target was sent, a missing one is free; if retention has deleted records since, it is unknown."""
    log, target = FakeLog(), FakeLog(start=forgotten)
    claimed = ledger(log, "a", {0: 5}).claim([KEY], sender(log))
    if arrived:
        target.records.append(replayed(the_letter(), TARGET, claimed[KEY]))
    target.records.extend([Record(topic=TARGET, key=None, value=b"x")] * 10)
    if not forgotten:
        target.records[:0] = [Record(topic=TARGET, key=None, value=b"before")] * 5
    second = ledger(log, "b")
    assert second.standing(KEY) is Standing.ELSEWHERE
    second.settle(second.unfinished("content.dlq", TARGET), target)  # type: ignore[arg-type]
    assert second.standing(KEY) is expected
    assert second.arrived() == ([KEY] if expected is Standing.SENT else [])


def the_letter() -> DeadLetter:
    """The dead letter that `KEY` names."""
    found = read(lying(Record(topic=TARGET, partition=0, offset=5, timestamp_ms=1, key=None, value=b"{}")))
    assert found is not None
    assert key_of(found, TARGET) == KEY
    return found


def test_a_producers_header_settles_no_dead_letter() -> None:
    """A record that names the dead letter, with no proof or with the proof of another dead letter, is not its replay."""
    log, target = FakeLog(), FakeLog()
    claimed = ledger(log, "a").claim([KEY, OTHER], sender(log))
    named = replayed(the_letter(), TARGET)
    assert ("x-dlq-replayed-from", b"content.dlq/3/42") in named.headers
    target.records += [named, replayed(the_letter(), TARGET, claimed[OTHER]), replayed(the_letter(), TARGET, "00" * 32)]
    second = ledger(log, "b")
    second.settle(second.unfinished("content.dlq", TARGET), target)  # type: ignore[arg-type]
    assert (second.standing(KEY), second.standing(OTHER)) == (Standing.FREE, Standing.SENT)


def test_a_record_of_an_earlier_version_needs_a_person() -> None:
    """Earlier versions sent no proof, so it is not known whether the record of their unfinished note arrived."""
    log, target = FakeLog(), FakeLog()
    log.records.append(
        Record(topic="replays", key=KEY.encode(), value=b'{"state":"sending","run":"a","at_ms":1,"ends":{"0":0}}')
    )
    target.records.append(replayed(the_letter(), TARGET))
    after = ledger(log, "b")
    after.settle(after.unfinished("content.dlq", TARGET), target)  # type: ignore[arg-type]
    assert after.standing(KEY) is Standing.UNKNOWN


def test_the_record_of_a_run_whose_note_was_overwritten_is_recognised() -> None:
    """Two runs claim, the first sends and is killed: the ledger may keep the second's note alone, and the record still counts."""
    log, target = FakeLog(), FakeLog()
    first, second = ledger(log, "a"), ledger(log, "b")
    claimed = first.claim([KEY], sender(log))
    assert second.claim([KEY], sender(log)) == {}
    target.records.append(replayed(the_letter(), TARGET, claimed[KEY]))
    latest = {record.key: record for record in log.records}
    log.records[:] = latest.values()
    third = ledger(log, "c")
    third.settle(third.unfinished("content.dlq", TARGET), target)  # type: ignore[arg-type]
    assert third.standing(KEY) is Standing.SENT


def test_a_target_that_was_made_anew_is_not_taken_for_the_old_one() -> None:
    """A target that ends before the offsets in the note is another topic, so the result is unknown."""
    log = FakeLog()
    ledger(log, "a", {0: 500}).claim([KEY], sender(log))
    second = ledger(log, "b")
    second.settle(second.unfinished("content.dlq", TARGET), FakeLog())  # type: ignore[arg-type]
    assert second.standing(KEY) is Standing.UNKNOWN


def test_a_later_claim_undoes_what_was_settled() -> None:
    """If another run claims the dead letter meanwhile, its claim counts, and not the result for the run before."""
    log = FakeLog()
    ledger(log, "a").claim([KEY], sender(log))
    second, third = ledger(log, "b"), ledger(log, "c")
    for one in (second, third):
        one.settle(one.unfinished("content.dlq", TARGET), FakeLog())  # type: ignore[arg-type]
        assert one.standing(KEY) is Standing.FREE
    assert list(third.claim([KEY], sender(log))) == [KEY]
    assert second.claim([KEY], sender(log)) == {}
    assert second.standing(KEY) is Standing.ELSEWHERE


@given(
    st.permutations(["a write", "a read", "b write", "b read"]).filter(
        lambda steps: steps.index("a write") < steps.index("a read") and steps.index("b write") < steps.index("b read")
    )
)
def test_of_two_runs_at_once_exactly_one_may_send(steps: list[str]) -> None:
    """In every order of their writes and reads exactly one run is the first."""
    log = FakeLog()
    runs = {name: ledger(log, name) for name in ("a", "b")}
    owners = set()
    for step in steps:
        name, action = step.split()
        if action == "write":
            sender(log).deliver(runs[name]._notes({KEY: State.SENDING}))
        else:
            owners |= {name} if first_of(runs[name].catch_up()) == name else set()
    assert len(owners) == 1


def first_of(notes: Sequence[tuple[str, Note]]) -> str:
    """The run that wrote the first note."""
    return notes[0][1].run


def test_a_note_that_is_not_confirmed_stops_the_run() -> None:
    """Without its note no record may be sent; the exit code is 3."""
    log = FakeLog()
    with pytest.raises(LedgerError, match="did not confirm 2 of 2 notes") as caught:
        ledger(log, "a").claim([KEY], sender(log, UndeliveredError("no")))
    assert caught.value.exit_code == 3


def test_only_this_topics_and_this_targets_are_unfinished() -> None:
    """A replay to another topic, or of another topic's dead letters, is another replay."""
    log = FakeLog()
    keys = [KEY, "content.dlq/3/42@1700000000000>else", "content.dlq2/3/42@1>content"]
    ledger(log, "a").claim(keys, sender(log))
    assert set(ledger(log, "b").unfinished("content.dlq", TARGET)) == {KEY}


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[1]", b"\xff", b'{"state":"eaten","run":"a","at_ms":1}'])
def test_a_record_that_is_no_note_is_no_claim(value: bytes | None) -> None:
    """Other programs may write to the ledger's topic."""
    log = FakeLog()
    log.records.append(Record(topic="replays", key=KEY.encode(), value=value))
    assert ledger(log, "a").standing(KEY) is Standing.FREE


@pytest.mark.parametrize(("age_seconds", "waits"), [(1, True), (-3600, True), (3600, False)])
def test_only_a_recent_run_is_waited_for(age_seconds: float, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose clock is ahead counts as recent; the wait says its reason."""
    monkeypatch.setattr(replay_ledger.time, "time", lambda: 1_000_000.0)
    said: list[str] = []
    slept: list[float] = []
    note = Note(state=State.SENDING, run="a", at_ms=int((1_000_000 - age_seconds) * 1000))
    wait_until_over([note], say=said.append, sleep=slept.append)
    assert slept == ([replay_ledger.HOLD_SECONDS] if waits else [])
    assert len(said) == len(slept)


def test_a_silent_run_can_send_no_more_when_the_wait_is_over() -> None:
    """The promise rests on these bounds: a record sent at the last moment is given up before the wait ends."""
    from stream.kafka.producer import DELIVERY_SECONDS

    assert replay_ledger.SEND_WITHIN_SECONDS + DELIVERY_SECONDS < replay_ledger.HOLD_SECONDS


@given(st.dictionaries(st.integers(0, 2**31), st.integers(0, 2**62), max_size=8))
def test_a_note_is_read_as_it_was_written(ends: dict[int, int]) -> None:
    """A note survives encoding, offsets by partition included."""
    note = Note(state=State.SENDING, run="a", at_ms=1, ends=ends)
    assert msgspec.json.decode(msgspec.json.encode(note), type=Note) == note


def test_a_claim_that_was_given_up_counts_no_more() -> None:
    """A run that ran out of time claims again, after another run has: only the other run may send."""
    log = FakeLog()
    first = ledger(log, "a")
    assert list(first.claim([KEY], sender(log))) == [KEY]
    first.finish({KEY: State.NOT_TAKEN}, sender(log))
    assert list(ledger(log, "b").claim([KEY], sender(log))) == [KEY]
    assert first.claim([KEY], sender(log)) == {}


def test_a_dead_letter_without_time_left_is_free_again() -> None:
    """Sent too late, it could arrive after another run has looked for it in vain and sent it as well."""
    log = FakeLog()
    ours, target = ledger(log, "a"), sender(log)
    target.in_time = 1
    raw = Record(topic=TARGET, partition=0, offset=5, timestamp_ms=1, key=None, value=b"{}")
    letters = [letter for letter in (read(lying(raw, offset=offset)) for offset in (42, 43)) if letter is not None]
    plan = ReplayPlan(
        selection=Selection(), target=TARGET, most_replays=3, again=False, refused=lambda *_: None, say=lambda _: None
    )
    report = ReplayReport(target=TARGET)

    with pytest.raises(ReplayError, match="the first record for content took more than 10 s"):
        Sending(ledger=ours, sender=target, plan=plan, report=report).send(letters)
    assert report.sent == 1
    after = ledger(log, "b")
    assert [after.standing(key_of(letter, TARGET)) for letter in letters] == [Standing.SENT, Standing.FREE]
