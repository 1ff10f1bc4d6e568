"""Answers that no person gave, and answers larger than any bundle gives: from outside, by commands, topics and HTTP."""

import hashlib
import hmac
import itertools
import json
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaProducer

from tagstream.stream.broker.processes import Process, Processes
from tests.integration.command_line import Command
from tests.integration.running import RunningWorker, peak_bytes
from tests.reading import records_in
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

ADDRESS = re.compile(r"the console: (http://\S+?)/?\s")
TOKEN = re.compile(r'name="event" value="([^"]+)">\s*<input type="hidden" name="token" value="([^"]+)"')
# Of docs/consumers.md: the namespace of `prediction_id`.
PREDICTIONS = uuid.UUID("6d0f7c3e-5b0a-5d57-9c53-4a7c1c0f5a1e")
KEY, OLD_KEY, FOREIGN_KEY = ("new-" + "a" * 60, "old-" + "b" * 60, "foreign-" + "c" * 60)
MIB = 1024 * 1024


class Scene:
    """The topics of one test, and the processes on them: a worker of the keyword rules, which sends every event to a person."""

    def __init__(self, environ: dict[str, str], processes: Processes, folder: Path) -> None:
        """Know the names; start nothing."""
        self.environ = environ | {"TAGSTREAM_DECIDER": "rules"}
        self._processes = processes
        self._folder = folder
        self._numbers = itertools.count()
        self._producer = KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"], acks="all", max_request_size=4 * MIB)

    def topic(self, role: str) -> str:
        """The name of a topic."""
        return self.environ[f"TAGSTREAM_TOPICS__{role.upper()}"]

    def put(self, role: str, key: bytes | None, value: bytes, *headers: tuple[str, bytes]) -> None:
        """Write a record, as anybody may who has the right to."""
        sent = self._producer.send(self.topic(role), key=key, value=value, headers=list(headers))
        sent.get(timeout=HANG_SECONDS)

    def records(self, role: str) -> list[Any]:
        """All records of a topic."""
        return records_in(self.environ["TAGSTREAM_BROKERS"], self.topic(role))

    def values(self, role: str) -> list[dict[str, Any]]:
        """The values of a topic, parsed."""
        return [json.loads(record.value) for record in self.records(role)]

    def codes(self) -> list[str]:
        """The codes of all dead letters, sorted."""
        return sorted(dict(record.headers)["x-dlq-code"].decode() for record in self.records("dlq"))

    def by_people(self) -> list[tuple[str, str, int]]:
        """Event, tag and version of each decision of a person on `tagged`."""
        return [(one["id"], one["tag"], one["version"]) for one in self.values("tagged") if one["decider"] == "reviewer"]

    def run(self, *words: str, **settings: str) -> Process:
        """Start a command."""
        argv = [sys.executable, "-m", "tagstream.stream.cli.main", *words]
        log_file = self._folder / f"process-{next(self._numbers)}.log"
        return self._processes.start(argv, env=self.environ | settings, log_file=log_file)

    def worker(self, **settings: str) -> RunningWorker:
        """A worker that is ready."""
        worker = RunningWorker(self.run("worker", **settings))
        worker.until_ready()
        return worker

    def console(self, **settings: str) -> tuple[Process, httpx.Client]:
        """A console that has read all answers, and a browser on it."""
        store = f"sqlite:///{self._folder}/store-{next(self._numbers)}.db"
        process = self.run("review", "--port", "0", "--reviewer", "ann", "--store", store, **settings)
        found = until(lambda: ADDRESS.search(process.output()), "the console says its address", process=process)
        browser = httpx.Client(
            base_url=found[1],  # type: ignore[index]
            headers={"Sec-Fetch-Site": "same-origin"},
            timeout=HANG_SECONDS,
            follow_redirects=True,
        )
        until(lambda: browser.get("/readyz").status_code == 200, "the console knows all answers", process=process)
        return process, browser

    def decided(self, *ids: str) -> dict[str, dict[str, Any]]:
        """Send events, and wait for their decisions on `review`, by id."""
        for name in ids:
            self.put("content", None, json.dumps({"id": name, "title": f"a walk along the river, {name}"}).encode())
        until(lambda: {one["id"] for one in self.values("review")} >= set(ids), "the events are on review")
        return {one["id"]: one for one in self.values("review")}


@pytest.fixture
def scene(environ: dict[str, str], processes: Processes, tmp_path: Path) -> Scene:
    """The scene of this test."""
    return Scene(environ, processes, tmp_path)


@pytest.fixture
def keys(tmp_path: Path) -> Callable[..., str]:
    """Writes a file of keys, one a line, and returns its path."""
    numbers = itertools.count()

    def write(*lines: str) -> str:
        path = tmp_path / f"keys-{next(numbers)}"
        path.write_text("".join(f"{line}\n" for line in lines))
        path.chmod(0o600)
        return str(path)

    return write


