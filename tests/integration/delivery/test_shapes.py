"""Producers that know nothing of tagstream: nested JSON, CloudEvents and Avro of three shapes on one topic, decided as `classify` does."""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.consumer_group import look
from tagstream.stream.settings.loading import load
from tests.faults.cluster.topics import make_topics, send
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command, lines
from tests.integration.running import RunningWorker, all_committed, all_written
from tests.registry.server import Registry, serving
from tests.waiting import until

pytestmark = pytest.mark.broker

FIELDS = {
    "TAGSTREAM_FIELDS__TITLE": '["/payload/subject", "/article/headline", "/title"]',
    "TAGSTREAM_FIELDS__DESCRIPTION": '["/payload/body", "/description"]',
    "TAGSTREAM_FIELDS__ID": '["/payload/nr", "/article/key"]',
    "TAGSTREAM_FIELDS__SOURCE": "/payload/from/0",
}
AVRO = json.dumps(
    {
        "type": "record",
        "name": "Published",
        "fields": [
            {
                "name": "article",
                "type": {
                    "type": "record",
                    "name": "Article",
                    "fields": [{"name": "key", "type": "string"}, {"name": "headline", "type": "string"}],
                },
            }
        ],
    }
)
NESTED: list[dict[str, Any]] = [
    {
        "payload": {"subject": "Detecting objects in images", "nr": 7, "body": "With few labels.", "from": ["cms"]},
        "title": {"de": 1},
    },
    {"payload": {"subject": "Translating text", "nr": "8"}, "views": 1.5},
    {"title": "A walk along the river", "description": "Of no shape but ours."},
]
ARTICLES = [{"article": {"key": f"a-{number}", "headline": "Serving a model in production"}} for number in range(3)]
EVENT = {"payload": {"subject": "Graph networks"}}
ENVELOPE = {"specversion": "1.0", "id": "c-1", "source": "/feed", "type": "made"}
REFUSED: list[tuple[dict[str, Any], bytes, bytes]] = [
    (
        {"payload": {"name": "x"}, "id": 5},
        b"missing_title",
        b"title is missing: nothing at /payload/subject or /article/headline or /title; the event has id, payload; /payload has name",
    ),
    ({"payload": {"subject": 5}}, b"wrong_type", b"title is a JSON number at /payload/subject, a string is expected"),
]


# Of each topic in a run under faults.
EACH = 400


