"""`tagstream dlq replay` on Apache Kafka: no event is lost, and a repeat changes no decision."""

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka import producer
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted
from tests.faults.cluster.topics import send
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.faults.verdict.matching import without_clock
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command, lines
from tests.integration.dead_letters.planted_letters import EVENTS, contents, events_of, lay, marks_of, start_worker
from tests.integration.dead_letters.replaying import Fault
from tests.integration.running import all_written
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.broker
FORGED = b"forged"


def test_a_replay_sends_the_events_again_and_a_second_one_sends_nothing(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """A replay keeps key, bytes, headers and partition, says what it sent as the dry run said before, and a second one sends none."""
    lay(settings)
    planned = tagstream("dlq", "replay", "--dry-run", "--json", environ=environ)
    assert planned.returncode == 0, planned.stderr.decode()
    shown = tagstream("dlq", "replay", "--dry-run", environ=environ)
    assert contents(settings, settings.topics.content) == []

    first = tagstream("dlq", "replay", environ=environ)
    assert first.returncode == 0, first.stderr.decode()
    assert b"7 dead letters replayed" in first.stderr
    assert [line.split()[0] for line in first.stdout.splitlines()] == [b"0/0", b"0/1", b"1/0", b"2/0", b"3/0", b"4/0", b"5/0"]
    assert first.stdout == shown.stdout
    sent = contents(settings, settings.topics.content)
    assert events_of(sent) == Counter(EVENTS)
    assert {count for count, _ in marks_of(sent)} == {"1"}
    assert {record.partition for record in sent} == set(range(6))
    said = {
        (line["partition"], line["value_base64"], line["key_base64"], json.dumps(line["headers_base64"]))
        for line in lines(planned.stdout)
    }
    assert said == {
        (
            record.partition,
            encoded(record.value),
            encoded(record.key),
            json.dumps([[name, encoded(content)] for name, content in record.headers]),
        )
        for record in sent
    }

    for words in ([], ["0/0"], ["--code", "missing_title"]):
        again = tagstream("dlq", "replay", *words, environ=environ)
        assert (again.returncode, again.stdout) == (0, b""), again.stderr.decode()
        assert b"0 dead letters replayed" in again.stderr
        assert b"had been replayed before" in again.stderr
    assert len(contents(settings, settings.topics.content)) == len(EVENTS)
    forced = tagstream("dlq", "replay", "0/0", "--again", environ=environ)
    assert forced.returncode == 0, forced.stderr.decode()
    assert len(contents(settings, settings.topics.content)) == len(EVENTS) + 1


def encoded(content: bytes | None) -> str | None:
    """Bytes as the JSON output has them."""
    return None if content is None else base64.b64encode(content).decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "number", "arrived", "noted"),
    [
        (Fault.KILLED_BEFORE_LETTER, 0, 0, 0),
        (Fault.KILLED_BEFORE_LETTER, 3, 3, 3),
        (Fault.KILLED_BEFORE_NOTE, 0, 1, 0),
        (Fault.KILLED_BEFORE_NOTE, 6, 7, 6),
        (Fault.NOTE_UNCONFIRMED, 3, 4, 3),
    ],
)
def test_a_replay_that_failed_is_finished_by_the_next(
    tagstream: Command, environ: dict[str, str], settings: Settings, fault: Fault, number: int, arrived: int, noted: int
) -> None:
    """The next replay sends every event that has no note, whatever producers say in headers meanwhile: none is lost, one at most repeated."""
    lay(settings)
    failed = failing(environ, fault, number)
    assert failed.returncode == (3 if fault is Fault.NOTE_UNCONFIRMED else -9), failed.stderr.decode()
    assert len(contents(settings, settings.topics.content)) == arrived
    if fault is Fault.NOTE_UNCONFIRMED:
        said = " ".join(failed.stderr.decode().split())
        assert "did not confirm the note in " in said
        assert "no word; 4 dead letters replayed. Next: " in said

    forge(settings)
    done = tagstream("dlq", "replay", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    assert counted(7 - noted, "dead letter").encode() + b" replayed" in done.stderr
    found = events_of(replays(settings))
    assert found.keys() == Counter(EVENTS).keys()
    assert found.total() == 7 + arrived - noted
    third = tagstream("dlq", "replay", environ=environ)
    assert b"0 dead letters replayed" in third.stderr
    assert b"7 had been replayed before" in third.stderr


def forge(settings: Settings) -> None:
    """Send, as any producer can, records that name each dead letter as their origin."""
    letters = contents(settings, settings.topics.dlq)
    forged = [
        Record(
            topic=settings.topics.content,
            key=None,
            value=FORGED,
            headers=(("x-dlq-replayed-from", f"{letter.topic}/{letter.partition}/{letter.offset}".encode()),),
        )
        for letter in letters
    ]
    with producer.verbatim_sender(settings, idempotent=True) as sender:
        assert sender.deliver(forged) == [None] * len(letters)


def replays(settings: Settings) -> list[Record]:
    """The records of `content` that are not forged."""
    return [record for record in contents(settings, settings.topics.content) if record.value != FORGED]


def failing(environ: dict[str, str], fault: Fault, number: int) -> subprocess.CompletedProcess[bytes]:
    """A replay of everything that fails at its send with this number."""
    return subprocess.run(
        [sys.executable, "-m", "tests.integration.dead_letters.replaying", fault, str(number)],
        cwd=ROOT,
        env={**without_settings(os.environ), **environ},
        capture_output=True,
        timeout=HANG_SECONDS,
        check=False,
    )


@pytest.mark.slow
def test_an_event_that_is_sent_twice_gets_the_same_decision(
    tagstream: Command,
    environ: dict[str, str],
    settings: Settings,
    observer: TopicObserver,
    processes: Processes,
    tmp_path: Path,
) -> None:
    """A replay that is killed between a send and its note repeats that event: each event has outcomes, and they differ in time alone."""
    events = [b'{"id": "event-%d", "title": "Number %d"}' % (number, number) for number in range(6)]
    events[2] = b'{"title": "It has no id"}'
    lay(settings, tuple((b"k%d" % number, value, ()) for number, value in enumerate(events)))
    assert failing(environ, Fault.KILLED_BEFORE_NOTE, 2).returncode == -9
    done = tagstream("dlq", "replay", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    start_worker(environ, processes, tmp_path)
    # The dead letters, and outcomes: one of them twice.
    all_written(observer, 2 * len(events) + 1)

    assert len(observer.outcomes()[Destination.DLQ]) == len(events)
    found: dict[str, list[object]] = {}
    for door in (Destination.TAGGED, Destination.REVIEW):
        for record in observer.outcomes()[door]:
            value = record.value or b""
            found.setdefault(json.loads(value)["id"], []).append((door, record.key, without_clock(value), record.headers))
    assert sorted(len(outcomes) for outcomes in found.values()) == [1, 1, 1, 1, 1, 2]
    ((event_id, twice),) = ((event_id, outcomes) for event_id, outcomes in found.items() if len(outcomes) == 2)
    assert event_id.startswith("sha256-")
    assert twice[0] == twice[1]


@pytest.mark.slow
def test_two_replays_at_once_lose_no_event(tagstream: Command, environ: dict[str, str], settings: Settings) -> None:
    """Each of two replays at once may send an event that the other sends, and none is lost; a later one sends none."""
    events = {b"bad %d" % number for number in range(100)}
    lay(settings, tuple((value, value, ()) for value in sorted(events)))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(tagstream, "dlq", "replay", environ=environ) for _ in range(2)]
        done = [run.result() for run in runs]
    assert [one.returncode for one in done] == [0, 0], [one.stderr.decode() for one in done]
    sent = Counter(record.value for record in contents(settings, settings.topics.content))
    assert sent.keys() == events
    assert max(sent.values()) <= 2
    assert b"100 had been replayed before" in tagstream("dlq", "replay", environ=environ).stderr


@pytest.mark.slow
def test_a_record_that_is_no_note_keeps_no_letter_back(tagstream: Command, environ: dict[str, str], settings: Settings) -> None:
    """Under the key of a letter's note, a tombstone and records of another program say nothing: each letter is sent."""
    lay(settings)
    content, letters = settings.topics.content, contents(settings, settings.topics.dlq)
    keys = [f"{one.topic}/{one.partition}/{one.offset}@{one.timestamp_ms}>{content}" for one in letters]
    others = [
        Record(topic=settings.topics.replays, key=key.encode(), value=value)
        for key, value in zip(keys, (None, b"\xff", b"[]", b'{"by":"another program"}'), strict=False)
    ]
    with producer.verbatim_sender(settings, idempotent=True) as sender:
        assert sender.deliver(others) == [None] * len(others)
    done = tagstream("dlq", "replay", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    assert b"7 dead letters replayed" in done.stderr
    assert b"had been replayed before" not in done.stderr
    again = tagstream("dlq", "replay", environ=environ)
    assert b"7 had been replayed before" in again.stderr


@pytest.mark.slow
def test_answers_go_back_to_their_topic_and_all_others_to_content(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """A replay has a report for each topic that it sends to, and `--to` names one for all."""
    lay(settings)
    lay(settings, ((b"a", b"an answer", ()), (b"b", b"another", ())), topic=settings.topics.reviewed)
    done = tagstream("dlq", "replay", "--json", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    assert [(line["target"], line["sent"]) for line in lines(done.stdout)] == [
        (settings.topics.content, 7),
        (settings.topics.reviewed, 2),
    ]
    assert events_of(contents(settings, settings.topics.content)) == Counter(EVENTS)
    assert [record.value for record in contents(settings, settings.topics.reviewed)] == [b"an answer", b"another"]
    for _ in range(2):
        one = tagstream("dlq", "replay", "--to", "reports", "--json", environ=environ)
        assert one.returncode == 0, one.stderr.decode()
    assert len(contents(settings, settings.topics.reports)) == 9


@pytest.mark.slow
def test_a_replay_is_refused_with_its_reason(tagstream: Command, environ: dict[str, str], settings: Settings) -> None:
    """An event that is replayed too often, foreign, deleted or too large is refused with the reason; the others go."""
    count = "x-dlq-replay-count"
    lay(settings, ((b"a", b"three times", ((count, b"3"),)), (b"b", b"twice", ((count, b"2"),)), (b"c", b"x" * 1_200_000, ())))
    with producer.sender(settings) as sender:
        sender.send(settings.topics.dlq, key=b"0", value=b"somebody else's")
        sender.flush()
    done = tagstream("dlq", "replay", environ=environ)

    assert done.returncode == 1, done.stderr.decode()
    said = done.stderr.decode()
    assert "not replayed: 0/0: it was replayed 3 times already, and the limit is 3" in said
    assert "not replayed: 2/0: " in said
    assert "does not take a record of its size (1200000 bytes and headers)" in said
    assert "it does not have the headers of a dead letter of tagstream" in said
    assert "1 dead letter replayed" in said
    assert "3 refused (" in said
    assert marks_of(contents(settings, settings.topics.content)) == [("3", f"{settings.topics.dlq}/1/0")]
    more = tagstream("dlq", "replay", "--most-replays", "4", "0/0", environ=environ)
    assert more.returncode == 0, more.stderr.decode()
    gone = tagstream("dlq", "replay", "5/99", environ=environ)
    assert (gone.returncode, b"5/99: the partition ends at" in gone.stderr) == (1, True)


@pytest.mark.slow
def test_a_replay_to_another_topic_sends_the_event_there_once(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """Each target topic gets the event once; the dead letters' topic and that of the notes are refused as targets."""
    lay(settings)
    for _ in range(2):
        for to in ("reports", "content"):
            assert tagstream("dlq", "replay", "--to", to, environ=environ).returncode == 0
    assert events_of(contents(settings, settings.topics.reports)) == Counter(EVENTS)
    assert events_of(contents(settings, settings.topics.content)) == Counter(EVENTS)
    for to in ("dlq", "replays", settings.topics.dlq):
        refused = tagstream("dlq", "replay", "--to", to, environ=environ)
        assert refused.returncode == 2
        assert b"dead letters of dead letters" in refused.stderr


@pytest.mark.slow
def test_a_replayed_event_that_fails_again_is_a_new_dead_letter_until_its_limit(
    tagstream: Command,
    environ: dict[str, str],
    settings: Settings,
    observer: TopicObserver,
    processes: Processes,
    tmp_path: Path,
) -> None:
    """A replayed event that fails again is a new dead letter with its count, and is refused after three replays."""
    send(settings, [Planted(event_id=None, key=b"k", value=b"bad", headers=(("x", b"1"),))])
    start_worker(environ, processes, tmp_path)
    for number in range(4):
        all_written(observer, number + 1)
        found = lines(tagstream("dlq", "list", "--json", environ=environ).stdout)
        assert [(line["attempts"], line["replays"]) for line in found] == [(n + 1, n) for n in range(number + 1)]
        done = tagstream("dlq", "replay", environ=environ)
        assert done.returncode == (1 if number == 3 else 0), done.stderr.decode()
        assert (b"; 1 of them came back from an earlier replay" in done.stderr) is (number in {1, 2})
    assert b"it was replayed 3 times already" in done.stderr
    assert all(letter.headers[0] == ("x", b"1") for letter in observer.outcomes()[Destination.DLQ])
