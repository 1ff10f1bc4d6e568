"""The agent under Faust without a broker, and the packages that importing each room loads."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import aiokafka.consumer.consumer as aiokafka_consumer
import faust
import faust.transport.drivers.aiokafka as driver
import pytest
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IllegalStateError,
    NotCoordinatorForGroupError,
)
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from prometheus_client import CollectorRegistry

from tagstream.monitoring.health import Progress
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Draw
from tagstream.stream.decide.reviewer_answers import ReviewerAnswers
from tagstream.stream.deliver.delivery import Delivery
from tagstream.stream.deliver.fatal import EXIT_BROKEN, DeliveryError
from tagstream.stream.deliver.hooks import UNTRACED
from tagstream.stream.deliver.pace import Pace
from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker import ending
from tagstream.stream.worker.app import AnswersAgent, build
from tagstream.stream.worker.consumer import Consumer, TransactedConsumer
from tagstream.stream.worker.ending import Watchdog
from tagstream.stream.worker.faust_app import Producer, faust_app, source
from tagstream.stream.worker.inner_consumer import UNKNOWN_SECONDS, Coordinator, InnerConsumer
from tests.answering import answer, decided, reviewed
from tests.fakes import LABELS, Clock, Death, Died, FakeEngine, FakeStream, deciding
from tests.waiting import HANG_SECONDS

EVENTS: dict[bytes | None, str] = {
    b'{"id":"a","title":"deployment"}': "tagged-news",
    b'{"id":"b","title":"maybe image"}': "review",
    b"{": "news.dlq",
    None: "news.dlq",
    b'{"id":"c","title":"translation"}': "tagged-news",
}


class RecordingProducer:
    """The part of Faust's producer that `tagstream.stream.worker.faust_engine` calls: keeps records, confirms when told."""

    def __init__(self, *, confirms: bool = True) -> None:
        """With `confirms` each record is confirmed at once; otherwise the test sets the futures."""
        self._confirms = confirms
        self.sent: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]] = []
        self.futures: list[asyncio.Future[None]] = []

    async def send(
        self, topic: str, key: Any, value: Any, partition: Any, timestamp: Any, headers: Any
    ) -> "asyncio.Future[None]":
        """Queue one record; partition and time are the broker's choice."""
        assert partition is None
        assert timestamp is None
        self.sent.append((topic, key, value, headers))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._confirms:
            future.set_result(None)
        self.futures.append(future)
        return future


class IdleConsumer:
    """The part of Faust's consumer that a stream without a broker needs; the real one leaves an event loop open."""

    def __init__(self) -> None:
        """Start with no record in hand."""
        self._unacked_messages: weakref.WeakSet[Any] = weakref.WeakSet()

    def ack_all(self, messages: Sequence[Any]) -> None:
        """As Faust acknowledges each."""
        for message in messages:
            message.ack(self)


class Worker:
    """A built application with its agent in Faust's test context, and its results."""

    def __init__(self, producer: RecordingProducer, **knobs: Any) -> None:
        """Build as `tagstream.stream.worker.process.run` does."""
        settings = Settings.model_validate(
            {"topics": {"content": "news", "tagged": "tagged-news"}, "inference_threads": 1, **knobs}
        )
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry, labels=LABELS, topic=settings.topics.content)
        self.pipeline = pipeline_of(settings, decider=deciding(), observer=metrics)
        self.app = build(
            settings,
            pipeline=self.pipeline,
            metrics=metrics,
            progress=Progress(stall_seconds=20, monotonic=Clock()),
            idempotent=True,
            answers=AnswersAgent(
                decide=ReviewerAnswers().publications,
                observer=metrics.answers,
                progress=Progress(stall_seconds=20, monotonic=Clock()),
            ),
        )
        self.app.producer = producer
        self.app.consumer = IdleConsumer()
        self.agent, self.answerer = (
            next(agent for name, agent in self.app.agents.items() if name.endswith(end)) for end in ("classify", "answer")
        )
        self.events: list[Any] = []

    async def put(self, agent: Any, *values: bytes | None) -> None:
        """Put these records into the stream; Faust's own wait returns too early to be used."""
        for value in values:
            self.events.append(await agent.put(value, key=b"k", headers=[("h", b"1")], partition=0, wait=False))

    @property
    def acknowledged(self) -> list[bool]:
        """Whether Faust may commit each record."""
        return [event.message.acked for event in self.events]

    def counted(self, name: str, **labels: str) -> float | None:
        """A metric's value."""
        return self.registry.get_sample_value(name, labels)


