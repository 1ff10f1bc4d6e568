"""
Makes `tests/data/upgrade`: what tagstream leaves behind at a revision, for the tests that today's tagstream goes on from there.

    python -m tests.integration.upgrade.make --from REV

The commands of that revision run on an Apache Kafka: a worker decides, two reviewers answer in the console, and a worker is killed with
events in the model. All texts are the project's own samples. `records.jsonl` has every record of the topics, `left.json` the commits.
"""

import argparse
import base64
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks.same import ROOT, Sent, Tree, await_commits, read_topic, send, unpack, worker_of
from tagstream.stream.broker import broker

DATA = ROOT / "tests" / "data" / "upgrade"
TOPICS = ("content", "tagged", "review", "audit", "reviewed", "reports", "content.dlq")
SAMPLES = ROOT / "stream" / "demo" / "data" / "samples.jsonl"
BUNDLE = ROOT / "tests" / "data" / "tiny_bundle"
DECIDED, WAITING = 40, 20
MALFORMED = (b'{"id": "broken-1", "title": ', b'{"id": "broken-2"}', b"[3]")
# The clock of that revision's processes: answers from the future are taken by no worker, whatever the clock of a test's machine.
CLOCK = {
    "LD_PRELOAD": str(next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), "")),
    "FAKETIME": "-900d",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
}
MARK = re.compile(rb"tagmark1(.{8})", re.DOTALL)
WAIT_SECONDS = 120.0
SECONDS_IN_THE_MODEL = "600"
FORM = re.compile(r'name="event" value="([^"]+)">\s*<input type="hidden" name="token" value="([^"]+)"')


def until(look: Callable[[], Any], what: str) -> Any:
    """The findings of `look`, as soon as there are any."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            sys.exit(f"not within {WAIT_SECONDS:.0f} s: {what}")
        time.sleep(0.2)
    return found


class Reviewer:
    """A person at the console of a revision: one console for each, on the same store."""

    def __init__(self, tree: Tree, name: str, stack: ExitStack) -> None:
        """Start it, and wait until it shows the queue."""
        log = tree.work / f"console-{name}.log"
        words = ("review", "--port", "0", "--reviewer", name)
        written = stack.enter_context(log.open("wb"))
        running = subprocess.Popen(
            tree.argv(*words), cwd=tree.work, env=tree.environment(), stdin=subprocess.DEVNULL, stdout=written, stderr=written
        )
        stack.callback(running.wait, 60)
        stack.callback(running.send_signal, signal.SIGTERM)
        self.url = until(lambda: re.search(r"http://[\d.:]+", log.read_text()), "a console")[0]

    def ask(self, path: str, **form: str) -> str:
        """The page; "" while the console does not answer so."""
        body = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(self.url + path, data=body, headers={"Origin": self.url})  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return answer.read().decode()
        except OSError:
            return ""

    def item(self) -> tuple[str, str]:
        """Event and token of the item that is theirs now."""
        found = until(lambda: FORM.search(self.ask("/")), "an item of the queue")
        return found[1], found[2]

    def answer(self, **said: str) -> None:
        """Answer it, or give it back."""
        event, token = self.item()
        self.ask("/answer", event=event, token=token, **said)


def review(tree: Tree) -> None:
    """Ann answers three, one with a note, skips one and holds one; Ben answers two and holds another."""
    with ExitStack() as stack:
        ann, ben = (Reviewer(tree, name, stack) for name in ("ann", "ben"))
        until(lambda: "0 waiting" not in ann.ask("/") and FORM.search(ann.ask("/")), "the queue is filled")
        time.sleep(20)  # All topics are read by then; the queue of the first items would do too.
        for said in ({"tag": "mlops", "note": "seen"}, {"tag": "other"}, {"tag": "computer-vision"}, {"back": "skip"}):
            ann.answer(**said)
        ben.answer(tag="natural-language-processing")
        ben.answer(tag="mlops")
        ann.item()
        ben.item()
        time.sleep(5)


def by_the_right_clock(tree: Tree) -> Tree:
    """The tree with no clock of its own: some waits end at once, or with an error, by another."""
    return Tree(tree.root, tree.work, {name: value for name, value in tree.environ.items() if name not in CLOCK})


def killed_in_the_model(tree: Tree) -> None:
    """A worker of that revision's fault harness, whose model takes minutes, is killed while it has events in the model."""
    environ = tree.environment() | {"TESTS_FAULTS_SECONDS_PER_BATCH": SECONDS_IN_THE_MODEL, "TESTS_FAULTS_MODEL": "stub"}
    with (tree.work / "killed.log").open("wb") as written:
        running = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker"],
            cwd=tree.root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
        )

        def in_the_model() -> bool:
            marks = (tree.work / "state").glob("*.mark")
            return any(int.from_bytes(found, "little") > 1 for mark in marks for found in MARK.findall(mark.read_bytes()))

        until(in_the_model, "events are in the model")
        time.sleep(2)
        if running.poll() is not None:
            sys.exit(f"the worker has ended: {(tree.work / 'killed.log').read_text()[-3000:]}")
        running.kill()
        running.wait()


