"""The worker on Apache Kafka: its outcomes, its start and stop, and its metrics."""

import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from kafka import KafkaAdminClient, TopicPartition

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.ports import free_ports
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.answers import Said, answer_to, write_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import prediction_id
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.deliver.fatal import EXIT_BROKEN
from tagstream.stream.settings.settings import Settings
from tests.faults.answers.sending import send_answers
from tests.faults.cluster.topics import send, send_to
from tests.faults.inputs import Planted, plant
from tests.faults.observer import TopicObserver
from tests.faults.worker.failpoints import FAILPOINTS_VARIABLE, Point
from tests.faults.worker.fleet import Fleet
from tests.faults.worker.stub import HANG, LABELS, MODEL, THRESHOLD, decide
from tests.integration.command_line import Command
from tests.integration.running import Start, all_committed, all_written, ended
from tests.waiting import until

pytestmark = pytest.mark.broker

LONG_SECONDS = 3600.0


def event(text: str, **more: object) -> Planted:
    """A valid event whose id is its title."""
    return Planted(event_id=text, key=None, value=json.dumps({"id": text, "title": text, **more}).encode())


def test_every_outcome_follows_the_contract(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """Outcomes have the contract's key, headers, id, decision and input fields, and dead letters have bytes and origin."""
    trace = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    raw = b'{"id": "a", "title": "t", "rank": 12345678901234567890.50, "deep": {"x": [1, null]}, "tag": "mine"}'
    cloud = (("ce_specversion", b"1.0"), ("ce_id", b"c"), ("ce_source", b"/s"), ("ce_type", b"x"), trace)
    planted = [
        Planted(event_id="a", key=b"the producer's", value=raw, headers=(trace,)),
        Planted(event_id="b", key=None, value=b'{"id": "b", "title": "t", "description": "d"}'),
        Planted(event_id="c", key=None, value=b'{"title": "t"}', headers=cloud),
        Planted(event_id=None, key=b"k", value=b"\xffnot json", headers=(trace, ("x-dlq-code", b"the producer's"))),
        Planted(event_id=None, key=b"gone", value=None),
        *(event(f"more {number}") for number in range(40)),
    ]
    inputs = send(settings, planted)
    worker = start()
    all_written(observer, len(planted))
    worker.stop()

    outcomes = observer.outcomes()
    decided = {
        msgspec.json.decode(r.value or b"")["id"]: r
        for door in (Destination.TAGGED, Destination.REVIEW)
        for r in outcomes[door]
    }
    assert outcomes[Destination.TAGGED]
    assert outcomes[Destination.REVIEW]
    assert set(decided) == {one.event_id for one in planted if one.event_id is not None}
    for event_id, record in decided.items():
        check_decision(
            event_id, record, door=Destination.TAGGED if record in outcomes[Destination.TAGGED] else Destination.REVIEW
        )

    assert decided["a"].key == b"the producer's"
    assert decided["a"].headers == (trace,)
    fields = msgspec.json.decode(decided["a"].value or b"", type=dict[str, msgspec.Raw])
    assert bytes(fields["rank"]) == b"12345678901234567890.50"
    assert bytes(fields["deep"]) == b'{"x": [1, null]}'
    assert msgspec.json.decode(fields["overridden"]) == {"tag": "mine"}
    assert decided["b"].key == b"b"
    assert decided["c"].headers == (trace,)

    dead = {record.value: record for record in outcomes[Destination.DLQ]}
    assert len(outcomes[Destination.DLQ]) == 2
    for one in inputs[3:5]:
        letter = dead[one.planted.value]
        assert letter.key == one.planted.key
        assert letter.headers[: len(one.planted.headers)] == one.planted.headers
        ours = dict(letter.headers[len(one.planted.headers) :])
        assert ours["__streams.errors.topic"] == settings.topics.content.encode()
        assert ours["__streams.errors.partition"] == b"%d" % one.partition
        assert ours["__streams.errors.offset"] == b"%d" % one.offset
        assert ours["__streams.errors.exception"].startswith(b"tagstream.")
        assert ours["__streams.errors.message"]
        assert ours["x-dlq-stage"] == b"decode"
        assert ours["x-dlq-attempts"] == b"1"
    assert dict(dead[None].headers)["x-dlq-code"] == b"tombstone"
    assert dict(dead[b"\xffnot json"].headers)["x-dlq-code"] == b"invalid_utf8"


@pytest.mark.parametrize("delivery", ["at_least_once", pytest.param("exactly_once", marks=pytest.mark.slow)])
def test_outcomes_are_cloudevents_if_the_setting_says_so(
    delivery: str, start: Start, settings: Settings, observer: TopicObserver
) -> None:
    """The CloudEvents SDK reads each decision from its topic, a person's too; a dead letter keeps its producer's attributes."""
    cloud = (("ce_specversion", b"1.0"), ("ce_id", b"c"), ("ce_source", b"/s"), ("ce_type", b"x"), ("CE_ID", b"d"))
    dead = Planted(event_id=None, key=b"k", value=b"{", headers=cloud)
    send(settings, [*(event(f"title {n}", n=n) for n in range(40)), replace(event("of a CloudEvent"), headers=cloud), dead])
    worker = start(TAGSTREAM_DELIVERY=delivery, TAGSTREAM_CLOUDEVENTS_SOURCE="/tagging")
    all_written(observer, 42)
    asked = read_decision(observer.outcomes()[Destination.REVIEW][0])
    assert isinstance(asked, DecidedEvent)
    given = answer_to(asked, Said(tag="mlops", reviewer="ada", blind=False, asked_by="review"), now_ms=1_780_000_000_000)
    value = write_answer(asked.event.fields, given)
    send_answers(settings, [Planted(event_id=asked.event.id, key=b"k", value=value, headers=asked.event.record.headers)])
    all_written(observer, 43)
    worker.stop()

    outcomes = observer.outcomes()
    deciders = set()
    for door in (Destination.TAGGED, Destination.REVIEW):
        for record in outcomes[door]:
            names = [name.lower() for name, _ in record.headers]
            assert len(names) == len(set(names))
            read = from_kafka_event(KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value or b""))
            data = msgspec.json.decode(record.value or b"")
            assert (read.get_id(), read.get_source()) == (data["prediction_id"], "/tagging")
            assert (read.get_type(), read.get_data()) == (f"tagstream.{door.value}.v1", data)
            deciders.add(data["decider"])
    assert deciders == {"model", "reviewer"}
    (letter,) = outcomes[Destination.DLQ]
    assert letter.headers[: len(cloud)] == cloud
    assert not any(name.lower().startswith("ce_") for name, _ in letter.headers[len(cloud) :])


