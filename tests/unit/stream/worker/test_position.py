"""The worker's position in the log, reported every second, also while the broker does not answer."""

import asyncio
import math
import time
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from faust.types import TP
from prometheus_client import CollectorRegistry

from tagstream.monitoring.health import Progress
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.stream.worker.inner_consumer import FRESH_SECONDS
from tagstream.stream.worker.position import SETTLED_SECONDS, SHORT_SECONDS, AnswersTopic, PositionReporter
from tests.fakes import LABELS, Clock

PLACE, ANSWERS = TP("content", 0), TP("reviewed", 0)


class SilentBroker:
    """A Faust app whose broker is gone."""

    @property
    def consumer(self) -> Any:
        """Raise, as a client does without a broker."""
        msg = "gone"
        raise ConnectionError(msg)


class Waiting:
    """A delivery with events in hand."""

    inflight = 3

    def oldest_seconds(self, now: float) -> float:
        """One was written a minute and a half ago."""
        assert now > 0
        return 90.0


def test_events_in_hand_are_reported_while_the_broker_is_silent() -> None:
    """The age of the oldest event is reported then too, because it matters most when the stream stands still."""
    registry, delivery, app = CollectorRegistry(), Waiting(), SilentBroker()
    metrics = Metrics(registry, labels=LABELS, topic="content")
    progress = Progress(stall_seconds=20, monotonic=Clock())
    asyncio.run(PositionReporter(app, delivery, metrics, progress).tick())  # type: ignore[arg-type]
    names = ("oldest_unprocessed_seconds", "inflight_events", "committed_lag_events", "last_commit_timestamp_seconds")
    oldest, inflight, lag, commit = (registry.get_sample_value(f"tagstream_{name}") for name in names)
    assert (oldest, inflight, commit) == (90.0, 3.0, 0.0)
    assert math.isnan(lag or 0.0)


def test_silent_brokers_are_logged_once_a_minute_and_when_they_answer_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what to do and does not come every second; the time of the last answer stands still meanwhile."""
    clock = Clock()
    monkeypatch.setattr("tagstream.stream.worker.position.time.time", clock)
    stand = Stand(Inner(begin=5, committed=5))
    answers = stand.consumer
    with structlog.testing.capture_logs() as logs:
        known = [stand.tick("position_timestamp_seconds")]
        stand.position._app = SilentBroker()  # type: ignore[assignment]
        for _ in range(130):
            clock.now += 1
            known.append(stand.tick("position_timestamp_seconds"))
        assert not stand.progress.verdict().ready
        stand.position._app = SimpleNamespace(consumer=answers)  # type: ignore[assignment]
        known.append(stand.tick("position_timestamp_seconds"))

    assert set(known[:-1]) == {1_000.0}
    assert known[-1] == 1_130.0
    said = [line for line in logs if line["event"].startswith("position")]
    assert [line["event"] for line in said] == [*["position_unknown"] * 3, "position_known_again"]
    assert [line.get("since_seconds") for line in said] == [1, 61, 121, None]
    assert said[0]["why"] == "ConnectionError: gone"
    assert said[-1]["after_seconds"] == 130


def test_a_worker_without_partitions_asks_too() -> None:
    """A spare worker has no lag to ask for, but must not report brokers as reachable when they are not."""
    inner = Inner(begin=5, committed=5)
    stand = Stand(inner)
    stand.consumer.assignment = set
    assert (stand.tick("position_timestamp_seconds") or 0) > 0
    inner.answers = False
    with structlog.testing.capture_logs() as logs:
        stand.tick("position_timestamp_seconds")
    assert [line["why"] for line in logs] == ["ConnectionError: no broker answers"]


class Inner:
    """Stands in for aiokafka's consumer inside Faust's: answers at once."""

    def __init__(self, begin: int, committed: int | None, end: int | None = None) -> None:
        self.begin, self.committed_at = begin, committed
        # The commit on the topic of answers, whose log is like that of the events.
        self.answered_at = committed
        self.end = begin if end is None else end
        # Not known while the partition has no leader.
        self.fetched: int | None = self.end
        self._coordinator = self._subscription = self.subscription = self._client = self.cluster = self
        self.leader = 1
        # Records behind the last stable offset.
        self.uncommitted = 0
        self.answers = True
        # Of the last answer to a fetch: its time, the end of the log, and that of what may be read.
        self.told: tuple[float, int, int] | None = None
        self.questions = 0

    async def force_metadata_update(self) -> bool:
        """Whether a broker has answered."""
        return self.answers

    def _ensure_consumer(self) -> "Inner":
        return self

    async def send(self, _: int, request: Any) -> Any:
        """The end of the log, uncommitted records included."""
        self.questions += 1
        end = max(self.begin, self.end) + self.uncommitted
        answers = [(topic, [(partition, 0, -1, end) for partition, _ in asked]) for topic, asked in request._topics]
        return SimpleNamespace(topics=answers)

    async def _highwaters(self, partitions: list[TP]) -> dict[TP, int]:
        self.questions += 1
        return dict.fromkeys(partitions, max(self.begin, self.end))

    async def beginning_offsets(self, partitions: list[TP]) -> dict[TP, int]:
        """All partitions begin at the same offset."""
        return dict.fromkeys(partitions, self.begin)

    def assignment(self) -> set[TP]:
        """One partition of each topic."""
        return {PLACE, ANSWERS}

    async def fetch_committed_offsets(self, partitions: list[TP]) -> dict[TP, Any]:
        """The group's commits."""
        if self.committed_at is None:
            return {}
        return {tp: SimpleNamespace(offset=self.answered_at if tp == ANSWERS else self.committed_at) for tp in partitions}

    def leader_for_partition(self, _: TP) -> int:
        """A node, or -1."""
        return self.leader

    def state_value(self, _: TP) -> Any:
        """The offset up to which records were fetched, and what the last answer to a fetch has told."""
        at, high, stable = self.told or (None, None, None)
        return SimpleNamespace(
            has_valid_position=self.fetched is not None,
            position=self.fetched,
            timestamp=None if at is None else 1000 * at,
            highwater=high,
            lso=stable,
        )