def planted(value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> Planted:
    """An event without a key."""
    return Planted(event_id=None, key=None, value=value, headers=headers)


def by_avro(registry: Registry, topic: str) -> list[Planted]:
    """The articles as Confluent's serialiser writes them."""
    with SchemaRegistryClient({"url": registry.url}) as client:
        write = AvroSerializer(schema_str=AVRO, schema_registry_client=client)
        return [planted(write(one, SerializationContext(topic, MessageField.VALUE))) for one in ARTICLES]


def decisions(records: list[Record]) -> dict[str, dict[str, Any]]:
    """The values of outcomes by the id of their event, without their time."""
    found = [json.loads(record.value or b"") for record in records]
    return {
        one["id"]: {name: value for name, value in one.items() if name not in {"tagged_at", "destination"}} for one in found
    }


def classified(
    tagstream: Command, rows: Sequence[dict[str, Any]], file: Path, environ: dict[str, str], topic: str
) -> dict[str, dict[str, Any]]:
    """As `decisions`, what `classify` says of these rows as events of a topic."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = lines(tagstream("classify", "--json", "--topic", topic, file, environ=environ).stdout)
    return decisions([Record(key=None, value=json.dumps(line).encode()) for line in said])


def started(processes: Processes, environ: dict[str, str], log: Path) -> RunningWorker:
    """A worker with these settings."""
    words = [sys.executable, "-m", "tagstream.stream.cli.main", "worker"]
    env = {**without_settings(os.environ), "PYTHONPATH": str(ROOT), **environ}
    return RunningWorker(processes.start(words, env=env, log_file=log))


def test_events_of_three_shapes_get_the_decisions_of_classify(
    environ: dict[str, str],
    observer: TopicObserver,
    processes: Processes,
    tagstream: Command,
    tiny_bundle_folder: Path,
    tmp_path: Path,
) -> None:
    """Each event has one outcome, equal to that of `classify`; others are dead letters that say where was looked; `doctor` counts them."""
    registry = Registry()
    with serving(registry):
        chosen = {
            **environ,
            **FIELDS,
            "TAGSTREAM_BUNDLE": str(tiny_bundle_folder),
            "TAGSTREAM_SCHEMA_REGISTRY__URL": registry.url,
        }
        binary = tuple((f"ce_{name}", text.encode()) for name, text in (ENVELOPE | {"id": "c-2"}).items())
        sent = [
            *(planted(json.dumps(event).encode()) for event in [*NESTED, {**ENVELOPE, "data": EVENT}]),
            planted(json.dumps(EVENT).encode(), binary),
            *by_avro(registry, observer.settings.topics.content),
            *(planted(json.dumps(event).encode()) for event, _, _ in REFUSED),
        ]
        send(observer.settings, sent)
        worker = started(processes, chosen, tmp_path / "worker.log")
        all_written(observer, len(sent))
        all_committed(observer)
        said = {line["check"]: line for line in lines(tagstream("doctor", "--json", environ=chosen).stdout)}["events"]
        assert worker.stop() == 0
    outcomes = observer.outcomes()
    decided = decisions([*outcomes[Destination.TAGGED], *outcomes[Destination.REVIEW]])
    rows = [*NESTED, {**ENVELOPE, "data": EVENT}, *ARTICLES]
    by_command = classified(tagstream, rows, tmp_path / "events.jsonl", chosen, observer.settings.topics.content)
    assert {name: decided[name] for name in by_command} == by_command
    assert len(decided) == len(rows) + 1
    assert (decided["7"]["original"], decided["7"]["source"]) == ({"title": {"de": 1}}, "cms")
    assert decided["c-2"]["tag"] == decided["c-1"]["tag"]
    letters = [dict(record.headers) for record in outcomes[Destination.DLQ]]
    assert {(one["x-dlq-code"], one["__streams.errors.message"]) for one in letters} == {
        (code, text) for _, code, text in REFUSED
    }
    assert said["status"] == "WARN"
    assert (
        f"of the newest {len(sent)} records of {observer.settings.topics.content} {len(decided)} can be read; /payload/nr in 2"
        in said["detail"]
    )


@pytest.mark.slow
def test_three_topics_of_three_shapes_are_read_by_one_group(
    environ: dict[str, str],
    observer: TopicObserver,
    processes: Processes,
    tagstream: Command,
    tiny_bundle_folder: Path,
    tmp_path: Path,
) -> None:
    """Each event is decided as `classify --topic` does, and has its topic for a source; a dead letter goes back where it came from."""
    content = environ["TAGSTREAM_TOPICS__CONTENT"]
    posts, wires = f"{content}.posts", f"{content}.wires"
    fields = {posts: {"title": "/payload/subject", "id": "/payload/nr"}, wires: {"text": ["/head", "/lead"]}}
    chosen = {**environ, "TAGSTREAM_BUNDLE": str(tiny_bundle_folder), "TAGSTREAM_CONTENTS": json.dumps(fields)}
    settings = load(chosen, folder=ROOT).settings
    make_topics(settings)
    rows: dict[str, list[dict[str, Any]]] = {
        content: [{"id": f"p-{number}", "title": f"Detecting objects in images {number}"} for number in range(30)],
        posts: [{"payload": {"subject": f"Translating text {number}", "nr": number}} for number in range(30)],
        wires: [{"head": "Serving a model", "lead": f"In production {number}", "id": f"w-{number}"} for number in range(30)],
    }
    rows[content][0]["source"] = "cms"
    for topic, events in rows.items():
        wrong = [{"payload": {"name": "x"}}] if topic == posts else []
        send(settings.of_content(topic), [planted(json.dumps(event).encode()) for event in [*events, *wrong]])
    worker = started(processes, chosen, tmp_path / "worker.log")
    all_written(observer, 91)
    until(lambda: not sum(look(one).waiting for one in settings.each_content), "all is committed", process=worker.process)
    decided = decisions([*observer.outcomes()[Destination.TAGGED], *observer.outcomes()[Destination.REVIEW]])
    assert len(decided) == 90
    for topic, events in rows.items():
        by_command = classified(tagstream, events, tmp_path / f"{topic}.jsonl", chosen, topic)
        assert len(by_command) == 30
        for name, one in by_command.items():
            assert decided[name] == {"source": topic, **one}
    assert worker.series("tagstream_events_received_total", "topic") == {content: 30, posts: 31, wires: 30}
    said = [line for line in lines(tagstream("doctor", "--json", environ=chosen).stdout) if line["check"] == "events"]
    assert [line["status"] for line in said] == ["OK", "WARN", "OK"]
    done = tagstream("dlq", "replay", "--json", environ=chosen)
    assert done.returncode == 0, done.stderr.decode()
    all_written(observer, 92)
    letters = [dict(record.headers) for record in observer.outcomes()[Destination.DLQ]]
    assert {one["__streams.errors.topic"] for one in letters} == {posts.encode()}
    assert worker.stop() == 0


@pytest.mark.slow
def test_three_shapes_are_conserved_while_workers_are_struck(
    environ: dict[str, str],
    observer: TopicObserver,
    processes: Processes,
    tagstream: Command,
    tiny_bundle_folder: Path,
    tmp_path: Path,
) -> None:
    """Nested JSON, CloudEvents and Avro on a topic each, two workers that are killed, stopped beyond their session and ended: no event is lost or has two decisions."""
    content = environ["TAGSTREAM_TOPICS__CONTENT"]
    posts, wires = f"{content}.posts", f"{content}.wires"
    fields = {posts: {"title": "/payload/subject", "id": "/payload/nr"}, wires: {"title": "/subject"}}
    registry = Registry()
    with serving(registry):
        chosen = {
            **environ,
            "TAGSTREAM_BUNDLE": str(tiny_bundle_folder),
            "TAGSTREAM_CONTENTS": json.dumps(fields),
            "TAGSTREAM_FIELDS__TITLE": "/article/headline",
            "TAGSTREAM_FIELDS__ID": "/article/key",
            "TAGSTREAM_SCHEMA_REGISTRY__URL": registry.url,
            "TAGSTREAM_SESSION_TIMEOUT_SECONDS": "6",
        }
        settings = load(chosen, folder=ROOT).settings
        make_topics(settings)
        rows: dict[str, list[dict[str, Any]]] = {
            content: [{"article": {"key": f"a-{number}", "headline": f"Serving a model {number}"}} for number in range(EACH)],
            posts: [{"payload": {"subject": f"Translating text {number}", "nr": number}} for number in range(EACH)],
            wires: [
                {**ENVELOPE, "id": f"c-{number}", "data": {"subject": f"Detecting objects {number}"}} for number in range(EACH)
            ],
        }
        with SchemaRegistryClient({"url": registry.url}) as client:
            write = AvroSerializer(schema_str=AVRO, schema_registry_client=client)
            of_avro = [planted(write(one, SerializationContext(content, MessageField.VALUE))) for one in rows[content]]
        plain = {topic: [planted(json.dumps(event).encode()) for event in rows[topic]] for topic in (posts, wires)}
        wrong = planted(b'{"payload": {"name": "x"}}')
        parts = {content: of_avro, posts: [*plain[posts], wrong], wires: plain[wires]}
        workers = [started(processes, chosen, tmp_path / f"worker-{number}.log") for number in (0, 1)]
        for turn, strike in enumerate((signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL)):
            for topic, all_of_it in parts.items():
                size = -(-len(all_of_it) // 4)
                send(settings.of_content(topic), all_of_it[turn * size : (turn + 1) * size])
            struck = workers.pop(0)
            os.kill(struck.process.pid, strike)
            if strike is signal.SIGSTOP:
                # Beyond its session: the other one gets its partitions, and this one meets that when it goes on. It may end by it.
                time.sleep(9)
                os.kill(struck.process.pid, signal.SIGCONT)
            workers.append(started(processes, chosen, tmp_path / f"worker-{turn + 2}.log"))
        wanted = (
            {f"a-{number}" for number in range(EACH)}
            | {str(number) for number in range(EACH)}
            | {f"c-{number}" for number in range(EACH)}
        )
        until(lambda: ids(observer) >= wanted, "every event is decided", state=lambda: f"{len(ids(observer))} of {len(wanted)}")
        until(lambda: not sum(look(one).waiting for one in settings.each_content), "all is committed")
        by_command: dict[str, dict[str, Any]] = {}
        for topic, events in rows.items():
            of_topic = classified(tagstream, events, tmp_path / f"{topic}.jsonl", chosen, topic)
            by_command |= {name: {"source": topic, **one} for name, one in of_topic.items()}
    outcomes = observer.outcomes()
    for record in (*outcomes[Destination.TAGGED], *outcomes[Destination.REVIEW]):
        for name, one in decisions([record]).items():
            assert one == by_command[name], "a second decision would be another one"
    letters = {
        (one["__streams.errors.topic"], one["__streams.errors.partition"], one["__streams.errors.offset"], one["x-dlq-code"])
        for one in (dict(record.headers) for record in outcomes[Destination.DLQ])
    }
    assert [(topic, code) for topic, _, _, code in letters] == [(posts.encode(), b"missing_title")]
    assert workers[-1].stop() == 0


def ids(observer: TopicObserver) -> set[str]:
    """The ids of the events that are decided."""
    outcomes = observer.outcomes()
    return set(decisions([*outcomes[Destination.TAGGED], *outcomes[Destination.REVIEW]]))