@pytest.fixture(autouse=True)
def death(monkeypatch: pytest.MonkeyPatch) -> Death:
    """Replace the end of the process, and restore Faust's transport after the test."""
    found = Death()
    monkeypatch.setattr(driver.Transport, "Producer", driver.Transport.Producer)
    defaults = Delivery.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "fail", found)
    return found


def drive(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run on a fresh event loop, within a bound, without reports of exceptions that the fakes raise in tasks."""

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, __: None)
        async with asyncio.timeout(HANG_SECONDS):
            await scenario()

    asyncio.run(bounded())


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; the bound around ends the wait."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def test_every_event_is_published_to_its_topic_and_then_acknowledged(death: Death) -> None:
    """Outcomes go to tagged, review and dead letters in the order of the log, and are then acknowledged."""
    producer = RecordingProducer()

    async def scenario() -> None:
        worker = Worker(producer)
        async with worker.agent.test_context() as agent:
            await worker.put(agent, *EVENTS)
            await until(lambda: len(worker.acknowledged) == len(EVENTS) and all(worker.acknowledged))
        assert worker.counted("tagstream_events_published_total", destination="tagged") == 2
        assert worker.counted("tagstream_events_dead_lettered_total", reason="tombstone") == 1

    drive(scenario)
    assert [topic for topic, *_ in producer.sent] == list(EVENTS.values())
    assert [value for topic, _, value, _ in producer.sent if topic == "news.dlq"] == [b"{", None]
    tagged = json.loads(producer.sent[0][2] or b"")
    assert (tagged["id"], tagged["tag"], tagged["decider"]) == ("a", "mlops", "model")
    assert producer.sent[0][1] == b"k"
    assert all(headers[0] == ("h", b"1") for *_, headers in producer.sent)
    where = dict(producer.sent[2][3])
    assert (where["__streams.errors.topic"], where["__streams.errors.offset"]) == (b"news", b"2")
    assert death.causes == []


def test_an_answer_is_published_as_a_decision_and_then_acknowledged(death: Death) -> None:
    """The second agent has the delivery of the first: a record that is no answer is a dead letter, and both are acknowledged."""
    producer = RecordingProducer()
    shown = decided()
    good = reviewed(shown, answer(shown, tag="mlops"))

    async def scenario() -> None:
        worker = Worker(producer)
        async with worker.answerer.test_context() as agent:
            await worker.put(agent, good.value, b"{")
            await until(lambda: len(worker.acknowledged) == 2 and all(worker.acknowledged))
        assert worker.counted("tagstream_answers_published_total", destination="tagged") == 1
        assert worker.counted("tagstream_answers_published_total", destination="dlq") == 1
        assert worker.counted("tagstream_events_published_total", destination="tagged") == 0

    drive(scenario)
    assert [topic for topic, *_ in producer.sent] == ["tagged-news", "news.dlq"]
    published = json.loads(producer.sent[0][2] or b"")
    assert (published["id"], published["tag"], published["decider"]) == ("e-1", "mlops", "reviewer")
    assert dict(producer.sent[1][3])["__streams.errors.topic"] == b"reviewed"
    assert death.causes == []


def test_no_event_is_to_blame_when_the_agent_of_answers_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events may be in the model at that moment; they must not be suspects of the next process."""
    said: list[str] = []

    def broken(_: Any, __: Any = None) -> Any:
        raise OSError

    def end(error: BaseException) -> None:
        said.append(type(error).__name__)
        raise Died

    monkeypatch.setattr("tagstream.stream.worker.app.die", end)
    guard = SimpleNamespace(excuse=lambda: said.append("excused"))
    answers = AnswersAgent(decide=broken, observer=NullObserver(), progress=Progress(stall_seconds=20, monotonic=Clock()))

    async def scenario() -> None:
        stream = FakeStream()
        delivery = answers.delivery(
            Settings(),
            tracing=UNTRACED,
            guard=guard,
            engine=FakeEngine(stream),
        )
        stream.feed(1)
        run = asyncio.create_task(delivery.run(stream.events()))
        await until(lambda: len(said) == 2)
        run.cancel()
        await asyncio.wait({run})

    drive(scenario)
    assert said == ["excused", "OSError"]


def test_a_copy_for_audit_is_confirmed_before_its_event_is_acknowledged() -> None:
    """Decision and copy are two records of one event: an event whose copy was lost would be missing in the sample."""
    producer = RecordingProducer(confirms=False)

    async def scenario() -> None:
        worker = Worker(producer)
        worker.pipeline.draw = Draw(rate=1.0)
        async with worker.agent.test_context() as agent:
            await worker.put(agent, b'{"id":"a","title":"deployment"}')
            await until(lambda: len(producer.futures) == 2)
            producer.futures[0].set_result(None)
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert worker.acknowledged == [False]
            producer.futures[1].set_result(None)
            await until(lambda: worker.acknowledged == [True])
        assert worker.counted("tagstream_audits_total", label="mlops") == 1

    drive(scenario)
    assert [topic for topic, *_ in producer.sent] == ["tagged-news", "audit"]
    assert producer.sent[0][1:2] + producer.sent[0][3:] == producer.sent[1][1:2] + producer.sent[1][3:]


def test_no_event_is_acknowledged_before_the_broker_confirms_it() -> None:
    """An outcome that is only queued leaves its event unacknowledged, so Faust's automatic acknowledgement is off."""
    producer = RecordingProducer(confirms=False)

    async def scenario() -> None:
        worker = Worker(producer)
        async with worker.agent.test_context() as agent:
            await worker.put(agent, *EVENTS)
            await until(lambda: bool(producer.futures))
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert not any(worker.acknowledged)
            while not all(worker.acknowledged):
                for future in producer.futures:
                    if not future.done():
                        future.set_result(None)
                await asyncio.sleep(0.005)

    drive(scenario)


def test_a_failed_confirmation_acknowledges_no_event_though_faust_stops_gracefully(death: Death) -> None:
    """After a failed confirmation neither that batch nor a later one is acknowledged, also while the agent stops."""
    producer = RecordingProducer(confirms=False)
    workers: list[Worker] = []

    async def scenario() -> None:
        # Half of two is one: the second event does not wait for the first.
        worker = Worker(producer, batch_max_events=2)
        workers.append(worker)
        async with worker.agent.test_context() as agent:
            await worker.put(agent, b'{"title":"a"}')
            await until(lambda: bool(producer.futures))
            await worker.put(agent, b'{"title":"b"}')
            await until(lambda: len(producer.futures) == 2)
            producer.futures[1].set_result(None)
            producer.futures[0].set_exception(ConnectionError("gone"))
            await until(lambda: bool(death.causes))

    drive(scenario)
    assert [str(cause) for cause in death.causes] == ["gone"]
    assert not any(workers[0].acknowledged)


def test_a_silent_broker_ends_the_process_within_its_bound(death: Death) -> None:
    """A broker that does not confirm within `produce_timeout_seconds` ends the process."""
    workers: list[Worker] = []

    async def scenario() -> None:
        worker = Worker(RecordingProducer(confirms=False), produce_timeout_seconds=0.05)
        workers.append(worker)
        async with worker.agent.test_context() as agent:
            await worker.put(agent, b'{"title":"a"}')
            await until(lambda: bool(death.causes))

    drive(scenario)
    assert isinstance(death.causes[0], DeliveryError)
    assert not any(workers[0].acknowledged)


def test_a_stopped_agent_leaves_its_events_unacknowledged(death: Death) -> None:
    """A stopped agent ends without failing and does not acknowledge the events in hand."""
    producer = RecordingProducer(confirms=False)
    workers: list[Worker] = []

    async def scenario() -> None:
        worker = Worker(producer)
        workers.append(worker)
        async with worker.agent.test_context() as agent:
            await worker.put(agent, *EVENTS)
            await until(lambda: bool(producer.futures))

    drive(scenario)
    assert not any(workers[0].acknowledged)
    assert death.causes == []


# --- settings under which Faust loses no events ----------------------------------------------------------------------


def test_faust_is_configured_as_the_decision_record_says() -> None:
    """Each of these settings differs from Faust's default, which loses events, hangs or opens a port."""
    conf = faust_app(Settings(), idempotent=True).conf
    assert conf.agent_supervisor.__name__ == "CrashingSupervisor"
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.stream_wait_empty is True
    assert conf.web_enabled is False
    assert conf.topic_allow_declare is False
    assert conf.topic_disable_leader is True
    assert str(conf.store) == "memory:"
    assert conf.producer_request_timeout == Settings().produce_timeout_seconds


@pytest.mark.parametrize("idempotent", [True, False])
def test_the_producer_waits_for_all_replicas(idempotent: bool) -> None:
    """The producer waits for all replicas, which Faust sets only in its exactly-once mode."""
    faust_app(Settings(), idempotent=idempotent)
    extra = driver.Transport.Producer._settings_extra(driver.Transport.Producer)
    assert extra == {"acks": "all", "enable_idempotence": idempotent}


def test_a_faust_without_its_c_extension_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Faust without its C extension is refused, because the Python version acknowledges stale messages unprocessed."""
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    with pytest.raises(RuntimeError, match=r"C extension.*Next: "):
        faust_app(Settings(), idempotent=True)


@pytest.mark.parametrize(("key", "value"), [(b"k", b"{"), (None, b"\xff\x00"), (b"\xff", None)])
def test_content_is_read_as_raw_bytes(key: bytes | None, value: bytes | None) -> None:
    """`content` is raw, because a typed topic acknowledges undecodable records and throws them into the agent."""
    app = faust_app(Settings(), idempotent=True)
    headers = [("name", b"\xff")]
    message = ConsumerMessage("content", 0, 7, 1.0, 0, headers, key, value, None)
    event = asyncio.run(source(app, Settings()).decode(message, propagate=True))
    assert (event.key, event.value, event.message, message.headers) == (key, value, message, headers)


# --- weight of imports -------------------------------------------------------------------------------------------------


def loaded_by(module: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after importing this module."""
    program = f"import sys, {module}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_SECONDS, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        (
            "tagstream.stream.decide.pipeline",
            {"torch", "faust", "transformers", "onnxruntime", "tokenizers", "kafka", "aiokafka", "prometheus_client"},
        ),
        (
            "tagstream.stream.cli.main",
            {"onnxruntime", "faust", "kafka", "aiokafka", "pydantic", "pydantic_settings", "tokenizers", "numpy", "torch"},
        ),
        ("tagstream.stream.deliver.delivery", {"torch", "faust", "onnxruntime", "kafka", "aiokafka"}),
        ("tagstream.model_export.bundle.model", {"torch", "transformers", "faust", "kafka", "aiokafka", "onnx"}),
        (
            "tagstream.stream.cli.worker_process",
            {"torch", "transformers", "onnx", "sklearn", "scipy", "sqlalchemy", "fastapi", "uvicorn", "pyarrow", "fastavro"}
            | {"opentelemetry", "ray", "pyspark", "httpx", "confluent_kafka"},
        ),
        ("tagstream.stream.library.tagger", {"torch", "faust", "kafka", "aiokafka", "pyarrow"}),
        ("tagstream.monitoring.observer", {"prometheus_client"}),
    ],
)
def test_importing_a_room_loads_no_package_that_it_does_not_need(module: str, heavy: set[str]) -> None:
    """Deciding stays light, `--help` loads quickly, and a worker needs no training libraries."""
    loaded = loaded_by(module)
    assert module.partition(".")[0] in loaded
    assert loaded & heavy == set()