class Stand:
    """A position over one partition, and the metrics that it writes."""

    def __init__(self, inner: Inner, acknowledged: int | None = None) -> None:
        subscription = SimpleNamespace(assignment=inner)
        inner.subscription = subscription  # type: ignore[assignment]
        self.registry = CollectorRegistry()
        self.progress = Progress(stall_seconds=20, monotonic=time.time)
        self.progress.assigned(1)
        self.consumer = SimpleNamespace(
            assignment=lambda: {PLACE},
            _thread=inner,
            resumed_at={},
            skipped={},
            handed_out=lambda _: 0,
            standstill=lambda: None,
        )
        self.done = {} if acknowledged is None else {PLACE: acknowledged}
        self.broken: list[Exception] = []
        delivery = SimpleNamespace(
            holds=set, acknowledged=self.done, inflight=0, oldest_seconds=lambda _: 0.0, broken=self.broken.append
        )
        self.position = PositionReporter(
            SimpleNamespace(consumer=self.consumer),
            delivery,  # type: ignore[arg-type]
            Metrics(self.registry, labels=LABELS, topic="content"),
            self.progress,
        )

    def tick(self, name: str) -> float | None:
        """A metric after one more look."""
        asyncio.run(self.position.tick())
        return self.registry.get_sample_value(f"tagstream_{name}")


def test_expired_events_are_counted_once_however_often_the_partition_is_assigned() -> None:
    """Without new events the commit stays before the beginning of the log, and each rebalance finds it there again."""
    inner = Inner(begin=500, committed=100)
    stand = Stand(inner)

    def assign_and_look() -> float | None:
        stand.consumer.resumed_at[PLACE] = inner.committed_at
        return stand.tick("events_expired_total")

    assert [assign_and_look(), assign_and_look()] == [400.0, 400.0]
    inner.begin = 650
    assert assign_and_look() == 550.0


