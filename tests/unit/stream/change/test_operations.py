"""What `tagstream rollout` does on the records of a topic, without brokers."""

import contextlib
from collections.abc import Iterator

import pytest

from tagstream.stream.change import operations
from tagstream.stream.change.operations import RolloutError, at_moment
from tagstream.stream.contract.rollout import Partition
from tagstream.stream.settings.settings import Settings
from tests.unit.stream.rollout.test_epochs import change, folded, start

OLD, NEW = (Partition(topic="content", topic_id=topic_id, partition=0) for topic_id in ("old", "new"))
SETTINGS = Settings()


class Offsets:
    """The log of `content`: the offsets at any moment."""

    def offsets_since(self, _: int) -> dict[int, int]:
        """Of the topic that is there now."""
        return {0: 3, 1: 0}


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers whose topic `content` was made again, with a partition more."""

    @contextlib.contextmanager
    def log_of(*_: object) -> Iterator[Offsets]:
        yield Offsets()

    monkeypatch.setattr(operations, "log_of", log_of)
    monkeypatch.setattr(operations, "rollout_topic", lambda _: {"content": "new"})


@pytest.mark.usefixtures("brokers")
def test_a_partition_that_is_not_there_is_an_error() -> None:
    """And no empty answer; one that no record lists is held, and the sentence says what lists it."""
    epochs = folded(start(NEW), *change(1, {NEW: 5}))
    with pytest.raises(RolloutError, match=r"content has no partition 99; there are 2"):
        at_moment(SETTINGS, epochs, 0, 99)
    with pytest.raises(RolloutError, match=r"partition 1 .* in no record.*held.*Next:"):
        at_moment(SETTINGS, epochs, 0, 1)


@pytest.mark.usefixtures("brokers")
def test_a_topic_that_was_made_again_is_not_asked_for_the_offsets_of_the_old_one() -> None:
    """The offset of the new one is answered by its own marks; the old one has none any more."""
    epochs = folded(start(OLD), *change(1, {OLD: 2, NEW: 0}))
    found = [(one.partition, one.offset, one.models and one.models.epoch) for one in at_moment(SETTINGS, epochs, 0)]
    assert found == [(NEW, 3, 1), (OLD, None, None)]
    (only,) = at_moment(SETTINGS, folded(start(OLD), *change(1, {NEW: 0, OLD: None})), 0, 0)[:1]
    assert only.partition == NEW
    with pytest.raises(RolloutError, match="in no record"):
        at_moment(SETTINGS, folded(start(OLD)), 0, 0)
