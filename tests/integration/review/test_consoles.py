"""Two consoles on one PostgreSQL and one broker: four people answer a queue at once, and each event gets one answer."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text

from tagstream.stream.contract.answers import AnsweredEvent, read_answer
from tagstream.stream.database.database import open_database
from tagstream.stream.kafka.errors import TopicsMissingError
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.review.answer_saver import AnswerSaver, Saved
from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.store.records import AskedDecision, unix_ms
from tagstream.stream.review.store.schema import items
from tagstream.stream.review.store.store import STORE, open_store
from tagstream.stream.settings.settings import Settings
from tests.answering import decided, shown
from tests.console.real_console import is_ready
from tests.postgres import Postgres, postgres
from tests.replacing import replace
from tests.waiting import until

pytestmark = pytest.mark.broker

EVENTS = 48


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One PostgreSQL for the tests of this file."""
    with postgres() as running:
        yield running


def test_two_consoles_share_a_queue(settings: Settings, server: Postgres) -> None:
    """No event is answered twice, none is left, and the topic and both consoles agree."""
    url = server.fresh()
    asked = [
        decided(f'{{"id":"{number}","title":"maybe deployment {number}"}}'.encode(), now_ms=unix_ms())
        for number in range(EVENTS)
    ]
    with (
        open_store(url, second_opinion_rate=0.0) as one,
        open_store(url, second_opinion_rate=0.0) as other,
        StoreFollower(one, settings) as first,
        StoreFollower(other, settings) as second,
        verbatim_sender(settings, idempotent=True) as here,
        verbatim_sender(settings, idempotent=True) as there,
    ):
        assert (
            here.deliver([replace(record, topic=settings.topics.review, partition=-1) for record in asked]) == [None] * EVENTS
        )
        until(lambda: is_ready(first), "the answers are read")
        until(lambda: is_ready(second), "the answers are read")
        until(lambda: one.queue.figures().length == EVENTS, "all items are open", state=one.queue.figures)
        consoles = [(one, AnswerSaver(one, here, settings.topics)), (other, AnswerSaver(other, there, settings.topics))]

        def work(number: int) -> int:
            store, saving = consoles[number % 2]
            answered = 0
            while (claim := store.queue.claim(f"reviewer {number}")) is not None:
                assert isinstance(saving.save(claim.item.event.id, claim.token, "other"), Saved)
                answered += 1
            return answered

        with ThreadPoolExecutor(4) as people:
            assert sum(people.map(work, range(4))) == EVENTS
        # Figures that took long to count are used again for a while.
        for store in (one, other):
            until(
                lambda store=store: (store.queue.figures().length, store.queue.figures().answered) == (0, EVENTS),  # type: ignore[misc]
                "all items are answered",
                state=store.queue.figures,
            )
    with log_of(settings, settings.topics.reviewed) as log:
        said = [read_answer(record) for record in log.read()]
    assert Counter(found.answer.event_id for found in said if isinstance(found, AnsweredEvent)) == Counter(
        map(str, range(EVENTS))
    )


def test_items_that_a_console_writes_again_are_waited_for(server: Postgres) -> None:
    """A reviewer does not hear of an empty queue while another console's transaction holds its rows."""
    url = server.fresh()
    asked = decided(b'{"id":"1","title":"maybe deployment"}', now_ms=unix_ms())
    with open_store(url) as store, ThreadPoolExecutor(1) as person:
        store.writer.fill([AskedDecision(item=shown(asked))], {})
        database = open_database(url, STORE)
        with database.alone() as connection:
            assert connection.execute(select(items.c.event_id).with_for_update()).all()
            claim = person.submit(store.queue.claim, "reviewer")
            waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            until(lambda: claim.done() or connection.execute(waits).scalar_one() == 1, "the reviewer waits")
            assert not claim.done()
        found = claim.result(timeout=60)
        assert found is not None
        assert found.item.event.id == "1"
        database.close()


@pytest.mark.slow
def test_without_the_topic_of_answers_nothing_is_followed(settings: Settings, server: Postgres) -> None:
    """The console could save nothing; the error has the next step."""
    absent = settings.model_copy(update={"topics": settings.topics.model_copy(update={"reviewed": "not-there"})})
    with (
        open_store(server.fresh()) as store,
        StoreFollower(store, absent) as follower,
        pytest.raises(TopicsMissingError, match="not-there"),
    ):
        until(lambda: is_ready(follower), "the answers are read")


@pytest.mark.slow
def test_topics_that_are_not_there_yet_are_done_without(settings: Settings, server: Postgres) -> None:
    """Audits and reports are an addition: the queue works before an operator has made their topics."""
    lean = settings.model_copy(
        update={"topics": settings.topics.model_copy(update={"audit": "no-audit", "reports": "no-reports"})}
    )
    with open_store(server.fresh()) as store, StoreFollower(store, lean) as follower:
        until(lambda: is_ready(follower), "the answers are read")
        assert follower.trouble is None