class _Delivery:
    """Replaces the delivery and notes the order of calls."""

    def __init__(self, order: list[str]) -> None:
        self._order = order

    async def hand_back(self) -> None:
        """Note the call."""
        self._order.append("handed back")

    def take_again(self) -> None:
        """Note the call."""
        self._order.append("takes again")


class _Transactions(_Delivery):
    """Replaces the transactions and notes the order of calls."""

    async def hold(self, _: set[TP]) -> None:
        """Note the call."""
        self._order.append("fenced")


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of a rebalance in their order; Faust's own steps are only noted."""
    found: list[str] = []

    def noted(what: str) -> Callable[..., Any]:
        async def note(*_: Any) -> None:
            found.append(what)

        return note

    for name, what in [
        ("maybe_wait_for_commit_to_finish", "a commit under way has ended"),
        ("commit_and_end_transactions", "committed"),
        ("on_partitions_revoked", "Faust forgets"),
        ("on_partitions_assigned", "Faust assigns"),
    ]:
        monkeypatch.setattr(driver.Consumer, name, noted(what))
    monkeypatch.setattr(driver.Consumer, "stop_flow", lambda _: found.append("flow stopped"))
    monkeypatch.setattr(driver.Consumer, "should_stop", False)
    return found


def consumer_of(kind: type[Any], order: list[str], *, stops: bool = False) -> Any:
    """A consumer without a broker."""
    consumer = object.__new__(kind)
    consumer.app = SimpleNamespace(delivery=_Delivery(order), transactions=_Transactions(order), should_stop=stops)
    consumer._committable, consumer.skipped, consumer._passed_over, consumer._between, consumer._revocations = (
        {},
        {},
        {},
        False,
        0,
    )
    return consumer


