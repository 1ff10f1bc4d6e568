"""The topic of a rollout is lost, is written by others, or stands still: no event is decided by another model than its records say, and each says so."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.fleet import ROOT
from tests.integration.command_line import Command, lines
from tests.integration.rollout.conftest import altered, judged, records
from tests.integration.rollout.judge import judge
from tests.integration.running import RunningWorker
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900), pytest.mark.slow]
EVENTS = 12
OLD = "2020-01-01T00:00:00.000Z"


class Stream:
    """A group with its commands: workers of real bundles, changes of the model, and the topic of the records as an administrator has it."""

    def __init__(self, environ: dict[str, str], processes: Processes, tagstream: Command, bundle: Bundle, folder: Path) -> None:
        """Topics of this test, and a place for bundles."""
        content = environ["TAGSTREAM_TOPICS__CONTENT"]
        self.environ = {
            **environ,
            "TAGSTREAM_BUNDLE": str(bundle.path),
            "TAGSTREAM_ROLLOUT__BUNDLES": str(folder / "bundles"),
            "TAGSTREAM_ROLLOUT__TOPIC": f"{content}-rollout",
            "TAGSTREAM_METRICS_PORT": "0",
            "TAGSTREAM_SESSION_TIMEOUT_SECONDS": "6",
        }
        self.settings: Settings = load(self.environ, folder=ROOT).settings
        self._processes, self._tagstream, self._bundle, self._folder = processes, tagstream, bundle, folder
        self._workers = self._sent = 0
        self.admin = KafkaAdminClient(bootstrap_servers=self.settings.broker_list)

    @property
    def topic(self) -> str:
        """Of the records."""
        return self.settings.rollout.topic

    def start(self, **changes: str) -> RunningWorker:
        """A worker, which need not become ready."""
        self._workers += 1
        return RunningWorker(
            self._processes.start(
                [sys.executable, "-m", "tagstream.stream.cli.main", "worker"],
                env=os.environ | self.environ | changes,
                log_file=self._folder / f"worker-{self._workers}.log",
            )
        )

    def worker(self, **changes: str) -> RunningWorker:
        """A worker that is ready."""
        started = self.start(**changes)
        started.until_ready()
        return started

    def refused(self, *words: str, **changes: str) -> None:
        """A worker of now ends with 2, decides nothing, and says these words and the next step in its last line."""
        before = self.outcomes()
        ending = self.start(**changes).process
        until(lambda: not ending.running() or self.outcomes() > before, "the worker ends")
        assert (ending.exit_code, self.outcomes()) == (2, before), ending.output()[-2000:]
        last = json.loads(ending.output().splitlines()[-1])
        assert last["event"] == "worker_ended"
        for one in (*words, "Next:"):
            assert one in last["why"], last

    def outcomes(self) -> int:
        """How many there are."""
        return sum(1 for _ in records(self.settings, self.settings.topics.tagged, self.settings.topics.review))

    def send(self) -> None:
        """Some events, in all partitions."""
        producer = KafkaProducer(bootstrap_servers=self.settings.broker_list, acks="all")
        for number in range(self._sent, self._sent + EVENTS):
            event = {"id": f"e-{number}", "title": f"Translating text {number}"}
            producer.send(self.settings.topics.content, value=json.dumps(event).encode(), key=b"k%d" % number)
        producer.close()
        self._sent += EVENTS

    def decide(self, worker: RunningWorker) -> None:
        """Send events, and wait until all are decided and committed."""
        self.send()
        until(lambda: self.outcomes() >= self._sent, "the events are decided", process=worker.process)
        worker.until_metric("tagstream_committed_lag_events", lambda lag: lag == 0)

    def rollout(self, *words: str, code: int = 0, **changes: str) -> str:
        """What a command of the change says; it ends with this code."""
        done = self._tagstream("rollout", *words, environ=self.environ | changes)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == code, said
        return said

    def new(self, version: str) -> str:
        """The folder of a bundle of this version."""
        return str(altered(self._bundle, self._folder, version))

    def doctor(self, **changes: str) -> dict[str, dict[str, Any]]:
        """The doctor's findings, by check."""
        found = self._tagstream("doctor", "--json", environ=self.environ | changes).stdout
        return {str(one["check"]): one for one in lines(found)}

    def dump(self) -> list[bytes]:
        """The values of the topic, as a consumer of committed records prints them."""
        return [record.value or b"" for record in records(self.settings, self.topic)]

    def delete(self) -> None:
        """The topic is gone."""
        self.admin.delete_topics([self.topic])
        until(lambda: self.admin.describe_topics([self.topic])[0]["error_code"], "the topic is gone")

    def make(self) -> None:
        """The topic is there, and empty."""
        options = {"num_partitions": 1, "replication_factor": 1, "configs": {"retention.ms": "-1"}}
        self.admin.create_topics({self.topic: options}, wait_for_metadata=True)

    def write(self, *values: bytes | dict[str, object]) -> None:
        """Records of a program that is no controller."""
        producer = KafkaProducer(bootstrap_servers=self.settings.broker_list, acks="all")
        for value in values:
            written = value if isinstance(value, bytes) else json.dumps(value).encode()
            producer.send(self.topic, value=written, partition=0).get(timeout=HANG_SECONDS)
        producer.close()


