"""`tagstream dlq` on Apache Kafka, and outcomes that are too large for their topics."""

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kafka import KafkaProducer

from monitoring.vocabulary import Reason, Stage
from stream.broker.ports import free_ports
from stream.broker.processes import Processes
from stream.contract.publication import publish_all
from stream.contract.record import Headers, Record
from stream.contract.refusal import Refusal
from stream.kafka import producer
from stream.kafka.reading.log import log_of
from stream.settings.settings import Settings
from tests.faults.cluster.topics import send
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.faults.verdict.evidence import Door
from tests.faults.worker.fleet import ROOT, Fleet, without_settings
from tests.integration.command_line import Command
from tests.integration.running import all_committed, all_written
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.broker

HOSTILE = '{"title": "\x1b[31mred \u202egnp.exe\u2066 \x07"'.encode() + b"\xff\x00"
# Unusual records: no key, an empty key, repeated headers, and headers with our names.
EVENTS: tuple[tuple[bytes | None, bytes | None, Headers], ...] = (
    (b"k", b"not json", (("traceparent", b"00-1"), ("x", b"1"), ("x", b"2"))),
    (None, b"no key", ()),
    (b"", b"", (("empty", b""),)),
    (b"\xff\x00", HOSTILE, (("x-dlq-code", b"the producer's"), ("__streams.errors.exception", b"its own"))),
    (b"gone", None, ()),
    (None, None, (("both", b"none"),)),
    (b"k", b"not json", (("traceparent", b"00-2"),)),
)


def lines(output: bytes) -> list[dict[str, object]]:
    """JSON Lines, read."""
    return [json.loads(line) for line in output.splitlines()]


def lay(settings: Settings, events: tuple[tuple[bytes | None, bytes | None, Headers], ...] = EVENTS) -> None:
    """Write dead letters of events that were never sent, as the worker does; the third has another code."""
    topic = settings.topics.content
    origins = [
        Record(topic=topic, partition=number % 6, offset=number, timestamp_ms=1, key=key, value=value, headers=headers)
        for number, (key, value, headers) in enumerate(events)
    ]
    refusals = [
        Refusal(
            stage=Stage.VALIDATE if number == 2 else Stage.DECODE,
            reason=Reason.MISSING_TITLE if number == 2 else Reason.INVALID_JSON,
            message="a sentence",
        )
        for number in range(len(events))
    ]
    records = [
        Record(topic=settings.topics.dlq, key=one.key, value=one.value, headers=one.headers, partition=number % 6)
        for number, one in enumerate(publish_all(origins, refusals, 0))
    ]
    with producer.verbatim_sender(settings, idempotent=True) as sender:
        assert sender.deliver(records) == [None] * len(records)


def contents(settings: Settings, topic: str) -> list[Record]:
    """All records of a topic."""
    with log_of(settings, topic) as log:
        return list(log.read(log.starts(), log.ends()))


def events_of(records: list[Record]) -> Counter[tuple[bytes | None, bytes | None, Headers]]:
    """The replayed events without their two marks."""
    return Counter((record.key, record.value, record.headers[:-2]) for record in records)


def marks_of(records: list[Record]) -> list[tuple[str, str]]:
    """Count and origin of each replay."""
    return [tuple(content.decode() for _, content in record.headers[-2:]) for record in records]  # type: ignore[misc]


# --- list and show -----------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_without_their_text(tagstream: Command, environ: dict[str, str], settings: Settings) -> None:
    """The list shows place, origin and reason, filters select, a summary counts, and event text is not shown."""
    lay(settings)
    listed = tagstream("dlq", "list", "--json", environ=environ)
    assert listed.returncode == 0, listed.stderr.decode()
    found = lines(listed.stdout)
    assert len(found) == len(EVENTS)
    third = next(line for line in found if line["code"] == "missing_title")
    assert (third["stage"], third["attempts"], third["replays"], third["bytes"]) == ("validate", 1, 0, 0)
    assert third["from"] == {"topic": settings.topics.content, "partition": 2, "offset": 2}
    assert third["place"] == "2/0"
    shown = tagstream("dlq", "list", environ=environ)
    assert shown.stdout.count(b"\n") == len(EVENTS) + 1
    for output in (listed.stdout, shown.stdout):
        assert b"not json" not in output
        assert b"the producer's" not in output

    def places(*words: str) -> list[object]:
        done = tagstream("dlq", "list", "--json", *words, environ=environ)
        assert done.returncode == 0, done.stderr.decode()
        return [line["place"] for line in lines(done.stdout)]

    assert places("--code", "missing_title") == ["2/0"]
    assert places("--stage", "validate", "--since", "1h") == ["2/0"]
    assert places("--since", "2999-01-01T00:00:00Z") == []
    assert places("--partition", "0") == ["0/0", "0/1"]
    assert places("--max", "2") == ["0/0", "0/1"]
    counted = tagstream("dlq", "list", "--count", "--json", environ=environ)
    assert [(line["code"], line["letters"]) for line in lines(counted.stdout)] == [("invalid_json", 6), ("missing_title", 1)]
    assert tagstream("dlq", "list", "--since", "yesterday", environ=environ).returncode == 2


