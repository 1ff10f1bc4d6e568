"""
Decisions that an application made by a classifier of its own, reviewed in the console and published by a worker, exactly once under kills.

The judge reads the topics and knows nothing of the processes. What the application should have decided is decided again here.
"""

import contextlib
import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tagstream import (
    AnsweredEvent,
    ConflictError,
    Decided,
    Distinct,
    PublishedDecision,
    Record,
    read_answer,
    read_decision,
)
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.console.person import Console, Person
from tests.faults.cluster.topics import make_topics, send
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.library.classifying import DEATH, Death, Step, Wrong, model_of, probabilities
from tests.integration.running import SAME_MEMBER, all_committed, ended
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EVENTS, FEW = 200, 40
# Events that a process takes before it dies: six deaths leave some for the last one.
LEAST_TAKEN, MOST_TAKEN = 8, 20
# A kill of console and worker falls anywhere within an answer.
LATEST_SECONDS = 0.15
# Beyond the bound of a worker's text.
LONG = "A long ticket. " * 1_200


@dataclass(frozen=True, kw_only=True)
class Stream:
    """
    The topics of a test, and what should come to lie on them.

    Attributes:
        environ: TAGSTREAM_* of console and worker, whose topic of events stays empty.
        settings: The same.
        of_application: The same with the application's topic and group.
        expected: What the application should decide, by event.
    """

    environ: Mapping[str, str]
    settings: Settings
    of_application: Settings
    expected: Mapping[str, Decided]

    @property
    def asked(self) -> set[str]:
        """The events about which a person is asked: unsure ones, and those that are drawn."""
        topics = {self.settings.topics.review, self.settings.topics.audit}
        return {event for event, found in self.expected.items() if topics & {one.topic for one in found.records}}


def events(count: int) -> list[Planted]:
    """Events with and without key and headers, some long, some with fields that have a name of ours."""
    kinds = ("cannot sign in", "was charged twice", "asks for the opening hours")
    made = []
    for number in range(count):
        fields = {"id": f"t-{number}", "title": f"Customer {number} {kinds[number % 3]}", "source": "desk"}
        fields |= {"description": LONG} if number % 40 == 7 else {}
        fields |= {"tag": "urgent", "model": "phone"} if number % 10 == 3 else {}
        key = f"customer-{number % 20}".encode() if number % 2 else None
        headers = (("h", b"1"), ("h", b"\xff")) if number % 5 == 0 else ()
        made.append(Planted(event_id=fields["id"], key=key, value=json.dumps(fields).encode(), headers=headers))
    return made


def stream_of(environ: Mapping[str, str], planted: Sequence[Planted], monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Make the application's topic, write the events there, and decide them here."""
    environ = {**environ, "TAGSTREAM_AUDIT_RATE": "0.3"}
    settings = load(environ, folder=ROOT).settings
    own = {"TAGSTREAM_TOPICS__CONTENT": f"{settings.group}.tickets", "TAGSTREAM_GROUP": f"{settings.group}-application"}
    of_application = load({**environ, **own}, folder=ROOT).settings
    make_topics(of_application)
    send(of_application, planted)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    model = model_of()
    expected = {}
    for one in planted:
        decided = model.decide(
            Record(key=one.key, value=one.value, headers=one.headers), probabilities(json.loads(one.value or b""))
        )
        assert isinstance(decided, Decided)
        expected[decided.event_id] = decided
    return Stream(environ=environ, settings=settings, of_application=of_application, expected=expected)


@dataclass(slots=True)
class Programs:
    """Starts the application and a worker; none outlives the test."""

    processes: Processes
    stream: Stream
    folder: Path
    _started: int = 0

    def application(self, dies: Death | None = None, wrong: Wrong | None = None) -> Process:
        """One process of the application."""
        own = self.stream.of_application
        told = {"BROKERS": own.brokers, "EVENTS": own.topics.content, "GROUP": own.group}
        told |= {"DIES": str(dies)} if dies else {}
        told |= {"WRONG": wrong} if wrong else {}
        return self._start("tests.integration.library.classifying", **told)

    def worker(self) -> Process:
        """A worker; its topic of events is empty, so that answers are all it publishes."""
        return self._start("tagstream.stream.cli.main", "worker", **SAME_MEMBER)

    def _start(self, module: str, *words: str, **more: str) -> Process:
        self._started += 1
        return self.processes.start(
            [sys.executable, "-m", module, *words],
            env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), **self.stream.environ, **more},
            log_file=self.folder / f"{module.rpartition('.')[2]}-{self._started}.log",
        )


