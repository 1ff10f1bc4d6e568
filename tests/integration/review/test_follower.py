"""The store on a real broker: it is filled from the topics, comes back when it is deleted, and heals after a kill."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.answers import answer_id, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.reports import Report, write_report
from tagstream.stream.follower import MismatchError
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.review.answer_saver import AnswerSaver, Saved
from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.store.records import Claim, Door, unix_ms
from tagstream.stream.review.store.store import Store, open_store
from tagstream.stream.settings.settings import Settings
from tests.answering import answer, audited, decided, reviewed
from tests.console.real_console import answers_in, is_ready
from tests.replacing import replace
from tests.waiting import until

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


def standing(store: Store, count: int) -> list[tuple[Any, ...]]:
    """Every item that is served, in its order, when so many are open."""
    until(lambda: store.queue.figures().length == count, f"{count} items are open", state=store.queue.figures)
    found = []
    while (claim := store.queue.claim("reader")) is not None:
        found.append((claim.item, claim.door, claim.version, claim.supersedes))
        store.queue.skip(claim.item.event.id, claim.token)
    return found


def test_a_deleted_store_comes_back(settings: Settings, tmp_path: Path, send: Any) -> None:
    """The queue is the same as before: what was asked, minus what was answered, with the reports."""
    published, records = sure("tagged"), [unsure(str(number), age_ms=number) for number in range(20)]
    answers = [reviewed(record, answer(record, "other", now_ms=NOW_MS)) for record in records[:5]]
    send(*records, published, replace(audited(published), topic="audit"), *answers, report("7"))
    # Neither stops the following: a record of no contract, and an answer on an event that no one was asked about.
    send(Record(topic="reviewed", key=b"x", value=b"{]"), Record(topic="review", key=None, value=None))
    with opened(tmp_path) as store, StoreFollower(store, settings) as follower:
        until(lambda: is_ready(follower), "the answers are read")
        first = standing(store, 16)
        assert [door for _, door, _, _ in first[:3]] == [Door.AUDIT, Door.USER_REPORT, Door.REVIEW]
        assert store.queue.figures().answered == 5
        [total] = [total for total in store.samples.totals(0, 2 * NOW_MS) if total.destination == "tagged"]
        assert total.decisions == 1
        assert follower.unreadable == 2
    for file in tmp_path.glob("store.db*"):
        file.unlink()
    with opened(tmp_path) as store, StoreFollower(store, settings) as follower:
        until(lambda: is_ready(follower), "the answers are read")
        assert standing(store, 16) == first


def test_a_store_reads_on_where_it_stands(settings: Settings, tmp_path: Path, send: Any) -> None:
    """A restart reads what is new and counts nothing twice."""
    send(unsure("first"))
    for name, count in (("second", 1), ("third", 2)):
        with opened(tmp_path) as store, StoreFollower(store, settings) as follower:
            until(lambda: is_ready(follower), "the answers are read")
            until(lambda: store.queue.figures().length == count, "the items are there", state=store.queue.figures)  # noqa: B023
        send(unsure(name))
    with opened(tmp_path) as store:
        assert sum(store.writer.positions().values()) == 2


def test_a_console_that_is_killed_before_the_mark_loses_nothing(
    settings: Settings, environ: dict[str, str], tmp_path: Path, processes: Processes, send: Any
) -> None:
    """Kill -9 between the brokers' word and the mark: the answer is on the topic, and no reviewer is shown the item again."""
    send(unsure("a"), unsure("b", age_ms=1))
    with opened(tmp_path) as store, StoreFollower(store, settings) as follower:
        until(lambda: is_ready(follower), "the answers are read")
        until(lambda: store.queue.figures().length == 2, "the items are there", state=store.queue.figures)
    argv = [sys.executable, "-m", "tests.integration.review.killed", url(tmp_path), "ann", "other"]
    process = processes.start(argv, env=environ, log_file=tmp_path / "killed.log")
    until(lambda: not process.running(), "the console is killed", state=process.output)
    assert process.exit_code == -signal.SIGKILL, process.output()

    with log_of(settings, settings.topics.reviewed) as log:
        [record] = log.read()
    said = read_answer(record).answer  # type: ignore[union-attr]
    with opened(tmp_path) as store:
        # Before anything was read again: the item is nobody's, not even its reviewer's.
        other = store.queue.claim("ann")
        assert other is not None
        assert other.item.event.id != said.event_id
        store.queue.release(other.item.event.id, other.token)
        with StoreFollower(store, settings) as follower:
            until(lambda: is_ready(follower), "the answers are read")
            assert [given.tag for given in answers_in(store)] == ["other"]
            assert [item.event.id for item, *_ in standing(store, 1)] == [other.item.event.id]


def test_an_answer_of_one_console_is_seen_by_the_other(settings: Settings, tmp_path: Path, send: Any) -> None:
    """Each console has a store of its own here; the topic is what they share. An undo at the other one replaces the answer."""
    here, there = tmp_path / "here", tmp_path / "there"
    send(unsure("a"))
    with (
        opened(here) as one,
        opened(there) as other,
        StoreFollower(one, settings) as follower,
        StoreFollower(other, settings) as second,
        verbatim_sender(settings, idempotent=True) as sender,
    ):
        until(lambda: is_ready(follower), "the answers are read")
        until(lambda: is_ready(second), "the answers are read")
        claim = until(lambda: one.queue.claim("ann"), "the item is there", state=one.queue.figures)
        assert claim is not None
        first = AnswerSaver(one, sender, settings.topics).save("a", claim.token, "other")
        assert isinstance(first, Saved)
        until(lambda: answers_in(other), "the answer is there", state=other.queue.figures)
        undone = other.queue.reopen("a", "bob")
        assert isinstance(undone, Claim)
        second_answer = AnswerSaver(other, sender, settings.topics).save("a", undone.token, "mlops")
        assert isinstance(second_answer, Saved)
        until(lambda: len(answers_in(one)) == 2, "the correction is there", state=one.queue.figures)
        assert answers_in(one) == answers_in(other)
        assert [given.answer_id for given in answers_in(one)] == [answer_id(first.answer), answer_id(second_answer.answer)]
        assert answers_in(one)[-1].supersedes == answer_id(first.answer)


def test_a_report_brings_a_tagged_event_before_a_reviewer(settings: Settings, tmp_path: Path, send: Any) -> None:
    """The decision is looked up on `tagged`; a report about an event that nobody knows waits."""
    send(*(sure(str(number)) for number in range(5)))
    with opened(tmp_path) as store, StoreFollower(store, settings) as follower:
        until(lambda: is_ready(follower), "the answers are read")
        send(report("3"), report("nobody knows this"))
        claim = until(lambda: store.queue.claim("ann"), "the reported event is asked about", state=store.queue.figures)
        assert claim is not None
        assert (claim.item.event.id, claim.door) == ("3", Door.USER_REPORT)
        assert claim.reports[0].suggested_tag == "other"
        assert store.queue.figures().unmatched_reports == 1


def test_a_store_of_another_cluster_is_refused(settings: Settings, tmp_path: Path) -> None:
    """It stands behind the end of a topic, so it would miss what comes next."""
    with opened(tmp_path) as store:
        store.writer.fill([], {(settings.topics.reviewed, 0): 1000})
        with StoreFollower(store, settings) as follower, pytest.raises(MismatchError, match="delete the store"):
            until(lambda: is_ready(follower), "the answers are read")
