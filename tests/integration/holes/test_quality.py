"""A hostile writer on `reviewed` and live quality: no record ends the console, none leaves honest answers out, none counts by itself."""

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from tagstream.stream.broker.processes import Process, Processes
from tests.integration.running import Start, ended, get
from tests.postgres import postgres
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

ADDRESS = re.compile(r"the console: (http://\S+?)/?\s")
# The model of the workers is sure of three events in four.
EVENTS, AUDITS = 150, 60
# Fields of a decision that an answer carries.
CARRIED = ("confidence", "probabilities", "decider", "model", "threshold", "truncated", "inclusion_probability", "tagged_at")


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path}/store.db"
        else:
            yield stack.enter_context(postgres()).fresh()


@pytest.fixture
def console(environ: dict[str, str], processes: Processes, tmp_path: Path, store: str) -> Callable[[], "Console"]:
    """Starts consoles on the store, one after another."""
    logs = (tmp_path / f"console-{number}.log" for number in range(10))

    def start() -> Console:
        argv = [
            sys.executable,
            "-m",
            "tagstream.stream.cli.main",
            "review",
            "--port",
            "0",
            "--store",
            store,
            "--reviewer",
            "ann",
        ]
        return Console(processes.start(argv, env=environ, log_file=next(logs)))

    return start


class Console:
    """A console process."""

    def __init__(self, process: Process) -> None:
        """Wait until it says its address."""
        self.process = process
        found = until(lambda: ADDRESS.search(process.output()), "the console says its address", process=process)
        assert found is not None
        self._url = found[1]

    def page(self, path: str) -> str:
        """The body."""
        return get(self._url + path)[1]

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a series; None where there is none."""
        families = text_string_to_metric_families(self.page("/metrics"))
        found = [
            one for family in families for one in family.samples if one.name == name and one.labels.items() >= labels.items()
        ]
        return found[0].value if found else None

    def until_metric(self, name: str, value: float, **labels: str) -> None:
        """Wait until a series has this value."""
        until(
            lambda: self.metric(name, **labels) == pytest.approx(value),
            f"{name} is {value}",
            state=lambda: str(self.metric(name, **labels)),
            process=self.process,
        )

    def stop(self) -> None:
        """SIGTERM; it ends with 0."""
        self.process.ask_to_end()
        assert ended(self.process) == 0, self.process.output()


@pytest.fixture
def audits(environ: dict[str, str], start: Start) -> list[dict[str, Any]]:
    """Decisions that a worker published, every one copied to `audit`."""
    start(TAGSTREAM_AUDIT_RATE="1").until_ready()
    produce(environ, "CONTENT", *({"id": f"e-{number}", "title": f"deployment of model {number}"} for number in range(EVENTS)))
    consumer = KafkaConsumer(
        environ["TAGSTREAM_TOPICS__AUDIT"], bootstrap_servers=environ["TAGSTREAM_BROKERS"], auto_offset_reset="earliest"
    )
    found: list[dict[str, Any]] = []
    try:
        deadline = time.monotonic() + HANG_SECONDS
        while len(found) < AUDITS and time.monotonic() < deadline:
            found += [json.loads(one.value) for batch in consumer.poll(timeout_ms=500).values() for one in batch]
    finally:
        consumer.close()
    return found[:AUDITS]


def produce(environ: dict[str, str], topic: str, *values: dict[str, Any]) -> None:
    """Write records, as anyone can who may write to the topic."""
    producer = KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"])
    try:
        for value in values:
            producer.send(environ[f"TAGSTREAM_TOPICS__{topic}"], key=value["id"].encode(), value=json.dumps(value).encode())
        producer.flush(timeout=HANG_SECONDS)
    finally:
        producer.close()


def answer(audit: dict[str, Any], *, tag: str | None = None, **before: Any) -> dict[str, Any]:
    """A record of `reviewed` on an audit: its own tag unless another is given, and the decision with these fields changed."""
    return {
        "id": audit["id"],
        "title": audit["title"],
        "event_id": audit["id"],
        "prediction_id": audit["prediction_id"],
        "model_tag": audit["tag"] if tag is None else tag,
        "tag": audit["tag"] if tag is None else tag,
        "reviewer": "bea",
        "decided_at": audit["tagged_at"],
        "version": 1,
        "blind": True,
        "asked_by": "audit",
        "before": {**{name: audit[name] for name in CARRIED}, "destination": "tagged", **before},
    }


def later(audit: dict[str, Any]) -> str:
    """A moment after this decision, in the same second."""
    return re.sub(r"\.\d+Z$", ".999Z", audit["tagged_at"])


def filled(console: Callable[[], Console], answered: int) -> None:
    """A console reads all answers into the store, and ends."""
    first = console()
    first.until_metric("tagstream_queue_answered_events", answered)
    first.stop()


def test_a_probability_that_no_draw_gives_ends_no_console(
    environ: dict[str, str], audits: list[dict[str, Any]], console: Callable[[], Console]
) -> None:
    """One answer with 5e-324 in the topic and in the store: the console starts, measures the others and goes on."""
    poison, *honest = audits
    produce(environ, "REVIEWED", *map(answer, honest))
    produce(environ, "REVIEWED", answer(poison, inclusion_probability=5e-324, tagged_at=later(audits[-1])))
    filled(console, AUDITS)
    again = console()
    again.until_metric("tagstream_quality_accuracy_ratio", 1.0, scope="published", bound="value")
    assert again.process.running()
    until(lambda: "Of what is published" in again.page("/quality"), "the page of the figures, once the topics are read")
    again.stop()


def test_a_forged_decision_leaves_no_honest_answer_out(
    environ: dict[str, str], audits: list[dict[str, Any]], console: Callable[[], Console]
) -> None:
    """An answer that carries a newer decision with a label of its own changes no figure: the console's own reading holds."""
    forged, *honest = audits
    produce(environ, "REVIEWED", *map(answer, honest))
    produce(
        environ,
        "REVIEWED",
        answer(forged, tag="pwned", probabilities={"pwned": 1.0}, confidence=1.0, tagged_at=later(audits[-1])),
    )
    filled(console, AUDITS)
    again = console()
    again.until_metric("tagstream_quality_accuracy_ratio", 1.0, scope="published", bound="value")
    assert again.metric("tagstream_quality_answers", scope="published") == AUDITS - 1
    assert "pwned" not in again.page("/quality")
    again.stop()
