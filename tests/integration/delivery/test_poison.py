"""Promise 3 on Apache Kafka: an event that breaks the model or kills the worker is one dead letter; its neighbours are decided."""

import json
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tagstream.monitoring.alarms import alarms
from tagstream.monitoring.top.top import Watcher
from tagstream.monitoring.top.workers import address as top_address
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.deliver.breaker import BreakerFile
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import send
from tests.faults.inputs import Input, Planted, plant
from tests.faults.observer import TopicObserver
from tests.faults.verdict.checker import check
from tests.faults.verdict.evidence import Evidence, Sample
from tests.faults.verdict.matching import CLOCK
from tests.faults.worker.failpoints import FAILPOINTS_VARIABLE, Point
from tests.faults.worker.fleet import ROOT, Fleet
from tests.faults.worker.poison import ABORT, RAISE, poisonable_decider
from tests.faults.worker.stub import FULL_BATCH_VARIABLE, HANG, MODEL_VARIABLE
from tests.integration.running import RunningWorker, Start, all_committed, all_written, ended
from tests.waiting import HANG_SECONDS, LOG_CHARACTERS, answered, until

pytestmark = pytest.mark.broker

MODULE = "tests.faults.worker"
DEATHS = 3
LOOK_SECONDS = 0.1
METRICS = re.compile(r'"metrics": ?"(http://[^"]+)/metrics"')


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """With the number of deaths that these tests expect, a short session, and a model that is as slow for one event as for many."""
    return {
        **environ,
        "TAGSTREAM_CRASH_DEATHS": str(DEATHS),
        "TAGSTREAM_SESSION_TIMEOUT_SECONDS": "6",
        FULL_BATCH_VARIABLE: "1",
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """The same as settings."""
    return load(environ, folder=ROOT).settings


def poison(word: str, number: int) -> Planted:
    """A readable event that the model does not survive."""
    return Planted(
        event_id=None,
        key=b"poison-%d" % number,
        value=json.dumps({"id": f"poison-{number}", "title": f"A title with {word} in it"}).encode(),
        headers=(("traceparent", b"00-%032x-01" % number),),
    )


def with_poison(events: int, *words: str) -> list[Planted]:
    """Good events with these among them, far apart."""
    planted = plant(events - len(words), malformed=0, seed="poison")
    for number, word in enumerate(words):
        planted.insert((number + 1) * events // (len(words) + 1), poison(word, number))
    return planted


def samples(observer: TopicObserver, fleet: Fleet) -> Iterator[Sample]:
    """Sample, and start ended workers anew, until all is committed."""
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        fleet.tend()
        # Beside a busy program the broker may not answer within the bound of one look.
        sample = answered(observer.sample, observer.settings.brokers)
        yield sample
        # The last sample must show it, since the verdict uses the samples.
        if all(sample.committed.get(partition, 0) == end for partition, end in observer.ends().items()):
            return
        assert time.monotonic() < deadline, fleet.log(0)[-4000:]
        time.sleep(LOOK_SECONDS)


def dead_letters(records: Sequence[Record]) -> dict[bytes | None, dict[str, bytes | None]]:
    """Headers of each dead letter by its key."""
    return {record.key: dict(record.headers) for record in records}


def assert_decided_as_alone(settings: Settings, inputs: Sequence[Input], outcomes: dict[Destination, list[Record]]) -> None:
    """Each good event has the bytes, except for the clock, that the same pipeline gives it offline and alone."""
    pipeline = pipeline_of(settings, decider=poisonable_decider())
    found = {
        (door.value, record.key, record.value.rpartition(CLOCK)[0])
        for door, records in outcomes.items()
        for record in records
        if door is not Destination.DLQ and record.value is not None
    }
    expected = set()
    for one in inputs:
        if one.planted.event_id is not None:
            event = Record(
                topic=settings.topics.content,
                partition=one.partition,
                offset=one.offset,
                timestamp_ms=0,
                key=one.planted.key,
                value=one.planted.value,
                headers=one.planted.headers,
            )
            (publication,) = pipeline.publications([event])
            assert publication.value is not None
            expected.add((publication.destination.value, publication.key, publication.value.rpartition(CLOCK)[0]))
    assert found == expected


def test_an_event_that_kills_one_worker_and_its_trials_is_given_up(
    environ: dict[str, str],
    settings: Settings,
    tmp_path: Path,
    processes: Processes,
    publish_report: Callable[[object], None],
) -> None:
    """Events that abort, hang or raise become three dead letters with their bytes; the other 497 are decided as usual."""
    environ = {**environ, "TAGSTREAM_INFERENCE_TIMEOUT_SECONDS": "2"}
    inputs = send(settings, with_poison(500, ABORT, HANG, RAISE))
    fleet = Fleet(
        processes=processes, module=MODULE, model="poisonable", environ=environ, seconds_per_batch=0.01, folder=tmp_path
    )
    fleet.add(0)
    with TopicObserver(settings) as observer:
        seen = list(samples(observer, fleet))
        exits = list(fleet.exits)
        # An event that was given up is a suspect until the worker has seen the commit, at most a second later.
        worker = RunningWorker(fleet.members[0].process)
        worker.until_metric("tagstream_crash_suspects_events", lambda value: value == 0)
        fleet.stop()
        verdict = check(
            Evidence(
                inputs=inputs, outcomes=observer.outcomes(), samples=seen, ends=observer.ends(), idle_bound_seconds=HANG_SECONDS
            )
        )
        outcomes = observer.outcomes()
    publish_report("\n".join(map(str, verdict.findings)) + f"\nexit codes {[exit_.code for exit_ in exits]}")

    assert verdict.broken == [], verdict.findings
    letters = dead_letters(outcomes[Destination.DLQ])
    assert set(letters) == {b"poison-0", b"poison-1", b"poison-2"}
    expected = {
        b"poison-0": (b"crashes_worker", b"3"),
        b"poison-1": (b"crashes_worker", b"3"),
        b"poison-2": (b"model_raised", b"2"),
    }
    for key, (code, attempts) in expected.items():
        headers = letters[key]
        assert (headers["x-dlq-stage"], headers["x-dlq-code"], headers["x-dlq-attempts"]) == (b"infer", code, attempts)
        assert all(b"title" not in (value or b"") for value in headers.values())
    # Each kills a worker once, and then two processes of its trials; the exception kills no process.
    assert sorted(exit_.code for exit_ in exits) == sorted([-signal.SIGABRT, 70])
    assert_decided_as_alone(settings, inputs, outcomes)
    assert "in-the-model" not in fleet.log(0)
    assert "the-model in it" not in fleet.log(0)
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.slow
def test_with_several_workers_it_takes_no_more_than_one_death_of_each(
    environ: dict[str, str],
    settings: Settings,
    tmp_path: Path,
    processes: Processes,
    publish_report: Callable[[object], None],
) -> None:
    """With two workers the event kills each at most once, although they share no knowledge. Exactly once stays exactly once."""
    environ = {**environ, "TAGSTREAM_DELIVERY": "exactly_once"}
    inputs = send(settings, with_poison(500, ABORT))
    fleet = Fleet(
        processes=processes, module=MODULE, model="poisonable", environ=environ, seconds_per_batch=0.01, folder=tmp_path
    )
    fleet.add(0)
    fleet.add(1)
    with TopicObserver(settings) as observer:
        seen = list(samples(observer, fleet))
        exits = list(fleet.exits)
        fleet.stop()
        outcomes = observer.outcomes()
        verdict = check(
            Evidence(inputs=inputs, outcomes=outcomes, samples=seen, ends=observer.ends(), idle_bound_seconds=HANG_SECONDS)
        )
    publish_report("\n".join(map(str, verdict.findings)) + f"\nexit codes {[exit_.code for exit_ in exits]}")

    assert verdict.broken == [], verdict.findings
    assert verdict.duplicates == 0
    assert set(dead_letters(outcomes[Destination.DLQ])) == {b"poison-0"}
    assert {exit_.code for exit_ in exits} == {-signal.SIGABRT}
    assert 1 <= len(exits) <= 2
    assert_decided_as_alone(settings, inputs, outcomes)


@pytest.mark.slow
def test_killing_workers_at_random_makes_no_dead_letter(
    environ: dict[str, str],
    settings: Settings,
    tmp_path: Path,
    processes: Processes,
    publish_report: Callable[[object], None],
) -> None:
    """Events in hand at a SIGKILL from outside are suspected and decided, and none is given up."""
    kills = 8
    chance = random.Random("kills")  # noqa: S311 - repeatable, not secret
    inputs = send(settings, plant(12_000, malformed=0, seed="kills"))
    fleet = Fleet(
        processes=processes, module=MODULE, model="poisonable", environ=environ, seconds_per_batch=0.1, folder=tmp_path
    )
    fleet.add(0)
    fleet.add(1)
    killed = 0
    before = 0
    strike_at = 0.0
    seen = []
    with TopicObserver(settings) as observer:
        for sample in samples(observer, fleet):
            seen.append(sample)
            written = sum(sample.written.values())
            # A kill counts where outcomes flowed again: else it would only keep workers from starting.
            if written > before and not strike_at:
                strike_at = time.monotonic() + chance.uniform(0, 1)
            if killed < kills and strike_at and time.monotonic() > strike_at:
                working = [member for member in fleet.members.values() if member.partitions]
                if working:
                    fleet.kill(chance.choice(working))
                    killed += 1
                    before, strike_at = sum(observer.sample().written.values()), 0.0
        fleet.stop()
        outcomes = observer.outcomes()
        verdict = check(
            Evidence(inputs=inputs, outcomes=outcomes, samples=seen, ends=observer.ends(), idle_bound_seconds=HANG_SECONDS)
        )
    suspected = sum(log.count('"predecessor_died_in_model"') for log in (fleet.log(0), fleet.log(1)))
    publish_report("\n".join(map(str, verdict.findings)) + f"\n{killed} kills, {suspected} of them in the model")

    assert killed == kills
    assert suspected > 0
    assert verdict.broken == [], verdict.findings
    assert outcomes[Destination.DLQ] == []
    assert_decided_as_alone(settings, inputs, outcomes)


def children(process: Process) -> list[int]:
    """The process ids of a process's children."""
    lists = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for found in lists for pid in found.read_text().split()]


@pytest.mark.slow
def test_a_worker_stops_in_good_order_during_a_trial_and_the_next_one_holds_it(
    start: Start, settings: Settings, observer: TopicObserver
) -> None:
    """SIGTERM ends a trial however long it would take, and blames no event; the next worker comes to its end without dying."""
    inputs = send(settings, with_poison(1, HANG))
    dead = start(**{FAILPOINTS_VARIABLE: Point.KILL_BEFORE_DECIDING.name})
    assert dead.end() == -signal.SIGKILL
    inputs += send(settings, plant(40, malformed=0, seed="behind it"))

    stopped = start(**{MODEL_VARIABLE: "poisonable"})
    trial = until(lambda: children(stopped.process), "a trial is held", process=stopped.process)
    assert stopped.metric("tagstream_crash_suspects_events") == 1
    assert stopped.stop() == 0, stopped.process.output()
    assert not any(Path(f"/proc/{pid}").exists() for pid in trial)

    last = start(**{MODEL_VARIABLE: "poisonable", "TAGSTREAM_INFERENCE_TIMEOUT_SECONDS": "1"})
    all_written(observer, len(inputs))
    all_committed(observer)
    assert last.stop() == 0
    (letter,) = observer.outcomes()[Destination.DLQ]
    assert dict(letter.headers)["x-dlq-code"] == b"crashes_worker"
    assert_decided_as_alone(settings, inputs, observer.outcomes())


@pytest.mark.slow
def test_a_joining_worker_waits_for_no_suspect(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """A worker that decides suspects one at a time hands the others back when the group changes, and when it stops."""
    send(settings, plant(2_000, malformed=0, seed="suspects"))
    dead = start(seconds_per_batch=0.6)
    # By then its batches are full.
    all_written(observer, 300)
    os.kill(dead.process.pid, Point.KILL_BEFORE_DECIDING.value)
    dead.end()
    careful = start(seconds_per_batch=2.0, **{FULL_BATCH_VARIABLE: "1"})
    suspects = careful.until_metric("tagstream_crash_suspects_events", lambda value: value > 0)
    assert suspects >= 16
    careful.until_metric("tagstream_assigned_partitions", lambda value: value == settings.topic_partitions)
    joining = start()
    # As soon as it has given partitions up. Suspects are counted, since other events come in whole batches around them.
    left = until(
        lambda: (
            careful.metric("tagstream_assigned_partitions") < settings.topic_partitions
            and careful.metric("tagstream_crash_suspects_events")
        ),
        60,
    )
    assert left > suspects / 2
    joining.until_metric("tagstream_assigned_partitions", lambda value: value > 0)
    code = careful.stop()

    assert code == 0
    all_written(observer, 400)
    all_committed(observer)


def test_a_worker_whose_events_are_all_dead_stops_until_a_person_answers(
    environ: dict[str, str], settings: Settings, tmp_path: Path, processes: Processes
) -> None:
    """The worker stops early, commits its outcomes, waits outside the group when started anew, and goes on when told."""
    limits = {"TAGSTREAM_BREAKER_WINDOW_EVENTS": "100", "TAGSTREAM_BREAKER_DEAD_LETTER_RATIO": "0.5"}
    settings = load({**environ, **limits}, folder=ROOT).settings
    good, bad = plant(150, malformed=0, seed="breaker"), plant(400, malformed=400, seed="breaker")
    inputs = send(settings, [*good, *bad])
    fleet = Fleet(
        processes=processes,
        module=MODULE,
        model="poisonable",
        environ={**environ, **limits},
        seconds_per_batch=0.01,
        folder=tmp_path,
    )
    member = fleet.add(0)
    first = member.process
    ended(first)
    assert first.exit_code == 1, first.output()[-2000:]
    assert '"circuit_breaker_opened"' in first.output()
    with TopicObserver(settings) as observer:
        stopped_at = observer.outcomes()
        committed = sum(observer.committed().values())
        # Every outcome that was sent is committed, so that none is sent twice.
        assert committed == sum(map(len, stopped_at.values()))
        assert 0 < len(stopped_at[Destination.DLQ]) <= 0.5 * (150 + 400)

        fleet.tend()
        second = member.process
        address = until_said(second.output, "circuit_breaker_open")
        assert address is not None
        status, why = readiness(address)
        assert (status, "circuit breaker is open" in why) == (503, True)
        (alarm,) = alarms(Watcher([top_address(address)]).look())
        file = BreakerFile(settings, release="").path
        assert (alarm.name, alarm.next) == ("CircuitBreakerOpen", f"docs/runbooks/CircuitBreakerOpen.md, then remove {file}.")
        assert second.running()
        assert sum(map(len, observer.outcomes().values())) == committed

        # An operator closes the breaker: the events are the producer's fault, the worker goes on.
        second.ask_to_end()
        ended(second)
        fleet.environ = {**environ, **limits, "TAGSTREAM_BREAKER_DEAD_LETTER_RATIO": "1"}
        seen = list(samples(observer, fleet))
        outcomes = observer.outcomes()
        ends = observer.ends()
    fleet.stop()

    verdict = check(Evidence(inputs=inputs, outcomes=outcomes, samples=seen, ends=ends, idle_bound_seconds=HANG_SECONDS))
    assert verdict.broken == [], verdict.findings
    assert verdict.duplicates == 0
    assert not BreakerFile(settings, release="").path.exists()


def until_said(output: Callable[[], str], event: str) -> str | None:
    """Wait until the log has this event, and give the address of the metrics."""
    until(lambda: f'"{event}"' in output(), f"the log says {event}", state=lambda: output()[-LOG_CHARACTERS:])
    found = METRICS.search(output())
    return found and found[1]


def readiness(address: str) -> tuple[int, str]:
    """The status and the sentence of /readyz."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=HANG_SECONDS)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
