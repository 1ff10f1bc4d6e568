"""Reviewers' answers and copies for audit on Apache Kafka: the second agent of a worker, and a worker without their topics."""

import contextlib
import json
import statistics
from collections.abc import Callable

import msgspec
import pytest
from kafka import KafkaProducer

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.answers import Answer, Said, answer_id, answer_to, write_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.settings.settings import Settings
from tests.faults.answers.sending import send_answers
from tests.faults.cluster.topics import send
from tests.faults.inputs import Planted, plant
from tests.faults.observer import TopicObserver
from tests.faults.worker.stub import ANSWER_SECONDS_VARIABLE
from tests.integration.running import Start, all_committed, all_written, verdict
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

EVENTS, ANSWERS = 60, 100
NOW_MS = 1_780_000_000_000


def decisions(observer: TopicObserver) -> list[DecidedEvent]:
    """The model's decisions, as a console reads them."""
    outcomes = observer.outcomes()
    found = [read_decision(record) for door in (Destination.TAGGED, Destination.REVIEW) for record in outcomes[door]]
    return [one for one in found if isinstance(one, DecidedEvent) and one.decision.decider == "model"]


def answered(shown: DecidedEvent, tag: str, previous: Answer | None = None) -> Answer:
    """A person's answer."""
    said = Said(tag=tag, reviewer="ada", blind=False, asked_by="review")
    return answer_to(shown, said, now_ms=NOW_MS, previous=previous)


def record_of(shown: DecidedEvent, answer: Answer) -> Planted:
    """The record of `reviewed`."""
    value = write_answer(shown.event.fields, answer)
    return Planted(event_id=shown.event.id, key=shown.event.record.key, value=value, headers=shown.event.record.headers)


def by_people(observer: TopicObserver) -> list[Record]:
    """The decisions of reviewers on `tagged`."""
    return [record for record in observer.outcomes()[Destination.TAGGED] if b'"decider":"reviewer"' in (record.value or b"")]


@pytest.mark.parametrize("delivery", ["at_least_once", pytest.param("exactly_once", marks=pytest.mark.slow)])
def test_an_answer_supersedes_the_models_decision_and_a_bad_one_is_a_dead_letter(
    delivery: str, start: Start, settings: Settings, observer: TopicObserver
) -> None:
    """A worker decides events, a person answers, and the worker publishes the answers; all is committed, and the events' verdict holds."""
    inputs = send(settings, plant(EVENTS, malformed=0, seed="answers"))
    worker = start(TAGSTREAM_DELIVERY=delivery)
    all_written(observer, EVENTS)
    all_committed(observer)
    before = verdict(observer, inputs)

    shown, other = decisions(observer)[:2]
    first = answered(shown, "mlops")
    second = answered(shown, "off_subject", first)
    good = [record_of(shown, first), record_of(shown, second)]
    bad = [
        Planted(event_id=None, key=b"k", value=b"{", headers=(("h", b"1"),)),
        Planted(event_id=None, key=b"k", value=record_of(other, answered(other, "mlops")).value[:-9]),  # type: ignore[index]
    ]
    sent = send_answers(settings, [good[0], *bad, good[1]])
    until(
        lambda: (len(by_people(observer)), len(observer.outcomes()[Destination.DLQ])) == (2, 2),
        "all answers are decisions or dead letters",
        state=observer.sample,
    )
    found = [json.loads(record.value or b"") for record in by_people(observer)]
    assert [(one["tag"], one["version"], one["supersedes"]) for one in found] == [
        ("mlops", 1, shown.decision.prediction_id),
        ("off_subject", 2, answer_id(first)),
    ]
    assert {one["id"] for one in found} == {shown.event.id}
    letters = observer.outcomes()[Destination.DLQ]
    assert sorted(record.value or b"" for record in letters) == sorted(one.value or b"" for one in bad)
    assert {dict(record.headers)["__streams.errors.topic"] for record in letters} == {settings.topics.reviewed.encode()}

    # The events have not moved: their figures and their verdict are those of before.
    assert worker.metric("tagstream_events_published_total") == EVENTS
    assert worker.series("tagstream_answers_published_total", "destination") == {"tagged": 2.0, "dlq": 2.0}
    for lag in ("tagstream_committed_lag_events", "tagstream_answers_lag_events"):
        worker.until_metric(lag, lambda events: events == 0)
    worker.until_ready()
    assert worker.stop() == 0
    after = verdict(observer, inputs, answers=sent)
    assert (before.broken, after.broken) == ([], [])
    assert after.duplicates == after.answers_repeated == 0


