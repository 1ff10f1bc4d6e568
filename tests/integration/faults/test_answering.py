"""People answer in the console's page while the console, its store, the worker and the broker are struck, and a stranger writes.

No answer that the page calls saved is lost, or asked again without a report, each answer becomes one decision, and no record of the stranger ends the
console, or makes it large.
"""

import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.answers import AnsweredEvent, order, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.console.person import PERSON, Console, Person
from tests.faults.cluster.brokers import StruckCluster
from tests.faults.cluster.topics import fault_environment, make_topics, send
from tests.faults.inputs import STRANGER, Input, Planted, plant
from tests.faults.observer import TopicObserver
from tests.faults.stranger import Stranger
from tests.faults.worker.fleet import ROOT, Fleet
from tests.integration.running import verdict
from tests.replacing import replace
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.faults]

EVENTS = 1_500
STRIKES = (
    "console",
    "worker",
    "stranger",
    "console",
    "store",
    "stranger",
    "broker",
    "console",
    "worker",
    "stranger",
    "store",
    "console",
    "broker",
)
ANSWERS_BETWEEN = 20
# Of the stranger's records at each of its strikes, so many go to each topic: all kinds, some twice.
FORGED = 12
OUTAGE_SECONDS = 4.0
# A kill falls anywhere within an answer.
LATEST_SECONDS = 0.15
FIRST_ESTIMATE = "The first estimate is being made"


class Writer:
    """
    Writes the stranger's records to every topic.

    Attributes:
        events: Those of `content`, with their places.
        reported: How often it has reported an event, which is then asked about again, as after any reader's report.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stranger = Stranger(settings, "answering")
        self.events: list[Input] = []
        self.reported: Counter[str] = Counter()

    def strike(self, saved: Sequence[str]) -> None:
        """Some of each kind, about events that nobody has sent, and about those that the person has answered."""
        topics, stranger = self._settings.topics, self._stranger
        reports = stranger.reports(FORGED, saved)
        self.reported.update(one.event_id or "" for one in reports)
        genuine = [one for one in answers_on(self._settings) if is_persons(one.planted.value)]
        corrections = [
            replace(one.planted, value=stranger.correction(one.planted.value or b""), headers=(*one.planted.headers, STRANGER))
            for one in genuine[-3:]
        ]
        written = [
            *((topics.reviewed, one) for one in [*stranger.answers(FORGED), *corrections]),
            *((topics.audit, one) for one in stranger.audits(FORGED)),
            *((topics.reports, one) for one in reports),
        ]
        records = [Record(topic=topic, key=one.key, value=one.value, headers=one.headers) for topic, one in written]
        with verbatim_sender(self._settings, idempotent=True) as sender:
            assert sender.deliver(records, until=time.monotonic() + HANG_SECONDS) == [None] * len(records)
        self.events += send(self._settings, stranger.events(FORGED))


@contextlib.contextmanager
def struck(person: Person, fleet: Fleet, cluster: StruckCluster, writer: Writer) -> Iterator[None]:
    """Strike beside the person; each strike waits for some more answers, so that it meets work."""
    failed: list[BaseException] = []

    def strike_all() -> None:
        chance = random.Random("strikes")  # noqa: S311 - repeatable, not secret
        pause = threading.Event()
        try:
            for number, strike in enumerate(STRIKES, 1):
                answered = number * ANSWERS_BETWEEN
                until(
                    lambda least=answered: len(person.saved) >= least,  # type: ignore[misc]
                    f"{answered} answers are saved",
                    process=person.console.process,
                )
                pause.wait(chance.uniform(0, LATEST_SECONDS))
                person.console.check()
                match strike:
                    case "stranger":
                        writer.strike(list(person.saved))
                    case "worker":
                        fleet.kill(fleet.members[1])
                        until(fleet.tend, "the worker has ended")
                    case "broker":
                        cluster.outage(seconds=OUTAGE_SECONDS)
                        until(lambda: not cluster.broken, "the broker is back")
                        fleet.tend()
                    case _:
                        person.console.kill(forget=strike == "store")
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


def estimated(console: Console) -> bool:
    """Whether an estimate of quality is on the page."""
    address = console.address()
    if address is None:
        return False
    page = httpx.get(f"{address}/quality", timeout=HANG_SECONDS)
    return page.status_code == httpx.codes.OK and FIRST_ESTIMATE not in page.text


def answers_on(settings: Settings) -> list[Input]:
    """All records of `reviewed`."""
    with log_of(settings, settings.topics.reviewed) as log:
        return [
            Input(
                planted=Planted(event_id=_event_of(record), key=record.key, value=record.value, headers=record.headers),
                partition=record.partition,
                offset=record.offset,
            )
            for record in log.read()
        ]


def _event_of(record: Record) -> str | None:
    found = re.search(rb'"event_id":"([^"]+)"', record.value or b"")
    return found[1].decode() if found else None


def is_persons(value: bytes | None) -> bool:
    """Whether a record of `reviewed` is an answer that the person has given in the page, perhaps on an event of the stranger's."""
    return b'"reviewer":"%b"' % PERSON.encode() in (value or b"")


