"""A demo touches no broker that people work with, and removes its topics and its group from one that a flag names."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from tagstream.stream.broker import Broker, BrokerUnavailable, broker
from tagstream.stream.kafka import admin
from tagstream.stream.settings.loading import load
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command
from tests.waiting import HANG_SECONDS, answered, until

pytestmark = pytest.mark.broker

EVENTS, COMMITTED = 40, 3
OUTCOME = re.compile(r"^\d\d:\d\d:\d\d\.\d{3}  (tagged|review|dlq) ", re.MULTILINE)


@dataclass(frozen=True)
class Holdings:
    """Topics with the ends of their partitions, and groups with their members and committed offsets, of one broker."""

    ends: dict[str, list[int]]
    groups: dict[str, tuple[int, dict[TopicPartition, int]]]


@pytest.fixture(scope="module")
def theirs(tiny_bundle_folder: Path) -> Iterator[dict[str, str]]:
    """TAGSTREAM_* of users of a broker: their topics have events, and their group has committed some of them."""
    try:
        # The shared broker gets topics of other tests meanwhile, and this one is compared as a whole.
        with broker(prefer="kafka", environ=without_settings(os.environ), start_timeout_seconds=HANG_SECONDS) as found:
            yield {**worked_with(found), "TAGSTREAM_BUNDLE": str(tiny_bundle_folder), "TAGSTREAM_METRICS_PORT": "0"}
    except BrokerUnavailable as error:
        pytest.skip(f"no Apache Kafka could be had: {error}")


def worked_with(found: Broker) -> dict[str, str]:
    """Fill a fresh broker, and name it in the environment as the README says."""
    environ = {"TAGSTREAM_BROKERS": found.bootstrap}
    settings = load(environ, folder=ROOT / "tests").settings
    answered(lambda: admin.create(settings), found.bootstrap)
    producer = KafkaProducer(bootstrap_servers=found.bootstrap)
    for number in range(EVENTS):
        producer.send(settings.topics.content, value=b'{"title":"theirs %d"}' % number, partition=number % 2)
    producer.close()
    with_group = KafkaConsumer(bootstrap_servers=found.bootstrap, group_id=settings.group, enable_auto_commit=False)
    with_group.commit({TopicPartition(settings.topics.content, 0): OffsetAndMetadata(COMMITTED, "", -1)})
    with_group.close()
    return environ


def holdings(bootstrap: str) -> Holdings:
    """The topics and groups of the broker, without its internal topics; a broker without an answer is asked again."""
    return answered(lambda: held(bootstrap), bootstrap)


def held(bootstrap: str) -> Holdings:
    """The same, asked once."""
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    reader = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        topics = sorted(topic for topic in client.list_topics() if not topic.startswith("__"))
        groups = sorted(group["group_id"] for group in client.list_groups())
        return Holdings(
            ends={
                topic: list(
                    reader.end_offsets(
                        [TopicPartition(topic, n) for n in sorted(reader.partitions_for_topic(topic) or ())]
                    ).values()
                )
                for topic in topics
            },
            groups={group: (members(client, group), committed(client, group)) for group in groups},
        )
    finally:
        reader.close()
        client.close()


def members(client: KafkaAdminClient, group: str) -> int:
    """How many members the group has."""
    return len(client.describe_groups([group])[group]["members"])


def committed(client: KafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """The offsets that the group has committed."""
    return {partition: found.offset for partition, found in client.list_group_offsets([group])[group].items()}


def test_a_demo_leaves_the_broker_of_the_settings_alone(theirs: dict[str, str], tagstream: Command) -> None:
    """With TAGSTREAM_BROKERS set, topics, offsets and groups there are as before, and the demo says that it starts its own."""
    bootstrap = theirs["TAGSTREAM_BROKERS"]
    before = holdings(bootstrap)
    assert sum(before.ends["content"]) == EVENTS
    assert before.groups == {"tagstream": (0, {TopicPartition("content", 0): COMMITTED})}
    done = tagstream("demo", "--seconds", "3", environ=theirs)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert holdings(bootstrap) == before
    assert b"events are accounted for" in done.stdout
    assert f"brokers = {bootstrap} (environment TAGSTREAM_BROKERS) is not used".encode() in done.stderr
    assert b"--on-broker" in done.stderr


@pytest.mark.slow
def test_a_demo_on_a_named_broker_removes_its_topics_and_its_group(theirs: dict[str, str], tagstream: Command) -> None:
    """With --on-broker every event is accounted for on topics of the demo's own, and the broker is as before."""
    bootstrap = theirs["TAGSTREAM_BROKERS"]
    before = holdings(bootstrap)
    environ = {name: value for name, value in theirs.items() if name != "TAGSTREAM_BROKERS"}
    done = tagstream("demo", "--seconds", "3", "--on-broker", bootstrap, environ=environ)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert b"events are accounted for" in done.stdout
    assert re.search(rb"^topics +tagstream-demo-[0-9a-f]{8}\.content", done.stdout, re.MULTILINE)
    until(lambda: holdings(bootstrap) == before, "the topics and the group are gone", state=done.stdout.decode)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "expected", "said"),
    [
        (re.compile(r"^topics ", re.MULTILINE), 1, "stopped before anything was sent"),
        (OUTCOME, 0, "events are accounted for"),
    ],
)
def test_a_demo_that_is_interrupted_removes_its_topics_and_group_too(
    theirs: dict[str, str], tmp_path: Path, moment: re.Pattern[str], expected: int, said: str
) -> None:
    """Ctrl-C ends a demo in order during the worker's start, and during sending, where it waits for the last outcomes."""
    bootstrap = theirs["TAGSTREAM_BROKERS"]
    before = holdings(bootstrap)
    log = tmp_path / "output"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "tagstream.stream.cli.main", "demo", "--on-broker", bootstrap],
            cwd=ROOT,
            env={**without_settings(os.environ), **theirs, "PYTHONPATH": str(ROOT)},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        until(
            lambda: moment.search(log.read_text()) or process.poll() is not None,
            f"the demo prints {moment.pattern}",
            state=log.read_text,
        )
        assert holdings(bootstrap) != before
        process.send_signal(signal.SIGINT)
        code = process.wait(HANG_SECONDS)
    finally:
        process.kill()
        process.wait(HANG_SECONDS)
    text = log.read_text()
    assert (code, said in text) == (expected, True), text
    until(lambda: holdings(bootstrap) == before, "the topics and the group are gone", state=lambda: text)