def moment(ahead: timedelta = timedelta(0)) -> str:
    """The time now, in the form of the contract."""
    return (datetime.now(UTC) + ahead).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def forged(decision: dict[str, Any], tag: str, **said: Any) -> bytes:
    """A record of `reviewed` on a decision, as whoever knows the published schema can write it."""
    before = {
        name: decision[name]
        for name in ("confidence", "probabilities", "decider", "model", "threshold", "truncated", "tagged_at")
    }
    before |= {"destination": "review" if decision.get("reasons") else "tagged"}
    before |= {name: decision[name] for name in ("reasons", "inclusion_probability") if name in decision}
    answer = {
        "id": decision["id"],
        "title": decision["title"],
        "event_id": decision["id"],
        "prediction_id": decision["prediction_id"],
        "model_tag": decision["tag"],
        "tag": tag,
        "reviewer": "mallory",
        "decided_at": moment(),
        "version": 1,
        "blind": False,
        "asked_by": "review",
        "before": before,
    }
    answer |= said
    if answer["version"] > 1:
        answer.setdefault("supersedes", decision["prediction_id"])
    return json.dumps(answer).encode()


def decision_of(event: str, *, labels: list[str], digest: str = "f" * 64) -> dict[str, Any]:
    """A decision that no worker made, on an event that may not exist, with the id that follows from both."""
    return {
        "id": event,
        "title": "an event of nobody",
        "tag": labels[0],
        "confidence": 0.9,
        "probabilities": dict.fromkeys(labels, 0.1) | {labels[0]: 0.9},
        "prediction_id": str(uuid.uuid5(PREDICTIONS, f"1:{digest}:{event}")),
        "decider": "model",
        "model": {"name": "m", "version": "1", "digest": digest},
        "threshold": 0.5,
        "truncated": False,
        "tagged_at": moment(),
    }


def signed(key: str, record_key: bytes, value: bytes) -> tuple[str, bytes]:
    """The header of a signed answer, by the words of docs/contract.md."""
    said = b"tagstream answer 1\n%d:%b\n%b" % (len(record_key), record_key, value)
    return "x-tagstream-signature", b"sha256=" + hmac.new(key.encode(), said, hashlib.sha256).hexdigest().encode()


def forgeries(real: dict[str, Any], dead: str) -> Iterator[tuple[str, bytes]]:
    """The four that must not count: a ghost, a dead letter's id, a label of nobody, a version after which nothing could come."""
    for event in ("ghost", dead):
        yield event, forged(decision_of(event, labels=["mlops", "other"]), "mlops")
    foreign = {**real, "probabilities": real["probabilities"] | {"pwned": 0.0}}
    yield real["id"], forged(foreign, "pwned")
    yield real["id"], forged(real, "mlops", version=1_000_000)


def test_with_a_key_only_signed_answers_become_decisions(scene: Scene, keys: Callable[..., str], tagstream: Command) -> None:
    """None of the four forgeries reaches `tagged`, with another's key or none; a person's answer does, and the refusals are counted."""
    own = {"TAGSTREAM_SECURITY__ANSWER_KEYS_FILE": keys(KEY, OLD_KEY)}
    worker = scene.worker(**own)
    real = scene.decided("e-1", "e-2")
    scene.put("content", b"dead", b'{"id":"dead"}')
    bad = list(forgeries(real["e-1"], "dead"))
    for event, value in bad:
        scene.put("reviewed", event.encode(), value)
        scene.put("reviewed", event.encode(), value, signed(FOREIGN_KEY, event.encode(), value))
    # A signature is of one value and one key: it makes no other record good.
    good = forged(real["e-2"], "mlops")
    scene.put("reviewed", b"e-2", forged(real["e-2"], "other"), signed(KEY, b"e-2", good))
    scene.put("reviewed", b"other", good, signed(KEY, b"e-2", good))
    refused = ["missing_title", *["unsigned_answer"] * 10]
    until(lambda: len(scene.codes()) == len(refused), "every forgery is a dead letter", state=scene.codes)
    assert scene.codes() == refused
    assert scene.by_people() == []
    assert worker.series("tagstream_answers_dead_lettered_total", "reason")["unsigned_answer"] == 10
    assert "answers_not_signed" in worker.process.output()
    # The console leaves them out too: both events are open, and what its reviewer says is signed.
    _, browser = scene.console(**own)
    for _ in real:
        page = until(lambda: TOKEN.search(browser.get("/").text), "an item is shown")
        event, token = page.groups()  # type: ignore[union-attr]
        assert browser.post("/answer", data={"event": event, "token": token, "tag": "other"}).status_code == 200
    until(lambda: len(scene.by_people()) == 2, "both answers are on tagged", state=scene.codes)
    assert sorted(scene.by_people()) == [("e-1", "other", 1), ("e-2", "other", 1)]
    # An older key counts until it is taken out, and whoever writes a signed record again changes nothing.
    for _ in range(2):
        scene.put("reviewed", b"e-2", good, signed(OLD_KEY, b"e-2", good))
    until(lambda: len(scene.by_people()) == 4, "the answer by the older key is on tagged, twice")
    ids = {one["prediction_id"] for one in scene.values("tagged") if (one["id"], one["tag"]) == ("e-2", "mlops")}
    assert len(ids) == 1
    assert all(name != "x-tagstream-signature" for record in scene.records("tagged") for name, _ in record.headers)
    said = tagstream("doctor", environ=scene.environ | own).stdout.decode()
    assert "takes answers that are signed" in " ".join(said.split())