@pytest.mark.parametrize("kind", [Consumer, TransactedConsumer])
def test_a_revocation_commits_before_faust_forgets_the_acknowledgements(kind: type[Any], order: list[str]) -> None:
    """Faust drops acknowledgements when it handles a revocation, so the worker finishes and commits before that."""
    asyncio.run(consumer_of(kind, order).on_partitions_revoked({TP("content", 0)}))

    assert order == ["flow stopped", "handed back", "a commit under way has ended", "committed", "Faust forgets"]


def test_a_revoked_partition_loses_its_notes(order: list[str]) -> None:
    """The notes of a revoked partition are dropped, since another worker may have read it in the meantime."""
    gone, other = TP("content", 0), TP("content", 1)
    made = consumer_of(Consumer, order)
    for notes in (made._committable, made.skipped, made._passed_over):
        notes.update({gone: "noted", other: "noted"})
    asyncio.run(made.on_partitions_revoked({gone}))

    assert [list(notes) for notes in (made._committable, made.skipped, made._passed_over)] == [[other]] * 3


def test_the_previous_owner_is_fenced_before_a_partition_is_read(order: list[str]) -> None:
    """With exactly once the offset to start from is known only after the previous owner is fenced."""
    asyncio.run(consumer_of(TransactedConsumer, order).on_partitions_assigned({TP("content", 0)}))

    assert order == ["fenced", "takes again", "Faust assigns"]