@dataclass(slots=True, kw_only=True)
class Judged:
    """
    What the topics show.

    Attributes:
        faults: A sentence each; empty where everything is as it should be.
        repeated: Records of the application that were dropped as repetitions.
    """

    faults: list[str] = field(default_factory=list)
    repeated: int = 0


def judged(observer: TopicObserver, stream: Stream, saved: Mapping[str, str]) -> Judged:
    """
    Read the topics.

    Args:
        observer: Of the stream.
        stream: What should be there.
        saved: The tag by event of the answers that the page has called saved.
    """
    topics, found = stream.settings.topics, Judged()
    if letters := observer.records(topics.dlq):
        found.faults.append(f"{len(letters)} dead letters")
    outcomes = [one for topic in (topics.review, topics.tagged) for one in observer.records(topic)]
    of_model = [one for one in outcomes if b'"decider":"reviewer"' not in (one.value or b"")]
    for records, place, what in (
        (of_model, 0, "decisions of the model"),
        (observer.records(topics.audit), 1, "copies for audit"),
    ):
        should = {event: decided.records[place] for event, decided in stream.expected.items() if len(decided.records) > place}
        _judge_records(once(records, found), should, what, found)
    of_persons = [one for one in outcomes if b'"decider":"reviewer"' in (one.value or b"")]
    repeated = found.repeated
    _judge_persons(once(of_persons, found), once(observer.records(topics.reviewed), found), stream, saved, found)
    found.repeated = repeated
    return found


def once(records: Sequence[Record], found: Judged) -> list[Record]:
    """The records without repetitions; each conflict is a fault."""
    known, kept = Distinct(), []
    for record in records:
        try:
            if known.admit(record):
                kept.append(record)
        except ConflictError as error:
            found.faults.append(f"conflict: {error}")
    found.repeated += known.duplicates
    return kept


def without_clock(record: Record) -> tuple[str, bytes | None, bytes, object]:
    """All of a record that a repetition must repeat."""
    return record.topic, record.key, (record.value or b"").rpartition(b',"tagged_at":')[0], record.headers


def _judge_records(kept: Sequence[Record], should: Mapping[str, Record], what: str, found: Judged) -> None:
    of_event = Counter(read(one).event.id for one in kept)
    for event in should.keys() | of_event.keys():
        if of_event[event] != (event in should):
            found.faults.append(f"{event}: {of_event[event]} {what}")
    for one in kept:
        event = read(one).event.id
        if event in should and without_clock(one) != without_clock(should[event]):
            found.faults.append(f"{event}: other bytes than decided, of {what}")


def _judge_persons(
    kept: Sequence[Record], answers: Sequence[Record], stream: Stream, saved: Mapping[str, str], found: Judged
) -> None:
    """Each answer has one decision, which names the application's, and each answer that was called saved is there."""
    said = Counter((one.event.id, one.answer.tag) for one in map(read_answer, answers) if isinstance(one, AnsweredEvent))
    made = Counter((one.event.id, one.decision.tag) for one in map(read, kept))
    if said != made or max(said.values(), default=1) > 1 or len({event for event, _ in said}) != len(said):
        found.faults.append(f"answers and decisions of persons differ: {said - made} {made - said}")
    lost = [event for event, tag in saved.items() if (event, tag) not in made]
    found.faults.extend(f"{event}: an answer was called saved, and is no decision" for event in lost)
    for one in map(read, kept):
        model = stream.expected[one.event.id].decision
        value = json.loads(one.event.record.value or b"")
        if (value["supersedes"], one.decision.model, one.decision.decider) != (model.prediction_id, model.model, "reviewer"):
            found.faults.append(f"{one.event.id}: a person's decision does not name that of the application")


def read(record: Record) -> PublishedDecision:
    """The decision in a record."""
    found = read_decision(record)
    assert isinstance(found, PublishedDecision), found
    return found


