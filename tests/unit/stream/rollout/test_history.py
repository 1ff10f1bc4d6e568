"""What `tagstream rollout` does on the records of a topic, without brokers."""

import contextlib
from collections.abc import Iterator

import pytest

from tagstream.stream.contract.rollout_records import Partition
from tagstream.stream.rollout import history
from tagstream.stream.rollout.epochs import Epochs
from tagstream.stream.rollout.errors import NoRolloutError, RolloutError
from tagstream.stream.rollout.history import Entry, begun_at, first_events
from tagstream.stream.settings.settings import Settings
from tests.unit.stream.rollout.test_epochs import A, change, folded, start

OLD, NEW = (Partition(topic="content", topic_id=topic_id, partition=0) for topic_id in ("old", "new"))
SETTINGS = Settings()
FAR_MS = 32_472_144_000_000


class Events:
    """The log of `content`."""

    def first_since(self, _: int) -> dict[int, tuple[int, int] | None]:
        """Of the topic that is there now."""
        return {0: (3, 1_700_000_000_000), 1: None}


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers whose topic `content` was made again, with a partition more."""

    @contextlib.contextmanager
    def log_of(*_: object) -> Iterator[Events]:
        yield Events()

    monkeypatch.setattr(history, "log_of", log_of)
    monkeypatch.setattr(history, "rollout_topic", lambda _: {"content": "new"})


@pytest.mark.usefixtures("brokers")
def test_a_partition_that_is_not_there_is_an_error() -> None:
    """And no empty answer; one that no record lists is held, and the sentence says what lists it."""
    epochs = folded(start(NEW), *change(1, {NEW: 5}))
    with pytest.raises(RolloutError, match=r"content has no partition 99; there are 2"):
        first_events(SETTINGS, epochs, 0, 99)
    with pytest.raises(RolloutError, match=r"partition 1 .* in no record.*held.*Next:"):
        first_events(SETTINGS, epochs, 0, 1)


@pytest.mark.usefixtures("brokers")
def test_a_topic_that_was_made_again_is_not_asked_for_the_offsets_of_the_old_one() -> None:
    """The offset of the new one is answered by its own marks; the old one has none any more, and a partition without an event none yet."""
    idle = Partition(topic="content", topic_id="new", partition=1)
    epochs = folded(start(OLD), *change(1, {OLD: 2, NEW: 0, idle: 0}))
    found = [
        (one.partition, one.is_there, one.offset, one.models and one.models.epoch) for one in first_events(SETTINGS, epochs, 0)
    ]
    assert found == [(NEW, True, 3, 1), (idle, True, None, None), (OLD, False, None, None)]
    (only,) = first_events(SETTINGS, folded(start(OLD), *change(1, {NEW: 0, OLD: None})), 0, 0)[:1]
    assert only.partition == NEW
    with pytest.raises(RolloutError, match="in no record"):
        first_events(SETTINGS, folded(start(OLD)), 0, 0)


def entries(*times_ms: int) -> list[Entry]:
    """A start and two epochs, written at these times: seven records."""
    epochs, records = Epochs(), (start(A), *change(1, {A: 5}), *change(2, {A: 9}))
    return [
        Entry(record=record, offset=offset, counts=epochs.take(record), written_ms=written_ms)
        for offset, (record, written_ms) in enumerate(zip(records, times_ms, strict=True))
    ]


@pytest.mark.parametrize(("moment_ms", "epoch"), [(10, 0), (19, 0), (29, 0), (30, 1), (59, 1), (60, 2), (61, 2)])
def test_the_epoch_of_a_moment_is_that_of_the_last_marks_before_it(moment_ms: int, epoch: int) -> None:
    """And not that of a plan or a close; the start is the first."""
    assert begun_at(entries(10, 20, 25, 30, 40, 50, 60), moment_ms).record.epoch == epoch


def test_a_record_of_a_clock_that_is_wrong_alters_no_answer_about_the_time_before_the_others() -> None:
    """The second change was written by a machine whose clock is behind that of the first."""
    before = entries(100, 200, 250, 300, 310, 320, 330)[:4]
    behind = entries(100, 200, 250, 300, 110, 120, 130)
    for moment_ms in (100, 130, 150, 299):
        assert begun_at(behind, moment_ms).record.epoch == begun_at(before, moment_ms).record.epoch == 0
    assert begun_at(behind, 300).record.epoch == 2


def test_before_the_first_record_and_after_now_nothing_is_known() -> None:
    """Not even the model of the start; the sentence says what knows more."""
    found = entries(10, 20, 25, 30, 40, 50, 60)
    for records in (found, []):
        with pytest.raises(NoRolloutError, match=r"is not known from the topic: .* Next: .*model\.digest"):
            begun_at(records, 9)
    with pytest.raises(RolloutError, match=r"^2999.* has not come yet: this machine's clock says 20.* Next:"):
        begun_at(found, FAR_MS)
    # The clock of this machine may be behind that of the brokers.
    late = entries(10, 20, 25, 30, 40, 50, FAR_MS)
    assert begun_at(late, FAR_MS).record.epoch == 2
