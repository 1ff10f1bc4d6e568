"""People's work in the store: the time of an answer, and how many there are by day and bundle."""

from tagstream.monitoring.quality.feedback import PAUSE_MS
from tagstream.stream.contract.answers import AnsweredEvent
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.review.store.queue import LEASE_MS
from tagstream.stream.review.store.store import Store
from tagstream.stream.review.store.work import PeoplesWork
from tests.unit.stream.review.store.making import HOUR_MS, MINUTE_MS, MODEL, SECOND_MS, START_MS, answer, item, report, review

DAY_MS = 24 * HOUR_MS
TODAY_MS = START_MS // DAY_MS * DAY_MS
OTHER = ModelRef(name="tiny", version="2", digest="e" * 64)


def said(event_id: str, after_ms: int, reviewer: str = "ann", *, model: ModelRef = MODEL, **given: str) -> AnsweredEvent:
    """An answer this long after the start."""
    return answer(event_id, START_MS + after_ms, of=item(event_id, model=model), reviewer=reviewer, **given)


def work(store: Store) -> PeoplesWork:
    """Of the two days around the start."""
    return store.work.of(START_MS - DAY_MS, START_MS + DAY_MS)


def test_an_answer_takes_the_time_since_the_persons_last_one(store: Store) -> None:
    """Of each person alone; the first answer has no time, and neither has one after a break of more than ten minutes."""
    store.writer.fill([review(one) for one in "abcdef"], {})
    given = [said("a", 0), said("b", 5 * SECOND_MS), said("c", 12 * SECOND_MS), said("d", 11 * MINUTE_MS)]
    store.writer.fill([*given, said("e", SECOND_MS, "bob"), said("f", 21 * SECOND_MS, "bob")], {})
    assert sorted(work(store).times_ms.tolist()) == [5 * SECOND_MS, 7 * SECOND_MS, 20 * SECOND_MS]
    assert PAUSE_MS == LEASE_MS
    assert sum(work(store).answers.values()) == 6


def test_near_duplicates_of_one_answer_are_one_answer(store: Store) -> None:
    """They are written at once, and a person does not read so fast."""
    store.writer.fill([review(one) for one in "abcd"], {})
    store.writer.fill(
        [said("a", 0), said("b", 9 * SECOND_MS), said("c", 9 * SECOND_MS + 3), said("d", 9 * SECOND_MS + 400)], {}
    )
    assert work(store).times_ms.tolist() == [9 * SECOND_MS]
    assert sum(work(store).answers.values()) == 2


def test_answers_of_an_import_count_and_have_no_time(store: Store) -> None:
    """Another program asked the people; its file says when, but not for how long."""
    store.writer.fill([review(one) for one in "abc"], {})
    store.writer.fill([said("a", 0, asked_by="import"), said("b", 0, asked_by="import"), said("c", 5000)], {})
    assert work(store).times_ms.tolist() == []
    assert sum(work(store).answers.values()) == 3


def test_work_is_counted_by_the_day_and_the_bundle_of_the_decision(store: Store) -> None:
    """An item that was decided yesterday is yesterday's, whenever it is answered; an open item waits."""
    yesterday = review("a", tagged_ms=START_MS - DAY_MS // 2)
    store.writer.fill([yesterday, review("b"), review("c", model=OTHER), review("d", model=OTHER)], {})
    store.writer.fill([said("a", 0), said("b", SECOND_MS), said("c", 2 * SECOND_MS, model=OTHER)], {})
    found = work(store)
    by_name = {(on.day_ms - TODAY_MS, found.digests[on.bundle][0]): count for on, count in found.answers.items()}
    assert sum(by_name.values()) == 3
    assert by_name[(0, "e")] == 1
    assert {found.digests[on.bundle][0]: count for on, count in found.waiting.items()} == {"e": 1}


def test_an_answer_on_a_decision_that_no_topic_has_is_no_work(store: Store) -> None:
    """Whoever may write answers may not make the stream look dear."""
    store.writer.fill([said("ghost", 0)], {})
    assert sum(work(store).answers.values()) == 0


def test_a_reported_event_counts_once_and_a_person_confirms_it(store: Store) -> None:
    """The answer that holds denies the tag, or agrees with it; a report on an event that no topic has counts nowhere."""
    store.writer.fill([review(one) for one in "abc"], {})
    store.writer.fill([*(report(one) for one in "abc"), report("a", reporter="another"), report("unknown")], {})
    store.writer.fill([said("a", 0, tag="other"), said("b", SECOND_MS, tag="other")], {})
    store.writer.fill([answer("b", START_MS + 2 * SECOND_MS, version=2, tag="mlops")], {})
    found = work(store)
    assert (sum(found.reported.values()), sum(found.confirmed.values())) == (3, 1)