def test_a_stopping_worker_takes_no_events_of_new_partitions(order: list[str]) -> None:
    """A worker that is stopping during a rebalance stays stopped."""
    asyncio.run(consumer_of(Consumer, order, stops=True).on_partitions_assigned({TP("content", 0)}))

    assert order == ["Faust assigns"]


def worker_of(app: faust.App, on_stopping: Callable[[], None] = lambda: None) -> ending.Worker:
    """A worker whose watchdog has not started, and which does not run."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        return ending.Worker(app, loop=loop, shutdown_seconds=60, on_stopping=on_stopping)


@pytest.mark.parametrize("asked", [True, False])
def test_every_stop_is_bounded(asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog is told of a stop that Faust begins by itself, and of the moment when no event is in hand."""
    told: list[object] = []
    monkeypatch.setattr(Watchdog, "stops", lambda _, *, asked: told.append(asked))
    monkeypatch.setattr(Watchdog, "drained", lambda _: told.append("drained"))
    app = faust_app(Settings(), idempotent=True)
    worker = worker_of(app)
    if asked:
        # The watchdog itself has heard the signal.
        worker._signal_stop_time = 1.0
    worker.on_worker_shutdown()
    asyncio.run(app.on_before_shutdown.send())

    assert told == (["drained"] if asked else [False, "drained"])