def newest(settings: Settings) -> dict[str, str]:
    """The tag of the newest answer on each event, without the stranger's."""
    found: dict[str, tuple[tuple[int, str, str], str]] = {}
    with log_of(settings, settings.topics.reviewed) as log:
        for record in log.read():
            if not is_persons(record.value):
                continue
            read = read_answer(record)
            assert isinstance(read, AnsweredEvent)
            one = (order(read.answer), read.answer.tag)
            found[read.event.id] = max(one, found.get(read.event.id, one))
    return {event: tag for event, (_, tag) in found.items()}


def test_no_saved_answer_is_lost_or_asked_again(
    processes: Processes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill -9 of the console, with and without its store, of the worker and of the broker, and records of a stranger, within answers."""
    with StruckCluster(nodes=1) as cluster:
        environ = {
            **fault_environment(cluster.bootstrap, "answering"),
            "TAGSTREAM_STATE_FOLDER": str(tmp_path / "state"),
            "TAGSTREAM_AUDIT_RATE": "0",
            "TAGSTREAM_AUDIT_RATES": "",
            "PYTHONPATH": str(ROOT),
        }
        settings = load(environ, folder=ROOT).settings
        make_topics(settings)
        fleet = Fleet(
            processes=processes, module="tests.faults.worker", environ=environ, seconds_per_batch=0.0, folder=tmp_path
        )
        fleet.add(1)
        with TopicObserver(settings) as observer:
            inputs = send(settings, plant(EVENTS, malformed=0, seed="answering"))
            until(lambda: sum(observer.sample().written.values()) >= EVENTS, "all events are decided")
            with log_of(settings, settings.topics.review) as log:
                asked = sum(log.ends().values()) - sum(log.starts().values())
            person = Person(Console(processes, environ, tmp_path), random.Random("person"))  # noqa: S311 - repeatable
            writer = Writer(settings)
            with struck(person, fleet, cluster, writer):
                person.answer_all(lambda: len(person.saved) >= asked - len(STRIKES))
            # An estimate of quality is made once a minute, and at the start.
            person.console.kill(forget=False)
            until(lambda: estimated(person.console), "the next console estimates quality", process=person.console.process)
            person.console.check()
            answers = answers_on(settings)
            until(
                lambda: fleet.tend() is not None and observer.sample().answered == observer.answers_ends(),
                "all answers are committed",
                state=observer.sample,
            )
            found = verdict(observer, inputs + writer.events, answers)
        said = newest(settings)
        assert Counter(person.shown_again) <= writer.reported
        assert {event: said.get(event) for event in person.saved} == person.saved
        genuine = [one for one in answers if is_persons(one.planted.value)]
        assert len(said) == len({one.planted.event_id for one in genuine}) >= len(person.saved)
        broken = [str(finding) for finding in found.findings if not finding.holds]
        assert broken == []
        with capsys.disabled():
            print(  # noqa: T201 - the figures of docs/faults.md
                f"\n{len(person.saved)} answers called saved, {person.unsure} unknown, {len(genuine)} on the topic beside "
                f"{len(answers) - len(genuine)} of a stranger, {len(STRIKES)} strikes: 0 lost, {len(person.shown_again)} asked again after a report, {found.answers_repeated} decisions repeated"
            )