def test_a_dead_letter_is_shown_without_moving_the_cursor(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """A dead letter is escaped for people, exact with --raw and in JSON; an empty place is an error that says so."""
    lay(settings)
    shown = tagstream("dlq", "show", "3/0", environ=environ)
    assert shown.returncode == 0, shown.stderr.decode()
    text = shown.stdout.decode()
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\\x1b[31mred \\u202egnp.exe\\u2066 \\x07" in text
    assert "invalid_json (decode)" in text
    assert "x-dlq-code: the producer's" in text
    assert tagstream("dlq", "show", "3/0", "--raw", environ=environ).stdout == HOSTILE
    (whole,) = lines(tagstream("dlq", "show", "3/0", "--json", environ=environ).stdout)
    assert base64.b64decode(str(whole["value_base64"])) == HOSTILE
    assert base64.b64decode(str(whole["key_base64"])) == b"\xff\x00"
    for place, says in (("3/9", b"the partition ends at 1"), ("99/0", b"the topic has no partition 99")):
        missing = tagstream("dlq", "show", place, environ=environ)
        assert missing.returncode == 1
        assert says in missing.stderr
    tombstone = tagstream("dlq", "show", "4/0", "--raw", environ=environ)
    assert (tombstone.returncode, tombstone.stdout) == (2, b"")
    assert b"it is a tombstone" in tombstone.stderr


# --- replay --------------------------------------------------------------------------------------------------------------


def test_a_replay_sends_the_events_again_and_a_second_one_sends_nothing(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """A replay keeps key, bytes, headers and partition, the dry run predicts it exactly, and a second one sends none."""
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
        (record.partition, encoded(record.value), encoded(record.key), json.dumps([[n, encoded(c)] for n, c in record.headers]))
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
    """Killed at any step between its first note and its last, a replay sends each event once in the end."""
    lay(settings)
    killed = replaying(environ, step, number)
    assert killed.returncode == -9, killed.stderr.decode()
    arrived = len(contents(settings, settings.topics.content))
    assert arrived == (7 if step == "before-finish" else number)

    done = replaying(environ, "to-the-end", 0)
    assert done.returncode == 0, done.stderr.decode()
    assert b"waiting 0.2 s" in done.stderr
    assert f"{7 - arrived} dead letters replayed".encode() in done.stderr
    assert events_of(contents(settings, settings.topics.content)) == Counter(EVENTS)
    third = replaying(environ, "to-the-end", 0)
    assert b"0 dead letters replayed" in third.stderr
    assert b"7 had been replayed before" in third.stderr
    assert len(contents(settings, settings.topics.content)) == 7


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
    assert "1 dead letters replayed" in said
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


@pytest.mark.parametrize("words", [["list"], ["show", "0/0"], ["replay"]])
def test_no_topic_is_exit_code_2_and_no_broker_3(tagstream: Command, environ: dict[str, str], words: list[str]) -> None:
    """The errors have the command that makes the topics, and come within the start-up bound."""
    topic = {**environ, "TAGSTREAM_TOPICS__DLQ": "no-such-topic"}
    missing = tagstream("dlq", *words, environ=topic)
    assert missing.returncode == 2
    assert b"tagstream doctor --create-topics" in missing.stderr
    nowhere = {"TAGSTREAM_BROKERS": f"127.0.0.1:{free_ports(1)[0]}", "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": "1"}
    gone = tagstream("dlq", *words, environ={**environ, **nowhere})
    assert gone.returncode == 3
    assert b"Traceback" not in missing.stderr + gone.stderr


# --- with a worker -------------------------------------------------------------------------------------------------------


def start(environ: dict[str, str], processes: Processes, folder: Path) -> None:
    """A worker with the stub model."""
    Fleet(processes=processes, module="tests.faults.worker", environ=environ, seconds_per_batch=0.0, folder=folder).add(1)


@pytest.fixture
def observer(settings: Settings) -> Iterator[TopicObserver]:
    """The observer of this test's topics."""
    with TopicObserver(settings) as looking:
        yield looking


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
    start(environ, processes, tmp_path)
    for number in range(4):
        all_written(observer, number + 1)
        found = lines(tagstream("dlq", "list", "--json", environ=environ).stdout)
        assert [(line["attempts"], line["replays"]) for line in found] == [(n + 1, n) for n in range(number + 1)]
        done = tagstream("dlq", "replay", environ=environ)
        assert done.returncode == (1 if number == 3 else 0), done.stderr.decode()
        assert (b"; 1 of them came back from an earlier replay" in done.stderr) is (number in {1, 2})
    assert b"it was replayed 3 times already" in done.stderr
    assert all(letter.headers[0] == ("x", b"1") for letter in observer.outcomes()[Door.DLQ])


def test_an_outcome_that_its_topic_would_refuse_does_not_stop_the_worker(
    environ: dict[str, str], settings: Settings, observer: TopicObserver, processes: Processes, tmp_path: Path
) -> None:
    """Valid events of 899,999 bytes of awkward content leave by exactly one door each, with their bytes, and the worker goes on."""
    flood: Headers = tuple((chr(97 + number % 26), b"") for number in range(60_000))
    envelope: Headers = (("ce_specversion", b"1.0"), ("ce_id", b"c"), ("ce_source", b"\x01" * 10_000), ("ce_type", b"t"))
    small = b'{"id": "after", "title": "t"}'
    planted = [
        padded("headers", b"y", headers=flood),
        padded("escapes", b"\\u0001"),
        padded("fields", b'","%06d":"'),
        padded("cloud", b"\\u0002", headers=envelope),
        Planted(event_id="after", key=b"after", value=small),
    ]
    put(settings, planted)
    start(environ, processes, tmp_path)
    all_written(observer, len(planted))
    all_committed(observer)

    outcomes = observer.outcomes()
    assert sum(map(len, outcomes.values())) == len(planted)
    by_key = {record.key: door for door, records in outcomes.items() for record in records}
    assert by_key[b"headers"] is Door.DLQ
    assert by_key[b"escapes"] is not Door.DLQ
    assert by_key[b"fields"] is not Door.DLQ
    assert by_key[b"cloud"] is Door.DLQ
    assert by_key[b"after"] is not Door.DLQ
    dead = {record.key: record for record in outcomes[Door.DLQ]}
    letter = dead[b"headers"]
    assert letter.value == planted[0].value
    assert letter.headers[: len(flood)] == flood
    assert dict(letter.headers[len(flood) :])["x-dlq-code"] == b"outcome_too_large"


def padded(name: str, unit: bytes, headers: Headers = ()) -> Planted:
    """A valid event of 899,999 bytes, padded with this unit."""
    head, tail = b'{"id":"%b","title":"t","x":"' % name.encode(), b'"}'
    room = 899_999 - len(head) - len(tail)
    count = room // len(unit % 0 if b"%" in unit else unit)
    body = b"".join(unit % number for number in range(count)) if b"%" in unit else unit * count
    return Planted(event_id=name, key=name.encode(), value=head + body.ljust(room, b" ") + tail, headers=headers)


def put(settings: Settings, planted: Sequence[Planted]) -> None:
    """Send compressed records, since the broker's limit is on the compressed bytes."""
    producer = KafkaProducer(
        bootstrap_servers=settings.broker_list, acks="all", compression_type="gzip", max_request_size=8 * 1024 * 1024
    )
    try:
        for one in planted:
            sent = producer.send(settings.topics.content, key=one.key, value=one.value, headers=list(one.headers))
            sent.get(timeout=HANG_SECONDS)
    finally:
        producer.close(timeout=HANG_SECONDS)


def test_a_dead_letter_that_its_topic_would_refuse_keeps_its_sum(
    tagstream: Command,
    environ: dict[str, str],
    settings: Settings,
    observer: TopicObserver,
    processes: Processes,
    tmp_path: Path,
) -> None:
    """An oversize dead letter becomes headers with length and SHA-256, and replay refuses it with the reason."""
    changed = {**environ, "TAGSTREAM_MAX_DEAD_LETTER_BYTES": str(256 * 1024)}
    put(settings, [Planted(event_id=None, key=b"k", value=b"\xff" * 500_000, headers=(("x", b"1"),))])
    start(changed, processes, tmp_path)
    all_written(observer, 1)
    (found,) = lines(tagstream("dlq", "list", "--json", environ=environ).stdout)
    assert (found["code"], found["bytes"], found["dropped"]) == ("invalid_utf8", 500_000, ["value"])
    refused = tagstream("dlq", "replay", environ=environ)
    assert refused.returncode == 1
    assert b"0/0: value did not fit" in refused.stderr.replace(str(found["place"]).encode(), b"0/0")
    shown = tagstream("dlq", "show", str(found["place"]), environ=environ)
    assert b"the value had 500000 bytes, SHA-256 " in shown.stdout


def test_the_doctor_finds_a_topic_with_too_small_a_limit(
    tagstream: Command, environ: dict[str, str], settings: Settings, bundle_folder: Path
) -> None:
    """`doctor` passes the topics that it makes, and a setting above a topic's limit fails with the two remedies."""
    environ = {**environ, "TAGSTREAM_BUNDLE": str(bundle_folder)}
    good = tagstream("doctor", "--json", environ=environ)
    assert good.returncode == 0, good.stdout.decode()
    bad = tagstream("doctor", "--json", environ={**environ, "TAGSTREAM_MAX_OUTCOME_BYTES": "2000000"})
    assert bad.returncode == 1
    found = {line["check"]: line for line in lines(bad.stdout)}[f"size {settings.topics.tagged}"]
    assert found["fix"] == "set max.message.bytes of the topic to 2000000, or TAGSTREAM_MAX_OUTCOME_BYTES=1048588"


# --- consumers -----------------------------------------------------------------------------------------------------------


def decision(number: int, *, at: str, tag: str = "mlops") -> bytes:
    """A record of `tagged` with the fields that a consumer reads."""
    value = {"id": f"e-{number}", "title": "t", "tag": tag, "confidence": 0.9, "prediction_id": f"p-{number}", "tagged_at": at}
    return json.dumps(value).encode()


def fill(settings: Settings, values: Sequence[bytes]) -> None:
    """Write decisions to one partition of `tagged`."""
    with producer.sender(settings) as sender:
        for value in values:
            sender.send(settings.topics.tagged, key=b"k", value=value)
        sender.flush()


def test_tail_shows_each_outcome_once(tagstream: Command, environ: dict[str, str], settings: Settings) -> None:
    """Duplicates are dropped and counted at the end, and a conflict ends with exit code 4 and both places."""
    fill(settings, [decision(number, at=at) for at in ("1", "2") for number in range(3)])
    words = ("tail", "tagged", "--distinct", "--from-beginning", "--idle", "0.5", "--json")
    done = tagstream(*words, environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    assert [line["value"]["id"] for line in lines(done.stdout)] == ["e-0", "e-1", "e-2"]  # type: ignore[index]
    assert b"3 distinct outcomes, 3 duplicates dropped, 0 records not written by tagstream" in done.stderr
    assert len(lines(tagstream(*(word for word in words if word != "--distinct"), environ=environ).stdout)) == 6

    fill(settings, [decision(1, at="3", tag="other")])
    conflict = tagstream(*words, environ=environ)
    assert conflict.returncode == 4
    assert b"are of one id and differ in more than the time" in conflict.stderr
    assert b"Traceback" not in conflict.stderr


def test_the_consumers_example_works(environ: dict[str, str], settings: Settings) -> None:
    """The code of docs/consumers.md runs as printed, with another topic and broker."""
    fill(settings, [decision(number, at=at) for at in ("1", "2") for number in range(3)])
    code = (ROOT / "docs" / "consumers.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert 10 <= len(code.splitlines()) <= 20
    code = code.replace('"tagged"', repr(settings.topics.tagged)).replace("127.0.0.1:9092", settings.brokers)
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], cwd=ROOT, env={**without_settings(os.environ), **environ}, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        try:
            seen = [running.stdout.readline().decode().strip() for _ in range(3)]
        finally:
            running.terminate()
    assert seen == ["e-0 mlops", "e-1 mlops", "e-2 mlops"]
