"""The pages on dead letters, on moving and on nested events, on Apache Kafka: their commands print what the pages show."""

import re
import shutil
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT
from tests.integration.pages import Reader, steps
from tests.integration.running import ended, written
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

DEAD, MOVING, NESTED = (ROOT / "docs" / f"{name}.md" for name in ("dead-letters", "moving", "nested-events"))


@pytest.fixture
def reader(tmp_path: Path, environ: dict[str, str], processes: Processes) -> Reader:
    """In an empty folder."""
    folder = tmp_path / "reader"
    folder.mkdir()
    return Reader(folder, environ, processes)


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Those of the reader."""
    return load(environ, folder=ROOT).settings


def outcomes(settings: Settings, count: int) -> None:
    """Wait until so many events have an outcome, and all are committed."""
    with TopicObserver(settings) as observer:
        until(lambda: written(observer) >= count, f"{count} outcomes are written", state=lambda: written(observer))


def test_dead_letters_are_corrected_as_the_page_shows(reader: Reader, settings: Settings) -> None:
    """Listed, looked at, exported, refused while they are wrong, corrected, sent and looked up, line by line as on the page."""
    events = re.findall(r'^    (\{"id": "blog.*)$', DEAD.read_text(encoding="utf-8"), re.MULTILINE)
    producer = KafkaProducer(bootstrap_servers=settings.broker_list, acks="all")
    for event in events:
        producer.send(settings.topics.content, value=event.encode()).get(timeout=HANG_SECONDS)
    producer.close()
    reader.start("tagstream worker")
    outcomes(settings, len(events))
    for step in steps(DEAD):
        if "lookup" in step.command:
            outcomes(settings, len(events) + 2)
        assert reader.plain(reader.run(step.command)) == reader.plain(step.shown), step.command


def test_an_application_moves_as_the_page_shows(reader: Reader, settings: Settings) -> None:
    """The program of the page decides three events; a worker in its group decides the fourth alone, and doctor sees it hold the partitions."""
    shutil.copy(ROOT / "examples" / "library" / "faust_app.py", reader.folder)
    csv, *rest = steps(MOVING)
    (reader.folder / "papers.csv").write_text(csv.shown, encoding="utf-8")
    program = None
    decided = 0
    for step in rest:
        match step.command.split():
            case [*_, "worker"]:
                if program is not None:
                    program.ask_to_end()
                    ended(program)
                program = reader.start(f"BROKERS={settings.brokers} CONTENT={settings.topics.content} {step.command}")
            case [*_, "doctor"]:
                wanted = set(reader.plain(step.shown))
                until(lambda: wanted <= set(reader.plain(reader.run(step.command))), "doctor says what the page shows")  # noqa: B023
            case ["tagstream", "tail", *_]:
                outcomes(settings, decided)
                assert reader.plain(reader.run(step.command)) == reader.plain(step.shown)
            case _:
                said = reader.run(step.command)
                assert reader.plain(said) == reader.plain(step.shown), step.command
                decided += sum(map(int, re.findall(r"^(\d+) events? in", said)))
    assert decided == 4


def test_the_doctor_says_of_nested_events_what_the_page_shows(reader: Reader) -> None:
    """How many of the newest records have something under each pointer, with the events and the settings of the page."""
    page = NESTED.read_text(encoding="utf-8")
    for name, block in (("events.jsonl", "json lines"), ("tagstream.toml", "toml second")):
        (text,) = re.findall(rf"^```{block}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        (reader.folder / name).write_text(text, encoding="utf-8")
    sent, doctor = steps(NESTED)
    assert reader.plain(reader.run(sent.command)) == reader.plain(sent.shown)
    assert set(reader.plain(doctor.shown)) <= set(reader.plain(reader.run(doctor.command)))
