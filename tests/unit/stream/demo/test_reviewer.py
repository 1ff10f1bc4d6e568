"""The reviewer by script, on the console's own store and saving."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from tagstream.stream.contract.answers import OFF_SUBJECT
from tagstream.stream.demo import reviewer
from tagstream.stream.demo.account import SavedAnswer
from tagstream.stream.demo.reviewer import RIGHT, Reviewer, said
from tagstream.stream.demo.samples import known_labels, load_events
from tagstream.stream.kafka.producer import TooLateError
from tagstream.stream.settings.settings import Settings
from tests.console.real_console import LABELS, ReviewDesk, item
from tests.waiting import HANG_SECONDS, until


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ReviewDesk]:
    """An empty queue."""
    made = ReviewDesk(tmp_path)
    yield made
    made.close()


@contextmanager
def answering(queue: ReviewDesk, labels: dict[str, str]) -> Iterator[tuple[Reviewer, "SimpleQueue[SavedAnswer]"]]:
    """A reviewer who answers from the queue without a pause, and the answers that are saved."""
    given: SimpleQueue[SavedAnswer] = SimpleQueue()
    over = threading.Event()
    made = Reviewer(labels, given.put, over, pace_seconds=0.0)
    thread = threading.Thread(target=lambda: made.answer(queue.store, queue.saving))
    thread.start()
    try:
        yield made, given
    finally:
        over.set()
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()


def test_the_script_answers_what_it_knows_and_skips_the_rest(queue: ReviewDesk) -> None:
    """Each saved answer is told, under the script's name; an item whose title it does not know stays open."""
    queue.add(item("a", "Serving  models <b>&amp; more"))
    queue.add(item("b", "A title of nobody"))
    queue.add(item("c", "A recipe"))
    labels = {"Serving models <b>&amp; more": "mlops", "A recipe": OFF_SUBJECT}
    with answering(queue, labels) as (made, given):
        found = [given.get(timeout=HANG_SECONDS) for _ in range(2)]
    assert sorted(one.event_id for one in found) == ["a", "c"]
    assert [queue.saved[one.event_id].tag for one in found] == [one.tag for one in found]
    assert {one.reviewer for one in queue.saved.values()} == {reviewer.NAME}
    assert "b" not in queue.saved
    assert made.troubles == []


def test_an_answer_that_is_not_saved_is_not_told_as_given(queue: ReviewDesk) -> None:
    """No answer was written; the script keeps the event's id and the reason."""
    queue.add(item("a", "Serving models"))
    queue.away = TooLateError("no broker answers")
    with answering(queue, {"Serving models": "mlops"}) as (made, given):
        until(lambda: made.troubles, "an answer is refused")
    assert made.troubles[0].startswith("a (The brokers took no record (no broker answers)")
    assert given.empty()


def test_a_store_that_is_not_filled_is_not_answered(tmp_path: Path) -> None:
    """Until the console is ready the script opens no store, and it can be ended meanwhile."""
    over = threading.Event()
    asked: list[bool] = []

    def ready() -> bool:
        asked.append(True)
        over.set()
        return False

    Reviewer({}, lambda _: None, over).run(Settings(), f"sqlite:///{tmp_path}/review.sqlite", ready)
    assert asked == [True]
    assert list(tmp_path.iterdir()) == []


def test_the_script_is_right_as_often_as_it_says_and_the_same_each_time() -> None:
    """Over 4,000 events its share of right answers is within four standard deviations, and a wrong one is another tag."""
    tags = (*LABELS, OFF_SUBJECT)
    answers = [said(f"sample-{number}", "mlops", tags) for number in range(4_000)]
    assert abs(answers.count("mlops") / len(answers) - RIGHT) < 0.014
    assert set(answers) == set(tags)
    assert answers == [said(f"sample-{number}", "mlops", tags) for number in range(4_000)]
    assert said("x", "mlops", ("mlops",)) == "mlops"


def test_nine_of_ten_sample_events_have_a_known_label() -> None:
    """All but those that were written for the demo; a text that is not about machine learning is off the subject."""
    labels = known_labels()
    events = load_events()
    known = [event for event in events if " ".join(event["title"].split()) in labels]
    assert len(known) > 0.85 * len(events)
    assert set(labels.values()) == {*LABELS, OFF_SUBJECT}
