"""The store on a real broker: it is filled from the topics, comes back when it is deleted, and heals after a kill."""

import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream.broker.processes import Processes
from stream.contract.answers import read_answer
from stream.contract.record import Record
from stream.contract.reports import Report, write_report
from stream.kafka.producer import verbatim_sender
from stream.kafka.reading.log import log_of
from stream.review.follower import Follower, StoreMismatchError
from stream.review.saving import Saved, Saving
from stream.review.store.facts import Claim, Door
from stream.review.store.store import Store, open_store, unix_ms
from stream.settings.settings import Settings
from tests.answering import answer, audited, decided, reviewed
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

# Decisions of a moment ago: older ones than `KEEP_DAYS` are forgotten.
NOW_MS = unix_ms()


def url(folder: Path) -> str:
    """The store of the test."""
    return f"sqlite:///{folder}/store.db"


def opened(folder: Path) -> Store:
    """Without second opinions, which depend on chance."""
    return open_store(url(folder), second_opinion_rate=0.0)


def unsure(event_id: str, age_ms: int = 0) -> Record:
    """A record of `review`."""
    return decided(f'{{"id":"{event_id}","title":"maybe deployment of {event_id}"}}'.encode(), now_ms=NOW_MS - age_ms)


def sure(event_id: str) -> Record:
    """A record of `tagged`."""
    return decided(f'{{"id":"{event_id}","title":"deployment of {event_id}"}}'.encode(), now_ms=NOW_MS)


@pytest.fixture
def send(settings: Settings) -> Iterator[Any]:
    """Sends records to the topics of the test, each to the partition of its key."""
    with verbatim_sender(settings, idempotent=True) as sender:

        def deliver(*records: Record) -> None:
            there = [replace(record, topic=getattr(settings.topics, record.topic), partition=-1) for record in records]
            assert sender.deliver(there) == [None] * len(records)

        yield deliver


def report(event_id: str) -> Record:
    """A record of `reports`."""
    made = Report(event_id=event_id, suggested_tag="other", reported_at="2027-01-01T00:00:00.000Z")
    return Record(topic="reports", key=event_id.encode(), value=write_report(made))


def standing(store: Store, count: int) -> list[tuple[object, ...]]:
    """Every item that is served, in its order, when so many are open."""
    until(lambda: store.queue().length == count, f"{count} items are open", state=store.queue)
    found = []
    while (claim := store.claim("reader")) is not None:
        found.append((claim.item, claim.door, claim.version, claim.supersedes))
        store.skip(claim.item.event_id, claim.token)
    return found


def test_a_deleted_store_comes_back(settings: Settings, tmp_path: Path, send: Any) -> None:
    """The queue is the same as before: what was asked, minus what was answered, with the reports."""
    published, records = sure("tagged"), [unsure(str(number), age_ms=number) for number in range(20)]
    answers = [reviewed(record, answer(record, "other", now_ms=NOW_MS)) for record in records[:5]]
    send(*records, published, replace(audited(published), topic="audit"), *answers, report("7"))
    # Neither stops the following: a record of no contract, and an answer on an event that no one was asked about.
    send(Record(topic="reviewed", key=b"x", value=b"{]"), Record(topic="review", key=None, value=None))
    with opened(tmp_path) as store, Follower(store, settings) as follower:
        assert follower.await_ready(HANG_SECONDS)
        first = standing(store, 16)
        assert [door for _, door, _, _ in first[:3]] == [Door.AUDIT, Door.USER_REPORT, Door.REVIEW]
        assert store.queue().answered == 5
        [total] = [total for total in store.totals(0, 2 * NOW_MS) if total.destination == "tagged"]
        assert total.decisions == 1
        assert follower.unreadable == 2
    for file in tmp_path.glob("store.db*"):
        file.unlink()
    with opened(tmp_path) as store, Follower(store, settings) as follower:
        assert follower.await_ready(HANG_SECONDS)
        assert standing(store, 16) == first


def test_a_store_reads_on_where_it_stands(settings: Settings, tmp_path: Path, send: Any) -> None:
    """A restart reads what is new and counts nothing twice."""
    send(unsure("first"))
    for name, count in (("second", 1), ("third", 2)):
        with opened(tmp_path) as store, Follower(store, settings) as follower:
            assert follower.await_ready(HANG_SECONDS)
            until(lambda: store.queue().length == count, "the items are there", state=store.queue)  # noqa: B023
        send(unsure(name))
    with opened(tmp_path) as store:
        assert sum(store.positions().values()) == 2