@pytest.mark.slow
def test_without_a_key_what_no_console_can_have_said_is_refused(scene: Scene, tagstream: Command) -> None:
    """A label that the worker's own bundle lacks, a version of nobody, and a time to come are dead letters; the doctor warns of the rest."""
    scene.worker()
    real = scene.decided("e-1")["e-1"]
    foreign = {**real, "probabilities": real["probabilities"] | {"pwned": 0.0}}
    for value in (
        forged(foreign, "pwned"),
        forged(real, "mlops", version=1_000_000),
        forged(real, "mlops", decided_at=moment(timedelta(days=1))),
    ):
        scene.put("reviewed", b"e-1", value)
    until(lambda: len(scene.codes()) == 3, "all three are dead letters", state=lambda: (scene.codes(), scene.by_people()))
    assert scene.codes() == ["invalid_answer", "invalid_answer", "unknown_label"]
    # The bundle that decided may be an older one with other labels: its answers count.
    old = decision_of("e-1", labels=["red", "blue"])
    scene.put("reviewed", b"e-1", forged(old, "blue"))
    until(lambda: scene.by_people() == [("e-1", "blue", 1)], "the answer on another bundle's decision is on tagged")
    said = tagstream("doctor", environ=scene.environ).stdout.decode()
    assert "not signed: whoever may write" in " ".join(said.split())


@pytest.mark.slow
def test_answers_from_before_the_key_are_signed_by_an_import(
    scene: Scene, keys: Callable[..., str], tagstream: Command, tmp_path: Path
) -> None:
    """Exported before, imported with the key: they count again, under the keys of their records, and a second import sends none."""
    worker = scene.worker()
    real = scene.decided("e-1")["e-1"]
    scene.put("reviewed", b"a key of the producer", forged(real, "other"))
    until(lambda: len(scene.by_people()) == 1, "the answer is on tagged")
    assert worker.stop() == 0
    file = tmp_path / "answers.jsonl"
    assert tagstream("review", "--export", file, environ=scene.environ).returncode == 0
    own = {"TAGSTREAM_SECURITY__ANSWER_KEYS_FILE": keys(KEY)}
    for sent in (b"1 answer sent", b"0 answers sent"):
        found = tagstream("review", "--import", file, environ=scene.environ | own)
        assert (found.returncode, sent in found.stderr) == (0, True), found.stderr
    first, second = sorted(scene.records("reviewed"), key=lambda record: len(record.headers))
    assert (first.key, first.value) == (second.key, second.value)
    scene.worker(**own)
    until(lambda: len(scene.by_people()) == 2, "the signed copy is on tagged")
    assert len({one["prediction_id"] for one in scene.values("tagged")}) == 1
    assert scene.codes() == []


@pytest.mark.slow
def test_a_record_beyond_what_a_bundle_gives_costs_the_console_little(scene: Scene) -> None:
    """Of 30,000 labels, of 10,000 reasons: they are left out, the item of the other event is shown, and memory stays far below the limit."""
    labels = [f"label-{number}" for number in range(30_000)]
    worker = scene.worker()
    real = scene.decided("e-1")["e-1"]
    process, browser = scene.console()
    for number in range(4):
        many = decision_of(f"many-{number}", labels=labels)
        asked = {"reasons": ["low_confidence"], "inclusion_probability": 1.0}
        scene.put("reviewed", None, forged(many | asked, labels[1]))
        scene.put("review", None, json.dumps(many | asked).encode())
        scene.put("audit", None, json.dumps(many | {"inclusion_probability": 0.5}).encode())
    few = decision_of("reasons", labels=["mlops", "other"])
    reasons = {"reasons": [f"reason-{number}" for number in range(10_000)], "inclusion_probability": 1.0}
    scene.put("review", None, json.dumps(few | reasons).encode())
    scene.put("reports", None, json.dumps({"event_id": "e-1", "reported_at": moment(), "later": "x" * 500_000}).encode())
    until(lambda: process.output().count("record_left_out") >= 4 + 4 + 4 + 1 + 1, "all of them are left out", process=process)
    for path in ("/", "/quality", "/metrics"):
        assert browser.get(path).status_code == 200
    shown = until(lambda: TOKEN.search(browser.get("/").text), "an item is shown")
    assert shown[1] == real["id"]  # type: ignore[index]
    until(lambda: scene.codes() == ["invalid_answer"] * 4, "a worker takes them for no answers either", state=scene.codes)
    assert peak_bytes(process) < 400 * MIB
    assert peak_bytes(worker.process) < 400 * MIB