def check_decision(event_id: str, record: Record, *, door: Destination) -> None:
    """The fields that a decision adds, recomputed from the event alone."""
    value = msgspec.json.decode(record.value or b"")
    text = f"{value['title']} {value['description']}" if "description" in value else value["title"]
    expected = decide(text)
    assert value["tag"] == expected.label
    assert value["confidence"] == expected.confidence
    assert value["probabilities"] == expected.probabilities
    assert list(value["probabilities"]) == list(LABELS)
    assert value["prediction_id"] == prediction_id(event_id, MODEL.digest)
    assert value["decider"] == "model"
    assert value["model"] == {"name": MODEL.name, "version": MODEL.version, "digest": MODEL.digest}
    assert value["threshold"] == THRESHOLD
    assert value["truncated"] is False
    assert list(value)[-1] == "tagged_at"
    assert (door is Destination.TAGGED) == (expected.confidence >= THRESHOLD)
    if door is Destination.REVIEW:
        assert value["reasons"] == ["low_confidence"]
        assert value["inclusion_probability"] == 1.0


def test_the_counters_are_the_counts_of_the_topics(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """/metrics equals the counts of the topics, and the lag goes to zero when all is committed."""
    planted = plant(600, malformed=30, seed="counters")
    send(settings, planted)
    worker = start()
    all_written(observer, len(planted))
    all_committed(observer)
    worker.until_metric("tagstream_committed_lag_events", lambda value: value == 0)
    worker.until_metric("tagstream_events_published_total", lambda value: value == len(planted))

    outcomes = observer.outcomes()
    assert worker.metric("tagstream_events_received_total") == len(planted)
    assert worker.series("tagstream_events_published_total", "destination") == {
        door.value: len(records) for door, records in outcomes.items()
    }
    assert worker.metric("tagstream_events_dead_lettered_total") == len(outcomes[Destination.DLQ]) == 30
    assert worker.series("tagstream_review_requested_total", "reason")["low_confidence"] == len(outcomes[Destination.REVIEW])
    assert worker.metric("tagstream_predictions_total") == len(outcomes[Destination.TAGGED]) + len(outcomes[Destination.REVIEW])
    assert worker.metric("tagstream_inflight_events") == 0
    # Noted with a look at the position, once a second, which the events may be quicker than.
    worker.until_metric("tagstream_assigned_partitions", lambda value: value == settings.topic_partitions)
    noted = worker.until_metric("tagstream_last_commit_timestamp_seconds", lambda value: value > 0)
    assert noted == pytest.approx(time.time(), abs=LONG_SECONDS)


def test_an_idle_worker_commits_everything_when_it_stops(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """A worker that gets SIGTERM before its next regular commit commits everything and exits with 0."""
    worker = start(TAGSTREAM_COMMIT_INTERVAL_SECONDS="60")
    worker.until_ready()
    send(settings, plant(200, malformed=2, seed="idle"))
    all_written(observer, 200)
    code = worker.stop()

    assert code == 0, worker.process.output()
    assert observer.committed() == observer.ends()


def test_a_loaded_worker_stops_in_time_and_hands_over(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """A worker that gets SIGTERM under load finishes and commits its batch and exits with 0; its successor goes on."""
    send(settings, plant(2_000, malformed=20, seed="load"))
    worker = start(seconds_per_batch=0.2)
    all_written(observer, 100)
    code = worker.stop()
    assert code == 0, worker.process.output()
    written = sum(observer.sample().written.values())
    assert sum(observer.committed().values()) == written < 2_000

    start()
    all_written(observer, 2_000)
    all_committed(observer)
    assert sum(observer.sample().written.values()) == 2_000


@pytest.mark.slow
def test_a_group_that_changes_in_order_repeats_nothing(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """Workers that join and leave under load commit their outcomes before they give partitions up: no event is decided twice."""
    send(settings, plant(3_000, malformed=30, seed="orderly"))
    first = start(seconds_per_batch=0.2)
    all_written(observer, 200)
    second = start(seconds_per_batch=0.2)
    second.until_metric("tagstream_assigned_partitions", lambda value: value > 0)
    third = start(seconds_per_batch=0.2)
    third.until_metric("tagstream_assigned_partitions", lambda value: value > 0)
    for worker in (first, second):
        worker.process.ask_to_end()
    assert [ended(worker.process) for worker in (first, second)] == [0, 0]
    start()
    all_written(observer, 3_000)
    all_committed(observer)
    assert sum(observer.sample().written.values()) == 3_000


@pytest.mark.slow
def test_the_lag_counts_events_in_buffers(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """Events that are fetched and wait behind another partition's are not in hand and count as lag."""
    send_to(settings, plant(2, malformed=0, seed="lag"), [0, 1])
    worker = start(seconds_per_batch=1.0)
    until(lambda: sum(observer.committed().values()) == 2, "both events are committed", state=observer.committed)
    # More than any machine processes before the test has looked.
    send_to(settings, plant(3_000, malformed=0, seed="first"), [0])
    worker.until_metric("tagstream_events_received_total", lambda value: value > 2)
    send_to(settings, plant(2_000, malformed=0, seed="second"), [1])

    def waiting() -> int:
        return sum(observer.ends().values()) - sum(observer.committed().values())

    before = waiting()
    # The worker looks once a second, and learns the end of a partition with the next fetch.
    worker.until_metric("tagstream_committed_lag_events", lambda value: waiting() <= value <= before)
    assert waiting() > 100


def test_two_workers_share_the_partitions_on_one_host(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """With metrics port 0 each worker takes a free one, and together they own every partition once and both work."""
    first, second = start(), start()
    assert first.url != second.url
    for worker in (first, second):
        worker.until_metric("tagstream_assigned_partitions", lambda value: value == settings.topic_partitions / 2)
    send(settings, plant(400, malformed=4, seed="two"))
    all_written(observer, 400)
    until(
        lambda: sum(worker.metric("tagstream_events_published_total") for worker in (first, second)) == 400,
        "both workers together have counted 400 outcomes",
    )
    assert all(worker.metric("tagstream_events_published_total") > 0 for worker in (first, second))


@pytest.mark.slow
def test_the_producer_is_idempotent(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """On Apache Kafka the broker knows the worker's producer by an id: a retried send is not written twice."""
    worker = start()
    send(settings, [event(f"event {number}") for number in range(40)])
    all_written(observer, 40)
    assert '"idempotent_producer": true' in worker.process.output()

    partitions = [TopicPartition(settings.topics.tagged, partition) for partition in range(settings.topic_partitions)]
    with admin_of(settings) as client:
        found = client.describe_producers(partitions)
    producers = [producer.producer_id for state in found.values() for producer in state.active_producers]
    assert producers
    assert all(producer >= 0 for producer in producers)


@contextmanager
def admin_of(settings: Settings) -> Iterator[KafkaAdminClient]:
    """An admin client."""
    client = KafkaAdminClient(bootstrap_servers=settings.broker_list)
    try:
        yield client
    finally:
        client.close()


def test_a_stalled_worker_is_not_ready_and_still_ends(start: Start, settings: Settings) -> None:
    """With a hanging model the worker is alive, not ready after the stall bound, and ends at its bound after SIGTERM."""
    worker = start(TAGSTREAM_STALL_TIMEOUT_SECONDS="6", TAGSTREAM_INFERENCE_THREADS="1", TAGSTREAM_SHUTDOWN_TIMEOUT_SECONDS="3")
    worker.until_ready()
    send(settings, [event(HANG)])
    # A machine that stalls gives another reason first.
    until(lambda: "1 event waits and none has moved" in worker.get("/readyz")[1], "/readyz says what has not moved")
    assert worker.get("/readyz")[0] == 503
    assert worker.get("/healthz")[0] == 200

    code = worker.stop()
    assert code == 1
    assert "shutdown_timed_out" in worker.process.output()


def test_a_model_that_hangs_ends_the_worker(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """A model that hangs ends the process after the model's own bound, with the reason and without a commit."""
    worker = start(TAGSTREAM_INFERENCE_TIMEOUT_SECONDS="2", **{FAILPOINTS_VARIABLE: Point.HANG.name})
    send(settings, [event("An ordinary title")])

    assert worker.end() == EXIT_BROKEN
    assert "the model did not answer" in worker.process.output()
    assert sum(observer.committed().values()) == 0


def test_a_worker_without_topics_exits_with_2(environ: dict[str, str], tagstream: Command, bundle_folder: Path) -> None:
    """A worker does not make topics, and names the missing one and the command that makes it."""
    done = tagstream("worker", "--bundle", bundle_folder, environ={**environ, "TAGSTREAM_TOPICS__CONTENT": "no-such-topic"})

    assert done.returncode == 2
    assert b"'no-such-topic' (topics.content)" in done.stderr
    assert b"tagstream doctor --create-topics" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_worker_without_a_broker_exits_with_3(environ: dict[str, str], tagstream: Command, bundle_folder: Path) -> None:
    """The start-up ends at its bound with the address and the next step."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    changed = {**environ, "TAGSTREAM_BROKERS": address, "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": "2"}
    done = tagstream("worker", "--bundle", bundle_folder, environ=changed)

    assert done.returncode == 3
    assert f"no Kafka broker answered at {address} within 2 s".encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_worker_with_a_refused_bundle_exits_with_1(
    environ: dict[str, str], tagstream: Command, bundle_folder: Path, tmp_path: Path
) -> None:
    """A bundle with a changed byte is refused before anything is read."""
    shutil.copytree(bundle_folder, tmp_path / "changed")
    with (tmp_path / "changed" / "model.onnx").open("ab") as model:
        model.write(b"\0")
    done = tagstream("worker", "--bundle", tmp_path / "changed", environ=environ)

    assert done.returncode == 1
    assert b"is refused: model.onnx has SHA-256" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_worker_whose_port_is_taken_exits_with_2(
    start: Start, environ: dict[str, str], tagstream: Command, bundle_folder: Path
) -> None:
    """Of two workers with one metrics port the second names the port and the way to a free one."""
    port = start().url.rpartition(":")[2]
    done = tagstream("worker", "--bundle", bundle_folder, "--metrics-port", port, environ=environ)

    assert done.returncode == 2
    assert f"127.0.0.1:{port} cannot be bound".encode() in done.stderr
    assert b"TAGSTREAM_METRICS_PORT=0" in done.stderr


def test_a_worker_that_is_stopped_during_its_start_ends_in_order(
    environ: dict[str, str], processes: Processes, tmp_path: Path
) -> None:
    """SIGTERM while the worker looks for a broker ends it in order, without waiting for the start-up bound."""
    changed = {**environ, "TAGSTREAM_BROKERS": f"127.0.0.1:{free_ports(1)[0]}", "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": "60"}
    fleet = Fleet(processes=processes, module="tests.faults.worker", environ=changed, seconds_per_batch=0.0, folder=tmp_path)
    process = fleet.add(1).process
    until(lambda: "broker_not_there_yet" in process.output(), "the worker has looked for a broker", process=process)
    process.ask_to_end()

    ended(process)
    assert process.exit_code in {0, -signal.SIGTERM}
