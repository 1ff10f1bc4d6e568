"""The fold over the records of `rollout`: it obeys what the protocol allows in its place, and nothing else."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.rollout_records import (
    MAX_EPOCH,
    Abort,
    BundleName,
    Challenger,
    Close,
    GateReading,
    Guards,
    Mark,
    Marks,
    Partition,
    Plan,
    RolloutRecord,
    RolloutRecordError,
    Start,
    Verdict,
    read_rollout,
    write_rollout,
)
from tagstream.stream.rollout.epochs import MOST_LEAP, Epochs, Models
from tagstream.stream.rollout.rollback_target import champion_before

MOMENT = "2026-01-01T00:00:00.000Z"
A, B, C = (Partition(topic="content", topic_id="a", partition=number) for number in range(3))


def name(number: int) -> BundleName:
    """A bundle's name."""
    return BundleName(digest=f"{number:064d}", name="b", version=str(number))


def start(*partitions: Partition) -> Start:
    """The first record."""
    return Start(epoch=0, at=MOMENT, by="t", group="tagstream", champion=name(0), partitions=partitions)


def plan(number: int) -> Plan:
    """A plan."""
    return Plan(epoch=number, at=MOMENT, by="t", champion=name(number))


def close(number: int) -> Close:
    """A close."""
    return Close(epoch=number, at=MOMENT, by="t")


def marks(number: int, offsets: dict[Partition, int | None]) -> Marks:
    """Marks."""
    return Marks(epoch=number, at=MOMENT, by="t", marks=tuple(Mark(at=at, offset=offset) for at, offset in offsets.items()))


def abort(number: int) -> Abort:
    """An abort."""
    return Abort(epoch=number, at=MOMENT, by="t")


def verdict(number: int) -> Verdict:
    """A verdict."""
    gates = (GateReading(name="answers", state="passes", says="s", figures={"answers": 31.0}),)
    return Verdict(epoch=number, at=MOMENT, by="t", challenger=name(9), decision="promote", days=1.5, gates=gates)


def folded(*records: RolloutRecord) -> Epochs:
    """The records, folded."""
    epochs = Epochs()
    for record in records:
        epochs.take(record)
    return epochs


def change(number: int, offsets: dict[Partition, int | None]) -> tuple[RolloutRecord, ...]:
    """A whole change."""
    return plan(number), close(number), marks(number, offsets)


def test_an_epoch_begins_at_its_mark_in_each_partition() -> None:
    """Below it the epoch before decides, in each partition apart."""
    epochs = folded(start(A, B), *change(1, {A: 5, B: 0}), *change(2, {A: 9, B: 3}))
    assert [epochs.epoch_of(A, offset) for offset in (0, 4, 5, 8, 9, 10**12)] == [0, 0, 1, 1, 2, 2]
    assert [epochs.epoch_of(B, offset) for offset in (0, 2, 3)] == [1, 1, 2]
    assert [models.champion for models in epochs.begun()] == [name(0), name(1), name(2)]


def test_between_close_and_marks_no_event_may_begin() -> None:
    """Nor one of a partition that no record lists; before the start all may."""
    assert folded().may_begin({A})
    epochs = folded(start(A))
    assert epochs.may_begin({A})
    assert not epochs.may_begin({A, B})
    epochs.take(plan(1))
    assert epochs.may_begin({A})
    epochs.take(close(1))
    assert not epochs.may_begin({A})
    epochs.take(abort(1))
    assert epochs.may_begin({A})
    assert epochs.epoch_of(A, 10**6) == 0


def test_a_new_partition_belongs_to_the_newest_epoch_from_its_beginning() -> None:
    """Its first listing is offset 0 whatever it says: its events were held until then."""
    epochs = folded(start(A), *change(1, {A: 5}), marks(1, {B: 7}))
    assert epochs.epoch_of(B, 0) == 1
    epochs = folded(start(A), *change(1, {A: 5, B: 7}))
    assert epochs.epoch_of(B, 0) == 1


def test_a_partition_that_is_gone_does_not_stop_the_next_epoch() -> None:
    """It stays in the epoch before."""
    epochs = folded(start(A, B), *change(1, {A: 5, B: None}))
    assert epochs.newest == 1
    assert epochs.epoch_of(B, 10**6) == 0


@pytest.mark.parametrize(
    "foreign",
    [
        start(A),
        plan(1),
        plan(0),
        close(2),
        close(1),
        marks(1, {A: 0}),
        marks(0, {B: 0}),
        marks(2, {A: 9}),
        abort(1),
        abort(9),
        marks(1, {}),
        verdict(2),
    ],
    ids=lambda record: f"{type(record).__name__} {record.epoch}",
)
def test_a_record_out_of_its_place_changes_nothing(foreign: RolloutRecord) -> None:
    """A late, repeated or mistaken one means the same to all who read it: nothing."""
    before = (start(A), *change(1, {A: 5}))
    epochs = folded(*before)
    assert epochs.take(foreign) is False
    assert epochs == folded(*before)


def test_a_plan_far_above_all_numbers_does_not_use_them_up() -> None:
    """The next one counts, and so does one behind a gap, as a topic has that was put together again from its readable records."""
    epochs = folded(start(A), plan(MAX_EPOCH), plan(MOST_LEAP + 1))
    assert epochs == folded(start(A))
    assert epochs.take(plan(MOST_LEAP))
    assert epochs.next_epoch == MOST_LEAP + 1


def test_a_verdict_is_evidence_and_changes_no_epoch() -> None:
    """It counts for an epoch that has begun, and for a plan, and the models are as before."""
    records = (start(A), *change(1, {A: 5}), plan(2))
    epochs = folded(*records)
    assert [epochs.take(verdict(number)) for number in (0, 1, 2, 3)] == [True, True, True, False]
    assert epochs == folded(*records)


