"""The reviewer by script, on the console's own application behind its own server."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
import uvicorn

from stream.contract.answers import OFF_SUBJECT
from stream.demo.people import script
from stream.demo.people.answers import Given
from stream.demo.people.labels import known_labels
from stream.demo.people.page import Shown, shown
from stream.demo.people.script import RIGHT, Script, said
from stream.demo.samples import load_events
from stream.kafka.producer import TooLateError
from stream.review.console.app import application
from stream.review.console.desk import Desk
from stream.review.console.doors.access import Remembered
from tests.console.review_desk import LABELS, ReviewDesk, item
from tests.waiting import HANG_SECONDS, until


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ReviewDesk]:
    """An empty queue."""
    made = ReviewDesk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def address(queue: ReviewDesk) -> Iterator[str]:
    """A console over the queue."""
    access = Remembered(name="ada")
    app = application(
        Desk(store=queue.store, saving=queue.saving, access=access, measuring=queue.measuring, now_ms=queue.clock)
    )
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()


def test_the_script_answers_what_it_knows_and_skips_the_rest(queue: ReviewDesk, address: str) -> None:
    """Each saved answer is told, under the script's name; an item whose title it does not know stays open."""
    queue.add(item("a", "Serving  models <b>&amp; more"))
    queue.add(item("b", "A title of nobody"))
    queue.add(item("c", "A recipe"))
    labels = {"Serving models <b>&amp; more": "mlops", "A recipe": OFF_SUBJECT}
    given: SimpleQueue[Given] = SimpleQueue()
    reviewer = Script(address, labels, given.put, pace_seconds=0.0)
    reviewer.start()
    found = [given.get(timeout=HANG_SECONDS) for _ in range(2)]
    assert reviewer.stop() is None
    assert sorted(one.event_id for one in found) == ["a", "c"]
    assert [queue.saved[one.event_id].tag for one in found] == [one.tag for one in found]
    assert {one.reviewer for one in queue.saved.values()} == {script.NAME}
    assert "b" not in queue.saved
    assert reviewer.troubles == []


def test_an_answer_that_is_not_saved_is_not_told_as_given(queue: ReviewDesk, address: str) -> None:
    """The page says that nothing was written; the script keeps the event's id and the status."""
    queue.add(item("a", "Serving models"))
    queue.away = TooLateError("no broker answers")
    given: SimpleQueue[Given] = SimpleQueue()
    reviewer = Script(address, {"Serving models": "mlops"}, given.put, pace_seconds=0.0)
    reviewer.start()
    until(lambda: reviewer.troubles, "an answer is refused")
    assert reviewer.stop() is None
    assert reviewer.troubles[0] == "a (HTTP 503)"
    assert given.empty()


def test_a_console_that_is_not_there_yet_is_waited_for() -> None:
    """A refused connection is no failure, and the script can be stopped meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    given: SimpleQueue[Given] = SimpleQueue()
    reviewer = Script(f"http://127.0.0.1:{port}", {}, given.put)
    reviewer.start()
    assert reviewer.stop() is None
    assert (given.empty(), reviewer.troubles) == (True, [])


def test_a_script_that_never_began_ends_at_once() -> None:
    """A demo without an event starts nobody."""
    assert Script("http://127.0.0.1:1", {}, SimpleQueue[Given]().put).stop() is None


def test_the_script_is_right_as_often_as_it_says_and_the_same_each_time() -> None:
    """Over 4,000 events its share of right answers is within four standard deviations, and a wrong one is another button."""
    tags = (*LABELS, OFF_SUBJECT)
    items = [Shown(event_id=f"sample-{number}", token="", title="", tags=tags) for number in range(4_000)]
    answers = [said(one, "mlops") for one in items]
    assert abs(answers.count("mlops") / len(items) - RIGHT) < 0.014
    assert set(answers) == set(tags)
    assert answers == [said(one, "mlops") for one in items]
    assert said(Shown(event_id="x", token="", title="", tags=("mlops",)), "mlops") == "mlops"


def test_a_page_without_an_item_has_none() -> None:
    """Nothing waits, or the console is starting; a search form is no item."""
    assert shown("<h1>Nothing waits</h1><form id='other'><input type=hidden name=event value=x></form>") is None


def test_nine_of_ten_sample_events_have_a_known_label() -> None:
    """All but those that were written for the demo; a text that is not about machine learning is off the subject."""
    labels = known_labels()
    events = load_events()
    known = [event for event in events if " ".join(event["title"].split()) in labels]
    assert len(known) > 0.85 * len(events)
    assert set(labels.values()) == {*LABELS, OFF_SUBJECT}
