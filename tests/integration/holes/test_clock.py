"""A machine's clock is set forward and back by an hour while a worker or a console runs: neither stops, and no item stays hidden."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream.stream.broker.processes import Processes
from tests.faults.observer import TopicObserver
from tests.integration.holes.console_process import Console, ask, event_of
from tests.integration.running import Start, all_committed, all_written, ended
from tests.waiting import HANG_SECONDS

pytestmark = [pytest.mark.broker, pytest.mark.needs("faketime"), pytest.mark.slow]

MINUTE, HOUR, DAY = 60, 3_600, 86_400
# Brokers refuse records that are written more than an hour ahead of their own clock.
AHEAD = 59 * MINUTE
EVENTS = 40


class Clock:
    """The clock of the processes that are started with `environ`: right until a test sets it. The clock of durations runs on."""

    def __init__(self, folder: Path, *, jumps: bool = True) -> None:
        """Keep in a file of this folder what the clock is set to. `jumps`: a test sets it while a process runs; libfaketime then refuses `time.sleep`."""
        self._file = folder / "clock"
        self.set(0)
        self.environ = {
            "LD_PRELOAD": str(next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
        } | ({"FAKETIME_DONT_FAKE_MONOTONIC": "1"} if jumps else {})

    def set(self, seconds: int) -> None:
        """Set it so many seconds ahead of the right time, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock that is right."""
    return Clock(tmp_path)


@pytest.fixture
def producer(environ: dict[str, str]) -> Iterator[KafkaProducer]:
    """A producer whose clock is right."""
    made = KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"], acks="all")
    yield made
    made.close()


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_worker_goes_on(
    environ: dict[str, str], start: Start, observer: TopicObserver, producer: KafkaProducer, clock: Clock, delivery: str
) -> None:
    """Every event is decided and committed after each jump, readiness and page answer, and SIGTERM ends the worker with 0."""
    worker = start(**clock.environ, TAGSTREAM_DELIVERY=delivery)
    worker.until_ready()
    for number, seconds in enumerate((0, AHEAD, -HOUR, AHEAD)):
        clock.set(seconds)
        for event in range(EVENTS):
            producer.send(environ["TAGSTREAM_TOPICS__CONTENT"], b'{"id":"%d-%d","title":"A model"}' % (number, event))
        producer.flush(HANG_SECONDS)
        all_written(observer, EVENTS * (number + 1))
        all_committed(observer)
        worker.until_ready()
        assert worker.get("/snapshot.json")[0] == 200
        worker.until_metric("tagstream_committed_lag_events", lambda waiting: waiting == 0)
    assert worker.metric("tagstream_events_received_total") == 4 * EVENTS
    assert worker.stop() == 0


def test_no_item_of_the_console_stays_hidden(
    environ: dict[str, str], processes: Processes, producer: KafkaProducer, clock: Clock, tmp_path: Path
) -> None:
    """An item that a reviewer holds or skips comes to others, and back, minutes after the clock was set back as well; answers are taken throughout."""
    console = Console(processes, environ | clock.environ, tmp_path)
    ask(producer, environ["TAGSTREAM_TOPICS__REVIEW"], {"a": "one text", "b": "quite another one"})
    console.until_waiting(2)
    held, skipped = console.page("ada"), console.page("bob")
    assert {event_of(held), event_of(skipped)} == {"a", "b"}
    console.post("bob", skipped, back="skip")
    assert event_of(console.page("bob")) is None
    clock.set(-3 * HOUR)
    assert event_of(console.page("bob")) is not None
    clock.set(-3 * HOUR + 11 * MINUTE)
    assert {event_of(console.page(name)) for name in ("bob", "cid", "dan")} == {"a", "b", None}
    # Old items are forgotten at the start: the queue is not, if it is the clock that is wrong.
    clock.set(400 * DAY)
    console.process.ask_to_end()
    assert ended(console.process) == 0
    console = Console(processes, environ | clock.environ, tmp_path, name="later")
    console.until_waiting(2)
    clock.set(AHEAD)
    for name in ("eve", "fay"):
        console.post(name, console.page(name), tag="other")
    console.until_waiting(0)
    clock.set(-HOUR)
    console.post("eve", console.again("eve", "a"), tag="mlops")
    assert "You answered mlops" in console.again("eve", "a")
    assert console.page("ada", "/readyz") == "ready\n"
    console.page("ada", "/metrics")
    console.process.ask_to_end()
    assert ended(console.process) == 0