def test_an_epoch_knows_the_guards_of_its_plan() -> None:
    """Whoever judges a challenger reads them from the topic, as they were fixed before its first answer."""
    guarded = Plan(epoch=1, at=MOMENT, by="t", champion=name(1), guards=Guards(margin=0.02))
    models = folded(start(A), guarded, close(1), marks(1, {A: 5})).models(1)
    assert models.guards == Guards(margin=0.02)
    assert models.decides_as(Models.of(plan(1)))


def test_marks_that_leave_a_known_partition_out_are_no_marks() -> None:
    """Whoever wrote them had read only a part of the topic; the stream is held until marks that list all."""
    epochs = folded(start(A, B), plan(1), close(1))
    assert epochs.take(marks(1, {A: 5})) is False
    assert not epochs.may_begin({A})
    assert epochs.take(marks(1, {A: 5, B: 6})) is True
    assert epochs.may_begin({A, B})


RECORDS = st.one_of(
    st.builds(start, st.sampled_from([A, B])),
    st.integers(0, 4).map(plan),
    st.integers(0, 4).map(close),
    st.integers(0, 4).map(abort),
    st.integers(0, 4).map(verdict),
    st.builds(marks, st.integers(0, 4), st.dictionaries(st.sampled_from([A, B, C]), st.one_of(st.none(), st.integers(0, 9)))),
)


@given(st.lists(RECORDS, max_size=30), st.lists(RECORDS, max_size=10))
def test_later_records_give_no_other_epoch_below_the_next_marks(
    records: list[RolloutRecord], later: list[RolloutRecord]
) -> None:
    """Below every mark of a later epoch, an event keeps the epoch that it had."""
    epochs = folded(start(A), *records)
    known = [(at, offset, epochs.epoch_of(at, offset)) for at in epochs.partitions for offset in range(10)]
    lowest: dict[Partition, int] = {}
    for record in later:
        newest = epochs.newest
        epochs.take(record)
        if epochs.newest != newest and isinstance(record, Marks):
            for mark in record.marks:
                if mark.offset is not None:
                    lowest[mark.at] = min(lowest.get(mark.at, mark.offset), mark.offset)
    for at, offset, epoch in known:
        if offset < lowest.get(at, 10):
            assert epochs.epoch_of(at, offset) == epoch


@given(st.lists(RECORDS, max_size=20))
def test_a_record_is_read_as_it_was_written(records: Iterable[RolloutRecord]) -> None:
    """Through its bytes."""
    for record in records:
        assert read_rollout(Record(key=None, value=write_rollout(record))) == record


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        b'"close"',
        b'{"kind":"swap","epoch":1}',
        b'{"kind":"close","epoch":-1,"at":"2026-01-01T00:00:00.000Z","by":"x"}',
        b'{"kind":"plan","epoch":1000000001,"at":"2026-01-01T00:00:00.000Z","by":"x"}',
        b'{"kind":"close","epoch":1,"at":"2026-01-01T00:00:00.000Z","by":"x"',
    ],
)
def test_what_no_version_has_written_means_nothing(value: bytes | None) -> None:
    """It lacks a field that every record has, or its number is none: it cannot name a model, and nobody ends by it."""
    assert read_rollout(Record(key=None, value=value, topic="rollout", partition=0, offset=7)) is None


@pytest.mark.parametrize(
    "value",
    [
        b'{"kind":"swap","epoch":1,"at":"later","by":""}',
        b'{"kind":"close","epoch":1,"at":"2026-01-01T00:00:00.000Z","by":"x","more":1}',
        b'{"kind":"plan","epoch":1,"at":"2026-01-01T00:00:00.000Z","by":"x","champion":7}',
    ],
)
def test_a_record_of_a_later_version_is_an_error(value: bytes) -> None:
    """It may name the model that decides, so it is never left out; the message has its place, and what to do."""
    with pytest.raises(RolloutRecordError, match=r"at offset 7.*Next:"):
        read_rollout(Record(key=None, value=value, topic="rollout", partition=0, offset=7))


@pytest.mark.parametrize(
    ("champions", "expected"),
    [
        ([0], None),
        ([0, 1], 0),
        ([0, 1, 2], 1),
        ([0, 1, 2, 1], 0),
        ([0, 1, 2, 1, 0], None),
        ([0, 1, 0, 2], 0),
        ([0, 1, 0, 1], 0),
    ],
)
def test_going_back_twice_does_not_go_forth_again(champions: list[int], expected: int | None) -> None:
    """Epochs are a stack: a rollback that is repeated, since the first was cut off, does not bring the bad bundle back."""
    begun = [Models(epoch=number, champion=name(champion)) for number, champion in enumerate(champions)]
    found = champion_before(begun)
    assert (None if found is None else found.champion) == (None if expected is None else name(expected))


def test_a_challenger_that_came_and_went_is_no_model_to_go_back_to() -> None:
    """Its epochs lie between two of one champion."""
    other = Challenger(bundle=name(9), share=0.5, unit="key", salt="s")
    begun = [
        Models(epoch=0, champion=name(0)),
        Models(epoch=1, champion=name(1)),
        Models(epoch=2, champion=name(1), challenger=other),
        Models(epoch=3, champion=name(1)),
    ]
    found = champion_before(begun)
    assert found is not None
    assert found.epoch == 0


def test_an_epoch_that_asks_people_is_another_way_to_decide() -> None:
    """By the same model: going back from it is possible, and so is going to it."""
    asking = Models(epoch=2, champion=name(1), asks_people=True)
    begun = [Models(epoch=0, champion=name(0)), Models(epoch=1, champion=name(1)), asking]
    assert not asking.decides_as(begun[1])
    assert champion_before(begun) == begun[1]
