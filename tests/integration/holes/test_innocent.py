"""
From outside: no number of kills makes a dead letter of an innocent event, and an event that kills the model costs one death of a worker.

The model is the tiny bundle's. The library that runs it is slow, or fails, for certain titles, as a library with a defect would: a module
on the path of the worker's Python replaces the method that runs the network.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer
from tokenizers import Tokenizer

from tagstream.stream.broker.processes import Process, Processes
from tests.faults.worker.fleet import ROOT, without_settings
from tests.reading import records_in
from tests.waiting import LOG_CHARACTERS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

KILLS = 8
# Words that the tiny bundle knows, in an order that no other text has.
SLOW, POISON = "deployment objects deployment objects", "objects objects deployment deployment"
DEFECT = """
import json, os, time
import numpy
import onnxruntime

run = onnxruntime.InferenceSession.run
slow, poison = json.loads(os.environ["TEST_SLOW"]), json.loads(os.environ["TEST_POISON"])


def holds(inputs, words):
    text = "".join(f" {token}" for token in numpy.asarray(inputs["input_ids"]).ravel().tolist()) + " "
    return "".join(f" {token}" for token in words) + " " in text


def defective(session, outputs, inputs, *rest):
    if holds(inputs, poison):
        os.abort()
    if holds(inputs, slow):
        with open(os.environ["TEST_RUNS"], "a") as runs:
            runs.write(f"{os.getpid()}\\n")
        while not os.path.exists(os.environ["TEST_GO"]):
            time.sleep(0.01)
    return run(session, outputs, inputs, *rest)


onnxruntime.InferenceSession.run = defective
"""


class Stand:
    """A worker that is started again whenever it has ended, as an orchestrator does, and the topics around it."""

    def __init__(self, environ: dict[str, str], processes: Processes, folder: Path, bundle: Path) -> None:
        """Start nothing yet."""
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(DEFECT)
        self.runs, self.go = folder / "runs", folder / "go"
        self.runs.touch()
        tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        self.environ = {
            **without_settings(os.environ),
            **environ,
            # The same member again, so that a killed worker's partitions are read again at once.
            "TAGSTREAM_GROUP_INSTANCE_ID": "one",
            "TAGSTREAM_BUNDLE": str(bundle),
            "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
            "TEST_RUNS": str(self.runs),
            "TEST_GO": str(self.go),
            "TEST_SLOW": json.dumps(tokenizer.encode(SLOW, add_special_tokens=False).ids),
            "TEST_POISON": json.dumps(tokenizer.encode(POISON, add_special_tokens=False).ids),
        }
        self.topics = {kind: environ[f"TAGSTREAM_TOPICS__{kind.upper()}"] for kind in ("content", "tagged", "review", "dlq")}
        self._brokers = environ["TAGSTREAM_BROKERS"]
        self._processes = processes
        self._log = folder / "worker.log"
        self.worker: Process | None = None
        self.deaths: list[int | None] = []

    def send(self, *titles: str) -> None:
        """One event for each title, all on one partition, with its number as its id."""
        producer = KafkaProducer(bootstrap_servers=self._brokers)
        for number, title in enumerate(titles):
            producer.send(self.topics["content"], json.dumps({"id": str(number), "title": title}).encode(), partition=0)
        producer.flush()
        producer.close()

    def tend(self) -> Process:
        """The worker; another one if the last has ended."""
        if self.worker is None or not self.worker.running():
            if self.worker is not None:
                self.deaths.append(self.worker.exit_code)
            words = [str(Path(sys.executable).parent / "tagstream"), "worker"]
            self.worker = self._processes.start(words, env=self.environ, log_file=self._log)
        return self.worker

    def in_the_model(self) -> list[int]:
        """The process of each run of the model on the slow event, those that have ended included."""
        return [int(line) for line in self.runs.read_text().splitlines()]

    def outcomes(self, *kinds: str) -> dict[str, dict[str, bytes]]:
        """The events on these topics by their ids, each with its headers. An outcome may be there twice."""
        records = records_in(self._brokers, *(self.topics[kind] for kind in kinds))
        return {json.loads(record.value)["id"]: dict(record.headers) for record in records}

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait, and start the worker again meanwhile."""
        until(lambda: self.tend() and holds(), what, state=lambda: self._log.read_text()[-LOG_CHARACTERS:])


@pytest.fixture
def stand(environ: dict[str, str], processes: Processes, tmp_path: Path, tiny_bundle_folder: Path) -> Iterator[Stand]:
    """On topics of its own; its worker ends with the test."""
    made = Stand(environ, processes, tmp_path, tiny_bundle_folder)
    yield made
    made.go.touch()


def test_no_number_of_kills_while_the_model_runs_makes_a_dead_letter_of_an_innocent_event(stand: Stand) -> None:
    """An outsider kills the worker, or whichever process the model runs in, each time while the model has the same event."""
    stand.send("a title", SLOW, "another title")
    for kill in range(KILLS):
        seen = len(stand.in_the_model())
        stand.until(lambda seen=seen: len(stand.in_the_model()) > seen or stand.outcomes("dlq"), "the model runs")  # type: ignore[misc]
        assert stand.outcomes("dlq") == {}, f"after {kill} kills"
        running = stand.in_the_model()[-1]
        assert stand.worker is not None
        # Its worker may have ended it a moment ago.
        with contextlib.suppress(ProcessLookupError):
            os.kill(running if kill % 4 else stand.worker.pid, signal.SIGKILL)
    stand.go.touch()
    stand.until(lambda: len(stand.outcomes("tagged", "review", "dlq")) == 3, "every event has its outcome")

    assert stand.outcomes("dlq") == {}
    assert set(stand.deaths) == {-signal.SIGKILL}


def test_an_event_that_kills_the_model_costs_one_death_of_a_worker(stand: Stand) -> None:
    """It becomes a dead letter with its reason, and its neighbours are decided."""
    stand.send("a title", POISON, "another title")
    stand.until(lambda: len(stand.outcomes("tagged", "review", "dlq")) == 3, "every event has its outcome")

    ((event, headers),) = stand.outcomes("dlq").items()
    assert event == "1"
    assert (headers["x-dlq-code"], headers["x-dlq-attempts"]) == (b"crashes_worker", b"3")
    assert stand.deaths == [-signal.SIGABRT]
