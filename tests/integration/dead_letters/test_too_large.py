"""Outcomes and dead letters that are too large for their topics."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.event import Headers
from tagstream.stream.kafka import admin
from tagstream.stream.settings.settings import Settings
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.integration.command_line import Command, lines
from tests.integration.dead_letters.planted_letters import start_worker
from tests.integration.running import Start, all_committed, all_written
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]
GOOD = b'{"id": "after", "title": "t"}'


def test_an_outcome_that_its_topic_would_refuse_does_not_stop_the_worker(
    environ: dict[str, str], settings: Settings, observer: TopicObserver, processes: Processes, tmp_path: Path
) -> None:
    """Valid events of 899,999 bytes with outcomes of any size get one outcome each, with their bytes, and the worker goes on."""
    flood: Headers = tuple((chr(97 + number % 26), b"") for number in range(30_000))
    envelope: Headers = (("ce_specversion", b"1.0"), ("ce_id", b"c"), ("ce_source", b"\x01" * 10_000), ("ce_type", b"t"))
    small = b'{"id": "after", "title": "t"}'
    planted = [
        # Hexadecimal digits by chance: gzip halves them at most, so the bound on dead letters of a compressed batch is far away.
        padded("headers", random.Random(1).randbytes(449_000).hex().encode(), headers=flood),  # noqa: S311
        padded("escapes", b"\\u0001"),
        padded("fields", b'","%06d":"'),
        padded("cloud", b"\\u0002", headers=envelope),
        Planted(event_id="after", key=b"after", value=small),
    ]
    put(settings, planted)
    start_worker(environ, processes, tmp_path)
    all_written(observer, len(planted))
    all_committed(observer)

    outcomes = observer.outcomes()
    assert sum(map(len, outcomes.values())) == len(planted)
    by_key = {record.key: door for door, records in outcomes.items() for record in records}
    assert by_key[b"headers"] is Destination.DLQ
    assert by_key[b"escapes"] is not Destination.DLQ
    assert by_key[b"fields"] is not Destination.DLQ
    assert by_key[b"cloud"] is Destination.DLQ
    assert by_key[b"after"] is not Destination.DLQ
    dead = {record.key: record for record in outcomes[Destination.DLQ]}
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
    start_worker(changed, processes, tmp_path)
    all_written(observer, 1)
    (found,) = lines(tagstream("dlq", "list", "--json", environ=environ).stdout)
    assert (found["code"], found["bytes"], found["dropped"]) == ("invalid_utf8", 500_000, ["value"])
    refused = tagstream("dlq", "replay", environ=environ)
    assert refused.returncode == 1
    assert b"0/0: value did not fit" in refused.stderr.replace(str(found["place"]).encode(), b"0/0")
    shown = tagstream("dlq", "show", str(found["place"]), environ=environ)
    assert b"the value had 500000 bytes, SHA-256 " in shown.stdout


def test_a_topic_of_dead_letters_with_kafkas_default_limit_stops_no_worker(
    tagstream: Command, environ: dict[str, str], settings: Settings, observer: TopicObserver, start: Start
) -> None:
    """Of an event above the topic's limit as much is kept as the topic takes, with its SHA-256; the worker says so at its start."""
    with admin.admin(settings) as client:
        client.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, settings.topics.dlq, configs={"max.message.bytes": "1048588"})]
        )
    # Hexadecimal digits by chance: gzip halves them, so that the broker takes them and their batch's budget is far away.
    large = random.Random(1).randbytes(750_000).hex().encode()  # noqa: S311
    put(settings, [Planted(event_id=None, key=b"k", value=large), Planted(event_id="after", key=b"after", value=GOOD)])
    worker = start()
    until(
        lambda: sum(map(len, observer.outcomes().values())) == 2 or not worker.process.running(),
        "both events are decided, or the worker has ended",
        process=worker.process,
    )
    assert worker.process.running(), worker.process.output()
    all_committed(observer)
    (found,) = lines(tagstream("dlq", "list", "--json", environ=environ).stdout)
    assert (found["code"], found["dropped"]) == ("too_large", ["value"])
    (letter,) = observer.outcomes()[Destination.DLQ]
    # The size of the record: its value and its key of one byte.
    assert dict(letter.headers)["x-dlq-original-bytes"] == b"%d" % (len(large) + 1)
    assert dict(letter.headers)["x-dlq-original-sha256"] == hashlib.sha256(large).hexdigest().encode()
    assert large.startswith(letter.value or b"none")
    (said,) = [line for line in worker.process.output().splitlines() if "topic_takes_less" in line]
    assert f"{settings.topics.dlq} takes records of 1048588 bytes, max_dead_letter_bytes is 2097152" in said


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
