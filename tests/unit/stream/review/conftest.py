"""A store in a file, and the brokers that saving speaks to."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.producer import CONFIRM_SECONDS, UndeliveredError
from tagstream.stream.review.answer_saver import AnswerSaver
from tagstream.stream.review.store.queue import SAVING_MS
from tagstream.stream.review.store.store import Store, open_store
from tagstream.stream.settings.topics import Topics
from tests.unit.stream.review.store.making import Clock


class Brokers:
    """Takes records, or fails with what a test says: an error for each record in turn, or one that is raised."""

    def __init__(self) -> None:
        """Take everything."""
        self.records: list[Record] = []
        self.results: list[UndeliveredError | None] = []
        self.raised: Exception | None = None

    def deliver(self, records: Sequence[Record], *, until: float) -> list[UndeliveredError | None]:
        """Keep the records that do not fail."""
        assert 0 < until - time.monotonic() < SAVING_MS / 1000 - CONFIRM_SECONDS
        if self.raised is not None:
            raise self.raised
        results = (self.results + [None] * len(records))[: len(records)]
        self.records += [record for record, error in zip(records, results, strict=True) if error is None]
        return results


@pytest.fixture(autouse=True)
def _counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine counts slowly; the figures of a test are still those of its moment, and not used again."""
    monkeypatch.setattr("tagstream.stream.review.store.queue.LONG_SECONDS", float("inf"))


@pytest.fixture
def clock() -> Clock:
    """The time of store and saving."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty store."""
    with open_store(f"sqlite:///{tmp_path}/store.db", clock=clock, second_opinion_rate=0.0) as opened:
        yield opened


@pytest.fixture
def brokers() -> Brokers:
    """The brokers."""
    return Brokers()


@pytest.fixture
def saving(store: Store, brokers: Brokers, clock: Clock) -> AnswerSaver:
    """Saves answers of the store by the brokers."""
    return AnswerSaver(store, brokers, Topics(), clock=clock)