Foreign = Callable[..., dict[str, object]]


def foreign(kind: str, epoch: int, at: str = OLD, **more: object) -> dict[str, object]:
    """A record as another program writes it."""
    return {"kind": kind, "epoch": epoch, "at": at, "by": "somebody", **more}


@pytest.fixture
def stream(
    environ: dict[str, str], processes: Processes, tagstream: Command, tiny_bundle: Bundle, tmp_path: Path
) -> Iterator[Stream]:
    """The group of this test."""
    found = Stream(environ, processes, tagstream, tiny_bundle, tmp_path)
    yield found
    found.admin.close()


def test_a_group_that_had_epochs_decides_nothing_without_their_topic(stream: Stream) -> None:
    """Deleted, and made again empty: workers and commands refuse with the ways out, and restored from a dump the records decide all that waited."""
    first = stream.worker()
    stream.decide(first)
    stream.rollout("promote", stream.new("2"))
    stream.decide(first)
    assert first.stop() == 0
    kept = stream.dump()
    stream.send()

    stream.delete()
    stream.refused(stream.topic, "epoch 1", "TAGSTREAM_ROLLOUT__TOPIC")
    for verb in (("status",), ("promote", stream.new("3")), ("rollback",), ("finish",)):
        said = stream.rollout(*verb, code=2)
        assert "epoch 1" in said
        assert "Next:" in said
    found = stream.doctor()[f"rollout {stream.topic}"]
    assert (found["status"], "epoch 1" in found["detail"]) == ("FAIL", True)
    assert "rollout-help.md" in found["fix"]

    stream.make()
    stream.refused(stream.topic, "epoch 1")
    assert stream.doctor()[f"rollout {stream.topic} records"]["status"] == "FAIL"

    stream.write(*kept)
    again = stream.worker()
    until(lambda: stream.outcomes() >= 3 * EVENTS, "the events that waited are decided", process=again.process)
    found_right = judged(stream.settings, 3 * EVENTS)
    assert found_right.is_right, found_right
    assert set(found_right.by_epoch) == {0, 1}
    assert "epoch 2 has begun" in stream.rollout("rollback")


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_an_epoch_without_an_event_is_remembered_too(stream: Stream, delivery: str) -> None:
    """A change in a quiet night, after which the topic goes: the worker that runs ends, the next one refuses, and a new name begins anew."""
    how = {"TAGSTREAM_DELIVERY": delivery}
    first = stream.worker(**how)
    stream.decide(first)
    stream.rollout("promote", stream.new("2"))
    until(lambda: "epoch 1 of" in notes(stream), "the group's commits name the epoch", process=first.process)
    stream.delete()
    stream.send()
    assert first.end() in {2, 70}, first.process.output()[-2000:]
    assert stream.outcomes() == EVENTS
    if stream.admin.describe_topics([stream.topic])[0]["error_code"] == 0:
        # A broker makes a topic that a client asks for.
        stream.delete()
    stream.refused(stream.topic, "epoch 1", **how)

    anew = how | {"TAGSTREAM_ROLLOUT__TOPIC": f"{stream.topic}-2", "TAGSTREAM_BUNDLE": stream.new("2")}
    worker = stream.worker(**anew)
    until(lambda: stream.outcomes() == 2 * EVENTS, "the events that waited are decided", process=worker.process)
    assert "epoch 1 has begun" in stream.rollout("promote", stream.new("3"), **anew)


def notes(stream: Stream) -> str:
    """What the commits of the group say."""
    group = stream.settings.group
    return " ".join(one.metadata for one in stream.admin.list_group_offsets([group])[group].values())


