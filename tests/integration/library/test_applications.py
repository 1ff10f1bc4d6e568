"""The applications of examples/library on a broker: their records are those of a worker."""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream import DecidedEvent, ForeignModel, read_decision
from tagstream.stream.broker import Broker
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.answers import Said, answer_to, write_answer
from tagstream.stream.contract.event import Headers, Record
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import fresh_environment, make_topics
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, without_settings
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

TITLES = (
    "Feature stores in production",
    "Attention is all you need",
    "Object detection on a phone",
    "Vintage chairs, hardly used",
)
# Above the default, so that copies are drawn.
AUDIT = {"TAGSTREAM_AUDIT_RATE": "0.5"}
DECIDED = {"TAGSTREAM_INFERENCE_THREADS": "1", "TAGSTREAM_DRIFT_WINDOW_EVENTS": "0"}


def written(settings: Settings) -> int:
    """Write events of every kind to `content`, good and malformed; how many."""
    events: list[tuple[bytes | None, bytes | None, Headers]] = [
        (
            b"key",
            json.dumps({"title": f"{title} {number}", "id": f"e-{number}"}).encode(),
            (("h", b"1"), ("h", b"\xff"), ("e", b"")),
        )
        for number in range(10)
        for title in TITLES
    ]
    events += [(None, json.dumps({"title": title, "tag": "mine", "n": 1e2}).encode(), ()) for title in TITLES]
    cloud = json.dumps({"specversion": "1.0", "id": "c", "source": "/s", "type": "t", "data": {"title": TITLES[0]}}).encode()
    events += [(b"", cloud, (("content-type", b"application/cloudevents+json"),)), (b"x", b"{", ()), (b"x", None, ())]
    events += [(b"x", b'{"title": " "}', (("a", b"b"),)), (b"\xff", b'{"title": "Zero\\u200bwidth"}', ())]
    producer = KafkaProducer(bootstrap_servers=settings.broker_list, acks="all")
    sent = [
        producer.send(settings.topics.content, key=key, value=value, headers=list(headers)) for key, value, headers in events
    ]
    for one in sent:
        one.get(timeout=HANG_SECONDS)
    producer.close()
    return len(events)


def answered(settings: Settings) -> int:
    """Write answers on decisions of a foreign model to `reviewed`, one of them twice, and a record that is none; how many."""
    model = ForeignModel("intents", "7", ["billing", "login"], thresholds=0.8, settings={"audit_rate": 0}, environment=False)
    values = [b"{"]
    for number in range(20):
        decided = model.decide({"id": f"e-{number}", "title": f"ticket {number}"}, {"billing": 0.6, "login": 0.4})
        shown = read_decision(decided.records[0])
        assert isinstance(shown, DecidedEvent)
        said = Said(tag="login", reviewer="ann", blind=False, asked_by="review")
        values.append(write_answer(shown.event.fields, answer_to(shown, said, now_ms=1_700_000_000_000)))
    producer = KafkaProducer(bootstrap_servers=settings.broker_list, acks="all")
    for value in (*values, values[-1]):
        producer.send(settings.topics.reviewed, key=b"k", value=value).get(timeout=HANG_SECONDS)
    producer.close()
    return len(values) + 1


def outcomes(settings: Settings, count: int, process: Process) -> dict[str, Counter[tuple[bytes | None, bytes, Headers]]]:
    """The records of each topic without their times, once so many events have an outcome."""
    with TopicObserver(settings) as looking:
        names = ("tagged", "review", "dlq")

        def found() -> dict[str, list[Record]] | None:
            records = {name: looking.records(getattr(settings.topics, name)) for name in (*names, "audit")}
            return records if sum(len(records[name]) for name in names) >= count else None

        everything = until(found, f"{count} events have an outcome", process=process)
    assert everything is not None, process.output()
    return {
        name: Counter(
            (one.key, (one.value or b"").rpartition(b',"tagged_at":')[0] or (one.value or b""), one.headers) for one in records
        )
        for name, records in everything.items()
    }