def test_events_that_expire_before_a_slow_worker_reads_them_are_counted_too() -> None:
    """A gap counts up to the beginning of the log; a gap after it comes from compaction or a transaction marker."""
    inner = Inner(begin=500, committed=100, end=900)
    stand = Stand(inner)
    stand.consumer.skipped[PLACE] = (300, 520)
    assert stand.tick("events_expired_total") == 200.0
    stand.consumer.skipped[PLACE] = (600, 610)
    assert stand.tick("events_expired_total") == 200.0
    assert stand.consumer.skipped == {}


def test_events_behind_an_open_transaction_are_lag_and_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were invisible: lag 0, no metric. A worker that may not read them makes progress all the same, and stays ready."""
    clock = Clock()
    monkeypatch.setattr("tagstream.stream.worker.position.time.time", clock)
    inner = Inner(begin=0, committed=10, end=10)
    stand = Stand(inner, acknowledged=10)
    stand.progress = stand.position._progress = Progress(stall_seconds=20, monotonic=clock)
    stand.progress.assigned(1)
    assert stand.tick("committed_lag_events") == 0.0
    inner.uncommitted = 500
    for _ in range(60):
        clock.now += 1
        assert stand.tick("committed_lag_events") == 500.0
    assert stand.registry.get_sample_value("tagstream_open_transaction_events", {"partition": "0"}) == 500.0
    verdict = stand.progress.verdict()
    assert verdict.ready
    assert "0 events wait, 500 more behind an open transaction" in verdict.why
    inner.uncommitted, inner.end, inner.committed_at = 0, 510, 510
    assert stand.tick("committed_lag_events") == 0.0
    assert stand.registry.get_sample_value("tagstream_open_transaction_events", {"partition": "0"}) is None


def test_a_partition_without_a_leader_holds_up_no_figure() -> None:
    """Its position is not waited for, and its end is not asked for."""
    inner = Inner(begin=0, committed=4, end=10)
    inner.fetched = None
    stand = Stand(inner)
    assert stand.tick("committed_lag_events") == 6.0
    inner.leader, inner.end = -1, 10**6
    assert stand.tick("committed_lag_events") == 6.0


def test_the_lag_is_unknown_and_not_the_last_known_one_while_the_brokers_are_away() -> None:
    """Without an answer the lag is NaN, because producers may go on sending through another broker."""
    inner = Inner(begin=0, committed=10, end=10)
    stand = Stand(inner)
    assert stand.tick("committed_lag_events") == 0.0
    answers, stand.position._app = stand.consumer, SilentBroker()  # type: ignore[assignment]
    assert math.isnan(stand.tick("committed_lag_events") or 0.0)
    stand.position._app = SimpleNamespace(consumer=answers)  # type: ignore[assignment]
    assert stand.tick("committed_lag_events") == 0.0


def test_a_client_that_has_stopped_reading_ends_the_process() -> None:
    """Such a client keeps its partitions, and the group takes it for alive."""
    stand = Stand(Inner(begin=0, committed=4, end=10))
    stand.consumer.standstill = lambda: "the group's coordinator said no"
    stand.tick("committed_lag_events")
    assert [str(error) for error in stand.broken] == ["no event will be read any more: the group's coordinator said no"]


def test_events_acknowledged_while_the_brokers_are_asked_are_not_beyond_the_end_of_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the brokers answer slowly, the end is older than the last acknowledgement, and the log is the same all the same."""
    clock = Clock()
    monkeypatch.setattr("tagstream.stream.worker.position.time.monotonic", clock)
    inner = Inner(begin=0, committed=300, end=300)
    stand = Stand(inner, acknowledged=300)
    committed = inner.fetch_committed_offsets

    async def slow(partitions: list[TP]) -> dict[TP, Any]:
        stand.done[PLACE] = inner.end = inner.end + 50
        return await committed(partitions)

    monkeypatch.setattr(inner, "fetch_committed_offsets", slow)
    for _ in range(3):
        stand.tick("committed_lag_events")
        clock.now += 2 * SHORT_SECONDS
    assert stand.broken == []


