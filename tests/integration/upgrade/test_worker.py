"""A worker and a console go on with the topics, the commits and the files that e31436f left behind, on a real broker."""

import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from tagstream.model_export.bundle.bundle import read
from tagstream.stream.broker import Broker
from tagstream.stream.broker.processes import Processes
from tagstream.stream.deliver.breaker import BreakerFile
from tagstream.stream.deliver.state_folder import stem_of
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.store.store import open_store
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import fresh_environment, make_topics
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.running import RunningWorker, all_committed
from tests.integration.upgrade import old_state
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

BUNDLE = ROOT / "tests" / "data" / "tiny_bundle"
# So many events of each partition that the older worker had decided were not committed, as if it had been killed.
REPEATED = 3
TAGGED_AT = re.compile(rb',"tagged_at":"[^"]*"')
OUTCOMES = {"tagged": "tagged", "review": "review", "content.dlq": "dlq"}


@pytest.fixture
def environ(kafka: Broker, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Topics of two partitions, as the older worker had them."""
    found = fresh_environment(kafka.bootstrap, re.sub(r"[^a-z0-9]+", "-", request.node.name), partitions=2)
    return found | {"TAGSTREAM_STATE_FOLDER": str(tmp_path / "state"), "TAGSTREAM_BUNDLE": str(BUNDLE)}


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """The same as settings; the topics are there."""
    found = load(environ, folder=ROOT).settings
    make_topics(found)
    return found


def put_back(settings: Settings, topics: Sequence[str]) -> None:
    """The records of these topics, at the places where they lay."""
    with closing(KafkaProducer(bootstrap_servers=settings.brokers, acks="all")) as producer:
        for topic in topics:
            for placed in old_state.records(topic):
                record, name = placed.record, getattr(settings.topics, OUTCOMES.get(topic, topic))
                sent = producer.send(
                    name, key=record.key, value=record.value, headers=list(record.headers), partition=placed.partition
                )
                assert sent.get(timeout=HANG_SECONDS).offset == placed.offset


def commit(settings: Settings) -> dict[int, int]:
    """The older group's commits, a few events of each partition earlier; by partition."""
    found = {int(place.split()[1]): at - REPEATED for place, at in old_state.LEFT["commits"].items()}
    places = {TopicPartition(settings.topics.content, number): OffsetAndMetadata(at, "", -1) for number, at in found.items()}
    with closing(
        KafkaConsumer(bootstrap_servers=settings.brokers, group_id=settings.group, enable_auto_commit=False)
    ) as consumer:
        consumer.assign(list(places))
        consumer.commit(places)
    return found


def ids(topic: str, settings: Settings) -> dict[str, list[bytes]]:
    """By event id, the values on a topic without the time of the decision."""
    found: dict[str, list[bytes]] = {}
    with log_of(settings, getattr(settings.topics, OUTCOMES[topic])) as log:
        starts, ends = log.starts(), log.ends()
        for record in log.read(starts, ends):
            value = record.value or b""
            found.setdefault(json.loads(value)["id"], []).append(TAGGED_AT.sub(b"", value))
    return found


def test_a_worker_goes_on_where_an_older_one_was_killed(
    environ: dict[str, str], settings: Settings, processes: Processes, tmp_path: Path
) -> None:
    """Every event that had no outcome gets one, those that had one get the same bytes again, and suspects are tried, not blamed."""
    put_back(settings, ["content", "reviewed"])
    start = commit(settings)
    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(old_state.MARK, state / f"{stem_of(settings)}-1-00000000.mark")
    process = processes.start(
        [sys.executable, "-m", "tagstream.stream.cli.main", "worker"],
        env={**without_settings(os.environ), **environ, "PYTHONPATH": str(ROOT)},
        log_file=tmp_path / "worker.log",
    )
    worker = RunningWorker(process)
    with TopicObserver(settings) as observer:
        all_committed(observer)
        answers = len(old_state.records("reviewed"))
        until(lambda: sum(map(len, ids("tagged", settings).values())) >= answers, "answers are decided", process=process)
    assert worker.stop() == 0
    [died] = [json.loads(line) for line in process.output().splitlines() if '"predecessor_died_in_model"' in line]
    assert died["suspects"] == len(old_state.records("content")) - sum(old_state.LEFT["commits"].values())
    expected = Counter(
        json.loads(placed.record.value or b"")["id"]
        for placed in old_state.records("content")
        if placed.offset >= start[placed.partition]
    )
    now = {topic: ids(topic, settings) for topic in ("tagged", "review")}
    answered = {json.loads(placed.record.value or b"")["id"] for placed in old_state.records("reviewed")}
    by_model = Counter(
        event for found in now.values() for event, values in found.items() for value in values if b'"decider":"model"' in value
    )
    assert by_model == expected
    assert {
        event for event, values in now["tagged"].items() if any(b'"decider":"reviewer"' in value for value in values)
    } == answered
    before: dict[str, set[bytes]] = {}
    for topic in ("tagged", "review"):
        for placed in old_state.records(topic):
            value = placed.record.value or b""
            before.setdefault(json.loads(value)["id"], set()).add(TAGGED_AT.sub(b"", value))
    repeated = set(before) & set(expected)
    assert len(repeated) == 2 * REPEATED
    for event in repeated:
        [value] = [value for found in now.values() for value in found.get(event, []) if b'"decider":"model"' in value]
        assert value in before[event]


@pytest.mark.parametrize("kept", [("reviewed", "reports"), ("reviewed", "reports", "review", "audit", "tagged")])
def test_a_console_goes_on_whatever_the_topics_still_have(settings: Settings, kept: Sequence[str], tmp_path: Path) -> None:
    """The queue is that of before, where topics have forgotten its events and where they tell of them again."""
    put_back(settings, kept)
    shutil.copy(old_state.STORE, tmp_path / "review.sqlite")
    open_before = dict(old_state.rows("SELECT door, COUNT(*) FROM review_items WHERE door IS NOT NULL GROUP BY door"))
    published = old_state.rows("SELECT SUM(decisions) FROM review_totals")[0][0]
    with open_store(f"sqlite:///{tmp_path}/review.sqlite") as store, StoreFollower(store, settings) as follower:
        everything = {
            (getattr(settings.topics, topic), placed.partition): placed.offset + 1
            for topic in kept
            for placed in old_state.records(topic)
        }

        def read() -> bool:
            follower.check()
            positions = store.filling.positions()
            return all(positions.get(place, 0) >= end for place, end in everything.items())

        until(read, "all topics are read", state=store.filling.positions)
        assert {door.value: count for door, count in store.queue.figures().open.items() if count} == open_before
        assert store.queue.figures().answered == len(old_state.rows("SELECT DISTINCT event_id FROM review_answers"))
        assert sum(total.decisions for total in store.samples.totals(0, 2**62)) == published


def test_a_breaker_that_was_open_stays_open(tmp_path: Path) -> None:
    """A worker of the same release and limits waits for a person; `doctor` says since when."""
    opening = json.loads(old_state.BREAKER.read_text(encoding="utf-8"))
    environ = {
        "TAGSTREAM_STATE_FOLDER": str(tmp_path),
        "TAGSTREAM_BREAKER_WINDOW_EVENTS": str(opening["window"]),
        "TAGSTREAM_BREAKER_DEAD_LETTER_RATIO": str(opening["dead_letter_ratio"]),
    }
    settings = load(environ, folder=ROOT).settings
    release = opening["release"]
    assert release.split()[1] == read(BUNDLE).digest
    file = BreakerFile(settings, release=release)
    shutil.copy(old_state.BREAKER, file.path)
    found = file.look()
    assert found is not None
    assert (found.why, found.since, found.answered) == (opening["why"], opening["opened_at"], False)
    assert found.since < time.time()