@pytest.fixture
def started(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> "Started":
    """Starts programs that run until the test ends."""
    return Started(processes, tmp_path_factory)


class Started:
    """See `started`."""

    def __init__(self, processes: Processes, folders: pytest.TempPathFactory) -> None:
        self._processes = processes
        self._folders = folders

    def __call__(self, words: Sequence[str], environ: dict[str, str]) -> Process:
        """A program with these variables."""
        return self._processes.start(
            [sys.executable, *words],
            env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), **environ},
            log_file=self._folders.mktemp("program") / "log",
        )


@pytest.mark.parametrize(
    "words",
    [("examples/library/plain.py",), ("examples/library/faust_app.py", "worker"), ("examples/library/faststream_app.py",)],
    ids=lambda words: words[0].rpartition("/")[2].removesuffix(".py"),
)
def test_an_application_publishes_what_a_worker_publishes(
    words: tuple[str, ...], kafka: Broker, environ: dict[str, str], started: Started
) -> None:
    """Record by record: key, headers, and every byte before `tagged_at`, dead letters and copies for audit included."""
    worker_environ = {**environ, **AUDIT, **DECIDED}
    settings = load(worker_environ, folder=ROOT).settings
    count = written(settings)
    worker = started(("-m", "tagstream.stream.cli.main", "worker"), worker_environ)
    expected = outcomes(settings, count, worker)
    assert all(expected.values()), {name: len(found) for name, found in expected.items()}

    # Topics of its own for what comes out, and the same one for what goes in.
    own = {**fresh_environment(kafka.bootstrap, "application"), **AUDIT, "TAGSTREAM_TOPICS__CONTENT": settings.topics.content}
    own_settings = load(own, folder=ROOT).settings
    make_topics(own_settings)
    told = {"BROKERS": kafka.bootstrap, "CONTENT": settings.topics.content, "GROUP": f"{settings.group}-app"}
    first, *rest = words
    application = started((str(ROOT / first), *rest), {**own, **told})
    assert outcomes(own_settings, count, application) == expected, application.output()


def test_a_program_makes_the_decisions_of_answers_that_a_worker_makes(
    kafka: Broker, environ: dict[str, str], started: Started
) -> None:
    """Record by record; what is no answer is a dead letter of `reviewed`."""
    worker_environ = {**environ, **DECIDED}
    settings = load(worker_environ, folder=ROOT).settings
    count = answered(settings)
    worker = started(("-m", "tagstream.stream.cli.main", "worker"), worker_environ)
    expected = outcomes(settings, count, worker)
    assert (expected["tagged"].total(), expected["dlq"].total()) == (count - 1, 1)

    own = {**fresh_environment(kafka.bootstrap, "answers"), "TAGSTREAM_TOPICS__REVIEWED": settings.topics.reviewed}
    own_settings = load(own, folder=ROOT).settings
    make_topics(own_settings)
    told = {"BROKERS": kafka.bootstrap, "REVIEWED": settings.topics.reviewed, "GROUP": f"{settings.group}-app"}
    program = started((str(ROOT / "examples/library/answers.py"),), {**own, **told})
    assert outcomes(own_settings, count, program) == expected, program.output()


def test_a_part_of_ones_own_counts_what_its_worker_publishes(environ: dict[str, str], started: Started, tmp_path: Path) -> None:
    """One file beside tagstream: by hour, each label as often as it was published, and the worker ends in good order."""
    worker_environ = {**environ, **AUDIT, **DECIDED, "TAGSTREAM_METRICS_PORT": "0"}
    settings = load(worker_environ, folder=ROOT).settings
    count = written(settings)
    counts = tmp_path / "counts.json"
    worker = started((str(ROOT / "examples/library/tags_by_hour.py"), str(counts)), worker_environ)
    found = outcomes(settings, count, worker)
    worker.ask_to_end()
    assert worker.wait(HANG_SECONDS)
    assert worker.exit_code == 0, worker.output()
    labelled = [json.loads(value + b"}") for name in ("tagged", "review") for _, value, _ in found[name].elements()]
    by_label: Counter[str] = Counter()
    for tags in json.loads(counts.read_text(encoding="utf-8")).values():
        by_label.update(tags)
    assert by_label == Counter(one["tag"] for one in labelled)
