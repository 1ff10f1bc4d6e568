"""A hostile producer on a real broker neither stops the stream, fills memory, nor gets event text into the log."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import send
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import Fleet
from tests.integration.running import is_committed, peak_bytes
from tests.waiting import until
from tests.wire import GZIP, BadName, Row, batch_of, produce

pytestmark = pytest.mark.broker

BOMB_BYTES = 256 * 1024 * 1024
# A worker with the stub model; the bomb alone has 256 MiB, and aiokafka needs three times as much for it.
MEMORY_BYTES = 250 * 1024 * 1024
PLANTED = "zq7planted"
CONTROLS = "\r\n\x1b[2J\x00\x07\x85\u2028\u2029\u202e"


@pytest.fixture
def worker(environ: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    """A worker that logs at debug level."""
    with Processes(grace_seconds=0) as processes:
        fleet = Fleet(
            processes=processes,
            module="tests.faults.worker",
            environ={**environ, "TAGSTREAM_LOG_LEVEL": "debug"},
            seconds_per_batch=0.0,
            folder=tmp_path,
        )
        yield fleet.add(1).process


def outcomes(settings: Settings, worker: Process, events: int) -> dict[Destination, list[Record]]:
    """The outcomes, once all of `content` is committed."""
    with TopicObserver(settings) as observer:
        assert sum(observer.ends().values()) == events
        until(lambda: is_committed(observer), "all events are committed", state=observer.committed, process=worker)
        return observer.outcomes()


def good(number: int) -> Row:
    """A good event."""
    return (None, json.dumps({"id": f"good-{number}", "title": f"Number {number}"}).encode(), [])


@pytest.mark.slow
@pytest.mark.parametrize("codec", [0, GZIP])
def test_a_header_name_that_is_not_utf_8_is_a_dead_letter(settings: Settings, worker: Process, codec: int) -> None:
    """The broker accepts the name and aiokafka raises on it; the stream goes on, and the name's bytes are kept."""
    bad: Row = (b"k", b'{"id": "bad", "title": "a"}', [("first", b"1"), (BadName("x"), b"2")])
    assert produce(settings, settings.topics.content, 0, batch_of([good(1), bad, good(2)], codec=codec)) == 0
    assert produce(settings, settings.topics.content, 0, batch_of([good(3)], codec=codec)) == 0
    found = outcomes(settings, worker, events=4)
    decided = [
        json.loads(record.value or b"")["id"] for door in (Destination.TAGGED, Destination.REVIEW) for record in found[door]
    ]
    assert sorted(decided) == ["good-1", "good-2", "good-3"]
    (letter,) = found[Destination.DLQ]
    assert (letter.key, letter.value) == (bad[0], bad[1])
    assert letter.headers[:3] == (("first", b"1"), (r"bad-\xff\xfe", b"2"), ("x-dlq-header-name", b"bad-\xff\xfe"))
    assert dict(letter.headers)["x-dlq-code"] == b"invalid_utf8"
    assert dict(letter.headers)["__streams.errors.offset"] == b"1"


@pytest.mark.slow
def test_a_decompression_bomb_neither_stops_the_stream_nor_fills_memory(settings: Settings, worker: Process) -> None:
    """Three bombs of 256 MiB in 261 KB become dead letters with size and digest, and the events around them are decided."""
    batch = batch_of([good(1), (b"k", bytes(BOMB_BYTES), []), good(2)], codec=GZIP)
    assert len(batch) < 300_000
    for _ in range(3):
        assert produce(settings, settings.topics.content, 0, batch) == 0
    found = outcomes(settings, worker, events=9)
    assert len(found[Destination.TAGGED]) + len(found[Destination.REVIEW]) == 6
    assert [dict(letter.headers)["x-dlq-code"] for letter in found[Destination.DLQ]] == [b"too_large"] * 3
    assert {dict(letter.headers)["x-dlq-original-bytes"] for letter in found[Destination.DLQ]} == {str(BOMB_BYTES + 1).encode()}
    assert peak_bytes(worker) < MEMORY_BYTES


def test_no_log_line_holds_an_event_or_can_be_forged(settings: Settings, worker: Process) -> None:
    """No text of titles, ids, sources, keys or headers is in a log line, not at debug level and not of malformed events."""
    text = f"{PLANTED}{CONTROLS}"
    shapes: list[object] = [
        {"id": f"{PLANTED}-1\u2028", "title": text, "description": text, "source": text, text: text},
        {"id": text, "title": f"{PLANTED} 2"},
        {"id": f"{PLANTED}-3", "title": 7, "source": text},
        {"specversion": "1.0", "id": text, "source": text, "type": text, "data": {"title": PLANTED}},
        [text],
    ]
    values = [json.dumps(shape, ensure_ascii=escaped).encode() for shape in shapes for escaped in (True, False)]
    values += [text.encode(), text.encode("utf-16"), b"\xff" + text.encode(), b'{"id": "%b", "title": ' % PLANTED.encode()]
    headers = ((f"h-{text}", text.encode()), ("ce_specversion", text.encode()), ("content-type", text.encode()))
    planted = [
        Planted(event_id=None, key=text.encode(), value=value, headers=headers[:some]) for value in values for some in (0, 1, 3)
    ]
    send(settings, planted)
    bad: Row = (text.encode(), text.encode(), [(BadName("x"), text.encode())])
    assert produce(settings, settings.topics.content, 0, batch_of([bad])) == 0
    found = outcomes(settings, worker, events=len(planted) + 1)
    assert sum(map(len, found.values())) == len(planted) + 1
    said = worker.output()
    lines = said.split("\n")
    assert len(lines) > 10
    assert PLANTED not in said
    for line in lines[:-1]:
        assert line.isprintable(), line
        assert isinstance(json.loads(line), dict)