@pytest.mark.slow
def test_copies_for_audit_lie_beside_their_decisions(start: Start, settings: Settings, observer: TopicObserver) -> None:
    """At a rate of one every tagged decision has its copy, with the same bytes; what a person is asked about anyway has none."""
    send(settings, plant(EVENTS, malformed=0, seed="audits"))
    worker = start(TAGSTREAM_AUDIT_RATE="1")
    all_written(observer, EVENTS)
    all_committed(observer)
    tagged, copies = observer.outcomes()[Destination.TAGGED], observer.audits()
    assert len(tagged) == len(copies) == worker.metric("tagstream_audits_total")
    assert {(one.key, one.headers) for one in tagged} == {(one.key, one.headers) for one in copies}
    for copy in copies:
        fields = msgspec.json.decode(copy.value or b"", type=dict[str, msgspec.Raw])
        assert bytes(fields["inclusion_probability"]) == b"1.0"
    assert {(one.value or b"").replace(b',"inclusion_probability":1.0', b"") for one in copies} == {one.value for one in tagged}


@pytest.mark.slow
def test_a_worker_without_the_topics_of_the_loop_says_so_and_decides_events(
    start: Start, settings: Settings, observer: TopicObserver
) -> None:
    """It decides events, takes no answers and makes no copies."""
    absent = {"TAGSTREAM_TOPICS__AUDIT": "no-such-audit", "TAGSTREAM_TOPICS__REVIEWED": "no-such-reviewed"}
    send(settings, plant(EVENTS, malformed=0, seed="without"))
    worker = start(**absent)
    all_written(observer, EVENTS)
    all_committed(observer)
    said = [
        json.loads(line) for line in worker.process.output().splitlines() if '"audits_off"' in line or '"answers_off"' in line
    ]
    assert [line["event"] for line in said] == ["audits_off", "answers_off"]
    assert worker.metric("tagstream_answers_active") == 0
    worker.until_ready()
    assert worker.stop() == 0
    assert observer.audits() == []


@pytest.mark.slow
def test_answers_become_decisions_while_events_wait(
    start: Start, settings: Settings, observer: TopicObserver, publish_report: Callable[[object], None]
) -> None:
    """Answers do not queue behind a backlog of events. The report says how long each took, from its record to its decision's."""
    send(settings, plant(EVENTS, malformed=0, seed="pace"))
    worker = start()
    all_written(observer, EVENTS)
    all_committed(observer)
    shown = decisions(observer)
    said = []
    for name, load in (("no events wait", 0), ("events wait", 20_000)):
        if load:
            worker.stop()
            send(settings, plant(load, malformed=0, seed="load", first=EVENTS))
            # At this pace the events last for ten minutes.
            worker = start(seconds_per_batch=2.0, **{ANSWER_SECONDS_VARIABLE: "0"})
        worker.until_metric("tagstream_committed_lag_events", lambda lag, load=load: (lag > 0) == (load > 0))  # type: ignore[misc]
        worker.until_metric("tagstream_events_published_total", lambda count: count > 0)
        took = sorted(times(settings, observer, shown, note=name))
        assert len(took) == ANSWERS
        assert load == 0 or worker.metric("tagstream_committed_lag_events") > 0
        said.append(
            f"{ANSWERS} answers while {name}: median {statistics.median(took)} ms, at most {took[-1]} ms to the decision"
        )
    publish_report("\n".join(said))


def times(settings: Settings, observer: TopicObserver, shown: list[DecidedEvent], *, note: str) -> list[int]:
    """Give answers one after the other; milliseconds from the time of each record to that of its decision."""
    written: dict[str, int] = {}
    with contextlib.closing(KafkaProducer(**client_options(settings), acks="all")) as producer:
        for number in range(ANSWERS):
            about = shown[number % len(shown)]
            first = msgspec.structs.replace(answered(about, "mlops"), note=note)
            later = msgspec.structs.replace(first, version=number + 2, supersedes=answer_id(first))
            one = record_of(about, later)
            written[answer_id(later)] = (
                producer.send(settings.topics.reviewed, key=one.key, value=one.value).get(timeout=HANG_SECONDS).timestamp
            )

    def found() -> dict[str, int]:
        return {json.loads(record.value or b"")["prediction_id"]: record.timestamp_ms for record in by_people(observer)}

    until(lambda: written.keys() <= found().keys(), "all answers are decisions", state=observer.sample)
    decided = found()
    return [decided[answer] - at for answer, at in written.items()]
