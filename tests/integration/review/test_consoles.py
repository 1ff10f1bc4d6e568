"""Two consoles on one PostgreSQL and one broker: four people answer a queue at once, and each event gets one answer."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from stream.contract.answers import AnsweredEvent, read_answer
from stream.kafka.errors import TopicsMissingError
from stream.kafka.producer import verbatim_sender
from stream.kafka.reading.log import log_of
from stream.review.follower import Follower
from stream.review.saving import Saved, Saving
from stream.review.store.store import open_store, unix_ms
from stream.settings.settings import Settings
from tests.answering import decided
from tests.postgres import Postgres, postgres
from tests.waiting import HANG_SECONDS, until

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
        Follower(one, settings) as first,
        Follower(other, settings) as second,
        verbatim_sender(settings, idempotent=True) as here,
        verbatim_sender(settings, idempotent=True) as there,
    ):
        assert (
            here.deliver([replace(record, topic=settings.topics.review, partition=-1) for record in asked]) == [None] * EVENTS
        )
        assert first.await_ready(HANG_SECONDS)
        assert second.await_ready(HANG_SECONDS)
        until(lambda: one.queue().length == EVENTS, "all items are open", state=one.queue)
        consoles = [(one, Saving(one, here, settings.topics)), (other, Saving(other, there, settings.topics))]

        def work(number: int) -> int:
            store, saving = consoles[number % 2]
            answered = 0
            while (claim := store.claim(f"reviewer {number}")) is not None:
                assert isinstance(saving.save(claim.item.event_id, claim.token, "other"), Saved)
                answered += 1
            return answered

        with ThreadPoolExecutor(4) as people:
            assert sum(people.map(work, range(4))) == EVENTS
        assert one.queue() == other.queue()
        assert (one.queue().length, one.queue().answered) == (0, EVENTS)
    with log_of(settings, settings.topics.reviewed) as log:
        said = [read_answer(record) for record in log.read(log.starts(), log.ends())]
    assert Counter(found.answer.event_id for found in said if isinstance(found, AnsweredEvent)) == Counter(
        map(str, range(EVENTS))
    )


def test_without_the_topic_of_answers_nothing_is_followed(settings: Settings, server: Postgres) -> None:
    """The console could save nothing; the error has the next step."""
    absent = settings.model_copy(update={"topics": settings.topics.model_copy(update={"reviewed": "not-there"})})
    with (
        open_store(server.fresh()) as store,
        Follower(store, absent) as follower,
        pytest.raises(TopicsMissingError, match="not-there"),
    ):
        follower.await_ready(HANG_SECONDS)


def test_topics_that_are_not_there_yet_are_done_without(settings: Settings, server: Postgres) -> None:
    """Audits and reports are an addition: the queue works before an operator has made their topics."""
    lean = settings.model_copy(
        update={"topics": settings.topics.model_copy(update={"audit": "no-audit", "reports": "no-reports"})}
    )
    with open_store(server.fresh()) as store, Follower(store, lean) as follower:
        assert follower.await_ready(HANG_SECONDS)
        assert follower.trouble is None
