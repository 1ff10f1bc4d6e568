"""The follower without brokers: a failure in the middle is tried again and loses nothing, and no wait is without a bound."""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tagstream.stream import follower
from tagstream.stream.contract.event import Record
from tagstream.stream.database.database import DatabaseRefusedError, DatabaseUnavailableError
from tagstream.stream.follower import MismatchError
from tagstream.stream.kafka.errors import BrokerSilentError
from tagstream.stream.kafka.reading.reader import Place, Reader
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tables import follower as table_follower
from tagstream.stream.tables.follower import TableFollower
from tagstream.stream.tables.predictions import Predictions, open_predictions
from tagstream.stream.tables.row import PredictionRow
from tests.replacing import replace
from tests.unit.stream.tables.table_rows import corrected, model, row

BOUND = Settings(brokers="127.0.0.1:1", startup_timeout_seconds=0.1)


class Topics(Reader):
    """A topic of one partition; a poll brings one record, then what a test says, and at last nothing."""

    def __init__(self, records: list[Record], *, start: int = 0, silent_from: int | None = None) -> None:
        """Hold these records; from an offset on the brokers may be silent."""
        super().__init__(None, BOUND, ["tagged"])
        self.records = records
        self.start = start
        self.silent_from = len(records) if silent_from is None else silent_from

    def partitions(self) -> list[Place]:
        """One."""
        return [("tagged", 0)]

    def starts(self, *_: object, **__: object) -> dict[Place, int]:
        """Where retention has come to."""
        return {("tagged", 0): self.start}

    def ends(self, *_: object, **__: object) -> dict[Place, int]:
        """Behind the records."""
        return {("tagged", 0): len(self.records)}

    def poll(self, _: object = None) -> list[Record]:
        """The next record."""
        at = self.positions["tagged", 0]
        if at >= self.silent_from:
            self.moved = {}
            return []
        self.moved = {("tagged", 0): at + 1}
        self.positions |= self.moved
        return [replace(self.records[at], topic="tagged", partition=0, offset=at)]


class AtOnce(Topics):
    """A poll brings all records together."""

    def poll(self, _: object = None) -> list[Record]:
        """The records."""
        return [record for _ in self.records for record in super(AtOnce, self).poll()]


@pytest.fixture
def predictions(tmp_path: Path) -> Iterator[Predictions]:
    """An empty table that follows topics."""
    with open_predictions(f"sqlite:///{tmp_path}/tags.db", followed=True) as opened:
        yield opened


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> list[Topics]:
    """The answers that each connection finds, one after the other; the last one again and again."""
    found: list[Topics] = []

    @contextlib.contextmanager
    def reader_of(*_: object) -> Iterator[Topics]:
        yield found.pop(0) if len(found) > 1 else found[0]

    monkeypatch.setattr(follower, "reader_of", reader_of)
    monkeypatch.setattr(table_follower.admin, "require", lambda *_, **__: None)
    monkeypatch.setattr(follower, "AGAIN_SECONDS", 0.0)
    return found


def test_what_was_written_and_left_out_is_counted(predictions: Predictions, topics: list[Topics]) -> None:
    """A repetition is read and not written; a record of no contract is left out."""
    records = corrected("e-1", ["other"])
    topics.append(Topics([*records, records[0], Record(key=None, value=b"{]")]))
    done = TableFollower(BOUND, predictions, once=True)
    done.run()
    assert (done.decisions, done.written, done.unreadable) == (4, 2, 1)
    assert predictions.newest("e-1") == row(records[1])
    assert predictions.positions() == {("tagged", 0): 4}


def test_a_database_that_fails_in_the_middle_is_tried_again(
    predictions: Predictions, topics: list[Topics], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record whose write failed is read again from the position in the table."""
    records = [model(f"e-{number}") for number in range(4)]
    topics += [Topics(records), Topics(records)]
    stop = threading.Event()
    whole = Predictions.upsert
    calls = iter(range(100))

    def upsert(self: Predictions, rows: object, reached: object = None) -> int:
        if next(calls) == 2:
            msg = "the table does not answer"
            raise DatabaseUnavailableError(msg)
        done = whole(self, rows, reached)  # type: ignore[arg-type]
        if self.known([row(records[-1]).prediction_id]):
            stop.set()
        return done

    monkeypatch.setattr(Predictions, "upsert", upsert)
    done = TableFollower(BOUND, predictions, stop)
    done.run()
    assert done.written == 4
    assert [predictions.newest(f"e-{number}") for number in range(4)] == [row(record) for record in records]


def test_a_failure_is_raised_where_it_runs_once(
    predictions: Predictions, topics: list[Topics], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller sees the exit code."""
    topics.append(Topics([model()]))
    monkeypatch.setattr(Predictions, "upsert", lambda *_: (_ for _ in ()).throw(DatabaseUnavailableError("away")))
    with pytest.raises(DatabaseUnavailableError, match="away"):
        TableFollower(BOUND, predictions, once=True).run()


def test_brokers_that_keep_records_back_end_a_single_run(predictions: Predictions, topics: list[Topics]) -> None:
    """It does not wait for ever for what they do not send; what came before is written."""
    topics.append(Topics([model("e-1"), model("e-2")], silent_from=1))
    with pytest.raises(BrokerSilentError, match="tagged 0 stands at 1 of 2"):
        TableFollower(BOUND, predictions, once=True).run()
    assert predictions.newest("e-1") is not None
    assert predictions.positions() == {("tagged", 0): 1}


def test_records_that_retention_took_are_told(predictions: Predictions, topics: list[Topics]) -> None:
    """It reads on at the first record that is there."""
    predictions.upsert([], {("tagged", 0): 1})
    topics.append(Topics([model(f"e-{number}") for number in range(4)], start=3))
    with capture_logs() as told:
        done = TableFollower(BOUND, predictions, once=True)
        done.run()
    assert (done.decisions, predictions.positions()) == (1, {("tagged", 0): 4})
    assert [one["records"] for one in told if one["event"] == "records_gone"] == [2]


def test_a_table_that_stands_behind_the_end_is_refused(predictions: Predictions, topics: list[Topics]) -> None:
    """It would miss what comes next."""
    predictions.upsert([], {("tagged", 0): 9})
    topics.append(Topics([model()]))
    with pytest.raises(MismatchError, match="up to 9, and the topic ends at 1"):
        TableFollower(BOUND, predictions).run()


def test_a_row_that_the_database_refuses_keeps_no_other_out(
    predictions: Predictions, topics: list[Topics], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left out, told and counted; the rows beside it are written, and the follower reads on behind them."""
    records = [model(f"e-{number}") for number in range(3)]
    topics.append(AtOnce(records))
    refused = row(records[1])
    whole = Predictions.upsert

    def upsert(self: Predictions, rows: Iterable[PredictionRow], reached: Mapping[Place, int] | None = None) -> int:
        found = list(rows)
        if refused in found:
            msg = "it does not take a value"
            raise DatabaseRefusedError(msg)
        return whole(self, found, reached)

    monkeypatch.setattr(Predictions, "upsert", upsert)
    with capture_logs() as told:
        done = TableFollower(BOUND, predictions, once=True)
        done.run()
    assert (done.decisions, done.written, done.unreadable) == (3, 2, 1)
    assert [predictions.newest(f"e-{number}") is None for number in range(3)] == [False, True, False]
    assert predictions.positions() == {("tagged", 0): 3}
    assert [(one["offset"], one["why"]) for one in told if one["event"] == "record_left_out"] == [
        (1, "it does not take a value")
    ]