def test_what_is_no_record_of_a_rollout_ends_neither_workers_nor_changes(stream: Stream) -> None:
    """Noise, and a plan of a number far above all: skipped by all alike, named by worker, doctor and log, and the next change begins."""
    first = stream.worker()
    stream.decide(first)
    stream.rollout("promote", stream.new("2"))
    champion = json.loads(stream.dump()[0])["champion"]
    far = foreign("plan", 1_000_000_000, champion=champion)
    stream.write(b"noise", b"\xff\xfe", b"[]", b"{}", {"kind": "plan", "epoch": 7}, far, foreign("close", 1_000_000_000))
    until(lambda: "rollout_records_skipped" in first.process.output(), "the worker says what it skips", process=first.process)
    stream.decide(first)
    assert "epoch 2 has begun" in stream.rollout("promote", stream.new("3"))
    stream.decide(first)
    assert first.stop() == 0
    second = stream.worker()
    stream.decide(second)
    settings, topics = stream.settings, stream.settings.topics
    of_controllers = [
        one for one in records(settings, stream.topic) if b'"by"' in (one.value or b"") and b"somebody" not in one.value
    ]
    found = judge(records(settings, topics.content), of_controllers, records(settings, topics.tagged, topics.review))
    assert found.is_right, found
    assert found.events == 4 * EVENTS
    assert set(found.by_epoch) == {0, 1, 2}
    said = stream.doctor()[f"rollout {stream.topic} records"]
    assert (said["status"], "5 records" in said["detail"]) == ("WARN", True), said
    assert "WRITE" in said["fix"]
    log = stream.rollout("log")
    assert "plan 1000000000" in log
    assert "[does not count]" in log


def test_a_record_of_a_later_version_ends_workers_with_the_way_back(stream: Stream) -> None:
    """It may name the model that decides, so nobody goes on without it: with 2 at the start, the doctor fails, and the page's way back works."""
    first = stream.worker()
    stream.decide(first)
    stream.rollout("promote", stream.new("2"))
    stream.decide(first)
    assert first.stop() == 0
    kept = stream.dump()
    later = foreign("swap", 2)
    stream.write(later)
    stream.send()
    stream.refused(stream.topic, "later version")
    found = stream.doctor()[f"rollout {stream.topic} records"]
    assert (found["status"], "cannot read" in found["detail"]) == ("FAIL", True)

    # The page's way: the records that can be read, under another name.
    stream.environ["TAGSTREAM_ROLLOUT__TOPIC"] = f"{stream.topic}-2"
    stream.settings = load(stream.environ, folder=ROOT).settings
    stream.make()
    stream.write(*kept)
    stream.worker()
    right = judged(stream.settings, 3 * EVENTS)
    assert right.is_right, right
    assert set(right.by_epoch) == {0, 1}


def test_the_doctor_sees_a_topic_that_stands_still_or_is_not_whole(stream: Stream) -> None:
    """An old plan, a close without marks, the records of another group, and a beginning that was removed: each with its next step."""
    worker = stream.worker()
    stream.decide(worker)
    stream.rollout("promote", stream.new("2"))
    check = f"rollout {stream.topic} records"
    assert stream.doctor()[check]["status"] == "OK"
    champion = json.loads(stream.dump()[0])["champion"]
    stream.write(foreign("plan", 2, champion=champion))
    planned = stream.doctor()[check]
    assert (planned["status"], "epoch 2" in planned["detail"], "rollout finish" in planned["fix"]) == ("WARN", True, True)
    stream.rollout("finish")
    assert stream.doctor()[check]["status"] == "OK"
    assert worker.stop() == 0

    now = timestamp(int(time.time() * 1000))
    stream.write(foreign("plan", 3, champion=champion, at=now), foreign("close", 3, at=now))
    closing = stream.doctor()[check]
    assert (closing["status"], "closing" in closing["detail"], "rollout finish" in closing["fix"]) == ("FAIL", True, True)
    stream.rollout("finish")
    assert stream.doctor()[check]["status"] == "OK"

    another = stream.doctor(TAGSTREAM_GROUP=f"{stream.settings.group}-2")[check]
    assert (another["status"], stream.settings.group in another["detail"]) == ("FAIL", True)

    stream.admin.delete_records({TopicPartition(stream.topic, 0): 2})
    cut = stream.doctor()[check]
    assert (cut["status"], "begins at offset 2" in cut["detail"], "rollout-help.md" in cut["fix"]) == ("FAIL", True, True)
    stream.refused("begins at offset 2")