@pytest.mark.parametrize(("acknowledged", "ends"), [(700, True), (None, False)], ids=["seen by this process", "by the commit"])
def test_a_log_that_ends_before_its_processed_events_is_reported(
    acknowledged: int | None, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust drops events below the offsets that it knows; a new process does not know them, but a wrong commit needs a person."""
    clock = Clock()
    monkeypatch.setattr("tagstream.stream.worker.position.time.monotonic", clock)
    stand = Stand(Inner(begin=0, committed=500, end=300), acknowledged)
    stand.tick("committed_lag_events")
    clock.now += SHORT_SECONDS / 2
    stand.tick("committed_lag_events")
    assert stand.broken == []
    clock.now += SHORT_SECONDS
    with structlog.testing.capture_logs() as logs:
        stand.tick("committed_lag_events")
    assert bool(stand.broken) == ends
    assert [log["event"] for log in logs] == ["log_ends_before_commit"]
    assert "content/0 ends at offset 300" in logs[0]["what"]


def test_a_partition_with_markers_alone_has_no_lag_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a new group meets only aborted transactions, no record is handed out and no offset is ever committed."""
    clock = Clock()
    monkeypatch.setattr("tagstream.stream.worker.position.time.monotonic", clock)
    stand = Stand(Inner(begin=3, committed=None, end=10))
    assert stand.tick("committed_lag_events") == 7.0
    clock.now += SETTLED_SECONDS / 2
    assert stand.tick("committed_lag_events") == 7.0
    clock.now += SETTLED_SECONDS
    assert stand.tick("committed_lag_events") == 0.0


@pytest.mark.parametrize(("age", "questions"), [(0.0, 0), (FRESH_SECONDS / 2, 0), (FRESH_SECONDS, 2), (-1.0, 2)])
def test_ends_that_a_fetch_has_just_told_are_not_asked_for(age: float, questions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy broker gets no question for what it says with every answer; one that has fallen silent is asked, and so it is after a leap of the clock."""
    inner = Inner(begin=0, committed=4, end=10)
    stand = Stand(inner)
    inner.uncommitted = 2
    clock = Clock()
    monkeypatch.setattr("tagstream.stream.worker.inner_consumer.time.time", clock)
    inner.told = (clock.now - age, 12, 10)
    inner.fetched = None
    assert stand.tick("committed_lag_events") == 8.0
    assert inner.questions == questions
    assert stand.registry.get_sample_value("tagstream_open_transaction_events", {"partition": "0"}) == 2.0


def test_answers_have_a_lag_and_a_progress_of_their_own() -> None:
    """The lag, the commits and the suspects of the events are those of `content` alone, as they were without answers."""
    inner = Inner(begin=0, committed=4, end=10)
    stand = Stand(inner)
    stand.consumer.assignment = lambda: {PLACE, ANSWERS}
    answers = Progress(stall_seconds=20, monotonic=time.time)
    answers.assigned(1)
    told: list[dict[int, int]] = []
    stand.position._answers = AnswersTopic(name="reviewed", progress=answers)
    stand.position._guard = SimpleNamespace(committed=told.append)  # type: ignore[assignment]
    inner.answered_at, inner.fetched = 7, None
    assert stand.tick("committed_lag_events") == 6.0
    assert stand.registry.get_sample_value("tagstream_answers_lag_events") == 3.0
    assert stand.registry.get_sample_value("tagstream_assigned_partitions") == 1.0
    assert told == [{("content", 0): 4}]
    assert "3 events wait" in answers.verdict().why
    assert "6 events wait" in stand.progress.verdict().why

    stand.consumer.resumed_at[ANSWERS] = 7
    inner.begin = 9
    assert stand.tick("answers_expired_total") == 2.0
    assert stand.registry.get_sample_value("tagstream_events_expired_total") == 0.0

    stand.position._app = SilentBroker()  # type: ignore[assignment]
    assert math.isnan(stand.tick("answers_lag_events") or 0.0)
