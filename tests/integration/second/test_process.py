"""The process of a second model on a real broker: it settles what is proved, once, whatever ends it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tagstream.monitoring.metrics.second import SecondMetrics
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import SecondDecision
from tagstream.stream.contract.published import DecidedEvent
from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.kafka.rights import second_group
from tagstream.stream.kafka.single_writer import SingleWriter, WriterFencedError, single_writer
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.second.budget import Budget
from tagstream.stream.second.facts import Cells
from tagstream.stream.second.ledger import Ledger
from tagstream.stream.second.process import SecondProcess
from tagstream.stream.settings.settings import Settings
from tests.answering import answer, decided, reviewed
from tests.integration.second.flow import opinions_in, records_of, send, settled_in
from tests.opinions import OF_A_BUNDLE
from tests.replacing import replace
from tests.waiting import until

pytestmark = pytest.mark.broker

LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
NOW_MS = unix_ms()
# With so many right answers a promise of 0.9 is proved.
ENOUGH = 150


def item(number: int) -> Record:
    """A record of `review`, to which the second model will say `mlops`."""
    return decided(b'{"id":"e-%d","title":"maybe deployment of %d"}' % (number, number), now_ms=NOW_MS - 1000 + number)


def says_mlops(shown: DecidedEvent) -> SecondOpinion:
    """A second model that says `mlops` of everything, now."""
    of = shown.decision
    made = {"event_id": shown.event.id, "prediction_id": of.prediction_id, "model_tag": of.tag, "score": 0.99}
    return replace(OF_A_BUNDLE, **made, label="mlops", decided_at=of.tagged_at)


class Running:
    """A process in a thread of the test."""

    def __init__(self, settings: Settings, ask: Callable[[DecidedEvent], SecondOpinion] = says_mlops, **asked: Any) -> None:
        """Start it."""
        ledger = Ledger(Cells(LABELS, bands=(0.9,)), **{"promise": 0.9, "audit": 0.2, "asked_since_ms": 0, **asked})
        self.process = SecondProcess(settings, ask, ledger, Budget(calls=0, cost=0), SecondMetrics.alone())
        self.stop, self.error = threading.Event(), None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.process.run(self.stop)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def end(self) -> None:
        """Stop it and wait for it."""
        self.stop.set()
        self._thread.join(timeout=120)
        assert not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        self._thread.join(timeout=120)
        assert not self._thread.is_alive()


def proved(settings: Settings) -> None:
    """People have answered so many items that the second model may settle more."""
    records = [item(number) for number in range(ENOUGH)]
    send(settings, records)
    first = Running(settings)
    until(
        lambda: first.process.opinions == ENOUGH,
        "all items have an opinion",
        state=lambda: (first.process.opinions, first.error),
    )
    first.end()
    assert first.error is None
    assert [one for one in opinions_in(settings) if one.settles] == []
    send(settings, [reviewed(record, answer(record, "mlops", now_ms=NOW_MS)) for record in records])


def test_what_is_proved_is_settled_once_and_the_rest_waits_for_people(settings: Settings) -> None:
    """Before people's answers nothing is settled. After them each opinion is on `second` first, and its decision on `tagged` once."""
    proved(settings)
    more = [item(number) for number in range(ENOUGH, ENOUGH + 40)]
    send(settings, more)
    second = Running(settings)
    until(lambda: second.process.settled == 40, "all are settled", state=lambda: (second.process.settled, second.error))
    second.end()
    made = [one for one in opinions_in(settings) if one.settles]
    assert 0 < sum(one.audited for one in made) < len(made) == 40
    decisions = settled_in(settings)
    assert sorted(one.event.id for one in decisions) == sorted(one.event_id for one in made)
    assert {(one.decision.tag, one.decision.decider) for one in decisions} == {("mlops", "second")}
    assert {one.decision.supersedes for one in decisions if isinstance(one.decision, SecondDecision)} == {
        one.prediction_id for one in made
    }


def test_a_process_that_ends_before_it_acts_is_continued(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its opinions are on `second`. The next process publishes what follows from them, and asks about none of them again."""
    proved(settings)
    send(settings, [item(number) for number in range(ENOUGH, ENOUGH + 10)])
    with monkeypatch.context() as patch:
        write = SingleWriter.write

        def dies(self: Any, records: Any, after: Any = None) -> None:
            if after is not None and records:
                message = "killed"
                raise RuntimeError(message)
            write(self, records, after)

        patch.setattr(SingleWriter, "write", dies)
        killed = Running(settings)
        killed.wait()
        assert str(killed.error) == "killed"
    assert settled_in(settings) == []
    before = opinions_in(settings)
    asked: list[str] = []

    def asking(shown: DecidedEvent) -> SecondOpinion:
        asked.append(shown.event.id)
        return says_mlops(shown)

    later = Running(settings, asking)
    until(
        lambda: later.process.settled == 10, "the decisions are published", state=lambda: (later.process.settled, later.error)
    )
    later.end()
    again = Running(settings, asking)
    until(lambda: again.process._started, "it has begun", state=lambda: again.error)
    again.end()
    assert again.process.settled == 0
    assert not {one.event_id for one in before} & set(asked)
    identities = [one.prediction_id for one in opinions_in(settings)]
    assert len(identities) == len(set(identities)) == ENOUGH + 10
    assert len(settled_in(settings)) == 10


def test_what_was_read_is_noted_where_nothing_follows_from_it(settings: Settings) -> None:
    """Brokers forget offsets that nobody commits for a week; the next process would publish all decisions again."""
    send(settings, [item(number) for number in range(3)])
    for count in (3, 0):
        running = Running(settings)
        until(
            lambda running=running, count=count: running.process._started and running.process.opinions == count,  # type: ignore[misc]
            "the items have opinions",
            state=lambda running=running: running.error,  # type: ignore[misc]
        )
        running.end()
    written = records_of(settings, settings.topics.second)
    with single_writer(settings, second_group(settings)) as writer:
        acted = writer.acted([(one.topic, one.partition) for one in written])
    assert len(written) == 3
    assert all(acted[one.topic, one.partition] > one.offset for one in written)


def test_a_second_process_fences_the_first(settings: Settings) -> None:
    """The first one ends with a sentence, and an item has one opinion."""
    first = Running(settings)
    until(lambda: first.process._started, "it has begun", state=lambda: first.error)
    second = Running(settings)
    until(lambda: second.process._started, "it has begun", state=lambda: second.error)
    send(settings, [item(number) for number in range(10)])
    first.wait()
    assert isinstance(first.error, WriterFencedError)
    until(
        lambda: second.process.opinions == 10,
        "all items have an opinion",
        state=lambda: (second.process.opinions, second.error),
    )
    second.end()
    assert len({one.prediction_id for one in opinions_in(settings)}) == len(opinions_in(settings)) == 10


def test_a_fenced_writer_says_so_at_each_write(settings: Settings) -> None:
    """The client's first error is one of fencing, and those after it only name it."""
    opinion = Record(topic=settings.topics.second, key=b"key", value=b"value")
    with single_writer(settings, "writer") as first, single_writer(settings, "writer"):
        for _ in range(3):
            with pytest.raises(WriterFencedError, match="another process writes"):
                first.write([opinion])