def make_topics(bootstrap: str) -> None:
    """Topics that keep records of before."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics([NewTopic(name, 2, 1, topic_configs={"retention.ms": "-1"}) for name in (*TOPICS, "drift")])


def opened_breaker(tree: Tree, malformed: Sent) -> Path:
    """The file of a worker of another group that has stopped because of dead letters."""
    broken = {
        "TAGSTREAM_GROUP": "broken",
        "TAGSTREAM_TOPICS__CONTENT": "broken",
        "TAGSTREAM_STATE_FOLDER": str(tree.work / "broken"),
        "TAGSTREAM_BREAKER_WINDOW_EVENTS": "100",
        "TAGSTREAM_BREAKER_DEAD_LETTER_RATIO": "0.5",
    }
    tree = Tree(tree.root, tree.work, {**tree.environ, **broken})
    tree.run("doctor", "--create-topics", "--json")
    send(tree.environ["TAGSTREAM_BROKERS"], "broken", [malformed] * 150)
    tree.run("worker")
    [file] = (tree.work / "broken").iterdir()
    return file


def dump(bootstrap: str, group: str) -> Mapping[str, Any]:
    """All records into `records.jsonl`; the commits of the group by topic and partition."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)) as reader:
        lines = []
        commits = {}
        for topic in TOPICS:
            partitions = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]
            commits |= {f"{topic} {one.partition}": at for one in partitions if (at := reader.committed(one)) is not None}
            rows = sorted(read_topic(reader, topic), key=lambda row: (row.partition, row.offset))
            lines += [as_line(row) for row in rows]
        (DATA / "records.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return commits


def as_line(row: Any) -> str:
    """A record as JSON; bytes in base64."""
    return json.dumps(
        {
            "topic": row.topic,
            "partition": row.partition,
            "offset": row.offset,
            "timestamp_ms": row.timestamp,
            "key": _text(row.key),
            "value": _text(row.value),
            "headers": [[name, _text(value)] for name, value in row.headers],
        }
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


def main() -> None:
    """Make the folder anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="revision", required=True, metavar="REV")
    revision = parser.parse_args().revision
    now_ms = time.time_ns() // 1_000_000
    own = {name: value for name, value in os.environ.items() if name != "TAGSTREAM_BROKERS"}
    events = [Sent(key=None, value=line, headers=(), timestamp_ms=now_ms) for line in SAMPLES.read_bytes().splitlines()]
    malformed = [Sent(key=None, value=value, headers=(), timestamp_ms=now_ms) for value in MALFORMED]
    DATA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, broker(prefer="kafka", environ=own) as kafka:
        folder = Path(name).resolve()
        unpack(revision, folder / "tree")
        (folder / "work").mkdir()
        environ = {
            "TAGSTREAM_BROKERS": kafka.bootstrap,
            "TAGSTREAM_BUNDLE": str(BUNDLE),
            "TAGSTREAM_METRICS_PORT": "0",
            "TAGSTREAM_TOPIC_PARTITIONS": "2",
            "TAGSTREAM_AUDIT_RATE": "0.5",
            **CLOCK,
        }
        tree = Tree(folder / "tree", folder / "work", environ)
        make_topics(kafka.bootstrap)
        send(kafka.bootstrap, "content", [*events[: DECIDED - 10], *malformed, *events[DECIDED - 10 : DECIDED]])
        with closing(KafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id="tagstream", enable_auto_commit=False)) as group:
            with worker_of(tree) as (running, log):
                await_commits(group, running, log)
            tree.run(
                "report", json.loads(events[0].value or b"")["id"], "--tag", "mlops", "--note", "not so", "--reporter", "rea"
            )
            review(tree)
        send(kafka.bootstrap, "content", events[DECIDED : DECIDED + WAITING])
        killed_in_the_model(by_the_right_clock(tree))
        commits = dump(kafka.bootstrap, "tagstream")
        left = {"revision": revision, "brokers": kafka.bootstrap, "commits": commits}
        (DATA / "left.json").write_text(json.dumps(left, indent=2) + "\n", encoding="utf-8")
        [mark] = (tree.work / "state").glob("*.mark")
        (DATA / "killed.mark").write_bytes(mark.read_bytes())
        (DATA / "breaker.json").write_bytes(opened_breaker(by_the_right_clock(tree), malformed[0]).read_bytes())
        (DATA / "review.sqlite").unlink(missing_ok=True)
        with closing(sqlite3.connect(tree.work / "state" / "review.sqlite")) as store:
            store.execute("VACUUM INTO ?", (str(DATA / "review.sqlite"),))


if __name__ == "__main__":
    main()
