"""Two bundles with the same network, three workers, and a producer beside."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import NoError

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.text import compose
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.data import make_tiny_bundle
from tests.faults.worker.fleet import ROOT
from tests.integration.command_line import Command
from tests.integration.rollout.judge import Judged, judge
from tests.integration.running import RunningWorker
from tests.waiting import until

BIN = Path(sys.executable).parent
WORDS = ("images", "translation", "deploying", "games", "attention", "walk", "river", "pixels", "notes", "graph")
TITLES = ("Detecting objects in images", "Translating text", "Serving a model in production", "A walk along the river")


@pytest.fixture
def rollout_environ(environ: dict[str, str], tiny_bundle_folder: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of workers and commands: topics of this test, a bundle, and a place for others."""
    content = environ["TAGSTREAM_TOPICS__CONTENT"]
    return {
        **environ,
        "TAGSTREAM_BUNDLE": str(tiny_bundle_folder),
        "TAGSTREAM_ROLLOUT__BUNDLES": str(tmp_path / "bundles"),
        "TAGSTREAM_ROLLOUT__TOPIC": f"{content}-rollout",
        "TAGSTREAM_ROLLOUT__WORKERS_TOPIC": f"{content}-rollout.workers",
    }


@pytest.fixture
def rollout_settings(rollout_environ: dict[str, str]) -> Settings:
    """The same as settings."""
    return load(rollout_environ, folder=ROOT).settings


def altered(bundle: Bundle, folder: Path, version: str) -> Path:
    """The same network under another version: another digest."""
    manifest = msgspec.structs.replace(bundle.manifest, version=version)
    return bundles.write(folder / version, manifest=manifest, model=bundle.model, tokenizer=bundle.tokenizer).path


@pytest.fixture
def another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The tiny bundle with a network that leans towards mlops: another tag for texts that say little."""
    monkeypatch.setattr(make_tiny_bundle, "BIAS", (0.0, 1.0, 0.0, 0.25))
    make_tiny_bundle.main(tmp_path / "another")
    return bundles.read(tmp_path / "another")


def sent(settings: Settings, count: int) -> dict[str, str]:
    """Events of a few words each, in all partitions: text by id."""
    producer = KafkaProducer(bootstrap_servers=settings.broker_list, acks="all")
    texts: dict[str, str] = {}
    for number in range(count):
        title = " ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 2 + number % 3))
        texts[f"e-{number}"] = compose(title, None)
        event = {"id": f"e-{number}", "title": title, "source": ("web", "mail")[number % 2]}
        producer.send(settings.topics.content, value=json.dumps(event).encode(), key=b"k%d" % (number % 97))
    producer.flush(60)
    producer.close()
    return texts


def begin_group(settings: Settings, client: KafkaAdminClient) -> None:
    """Let the brokers know the group, which stands before the first event: nobody changes one that they do not know."""
    place = TopicPartition(settings.topics.content, 0)
    offsets = {place: OffsetAndMetadata(0, "", None)}
    # A cluster makes its offsets topic for its first group.
    until(lambda: client.alter_group_offsets(settings.group, offsets) == {place: NoError}, "the group has a commit")


class Producer:
    """Sends events until it is stopped, some a second, in keys that spread over the partitions."""

    def __init__(self, settings: Settings, per_second: float) -> None:
        """Begin at once."""
        self._settings = settings
        self._pause = 1 / per_second
        self._stopping = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._settings.broker_list, acks="all", linger_ms=0)
        while not self._stopping.wait(self._pause):
            event = {
                "id": f"{self._settings.topics.content[-5:]}-{self.sent}",
                "title": f"{TITLES[self.sent % len(TITLES)]} {self.sent}",
            }
            producer.send(self._settings.topics.content, value=json.dumps(event).encode(), key=f"k{self.sent % 97}".encode())
            self.sent += 1
        producer.flush(60)
        producer.close()

    def stop(self) -> int:
        """The number of events, all of which are in the topic."""
        self._stopping.set()
        self._thread.join()
        return self.sent


def records(settings: Settings, *topics: str) -> Iterator[Record]:
    """All committed records of some topics."""
    for topic in topics:
        with log_of(settings, topic) as log:
            yield from log.read()


StartReal = Callable[..., Process]


@pytest.fixture
def start_real(processes: Processes, rollout_environ: dict[str, str], tmp_path: Path) -> StartReal:
    """Starts real workers of this test's group, ready to decide."""

    def run(number: int, module: str = "", **changes: str) -> Process:
        environ = {
            **rollout_environ,
            "TAGSTREAM_METRICS_PORT": "0",
            "TAGSTREAM_SESSION_TIMEOUT_SECONDS": "6",
            "TAGSTREAM_STATE_FOLDER": str(tmp_path / f"state-{number}"),
            **changes,
        }
        argv: list[str | Path] = [sys.executable, "-m", module] if module else [BIN / "tagstream", "worker"]
        found = processes.start(argv, env=os.environ | environ, log_file=tmp_path / f"worker-{number}.log")
        RunningWorker(found).until_ready()
        return found

    return run


def judged(settings: Settings, events: int) -> Judged:
    """The verdict, once as many outcomes as events are in the topics."""
    topics = settings.topics
    until(lambda: sum(1 for _ in records(settings, topics.tagged, topics.review)) >= events, "every event has an outcome")
    return judge(
        records(settings, *settings.content_topics),
        records(settings, settings.rollout.topic),
        records(settings, topics.tagged, topics.review),
    )


@pytest.fixture
def promote(tagstream: Command, rollout_environ: dict[str, str], tiny_bundle: Bundle, tmp_path: Path) -> Callable[..., bytes]:
    """Promotes (or another verb) the tiny bundle under another version, and returns what the command said."""

    def run(version: str, *words: str, verb: str = "promote") -> bytes:
        done = tagstream("rollout", verb, str(altered(tiny_bundle, tmp_path, version)), *words, environ=rollout_environ)
        assert done.returncode == 0, done.stderr.decode()
        return done.stderr

    return run
