"""`tagstream dlq replay` on Apache Kafka: each event goes back once, also after a kill and by two replays at once."""

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stream.broker.processes import Processes
from stream.contract.record import Record
from stream.kafka import producer
from stream.settings.settings import Settings
from stream.terminal.text import counted
from tests.faults.cluster.topics import send
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.faults.verdict.evidence import Door
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command, lines
from tests.integration.dead_letters.laying import EVENTS, contents, events_of, lay, marks_of, start_worker
from tests.integration.running import all_written
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.broker
FORGED = b"forged"


def test_a_replay_sends_the_events_again_and_a_second_one_sends_nothing(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """A replay keeps key, bytes, headers and partition, the dry run shows all but the proof, and a second one sends none."""
    lay(settings)
    planned = tagstream("dlq", "replay", "--dry-run", "--json", environ=environ)
    assert planned.returncode == 0, planned.stderr.decode()
    assert contents(settings, settings.topics.content) == []

    first = tagstream("dlq", "replay", environ=environ)
    assert first.returncode == 0, first.stderr.decode()
    assert b"7 dead letters replayed" in first.stderr
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
            json.dumps([[n, encoded(c)] for n, c in record.headers[:-1]]),
        )
        for record in sent
    }

    for words in ([], ["0/0"], ["--code", "missing_title"]):
        again = tagstream("dlq", "replay", *words, environ=environ)
        assert again.returncode == 0, again.stderr.decode()
        assert b"0 dead letters replayed" in again.stderr
        assert b"had been replayed before" in again.stderr
    assert len(contents(settings, settings.topics.content)) == len(EVENTS)
    forced = tagstream("dlq", "replay", "0/0", "--again", environ=environ)
    assert forced.returncode == 0, forced.stderr.decode()
    assert len(contents(settings, settings.topics.content)) == len(EVENTS) + 1


def encoded(content: bytes | None) -> str | None:
    """Bytes as the JSON output has them."""
    return None if content is None else base64.b64encode(content).decode()


@pytest.mark.parametrize(("step", "number"), [("after-sends", 0), ("after-sends", 3), ("after-sends", 6), ("before-finish", 0)])
def test_a_killed_replay_goes_on_where_it_stopped(environ: dict[str, str], settings: Settings, step: str, number: int) -> None:
    """Killed at any step, a replay sends each event once in the end, whatever producers say in headers meanwhile."""
    lay(settings)
    killed = replaying(environ, step, number)
    assert killed.returncode == -9, killed.stderr.decode()
    arrived = len(contents(settings, settings.topics.content))
    assert arrived == (7 if step == "before-finish" else number)

    forge(settings)
    done = replaying(environ, "to-the-end", 0)
    assert done.returncode == 0, done.stderr.decode()
    assert b"waiting 0.2 s" in done.stderr
    assert counted(7 - arrived, "dead letter").encode() + b" replayed" in done.stderr
    assert events_of(replays(settings)) == Counter(EVENTS)
    third = replaying(environ, "to-the-end", 0)
    assert b"0 dead letters replayed" in third.stderr
    assert b"7 had been replayed before" in third.stderr
    assert len(replays(settings)) == 7


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


def replaying(environ: dict[str, str], step: str, number: int) -> subprocess.CompletedProcess[bytes]:
    """One replay in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.integration.dead_letters.replaying", step, str(number)],
        cwd=ROOT,
        env={**without_settings(os.environ), **environ},
        capture_output=True,
        timeout=HANG_SECONDS,
        check=False,
    )


def test_two_replays_at_once_send_each_event_once(tagstream: Command, environ: dict[str, str], settings: Settings) -> None:
    """Two replays at once send each event once: one leaves the events that the other has taken, and says so."""
    lay(settings, tuple((b"%d" % number, b"bad %d" % number, ()) for number in range(300)))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(tagstream, "dlq", "replay", environ=environ) for _ in range(2)]
        done = [run.result() for run in runs]
    sent = contents(settings, settings.topics.content)
    assert sorted(record.value or b"" for record in sent) == sorted(b"bad %d" % number for number in range(300)), [
        one.stderr.decode() for one in done
    ]
    for one in done:
        assert one.returncode in {0, 1}
        assert (one.returncode == 1) == (b"another replay is working on it" in one.stderr)


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


def test_a_replay_to_another_topic_sends_the_event_there_once(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """Each target topic gets the event once; the dead letters' topic and the ledger are refused as targets."""
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
    assert all(letter.headers[0] == ("x", b"1") for letter in observer.outcomes()[Door.DLQ])