@contextlib.contextmanager
def struck(programs: Programs, person: Person, observer: TopicObserver, seed: str) -> Iterator[None]:
    """Beside the person: the application dies at six seeded moments, the console and the worker are killed once each."""
    failed: list[BaseException] = []
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    steps = [*Step, *chance.choices(list(Step), k=2)]
    chance.shuffle(steps)

    def die(step: Step) -> None:
        process = programs.application(Death(step=step, events=chance.randint(LEAST_TAKEN, MOST_TAKEN)))
        assert ended(process) == DEATH, process.output()

    def answered(count: int) -> None:
        until(lambda: len(person.saved) >= count, f"{count} answers are saved", process=person.console.process)
        threading.Event().wait(chance.uniform(0, LATEST_SECONDS))

    def strike_all() -> None:
        try:
            worker = programs.worker()
            for number, step in enumerate(steps):
                die(step)
                if number == 1:
                    answered(3)
                    person.console.kill(forget=False)
                if number == 3:
                    answered(len(person.saved) + 3)
                    worker.kill()
                    programs.worker()
            programs.application()
            all_committed(observer)
        except BaseException as error:  # noqa: BLE001 - the thread of the test raises it
            failed.append(error)
        finally:
            person.done.set()

    thread = threading.Thread(target=strike_all, name="strikes", daemon=True)
    thread.start()
    yield
    thread.join(HANG_SECONDS)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def test_decisions_of_an_application_are_reviewed_and_published_exactly_once(
    environ: dict[str, str],
    processes: Processes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each event has one decision of the application's model, each answer that the page called saved one of a person, under nine kills."""
    stream = stream_of(environ, events(EVENTS), monkeypatch)
    programs = Programs(processes, stream, tmp_path)
    console_environ = {**without_settings(os.environ), **stream.environ, "PYTHONPATH": str(ROOT)}
    person = Person(Console(processes, console_environ, tmp_path), random.Random("person"))  # noqa: S311 - repeatable
    with TopicObserver(stream.settings) as observer, TopicObserver(stream.of_application) as reading:

        def everything() -> bool:
            return {one.event.id for one in answers_on(observer)} == stream.asked

        with struck(programs, person, reading, "foreign"):
            person.answer_all(everything)
        until(
            lambda: all(observer.sample().answered.get(at, 0) == end for at, end in observer.answers_ends().items()),
            "all answers are committed",
            state=observer.sample,
        )
        found = judged(observer, stream, person.saved)
    assert found.faults == []
    assert person.shown_again == []
    # A process that died after the broker had its records leaves a batch to be sent again.
    assert found.repeated > 0
    # Some are longer than the text of a worker's model; this one has read them.
    assert not any(decided.decision.truncated for decided in stream.expected.values())
    with capsys.disabled():
        print(  # noqa: T201 - the figures of docs/faults.md
            f"\n{len(stream.expected)} events, {found.repeated} records repeated, {len(stream.asked)} asked, {len(person.saved)} answers called saved, {person.unsure} unknown"
        )


def answers_on(observer: TopicObserver) -> list[AnsweredEvent]:
    """All answers that lie on `reviewed`."""
    read_all = map(read_answer, observer.records(observer.settings.topics.reviewed))
    return [one for one in read_all if isinstance(one, AnsweredEvent)]


@pytest.mark.parametrize(
    ("wrong", "step", "fault"),
    [
        (None, Step.CONFIRMED, None),
        (Wrong.OTHER_VERSION, Step.CONFIRMED, "2 decisions of the model"),
        (Wrong.OTHER_PROBABILITIES, Step.CONFIRMED, "conflict"),
        (Wrong.COMMITS_FIRST, Step.COMMITTED, "0 decisions of the model"),
    ],
)
def test_the_judge_finds_out_an_application_that_is_wrong(
    wrong: Wrong | None,
    step: Step,
    fault: str | None,
    environ: dict[str, str],
    processes: Processes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that names itself or decides otherwise after a kill, and one that commits before it sends; the right one is cleared."""
    stream = stream_of(environ, events(FEW), monkeypatch)
    programs = Programs(processes, stream, tmp_path)
    first = programs.application(Death(step=step, events=LEAST_TAKEN), wrong)
    assert ended(first) == DEATH, first.output()
    programs.application(wrong=wrong)
    with TopicObserver(stream.of_application) as reading:
        all_committed(reading)
        found = judged(reading, stream, {})
        lost = judged(reading, stream, {"t-0": "billing"})
    assert (found.faults == []) == (fault is None), found.faults
    assert fault is None or any(fault in one for one in found.faults), found.faults
    assert lost.faults == [*found.faults, "t-0: an answer was called saved, and is no decision"]