@pytest.mark.parametrize("crash", [RuntimeError("the fetcher broke"), SystemExit(1), asyncio.CancelledError()], ids=repr)
def test_an_unrequested_stop_ends_with_code_70_however_faust_ends(
    crash: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust itself would end with 0, or with 1 as for a refused bundle, which would mislead an operator."""
    stops: list[str] = []
    worker = worker_of(faust_app(Settings(), idempotent=True), on_stopping=lambda: stops.append("not ready"))

    def crashes() -> None:
        worker.on_worker_shutdown()
        raise crash

    monkeypatch.setattr(worker, "execute_from_commandline", crashes)
    with pytest.raises(SystemExit) as ended:
        worker.work()

    assert ended.value.code == EXIT_BROKEN
    assert stops == ["not ready"]


def test_a_requested_stop_keeps_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """An orderly end after SIGTERM keeps code 0."""
    worker = worker_of(faust_app(Settings(), idempotent=True))

    def ends() -> None:
        raise SystemExit(0)

    monkeypatch.setattr(worker, "execute_from_commandline", ends)
    with pytest.raises(SystemExit) as ended:
        worker.work()

    assert ended.value.code == 0


class _Positions:
    """Replaces aiokafka's consumer and its parts: has the commits and notes seeks."""

    def __init__(self, commits: dict[TP, int | None]) -> None:
        self.commits = commits
        self.questions = 0
        self.sought: dict[TP, int] = {}
        self.rewound: list[TP] = []
        self.metadata = ""
        self.memory = GroupMemory()
        self._coordinator = self._fetcher = self._subscription = self.subscription = self._client = self.cluster = self
        state_value = lambda tp: SimpleNamespace(await_reset=lambda _: self.rewound.append(tp))  # noqa: E731
        self.assignment = SimpleNamespace(tps=set(commits), state_value=state_value)
        self.overtaken_by: Any = None
        self._records = dict.fromkeys(commits, "fetched before")
        self._wait_consume_future = None

    async def fetch_committed_offsets(self, partitions: list[TP]) -> dict[TP, Any]:
        """The commits of these partitions."""
        self.questions += 1
        if self.overtaken_by is not None:
            self.assignment = self.overtaken_by
        found = {tp: self.commits[tp] for tp in partitions}
        return {tp: SimpleNamespace(offset=at, metadata=self.metadata) for tp, at in found.items() if at is not None}

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Those of the test."""
        return {tp.partition for tp in self.commits if tp.topic == topic}

    def seek_to(self, tp: TP, offset: int) -> None:
        """Note the seek."""
        self.sought[tp] = offset

    def _notify(self, _: Any) -> None:
        """Ignore the notification."""


def seek_to_committed(positions: _Positions, memory: GroupMemory | None = None) -> Any:
    """Seek in the thread, as Faust does."""
    thread = object.__new__(InnerConsumer)
    thread._consumer = positions
    thread.consumer = SimpleNamespace(app=SimpleNamespace(group_memory=memory, pace=Pace()))

    async def call_thread(work: Any, *arguments: Any) -> Any:
        return await work(*arguments)

    thread.call_thread = call_thread
    return asyncio.run(thread.seek_to_committed())


def test_a_partition_without_a_commit_is_read_from_its_beginning_without_waiting_for_its_leader() -> None:
    """Records that a rebalance dropped come again without a commit to seek to, and one request asks for all partitions."""
    never, begun, done = (TP("content", partition) for partition in range(3))
    positions = _Positions({never: None, begun: 0, done: 7})

    assert seek_to_committed(positions) == {never: None, begun: 0, done: 7}
    assert positions.sought == {done: 7}
    # The fetcher finds their new position.
    assert sorted(positions.rewound) == [never, begun]
    assert set(positions._records) == {done}
    assert positions.questions == 1


def test_a_group_without_commits_begins_now_and_its_commits_say_so_to_the_next_worker() -> None:
    """The start of the group survives a restart, because it is in the metadata of its commits."""
    told: list[float] = []
    first = _Positions({TP("content", 0): None, TP("content", 1): None})
    before = time.time()
    seek_to_committed(first, GroupMemory(told=told.append))
    assert before <= told[0] <= time.time()

    # The next worker gets the other partition, which has no commit yet.
    second = _Positions({TP("content", 0): 7, TP("content", 1): None})
    second.assignment.tps = {TP("content", 1)}
    second.metadata = first.memory.metadata
    seek_to_committed(second, GroupMemory(told=told.append))
    assert told[1] == pytest.approx(told[0], abs=0.001)
    assert second.memory.metadata == first.memory.metadata


def test_a_group_with_commits_of_unknown_age_has_no_start() -> None:
    """Commits of another tool may be of any age, so that no event counts as older than the group."""
    told: list[float] = []
    positions = _Positions({TP("content", 0): 7})
    seek_to_committed(positions, GroupMemory(told=told.append))
    assert told == [0.0]
    assert positions.memory.metadata == ""


def test_a_partition_assigned_during_the_request_is_not_rewound() -> None:
    """The request did not include the partition, so its missing answer does not mean that it has no commit."""
    positions = _Positions({TP("content", 0): 7})
    positions.overtaken_by = SimpleNamespace(tps={TP("content", 0), TP("content", 1)})
    with pytest.raises(IllegalStateError):
        seek_to_committed(positions)
    assert (positions.sought, positions.rewound) == ({}, [])


@pytest.mark.parametrize(
    ("code", "raises", "dead"),
    [
        (14, GroupLoadInProgressError, False),
        (15, GroupCoordinatorNotAvailableError, True),
        (16, NotCoordinatorForGroupError, True),
        (30, GroupAuthorizationFailedError, False),
    ],
)
def test_an_error_of_the_coordinator_is_not_taken_for_missing_commits(
    code: int, raises: type[Exception], dead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From version 2 an error of the whole answer comes with an empty list, and aiokafka reads only the list."""
    died: list[None] = []

    async def answered(*_: Any) -> Any:
        return OffsetFetchResponse_v3(0, [], code)

    monkeypatch.setattr(GroupCoordinator, "_send_req", answered)
    coordinator = object.__new__(Coordinator)
    coordinator.group_id = "tagstream"
    coordinator.coordinator_dead = lambda: died.append(None)
    with pytest.raises(raises):
        asyncio.run(coordinator._send_req(OffsetFetchRequest("tagstream", [("content", [0])])))
    assert bool(died) == dead
    assert asyncio.run(coordinator._send_req("another question")).error_code == code


def test_a_flush_does_not_wait_for_the_producer() -> None:
    """Faust flushes before every commit, so a drift finding that its topic does not take would stop the stream."""

    class Stuck:
        async def flush(self) -> None:
            await asyncio.Event().wait()

    producer = object.__new__(Producer)
    producer._producer, producer.buffer = Stuck(), Stuck()
    producer._transaction_producers = {}

    asyncio.run(asyncio.wait_for(producer.flush(), HANG_SECONDS))


def test_a_commit_for_a_deleted_topic_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry until the topic exists again would put the old offset on a new log; a new partition gets its time."""
    clock = Clock()
    monkeypatch.setattr("tagstream.stream.worker.inner_consumer.time.monotonic", clock)
    answers = [3, 0, 3, 3]

    async def answered(*_: Any) -> Any:
        clock.now += UNKNOWN_SECONDS - 1
        return SimpleNamespace(topics=[("content", [(0, answers.pop(0))])])

    monkeypatch.setattr(GroupCoordinator, "_send_req", answered)
    coordinator = object.__new__(Coordinator)
    coordinator.group_id, coordinator.coordinator_id, coordinator.generation, coordinator.member_id = "g", 1, 1, "m"
    coordinator._retry_backoff_ms, coordinator._commit_lock = 0, asyncio.Lock()
    coordinator._client = None
    monkeypatch.setattr(coordinator, "ensure_coordinator_known", lambda: asyncio.sleep(0))

    async def commit() -> None:
        await coordinator.commit_offsets(None, {TP("content", 0): OffsetAndMetadata(7, "")})

    asyncio.run(commit())
    assert answers == [3, 3]
    answers.append(3)
    with pytest.raises(CommitFailedError, match="one of the partitions content/0 does not exist any more"):
        asyncio.run(commit())


def test_a_partition_that_has_just_been_assigned_is_no_error() -> None:
    """Faust measures from the start of the process and would log an error at every rebalance after five minutes."""
    thread = object.__new__(InnerConsumer)
    said: list[str] = []
    thread.log = SimpleNamespace(error=lambda *words: said.append(str(words)))
    thread.time_started, thread.tp_fetch_request_timeout_secs = 0.0, 1.0
    state = SimpleNamespace(timestamp=None)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    subscriptions = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    thread._consumer = SimpleNamespace(_fetcher=SimpleNamespace(_subscriptions=subscriptions))
    place = TP("content", 0)

    driver.AIOKafkaConsumerThread.verify_event_path(thread, 400.0, place)
    assert len(said) == 1, "Faust has become better: this override can go"
    thread.verify_event_path(400.0, place)
    assert len(said) == 1


def test_the_worker_uses_our_coordinator() -> None:
    """A starting consumer looks the coordinator's class up under the replaced name."""
    faust_app(Settings(), idempotent=True)
    assert aiokafka_consumer.GroupCoordinator is Coordinator


class _Fetched(FetchResult):  # type: ignore[misc]
    """Fetched records of one partition."""

    def __init__(self, records: list[str]) -> None:
        self.records = records

    def getall(self, max_records: int | None = None) -> list[str]:
        """Take up to so many records."""
        taken, self.records = self.records[:max_records], self.records[max_records:]
        return taken

    def has_more(self) -> bool:
        """Whether records are left."""
        return bool(self.records)


def test_each_partition_gets_its_share_of_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are taken from all partitions in turn, so a large partition does not hold the others up."""
    monkeypatch.setattr("tagstream.stream.worker.inner_consumer.LEAST_RECORDS", 3)
    long, short, other = (TP("content", partition) for partition in range(3))
    fetched: OrderedDict[TP, Any] = OrderedDict()
    fetched |= {
        long: _Fetched([f"long {number}" for number in range(100)]),
        short: _Fetched(["short 0", "short 1"]),
        other: _Fetched(["of another worker"]),
    }
    freed: list[None] = []
    thread = object.__new__(InnerConsumer)
    thread.consumer = SimpleNamespace(flow_active=True)
    consumer = SimpleNamespace(
        _closed=False,
        _fetcher=SimpleNamespace(
            _records=fetched,
            _closed=False,
            _subscriptions=SimpleNamespace(reassignment_in_progress=False, fetch_context=contextlib.nullcontext),
            _wait_consume_future=None,
            _notify=freed.append,
        ),
    )
    taken = asyncio.run(thread._fetch_records(consumer, {long, short}, timeout=1.0, max_records=10))

    assert taken == {long: [f"long {number}" for number in range(5)], short: ["short 0", "short 1"]}
    # A partition with records left queues behind the others; an empty one is fetched again.
    assert list(fetched) == [other, long]
    assert freed == [None]