def test_a_console_that_is_killed_before_the_mark_loses_nothing(
    settings: Settings, environ: dict[str, str], tmp_path: Path, processes: Processes, send: Any
) -> None:
    """Kill -9 between the brokers' word and the mark: the answer is on the topic, and no reviewer is shown the item again."""
    send(unsure("a"), unsure("b", age_ms=1))
    with opened(tmp_path) as store, Follower(store, settings) as follower:
        assert follower.await_ready(HANG_SECONDS)
        until(lambda: store.queue().length == 2, "the items are there", state=store.queue)
    argv = [sys.executable, "-m", "tests.integration.review.killed", url(tmp_path), "ann", "other"]
    process = processes.start(argv, env=environ, log_file=tmp_path / "killed.log")
    until(lambda: not process.running(), "the console is killed", state=process.output)
    assert process.exit_code == -signal.SIGKILL, process.output()

    with log_of(settings, settings.topics.reviewed) as log:
        [record] = log.read(log.starts(), log.ends())
    said = read_answer(record).answer  # type: ignore[union-attr]
    with opened(tmp_path) as store:
        # Before anything was read again: the item is nobody's, not even its reviewer's.
        other = store.claim("ann")
        assert other is not None
        assert other.item.event_id != said.event_id
        store.release(other.item.event_id, other.token)
        with Follower(store, settings) as follower:
            assert follower.await_ready(HANG_SECONDS)
            assert [given.tag for given in store.answers(said.event_id)] == ["other"]
            assert [item.event_id for item, *_ in standing(store, 1)] == [other.item.event_id]


def test_an_answer_of_one_console_is_seen_by_the_other(settings: Settings, tmp_path: Path, send: Any) -> None:
    """Each console has a store of its own here; the topic is what they share. An undo at the other one replaces the answer."""
    here, there = tmp_path / "here", tmp_path / "there"
    send(unsure("a"))
    with (
        opened(here) as one,
        opened(there) as other,
        Follower(one, settings) as follower,
        Follower(other, settings) as second,
        verbatim_sender(settings, idempotent=True) as sender,
    ):
        assert follower.await_ready(HANG_SECONDS)
        assert second.await_ready(HANG_SECONDS)
        claim = until(lambda: one.claim("ann"), "the item is there", state=one.queue)
        assert claim is not None
        first = Saving(one, sender, settings.topics).save("a", claim.token, "other")
        assert isinstance(first, Saved)
        until(lambda: other.answers("a"), "the answer is there", state=other.queue)
        undone = other.reopen("a", "bob")
        assert isinstance(undone, Claim)
        second_answer = Saving(other, sender, settings.topics).save("a", undone.token, "mlops")
        assert isinstance(second_answer, Saved)
        until(lambda: len(one.answers("a")) == 2, "the correction is there", state=one.queue)
        assert one.answers("a") == other.answers("a") == [first.answer, second_answer.answer]
        assert one.answers("a")[-1].supersedes == first.answer.answer_id


def test_a_report_brings_a_tagged_event_before_a_reviewer(settings: Settings, tmp_path: Path, send: Any) -> None:
    """The decision is looked up on `tagged`; a report about an event that nobody knows waits."""
    send(*(sure(str(number)) for number in range(5)))
    with opened(tmp_path) as store, Follower(store, settings) as follower:
        assert follower.await_ready(HANG_SECONDS)
        send(report("3"), report("nobody knows this"))
        claim = until(lambda: store.claim("ann"), "the reported event is asked about", state=store.queue)
        assert claim is not None
        assert (claim.item.event_id, claim.door) == ("3", Door.USER_REPORT)
        assert claim.reports[0].suggested_tag == "other"
        assert store.queue().unmatched_reports == 1


def test_a_store_of_another_cluster_is_refused(settings: Settings, tmp_path: Path) -> None:
    """It stands behind the end of a topic, so it would miss what comes next."""
    with opened(tmp_path) as store:
        store.fill([], {(settings.topics.reviewed, 0): 1000})
        with Follower(store, settings) as follower, pytest.raises(StoreMismatchError, match="delete the store"):
            follower.await_ready(HANG_SECONDS)
